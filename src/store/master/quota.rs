//! Tenants and what they may have; groups and who is in them. Both are numbers inside the index.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::error::Code;
use crate::store::refusal::{Refusal, Result};
use crate::store::slab::Slab;

use super::shard::ObjectRef;

#[derive(Debug)]
pub struct Tenant {
    pub name: Arc<str>,
    pub quota: Option<u64>,
    /// Bytes of all replicas of its objects, and of those being written.
    pub used: u64,
    pub objects: u64,
}

/// Tenants are never forgotten: there are few, and their numbers are in every object.
#[derive(Debug, Default)]
pub struct Tenants {
    numbers: HashMap<Arc<str>, u16, std::hash::BuildHasherDefault<std::hash::DefaultHasher>>,
    pub list: Vec<Tenant>,
}

impl Tenants {
    pub fn find(&self, name: &str) -> Option<u16> {
        self.numbers.get(name).copied()
    }

    pub fn intern(&mut self, name: &str, quota: Option<u64>) -> Result<u16> {
        if let Some(number) = self.find(name) {
            return Ok(number);
        }
        let number = u16::try_from(self.list.len())
            .map_err(|_| Refusal::new(Code::Exhausted, "65536 tenants are the limit"))?;
        let name: Arc<str> = name.into();
        self.numbers.insert(name.clone(), number);
        self.list.push(Tenant { name, quota, used: 0, objects: 0 });
        Ok(number)
    }

    pub fn get(&self, tenant: u16) -> &Tenant {
        &self.list[usize::from(tenant)]
    }

    pub fn get_mut(&mut self, tenant: u16) -> &mut Tenant {
        &mut self.list[usize::from(tenant)]
    }

    /// Refuses if `more` bytes instead of `less` would be above the quota.
    pub fn check(&self, tenant: u16, more: u64, less: u64) -> Result<()> {
        let tenant = self.get(tenant);
        let after = tenant.used.saturating_sub(less).saturating_add(more);
        if tenant.quota.is_some_and(|quota| after > quota) {
            return Err(Refusal::new(Code::QuotaExceeded, "the tenant's quota of bytes is used up"));
        }
        Ok(())
    }

    pub fn charge(&mut self, tenant: u16, bytes: u64) {
        self.get_mut(tenant).used += bytes;
    }

    pub fn uncharge(&mut self, tenant: u16, bytes: u64) {
        self.get_mut(tenant).used -= bytes;
    }
}

#[derive(Debug, Default)]
pub struct Group {
    pub tenant: u16,
    pub name: Option<Arc<str>>,
    pub members: Vec<ObjectRef>,
}

/// Groups that have members. Number 0 is no group.
#[derive(Debug)]
pub struct Groups {
    numbers: BTreeMap<(u16, Arc<str>), u32>,
    pub list: Slab<Group>,
}

impl Default for Groups {
    fn default() -> Self {
        let mut list = Slab::default();
        list.insert(Group::default());
        Groups { numbers: BTreeMap::new(), list }
    }
}

impl Groups {
    pub fn join(&mut self, tenant: u16, name: &Arc<str>, member: ObjectRef) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let key = (tenant, name.clone());
        let number = match self.numbers.get(&key) {
            Some(number) => *number,
            None => {
                let group = Group { tenant, name: Some(name.clone()), members: Vec::new() };
                // Without a number it is an object like any other.
                let Some(number) = self.list.insert(group) else { return 0 };
                self.numbers.insert(key, number);
                number
            }
        };
        self.list.get_mut(number).members.push(member);
        number
    }

    pub fn leave(&mut self, group: u32, member: ObjectRef) {
        if group == 0 {
            return;
        }
        let members = &mut self.list.get_mut(group).members;
        if let Some(index) = members.iter().position(|other| *other == member) {
            members.swap_remove(index);
        }
        if members.is_empty() {
            let gone = self.list.remove(group);
            self.numbers.remove(&(gone.tenant, gone.name.expect("only number 0 has no name")));
        }
    }

    pub fn name(&self, group: u32) -> Arc<str> {
        self.list.get(group).name.clone().unwrap_or_else(|| "".into())
    }

    /// All that go together with an object, itself included.
    pub fn members(&self, group: u32, own: ObjectRef) -> Vec<ObjectRef> {
        if group == 0 { vec![own] } else { self.list.get(group).members.clone() }
    }
}
