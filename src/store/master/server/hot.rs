//! Which keys are read most, as far as a sample tells: a reader in eight pays for looking, and a table of fixed size is kept.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use crate::sys::splitmix::Random;

/// Keys that are kept. One that is read in more than a 256th of all cases is certainly among them.
const KEPT: usize = 256;
/// One in so many reads is looked at, on average.
const EACH: u64 = 8;
/// After so many that were looked at, what was counted before counts half.
const FADES: u32 = 16_384;

/// A key, and about how often it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotKey {
    pub tenant: String,
    pub key: Vec<u8>,
    /// Reads lately; those of long ago count less.
    pub reads: u64,
}

struct Table {
    counts: HashMap<(Box<str>, Box<[u8]>), u32>,
    looked: u32,
    random: Random,
}

pub struct Hot {
    /// Reads until the next one that is looked at.
    left: AtomicI64,
    table: Mutex<Table>,
}

impl Hot {
    pub fn new(seed: u64) -> Hot {
        let table = Table { counts: HashMap::with_capacity(KEPT), looked: 0, random: Random::new(seed) };
        Hot { left: AtomicI64::new(0), table: Mutex::new(table) }
    }

    /// Notes that so many keys of a call were read; `key` gives one of them.
    pub fn note<'a>(&self, tenant: &str, count: usize, key: impl Fn(usize) -> Option<&'a [u8]>) {
        let mut due = self.left.fetch_sub(count as i64, Ordering::Relaxed);
        if due >= count as i64 {
            return;
        }
        // Whoever finds it taken has as good a reason to go on.
        let Some(mut table) = self.table.try_lock() else { return };
        due = due.max(0);
        while due < count as i64 {
            if let Some(key) = key(due as usize) {
                table.add(tenant, key);
            }
            // Not every eighth: calls may have a rhythm of their own.
            due += 1 + table.random.below(2 * EACH - 1) as i64;
        }
        self.left.store(due - count as i64, Ordering::Relaxed);
    }

    /// The keys that are read most, the hottest one first.
    pub fn hottest(&self, count: usize) -> Vec<HotKey> {
        let table = self.table.lock();
        let key = |((tenant, key), count): (&(Box<str>, Box<[u8]>), &u32)| HotKey {
            tenant: tenant.to_string(),
            key: key.to_vec(),
            reads: u64::from(*count) * EACH,
        };
        let mut all: Vec<HotKey> = table.counts.iter().map(key).collect();
        all.sort_by(|a, b| b.reads.cmp(&a.reads).then_with(|| a.key.cmp(&b.key)));
        all.truncate(count);
        all
    }
}

impl Table {
    fn add(&mut self, tenant: &str, key: &[u8]) {
        self.looked += 1;
        if self.looked >= FADES {
            self.looked = 0;
            self.counts.retain(|_, count| {
                *count /= 2;
                *count > 0
            });
        }
        let name = (tenant.into(), key.into());
        if let Some(count) = self.counts.get_mut(&name) {
            *count = count.saturating_add(1);
            return;
        }
        // A newcomer takes the place of the coldest, and its count: it may have been here before.
        let mut count = 1;
        if self.counts.len() >= KEPT
            && let Some((coldest, had)) = self.counts.iter().min_by_key(|(_, count)| **count)
        {
            count += had;
            let coldest = coldest.clone();
            self.counts.remove(&coldest);
        }
        self.counts.insert(name, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_read_often_is_found_among_many_that_are_not() {
        let hot = Hot::new(7);
        for turn in 0..40_000u32 {
            let cold = turn.to_le_bytes();
            let keys: [&[u8]; 4] = [b"hot", &cold, b"warm", &cold[..2]];
            let count = if turn % 4 == 0 { 4 } else { 1 };
            hot.note("t", count, |index| keys.get(index).copied());
        }
        let found = hot.hottest(2);
        let names: Vec<&[u8]> = found.iter().map(|one| &one.key[..]).collect();
        assert_eq!(names, [b"hot".as_slice(), b"warm"]);
        assert!(found[0].reads > 2 * found[1].reads && found[0].tenant == "t", "{found:?}");
        assert!(hot.hottest(usize::MAX).len() <= KEPT);
    }

    #[test]
    fn a_single_read_is_seen_at_once_and_none_asks_for_nothing() {
        let hot = Hot::new(7);
        hot.note("", 0, |_| None);
        hot.note("", 1, |_| Some(b"k"));
        assert_eq!(hot.hottest(5).len(), 1);
    }
}
