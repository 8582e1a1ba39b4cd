//! Names of blocks that an engine makes in a way of its own, and the keys that their tokens have.

use std::collections::HashMap;

use mooncake::conductor::hash::{Extra, Hasher, Scheme};
use mooncake::conductor::index::Tier;

/// Most blocks of one publisher that are known by name.
const MOST_NAMES: usize = 4 << 20;

struct Known {
    key: u64,
    /// Tiers that hold it, a bit each.
    tiers: u8,
}

/// What the blocks of one publisher are called by it.
pub struct Names {
    hasher: Hasher,
    known: HashMap<u64, Known>,
}

impl Names {
    pub fn new(scheme: &Scheme) -> Names {
        Names { hasher: Hasher::new(scheme), known: HashMap::new() }
    }

    pub fn clear(&mut self) {
        self.known.clear();
    }

    /// The keys of blocks that follow one another; or why they have none.
    pub fn stored(
        &mut self,
        names: &[u64],
        parent: Option<u64>,
        tokens: &[u32],
        block_size: u32,
        tier: Tier,
        keys: &mut Vec<u64>,
    ) -> Result<(), &'static str> {
        keys.clear();
        let parent = match parent {
            None => None,
            Some(name) => Some(self.known.get(&name).ok_or("the block before it was not told of")?.key),
        };
        if tokens.len() / block_size.max(1) as usize != names.len() {
            return Err("it has not the tokens of all its blocks");
        }
        if self.known.len() + names.len() > MOST_NAMES {
            return Err("its publisher has more blocks than can be known by name");
        }
        let hashed = self.hasher.keys_after(parent, tokens, block_size as usize, Extra::default());
        keys.extend(hashed.map_err(|_| "its tokens cannot be hashed")?);
        for (name, key) in names.iter().zip(&*keys) {
            let known = self.known.entry(*name).or_insert(Known { key: *key, tiers: 0 });
            known.key = *key;
            known.tiers |= 1 << tier as u8;
        }
        Ok(())
    }

    /// The keys of those that are known.
    pub fn removed(&mut self, names: &[u64], tier: Tier, keys: &mut Vec<u64>) {
        keys.clear();
        for name in names {
            let Some(known) = self.known.get_mut(name) else { continue };
            keys.push(known.key);
            known.tiers &= !(1 << tier as u8);
            if known.tiers == 0 {
                self.known.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const XXH3: Scheme = Scheme::Xxh3 { seed: 0 };

    #[test]
    fn blocks_have_the_keys_of_their_tokens_whatever_they_are_called() {
        let tokens: Vec<u32> = (0..12).collect();
        let hasher = Hasher::new(&XXH3);
        let wanted: Vec<u64> = hasher.keys(&tokens, 4, Extra::default()).expect("blocks").collect();
        let (mut names, mut keys) = (Names::new(&XXH3), Vec::new());
        names.stored(&[71], None, &tokens[..4], 4, Tier::Device, &mut keys).expect("the first");
        assert_eq!(keys, wanted[..1]);
        names.stored(&[72, 73], Some(71), &tokens[4..], 4, Tier::Device, &mut keys).expect("the next");
        assert_eq!(keys, wanted[1..]);
        names.stored(&[73], Some(72), &tokens[8..], 4, Tier::Host, &mut keys).expect("again");
        names.removed(&[73, 99], Tier::Device, &mut keys);
        assert_eq!(keys, wanted[2..]);
        names.removed(&[73], Tier::Host, &mut keys);
        assert_eq!(keys, wanted[2..]);
        names.removed(&[73], Tier::Host, &mut keys);
        assert!(keys.is_empty());
    }

    #[test]
    fn what_hangs_in_the_air_is_refused() {
        let (mut names, mut keys) = (Names::new(&XXH3), Vec::new());
        assert!(names.stored(&[2], Some(1), &[1, 2], 2, Tier::Device, &mut keys).is_err());
        assert!(names.stored(&[2, 3], None, &[1, 2], 2, Tier::Device, &mut keys).is_err());
        assert!(names.stored(&[2], None, &[1, 2], 0, Tier::Device, &mut keys).is_err());
    }
}
