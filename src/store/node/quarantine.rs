//! Entries by what they wait for, so that a word about one writer, a floor, or time finds those that it is about.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::object::{ClientId, EntryState, Generation, SegmentId};

use super::inventory::Held;

/// An entry's place.
pub type At = (SegmentId, u64);

/// Each entry is in one of these at most: one that a writer may touch with its writer, whether it is in quarantine or not;
/// others that are in quarantine with the floor that they wait for, or below it, with the readers.
#[derive(Debug, Default)]
pub struct Quarantine {
    writers: BTreeMap<ClientId, BTreeSet<(Generation, At)>>,
    above_floor: BTreeSet<(Generation, At)>,
    readers: BTreeSet<(u64, At)>,
}

impl Quarantine {
    /// Takes note of an entry as it is now.
    pub fn enter(&mut self, at: At, held: &Held, floor: Generation) {
        let generation = held.entry.generation;
        if let Some(writer) = held.writer {
            self.writers.entry(writer).or_default().insert((generation, at));
        } else if held.entry.state != EntryState::Quarantined {
        } else if generation >= floor {
            self.above_floor.insert((generation, at));
        } else {
            self.readers.insert((held.readers_until, at));
        }
    }

    /// Forgets an entry as it was entered, before it changes.
    pub fn leave(&mut self, at: At, held: &Held) {
        let generation = held.entry.generation;
        match held.writer {
            Some(writer) => {
                if let Some(entries) = self.writers.get_mut(&writer) {
                    entries.remove(&(generation, at));
                    if entries.is_empty() {
                        self.writers.remove(&writer);
                    }
                }
            }
            None => {
                let _ = self.above_floor.remove(&(generation, at))
                    || self.readers.remove(&(held.readers_until, at));
            }
        }
    }

    /// Entries that this writer may touch: all, or those of one grant.
    pub fn of_writer(&self, writer: ClientId, generation: Option<Generation>) -> Vec<At> {
        let entries = self.writers.get(&writer).into_iter().flatten();
        entries.filter(|entry| generation.is_none_or(|one| one == entry.0)).map(|entry| entry.1).collect()
    }

    /// Entries that any writer may touch.
    pub fn of_writers(&self) -> Vec<At> {
        self.writers.values().flatten().map(|entry| entry.1).collect()
    }

    /// Takes out one that is below a floor. It is to be entered again.
    pub fn pop_below(&mut self, floor: Generation) -> Option<At> {
        let first = *self.above_floor.first()?;
        if first.0 >= floor {
            return None;
        }
        self.above_floor.remove(&first);
        Some(first.1)
    }

    /// Takes out one that nothing can touch any more.
    pub fn pop_free(&mut self, now: u64) -> Option<At> {
        if self.next_free()? > now {
            return None;
        }
        self.readers.pop_first().map(|entry| entry.1)
    }

    /// When the next one will be free, if nothing else happens.
    pub fn next_free(&self) -> Option<u64> {
        self.readers.first().map(|entry| entry.0)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.writers.values().map(BTreeSet::len).sum::<usize>() + self.above_floor.len() + self.readers.len()
    }
}
