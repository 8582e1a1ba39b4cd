//! Operations that complete into a queue instead of holding up whoever asked.

use std::sync::Arc;

use parking_lot::Mutex;

use super::Store;
use crate::engine::cq::{Completion, Cq, Kind};
use crate::error::{Code, Result};

impl Store {
    /// Does something on a thread of the store. Its outcome, bytes or a code, arrives in a completion queue of the store's
    /// engine; CANCELED if the store is closed first. Errors: EXHAUSTED (the queue, or too much waits already),
    /// INVALID_HANDLE.
    pub fn in_background(
        self: &Arc<Self>,
        cq: u64,
        user_data: u64,
        job: impl FnOnce(&Store) -> std::result::Result<u64, Code> + Send + 'static,
    ) -> Result<()> {
        let queue = self.engine.queue(cq)?;
        queue.promise(1)?;
        let word = Word { queue, user_data, outcome: Some(Err(Code::Canceled)) };
        let slot = Arc::new(Mutex::new(Some(word)));
        let theirs = slot.clone();
        // Not the store itself: whoever closes it waits for its errands.
        let store = Arc::downgrade(self);
        let begun = self.errands.run(move || {
            let Some(mut word) = theirs.lock().take() else { return };
            if let Some(store) = store.upgrade() {
                word.outcome = Some(job(&store));
            }
        });
        if begun.is_err()
            && let Some(word) = &mut *slot.lock()
        {
            word.outcome = None;
        }
        begun
    }
}

/// The completion that was promised: told when this is dropped, whatever happened.
struct Word {
    queue: Arc<Cq>,
    user_data: u64,
    /// None: nothing was begun, and nothing is told.
    outcome: Option<std::result::Result<u64, Code>>,
}

impl Drop for Word {
    fn drop(&mut self) {
        let (length, status) = match self.outcome {
            Some(Ok(length)) => (length, None),
            Some(Err(code)) => (0, Some(code)),
            None => return self.queue.unpromise(),
        };
        self.queue.deliver_promised(Completion {
            user_data: self.user_data,
            batch: 0,
            index: 0,
            length,
            status,
            kind: Kind::Store,
        });
    }
}
