//! Child ids: `{root tag:11, generation:32, index:20}` in a u64, and the slab that makes stale ids always detectable.

use crate::error::Result;
use crate::{bail, fail};

const INDEX_BITS: u32 = 20;
const GENERATION_BITS: u32 = 32;
/// Most entries one slab can hold.
pub const MAX_INDEX: usize = (1 << INDEX_BITS) - 1;
/// Roots are told apart by 11 bits in their children's ids.
pub const ROOT_TAGS: usize = 1 << 11;

/// A child id taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id {
    pub tag: u16,
    pub generation: u32,
    pub index: u32,
}

impl Id {
    pub fn raw(self) -> u64 {
        (u64::from(self.tag) << (GENERATION_BITS + INDEX_BITS))
            | (u64::from(self.generation) << INDEX_BITS)
            | u64::from(self.index)
    }

    pub fn from_raw(raw: u64) -> Id {
        Id {
            tag: ((raw >> (GENERATION_BITS + INDEX_BITS)) & 0x7ff) as u16,
            generation: (raw >> INDEX_BITS) as u32,
            index: (raw & MAX_INDEX as u64) as u32,
        }
    }
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Entries named by ids that are never reused while a caller could still hold the old one: each slot counts its
/// generations, and free slots are taken in the order in which they became free.
pub struct Slab<T> {
    noun: &'static str,
    tag: u16,
    slots: Vec<Slot<T>>,
    free: std::collections::VecDeque<u32>,
    limit: usize,
    live: usize,
    /// Generation before the first of each slot.
    origin: u32,
}

impl<T> Slab<T> {
    /// `noun` names the thing in errors; `limit` bounds how many live at once.
    pub fn new(noun: &'static str, tag: u16, limit: usize) -> Slab<T> {
        Slab {
            noun,
            tag,
            slots: Vec::new(),
            free: Default::default(),
            limit: limit.min(MAX_INDEX),
            live: 0,
            origin: 0,
        }
    }

    /// A slab whose ids no other slab of the same tag gives: its generations start half-way.
    pub fn new_apart(noun: &'static str, tag: u16, limit: usize) -> Slab<T> {
        Slab::new_of_kind(noun, tag, limit, 2)
    }

    /// One of up to four slabs of the same tag that give no ids in common: generations start at so many quarters.
    pub fn new_of_kind(noun: &'static str, tag: u16, limit: usize, kind: u32) -> Slab<T> {
        Slab { origin: u32::MAX / 4 * kind.min(3), ..Slab::new(noun, tag, limit) }
    }

    pub fn insert(&mut self, value: T) -> Result<u64> {
        if self.live >= self.limit {
            bail!(Exhausted, "{} live {}s is the limit: close or release some", self.live, self.noun);
        }
        // A slot is used again only when several others have been: a stale id then meets another generation.
        let index = match self.free.pop_front() {
            Some(index) => index as usize,
            None => {
                self.slots.push(Slot { generation: self.origin, value: None });
                self.slots.len() - 1
            }
        };
        let slot = &mut self.slots[index];
        slot.generation = slot.generation.wrapping_add(1).max(1);
        slot.value = Some(value);
        self.live += 1;
        Ok(Id { tag: self.tag, generation: slot.generation, index: index as u32 }.raw())
    }

    fn index_of(&self, raw: u64) -> Result<usize> {
        let id = Id::from_raw(raw);
        let noun = self.noun;
        if raw == 0 {
            bail!(InvalidHandle, "0 is never a valid {noun}");
        }
        if id.tag != self.tag {
            bail!(InvalidHandle, "{noun} {raw:#x} belongs to another engine");
        }
        // The bits above the tag are never set.
        match self.slots.get(id.index as usize).filter(|_| id.raw() == raw) {
            Some(slot) if slot.generation == id.generation && slot.value.is_some() => Ok(id.index as usize),
            _ => Err(fail!(
                InvalidHandle,
                "{noun} {raw:#x} is stale: it was closed or released, or never existed"
            )),
        }
    }

    pub fn get(&self, raw: u64) -> Result<&T> {
        let index = self.index_of(raw)?;
        Ok(self.slots[index].value.as_ref().expect("index_of returns only filled slots"))
    }

    pub fn get_mut(&mut self, raw: u64) -> Result<&mut T> {
        let index = self.index_of(raw)?;
        Ok(self.slots[index].value.as_mut().expect("index_of returns only filled slots"))
    }

    pub fn remove(&mut self, raw: u64) -> Result<T> {
        let index = self.index_of(raw)?;
        let value = self.slots[index].value.take().expect("index_of returns only filled slots");
        self.free.push_back(index as u32);
        self.live -= 1;
        Ok(value)
    }

    /// Puts a value back under the id it was just removed from. Only for a removal that turned out impossible.
    pub fn restore(&mut self, raw: u64, value: T) {
        let id = Id::from_raw(raw);
        self.free.retain(|index| *index != id.index);
        let slot = &mut self.slots[id.index as usize];
        if slot.value.is_none() && slot.generation == id.generation {
            slot.value = Some(value);
            self.live += 1;
        }
    }

    pub fn len(&self) -> usize {
        self.live
    }

    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        let tag = self.tag;
        self.slots.iter().enumerate().filter_map(move |(index, slot)| {
            let id = Id { tag, generation: slot.generation, index: index as u32 };
            slot.value.as_ref().map(|value| (id.raw(), value))
        })
    }

    pub fn drain(&mut self) -> Vec<T> {
        self.free.clear();
        self.live = 0;
        let taken: Vec<T> = self.slots.iter_mut().filter_map(|slot| slot.value.take()).collect();
        self.free.extend(0..self.slots.len() as u32);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zero_foreign_and_stale_ids_are_rejected() {
        let mut slab = Slab::new("batch", 3, 10);
        let id = slab.insert("a").expect("room");
        assert!(slab.get(0).is_err());
        assert!(slab.get(Id { tag: 4, ..Id::from_raw(id) }.raw()).is_err());
        assert_eq!(slab.remove(id).expect("live"), "a");
        assert!(slab.get(id).is_err());
        assert!(slab.remove(id).is_err());
        let again = slab.insert("b").expect("room");
        assert_ne!(again, id);
    }

    #[test]
    fn an_id_of_one_slab_is_unknown_in_another_apart_with_the_same_tag() {
        let (mut native, mut apart) = (Slab::new("batch", 3, 10), Slab::new_apart("batch", 3, 10));
        let (a, b) = (native.insert(1).expect("room"), apart.insert(2).expect("room"));
        assert_ne!(a, b);
        assert!(native.get(b).is_err() && apart.get(a).is_err());
        assert_eq!((native.get(a).expect("live"), apart.get(b).expect("live")), (&1, &2));
    }

    #[test]
    fn the_limit_is_an_error_not_a_panic() {
        let mut slab = Slab::new("batch", 0, 1);
        slab.insert(1).expect("room");
        assert_eq!(slab.insert(2).expect_err("full").code, crate::error::Code::Exhausted);
    }

    proptest! {
        #[test]
        fn a_removed_id_never_names_anything_again(steps in proptest::collection::vec(any::<(bool, u8)>(), 1..400)) {
            let mut slab = Slab::new("thing", 7, 64);
            let mut live: Vec<(u64, usize)> = Vec::new();
            let mut dead: Vec<u64> = Vec::new();
            for (step, (insert, pick)) in steps.into_iter().enumerate() {
                if insert || live.is_empty() {
                    if let Ok(id) = slab.insert(step) {
                        prop_assert!(!dead.contains(&id));
                        live.push((id, step));
                    }
                } else {
                    let (id, value) = live.swap_remove(pick as usize % live.len());
                    prop_assert_eq!(slab.remove(id).expect("live"), value);
                    dead.push(id);
                }
                for (id, value) in &live { prop_assert_eq!(slab.get(*id).expect("live"), value); }
                for id in &dead { prop_assert!(slab.get(*id).is_err()); }
                prop_assert_eq!(slab.len(), live.len());
            }
        }
    }
}
