//! The shortest way to an object that was read before: its lease is held, its checksums are known, one request fetches it.

use std::sync::OnceLock;

use super::Store;
use super::get::{Got, Wanted};
use super::leases::Lease;
use super::write::local_of;
use crate::engine::batch::{BatchOptions, Request};
use crate::store::object::CHECKSUM_BLOCK;
use crate::sys::checksum::crc32c_of;
use crate::sys::clock;
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
    /// Reads an object if that is simple now. None: it is not, or something is wrong; nothing is lost by asking.
    pub(super) fn get_quickly(&self, key: &[u8], wanted: &Wanted<'_>, until: u64) -> Option<Got> {
        let Wanted::Whole([piece]) = wanted else { return None };
        let lease = self.leases.get(key, clock::now_ns())?;
        let (replica, sums) = lease.sums.0.get()?;
        if (piece.len() as u64) < lease.size {
            return None;
        }
        let piece = piece.part(0, lease.size as usize);
        let extent = lease.replicas.get(*replica)?.stripes.first()?;
        let attachment = self.nodes.known(extent.node)?.attached()?;
        let (segment, remote) = attachment.locate(extent, 0, lease.size).ok()?;
        let request = Request {
            opcode: Opcode::Read,
            segment,
            remote,
            length: lease.size,
            local: local_of(&[piece]),
            user_data: 0,
        };
        let deadline = Some(clock::until(lease.until_ns.min(until)));
        let options = BatchOptions { deadline, verifies_reads: true, ..Default::default() };
        // Memory that is not registered is an error here, and made usable on the long way.
        let id = self.engine.submit(std::iter::once(Ok(request)), options).ok()?;
        let info = loop {
            let info = self.engine.wait(id, None).ok()?;
            if info.is_done {
                break info;
            }
        };
        self.engine.release(id).ok()?;
        if info.status.is_some() || clock::now_ns() >= lease.until_ns {
            return None;
        }
        let length = |block: usize| CHECKSUM_BLOCK.min(lease.size - block as u64 * CHECKSUM_BLOCK) as usize;
        let is_right = |(block, sum): (usize, &u32)| {
            crc32c_of(piece.part(block * CHECKSUM_BLOCK as usize, length(block))) == *sum
        };
        let got = Got { version: lease.version, size: lease.size };
        sums.iter().enumerate().all(is_right).then_some(got)
    }
}
