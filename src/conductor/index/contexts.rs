//! The indexes of all contexts: what is cached for one model is of no use to another.

use std::collections::HashMap;

use super::holders::Holder;
use super::prefix::{Limits, PrefixIndex};
use crate::bail;
use crate::error::Result;

/// What must be equal for two prompts to share blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Context {
    pub tenant: String,
    pub model: String,
    pub lora: Option<String>,
    /// Tokens per block.
    pub block_size: u32,
    pub salt: Option<String>,
}

/// One index per context; those without holders are dropped.
#[derive(Debug)]
pub struct Contexts {
    by_context: HashMap<Context, PrefixIndex>,
    most: usize,
    limits: Limits,
    seed: u64,
}

impl Contexts {
    /// At most `most` contexts, each within `limits`; for `seed` see [`PrefixIndex::new`].
    pub fn new(most: usize, limits: Limits, seed: u64) -> Contexts {
        Contexts { by_context: HashMap::new(), most, limits, seed }
    }

    /// The index of the context, which is made if it is new. One that is to stay needs a holder before the next
    /// [`Contexts::sweep`].
    pub fn open(&mut self, context: &Context) -> Result<&mut PrefixIndex> {
        if !self.by_context.contains_key(context) && self.by_context.len() >= self.most {
            bail!(Exhausted, "{} model contexts is the limit: unregister the instances of some", self.most);
        }
        let new = || PrefixIndex::new(self.limits, self.seed);
        Ok(self.by_context.entry(context.clone()).or_insert_with(new))
    }

    pub fn get(&self, context: &Context) -> Option<&PrefixIndex> {
        self.by_context.get(context)
    }

    pub fn get_mut(&mut self, context: &Context) -> Option<&mut PrefixIndex> {
        self.by_context.get_mut(context)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Context, &PrefixIndex)> {
        self.by_context.iter()
    }

    /// Unregisters the holder in all contexts. In how many it was.
    pub fn unregister(&mut self, holder: &Holder) -> usize {
        let indexes = self.by_context.values_mut();
        indexes.filter_map(|index| index.unregister(index.holder_id(holder)?).ok()).count()
    }

    /// Sweeps every index, see [`PrefixIndex::sweep`], and drops those that have no holder.
    pub fn sweep(&mut self, buckets: usize, now: u64) {
        self.by_context.retain(|_, index| index.holder_count() > 0);
        self.by_context.values_mut().for_each(|index| index.sweep(buckets, now));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Event, Matches, Tier};
    use super::*;

    #[test]
    fn keys_of_one_context_are_unknown_in_another() {
        let mut contexts = Contexts::new(2, Limits::default(), 1);
        let plain = Context { model: "m".into(), block_size: 16, ..Context::default() };
        let salted = Context { salt: Some("s".into()), ..plain.clone() };
        let name = Holder { instance: "a".into(), rank: 0 };
        for context in [&plain, &salted] {
            contexts.open(context).expect("room").register(name.clone()).expect("room");
        }
        let index = contexts.get_mut(&plain).expect("open");
        let holder = index.holder_id(&name).expect("registered");
        index.apply(&[Event::Stored { holder, tier: Tier::Device, keys: &[1, 2] }], 0);
        let longest = |contexts: &Contexts, context| {
            let mut matches = Matches::default();
            contexts.get(context).expect("open").find(&[1, 2, 3], 0, &mut matches);
            matches.longest(Tier::Device)
        };
        assert_eq!((longest(&contexts, &plain), longest(&contexts, &salted)), (2, 0));
        assert!(contexts.open(&Context::default()).is_err());
        assert_eq!(contexts.unregister(&name), 2);
        contexts.sweep(1, 0);
        assert_eq!(contexts.iter().count(), 0);
        assert!(contexts.open(&Context::default()).is_ok());
    }
}
