//! The engine's side of registered memory.

use super::Engine;
use crate::error::Result;
use crate::segment::memory::{MemoryInfo, MemoryOptions};

impl Engine {
    pub fn register_memory(&self, address: usize, length: usize, options: &MemoryOptions) -> Result<u64> {
        self.memory.register(address, length, options)
    }

    pub fn register_memory_batch(
        &self,
        ranges: &[(usize, usize)],
        options: &MemoryOptions,
    ) -> Vec<Result<u64>> {
        self.memory.register_batch(ranges, options)
    }

    pub fn unregister_memory(&self, region: u64, wait: bool) -> Result<()> {
        self.memory.unregister(region, wait)
    }

    pub fn allocate_memory(&self, length: usize, options: &MemoryOptions) -> Result<(usize, u64)> {
        self.memory.allocate(length, options)
    }

    pub fn free_memory(&self, region: u64, wait: bool) -> Result<()> {
        self.memory.free(region, wait)
    }

    pub fn memory_info(&self, region: u64) -> Result<MemoryInfo> {
        self.memory.info(region)
    }
}
