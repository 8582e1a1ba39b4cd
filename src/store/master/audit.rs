//! Whether what is kept twice is the same: for tests, simulations, and whoever doubts.

use std::collections::{BTreeMap, BTreeSet};

use super::change::Work;
use super::shard::{ObjectRef, Place};
use super::state::State;

/// Bytes and blocks of a segment that something refers to.
type Taken = BTreeMap<u32, BTreeSet<u32>>;

impl State {
    /// Recounts everything. The text says what does not add up.
    pub fn audit(&self) -> Result<(), String> {
        let mut taken = Taken::new();
        let mut tenants = BTreeMap::<u16, (u64, u64, u64)>::new();
        let mut slots = 0;
        for (shard, part) in self.shards.iter().enumerate() {
            if part.len() != part.objects.len() {
                return Err(format!(
                    "shard {shard}: {} in the table, {} in slots",
                    part.len(),
                    part.objects.len()
                ));
            }
            for slot in part.slots(0) {
                slots += 1;
                let at = ObjectRef { shard: shard as u32, slot };
                self.audit_object(at, &mut taken)?;
                let object = self.object(at);
                let tenant = tenants.entry(object.tenant).or_default();
                tenant.2 += 1;
                if object.is_visible() {
                    (tenant.0, tenant.1) = (tenant.0 + object.charge(), tenant.1 + 1);
                }
                if let Work::Put(put) = self.work(at) {
                    tenant.0 += put.size * u64::from(put.replicas);
                }
            }
        }
        if slots != self.shards.iter().map(|shard| shard.len()).sum::<usize>() {
            return Err("objects without a key".into());
        }
        for (number, tenant) in self.tenants.iter() {
            let counted = tenants.remove(&number).unwrap_or_default();
            if (tenant.used, tenant.objects, tenant.keys) != counted {
                return Err(format!("tenant {}: {tenant:?}, counted {counted:?}", tenant.name));
            }
            if counted == (0, 0, 0) && tenant.quota == self.config.default_quota {
                return Err(format!("tenant {} has nothing, and is not forgotten", tenant.name));
            }
        }
        if let Some(number) = tenants.keys().next() {
            return Err(format!("tenant {number} was forgotten, and has objects"));
        }
        for drop in self.drops.iter() {
            take(&mut taken, &drop.place)?;
            if drop.owner.is_some_and(|owner| !self.changes.contains_key(&owner)) {
                return Err(format!("{drop:?} is waited for by nobody"));
            }
        }
        self.audit_changes()?;
        self.audit_memory(&taken)
    }

    fn audit_object(&self, at: ObjectRef, taken: &mut Taken) -> Result<(), String> {
        let object = self.object(at);
        if object.is_changing() != self.changes.contains_key(&at)
            || !object.is_visible() && !object.is_changing()
        {
            // Pieces of an object wait invisibly for the rest of a report.
            if !self.is_found(at) {
                return Err(format!("{object:?} is neither there nor coming nor going"));
            }
        }
        if object.is_visible() && (object.replicas == 0 || object.places.as_slice().is_empty()) {
            return Err(format!("{object:?} is nowhere"));
        }
        let is_member = self.groups.list.get(object.group).members.contains(&at);
        if object.group != 0 && !is_member {
            return Err(format!("{object:?} is not in its group"));
        }
        let found = if self.is_found(at) { self.found_places(at) } else { object.places.as_slice().to_vec() };
        found.iter().try_for_each(|place| take(taken, place))?;
        match self.work(at) {
            Work::Put(put) => put.places.as_slice().iter().try_for_each(|place| take(taken, place)),
            Work::Copy(copying) => copying.places.iter().try_for_each(|place| take(taken, place)),
            Work::None => Ok(()),
        }
    }

    fn audit_changes(&self) -> Result<(), String> {
        for (at, change) in &self.changes {
            let waiting = self.drops.iter().filter(|drop| drop.owner == Some(*at)).count();
            if waiting != change.waiting {
                return Err(format!("{at:?} waits for {} drops, and there are {waiting}", change.waiting));
            }
            if waiting == 0 && matches!(change.work, Work::None) {
                return Err(format!("{at:?} changes, and nothing is done"));
            }
        }
        for (generation, at) in self.grants.iter() {
            let is_its = match self.work(at) {
                Work::Put(put) => put.version.0 == generation.0,
                Work::Copy(copying) => copying.generation == generation,
                Work::None => false,
            };
            if !is_its {
                return Err(format!("{generation:?} is granted to nobody"));
            }
        }
        Ok(())
    }

    fn audit_memory(&self, taken: &Taken) -> Result<(), String> {
        for (slot, segment) in self.pool.iter() {
            let blocks = taken.get(&slot).cloned().unwrap_or_default();
            let bytes: u64 = blocks.iter().map(|block| segment.allocator.taken(*block)).sum();
            if bytes != segment.allocator.used() {
                let used = segment.allocator.used();
                let at =
                    |block: &u32| (*block, segment.allocator.offset(*block), segment.allocator.taken(*block));
                let blocks: Vec<(u32, u64, u64)> = blocks.iter().map(at).collect();
                return Err(format!(
                    "segment {}: {used} bytes are taken, {bytes} are used: {blocks:?}",
                    segment.name
                ));
            }
        }
        match taken.keys().find(|slot| self.pool.get(**slot).is_none() && !self.gone.contains(**slot)) {
            Some(slot) => Err(format!("segment {slot} is gone and in use")),
            None => Ok(()),
        }
    }
}

fn take(taken: &mut Taken, place: &Place) -> Result<(), String> {
    match taken.entry(place.segment).or_default().insert(place.block) {
        true => Ok(()),
        false => Err(format!("{place:?} is used twice")),
    }
}
