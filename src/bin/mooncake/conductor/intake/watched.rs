//! What the subscriber of a publisher shares with those who watch it: figures, how far it is, and whether it may go on.

use parking_lot::{Mutex, MutexGuard};

use super::figures::Figures;
use super::order::Last;

#[derive(Default)]
pub struct Watched {
    pub figures: Figures,
    last: Mutex<Option<Last>>,
    is_closed: Mutex<bool>,
}

impl Watched {
    /// Held while something is changed; None once nothing may change any more.
    pub fn enter(&self) -> Option<MutexGuard<'_, bool>> {
        Some(self.is_closed.lock()).filter(|is_closed| !**is_closed)
    }

    /// Nothing is changed after this.
    pub fn close(&self) {
        *self.is_closed.lock() = true;
    }

    pub fn reached(&self, last: Option<Last>) {
        *self.last.lock() = last;
    }

    pub fn last(&self) -> Option<Last> {
        *self.last.lock()
    }
}
