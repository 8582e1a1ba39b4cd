//! Which attempts of a call have come: one that was overtaken by a later one, or that nobody waits for any more, is not
//! carried out, or it would undo what was done since.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::error::Result;
use crate::fail;
use crate::store::wire::master::Stamp;
use crate::sys::clock;

/// Calls that are remembered before those that expired are looked for.
const MANY: usize = 4096;

struct Seen {
    attempt: u32,
    expires_ms: u64,
}

#[derive(Default)]
pub struct Attempts {
    /// By caller and call.
    seen: Mutex<HashMap<(u64, u64), Seen>>,
}

impl Attempts {
    /// Takes note of an attempt. Errors: TIMEOUT (it comes too late).
    pub fn admit(&self, stamp: Option<&Stamp>) -> Result<()> {
        let Some(stamp) = stamp else { return Ok(()) };
        let now_ms = clock::now_ms();
        if now_ms > stamp.expires_ms {
            let late = now_ms - stamp.expires_ms;
            return Err(fail!(Timeout, "the call came {late} ms later than its sender waited"));
        }
        let mut seen = self.seen.lock();
        if seen.len() >= MANY {
            seen.retain(|_, one| one.expires_ms >= now_ms);
        }
        let (attempt, expires_ms) = (stamp.attempt, stamp.expires_ms);
        let last = seen.entry((stamp.caller, stamp.call)).or_insert(Seen { attempt, expires_ms });
        if attempt < last.attempt {
            return Err(fail!(Timeout, "the call was overtaken by another attempt of it"));
        }
        *last = Seen { attempt, expires_ms: expires_ms.max(last.expires_ms) };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn an_attempt_that_was_overtaken_or_comes_too_late_is_refused() {
        let attempts = Attempts::default();
        let now_ms = clock::now_ms();
        let stamp = |call, attempt, expires_ms| Stamp { caller: 7, call, attempt, expires_ms };
        let admit = |stamp: Stamp| attempts.admit(Some(&stamp)).map_err(|error| error.code);
        assert_eq!(admit(stamp(1, 1, now_ms + 60_000)), Ok(()));
        assert_eq!(admit(stamp(1, 2, now_ms + 60_000)), Ok(()));
        assert_eq!(admit(stamp(1, 1, now_ms + 60_000)), Err(Code::Timeout), "the second was carried out");
        assert_eq!(admit(stamp(1, 2, now_ms + 60_000)), Ok(()), "its answer was lost");
        assert_eq!(admit(stamp(2, 1, now_ms + 60_000)), Ok(()), "another call");
        assert_eq!(admit(stamp(3, 1, now_ms - 1)), Err(Code::Timeout));
        assert_eq!(attempts.admit(None).map_err(|error| error.code), Ok(()));
    }
}
