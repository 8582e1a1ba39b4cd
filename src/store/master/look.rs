//! Looking whether objects are there, many at a time.

use crate::store::object::Name;
use crate::store::refusal::Result;

use super::state::State;

impl State {
    /// Bytes and replicas of an object. A lease is granted only if asked for. Errors: NOT_FOUND, NOT_READY.
    pub fn look(&mut self, now: u64, name: Name<'_>, prolong: bool) -> Result<(u64, u8)> {
        let at = self.lookup(now, name)?;
        if prolong {
            self.prolong(now, at);
        }
        let object = self.object(at);
        Ok((object.size, object.replicas))
    }
}
