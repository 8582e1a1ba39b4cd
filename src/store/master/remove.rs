//! Removing: an object is not found from now on, and acknowledged as gone once no inventory has it.

use crate::error::Code;
use crate::store::object::{Name, Token};
use crate::store::refusal::{Refusal, Result};

use super::change::{BUSY, Work};
use super::shard::ObjectRef;
use super::state::{Answer, State};

impl State {
    /// Removes an object. Readers that have a lease go on reading; with `unless_leased` they make it BUSY instead.
    /// Errors: NOT_FOUND, BUSY, NOT_READY.
    pub fn remove(&mut self, now: u64, name: Name<'_>, token: Token, unless_leased: bool) -> Result<Answer> {
        self.may_change(now)?;
        let at = self.find_now(now, name).ok_or_else(|| self.missing(name))?;
        self.remove_at(now, at, token, unless_leased)
    }

    pub(super) fn remove_at(
        &mut self,
        now: u64,
        at: ObjectRef,
        token: Token,
        unless_leased: bool,
    ) -> Result<Answer> {
        let object = self.object(at);
        if !object.is_visible() {
            // It is about to be gone, and may be in an inventory until then.
            return match self.changes.get_mut(&at) {
                Some(change) if matches!(change.work, Work::None) => {
                    change.tokens.push(token);
                    Ok(Answer::Later)
                }
                _ => Err(Refusal::new(Code::NotFound, "no object has this key")),
            };
        }
        if unless_leased && object.lease_until > now {
            let left = u32::try_from(object.lease_until - now).unwrap_or(u32::MAX);
            return Err(Refusal::retry(Code::Busy, "the object is being read", left));
        }
        self.cancel_copy(now, at);
        if matches!(self.work(at), Work::Put(_)) {
            return Err(BUSY);
        }
        self.begin_removal(now, at);
        Ok(self.answer(at, token))
    }
}
