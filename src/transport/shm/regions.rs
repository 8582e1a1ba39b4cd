//! What an attachment knows of the owner's regions, and the runs that wait to know more.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::page::SLOTS;
use super::wire::Grant;
use crate::bail;
use crate::error::{Code, Context, Result};
use crate::segment::memory::{REMOTE_READ, REMOTE_WRITE};
use crate::sys::clock;
use crate::sys::memory::Mem;
use crate::sys::mmap::{self, Mapping};
use crate::transport::{Opcode, Owner, PathKind, Run, same_owner};

/// One region of the owner, as far as this side may touch it.
pub struct Known {
    pub key: u64,
    /// None: the owner has no room on its control page; its bytes go over the network.
    pub slot: Option<u32>,
    address: u64,
    length: u64,
    permissions: u32,
    mapping: Option<Mapping>,
}

impl Known {
    /// Takes the owner's word apart; what cannot be true is refused.
    pub fn of(grant: &Grant, file: Option<OwnedFd>) -> Result<Known> {
        if grant.slot >= SLOTS || grant.length == 0 || grant.address.checked_add(grant.length).is_none() {
            bail!(Rejected, "the peer describes an impossible region at {:#x}", grant.address);
        }
        let mapping = file.map(|file| map(&file, grant)).transpose()?;
        Ok(Known {
            key: grant.key,
            slot: Some(grant.slot),
            address: grant.address,
            length: grant.length,
            permissions: grant.permissions,
            mapping,
        })
    }

    /// A region that this path does not reach.
    pub fn elsewhere(key: u64) -> Known {
        Known { key, slot: None, address: 0, length: 0, permissions: 0, mapping: None }
    }

    /// Whether the region holds a range and lets peers do that with it.
    pub fn check(&self, opcode: Opcode, address: u64, length: usize) -> std::result::Result<(), Code> {
        let length = length as u64;
        let is_inside = address >= self.address
            && length <= self.length
            && address - self.address <= self.length - length;
        let permission = if opcode == Opcode::Read { REMOTE_READ } else { REMOTE_WRITE };
        if !is_inside {
            return Err(Code::AddressNotRegistered);
        }
        if self.permissions & permission == 0 {
            return Err(Code::Permission);
        }
        Ok(())
    }

    pub fn is_mapped(&self) -> bool {
        self.mapping.is_some()
    }

    /// The mapped range behind an address of the owner that `check` found inside.
    pub fn mapped(&self, address: u64, length: usize) -> Mem {
        let mapping = self.mapping.as_ref().expect("asked for mapped regions only");
        mapping.mem().part((address - self.address) as usize, length)
    }

    /// Maps the pages of one stretch; where the next one begins, None after the last.
    pub fn populate(&self, offset: usize, length: usize) -> Option<usize> {
        let mapping = self.mapping.as_ref()?;
        let end = mapping.mem().len().min(offset + length);
        mapping.populate(offset, end - offset, self.permissions & REMOTE_WRITE != 0);
        (end < mapping.mem().len()).then_some(end)
    }
}

/// Maps a region's memory file. Sealed, as long as the region, and with memory behind every byte: touching the mapping
/// is no SIGBUS, whatever the owner does.
fn map(file: &OwnedFd, grant: &Grant) -> Result<Mapping> {
    let (length, allocated) = mmap::size_of_file(file).context("looking at the peer's memory file")?;
    let region = grant.length as usize;
    if !mmap::is_sealed(file) || length != region || allocated < region {
        bail!(
            Rejected,
            "the peer's memory file is not sealed, or has {length} bytes, {allocated} of them with memory, for a \
             region of {region}"
        );
    }
    Mapping::of_file_lazily(file, region, grant.permissions & REMOTE_WRITE != 0)
        .context("mapping the peer's memory file")
}

/// A run that waits for a region.
pub struct Waiting {
    pub key: u64,
    pub kind: PathKind,
    pub run: Run,
}

#[derive(Default)]
struct Queue {
    /// Keys that the owner owes an answer for, with the time of the question.
    asked: BTreeMap<u64, u64>,
    waiting: Vec<Waiting>,
    is_closed: bool,
}

/// What became of a run that came to wait.
pub enum Parked {
    /// It waits; ask the owner.
    First,
    /// It waits for an answer that is on its way.
    Also,
    /// It need not wait: look again.
    Known(Run),
    /// Nothing is answered any more.
    Closed(Run),
}

#[derive(Default)]
pub struct Regions {
    /// Read for each run, changed when regions come and go.
    known: RwLock<BTreeMap<u64, Arc<Known>>>,
    queue: Mutex<Queue>,
}

impl Regions {
    pub fn get(&self, key: u64) -> Option<Arc<Known>> {
        self.known.read().get(&key).cloned()
    }

    pub fn forget(&self, key: u64) {
        let known = self.known.write().remove(&key);
        // Unmapped here, or by the last copy.
        drop(known);
    }

    pub fn park(&self, waiting: Waiting) -> Parked {
        let mut queue = self.queue.lock();
        if queue.is_closed {
            return Parked::Closed(waiting.run);
        }
        // The answer may have come since the caller looked.
        if self.get(waiting.key).is_some() {
            return Parked::Known(waiting.run);
        }
        let is_first = !queue.asked.contains_key(&waiting.key);
        if is_first {
            queue.asked.insert(waiting.key, clock::now_ns());
        }
        queue.waiting.push(waiting);
        if is_first { Parked::First } else { Parked::Also }
    }

    /// Notes the answer for a key; returns the runs that waited for it. None when nobody asked.
    pub fn learn(&self, key: u64, known: Option<Arc<Known>>) -> Option<Vec<Waiting>> {
        let mut queue = self.queue.lock();
        if queue.is_closed || queue.asked.remove(&key).is_none() {
            return None;
        }
        if let Some(known) = known {
            self.known.write().insert(key, known);
        }
        Some(queue.take(|waiting| waiting.key == key))
    }

    pub fn is_asked(&self, key: u64) -> bool {
        self.queue.lock().asked.contains_key(&key)
    }

    /// Whether the owner owes an answer for so long.
    pub fn is_late(&self, key: u64, patience_ns: u64) -> bool {
        let queue = self.queue.lock();
        queue.asked.get(&key).is_some_and(|asked_ns| clock::now_ns().saturating_sub(*asked_ns) > patience_ns)
    }

    /// The runs of one post of a batch that wait here.
    pub fn take(&self, owner: &Arc<dyn Owner>, epoch: u32) -> Vec<Waiting> {
        self.queue.lock().take(|waiting| same_owner(&waiting.run.owner, owner) && waiting.run.epoch == epoch)
    }

    /// Forgets everything; returns what waits.
    pub fn close(&self) -> Vec<Waiting> {
        let mut queue = self.queue.lock();
        queue.is_closed = true;
        let known = std::mem::take(&mut *self.known.write());
        drop(known);
        queue.take(|_| true)
    }
}

impl Queue {
    fn take(&mut self, wanted: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        let (taken, rest) = std::mem::take(&mut self.waiting).into_iter().partition(wanted);
        self.waiting = rest;
        taken
    }
}
