//! Walking over the objects of a tenant: to list them, and to remove those that match.

use crate::store::object::{Token, Version};
use crate::store::refusal::Result;

use super::shard::{Object, ObjectRef};
use super::state::{Answer, State};

/// Where a walk goes on. What is there during the whole walk is met once; what comes or goes, perhaps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListCursor {
    pub shard: u32,
    pub slot: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: Box<[u8]>,
    pub version: Version,
    pub size: u64,
    pub replicas: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub objects: Vec<Listed>,
    /// None at the end.
    pub next: Option<ListCursor>,
}

/// What a walk that removes did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    pub removed: usize,
    /// Objects that match and stay: they are being read or written.
    pub busy: usize,
    pub answer: Answer,
    pub next: Option<ListCursor>,
}

/// Objects of a tenant whose keys match, at most `limit` from a place on.
pub struct Walk<'a> {
    pub tenant: &'a str,
    pub from: ListCursor,
    pub limit: usize,
    pub matches: &'a mut dyn FnMut(&[u8]) -> bool,
}

/// Most objects that one step of a walk looks at, so that others get their turn.
const LOOKS: usize = 16_384;

impl State {
    /// Lists objects. A page may have fewer than the limit and not be the last. Errors: NOT_READY.
    pub fn list(&self, now: u64, walk: Walk<'_>) -> Result<Page> {
        self.may_change(now)?;
        let (found, next) = self.walk(walk);
        let listed = |at: &ObjectRef| {
            let object = self.object(*at);
            let Object { version, size, .. } = object;
            Listed {
                key: self.key(*at).into(),
                version: *version,
                size: *size,
                replicas: self.whole_copies(object),
            }
        };
        Ok(Page { objects: found.iter().map(listed).collect(), next })
    }

    /// Removes objects. The token is replied to when all of them are gone, if that is not at once. Errors: NOT_READY.
    pub fn remove_where(
        &mut self,
        now: u64,
        walk: Walk<'_>,
        token: Token,
        unless_leased: bool,
    ) -> Result<Swept> {
        self.may_change(now)?;
        let (found, next) = self.walk(walk);
        let mut swept = Swept { removed: 0, busy: 0, answer: Answer::Done, next };
        // Held back until all have begun, so that none of them replies alone.
        self.waits.insert(token, 1);
        for at in found {
            match self.remove_at(now, at, token, unless_leased) {
                Ok(answer) => {
                    swept.removed += 1;
                    if answer == Answer::Later {
                        *self.waits.entry(token).or_default() += 1;
                    }
                }
                Err(_) => swept.busy += 1,
            }
        }
        match self.waits.get_mut(&token) {
            Some(1) | None => drop(self.waits.remove(&token)),
            Some(count) => {
                *count -= 1;
                swept.answer = Answer::Later;
            }
        }
        Ok(swept)
    }

    fn walk(&self, walk: Walk<'_>) -> (Vec<ObjectRef>, Option<ListCursor>) {
        let Walk { tenant, from, limit, matches } = walk;
        let Some(tenant) = self.tenants.find(tenant) else { return (Vec::new(), None) };
        let (mut found, mut looked) = (Vec::new(), 0);
        let (mut shard, mut slot) = (from.shard, from.slot);
        while let Some(here) = self.shards.get(shard as usize) {
            for at in here.slots(slot) {
                if found.len() >= limit || looked >= LOOKS {
                    return (found, Some(ListCursor { shard, slot: at }));
                }
                looked += 1;
                let object = here.objects.get(at);
                if object.is_visible()
                    && object.tenant == tenant
                    && self.whole_copies(object) > 0
                    && matches(here.key(at))
                {
                    found.push(ObjectRef { shard, slot: at });
                }
            }
            (shard, slot) = (shard + 1, 0);
        }
        (found, None)
    }
}
