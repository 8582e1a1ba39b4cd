//! The caches of all instances: whole blocks, each instance's own, least recently used out first.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use mooncake::store::eviction::{Evictor, Policy};

pub struct Caches {
    /// By block, a bit per instance.
    holders: Vec<u64>,
    /// Words of `holders` per block.
    words: usize,
    instances: Vec<Cache>,
    capacity: usize,
    /// Who has all blocks so far of a prefix.
    alive: Vec<u64>,
}

struct Cache {
    evictor: Evictor,
    /// By block, the slot that it has; by slot the block.
    slots: HashMap<u32, u32, BuildHasherDefault<Multiply>>,
    blocks: Vec<u32>,
}

impl Caches {
    /// `capacity` is that of each instance, at least 1; `unique` more than the highest block.
    pub fn new(instances: usize, capacity: u64, unique: u64) -> Caches {
        let words = instances.div_ceil(64);
        let cache = || Cache {
            evictor: Evictor::new(Policy::Lru, capacity),
            slots: HashMap::default(),
            blocks: Vec::new(),
        };
        Caches {
            holders: vec![0; unique as usize * words],
            words,
            instances: (0..instances).map(|_| cache()).collect(),
            capacity: capacity as usize,
            alive: vec![0; words],
        }
    }

    /// Tells for every instance how many of the blocks it has from the first one on.
    pub fn find(&mut self, blocks: &[u32], mut tell: impl FnMut(usize, u32)) {
        let count = self.instances.len();
        for (index, alive) in self.alive.iter_mut().enumerate() {
            let rest = count - index * 64;
            *alive = if rest >= 64 { u64::MAX } else { (1 << rest) - 1 };
        }
        for (length, block) in (0..).zip(blocks) {
            let holders = &self.holders[*block as usize * self.words..][..self.words];
            let mut left = 0;
            for (index, (alive, holders)) in self.alive.iter_mut().zip(holders).enumerate() {
                let mut lost = *alive & !holders;
                *alive &= holders;
                left |= *alive;
                while lost != 0 {
                    tell(index * 64 + lost.trailing_zeros() as usize, length);
                    lost &= lost - 1;
                }
            }
            if left == 0 {
                return;
            }
        }
        for (index, alive) in self.alive.iter().enumerate() {
            let mut rest = *alive;
            while rest != 0 {
                tell(index * 64 + rest.trailing_zeros() as usize, blocks.len() as u32);
                rest &= rest - 1;
            }
        }
    }

    /// The instance uses the blocks, from the first to the last; one that is missing takes its place.
    pub fn touch(&mut self, instance: usize, blocks: &[u32]) {
        let (word, bit) = (instance / 64, 1u64 << (instance % 64));
        let cache = &mut self.instances[instance];
        for &block in blocks {
            let at = block as usize * self.words + word;
            if self.holders[at] & bit != 0 {
                cache.evictor.touch(cache.slots[&block]);
                continue;
            }
            let slot = if cache.blocks.len() < self.capacity {
                cache.blocks.push(block);
                (cache.blocks.len() - 1) as u32
            } else {
                let slot = cache.evictor.pick(|_| true).expect("a full cache has a block that may go");
                let gone = std::mem::replace(&mut cache.blocks[slot as usize], block);
                cache.slots.remove(&gone);
                self.holders[gone as usize * self.words + word] &= !bit;
                slot
            };
            cache.evictor.insert(slot, block, 1);
            cache.slots.insert(block, slot);
            self.holders[at] |= bit;
        }
    }
}

/// Blocks are numbered: spreading them is all that is needed.
#[derive(Default)]
struct Multiply(u64);

impl Hasher for Multiply {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        let spread = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ spread >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mooncake::store::eviction::Replay;
    use mooncake::sys::splitmix::Random;

    fn found(caches: &mut Caches, blocks: &[u32]) -> Vec<u32> {
        let mut found = vec![u32::MAX; caches.instances.len()];
        caches.find(blocks, |instance, length| found[instance] = length);
        found
    }

    #[test]
    fn each_instance_has_what_it_used_last() {
        let mut caches = Caches::new(3, 3, 10);
        caches.touch(0, &[1, 2, 3]);
        caches.touch(1, &[1, 2]);
        assert_eq!(found(&mut caches, &[1, 2, 3, 4]), [3, 2, 0]);
        caches.touch(0, &[1, 5]);
        assert_eq!(found(&mut caches, &[1, 2, 3]), [1, 2, 0]);
        assert_eq!(found(&mut caches, &[]), [0, 0, 0]);
    }

    #[test]
    fn many_caches_are_as_many_single_ones() {
        let mut random = Random::new(5);
        let mut caches = Caches::new(70, 20, 60);
        let mut singles: Vec<Replay> = (0..70).map(|_| Replay::new(Policy::Lru, 20)).collect();
        for _ in 0..3000 {
            let from = random.below(50) as u32;
            let blocks: Vec<u32> = (from..from + 1 + random.below(10) as u32).collect();
            let instance = random.index(70);
            let lengths = found(&mut caches, &blocks);
            assert_eq!(lengths[instance] as usize, singles[instance].request(&blocks).prefix);
            caches.touch(instance, &blocks);
        }
    }
}
