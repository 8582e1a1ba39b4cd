//! Tenants and what they may have; groups and who is in them. Both are numbers inside the index.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

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
    /// Keys in the index, seen or not: they have its number.
    pub keys: u64,
}

/// Always the same, so that a play can be repeated.
type Hasher = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

/// Tenants that have something, or a quota of their own. The number of one that is forgotten is used again.
#[derive(Debug)]
pub struct Tenants {
    numbers: HashMap<Arc<str>, u16, Hasher>,
    /// Of the one whose name is empty.
    nameless: Option<u16>,
    list: Vec<Option<Tenant>>,
    free: Vec<u16>,
    default_quota: Option<u64>,
}

impl Tenants {
    pub fn find(&self, name: &str) -> Option<u16> {
        // Most callers have no name, and to compare nothing with nothing takes some processors longer than all the rest: the
        // memory of an empty text is at no address.
        if name.is_empty() { self.nameless } else { self.numbers.get(name).copied() }
    }

    pub fn new(default_quota: Option<u64>) -> Tenants {
        Tenants {
            numbers: HashMap::default(),
            nameless: None,
            list: Vec::new(),
            free: Vec::new(),
            default_quota,
        }
    }

    /// The number of a tenant, known from now on until `forget_unused`.
    pub fn intern(&mut self, name: &str) -> Result<u16> {
        if let Some(number) = self.find(name) {
            return Ok(number);
        }
        let name: Arc<str> = name.into();
        let quota = self.default_quota;
        let tenant = Some(Tenant { name: name.clone(), quota, used: 0, objects: 0, keys: 0 });
        let number = match self.free.pop() {
            Some(number) => {
                self.list[usize::from(number)] = tenant;
                number
            }
            None => {
                let number = u16::try_from(self.list.len())
                    .map_err(|_| Refusal::new(Code::Exhausted, "65536 tenants are the limit"))?;
                self.list.push(tenant);
                number
            }
        };
        if name.is_empty() {
            self.nameless = Some(number);
        } else {
            self.numbers.insert(name, number);
        }
        Ok(number)
    }

    /// Forgets a tenant that has nothing and no quota of its own.
    pub fn forget_unused(&mut self, number: u16) {
        let tenant = self.get(number);
        if tenant.keys == 0 && tenant.used == 0 && tenant.quota == self.default_quota {
            if tenant.name.is_empty() {
                self.nameless = None;
            } else {
                self.numbers.remove(&tenant.name.clone());
            }
            self.list[usize::from(number)] = None;
            self.free.push(number);
        }
    }

    pub fn get(&self, tenant: u16) -> &Tenant {
        self.list[usize::from(tenant)].as_ref().expect("a tenant is known while it has something")
    }

    pub fn get_mut(&mut self, tenant: u16) -> &mut Tenant {
        self.list[usize::from(tenant)].as_mut().expect("a tenant is known while it has something")
    }

    pub fn iter(&self) -> impl Iterator<Item = (u16, &Tenant)> {
        (0..).zip(&self.list).filter_map(|(number, tenant)| Some((number, tenant.as_ref()?)))
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
    pub members: HashSet<ObjectRef, Hasher>,
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
                let group = Group { tenant, name: Some(name.clone()), ..Group::default() };
                // Without a number it is an object like any other.
                let Some(number) = self.list.insert(group) else { return 0 };
                self.numbers.insert(key, number);
                number
            }
        };
        self.list.get_mut(number).members.insert(member);
        number
    }

    pub fn leave(&mut self, group: u32, member: ObjectRef) {
        if group == 0 {
            return;
        }
        let members = &mut self.list.get_mut(group).members;
        members.remove(&member);
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
        if group == 0 { vec![own] } else { self.list.get(group).members.iter().copied().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenant_without_a_name_is_one_like_any_other() {
        let mut tenants = Tenants::new(Some(10));
        for name in ["", "t"] {
            assert_eq!(tenants.find(name), None);
            let number = tenants.intern(name).expect("room");
            assert_eq!((tenants.find(name), tenants.intern(name).ok()), (Some(number), Some(number)));
        }
        assert_ne!(tenants.find(""), tenants.find("t"));
        for name in ["", "t"] {
            tenants.forget_unused(tenants.find(name).expect("known"));
            assert_eq!(tenants.find(name), None);
        }
    }

    #[test]
    fn more_tenants_come_and_go_than_there_can_be_at_a_time() {
        let mut tenants = Tenants::new(Some(10));
        for index in 0..100_000 {
            let number = tenants.intern(&format!("t{index}")).expect("a number");
            tenants.get_mut(number).keys = u64::from(index % 2 == 0 && index < 60_000);
            tenants.forget_unused(number);
        }
        assert_eq!((tenants.iter().count(), tenants.list.len()), (30_000, 30_001));
        assert!(tenants.find("t0").is_some() && tenants.find("t1").is_none());
    }

    #[test]
    fn a_group_is_there_while_it_has_members() {
        let mut groups = Groups::default();
        let at = |slot| ObjectRef { shard: 0, slot };
        let group = groups.join(3, &"g".into(), at(0));
        assert_eq!(groups.join(3, &"g".into(), at(1)), group);
        assert_ne!(groups.join(4, &"g".into(), at(2)), group);
        groups.leave(group, at(0));
        assert_eq!(groups.members(group, at(1)), [at(1)]);
        groups.leave(group, at(1));
        assert_eq!((groups.numbers.len(), groups.list.len()), (1, 2));
    }
}
