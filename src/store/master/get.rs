//! Reading: where an object lies, and for how long that is good.

use crate::error::Code;
use crate::store::object::{Extent, Name, Replica, Version};
use crate::store::refusal::{Refusal, Result};

use super::lead::Phase;
use super::shard::{Object, ObjectRef, Place};
use super::state::State;

/// An object that may be read until the lease ends, counted from before the request was sent. Whoever is not done by
/// then has read nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    pub version: Version,
    pub size: u64,
    /// Those that answer come first.
    pub replicas: Vec<Replica>,
    pub lease_ms: u64,
}

impl State {
    /// Where to read an object. Errors: NOT_FOUND, NOT_READY.
    pub fn get(&mut self, now: u64, name: Name<'_>) -> Result<Located> {
        let at = self.lookup(now, name)?;
        if let Some(eviction) = &mut self.shards[at.shard as usize].eviction {
            eviction.touch(at.slot);
        }
        let lease_ms = self.prolong(now, at);
        let object = self.object(at);
        Ok(Located {
            version: object.version,
            size: object.size,
            replicas: self.replicas(now, object),
            lease_ms,
        })
    }

    /// True if there is such an object. A lease is granted only if asked for. Errors: NOT_READY.
    pub fn exists(&mut self, now: u64, name: Name<'_>, prolong: bool) -> Result<bool> {
        match self.lookup(now, name) {
            Ok(at) => {
                if prolong {
                    self.prolong(now, at);
                }
                Ok(true)
            }
            Err(refusal) if refusal.code == Code::NotFound => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    /// What is known of an object, without a lease and without a promise that it is so: version, bytes, replicas.
    pub fn peek(&self, name: Name<'_>) -> Option<(Version, u64, u8)> {
        let object = self.object(self.find(name)?);
        let replicas = self.whole_copies(object);
        (object.is_visible() && replicas > 0).then_some((object.version, object.size, replicas))
    }

    /// Prolongs the lease of whoever reads these stripes, one after the other: milliseconds from now.
    /// Errors: LEASE_EXPIRED (one of them is gone: look again), NOT_READY.
    pub fn renew(&mut self, now: u64, name: Name<'_>, stripes: &[Extent]) -> Result<u64> {
        let gone =
            Refusal::new(Code::LeaseExpired, "the object was removed or replaced, or the replica moved");
        let at = self.lookup(now, name).map_err(|refusal| match refusal.code {
            Code::NotFound => gone,
            _ => refusal,
        })?;
        // Not by version, nor by generation alone, which all replicas of one put share: one that moved may be given to
        // others while its object lives on. Nor by where it begins: what is left of two replicas may have become one.
        let is_at = |place: &Place, extent: &Extent| {
            let segment = self.pool.get(place.segment);
            place.generation() == extent.generation
                && segment.is_some_and(|segment| {
                    (segment.node, segment.id) == (extent.node, extent.segment)
                        && segment.allocator.offset(place.block) == extent.offset
                })
        };
        let object = self.object(at);
        let is_there =
            |(stripe, extent): (usize, &Extent)| object.copies().any(|copy| is_at(&copy[stripe], extent));
        if stripes.len() != object.stripes() || !stripes.iter().enumerate().all(is_there) {
            return Err(gone);
        }
        Ok(self.prolong(now, at))
    }

    pub(super) fn lookup(&mut self, now: u64, name: Name<'_>) -> Result<ObjectRef> {
        self.may_serve(now)?;
        match self.find_now(now, name).filter(|at| self.object(*at).is_visible()) {
            Some(at) => Ok(at),
            None => Err(self.missing(name)),
        }
    }

    /// What is not known may be in an inventory that was not reported yet.
    pub(super) fn missing(&self, name: Name<'_>) -> Refusal {
        match (name.check(), self.lead.phase) {
            (Err(refusal), _) => refusal,
            (Ok(()), Phase::Serving) => Refusal::new(Code::NotFound, "no object has this key"),
            (Ok(()), _) => Refusal::retry(Code::NotReady, "nodes have not reported what they hold yet", 50),
        }
    }

    pub(super) fn prolong(&mut self, now: u64, at: ObjectRef) -> u64 {
        let lease_ms = self.config.lease_ms;
        let object = self.object_mut(at);
        object.lease_until = object.lease_until.max(now + lease_ms);
        lease_ms
    }

    pub(super) fn replicas(&self, now: u64, object: &Object) -> Vec<Replica> {
        let stripes = object.stripes();
        let replica = |copy: &[super::shard::Place]| {
            let extents = copy.iter().enumerate();
            let stripes = extents.map(|(index, place)| self.pool.extent(place, object.size, stripes, index));
            Some(Replica { stripes: stripes.collect::<Option<Vec<_>>>()? })
        };
        let mut replicas: Vec<Replica> = object.copies().filter_map(replica).collect();
        replicas.sort_by_key(|one| one.stripes.iter().any(|extent| !self.is_answering(now, extent.node)));
        replicas
    }
}
