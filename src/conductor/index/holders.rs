//! Instances and their ranks, each in a slot: the number that blocks know it by.

use std::collections::HashMap;

use crate::bail;
use crate::error::Result;

/// Most holders of a context at once: what the cells of blocks can name, less one.
pub const MOST_HOLDERS: usize = (1 << 11) - 1;

/// One data-parallel rank of an instance, or a pool such as the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    pub instance: String,
    pub rank: u32,
}

/// A holder in one context, until it is unregistered: a name that is registered again has another id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HolderId {
    slot: u16,
    registration: u32,
}

#[derive(Debug, Default)]
pub struct Holders {
    slots: Vec<Option<(u32, Holder)>>,
    free: Vec<u16>,
    by_name: HashMap<Holder, HolderId>,
    registrations: u32,
}

impl Holders {
    /// The id of the holder, which is made if it is new.
    pub fn register(&mut self, holder: Holder) -> Result<HolderId> {
        if let Some(id) = self.by_name.get(&holder) {
            return Ok(*id);
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < MOST_HOLDERS => {
                self.slots.push(None);
                (self.slots.len() - 1) as u16
            }
            None => bail!(Exhausted, "{MOST_HOLDERS} ranks in one context is the limit: unregister some"),
        };
        self.registrations = self.registrations.wrapping_add(1);
        let id = HolderId { slot, registration: self.registrations };
        self.by_name.insert(holder.clone(), id);
        self.slots[usize::from(slot)] = Some((id.registration, holder));
        Ok(id)
    }

    pub fn unregister(&mut self, id: HolderId) -> Result<u16> {
        let Some(slot) = self.slot(id) else {
            bail!(InvalidHandle, "this holder is not registered, or no longer");
        };
        if let Some((_, holder)) = self.slots[usize::from(slot)].take() {
            self.by_name.remove(&holder);
        }
        self.free.push(slot);
        Ok(slot)
    }

    /// The slot of a holder that is registered.
    pub fn slot(&self, id: HolderId) -> Option<u16> {
        self.get(id).map(|_| id.slot)
    }

    pub fn get(&self, id: HolderId) -> Option<&Holder> {
        let (registration, holder) = self.slots.get(usize::from(id.slot))?.as_ref()?;
        (*registration == id.registration).then_some(holder)
    }

    pub fn id(&self, holder: &Holder) -> Option<HolderId> {
        self.by_name.get(holder).copied()
    }

    /// Who is in the slot.
    pub fn at(&self, slot: usize) -> Option<HolderId> {
        let (registration, _) = self.slots.get(slot)?.as_ref()?;
        Some(HolderId { slot: u16::try_from(slot).ok()?, registration: *registration })
    }

    /// All that are registered, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (u16, HolderId, &Holder)> {
        self.slots.iter().zip(0..).filter_map(|(taken, slot)| {
            let (registration, holder) = taken.as_ref()?;
            Some((slot, HolderId { slot, registration: *registration }, holder))
        })
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// How many slots there are, free ones included.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(rank: u32) -> Holder {
        Holder { instance: "a".into(), rank }
    }

    #[test]
    fn registering_twice_is_once_and_registering_again_is_another() {
        let mut holders = Holders::default();
        let id = holders.register(holder(0)).expect("room");
        assert_eq!(holders.register(holder(0)).expect("known"), id);
        assert_eq!(holders.unregister(id).expect("live"), 0);
        assert!(holders.unregister(id).is_err());
        let again = holders.register(holder(0)).expect("room");
        assert_eq!((holders.slot(id), holders.slot(again), holders.slots()), (None, Some(0), 1));
    }

    #[test]
    fn more_holders_than_blocks_can_name_are_refused() {
        let mut holders = Holders::default();
        for rank in 0..MOST_HOLDERS as u32 {
            holders.register(holder(rank)).expect("room");
        }
        assert!(holders.register(holder(u32::MAX)).is_err());
        assert_eq!((holders.len(), holders.iter().count()), (MOST_HOLDERS, MOST_HOLDERS));
    }
}
