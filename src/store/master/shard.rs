//! One part of the index: a table of slots, and objects of few bytes beside their keys.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU64;

use hashbrown::HashTable;

use crate::store::eviction::Evictor;
use crate::store::object::{Generation, Version};
use crate::store::slab::Slab;

use super::keys::{KeyAt, Keys};

/// An object of a shard. It is not used for another one while anything refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    pub shard: u32,
    pub slot: u32,
}

/// A range of a segment that holds a stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    generation: NonZeroU64,
    pub segment: u32,
    pub block: u32,
}

impl Place {
    pub fn new(generation: Generation, segment: u32, block: u32) -> Place {
        // Epochs begin at 1, and so no generation is 0.
        Place { generation: NonZeroU64::new(generation.0).unwrap_or(NonZeroU64::MIN), segment, block }
    }

    pub fn generation(&self) -> Generation {
        Generation(self.generation.get())
    }
}

/// The stripes of all replicas, one replica after the other. Most objects have one, which takes 16 bytes.
#[derive(Clone, Debug)]
pub enum Places {
    One(Place),
    /// Behind one thin pointer, so that the generation of the other kind can tell the two apart.
    Many(Option<Box<Box<[Place]>>>),
}

const _: () = assert!(size_of::<Places>() == 16 && size_of::<Object>() <= 64);

impl Default for Places {
    fn default() -> Self {
        Places::Many(None)
    }
}

impl Places {
    pub fn as_slice(&self) -> &[Place] {
        match self {
            Places::One(place) => std::slice::from_ref(place),
            Places::Many(None) => &[],
            Places::Many(Some(places)) => places,
        }
    }
}

impl From<Vec<Place>> for Places {
    fn from(places: Vec<Place>) -> Places {
        match places[..] {
            [] => Places::default(),
            [place] => Places::One(place),
            _ => Places::Many(Some(Box::new(places.into()))),
        }
    }
}

/// The object can be found. Otherwise only a change knows of it.
pub const VISIBLE: u8 = 1;
/// There is a change of it under way.
pub const CHANGING: u8 = 2;
pub const HARD_PIN: u8 = 4;
/// Found after a start with fewer replicas than its put made: perhaps it never was acknowledged.
pub const PARTIAL: u8 = 8;

/// What is known of an object. There are very many of them: every byte counts.
#[derive(Debug, Default)]
pub struct Object {
    pub key: KeyAt,
    pub places: Places,
    pub version: Version,
    pub size: u64,
    pub lease_until: u64,
    pub soft_until: u64,
    /// 0 is none.
    pub group: u32,
    pub tenant: u16,
    pub replicas: u8,
    pub flags: u8,
}

impl Object {
    pub fn is_visible(&self) -> bool {
        self.flags & VISIBLE != 0
    }

    pub fn is_changing(&self) -> bool {
        self.flags & CHANGING != 0
    }

    pub fn set(&mut self, flag: u8, on: bool) {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
    }

    /// What it counts for its tenant.
    pub fn charge(&self) -> u64 {
        self.size * u64::from(self.replicas)
    }

    pub fn stripes(&self) -> usize {
        self.places.as_slice().len() / usize::from(self.replicas.max(1))
    }

    /// Replicas as slices of their stripes.
    pub fn copies(&self) -> impl Iterator<Item = &[Place]> {
        self.places.as_slice().chunks(self.stripes().max(1))
    }
}

/// SipHash with a seed in front, which it has taken in already.
#[derive(Clone, Debug)]
pub struct KeyHash(DefaultHasher);

impl KeyHash {
    pub fn new(seed: u64) -> KeyHash {
        let mut seeded = DefaultHasher::new();
        seed.hash(&mut seeded);
        KeyHash(seeded)
    }

    pub fn of(&self, tenant: u16, key: &[u8]) -> u64 {
        let mut hasher = self.0.clone();
        (tenant, key).hash(&mut hasher);
        hasher.finish()
    }
}

pub struct Shard {
    hash: KeyHash,
    index: HashTable<u32>,
    pub objects: Slab<Object>,
    keys: Keys,
    /// Weights are KiB. Away while it is asked for a victim.
    pub eviction: Option<Evictor>,
}

impl Shard {
    pub fn new(hash: KeyHash, eviction: Evictor) -> Shard {
        Shard {
            hash,
            index: HashTable::new(),
            objects: Slab::default(),
            keys: Keys::default(),
            eviction: Some(eviction),
        }
    }

    pub fn find(&self, hash: u64, tenant: u16, key: &[u8]) -> Option<u32> {
        let same = |slot: &u32| {
            let object = self.objects.get(*slot);
            object.tenant == tenant && self.keys.get(object.key) == key
        };
        self.index.find(hash, same).copied()
    }

    /// Adds an object whose key is not there yet. None when there is no slot left.
    pub fn insert(&mut self, hash: u64, tenant: u16, key: &[u8]) -> Option<u32> {
        let key = self.keys.insert(key)?;
        let Some(slot) = self.objects.insert(Object { key, tenant, ..Object::default() }) else {
            self.keys.remove(key);
            return None;
        };
        let (objects, keys, key_hash) = (&self.objects, &self.keys, &self.hash);
        self.index.insert_unique(hash, slot, |slot| {
            let object = objects.get(*slot);
            key_hash.of(object.tenant, keys.get(object.key))
        });
        Some(slot)
    }

    pub fn remove(&mut self, slot: u32) {
        let object = self.objects.get(slot);
        let hash = self.hash.of(object.tenant, self.keys.get(object.key));
        if let Ok(found) = self.index.find_entry(hash, |other| *other == slot) {
            found.remove();
        }
        let object = self.objects.remove(slot);
        self.keys.remove(object.key);
    }

    pub fn key(&self, slot: u32) -> &[u8] {
        self.keys.get(self.objects.get(slot).key)
    }

    /// Slots of objects from `from` on. Free ones have no key.
    pub fn slots(&self, from: u32) -> impl Iterator<Item = u32> {
        (from..self.objects.slots() as u32).filter(|slot| !self.objects.get(*slot).key.is_empty())
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// An object may be evicted from now on.
    pub fn enroll(&mut self, slot: u32) {
        let object = self.objects.get(slot);
        let key = (self.hash.of(object.tenant, self.keys.get(object.key)) >> 32) as u32;
        let weight = kib(object.charge());
        if object.flags & HARD_PIN == 0
            && let Some(eviction) = &mut self.eviction
        {
            eviction.insert(slot, key, weight);
        }
    }

    /// Undoes `enroll`.
    pub fn strike(&mut self, slot: u32) {
        if let Some(eviction) = &mut self.eviction {
            eviction.remove(slot);
        }
    }
}

/// Weights in the order of eviction: KiB, rounded up, and no more than it can hold.
fn kib(bytes: u64) -> u32 {
    bytes.div_ceil(1 << 10).min((1 << 27) - 1) as u32
}
