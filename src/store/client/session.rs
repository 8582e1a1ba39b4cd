//! Objects that are written or read piece by piece, such as layer by layer: one question to the master for each object,
//! however many pieces it has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::failure::{Failure, Result};
use super::get::{GetOptions, Got, Part, Wanted};
use super::leases::Lease;
use super::memory::Borrowed;
use super::put::{Granted, PutOptions, outcomes};
use super::{Store, pieces};
use crate::fail;
use crate::store::object::{CHECKSUM_BLOCK, Version};
use crate::store::wire::master::{LeaseRef, PutExtend, PutRef, Renew};
use crate::sys::checksum;
use crate::sys::clock;
use crate::sys::memory::Mem;

/// Checksums of pieces of one block, put together as they come.
#[derive(Default)]
struct Block {
    /// Where a piece begins in the block, how long it is, and its CRC32C.
    pieces: BTreeMap<u64, (u64, u32)>,
}

impl Block {
    /// A piece that was written before may be written again; one that overlaps another may not.
    fn check(&self, at: u64, length: u64) -> crate::error::Result<()> {
        if self.pieces.get(&at).is_some_and(|(known, _)| *known == length) {
            return Ok(());
        }
        let before = self.pieces.range(..at + length).next_back();
        if before.is_some_and(|(start, (known, _))| start + known > at) {
            return Err(fail!(InvalidArgument, "the piece overlaps one that was written before"));
        }
        Ok(())
    }

    /// The checksum of all pieces, if they make up so many bytes.
    fn value(&self, length: u64) -> Option<u32> {
        let mut whole: Option<(u64, u32)> = None;
        for (at, (length, crc)) in &self.pieces {
            whole = match whole {
                None if *at == 0 => Some((*length, *crc)),
                Some((end, sum)) if end == *at => Some((end + length, checksum::join(sum, *crc, *length))),
                _ => return None,
            };
        }
        whole.filter(|(end, _)| *end == length).map(|(_, crc)| crc)
    }
}

struct Item {
    key: Box<[u8]>,
    size: u64,
    granted: Granted,
    blocks: BTreeMap<u64, Block>,
    extend_at_ns: u64,
}

/// Objects that are being written. Dropped, it gives back what was not committed.
pub struct PutSession {
    store: Arc<Store>,
    items: Vec<Mutex<Option<Item>>>,
}

impl PutSession {
    /// Asks for the memory of objects of these sizes; one result for each. Errors of a key: as of `Store::put`.
    pub fn begin(
        store: &Arc<Store>,
        puts: &[(&[u8], u64)],
        options: &PutOptions,
    ) -> (PutSession, Vec<Result<Version>>) {
        let until = store.until(options.deadline);
        let (mut granted, mut results) = store.put_start(puts, options, until);
        let asked_ns = clock::now_ns();
        store.open_all(&mut granted, until);
        let mut items: Vec<Option<Item>> = puts.iter().map(|_| None).collect();
        let mut failed = Vec::new();
        for put in granted {
            let (index, version) = (put.index, put.version);
            match &put.failure {
                Some(failure) => {
                    results[index] = Some(Err(failure.clone()));
                    failed.push(put);
                }
                None => {
                    results[index] = Some(Ok(version));
                    items[index] = Some(Item {
                        key: puts[index].0.into(),
                        size: puts[index].1,
                        extend_at_ns: asked_ns + put.deadline_ms * 1_000_000 / 2,
                        granted: put,
                        blocks: BTreeMap::new(),
                    });
                }
            }
        }
        store.put_revoke(&failed, |put| puts[put.index].0);
        let items = items.into_iter().map(Mutex::new).collect();
        let session = PutSession { store: store.clone(), items };
        let missing = || Err(super::put::unanswered());
        (session, results.into_iter().map(|result| result.unwrap_or_else(missing)).collect())
    }

    /// Writes bytes of object `index` from `offset` on, to all its replicas. Pieces may come in any order, and again, but
    /// not overlap. Errors: INVALID_HANDLE (it ended), INVALID_ARGUMENT, CANCELED, UNREACHABLE.
    pub fn write(&self, index: usize, offset: u64, from: &[Mem], deadline: Option<Duration>) -> Result<()> {
        let until = self.store.until(deadline);
        let mut held = self.item(index)?.lock();
        let item = held.as_mut().ok_or_else(ended)?;
        let length = pieces::total(from);
        if length == 0 || offset.checked_add(length).is_none_or(|end| end > item.size) {
            return Err(fail!(
                InvalidArgument,
                "{length} bytes from {offset} on: the object has {}",
                item.size
            )
            .into());
        }
        let parts = Granted::block_parts(offset, length);
        for (block, at, length) in &parts {
            item.blocks.entry(*block).or_default().check(*at, *length)?;
        }
        if clock::now_ns() >= item.extend_at_ns {
            self.store.extend(item, until)?;
        }
        let borrowed = Borrowed::new(&self.store.engine, from.iter().copied())?;
        self.store.write_part(&mut item.granted, offset, from, until);
        drop(borrowed);
        if let Some(failure) = &item.granted.failure {
            return Err(failure.clone());
        }
        let mut done = 0;
        for (block, at, length) in parts {
            let crc = checksum::crc32c_of_all(&pieces::window(from, done, length));
            item.blocks.entry(block).or_default().pieces.insert(at, (length, crc));
            done += length;
        }
        Ok(())
    }

    /// Makes an object visible, all of which was written. Errors: INVALID_STATE (bytes are missing: it goes on), and as of
    /// `Store::put`.
    pub fn commit(&self, index: usize, deadline: Option<Duration>) -> Result<Version> {
        let until = self.store.until(deadline);
        let mut held = self.item(index)?.lock();
        let item = held.as_mut().ok_or_else(ended)?;
        let count = item.size.div_ceil(CHECKSUM_BLOCK);
        let sum = |block: u64| {
            let length = CHECKSUM_BLOCK.min(item.size - block * CHECKSUM_BLOCK);
            item.blocks.get(&block)?.value(length)
        };
        let sums: Option<Vec<u32>> = (0..count).map(sum).collect();
        let Some(sums) = sums else {
            return Err(fail!(InvalidState, "not all of the object's {count} blocks were written").into());
        };
        let mut item = held.take().ok_or_else(ended)?;
        drop(held);
        self.store.close_entries(&mut item.granted, &sums, until);
        let key = item.key.clone();
        let version = item.granted.version;
        item.granted.check_confirmed();
        let outcome = match item.granted.failure.clone() {
            Some(failure) => {
                self.store.put_revoke(&[item.granted], |_| &key);
                Err(failure)
            }
            None => self.store.put_commit(&[item.granted], |_| &key, until).remove(0),
        };
        self.store.leases.forget(&key);
        outcome.map(|()| version)
    }

    /// Gives an object's memory back.
    pub fn revoke(&self, index: usize) -> Result<()> {
        let item = self.item(index)?.lock().take().ok_or_else(ended)?;
        self.store.put_revoke(&[item.granted], |_| &item.key);
        Ok(())
    }

    fn item(&self, index: usize) -> Result<&Mutex<Option<Item>>> {
        self.items.get(index).ok_or_else(ended)
    }
}

impl Drop for PutSession {
    fn drop(&mut self) {
        let (mut keys, mut granted) = (Vec::new(), Vec::new());
        for item in self.items.drain(..).filter_map(Mutex::into_inner) {
            let mut one = item.granted;
            one.index = keys.len();
            granted.push(one);
            keys.push(item.key);
        }
        self.store.put_revoke(&granted, |put| &keys[put.index]);
    }
}

fn ended() -> Failure {
    fail!(InvalidHandle, "the session has no such object, or it was committed or revoked").into()
}

impl Store {
    /// Asks for more time to write.
    fn extend(&self, item: &mut Item, until: u64) -> Result<()> {
        let put = PutRef { key: item.key.to_vec(), version: item.granted.version.0, is_done: false };
        let call = PutExtend { tenant: self.tenant.clone(), client: self.id.0, puts: vec![put] };
        let asked_ns = clock::now_ns();
        let deadline_ms = outcomes(self.masters.ask(&call, until, true), 1).remove(0)?;
        item.extend_at_ns = asked_ns + deadline_ms * 1_000_000 / 2;
        Ok(())
    }
}

/// A key, and the lease by which it is read.
type Reading = (Box<[u8]>, Arc<Lease>);

/// Objects that are being read, each in the version that it had when the session began.
pub struct GetSession {
    store: Arc<Store>,
    items: Mutex<Vec<Option<Reading>>>,
}

impl GetSession {
    /// Looks objects up; one result for each. Errors of a key: NOT_FOUND, NOT_READY, UNREACHABLE.
    pub fn begin(store: &Arc<Store>, keys: &[&[u8]], options: &GetOptions) -> (GetSession, Vec<Result<Got>>) {
        let until = store.until(options.deadline);
        let found = store.look_up(keys, options.fresh, until);
        let got = |lease: &Arc<Lease>| Got { version: lease.version, size: lease.size };
        let results = found.iter().map(|lease| lease.as_ref().map(got).map_err(Clone::clone)).collect();
        let items = found.into_iter().zip(keys).map(|(lease, key)| Some(((*key).into(), lease.ok()?)));
        (GetSession { store: store.clone(), items: Mutex::new(items.collect()) }, results)
    }

    /// Reads parts of object `index`. Errors: INVALID_HANDLE (it ended), INVALID_ARGUMENT, LEASE_EXPIRED (the object was
    /// replaced, removed or moved, and the lease could not be prolonged: begin again), UNREACHABLE, CORRUPTED.
    pub fn read(&self, index: usize, parts: &[Part<'_>], deadline: Option<Duration>) -> Result<Got> {
        let until = self.store.until(deadline);
        let (key, mut lease) = self.item(index)?;
        if let Some(longer) = self.store.prolonged(&key, &lease, until)? {
            self.keep(index, &longer);
            lease = longer;
        }
        let (got, replica) = self.store.get_leased(&key, &lease, Wanted::Parts(parts), until)?;
        if replica > 0 {
            // The ones before it did not answer: this one is read, and prolonged, from here on.
            let mut replicas = lease.replicas.clone();
            replicas.rotate_left(replica);
            let Lease { version, size, until_ns, .. } = *lease;
            self.keep(
                index,
                &Arc::new(Lease { version, size, replicas, until_ns, sums: Default::default() }),
            );
        }
        Ok(got)
    }

    fn item(&self, index: usize) -> Result<Reading> {
        self.items.lock().get(index).and_then(Option::clone).ok_or_else(ended)
    }

    fn keep(&self, index: usize, lease: &Arc<Lease>) {
        if let Some(Some((_, kept))) = self.items.lock().get_mut(index) {
            *kept = lease.clone();
        }
    }

    /// Ends the reading of an object; what it has left of its lease is not waited for.
    pub fn end(&self, index: usize) -> Result<()> {
        let mut items = self.items.lock();
        items.get_mut(index).and_then(Option::take).map(drop).ok_or_else(ended)
    }
}

/// A lease that has less than this left is prolonged before the next read.
const SHORT: Duration = Duration::from_secs(2);

impl Store {
    /// The same lease, for longer, when it is about to end.
    fn prolonged(&self, key: &[u8], lease: &Lease, until: u64) -> Result<Option<Arc<Lease>>> {
        if clock::until(lease.until_ns) >= SHORT {
            return Ok(None);
        }
        let Some(replica) = lease.replicas.first() else { return Ok(None) };
        let stripes = replica.stripes.iter().map(Into::into).collect();
        let leases = vec![LeaseRef { key: key.to_vec(), stripes }];
        let asked_ns = clock::now_ns();
        let call = Renew { tenant: self.tenant.clone(), leases };
        let lease_ms = outcomes(self.masters.ask(&call, until, true), 1).remove(0)?;
        // The word is for the replica that it names, and for no other.
        let replicas = lease.replicas[..1].to_vec();
        let until_ns = asked_ns.saturating_add(lease_ms.saturating_mul(1_000_000));
        Ok(Some(Arc::new(Lease {
            version: lease.version,
            size: lease.size,
            replicas,
            until_ns,
            sums: Default::default(),
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::checksum::crc32c;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_blocks_checksum_is_that_of_its_pieces_in_whatever_order_they_came(
            bytes in prop::collection::vec(any::<u8>(), 1..2000),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            seed: u64,
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            cuts.dedup();
            let mut spans: Vec<(usize, usize)> = cuts.windows(2).map(|pair| (pair[0], pair[1])).collect();
            spans.sort_by_key(|span| (span.0 as u64).wrapping_mul(seed | 1));
            let mut block = Block::default();
            for (from, to) in &spans {
                let (at, length) = (*from as u64, (to - from) as u64);
                prop_assert!(block.value(bytes.len() as u64).is_none(), "bytes are missing");
                prop_assert!(block.check(at, length).is_ok());
                block.pieces.insert(at, (length, crc32c(&bytes[*from..*to])));
                prop_assert!(block.check(at, length).is_ok(), "the same again");
            }
            prop_assert_eq!(block.value(bytes.len() as u64), Some(crc32c(&bytes)));
            if bytes.len() > 1 {
                prop_assert!(spans.len() == 1 || block.check(0, bytes.len() as u64).is_err());
            }
        }
    }
}
