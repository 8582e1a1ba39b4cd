//! The state as a whole: its parts, what it tells others, and how an object is found.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Code;
use crate::store::eviction::Evictor;
use crate::store::message::{Command, Order};
use crate::store::object::{Generation, MasterId, Name, NodeId, Token};
use crate::store::refusal::{Refusal, Result};

use super::Config;
use super::change::Change;
use super::drops::Drops;
use super::gone::Gone;
use super::grants::Grants;
use super::lead::Lead;
use super::quota::{Groups, Tenants};
use super::rebuild::Found;
use super::segment::{Pool, SegmentInfo};
use super::shard::{KeyHash, Object, ObjectRef, Place, Shard, VISIBLE};
use super::task::Tasks;

/// What is to be told.
#[derive(Clone, Debug)]
pub enum Effect {
    Send(Order),
    /// What this token asked for has been done, wherever it has to be.
    Reply(Token),
    /// An object came or went, if whoever made the master wants to know.
    Notice(Notice),
}

/// An object that can be found from now on, or cannot be found any more: removed, evicted, expired, lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub tenant: Arc<str>,
    pub key: Box<[u8]>,
    pub is_there: bool,
}

/// An answer, or the word that it comes as `Effect::Reply`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Done,
    Later,
}

/// Counts since the start, and amounts now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub objects: u64,
    pub used_bytes: u64,
    pub capacity_bytes: u64,
    /// Ranges that are not part of an object any more and not free yet.
    pub dropping: u64,
    pub evicted: u64,
    pub evicted_bytes: u64,
    pub puts_missed: u64,
    pub lost: u64,
    /// Replicas that were given up because their bytes had changed.
    pub worn: u64,
}

/// A master. Not for several threads at once; cheap enough that one is plenty.
pub struct State {
    pub(super) config: Config,
    pub(super) lead: Lead,
    pub(super) hash: KeyHash,
    pub(super) shards: Vec<Shard>,
    pub(super) pool: Pool,
    pub(super) gone: Gone,
    pub(super) tenants: Tenants,
    pub(super) groups: Groups,
    /// What is under way, by object: at most one change each.
    pub(super) changes: BTreeMap<ObjectRef, Change>,
    pub(super) grants: Grants,
    pub(super) drops: Drops,
    /// Requests that wait for more than one object.
    pub(super) waits: BTreeMap<Token, usize>,
    pub(super) tasks: Tasks,
    pub(super) found: Found,
    pub(super) last_generation: Generation,
    pub(super) eviction_turn: usize,
    pub(super) ticked_at: u64,
    pub(super) resent_at: u64,
    pub(super) stats: Stats,
    effects: Vec<Effect>,
}

impl State {
    /// A master that knows nothing yet. `master` is its own, and `now` the time in milliseconds of any steady clock.
    pub fn new(config: Config, master: MasterId, now: u64) -> State {
        let hash = KeyHash::new(config.hash_seed);
        State {
            lead: Lead::new(master, now),
            shards: (0..config.shards.max(1))
                .map(|_| Shard::new(hash.clone(), Evictor::new(config.policy, 0)))
                .collect(),
            hash,
            pool: Pool::new(config.alignment),
            gone: Gone::default(),
            tenants: Tenants::new(config.default_quota),
            groups: Groups::default(),
            changes: BTreeMap::new(),
            grants: Grants::default(),
            drops: Drops::default(),
            waits: BTreeMap::new(),
            tasks: Tasks::default(),
            found: Found::default(),
            last_generation: Generation::default(),
            eviction_turn: 0,
            ticked_at: now,
            resent_at: now,
            stats: Stats::default(),
            effects: Vec::new(),
            config,
        }
    }

    /// What has collected since the last time.
    pub fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.pool.info()
    }

    pub fn stats(&self) -> Stats {
        let (used_bytes, capacity_bytes) = self.pool.usage();
        let objects = self.tenants.iter().map(|(_, tenant)| tenant.objects).sum();
        Stats { objects, used_bytes, capacity_bytes, dropping: self.drops.len() as u64, ..self.stats }
    }

    /// Sets how many bytes a tenant may have; None is no limit. What is above it stays.
    pub fn set_quota(&mut self, tenant: &str, quota: Option<u64>) -> Result<()> {
        Name { tenant, key: b"-" }.check()?;
        let tenant = self.tenants.intern(tenant)?;
        self.tenants.get_mut(tenant).quota = quota;
        self.tenants.forget_unused(tenant);
        Ok(())
    }

    /// Bytes that a tenant uses and may use, and its objects.
    pub fn tenant(&self, tenant: &str) -> Option<(u64, Option<u64>, u64)> {
        let tenant = self.tenants.get(self.tenants.find(tenant)?);
        Some((tenant.used, tenant.quota, tenant.objects))
    }

    pub(super) fn send(&mut self, to: NodeId, command: Command) {
        let (epoch, master, floor) = (self.lead.epoch, self.lead.master, self.floor(to));
        self.effects.push(Effect::Send(Order { epoch, master, to, floor, command }));
    }

    pub(super) fn reply(&mut self, token: Token) {
        if let Some(count) = self.waits.get_mut(&token) {
            *count -= 1;
            if *count > 0 {
                return;
            }
            self.waits.remove(&token);
        }
        self.effects.push(Effect::Reply(token));
    }

    /// Below it, no writer comes to this node any more.
    fn floor(&self, node: NodeId) -> Generation {
        let lowest = self.grants.lowest(node);
        lowest.unwrap_or_else(|| self.last_generation.max(self.lead.epoch.first_generation()).next())
    }

    pub(super) fn next_generation(&mut self) -> Generation {
        self.last_generation = self.last_generation.max(self.lead.epoch.first_generation()).next();
        self.last_generation
    }

    /// Notes a grant of this memory.
    pub(super) fn granted(&mut self, now: u64, generation: Generation, at: ObjectRef, places: &[Place]) {
        let node = |place: &Place| self.pool.get(place.segment).map(|segment| segment.node);
        let mut nodes: Vec<NodeId> = places.iter().filter_map(node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        self.grants.add(generation, at, nodes, now + self.config.put_deadline_ms);
    }

    pub(super) fn find(&self, name: Name<'_>) -> Option<ObjectRef> {
        let tenant = self.tenants.find(name.tenant)?;
        self.find_in(tenant, name.key)
    }

    pub(super) fn find_in(&self, tenant: u16, key: &[u8]) -> Option<ObjectRef> {
        let hash = self.hash.of(tenant, key);
        let shard = self.shard_of(hash);
        let slot = self.shards[shard as usize].find(hash, tenant, key)?;
        Some(ObjectRef { shard, slot })
    }

    /// Adds an object that nobody sees yet.
    pub(super) fn add(&mut self, tenant: u16, key: &[u8]) -> Result<ObjectRef> {
        let hash = self.hash.of(tenant, key);
        let shard = self.shard_of(hash);
        let slot = self.shards[shard as usize].insert(hash, tenant, key);
        let slot = slot.ok_or(Refusal::new(Code::Exhausted, "the index is full"))?;
        self.tenants.get_mut(tenant).keys += 1;
        Ok(ObjectRef { shard, slot })
    }

    /// Undoes `add`, of an object that nobody sees.
    pub(super) fn erase(&mut self, at: ObjectRef) {
        let tenant = self.object(at).tenant;
        self.shards[at.shard as usize].remove(at.slot);
        self.tenants.get_mut(tenant).keys -= 1;
        self.tenants.forget_unused(tenant);
    }

    fn shard_of(&self, hash: u64) -> u32 {
        // The table uses the upper and the lower bits of the hash.
        ((hash >> 24) % self.shards.len() as u64) as u32
    }

    pub(super) fn object(&self, at: ObjectRef) -> &Object {
        self.shards[at.shard as usize].objects.get(at.slot)
    }

    pub(super) fn key(&self, at: ObjectRef) -> &[u8] {
        self.shards[at.shard as usize].key(at.slot)
    }

    pub(super) fn object_mut(&mut self, at: ObjectRef) -> &mut Object {
        self.shards[at.shard as usize].objects.get_mut(at.slot)
    }

    /// Makes an object one that is found, counted and evicted.
    pub(super) fn show(&mut self, at: ObjectRef, group: &Arc<str>) {
        let tenant = self.object(at).tenant;
        let group = self.groups.join(tenant, group, at);
        let object = self.object_mut(at);
        object.group = group;
        object.set(VISIBLE, true);
        let charge = object.charge();
        self.tenants.charge(tenant, charge);
        self.tenants.get_mut(tenant).objects += 1;
        self.shards[at.shard as usize].enroll(at.slot);
        self.notice(at, true);
    }

    /// Undoes `show`.
    pub(super) fn hide(&mut self, at: ObjectRef) {
        let object = self.object_mut(at);
        object.set(VISIBLE, false);
        let (tenant, charge, group) = (object.tenant, object.charge(), std::mem::take(&mut object.group));
        self.tenants.uncharge(tenant, charge);
        self.tenants.get_mut(tenant).objects -= 1;
        self.groups.leave(group, at);
        self.shards[at.shard as usize].strike(at.slot);
        self.notice(at, false);
    }

    fn notice(&mut self, at: ObjectRef, is_there: bool) {
        if self.config.notices {
            let tenant = self.tenants.get(self.object(at).tenant).name.clone();
            self.effects.push(Effect::Notice(Notice { tenant, key: self.key(at).into(), is_there }));
        }
    }
}
