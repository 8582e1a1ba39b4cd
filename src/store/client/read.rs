//! One reading of part of an object from one replica: which bytes to fetch where, and whether what came is right.
//!
//! Whole checksum blocks are read, so that every byte is verified; what the caller does not want of them goes to room of
//! our own. Each stripe's footer comes with it.

use super::memory::Room;
use super::pieces::{BlockSums, checksums, window};
use crate::store::footer::{self, Footer};
use crate::store::object::{CHECKSUM_BLOCK, Entry, Extent, NodeId, Replica, stripe_length};
use crate::store::refusal::{Refusal, Result};
use crate::sys::memory::Mem;

/// Bytes that are fetched with one request.
pub struct Fetch {
    pub extent: Extent,
    /// From the extent's first byte on.
    pub from: u64,
    pub length: u64,
    pub into: Vec<Mem>,
}

/// What is to be right of one stripe once it came.
struct Check {
    extent: Extent,
    first_block: usize,
    /// Whole blocks, as they lie in memory.
    blocks: Vec<Mem>,
    footer: Mem,
}

/// Which extent is wrong, and how.
pub type Wrong = (Extent, Refusal);

#[derive(Default)]
pub struct Reading {
    pub fetches: Vec<Fetch>,
    checks: Vec<Check>,
}

/// So much of a stripe is wanted.
struct Span {
    extent: Extent,
    /// Bytes of the object in the stripe.
    stripe: u64,
    /// Within the stripe, whole blocks.
    start: u64,
    end: u64,
    /// Within the stripe, what the caller wants.
    wanted: (u64, u64),
    /// Where that begins in what the caller gave.
    at: u64,
}

impl Span {
    fn head(&self) -> usize {
        (self.wanted.0 - self.start) as usize
    }

    fn tail(&self) -> usize {
        (self.end - self.wanted.1) as usize
    }

    /// What lies between the last byte that is read and the footer.
    fn padding(&self) -> usize {
        if self.end == self.stripe { (footer::offset(self.stripe) - self.stripe) as usize } else { 0 }
    }

    fn room(&self) -> usize {
        self.head() + self.tail() + self.padding() + footer::footer_length(self.stripe)
    }
}

/// The stripes of a replica that have the bytes `[offset, offset + length)` of an object of `size` bytes.
fn spans(replica: &Replica, size: u64, offset: u64, length: u64) -> impl Iterator<Item = Span> + '_ {
    let stripes = replica.stripes.len();
    let step = stripe_length(size, stripes, 0).max(1);
    let end = offset + length;
    replica.stripes.iter().enumerate().filter_map(move |(index, extent)| {
        let begin = step * index as u64;
        let stripe = stripe_length(size, stripes, index);
        let (from, to) = (offset.max(begin), end.min(begin + stripe));
        if from >= to {
            return None;
        }
        let wanted = (from - begin, to - begin);
        Some(Span {
            extent: *extent,
            stripe,
            start: wanted.0 / CHECKSUM_BLOCK * CHECKSUM_BLOCK,
            end: wanted.1.next_multiple_of(CHECKSUM_BLOCK).min(stripe),
            wanted,
            at: from - offset,
        })
    })
}

/// Bytes of room that a reading takes.
pub fn room_for(replica: &Replica, size: u64, offset: u64, length: u64) -> usize {
    spans(replica, size, offset, length).map(|span| span.room()).sum()
}

impl Reading {
    /// Adds the bytes `[offset, offset + length)` of an object, which are to come into `pieces`.
    pub fn add(
        &mut self,
        replica: &Replica,
        (size, offset, length): (u64, u64, u64),
        pieces: &[Mem],
        room: &mut Room<'_>,
    ) {
        for span in spans(replica, size, offset, length) {
            let (head, tail) = (room.next(span.head()), room.next(span.tail()));
            let wanted = window(pieces, span.at, span.wanted.1 - span.wanted.0);
            let mut blocks: Vec<Mem> = Vec::with_capacity(wanted.len() + 2);
            blocks.extend(Some(head).filter(|head| !head.is_empty()));
            blocks.extend(wanted);
            blocks.extend(Some(tail).filter(|tail| !tail.is_empty()));
            let padding = room.next(span.padding());
            let footer = room.next(footer::footer_length(span.stripe));
            self.add_span(&span, blocks, padding, footer);
        }
    }

    fn add_span(&mut self, span: &Span, blocks: Vec<Mem>, padding: Mem, footer: Mem) {
        let (extent, mut into) = (span.extent, blocks.clone());
        let behind = footer::offset(span.stripe);
        if span.end == span.stripe {
            // The footer follows what is read: one request for both.
            into.extend(Some(padding).filter(|padding| !padding.is_empty()));
            into.push(footer);
            let length = behind + footer.len() as u64 - span.start;
            self.fetches.push(Fetch { extent, from: span.start, length, into });
        } else {
            self.fetches.push(Fetch { extent, from: span.start, length: span.end - span.start, into });
            let (from, length) = (behind, footer.len() as u64);
            self.fetches.push(Fetch { extent, from, length, into: vec![footer] });
        }
        let first_block = (span.start / CHECKSUM_BLOCK) as usize;
        self.checks.push(Check { extent, first_block, blocks, footer });
    }

    /// The checksums of an object that was read whole, and is right.
    pub fn checksums(&self) -> Option<Box<[u32]>> {
        let [check] = &self.checks[..] else { return None };
        let length: usize = check.blocks.iter().map(|piece| piece.len()).sum();
        check.footer.with_bytes(|bytes| {
            let footer = Footer::decode(bytes, check.extent.generation).ok()?;
            let count = length.div_ceil(CHECKSUM_BLOCK as usize);
            (0..count).map(|block| footer.checksum(check.first_block + block)).collect()
        })
    }

    /// Whether all that came is what this version's writer wrote. Errors: LEASE_EXPIRED, CORRUPTED; and which extent.
    pub fn verify(&self, sums: &BlockSums) -> std::result::Result<(), Wrong> {
        self.checks.iter().try_for_each(|check| check.verify(sums).map_err(|refusal| (check.extent, refusal)))
    }
}

impl Check {
    fn verify(&self, sums: &BlockSums) -> Result<()> {
        self.footer.with_bytes(|bytes| {
            let footer = Footer::decode(bytes, self.extent.generation)?;
            let found = checksums(&self.blocks, sums);
            let is_right = |(index, checksum): (usize, &u32)| {
                footer.checksum(self.first_block + index) == Some(*checksum)
            };
            if found.iter().enumerate().all(is_right) { Ok(()) } else { Err(CORRUPTED) }
        })
    }
}

const CORRUPTED: Refusal =
    Refusal::new(crate::error::Code::Corrupted, "a block of a replica does not match its checksum");

/// Where an entry of a node lies.
pub fn extent_of(node: NodeId, entry: &Entry) -> Extent {
    Extent {
        node,
        segment: entry.segment,
        offset: entry.offset,
        length: entry.length,
        generation: entry.generation,
    }
}
