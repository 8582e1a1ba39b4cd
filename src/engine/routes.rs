//! What a transfer needs of all that is known of a peer, found out once and read off in one look.

use std::sync::Arc;

use crate::segment::descriptor::{Descriptor, EngineId};
use crate::segment::memory::MemoryTable;
use crate::transport::Path;

pub struct Routes {
    pub id: EngineId,
    pub regions: Arc<Descriptor>,
    /// The memory of a peer that lives in this process; its regions are looked up there.
    pub local: Option<Arc<MemoryTable>>,
    pub short: Short,
    pub network: Option<Arc<dyn Path>>,
}

/// The ways within this process or host, those that there are.
#[derive(Clone, Default)]
pub struct Short {
    /// To memory files that can be mapped.
    pub mapped: Option<Arc<dyn Path>>,
    /// To any memory.
    pub any: Option<Arc<dyn Path>>,
}

impl Short {
    /// The way to a region; None where only the network leads.
    pub fn to(&self, is_mappable: bool) -> Option<&Arc<dyn Path>> {
        self.mapped.as_ref().filter(|_| is_mappable).or(self.any.as_ref())
    }
}

impl Routes {
    /// The way to a region, in the order of preference.
    pub fn to(&self, is_mappable: bool) -> Option<&Arc<dyn Path>> {
        self.short.to(is_mappable).or(self.network.as_ref())
    }
}
