//! Writing: memory is granted, the writer writes and commits at the nodes, and then says so here.

use std::sync::Arc;

use crate::error::Code;
use crate::store::object::{
    ClientId, Entry, EntryState, Generation, Name, NodeId, ReplicateConfig, Token, Version,
};
use crate::store::refusal::{Refusal, Result};

use super::change::{BUSY, Work};
use super::segment::places_of;
use super::shard::{HARD_PIN, ObjectRef, PARTIAL, Place, Places};
use super::state::{Answer, State};

/// What a writer asks for.
#[derive(Clone, Copy, Debug)]
pub struct PutStart<'a> {
    pub name: Name<'a>,
    pub client: ClientId,
    /// At least 1.
    pub size: u64,
    pub config: &'a ReplicateConfig,
    /// Replaces an object that is there, instead of refusing.
    pub upsert: bool,
}

/// Permission to write: for each stripe of each replica what to prepare, write and commit at which node.
#[derive(Clone, Debug)]
pub struct Grant {
    pub version: Version,
    /// After this the grant may be taken back.
    pub deadline_ms: u64,
    pub entries: Vec<(NodeId, Entry)>,
}

/// A put that was granted and is not committed.
#[derive(Debug)]
pub struct Put {
    pub version: Version,
    pub client: ClientId,
    pub places: Places,
    pub replicas: u8,
    pub size: u64,
    pub deadline: u64,
    pub soft_pin_ms: u32,
    pub hard_pin: bool,
    pub group: Arc<str>,
}

impl Put {
    fn charge(&self) -> u64 {
        self.size * u64::from(self.replicas)
    }
}

const NO_SUCH_PUT: Refusal =
    Refusal::new(Code::Canceled, "no such put: its deadline passed, or the object was replaced or removed");

impl State {
    /// Grants memory for an object. Errors: ALREADY_EXISTS, BUSY (another writer is at it), NO_SPACE, QUOTA_EXCEEDED,
    /// NOT_READY.
    pub fn put_start(&mut self, now: u64, request: PutStart<'_>) -> Result<Grant> {
        let PutStart { name, client, size, config, upsert } = request;
        name.check()?;
        config.check()?;
        if size == 0 || size > i64::MAX as u64 / u64::from(config.count) {
            return Err(Refusal::new(Code::InvalidArgument, "an object has at least one byte"));
        }
        self.may_change(now)?;
        let found = self.find_now(now, name);
        if let Some(at) = found {
            if self.object(at).is_changing() {
                self.cancel_copy(now, at);
                return Err(BUSY);
            }
            if !upsert {
                return Err(Refusal::new(Code::AlreadyExists, "the key has an object"));
            }
        }
        let tenant = self.tenants.intern(name.tenant)?;
        let replaced = found.map_or(0, |at| self.object(at).charge());
        let admitted = self.tenants.check(tenant, size * u64::from(config.count), replaced);
        let at = admitted.and_then(|()| found.map_or_else(|| self.add(tenant, name.key), Ok));
        let at = at.inspect_err(|_| self.tenants.forget_unused(tenant))?;
        // From here on it is changing, so that what makes room does not evict it.
        self.change(at);
        let Some(taken) = self.allocate(now, size, config) else {
            self.end_if_quiet(at);
            return Err(self.no_space(now, size, config));
        };
        let generation = self.next_generation();
        let put = Put {
            version: Version(generation.0),
            client,
            places: places_of(&taken, generation).into(),
            replicas: taken.len() as u8,
            size,
            deadline: now + self.config.put_deadline_ms,
            soft_pin_ms: config.soft_pin_ms,
            hard_pin: config.hard_pin,
            group: config.group.as_str().into(),
        };
        let entries = self.entries_of(at, &put);
        let grant = Grant { version: put.version, deadline_ms: self.config.put_deadline_ms, entries };
        self.tenants.charge(tenant, put.charge());
        self.granted(now, generation, at, put.places.as_slice());
        self.change(at).work = Work::Put(Box::new(put));
        self.make_room(now, 0);
        Ok(grant)
    }

    /// Says that every replica's node has the entry committed. Done, or later when what it replaced is gone
    /// everywhere; a second time is as good as once, at this master or the next. Errors: CANCELED, NOT_READY.
    pub fn put_commit(
        &mut self,
        now: u64,
        name: Name<'_>,
        client: ClientId,
        version: Version,
        token: Token,
    ) -> Result<Answer> {
        self.may_change(now)?;
        let at = self.find_now(now, name).ok_or(NO_SUCH_PUT)?;
        let object = self.object(at);
        if object.is_visible() && object.version == version && object.flags & PARTIAL == 0 {
            return match self.changes.get_mut(&at) {
                Some(change) if change.waiting > 0 => {
                    change.tokens.push(token);
                    Ok(Answer::Later)
                }
                _ => Ok(Answer::Done),
            };
        }
        if !self.is_put_of(at, client, version) {
            return Err(NO_SUCH_PUT);
        }
        let put = self.take_put(at).expect("it was just seen");
        let readers_until = self.object(at).lease_until;
        if self.object(at).is_visible() {
            self.hide(at);
        }
        let object = self.object_mut(at);
        let old = std::mem::replace(&mut object.places, put.places);
        (object.version, object.size, object.replicas) = (put.version, put.size, put.replicas);
        object.lease_until = 0;
        object.soft_until = if put.soft_pin_ms > 0 { now + u64::from(put.soft_pin_ms) } else { 0 };
        object.set(HARD_PIN, put.hard_pin);
        object.set(PARTIAL, false);
        self.show(at, &put.group);
        self.drop_places(now, at, old.as_slice(), readers_until, true);
        Ok(self.answer(at, token))
    }

    /// Gives a grant back. `is_done` is the writer's word that nothing it sent can arrive any more.
    pub fn put_revoke(
        &mut self,
        now: u64,
        name: Name<'_>,
        client: ClientId,
        version: Version,
        is_done: bool,
    ) -> Result<()> {
        let at = self.find(name).filter(|at| self.is_put_of(*at, client, version)).ok_or(NO_SUCH_PUT)?;
        self.abort_put(now, at, is_done);
        Ok(())
    }

    /// Moves a writer's deadline; milliseconds from now. What it has not prepared by its first deadline it cannot prepare.
    pub fn put_extend(
        &mut self,
        now: u64,
        name: Name<'_>,
        client: ClientId,
        version: Version,
    ) -> Result<u64> {
        let at = self.find(name).filter(|at| self.is_put_of(*at, client, version)).ok_or(NO_SUCH_PUT)?;
        let deadline_ms = self.config.put_deadline_ms;
        if let Work::Put(put) = &mut self.change(at).work {
            put.deadline = now + deadline_ms;
        }
        Ok(deadline_ms)
    }

    fn is_put_of(&self, at: ObjectRef, client: ClientId, version: Version) -> bool {
        matches!(self.work(at), Work::Put(put) if put.client == client && put.version == version)
    }

    /// Ends the work of a put, whatever becomes of it.
    fn take_put(&mut self, at: ObjectRef) -> Option<Put> {
        let Work::Put(put) = std::mem::take(&mut self.change(at).work) else { return None };
        self.grants.remove(Generation(put.version.0));
        let tenant = self.object(at).tenant;
        self.tenants.uncharge(tenant, put.charge());
        Some(*put)
    }

    /// Takes a grant back. Some nodes may have it committed: until they dropped it, the key is not given out again.
    pub(super) fn abort_put(&mut self, now: u64, at: ObjectRef, writer_done: bool) {
        if let Some(put) = self.take_put(at) {
            self.drop_places(now, at, put.places.as_slice(), 0, writer_done);
            self.end_if_quiet(at);
        }
    }

    /// Takes replicas on nodes that are gone out of a put; without any, there is nothing to wait for.
    pub(super) fn shrink_put(&mut self, now: u64, at: ObjectRef) {
        let Work::Put(put) = self.work(at) else { return };
        let (kept, replicas, stray) = self.split_lost(&put.places, put.replicas);
        if replicas == put.replicas {
            return;
        }
        let (before, size) = (put.charge(), put.size);
        let tenant = self.object(at).tenant;
        if let Work::Put(put) = &mut self.change(at).work {
            (put.places, put.replicas) = (kept.into(), replicas);
        }
        self.tenants.uncharge(tenant, before - size * u64::from(replicas));
        self.drop_places(now, at, &stray, 0, false);
        if replicas == 0 {
            self.abort_put(now, at, false);
        }
    }

    fn entries_of(&self, at: ObjectRef, put: &Put) -> Vec<(NodeId, Entry)> {
        let template = Entry {
            replicas: put.replicas,
            hard_pin: put.hard_pin,
            soft_pin_ms: put.soft_pin_ms,
            group: put.group.clone(),
            state: EntryState::Writing { writer: put.client },
            ..self.blank_entry(at, put.version, put.size)
        };
        let stripes = put.places.as_slice().len() / usize::from(put.replicas);
        self.entries(&template, put.places.as_slice(), stripes)
    }

    pub(super) fn blank_entry(&self, at: ObjectRef, version: Version, size: u64) -> Entry {
        let object = self.object(at);
        Entry {
            segment: Default::default(),
            offset: 0,
            length: 0,
            generation: Generation(version.0),
            tenant: self.tenants.get(object.tenant).name.clone(),
            key: self.key(at).into(),
            version,
            size,
            stripe: 0,
            stripes: 1,
            replicas: 1,
            hard_pin: false,
            soft_pin_ms: 0,
            group: "".into(),
            state: EntryState::Quarantined,
        }
    }

    /// An entry for each place, where its node is there.
    pub(super) fn entries(&self, template: &Entry, places: &[Place], stripes: usize) -> Vec<(NodeId, Entry)> {
        let entry = |(index, place): (usize, &Place)| {
            let stripe = index % stripes;
            let extent = self.pool.extent(place, template.size, stripes, stripe)?;
            let (segment, offset, length) = (extent.segment, extent.offset, extent.length);
            let (stripe, stripes) = (stripe as u16, stripes as u16);
            let generation = place.generation();
            Some((
                extent.node,
                Entry { segment, offset, length, generation, stripe, stripes, ..template.clone() },
            ))
        };
        places.iter().enumerate().filter_map(entry).collect()
    }
}
