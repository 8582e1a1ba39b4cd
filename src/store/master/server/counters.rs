//! What was asked of a master, by method.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::wire::master::METHODS;

/// Counts of one method since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Name of its message.
    pub method: &'static str,
    pub calls: u64,
    /// Keys or other parts that were asked for.
    pub items: u64,
    /// Of these, those that were not done.
    pub failed: u64,
}

#[derive(Default)]
struct Count {
    calls: AtomicU64,
    items: AtomicU64,
    failed: AtomicU64,
}

pub struct Counters {
    all: Vec<Count>,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters { all: METHODS.iter().map(|_| Count::default()).collect() }
    }
}

impl Counters {
    /// Notes a call of so many parts.
    pub fn note(&self, method: u16, items: usize, failed: usize) {
        // Methods are numbered from 1 on; a test shows it.
        let Some(count) = usize::from(method).checked_sub(1).and_then(|index| self.all.get(index)) else {
            return;
        };
        count.calls.fetch_add(1, Ordering::Relaxed);
        count.items.fetch_add(items as u64, Ordering::Relaxed);
        count.failed.fetch_add(failed as u64, Ordering::Relaxed);
    }

    pub fn all(&self) -> Vec<Counted> {
        let counted = |(count, (_, method)): (&Count, &(u16, &'static str))| Counted {
            method,
            calls: count.calls.load(Ordering::Relaxed),
            items: count.items.load(Ordering::Relaxed),
            failed: count.failed.load(Ordering::Relaxed),
        };
        self.all.iter().zip(METHODS).map(counted).collect()
    }
}
