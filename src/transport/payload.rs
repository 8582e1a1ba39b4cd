//! What a connection carries between registered memory and a socket: pieces of memory, each behind a gate that is asked
//! before a system call touches it.

use std::sync::Arc;

use super::{Owner, same_owner};
use crate::segment::memory::{Entered, Region};
use crate::sys::checksum::crc32c_of;
use crate::sys::memory::{IoVec, Mem, copy};

/// Who must be asked before memory is touched.
#[derive(Clone)]
pub enum Gate {
    /// Local memory of a batch of ours.
    Owner(Arc<dyn Owner>, u32),
    /// Memory of ours that a peer reaches.
    Region(Arc<Region>),
}

/// An open gate, shut when dropped.
pub enum Open<'a> {
    Own,
    Owner(&'a dyn Owner),
    Region(#[allow(dead_code)] Entered<'a>),
}

impl Gate {
    fn open(&self) -> Option<Open<'_>> {
        match self {
            Gate::Owner(owner, epoch) => owner.begin_touch(*epoch).then(|| Open::Owner(&**owner)),
            Gate::Region(region) => region.enter().map(Open::Region),
        }
    }

    fn is_same(&self, other: &Gate) -> bool {
        match (self, other) {
            (Gate::Owner(a, i), Gate::Owner(b, j)) => i == j && same_owner(a, b),
            (Gate::Region(a), Gate::Region(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Open::Owner(owner) = self {
            owner.end_touch();
        }
    }
}

/// Whose memory a piece is.
#[derive(Clone, Copy)]
enum Access {
    /// Nobody's: it is skipped over (received) or replaced (sent).
    Nobody,
    /// Of whoever holds the payload.
    Own,
    /// By number in `Payload::gates`.
    Behind(u32),
}

#[derive(Clone, Copy)]
struct Piece {
    mem: Mem,
    access: Access,
}

/// What a connection sends or receives next: pieces of memory behind gates.
#[derive(Default)]
pub struct Payload {
    pieces: Vec<Piece>,
    gates: Vec<Gate>,
    total: usize,
}

/// Stands in for memory that may not be read any more.
pub static ZEROS: [u8; 8 << 10] = [0; 8 << 10];
/// Most vectors in one system call; more than a frame of small slices has.
const VECTORS: usize = 1024;

impl Payload {
    pub fn clear(&mut self) {
        self.pieces.clear();
        self.gates.clear();
        self.total = 0;
    }

    pub fn push(&mut self, mem: Mem, gate: &Gate) {
        if !self.gates.last().is_some_and(|last| last.is_same(gate)) {
            self.gates.push(gate.clone());
        }
        let access = Access::Behind(self.gates.len() as u32 - 1);
        self.add(Piece { mem, access });
    }

    /// Bytes that belong to nobody.
    pub fn push_void(&mut self, length: usize) {
        self.add(Piece { mem: Mem::void(length), access: Access::Nobody });
    }

    /// Bytes of the caller, who keeps them in place until the payload is cleared.
    pub fn push_own(&mut self, mem: Mem) {
        self.add(Piece { mem, access: Access::Own });
    }

    fn add(&mut self, piece: Piece) {
        self.total += piece.mem.len();
        self.pieces.push(piece);
    }

    /// Whether a piece may still be touched; `Some` keeps its gate open.
    fn open(&self, piece: &Piece) -> Option<Open<'_>> {
        match piece.access {
            Access::Nobody => None,
            Access::Own => Some(Open::Own),
            Access::Behind(gate) => self.gates[gate as usize].open(),
        }
    }

    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.total
    }

    /// CRC32C of a piece; None when its gate is shut.
    pub fn checksum(&self, index: usize) -> Option<u32> {
        let piece = &self.pieces[index];
        let _open = self.open(piece)?;
        Some(crc32c_of(piece.mem))
    }

    /// Looks at a piece, unless its gate is shut.
    pub fn look(&self, index: usize, look: impl FnOnce()) {
        if let Some(_open) = self.open(&self.pieces[index]) {
            look();
        }
    }

    /// As `checksum` where one is wanted; else only whether the gate is open still: Some(0).
    pub fn checksum_if(&self, index: usize, wanted: bool) -> Option<u32> {
        if wanted {
            return self.checksum(index);
        }
        self.open(&self.pieces[index]).map(|_| 0)
    }

    pub fn piece_length(&self, index: usize) -> usize {
        self.pieces[index].mem.len()
    }

    /// Hands over the vectors from `offset` on (at most `limit` of them), with their gates open meanwhile. Memory behind
    /// a shut gate is replaced by what `instead` makes of its length.
    pub fn with_vectors<T>(
        &self,
        offset: usize,
        vectors: &mut Vec<IoVec<'static>>,
        instead: impl Fn(&mut Vec<IoVec<'static>>, usize),
        act: impl FnOnce(&mut Vec<IoVec<'static>>) -> T,
    ) -> T {
        let mut skip = offset;
        let mut open: Option<(u32, Option<Open<'_>>)> = None;
        // A frame has few owners; their gates stay open until the call is made.
        let mut held: [Option<Open<'_>>; 8] = Default::default();
        let mut held_count = 0;
        for piece in &self.pieces {
            if skip >= piece.mem.len() {
                skip -= piece.mem.len();
                continue;
            }
            // As much as there is room for, were its gate shut.
            let whole = piece.mem.len() - skip;
            let rest = whole.min(VECTORS.saturating_sub(vectors.len()) * ZEROS.len());
            if rest == 0 {
                break;
            }
            let is_open = match piece.access {
                Access::Nobody => false,
                Access::Own => true,
                Access::Behind(gate) => {
                    if open.as_ref().is_none_or(|(current, _)| *current != gate) {
                        if held_count == held.len() {
                            break;
                        }
                        if let Some((_, Some(before))) = open.take() {
                            held[held_count] = Some(before);
                            held_count += 1;
                        }
                        open = Some((gate, self.gates[gate as usize].open()));
                    }
                    matches!(&open, Some((_, Some(_))))
                }
            };
            if is_open {
                vectors.push(IoVec::of(piece.mem.part(skip, rest)));
            } else {
                instead(vectors, rest);
            }
            if rest < whole {
                break;
            }
            skip = 0;
        }
        let result = act(vectors);
        drop(open);
        drop(held);
        result
    }

    /// Copies bytes that were received together with a header to where they belong, from `offset` on.
    pub fn scatter(&self, mut offset: usize, mut bytes: &[u8]) {
        for piece in &self.pieces {
            if bytes.is_empty() {
                return;
            }
            if offset >= piece.mem.len() {
                offset -= piece.mem.len();
                continue;
            }
            let count = (piece.mem.len() - offset).min(bytes.len());
            if let Some(_open) = self.open(piece) {
                copy(piece.mem.part(offset, count), Mem::of(&bytes[..count]));
            }
            bytes = &bytes[count..];
            offset = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_that_is_longer_than_one_call_takes_is_taken_in_parts() {
        let mut payload = Payload::default();
        payload.push_void(200 << 20);
        payload.push_own(Mem::of(&ZEROS));
        let (mut offset, mut calls) = (0, 0);
        while offset < payload.len() {
            let mut vectors = Vec::new();
            let void = |vectors: &mut Vec<IoVec<'static>>, length: usize| {
                vectors.extend((0..length.div_ceil(ZEROS.len())).map(|_| IoVec::bytes(&ZEROS)));
            };
            let taken = payload.with_vectors(offset, &mut vectors, void, |vectors| {
                assert!((1..=VECTORS).contains(&vectors.len()), "{} vectors", vectors.len());
                vectors.iter().map(IoVec::len).sum::<usize>()
            });
            offset += taken;
            calls += 1;
        }
        assert_eq!((offset, calls), (payload.len(), payload.len().div_ceil(VECTORS * ZEROS.len())));
    }
}
