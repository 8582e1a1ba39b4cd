//! The shortest way to an object that lies in one piece: one request fetches it. Who read it before and holds its lease still
//! knows its checksums, too.

use std::sync::OnceLock;

use super::get::{Got, Wanted, attempt};
use super::leases::Lease;
use super::pieces::BlockSums;
use super::write::local_of;
use super::{Store, pieces};
use crate::engine::batch::{BatchOptions, Request};
use crate::store::footer::{self, Footer};
use crate::store::object::{CHECKSUM_BLOCK, Extent};
use crate::sys::clock;
use crate::sys::memory::Mem;
use crate::transport::Opcode;

/// Larger objects gain nothing by it.
const LARGEST: u64 = 4 * CHECKSUM_BLOCK;

/// The checksums of a replica in one stripe, as its footer had them.
#[derive(Debug, Default)]
pub struct Sums(OnceLock<(usize, Box<[u32]>)>);

impl Sums {
    /// Keeps what a footer said, once it was found right.
    pub fn keep(&self, lease: &Lease, replica: usize, checksums: impl FnOnce() -> Option<Box<[u32]>>) {
        let is_plain = lease.replicas.get(replica).is_some_and(|replica| replica.stripes.len() == 1);
        if lease.size <= LARGEST
            && is_plain
            && self.0.get().is_none()
            && let Some(checksums) = checksums()
        {
            let _ = self.0.set((replica, checksums));
        }
    }
}

impl Store {
    /// Reads an object if that is simple now: it lies in one piece, and so does its reader's memory. None: it is not, or
    /// something is wrong; nothing is lost by trying.
    pub(super) fn read_quickly(&self, lease: &Lease, wanted: &Wanted<'_>, until: u64) -> Option<Got> {
        let Wanted::Whole([piece]) = wanted else { return None };
        let sums = lease.sums.0.get();
        let number = sums.map_or(0, |(replica, _)| *replica);
        let [extent] = lease.replicas.get(number)?.stripes[..] else { return None };
        // With several replicas, who finds one silent must have time for the others.
        let is_new = sums.is_none() && lease.replicas.len() > 1;
        if is_new || lease.size > LARGEST || (piece.len() as u64) < lease.size {
            return None;
        }
        let piece = piece.part(0, lease.size as usize);
        // Checksums that are not known yet stand behind the object.
        let footer = footer::footer_length(lease.size);
        let padding = (footer::offset(lease.size) - lease.size) as usize;
        let mut room = self.rooms.take(if sums.is_some() { 0 } else { padding + footer }).ok()?;
        let behind = room.next(padding + footer);
        let pieces = [piece, behind];
        let pieces = if behind.is_empty() { &pieces[..1] } else { &pieces };
        let ends = if sums.is_some() { lease.until_ns.min(until) } else { attempt(lease.until_ns, until) };
        let found = self.fetch_quickly(&extent, ends, pieces)?;
        if clock::now_ns() >= lease.until_ns {
            return None;
        }
        let sum_of = |block: usize| {
            let from = block as u64 * CHECKSUM_BLOCK;
            found.of(piece.part(from as usize, CHECKSUM_BLOCK.min(lease.size - from) as usize))
        };
        if let Some((_, sums)) = sums {
            sums.iter().enumerate().all(|(block, sum)| sum_of(block) == *sum).then_some(())?;
        } else {
            let sums: Box<[u32]> = (0..footer::blocks(lease.size)).map(sum_of).collect();
            behind.part(padding, footer).with_bytes(|bytes| {
                let footer = Footer::decode(bytes, extent.generation).ok()?;
                let is_right = |(block, sum): (usize, &u32)| footer.checksum(block) == Some(*sum);
                sums.iter().enumerate().all(is_right).then_some(())
            })?;
            lease.sums.keep(lease, number, || Some(sums));
        }
        Some(Got { version: lease.version, size: lease.size })
    }

    /// Fetches the first bytes of an extent with one request.
    fn fetch_quickly(&self, extent: &Extent, until: u64, into: &[Mem]) -> Option<BlockSums> {
        let length = pieces::total(into);
        let attachment = self.nodes.known(extent.node)?.attached()?;
        let (segment, remote) = attachment.locate(extent, 0, length).ok()?;
        let request =
            Request { opcode: Opcode::Read, segment, remote, length, local: local_of(into), user_data: 0 };
        let deadline = Some(clock::until(until));
        let options = BatchOptions { deadline, verifies_reads: true, ..Default::default() };
        // Memory that is not registered is an error here, and made usable on the long way.
        let id = self.engine.submit(std::iter::once(Ok(request)), options).ok()?;
        let info = loop {
            let info = self.engine.wait(id, None).ok()?;
            if info.is_done {
                break info;
            }
        };
        let sums = if length < CHECKSUM_BLOCK { Vec::new() } else { self.engine.sums(id).ok()? };
        self.engine.release(id).ok()?;
        info.status.is_none().then_some(BlockSums(sums))
    }
}
