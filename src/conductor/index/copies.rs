//! Taking an index out and putting it back: block by block, a part of the table at a time.

use std::sync::atomic::Ordering::Relaxed;

use super::Tier;
use super::holders::HolderId;
use super::places::{PLANES, PROMISED, Word};
use super::prefix::{PrefixIndex, tick_of};

/// The tiers in which a holder has a block: one bit each, `1 << tier`.
pub type Tiers = u8;

impl PrefixIndex {
    /// Parts of the index. They only become more; whoever copies part after part up to the last, while events go on,
    /// misses no block that is there all the time, and may see one twice.
    pub fn parts(&self) -> usize {
        self.table.parts()
    }

    /// Shows the blocks of one part: the key, for how many seconds it was not seen, and who has it where. Promised
    /// blocks are left out: they are not there.
    pub fn copy_part(&self, part: usize, mut see: impl FnMut(u64, u32, &[(HolderId, Tiers)])) {
        let slots = 0..self.holders.slots();
        let ids: Vec<Option<HolderId>> = slots.map(|slot| self.holders.at(slot)).collect();
        let mut here: Vec<Word> = vec![[0; PLANES]; ids.len().div_ceil(64)];
        let mut found = Vec::new();
        for block in self.table.blocks(part) {
            self.read_places(block, &mut here);
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
                see(block.key, self.tick.saturating_sub(block.seen.load(Relaxed)), &found);
            }
        }
    }

    /// Puts a block back that was not seen for `idle` seconds before `now`.
    pub fn put_back(&mut self, key: u64, idle: u32, holders: &[(HolderId, Tiers)], now: u64) {
        self.tick = tick_of(now).max(self.tick);
        for (holder, tiers) in holders {
            let tiers = tiers & ALL_TIERS;
            if let Some(slot) = self.holders.slot(*holder).filter(|_| tiers != 0) {
                self.add(slot, tiers, key);
            }
        }
        if let Some(at) = self.table.find(key) {
            *self.table.get_mut(at).seen.get_mut() = self.tick.saturating_sub(idle);
        }
    }
}

const ALL_TIERS: Tiers = (1 << Tier::ALL.len()) - 1;
