//! What was asked of a master, by method.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::store::wire::master::METHODS;

/// Counts of one method since the start. Calls that cannot be read are not among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Name of its message.
    pub method: &'static str,
    /// Calls for one key or other part, and those that failed.
    pub singles: u64,
    pub singles_failed: u64,
    /// Calls for several, those of which nothing was done, and those of which some was.
    pub batches: u64,
    pub batches_failed: u64,
    pub batches_partial: u64,
    /// Parts of batches, and those that were not done.
    pub batch_items: u64,
    pub batch_items_failed: u64,
}

impl Counted {
    pub fn calls(&self) -> u64 {
        self.singles + self.batches
    }

    pub fn items(&self) -> u64 {
        self.singles + self.batch_items
    }

    pub fn failed(&self) -> u64 {
        self.singles_failed + self.batch_items_failed
    }
}

#[derive(Default)]
struct Count {
    singles: AtomicU64,
    singles_failed: AtomicU64,
    batches: AtomicU64,
    batches_failed: AtomicU64,
    batches_partial: AtomicU64,
    items: AtomicU64,
    items_failed: AtomicU64,
}

/// What is counted beside the methods.
#[derive(Default)]
pub struct Counters {
    all: [Count; METHODS.len()],
    /// Bytes of objects that were found by `Get`.
    pub found_bytes: AtomicU64,
    /// Puts that found no memory.
    pub no_space: AtomicU64,
}

fn add(counter: &AtomicU64, amount: usize) {
    if amount > 0 {
        counter.fetch_add(amount as u64, Ordering::Relaxed);
    }
}

impl Counters {
    /// Notes a call of so many parts.
    pub fn note(&self, method: u16, items: usize, failed: usize) {
        // Methods are numbered from 1 on; a test shows it.
        let Some(count) = usize::from(method).checked_sub(1).and_then(|index| self.all.get(index)) else {
            return;
        };
        if items == 1 {
            add(&count.singles, 1);
            add(&count.singles_failed, failed);
            return;
        }
        add(&count.batches, 1);
        add(&count.batches_failed, usize::from(items > 0 && failed == items));
        add(&count.batches_partial, usize::from(failed > 0 && failed < items));
        add(&count.items, items);
        add(&count.items_failed, failed);
    }

    pub fn all(&self) -> Vec<Counted> {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counted = |(count, (_, method)): (&Count, &(u16, &'static str))| Counted {
            method,
            singles: get(&count.singles),
            singles_failed: get(&count.singles_failed),
            batches: get(&count.batches),
            batches_failed: get(&count.batches_failed),
            batches_partial: get(&count.batches_partial),
            batch_items: get(&count.items),
            batch_items_failed: get(&count.items_failed),
        };
        self.all.iter().zip(METHODS).map(counted).collect()
    }
}
