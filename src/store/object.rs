//! The words that clients, nodes and masters of the store share.

use std::sync::Arc;

use crate::error::Code;

use super::refusal::{Refusal, Result};

/// Longest key in bytes; the shortest has one. Keys are bytes, not text.
pub const MAX_KEY: usize = 1024;
/// Longest name of a tenant or a group in bytes.
pub const MAX_NAME: usize = 256;
/// Most replicas of one object.
pub const MAX_REPLICAS: usize = 16;
/// Most stripes of one replica.
pub const MAX_STRIPES: u64 = 256;
/// What one checksum covers; stripes end at its multiples.
pub const CHECKSUM_BLOCK: u64 = 64 << 10;

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);
    )*};
}

numbers! {
    /// One start of a node's process. A node that starts again is another node, with a greater id.
    NodeId;
    /// One start of a client's process.
    ClientId;
    /// One start of a master.
    MasterId;
    /// A contiguous piece of memory of a node, in that node's numbering.
    SegmentId;
    /// The reign of one master. Nodes obey the highest that they promised, and no other.
    Epoch;
    /// One grant to write into memory: never given twice, rising, and above all of earlier epochs.
    Generation;
    /// One content of a key: the generation of the put that made it. The higher one is the newer one.
    Version;
    /// Names a request of the front, for answers that come later.
    Token;
}

const COUNT_BITS: u32 = 40;

impl Epoch {
    /// Highest epoch that generations can hold.
    pub const MAX: Epoch = Epoch((1 << (u64::BITS - COUNT_BITS)) - 1);

    /// Below every generation of this epoch, and above all of those before it.
    pub fn first_generation(self) -> Generation {
        Generation(self.0 << COUNT_BITS)
    }
}

impl Generation {
    pub fn epoch(self) -> Epoch {
        Epoch(self.0 >> COUNT_BITS)
    }

    pub fn next(self) -> Generation {
        Generation(self.0 + 1)
    }
}

/// What an object is called: keys of different tenants never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    pub tenant: &'a str,
    pub key: &'a [u8],
}

impl Name<'_> {
    pub fn check(&self) -> Result<()> {
        if self.key.is_empty() || self.key.len() > MAX_KEY {
            return Err(Refusal::new(Code::InvalidArgument, "a key has 1 to 1024 bytes"));
        }
        check_label(self.tenant)
    }
}

fn check_label(label: &str) -> Result<()> {
    if label.len() > MAX_NAME {
        return Err(Refusal::new(Code::InvalidArgument, "names of tenants and groups have up to 256 bytes"));
    }
    Ok(())
}

/// Where a piece of a replica lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub node: NodeId,
    pub segment: SegmentId,
    /// Bytes from the segment's start.
    pub offset: u64,
    /// Bytes of memory: of the stripe and its footer.
    pub length: u64,
    pub generation: Generation,
}

/// One whole copy of an object: its stripes in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    pub stripes: Vec<Extent>,
}

/// How an object is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicateConfig {
    /// 1 to MAX_REPLICAS.
    pub count: u8,
    /// Names of segments that are taken first, the best one first.
    pub preferred: Vec<String>,
    /// The failure domain that comes next, such as that of the writer. Empty is none.
    pub near: String,
    /// Spared by eviction for this time, while anything else can go. 0 is not at all.
    pub soft_pin_ms: u32,
    /// Never evicted.
    pub hard_pin: bool,
    /// Evicted together with all others of this name. Empty is no group.
    pub group: String,
    /// Refuses rather than putting two replicas into one failure domain.
    pub strict_domains: bool,
    /// Objects above this many bytes are cut into stripes on several segments. 0 never.
    pub stripe_size: u64,
}

impl Default for ReplicateConfig {
    fn default() -> Self {
        ReplicateConfig {
            count: 1,
            preferred: Vec::new(),
            near: String::new(),
            soft_pin_ms: 0,
            hard_pin: false,
            group: String::new(),
            strict_domains: false,
            stripe_size: 0,
        }
    }
}

impl ReplicateConfig {
    pub fn check(&self) -> Result<()> {
        if self.count == 0 || usize::from(self.count) > MAX_REPLICAS {
            return Err(Refusal::new(Code::InvalidArgument, "an object has 1 to 16 replicas"));
        }
        check_label(&self.near)?;
        check_label(&self.group)
    }

    /// How many stripes a replica of `size` bytes has.
    pub fn stripes(&self, size: u64) -> usize {
        let wanted = if self.stripe_size == 0 { 1 } else { size.div_ceil(self.stripe_size).min(MAX_STRIPES) };
        // Stripes are whole blocks: fewer of them may cover the object.
        size.div_ceil(stripe_step(size, wanted.max(1))).max(1) as usize
    }
}

fn stripe_step(size: u64, stripes: u64) -> u64 {
    size.div_ceil(stripes).next_multiple_of(CHECKSUM_BLOCK)
}

/// Length of one of `stripes` stripes: all alike and whole blocks, but for the last.
pub fn stripe_length(size: u64, stripes: usize, index: usize) -> u64 {
    if stripes == 1 {
        return size;
    }
    let step = stripe_step(size, stripes as u64);
    step.min(size.saturating_sub(step * index as u64))
}

/// What a node writes down about one piece of its memory, and what it reports of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub segment: SegmentId,
    pub offset: u64,
    /// Bytes of memory: of the stripe and its footer.
    pub length: u64,
    pub generation: Generation,
    pub tenant: Arc<str>,
    pub key: Box<[u8]>,
    pub version: Version,
    /// Bytes of the whole object.
    pub size: u64,
    /// Which of how many stripes of a replica this is.
    pub stripe: u16,
    pub stripes: u16,
    /// How many replicas the put made: it was acknowledged only after all had been committed.
    pub replicas: u8,
    pub hard_pin: bool,
    /// What is left of the soft pin when this is sent.
    pub soft_pin_ms: u32,
    /// Empty is none.
    pub group: Arc<str>,
    pub state: EntryState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// Its writer may be writing.
    Writing {
        writer: ClientId,
    },
    Committed,
    /// Not part of an object any more, and not free yet either.
    Quarantined,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn stripes_cover_an_object_once_and_end_at_blocks(size in 1u64..1 << 30, stripe in 0u64..1 << 24) {
            let config = ReplicateConfig { stripe_size: stripe, ..Default::default() };
            let stripes = config.stripes(size);
            let lengths: Vec<u64> = (0..stripes).map(|index| stripe_length(size, stripes, index)).collect();
            prop_assert_eq!(lengths.iter().sum::<u64>(), size);
            prop_assert!(lengths.iter().all(|length| *length > 0));
            prop_assert!(lengths[..stripes - 1].iter().all(|length| length % CHECKSUM_BLOCK == 0));
        }
    }

    #[test]
    fn generations_of_a_later_epoch_are_above_all_of_an_earlier_one() {
        let last = Generation(Epoch(8).first_generation().0 - 1);
        assert_eq!((last.epoch(), last.next().epoch()), (Epoch(7), Epoch(8)));
        assert_eq!(Epoch::MAX.first_generation().epoch(), Epoch::MAX);
    }

    #[test]
    fn keys_have_a_length_and_any_bytes() {
        let check = |key: &[u8]| Name { tenant: "t", key }.check();
        assert!(check(&[]).is_err() && check(&[0; MAX_KEY + 1]).is_err());
        assert!(check(&[0; MAX_KEY]).is_ok() && check(&[255, 0, 10]).is_ok());
    }
}
