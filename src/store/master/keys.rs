//! The keys of a shard's objects, side by side: no allocation for each of them, and no words beside its bytes.

use crate::store::object::MAX_KEY;

/// Keys whose lengths round up to the same multiple lie together.
const STEP: usize = 4;
/// Bytes of memory taken at a time, about: with keys of every length there are MAX_KEY / STEP unfinished pieces.
const PIECE: usize = 4096;

/// Names a key. The default names none, and is empty.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyAt {
    place: u32,
    length: u16,
}

impl KeyAt {
    pub fn is_empty(self) -> bool {
        self.length == 0
    }

    /// Which class it is of.
    fn class(self) -> usize {
        usize::from(self.length).div_ceil(STEP)
    }
}

#[derive(Clone, Debug, Default)]
struct Class {
    pieces: Vec<Box<[u8]>>,
    /// Places that were given back.
    free: Vec<u32>,
    /// Places that were ever given out.
    places: u32,
}

#[derive(Debug)]
pub struct Keys {
    classes: Vec<Class>,
}

impl Default for Keys {
    fn default() -> Self {
        Keys { classes: vec![Class::default(); MAX_KEY / STEP + 1] }
    }
}

impl Keys {
    /// Keeps a key of 1 to MAX_KEY bytes. None for others, and when there are as many as u32 can name.
    pub fn insert(&mut self, key: &[u8]) -> Option<KeyAt> {
        let length = u16::try_from(key.len()).ok().filter(|length| *length > 0)?;
        let at = KeyAt { place: 0, length };
        let class = self.classes.get_mut(at.class())?;
        let place = match class.free.pop() {
            Some(place) => place,
            None => {
                let place = class.places;
                class.places = place.checked_add(1)?;
                place
            }
        };
        let (width, each) = widths(at);
        let (piece, from) = (place as usize / each, place as usize % each * width);
        if piece == class.pieces.len() {
            class.pieces.push(vec![0; each * width].into());
        }
        class.pieces[piece][from..from + key.len()].copy_from_slice(key);
        Some(KeyAt { place, length })
    }

    pub fn get(&self, at: KeyAt) -> &[u8] {
        if at.is_empty() {
            return &[];
        }
        let (width, each) = widths(at);
        let from = at.place as usize % each * width;
        &self.classes[at.class()].pieces[at.place as usize / each][from..from + usize::from(at.length)]
    }

    /// Forgets a key. Its memory is used again by others of about its length.
    pub fn remove(&mut self, at: KeyAt) {
        if !at.is_empty() {
            self.classes[at.class()].free.push(at.place);
        }
    }
}

/// How many bytes a key of its class takes, and how many of them a piece has.
fn widths(at: KeyAt) -> (usize, usize) {
    let width = at.class() * STEP;
    (width, PIECE / width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_are_what_they_were_whatever_came_and_went(
            steps in proptest::collection::vec((1usize..MAX_KEY + 1, any::<u8>(), any::<bool>()), 1..400),
        ) {
            let (mut keys, mut model) = (Keys::default(), Vec::<(KeyAt, Vec<u8>)>::new());
            for (length, byte, goes) in steps {
                // Many are of few lengths.
                let key = vec![byte; if byte % 2 == 0 { length } else { length % 7 + 1 }];
                model.push((keys.insert(&key).expect("room"), key));
                if goes {
                    let (at, _) = model.swap_remove(length % model.len());
                    keys.remove(at);
                }
                for (at, key) in &model {
                    prop_assert_eq!(keys.get(*at), &key[..]);
                }
            }
        }
    }

    #[test]
    fn a_key_has_a_length_and_places_are_used_again() {
        let mut keys = Keys::default();
        assert!(keys.insert(&[]).is_none() && keys.insert(&[1; MAX_KEY + 1]).is_none());
        assert!(keys.get(KeyAt::default()).is_empty());
        for _ in 0..1000 {
            let at = keys.insert(&[7; MAX_KEY]).expect("room");
            keys.remove(at);
        }
        assert_eq!(keys.classes[MAX_KEY / STEP].pieces.len(), 1);
    }
}
