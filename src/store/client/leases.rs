//! What this client may read without asking: objects that it looked up, until their leases end.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::quick::Sums;
use crate::store::master::Located;
use crate::store::object::{Replica, Version};

/// An object, as a master located it.
#[derive(Debug)]
pub struct Lease {
    pub version: Version,
    pub size: u64,
    pub replicas: Vec<Replica>,
    /// What is read later does not count.
    pub until_ns: u64,
    pub sums: Sums,
}

impl Lease {
    /// `asked_ns`: when the question was sent, or earlier.
    pub fn new(located: Located, asked_ns: u64) -> Lease {
        let Located { version, size, replicas, lease_ms } = located;
        let until_ns = asked_ns.saturating_add(lease_ms.saturating_mul(1_000_000));
        Lease { version, size, replicas, until_ns, sums: Sums::default() }
    }
}

#[derive(Default)]
struct Known {
    by_key: HashMap<Box<[u8]>, Arc<Lease>>,
    /// In the order in which they came, which is nearly that in which they end.
    order: VecDeque<Box<[u8]>>,
    /// How often somebody forgot something: what was asked for before that may be out of date.
    changes: u64,
}

pub struct Leases {
    known: Mutex<Known>,
    capacity: usize,
}

impl Leases {
    /// Room for so many; 0 keeps none.
    pub fn new(capacity: usize) -> Leases {
        Leases { known: Mutex::default(), capacity }
    }

    pub fn get(&self, key: &[u8], now_ns: u64) -> Option<Arc<Lease>> {
        if self.capacity == 0 {
            return None;
        }
        self.known.lock().by_key.get(key).filter(|lease| lease.until_ns > now_ns).cloned()
    }

    /// To be asked for before a lease is, and told when it is put.
    pub fn changes(&self) -> u64 {
        if self.capacity == 0 { 0 } else { self.known.lock().changes }
    }

    /// Keeps a lease, unless this client changed something since it asked for it.
    pub fn put(&self, key: &[u8], lease: &Arc<Lease>, before: u64) {
        if self.capacity == 0 {
            return;
        }
        let mut known = self.known.lock();
        if known.changes != before {
            return;
        }
        if known.by_key.insert(key.into(), lease.clone()).is_some() {
            return;
        }
        known.order.push_back(key.into());
        while known.order.len() > self.capacity {
            if let Some(oldest) = known.order.pop_front() {
                known.by_key.remove(&oldest);
            }
        }
    }

    /// Whoever changed an object here does not want to see what it was.
    pub fn forget(&self, key: &[u8]) {
        if self.capacity > 0 {
            let mut known = self.known.lock();
            // Its place in the order is left: whoever comes under it goes a little early.
            known.by_key.remove(key);
            known.changes += 1;
        }
    }

    pub fn forget_all(&self) {
        let mut known = self.known.lock();
        *known = Known { changes: known.changes + 1, ..Known::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(until_ns: u64) -> Arc<Lease> {
        let (version, sums) = (Version(1), Sums::default());
        Arc::new(Lease { version, size: 1, replicas: Vec::new(), until_ns, sums })
    }

    #[test]
    fn what_was_asked_for_before_a_change_is_not_kept() {
        let leases = Leases::new(2);
        let before = leases.changes();
        leases.put(b"a", &lease(10), before);
        assert!(leases.get(b"a", 9).is_some() && leases.get(b"a", 10).is_none());
        leases.forget(b"a");
        leases.put(b"a", &lease(10), before);
        assert!(leases.get(b"a", 0).is_none(), "somebody here replaced it while it was looked up");
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let leases = Leases::new(2);
        for key in [b"a", b"b", b"c"] {
            leases.put(key, &lease(10), leases.changes());
        }
        assert!(
            leases.get(b"a", 0).is_none() && leases.get(b"b", 0).is_some() && leases.get(b"c", 0).is_some()
        );
    }
}
