//! Registered memory of this engine: who may touch which range, and how a range is taken back.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::error::{Context, Result};
use crate::id::Slab;
use crate::sys::memory::Mem;
use crate::sys::{clock, futex, mmap, random};
use crate::{bail, fail};

/// Peers may read.
pub const REMOTE_READ: u32 = 1;
/// Peers may write.
pub const REMOTE_WRITE: u32 = 2;

/// Most registrations of one engine.
const MAX_REGIONS: usize = 1 << 20;
/// How long an unregistration waits for a same-host peer that stopped in the middle of a copy.
pub const FENCE_PATIENCE: Duration = Duration::from_secs(10);

/// How to register or allocate.
#[derive(Clone, Debug)]
pub struct MemoryOptions {
    /// REMOTE_READ | REMOTE_WRITE
    pub permissions: u32,
    pub location: String,
    pub insist_on_huge_pages: bool,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        MemoryOptions {
            permissions: REMOTE_READ | REMOTE_WRITE,
            location: "*".into(),
            insist_on_huge_pages: false,
        }
    }
}

/// What a registration is, for callers.
#[derive(Clone, Debug)]
pub struct MemoryInfo {
    pub reference_count: u32,
    pub address: usize,
    pub length: usize,
    pub permissions: u32,
    pub use_count: u64,
    pub is_allocated: bool,
    pub is_huge: bool,
    pub location: String,
}

/// Memory that this library allocated: a sealed memory file, mapped here and handed to peers of this host.
#[derive(Debug)]
pub struct Allocation {
    pub file: OwnedFd,
    pub mapping: mmap::Mapping,
    pub is_huge: bool,
}

/// One registered range. Its key names this registration and no other, for ever: a peer that still has an old key
/// cannot reach what was registered later at the same address.
#[derive(Debug)]
pub struct Region {
    pub key: u64,
    pub mem: Mem,
    pub permissions: u32,
    pub location: String,
    pub allocation: Option<Arc<Allocation>>,
    /// Another name of memory that a registration before it allocated.
    is_share: bool,
    /// Batches of this engine that use the range; CLOSED while somebody waits for that to become zero.
    holds: AtomicU32,
    /// Threads that touch the range for a peer at this moment; CLOSED once peers are fenced off.
    gate: AtomicU32,
}

const CLOSED: u32 = 1 << 31;

/// Permission to touch a region for a peer, until dropped.
pub struct Entered<'a>(&'a Region);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.gate.fetch_sub(1, Ordering::Release);
    }
}

impl Region {
    /// Enters the region for one access on behalf of a peer; None once it is fenced off.
    pub fn enter(&self) -> Option<Entered<'_>> {
        if self.gate.fetch_add(1, Ordering::AcqRel) & CLOSED != 0 {
            self.gate.fetch_sub(1, Ordering::Release);
            return None;
        }
        Some(Entered(self))
    }

    /// Keeps the registration while a batch of this engine uses the range; false once it is being unregistered.
    pub fn hold(&self) -> bool {
        if self.holds.fetch_add(1, Ordering::AcqRel) & CLOSED != 0 {
            self.release();
            return false;
        }
        true
    }

    pub fn release(&self) {
        if self.holds.fetch_sub(1, Ordering::AcqRel) == CLOSED + 1 {
            futex::wake_all(&self.holds);
        }
    }

    fn use_count(&self) -> u32 {
        self.holds.load(Ordering::Acquire) & !CLOSED
    }

    /// Turns peers away and waits for those inside. Short: nobody sleeps inside.
    fn fence(&self) {
        self.gate.fetch_or(CLOSED, Ordering::AcqRel);
        while self.gate.load(Ordering::Acquire) & !CLOSED != 0 {
            std::thread::yield_now();
        }
    }

    fn reopen(&self) {
        self.gate.fetch_and(!CLOSED, Ordering::AcqRel);
        self.holds.fetch_and(!CLOSED, Ordering::AcqRel);
    }

    /// Lets no further batch hold the region. Unless `wait`, only when none does: false otherwise.
    fn refuse_batches(&self, wait: bool) -> bool {
        if wait {
            self.holds.fetch_or(CLOSED, Ordering::AcqRel);
            return true;
        }
        self.holds.compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn wait_for_batches(&self) {
        loop {
            let now = self.holds.load(Ordering::Acquire);
            if now & !CLOSED == 0 {
                return;
            }
            futex::wait(&self.holds, now, Some(Duration::from_millis(100)));
        }
    }
}

/// Somebody who lets peer processes of this host touch regions without our hand, and can stop that.
pub trait Fence: Send + Sync {
    /// Ends the peers' access to a region and waits for copies under way, until `deadline_ns`. BUSY, naming the peer,
    /// when one does not end; then the region is open again.
    fn close(&self, region: &Region, deadline_ns: u64) -> Result<()>;
}

struct Registration {
    region: Arc<Region>,
    references: u32,
}

#[derive(PartialEq, Eq, Hash, Clone)]
struct Identity {
    address: usize,
    length: usize,
    permissions: u32,
}

struct Table {
    slab: Slab<Registration>,
    identical: HashMap<Identity, u64>,
    /// By address. `reach[i]` is the highest end among the first i + 1: a search from the right stops there.
    sorted: Vec<Arc<Region>>,
    reach: Vec<usize>,
    bytes: u64,
}

/// The registered memory of one engine.
pub struct MemoryTable {
    table: RwLock<Table>,
    next_key: AtomicU64,
    version: AtomicU64,
    fences: Mutex<Vec<Arc<dyn Fence>>>,
}

impl MemoryTable {
    pub fn new(tag: u16) -> MemoryTable {
        MemoryTable {
            table: RwLock::new(Table {
                slab: Slab::new("region", tag, MAX_REGIONS),
                identical: HashMap::new(),
                sorted: Vec::new(),
                reach: Vec::new(),
                bytes: 0,
            }),
            // Another start in every life of a program: a key from an earlier one reaches nothing.
            next_key: AtomicU64::new(u64::from(u32::from_le_bytes(random::bytes())) << 32 | 1),
            version: AtomicU64::new(1),
            fences: Mutex::new(Vec::new()),
        }
    }

    /// Changes whenever a region comes or goes.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub fn add_fence(&self, fence: Arc<dyn Fence>) {
        self.fences.lock().push(fence);
    }

    pub fn register(&self, address: usize, length: usize, options: &MemoryOptions) -> Result<u64> {
        self.register_batch(&[(address, length)], options).pop().expect("one result for one range")
    }

    /// Registers many ranges with one rebuild of the search order.
    pub fn register_batch(&self, ranges: &[(usize, usize)], options: &MemoryOptions) -> Vec<Result<u64>> {
        let mut table = self.table.write();
        let results = ranges
            .iter()
            .map(|(address, length)| self.register_one(&mut table, *address, *length, options, None))
            .collect();
        table.rebuild();
        self.version.fetch_add(1, Ordering::AcqRel);
        results
    }

    /// Registers allocated memory once more, under a key of its own: whoever was given only that one loses its way when it
    /// is unregistered, and nobody else does. The memory goes with its last key.
    pub fn share(&self, id: u64, options: &MemoryOptions) -> Result<u64> {
        let mut table = self.table.write();
        let region = table.slab.get(id)?.region.clone();
        let Some(allocation) = region.allocation.clone() else {
            bail!(InvalidArgument, "only memory that the library allocated can be shared again");
        };
        let mem = region.mem;
        let id =
            self.register_one(&mut table, mem.address(), mem.len(), options, Some((allocation, true)))?;
        table.rebuild();
        self.version.fetch_add(1, Ordering::AcqRel);
        Ok(id)
    }

    /// `allocation`: what backs the range, and whether this is another name for it.
    fn register_one(
        &self,
        table: &mut Table,
        address: usize,
        length: usize,
        options: &MemoryOptions,
        allocation: Option<(Arc<Allocation>, bool)>,
    ) -> Result<u64> {
        check_range(address, length)?;
        if options.location.len() > 31 || options.location.bytes().any(|byte| byte < b' ') {
            bail!(
                InvalidArgument,
                "location {:?} is longer than 31 bytes or not printable",
                options.location
            );
        }
        let identity = Identity { address, length, permissions: options.permissions };
        if allocation.is_none()
            && let Some(id) = table.identical.get(&identity).copied()
        {
            table.slab.get_mut(id)?.references += 1;
            return Ok(id);
        }
        let (allocation, is_share) =
            allocation.map_or((None, false), |(one, is_share)| (Some(one), is_share));
        let region = Arc::new(Region {
            key: self.next_key.fetch_add(1, Ordering::Relaxed),
            // SAFETY: the application vouches for its memory by registering it, until it unregisters it.
            mem: unsafe { Mem::new(address, length) },
            permissions: options.permissions,
            location: options.location.clone(),
            allocation,
            is_share,
            holds: AtomicU32::new(0),
            gate: AtomicU32::new(0),
        });
        let id = table.slab.insert(Registration { region: region.clone(), references: 1 })?;
        if !is_share {
            table.identical.entry(identity).or_insert(id);
        }
        table.sorted.push(region);
        table.bytes += length as u64;
        Ok(id)
    }

    /// Ends a registration. `wait`: for batches that use it; else BUSY when there are any.
    pub fn unregister(&self, id: u64, wait: bool) -> Result<()> {
        self.remove(id, wait, false)
    }

    /// Ends the registration of allocated memory and gives the memory back.
    pub fn free(&self, id: u64, wait: bool) -> Result<()> {
        self.remove(id, wait, true)
    }

    fn remove(&self, id: u64, wait: bool, free: bool) -> Result<()> {
        let region = {
            let mut table = self.table.write();
            let registration = table.slab.get_mut(id)?;
            let region = registration.region.clone();
            match (region.allocation.is_some() && !region.is_share, free) {
                (true, false) => {
                    bail!(InvalidState, "the library allocated this region: use mc_memory_free()")
                }
                (false, true) => {
                    bail!(InvalidState, "the application owns this region: use mc_memory_unregister()")
                }
                _ => {}
            }
            if registration.references > 1 {
                registration.references -= 1;
                return Ok(());
            }
            if !region.refuse_batches(wait) {
                bail!(Busy, "{} batches use the region at {:#x}", region.use_count(), region.mem.address());
            }
            table.take(id)?;
            region
        };
        self.version.fetch_add(1, Ordering::AcqRel);
        let fenced = self.fence_off(&region, if wait { FENCE_PATIENCE } else { Duration::ZERO });
        if let Err(error) = fenced {
            region.reopen();
            self.put_back(id, region);
            return Err(error);
        }
        region.wait_for_batches();
        Ok(())
    }

    fn fence_off(&self, region: &Region, patience: Duration) -> Result<()> {
        region.fence();
        let fences = self.fences.lock().clone();
        let deadline = clock::after(patience);
        fences.iter().try_for_each(|fence| fence.close(region, deadline))
    }

    /// A region that could not be fenced off stays registered under its id.
    fn put_back(&self, id: u64, region: Arc<Region>) {
        let mut table = self.table.write();
        let identity = region.identity();
        table.bytes += region.mem.len() as u64;
        table.sorted.push(region.clone());
        if !region.is_share {
            table.identical.entry(identity).or_insert(id);
        }
        table.slab.restore(id, Registration { region, references: 1 });
        table.rebuild();
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Allocates a sealed memory file, populated, on huge pages where the host has them.
    pub fn allocate(&self, length: usize, options: &MemoryOptions) -> Result<(usize, u64)> {
        if length == 0 || length > isize::MAX as usize / 2 {
            bail!(InvalidArgument, "length is {length}");
        }
        let allocation = allocate(length, options)?;
        let mem = allocation.mapping.mem();
        let mut table = self.table.write();
        let allocation = Some((Arc::new(allocation), false));
        let id = self.register_one(&mut table, mem.address(), mem.len(), options, allocation)?;
        table.rebuild();
        self.version.fetch_add(1, Ordering::AcqRel);
        Ok((mem.address(), id))
    }

    /// The region that holds a whole range and grants the permission (0: none needed). Never a share, which is for whoever
    /// names its key.
    pub fn find(&self, address: usize, length: usize, permission: u32) -> Result<Arc<Region>> {
        let table = self.table.read();
        let is_meant = |region: &Region| !region.is_share && region.permissions & permission == permission;
        match table.search(address, length, is_meant) {
            Some(region) => Ok(region.clone()),
            None if table.search(address, length, |_| true).is_some() => Err(fail!(
                Permission,
                "the region around {address:#x} does not allow peers to {}",
                if permission == REMOTE_READ { "read" } else { "write" }
            )),
            None => Err(fail!(
                AddressNotRegistered,
                "no registered region holds {length} bytes at {address:#x}: register the whole range as one region"
            )),
        }
    }

    /// The region that holds a whole local range, held: it cannot be unregistered until `Region::release`.
    pub fn acquire(&self, address: usize, length: usize) -> Result<Arc<Region>> {
        let table = self.table.read();
        let Some(region) = table.search(address, length, |_| true) else {
            bail!(
                AddressNotRegistered,
                "no registered region holds the local {length} bytes at {address:#x}: register the whole range first"
            );
        };
        // Under the lock, where no unregistration has begun: one that comes next sees the hold.
        region.hold();
        Ok(region.clone())
    }

    /// As `find`, for a peer that names the registration it means.
    pub fn find_keyed(
        &self,
        address: usize,
        length: usize,
        permission: u32,
        key: u64,
    ) -> Result<Arc<Region>> {
        let table = self.table.read();
        let found = table.search(address, length, |region| region.key == key).cloned().ok_or_else(|| {
            fail!(AddressNotRegistered, "the region that held {address:#x} was unregistered")
        })?;
        if found.permissions & permission != permission {
            bail!(Permission, "the region at {address:#x} does not allow that");
        }
        Ok(found)
    }

    pub fn get(&self, id: u64) -> Result<Arc<Region>> {
        self.table.read().slab.get(id).map(|registration| registration.region.clone())
    }

    pub fn info(&self, id: u64) -> Result<MemoryInfo> {
        let table = self.table.read();
        let registration = table.slab.get(id)?;
        let region = &registration.region;
        Ok(MemoryInfo {
            reference_count: registration.references,
            address: region.mem.address(),
            length: region.mem.len(),
            permissions: region.permissions,
            use_count: u64::from(region.use_count()),
            is_allocated: region.allocation.is_some(),
            is_huge: region.allocation.as_ref().is_some_and(|allocation| allocation.is_huge),
            location: region.location.clone(),
        })
    }

    /// Every region that any peer may reach, in the order of registration; shares are told to those they are for.
    pub fn offered(&self) -> Vec<Arc<Region>> {
        let table = self.table.read();
        let mut regions: Vec<_> = table
            .sorted
            .iter()
            .filter(|region| region.permissions != 0 && !region.is_share)
            .cloned()
            .collect();
        regions.sort_by_key(|region| region.key);
        regions
    }

    pub fn count(&self) -> (u64, u64) {
        let table = self.table.read();
        (table.slab.len() as u64, table.bytes)
    }

    /// Takes everything back: on return nobody of this process touches any region for a peer.
    pub fn close(&self) {
        let regions: Vec<Arc<Region>> = {
            let mut table = self.table.write();
            table.sorted.clear();
            table.reach.clear();
            table.identical.clear();
            table.slab.drain().into_iter().map(|registration| registration.region).collect()
        };
        for region in regions {
            if let Err(error) = self.fence_off(&region, Duration::from_secs(2)) {
                tracing::warn!("closing the engine while a peer process is in the middle of a copy: {error}");
            }
        }
        self.fences.lock().clear();
    }
}

impl Region {
    fn identity(&self) -> Identity {
        Identity { address: self.mem.address(), length: self.mem.len(), permissions: self.permissions }
    }
}

impl Table {
    fn rebuild(&mut self) {
        self.sorted.sort_by_key(|region| (region.mem.address(), region.key));
        self.reach.clear();
        self.reach.resize(self.sorted.len(), 0);
        self.reach_from(0);
    }

    /// Says anew how far regions reach, from one on, until that is what was said before: those after it are as they were.
    fn reach_from(&mut self, first: usize) {
        let mut highest = first.checked_sub(1).map_or(0, |before| self.reach[before]);
        for (region, reach) in self.sorted[first..].iter().zip(&mut self.reach[first..]) {
            highest = highest.max(region.mem.address() + region.mem.len());
            if *reach == highest {
                break;
            }
            *reach = highest;
        }
    }

    fn take(&mut self, id: u64) -> Result<()> {
        let registration = self.slab.remove(id)?;
        let region = registration.region;
        let identity = region.identity();
        if self.identical.get(&identity) == Some(&id) {
            self.identical.remove(&identity);
        }
        self.bytes -= region.mem.len() as u64;
        let order = |region: &Region| (region.mem.address(), region.key);
        let at = self.sorted.partition_point(|other| order(other) < order(&region));
        self.sorted.remove(at);
        self.reach.remove(at);
        self.reach_from(at);
        Ok(())
    }

    fn search(
        &self,
        address: usize,
        length: usize,
        wanted: impl Fn(&Region) -> bool,
    ) -> Option<&Arc<Region>> {
        let end = address.checked_add(length)?;
        let from = self.sorted.partition_point(|region| region.mem.address() <= address);
        (0..from)
            .rev()
            .take_while(|index| self.reach[*index] >= end)
            .map(|index| &self.sorted[index])
            .find(|region| region.mem.contains(address, length) && wanted(region))
    }
}

fn check_range(address: usize, length: usize) -> Result<()> {
    if address == 0 {
        bail!(InvalidArgument, "address is NULL");
    }
    if length == 0 {
        bail!(InvalidArgument, "length is 0");
    }
    if address.checked_add(length).is_none() || length > isize::MAX as usize {
        bail!(InvalidArgument, "the range of {length} bytes at {address:#x} wraps around");
    }
    Ok(())
}

fn allocate(length: usize, options: &MemoryOptions) -> Result<Allocation> {
    let huge = mmap::huge_page_size().filter(|page| options.insist_on_huge_pages || length >= *page);
    if let Some(page) = huge {
        match try_allocate(length, page, options) {
            Err(error) if options.insist_on_huge_pages => return Err(error),
            Err(error) => tracing::debug!("no huge pages for {length} bytes, taking ordinary ones: {error}"),
            made => return made,
        }
    } else if options.insist_on_huge_pages {
        bail!(NoSpace, "this host has no free huge pages: set vm.nr_hugepages, or leave the flag out");
    }
    try_allocate(length, 0, options)
}

fn try_allocate(length: usize, huge_page: usize, options: &MemoryOptions) -> Result<Allocation> {
    let page = if huge_page == 0 { mmap::page_size() } else { huge_page };
    let length = length.next_multiple_of(page);
    if let Some(available) =
        mmap::available_memory().filter(|available| length > *available && huge_page == 0)
    {
        bail!(
            NoSpace,
            "allocating {length} bytes: this host, or this process's control group, has {available} left"
        );
    }
    let out_of_memory = |error: std::io::Error| {
        fail!(
            NoSpace,
            "allocating {length} bytes of shared memory: {error}; see free memory, cgroup limit, /dev/shm"
        )
    };
    let file = mmap::memory_file("mooncake", length, huge_page).map_err(out_of_memory)?;
    let mapping = mmap::Mapping::of_file(&file, length, true).map_err(out_of_memory)?;
    // Ours stays writable: the seal forbids new writable mappings only. What is for nobody yet may be shared with writers.
    let read_only = options.permissions == REMOTE_READ;
    mmap::seal(&file, read_only).context("sealing a memory file")?;
    Ok(Allocation { file, mapping, is_huge: huge_page != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table() -> MemoryTable {
        MemoryTable::new(1)
    }

    #[test]
    fn identical_registrations_count_and_overlapping_ones_do_not_disturb() {
        let table = table();
        let options = MemoryOptions::default();
        let a = table.register(0x1000, 100, &options).expect("register");
        assert_eq!(table.register(0x1000, 100, &options).expect("again"), a);
        let longer = table.register(0x1000, 200, &options).expect("grow");
        assert_ne!(longer, a);
        let inside = table.register(0x1010, 10, &options).expect("contained");
        assert!(table.find(0x1000, 200, 0).is_ok());
        table.unregister(longer, true).expect("unregister");
        assert!(table.find(0x1000, 200, 0).is_err());
        assert!(table.find(0x1000, 100, 0).is_ok());
        table.unregister(a, true).expect("first of two");
        assert!(table.find(0x1000, 100, 0).is_ok());
        table.unregister(a, true).expect("second of two");
        assert!(table.find(0x1000, 100, 0).is_err());
        assert!(table.find(0x1010, 10, 0).is_ok());
        table.unregister(inside, true).expect("unregister");
        assert!(table.unregister(inside, true).is_err());
    }

    #[test]
    fn more_memory_than_there_is_is_refused_before_the_kernel_must_kill_somebody() {
        let error = table().allocate(1 << 46, &MemoryOptions::default()).expect_err("64 TiB");
        assert_eq!(error.code, crate::error::Code::NoSpace);
    }

    #[test]
    fn a_key_never_reaches_a_later_registration_of_the_same_range() {
        let table = table();
        let options = MemoryOptions::default();
        let first = table.register(0x1000, 100, &options).expect("register");
        let key = table.get(first).expect("live").key;
        table.unregister(first, true).expect("unregister");
        table.register(0x1000, 100, &options).expect("register again");
        assert!(table.find_keyed(0x1000, 10, REMOTE_READ, key).is_err());
    }

    #[test]
    fn shared_memory_has_a_key_for_each_who_was_given_one() {
        let table = table();
        let options = MemoryOptions { permissions: 0, ..Default::default() };
        let (address, own) = table.allocate(4096, &options).expect("memory");
        let shares = [(); 2].map(|()| table.share(own, &MemoryOptions::default()).expect("a share"));
        let keys = shares.map(|id| table.get(id).expect("live").key);
        let find = |key| table.find_keyed(address, 4096, REMOTE_WRITE, key);
        assert!(find(keys[0]).is_ok_and(|region| region.allocation.is_some()));
        assert!(
            table.offered().is_empty() && table.find(address, 4096, REMOTE_READ).is_err(),
            "told to nobody"
        );
        table.unregister(shares[0], true).expect("not ours to free");
        assert!(find(keys[0]).is_err() && find(keys[1]).is_ok());
        assert!(table.free(shares[1], true).is_err(), "not the one that was allocated");
        table.free(own, true).expect("freed");
        assert!(find(keys[1]).is_ok(), "the memory stays until its last share goes");
        let plain = table.register(0x1000, 100, &options).expect("register");
        assert!(table.share(plain, &options).is_err());
    }

    proptest! {
        #[test]
        fn find_agrees_with_a_linear_search(
            ranges in proptest::collection::vec((1usize..400, 1usize..120), 1..40),
            removed in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
            probes in proptest::collection::vec((1usize..500, 1usize..60), 1..60),
        ) {
            let table = table();
            let options = MemoryOptions::default();
            let mut live = Vec::new();
            for (address, length) in ranges {
                live.push((table.register(address, length, &options).expect("register"), address, length));
            }
            for index in removed {
                if live.is_empty() { break }
                let (id, ..) = live.swap_remove(index.index(live.len()));
                table.unregister(id, true).expect("unregister");
            }
            for (address, length) in probes {
                let expected = live.iter().any(|(_, a, l)| address >= *a && address + length <= a + l);
                prop_assert_eq!(table.find(address, length, REMOTE_READ).is_ok(), expected);
            }
        }
    }
}
