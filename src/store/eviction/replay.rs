//! A cache of blocks that a trace of requests goes through: what it finds.

use super::{Evictor, Policy};

/// What a cache had of the blocks of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Leading blocks that were there before the request changed anything: what a model need not compute.
    pub prefix: usize,
    /// Blocks that were there when their turn came, wherever they stand.
    pub any: usize,
}

/// One cache under one policy. Every block weighs 1.
pub struct Replay {
    cache: Evictor,
    capacity: u64,
}

impl Replay {
    /// `capacity` in blocks, at least 1.
    pub fn new(policy: Policy, capacity: u64) -> Replay {
        Replay { cache: Evictor::new(policy, capacity), capacity }
    }

    /// Looks the blocks up and then uses them, from the first to the last. Blocks are small numbers; equal ones are equal
    /// blocks.
    pub fn request(&mut self, blocks: &[u32]) -> Found {
        let prefix = blocks.iter().take_while(|&&block| self.cache.holds(block)).count();
        let any = blocks.iter().filter(|&&block| self.refer(block)).count();
        Found { prefix, any }
    }

    /// Uses a block, which takes its place if it is not there.
    fn refer(&mut self, block: u32) -> bool {
        let is_there = self.cache.holds(block);
        if is_there {
            self.cache.touch(block);
        } else {
            while self.cache.weight() >= self.capacity && self.cache.pick(|_| true).is_some() {}
            self.cache.insert(block, block, 1);
        }
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_the_first_block_that_is_missing() {
        let mut replay = Replay::new(Policy::Lru, 4);
        assert_eq!(replay.request(&[1, 2, 3]), Found { prefix: 0, any: 0 });
        assert_eq!(replay.request(&[1, 4, 3]), Found { prefix: 1, any: 2 });
        assert_eq!(replay.request(&[1, 2, 4]), Found { prefix: 3, any: 3 });
    }

    #[test]
    fn a_request_larger_than_the_cache_pushes_itself_out() {
        let mut replay = Replay::new(Policy::Lru, 2);
        replay.request(&[1, 2, 3]);
        // 1 is missing, takes the place of 2, and that of 3 is taken by 2.
        assert_eq!(replay.request(&[1, 2, 3]), Found { prefix: 0, any: 0 });
        assert_eq!(replay.request(&[2, 3]), Found { prefix: 2, any: 2 });
    }
}
