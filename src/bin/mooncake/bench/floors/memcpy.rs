//! Floor: one copy by a processor.

use mooncake::sys::memory::Mem;

use super::super::drive::Mover;
use super::super::walk::Walk;
use super::raw;

pub struct Memcpy {
    pub walk: Walk,
    pub source: Mem,
    pub destination: Mem,
}

impl Mover for Memcpy {
    fn step(&mut self, step: u64) -> Result<(), String> {
        let position = self.walk.position(step);
        let size = self.walk.size();
        for (from, to) in self.walk.blocks(position) {
            raw::copy(self.destination.part(to, size), self.source.part(from, size));
        }
        Ok(())
    }
}
