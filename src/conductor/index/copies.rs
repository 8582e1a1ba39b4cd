//! Taking an index out and putting it back: block by block, a chunk at a time.

use super::Tier;
use super::chunks::Block;
use super::holders::HolderId;
use super::places::{PLANES, PROMISED, Word};
use super::prefix::{Found, PrefixIndex, tick_of};

/// The tiers in which a holder has a block: one bit each, `1 << tier`.
pub type Tiers = u8;

impl PrefixIndex {
    /// Parts of the index. Blocks move to lower ones only: whoever copies part after part from the last to the first,
    /// while events go on, misses no block that is there all the time, and may see one twice.
    pub fn parts(&self) -> usize {
        self.table.parts()
    }

    /// Shows the blocks of one part, none of one that there is not: the key, for how many seconds it was not seen, and
    /// who has it where. Promised blocks are left out: they are not there.
    pub fn copy_part(&self, part: usize, mut see: impl FnMut(u64, u32, &[(HolderId, Tiers)])) {
        let slots = 0..self.holders.slots();
        let ids: Vec<Option<HolderId>> = slots.map(|slot| self.holders.at(slot)).collect();
        let mut here: Vec<Word> = vec![[0; PLANES]; ids.len().div_ceil(64)];
        let mut found = Vec::new();
        for block in self.table.blocks(part) {
            self.read_places(&block, &mut here);
            found.clear();
            for (index, word) in here.iter().enumerate() {
                let mut any = word[..PROMISED].iter().fold(0, |any, bits| any | bits);
                while any != 0 {
                    let bit = any.trailing_zeros();
                    any &= any - 1;
                    let tiers = (0..PROMISED)
                        .fold(0, |tiers, plane| tiers | ((word[plane] >> bit & 1) as Tiers) << plane);
                    if let Some(Some(id)) = ids.get(index * 64 + bit as usize) {
                        found.push((*id, tiers));
                    }
                }
            }
            if !found.is_empty() {
                see(block.key, self.tick.saturating_sub(block.seen), &found);
            }
        }
    }

    /// Puts a block back that was not seen for `idle` seconds before `now`, unless it was seen here.
    pub fn put_back(&mut self, key: u64, idle: u32, holders: &[(HolderId, Tiers)], now: u64) {
        self.tick = tick_of(now).max(self.tick);
        for (holder, tiers) in holders {
            let tiers = tiers & ALL_TIERS;
            if let Some(slot) = self.holders.slot(*holder).filter(|_| tiers != 0) {
                let here = self.table.find(key);
                let before = here.and_then(|at| self.table.get(at)).map_or(0, |block| block.seen);
                let (_, at) = self.add(slot, tiers, key, Found { here, last: None });
                if let Some(block) = self.table.get(at) {
                    let seen = self.tick.saturating_sub(idle).max(before);
                    self.table.set(at, Block { seen, ..block });
                }
            }
        }
    }
}

const ALL_TIERS: Tiers = (1 << Tier::ALL.len()) - 1;

#[cfg(test)]
mod tests {
    use super::super::{Event, Holder, Limits, Matches};
    use super::*;
    use proptest::prelude::*;

    fn index(holders: u32) -> (PrefixIndex, Vec<HolderId>) {
        let mut index = PrefixIndex::new(Limits { idle: 50_000, ..Limits::default() }, 3);
        let name = |rank| Holder { instance: "instance".into(), rank };
        let ids = (0..holders).map(|rank| index.register(name(rank)).expect("room")).collect();
        (index, ids)
    }

    fn copied(from: &PrefixIndex, holders: u32, now: u64) -> PrefixIndex {
        // The ids are the same: holders came in the same order.
        let (mut to, _) = index(holders);
        for part in (0..from.parts()).rev() {
            from.copy_part(part, |key, idle, held| to.put_back(key, idle, held, now));
        }
        to
    }

    fn blocks(index: &PrefixIndex, keys: &[u64], now: u64) -> Vec<[u32; 4]> {
        let mut matches = Matches::default();
        index.find(keys, now, &mut matches);
        matches.holders().iter().map(|found| found.blocks).collect()
    }

    #[test]
    fn what_is_promised_or_void_is_not_copied_and_what_is_old_stays_old() {
        let (mut from, ids) = index(3);
        for (holder, keys) in [(ids[0], [1, 2]), (ids[1], [1, 3])] {
            from.apply(&[Event::Stored { holder, tier: Tier::Device, keys: &keys }], 1_000);
        }
        from.promise(ids[2], &[9], 1_000_000, 1_000);
        from.apply(&[Event::Cleared { holder: ids[1], tier: None }], 41_000);
        let mut to = copied(&from, 3, 41_000);
        assert_eq!(to.len(), 2);
        assert_eq!(blocks(&to, &[1, 2], 41_000)[..2], [[2; 4], [0; 4]]);
        let mut again = copied(&from, 3, 41_000);
        again.sweep(usize::MAX, 52_000);
        assert_eq!(again.len(), 0, "they were 40 seconds old when they came");
        to.sweep(usize::MAX, 52_000);
        assert_eq!(to.len(), 2, "they were asked for since");
    }

    #[test]
    fn a_block_that_is_put_back_after_it_was_stored_anew_is_as_young_as_that() {
        let (mut index, ids) = index(1);
        index.apply(&[Event::Stored { holder: ids[0], tier: Tier::Device, keys: &[1] }], 100_000);
        index.put_back(1, 45, &[(ids[0], 1)], 100_000);
        index.sweep(usize::MAX, 106_000);
        assert_eq!(index.len(), 1);
    }

    #[test]
    fn holders_and_tiers_that_are_none_are_left_out() {
        let (mut index, ids) = index(1);
        index.put_back(1, 0, &[(ids[0], 0x30)], 0);
        index.put_back(2, 0, &[], 0);
        index.unregister(ids[0]).expect("it is there");
        index.put_back(3, 0, &[(ids[0], 1)], 0);
        assert_eq!(index.len(), 0);
    }

    proptest! {
        #[test]
        fn a_copy_finds_what_the_index_finds(
            stored in proptest::collection::vec((0usize..70, 0usize..4, 1u64..12), 1..400),
        ) {
            let (mut from, ids) = index(70);
            for (holder, tier, key) in stored {
                from.apply(&[Event::Stored { holder: ids[holder], tier: Tier::ALL[tier], keys: &[key] }], 0);
            }
            let keys: Vec<u64> = (1..12).collect();
            prop_assert_eq!(blocks(&copied(&from, 70, 0), &keys, 0), blocks(&from, &keys, 0));
        }
    }
}
