//! What a master can be told about times and sizes.

use crate::store::eviction::Policy;

/// Times are in milliseconds.
#[derive(Clone, Debug)]
pub struct Config {
    /// Parts of the index, each with its own table and order of eviction.
    pub shards: usize,
    /// Secret of the hashes: who does not know it cannot choose keys that collide.
    pub hash_seed: u64,
    /// Objects begin at multiples of this many bytes.
    pub alignment: u64,
    /// How long a reader may read after it asked. The same for all masters of a cluster.
    pub lease_ms: u64,
    /// How long a master that nobody answers goes on serving. The same for all masters of a cluster.
    pub term_ms: u64,
    /// How long a writer has, unless it asks for more.
    pub put_deadline_ms: u64,
    /// How long a node may be silent before the view goes on without it. Above `term_ms`.
    pub node_lease_ms: u64,
    /// How often nodes are asked to follow.
    pub lead_every_ms: u64,
    /// When what was not answered is sent again.
    pub resend_ms: u64,
    /// Thousandths of all memory in use at which eviction begins, and at which it ends.
    pub high_mark: u64,
    pub low_mark: u64,
    /// In which order objects are evicted.
    pub policy: Policy,
    /// Most objects that one call evicts, and that one tick drains.
    pub batch: usize,
    /// Most objects that one tick looks at after a node has gone.
    pub sweep: usize,
    /// Bytes that a tenant may have unless it is told otherwise; None is no limit.
    pub default_quota: Option<u64>,
    /// How long nodes of an earlier cluster are waited for before a new one is founded. 0 if there cannot be one; None
    /// founds only when told (`State::found`).
    pub found_after_ms: Option<u64>,
    /// Whether to tell which objects come and go (`Effect::Notice`).
    pub notices: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            shards: 16,
            hash_seed: 0,
            alignment: 64,
            lease_ms: 5_000,
            term_ms: 2_000,
            put_deadline_ms: 60_000,
            node_lease_ms: 10_000,
            lead_every_ms: 500,
            resend_ms: 200,
            high_mark: 950,
            low_mark: 900,
            policy: Policy::Default,
            batch: 64,
            sweep: 65_536,
            default_quota: None,
            found_after_ms: Some(10_000),
            notices: false,
        }
    }
}

impl Config {
    /// How long after a master was replaced, or a node expelled, somebody may still read by its word.
    pub fn horizon_ms(&self) -> u64 {
        self.lease_ms + self.term_ms
    }
}
