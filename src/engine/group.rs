//! Batches that a caller counts as one: the one that ends last sends the notification.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::batch::Notification;
use super::segment::Segment;

type Letter = (Arc<Segment>, Notification);

#[derive(Default)]
struct State {
    /// Batches under way.
    open: usize,
    /// A batch failed: nobody is told that the bytes are there.
    has_failed: bool,
    letter: Option<Letter>,
    /// Letters that the peer did not confirm yet.
    sending: usize,
}

/// What several batches have in common. All of it may be called from any thread.
#[derive(Default)]
pub struct Group {
    state: Mutex<State>,
}

impl Group {
    /// A batch starts. Of several notifications the last one counts.
    pub fn join(&self, letter: Option<Letter>) {
        let mut state = self.state.lock();
        state.open += 1;
        if letter.is_some() {
            state.letter = letter;
        }
    }

    /// A batch ended: what is to be sent now, if it was the last one and none failed. `delivered` follows.
    pub fn leave(&self, has_failed: bool) -> Option<Letter> {
        let mut state = self.state.lock();
        state.open = state.open.saturating_sub(1);
        state.has_failed |= has_failed;
        if state.open > 0 {
            return None;
        }
        let letter = state.letter.take().filter(|_| !state.has_failed);
        state.sending += usize::from(letter.is_some());
        letter
    }

    /// The peer has it, or will not get it.
    pub fn delivered(&self) {
        let mut state = self.state.lock();
        state.sending = state.sending.saturating_sub(1);
    }

    /// A notification is still to be sent, or under way.
    pub fn owes_notification(&self) -> bool {
        let state = self.state.lock();
        state.sending > 0 || (state.letter.is_some() && !state.has_failed)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("open", &self.state.lock().open).finish_non_exhaustive()
    }
}
