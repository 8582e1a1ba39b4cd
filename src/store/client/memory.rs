//! Local memory for transfers: the caller's, made usable for as long as an operation lasts, and room of our own for what
//! the caller does not want to see.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::segment::memory::MemoryOptions;
use crate::sys::memory::Mem;

/// What memory says that is registered for one operation only.
const BORROWED: &str = "store:borrowed";

/// Registrations that end with the operation.
pub struct Borrowed<'a> {
    engine: &'a Engine,
    regions: Vec<u64>,
}

impl<'a> Borrowed<'a> {
    /// Makes sure that the engine may use these pieces. What the caller registered is left as it is.
    pub fn new(engine: &'a Engine, pieces: impl Iterator<Item = Mem>) -> Result<Borrowed<'a>> {
        // What another operation has borrowed goes with that one.
        let is_lasting = |piece: &Mem| {
            let found = engine.memory.find(piece.address(), piece.len(), 0);
            found.is_ok_and(|region| region.location != BORROWED)
        };
        let unknown: Vec<(usize, usize)> = pieces
            .filter(|piece| !piece.is_empty() && !is_lasting(piece))
            .map(|piece| (piece.address(), piece.len()))
            .collect();
        let mut borrowed = Borrowed { engine, regions: Vec::new() };
        if unknown.is_empty() {
            return Ok(borrowed);
        }
        // For this engine alone: no peer is told of it.
        let options = MemoryOptions { permissions: 0, location: BORROWED.into(), ..Default::default() };
        let mut failure = None;
        for made in engine.memory.register_batch(&unknown, &options) {
            match made {
                Ok(region) => borrowed.regions.push(region),
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(borrowed), Err).context("registering the caller's memory")
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        for region in &self.regions {
            if let Err(error) = self.engine.memory.unregister(*region, true) {
                tracing::warn!("giving memory back to the caller: {error}");
            }
        }
    }
}

/// The smallest piece of room, and the largest that is kept for the next operation.
const SMALLEST: usize = 64 << 10;
const LARGEST_KEPT: usize = 4 << 20;
/// Most pieces that are kept.
const MOST_KEPT: usize = 16;

struct Piece {
    region: u64,
    mem: Mem,
}

/// Registered memory that operations borrow.
pub struct Rooms {
    engine: Arc<Engine>,
    free: Mutex<Vec<Piece>>,
}

impl Rooms {
    pub fn new(engine: &Arc<Engine>) -> Rooms {
        Rooms { engine: engine.clone(), free: Mutex::default() }
    }

    /// At least so many bytes; what is in them is left over from others.
    pub fn take(&self, length: usize) -> Result<Room<'_>> {
        if length == 0 {
            return Ok(Room { rooms: self, piece: None, used: 0 });
        }
        let kept = {
            let mut free = self.free.lock();
            let fits = free.iter().position(|piece| piece.mem.len() >= length);
            fits.map(|index| free.swap_remove(index))
        };
        let piece = match kept {
            Some(piece) => piece,
            None => self.allocate(length.next_power_of_two().max(SMALLEST))?,
        };
        Ok(Room { rooms: self, piece: Some(piece), used: 0 })
    }

    fn allocate(&self, length: usize) -> Result<Piece> {
        let options = MemoryOptions { permissions: 0, ..Default::default() };
        let (_, region) =
            self.engine.memory.allocate(length, &options).context("making room for checksums")?;
        Ok(Piece { region, mem: self.engine.memory.get(region)?.mem })
    }

    fn give_back(&self, piece: Piece) {
        let mut free = self.free.lock();
        if piece.mem.len() <= LARGEST_KEPT && free.len() < MOST_KEPT {
            return free.push(piece);
        }
        drop(free);
        self.free_piece(&piece);
    }

    fn free_piece(&self, piece: &Piece) {
        if let Err(error) = self.engine.memory.free(piece.region, true) {
            tracing::debug!("freeing room: {error}");
        }
    }
}

impl Drop for Rooms {
    fn drop(&mut self) {
        for piece in self.free.get_mut() {
            // The engine may be closed already, and its memory with it.
            let _ = self.engine.memory.free(piece.region, true);
        }
    }
}

/// Room of one operation, handed out from the front.
pub struct Room<'a> {
    rooms: &'a Rooms,
    piece: Option<Piece>,
    used: usize,
}

impl Room<'_> {
    /// The next so many bytes. What was taken must have been enough for all.
    pub fn next(&mut self, length: usize) -> Mem {
        match &self.piece {
            Some(piece) if length > 0 => {
                let part = piece.mem.part(self.used, length);
                self.used += length;
                part
            }
            _ => Mem::void(0),
        }
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if let Some(piece) = self.piece.take() {
            self.rooms.give_back(piece);
        }
    }
}
