//! The engine's side of registered memory.

use super::Engine;
use crate::error::Result;
use crate::segment::memory::{MemoryInfo, MemoryOptions};

impl Engine {
    pub fn register_memory(&self, address: usize, length: usize, options: &MemoryOptions) -> Result<u64> {
        let id = self.memory.register(address, length, options)?;
        self.publish_or_undo(&[id]).map(|()| id)
    }

    pub fn register_memory_batch(
        &self,
        ranges: &[(usize, usize)],
        options: &MemoryOptions,
    ) -> Vec<Result<u64>> {
        let results = self.memory.register_batch(ranges, options);
        let made: Vec<u64> = results.iter().filter_map(|result| result.as_ref().ok().copied()).collect();
        match self.publish_or_undo(&made) {
            Ok(()) => results,
            Err(error) => results.into_iter().map(|result| result.and(Err(error.clone()))).collect(),
        }
    }

    pub fn unregister_memory(&self, region: u64, wait: bool) -> Result<()> {
        self.memory.unregister(region, wait)?;
        self.publish_fewer();
        Ok(())
    }

    pub fn allocate_memory(&self, length: usize, options: &MemoryOptions) -> Result<(usize, u64)> {
        let (address, id) = self.memory.allocate(length, options)?;
        if let Err(error) = self.publish_memory() {
            self.memory.free(id, true)?;
            return Err(error);
        }
        Ok((address, id))
    }

    pub fn free_memory(&self, region: u64, wait: bool) -> Result<()> {
        self.memory.free(region, wait)?;
        self.publish_fewer();
        Ok(())
    }

    pub fn memory_info(&self, region: u64) -> Result<MemoryInfo> {
        self.memory.info(region)
    }

    /// Registers allocated memory once more, for one peer: see `MemoryTable::share`.
    pub fn share_memory(&self, region: u64, options: &MemoryOptions) -> Result<u64> {
        let id = self.memory.share(region, options)?;
        self.publish_or_undo(&[id]).map(|()| id)
    }

    /// Engines of Mooncake know of memory when its registration returns, or there is none.
    fn publish_or_undo(&self, made: &[u64]) -> Result<()> {
        self.publish_memory().inspect_err(|_| {
            for id in made {
                let _ = self.memory.unregister(*id, true);
            }
        })
    }

    /// What is gone is refused here, whatever is published.
    fn publish_fewer(&self) {
        if let Err(error) = self.publish_memory() {
            tracing::warn!("unregistered memory is still published: {error}");
        }
    }
}
