//! What the server knows: values, and claims on keys. No I/O and no clock: `now` comes in with each call.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What may be stored.
#[derive(Clone, Copy)]
pub struct Limits {
    pub keys: usize,
    pub value: usize,
    /// All keys and values together.
    pub bytes: usize,
}

/// A claim that a request comes with.
pub struct Claim {
    pub owner: String,
    pub lives: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Updated,
    /// The value is there already, and kept as it is.
    Unchanged,
    /// Mooncake's rule: a key with "rpc_meta" in it keeps its first value until that is removed.
    Duplicate,
    /// Another owner has claimed the key.
    Taken,
    /// A limit is reached.
    Full,
}

#[derive(Debug)]
struct Held {
    owner: String,
    until: Instant,
}

pub struct Store {
    limits: Limits,
    values: BTreeMap<String, Vec<u8>>,
    claims: BTreeMap<String, Held>,
    bytes: usize,
}

impl Store {
    pub fn new(limits: Limits) -> Store {
        Store { limits, values: BTreeMap::new(), claims: BTreeMap::new(), bytes: 0 }
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.values.get(key).map(Vec::as_slice)
    }

    pub fn list(&self, prefix: &str) -> Vec<&str> {
        let from =
            self.values.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        from.map(|(key, _)| key.as_str()).take_while(|key| key.starts_with(prefix)).collect()
    }

    /// What `put` would say, and whether it has something to do.
    pub fn judge(&self, key: &str, value: &[u8], claim: Option<&Claim>, now: Instant) -> Verdict {
        let there = self.get(key);
        match claim {
            Some(claim) if self.is_taken(key, &claim.owner, now) => return Verdict::Taken,
            Some(_) if self.claims.len() >= self.limits.keys && !self.claims.contains_key(key) => {
                return Verdict::Full;
            }
            // An owner may replace what it published.
            Some(_) => {}
            None if there == Some(value) => return Verdict::Unchanged,
            None if there.is_some() && key.contains("rpc_meta") => return Verdict::Duplicate,
            None => {}
        }
        let freed = there.map_or(0, |there| key.len() + there.len());
        let is_new = there.is_none();
        if value.len() > self.limits.value
            || (is_new && self.values.len() >= self.limits.keys)
            || self.bytes - freed + key.len() + value.len() > self.limits.bytes
        {
            return Verdict::Full;
        }
        Verdict::Updated
    }

    /// Stores what `judge` has allowed.
    pub fn put(&mut self, key: &str, value: Vec<u8>, claim: Option<Claim>, now: Instant) {
        self.forget(key);
        self.bytes += key.len() + value.len();
        self.values.insert(key.to_owned(), value);
        if let Some(Claim { owner, lives }) = claim {
            self.claims.insert(key.to_owned(), Held { owner, until: now + lives });
        }
    }

    /// Takes a claim, takes it once more, or with no life gives it back; the value stays. False when it is another's.
    pub fn renew(&mut self, key: &str, claim: Claim, now: Instant) -> Verdict {
        if self.is_taken(key, &claim.owner, now) {
            return Verdict::Taken;
        }
        if claim.lives.is_zero() {
            self.claims.remove(key);
        } else if self.claims.len() >= self.limits.keys && !self.claims.contains_key(key) {
            return Verdict::Full;
        } else {
            self.claims.insert(key.to_owned(), Held { owner: claim.owner, until: now + claim.lives });
        }
        Verdict::Updated
    }

    /// Removes a value, and the claim if it is this owner's. False when there was no value.
    pub fn remove(&mut self, key: &str, owner: Option<&str>) -> bool {
        if self.claims.get(key).is_some_and(|held| Some(held.owner.as_str()) == owner) {
            self.claims.remove(key);
        }
        self.forget(key)
    }

    /// Claims that ran out so long ago: they are forgotten, and their keys returned with what is stored there.
    pub fn lapsed(&mut self, since: Duration, now: Instant) -> Vec<(String, Vec<u8>)> {
        let values = &self.values;
        let mut over = Vec::new();
        self.claims.retain(|key, held| {
            let is_over = now.saturating_duration_since(held.until) > since;
            if is_over && let Some(value) = values.get(key) {
                over.push((key.clone(), value.clone()));
            }
            !is_over
        });
        over
    }

    fn is_taken(&self, key: &str, owner: &str, now: Instant) -> bool {
        self.claims.get(key).is_some_and(|held| held.until > now && held.owner != owner)
    }

    fn forget(&mut self, key: &str) -> bool {
        let Some(value) = self.values.remove(key) else { return false };
        self.bytes -= key.len() + value.len();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { keys: 2, value: 8, bytes: 20 };
    const SECOND: Duration = Duration::from_secs(1);

    fn claim(owner: &str) -> Claim {
        Claim { owner: owner.to_owned(), lives: SECOND }
    }

    fn put(store: &mut Store, key: &str, value: &[u8], claim: Option<Claim>, now: Instant) -> Verdict {
        let verdict = store.judge(key, value, claim.as_ref(), now);
        if verdict == Verdict::Updated {
            store.put(key, value.to_vec(), claim, now);
        }
        verdict
    }

    #[test]
    fn an_rpc_meta_keeps_its_first_value_until_it_is_removed() {
        let (mut store, now) = (Store::new(LIMITS), Instant::now());
        let key = "x/rpc_meta";
        assert_eq!(put(&mut store, key, b"1", None, now), Verdict::Updated);
        assert_eq!(put(&mut store, key, b"1", None, now), Verdict::Unchanged);
        assert_eq!(put(&mut store, key, b"2", None, now), Verdict::Duplicate);
        assert!(store.remove(key, None) && !store.remove(key, None));
        assert_eq!(put(&mut store, key, b"2", None, now), Verdict::Updated);
    }

    #[test]
    fn what_is_beyond_a_limit_is_refused_and_room_that_was_freed_counts() {
        let (mut store, now) = (Store::new(LIMITS), Instant::now());
        assert_eq!(put(&mut store, "a", b"123456789", None, now), Verdict::Full);
        assert_eq!(put(&mut store, "a", b"12345678", None, now), Verdict::Updated);
        assert_eq!(put(&mut store, "a", b"87654321", None, now), Verdict::Updated);
        assert_eq!(put(&mut store, "b", b"12345678", None, now), Verdict::Updated);
        assert_eq!(put(&mut store, "c", b"", None, now), Verdict::Full);
        assert!(store.remove("a", None));
        assert_eq!(put(&mut store, "a-long-key-1", b"", None, now), Verdict::Full);
        assert_eq!(put(&mut store, "c", b"", None, now), Verdict::Updated);
        assert_eq!((store.list(""), store.len()), (vec!["b", "c"], 2));
    }

    #[test]
    fn a_claim_is_its_owners_until_it_is_over() {
        let (mut store, now) = (Store::new(LIMITS), Instant::now());
        assert_eq!(put(&mut store, "k", b"1", Some(claim("a")), now), Verdict::Updated);
        assert_eq!(put(&mut store, "k", b"2", Some(claim("b")), now), Verdict::Taken);
        assert_eq!(store.renew("k", claim("b"), now), Verdict::Taken);
        assert_eq!(store.renew("k", claim("a"), now + SECOND / 2), Verdict::Updated);
        assert_eq!(store.renew("k", claim("b"), now + SECOND), Verdict::Taken);
        assert_eq!(put(&mut store, "k", b"2", Some(claim("b")), now + 2 * SECOND), Verdict::Updated);
        assert_eq!(
            store.renew("k", Claim { lives: Duration::ZERO, ..claim("b") }, now + 2 * SECOND),
            Verdict::Updated
        );
        assert_eq!(store.renew("k", claim("c"), now + 2 * SECOND), Verdict::Updated);
        assert_eq!(store.get("k"), Some(&b"2"[..]));
    }

    #[test]
    fn only_the_owner_takes_its_claim_with_the_value() {
        let (mut store, now) = (Store::new(LIMITS), Instant::now());
        put(&mut store, "k", b"1", Some(claim("a")), now);
        assert!(store.remove("k", Some("b")));
        assert_eq!(put(&mut store, "k", b"1", Some(claim("b")), now), Verdict::Taken);
        assert!(!store.remove("k", Some("a")));
        assert_eq!(put(&mut store, "k", b"1", Some(claim("b")), now), Verdict::Updated);
    }

    #[test]
    fn what_lapsed_is_told_once() {
        let (mut store, now) = (Store::new(LIMITS), Instant::now());
        put(&mut store, "k", b"1", Some(claim("a")), now);
        assert!(store.lapsed(SECOND, now + 2 * SECOND).is_empty());
        assert_eq!(store.lapsed(SECOND, now + 3 * SECOND), [("k".to_owned(), b"1".to_vec())]);
        assert!(store.lapsed(SECOND, now + 9 * SECOND).is_empty());
    }
}
