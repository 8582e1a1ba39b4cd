//! Floor: cross-memory attach, one system call for the blocks of a batch.

use super::super::case::Op;
use super::super::drive::Mover;
use super::super::walk::Walk;
use super::Place;
use super::raw::{Pieces, Way};

pub struct CrossMemory {
    pub walk: Walk,
    pub place: Place,
    pub pid: i32,
    /// Address of the target's buffer.
    pub there: usize,
    pub here_pieces: Pieces,
    pub there_pieces: Pieces,
}

impl Mover for CrossMemory {
    fn step(&mut self, step: u64) -> Result<(), String> {
        let position = self.walk.position(step);
        self.here_pieces.clear();
        self.there_pieces.clear();
        let size = self.walk.size();
        for (source, destination) in self.walk.blocks(position) {
            let (here, there) =
                if self.place.op == Op::Write { (source, destination) } else { (destination, source) };
            self.here_pieces.push(self.place.here.address() + here, size);
            self.there_pieces.push(self.there + there, size);
        }
        let way = if self.place.op == Op::Write { Way::Send } else { Way::Receive };
        self.here_pieces
            .across(self.pid, &self.there_pieces, way)
            .map_err(|error| format!("cross-memory attach of process {}: {error}", self.pid))
    }
}
