//! One process that is connected to a host: who it is, which regions it was granted, and whether it is inside of one.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::page::{COUNTERS, Page, SLOTS};
use super::wire::{self, Message, Transcript};
use crate::bail;
use crate::error::Result;
use crate::segment::descriptor::EngineId;
use crate::segment::memory::Region;
use crate::sys::process::Process;
use crate::sys::reactor::{Interest, Reactor, Source, Token};
use crate::sys::{clock, unix};

/// How far the conversation is.
#[derive(Debug)]
pub enum Stage {
    Connected,
    Challenged(Transcript),
    Admitted,
}

pub struct Guest {
    pub stage: Mutex<Stage>,
    socket: OwnedFd,
    process: Process,
    access: OnceLock<Access>,
    is_departed: AtomicBool,
    watches: Mutex<Watches>,
}

#[derive(Default)]
struct Watches {
    connection: Option<Token>,
    end: Option<Token>,
}

/// What an admitted guest may do.
struct Access {
    peer: EngineId,
    page: Page,
    ledger: Mutex<Ledger>,
}

#[derive(Default)]
struct Ledger {
    /// Slots by the key of their region.
    slots: HashMap<u64, u32>,
    free: Vec<u32>,
    next: u32,
    counted: [u64; COUNTERS],
    is_closed: bool,
}

impl Guest {
    pub fn new(socket: OwnedFd, process: Process) -> Guest {
        Guest {
            stage: Mutex::new(Stage::Connected),
            socket,
            process,
            access: OnceLock::new(),
            is_departed: AtomicBool::new(false),
            watches: Mutex::default(),
        }
    }

    /// Name in the log.
    pub fn name(&self) -> String {
        let pid = self.process.pid();
        let process =
            if pid > 0 { format!("process {pid}") } else { "a process of another pid namespace".into() };
        match self.access.get() {
            Some(access) => format!("{process} (engine {})", access.peer),
            None => process,
        }
    }

    pub fn is_admitted(&self) -> bool {
        self.access.get().is_some()
    }

    /// Listens to the connection, and for the end of the process: a forked child may hold the connection open.
    pub fn watch(
        &self,
        reactor: &Reactor,
        worker: usize,
        connection: Arc<dyn Source>,
        end: Arc<dyn Source>,
    ) -> io::Result<()> {
        // Locked, so that a source that fires at once finds its token.
        let mut watches = self.watches.lock();
        watches.connection = Some(reactor.add(worker, self.socket.as_fd(), Interest::READ, connection)?);
        watches.end = Some(reactor.add(worker, self.process.pidfd().as_fd(), Interest::READ, end)?);
        Ok(())
    }

    /// Listens to the connection no more.
    pub fn hush(&self, reactor: &Reactor) {
        if let Some(connection) = self.watches.lock().connection.take() {
            reactor.remove(connection, self.socket.as_fd());
        }
    }

    /// Watches nothing any more.
    pub fn unwatch(&self, reactor: &Reactor) {
        self.hush(reactor);
        if let Some(end) = self.watches.lock().end.take() {
            reactor.remove(end, self.process.pidfd().as_fd());
        }
    }

    /// The next message, None when there is none now.
    pub fn receive(&self) -> Result<Option<Message>> {
        let mut buffer = [0; wire::MAX_PACKET];
        // Descriptors that a guest sends are not wanted: they are closed here.
        match unix::receive(&self.socket, &mut buffer, &mut Vec::new()) {
            Ok(None) => Ok(None),
            Ok(Some(0)) => bail!(ConnectionLost, "closed"),
            Ok(Some(length)) => wire::decode(&buffer[..length]).map(Some),
            Err(error) => bail!(ConnectionLost, "{error}"),
        }
    }

    /// Sends a message; a guest that does not empty its queue is given up.
    pub fn send(&self, message: Message, descriptor: Option<BorrowedFd<'_>>) -> Result<()> {
        match unix::send(&self.socket, &wire::encode(message), descriptor) {
            Ok(true) => Ok(()),
            Ok(false) => bail!(ConnectionLost, "it does not read what it is told"),
            Err(error) => bail!(ConnectionLost, "{error}"),
        }
    }

    pub fn admit(&self, peer: EngineId, page: Page) -> Result<()> {
        let access = Access { peer, page, ledger: Mutex::default() };
        if self.access.set(access).is_err() {
            bail!(Rejected, "it introduced itself twice");
        }
        Ok(())
    }

    /// A slot in which the region with this key is open for the guest.
    pub fn grant(&self, key: u64) -> Result<u32> {
        let Some(access) = self.access.get() else { bail!(Unauthenticated, "it did not introduce itself") };
        let mut ledger = access.ledger.lock();
        if ledger.is_closed {
            bail!(ConnectionLost, "it left");
        }
        if let Some(slot) = ledger.slots.get(&key) {
            return Ok(*slot);
        }
        let slot = match ledger.free.pop() {
            Some(slot) => slot,
            None if ledger.next < SLOTS => {
                ledger.next += 1;
                ledger.next - 1
            }
            None => bail!(Exhausted, "it has {SLOTS} regions in use, the most on this path"),
        };
        ledger.slots.insert(key, slot);
        access.page.grant(slot, key);
        Ok(slot)
    }

    /// Lets no copy of a region begin from here on; false when the guest never had it.
    pub fn revoke(&self, key: u64) -> bool {
        let Some(access) = self.access.get() else { return false };
        let ledger = access.ledger.lock();
        let slot = ledger.slots.get(&key);
        if let Some(slot) = slot {
            access.page.revoke(*slot);
        }
        slot.is_some()
    }

    /// Takes a revocation back.
    pub fn restore(&self, key: u64) {
        let Some(access) = self.access.get() else { return };
        let ledger = access.ledger.lock();
        if let (Some(slot), false) = (ledger.slots.get(&key), ledger.is_closed) {
            access.page.grant(*slot, key);
        }
    }

    /// The slot of a revoked region, in which nobody is any more, may serve another region.
    pub fn forget(&self, key: u64) {
        let Some(access) = self.access.get() else { return };
        let mut ledger = access.ledger.lock();
        if let Some(slot) = ledger.slots.remove(&key) {
            ledger.free.push(slot);
        }
    }

    /// Waits for copies in a revoked region, at most until `deadline_ns`.
    pub fn wait_until_unused(&self, region: &Region, deadline_ns: u64) -> Result<()> {
        let mut pause = Duration::from_micros(20);
        while self.is_inside(region.key) && self.process.is_alive() {
            if clock::now_ns() >= deadline_ns {
                bail!(
                    Busy,
                    "{} is in the middle of a copy of the region at {:#x}: let it go on, or end it",
                    self.name(),
                    region.mem.address()
                );
            }
            std::thread::sleep(pause.min(clock::until(deadline_ns)));
            pause = (pause * 2).min(Duration::from_millis(1));
        }
        Ok(())
    }

    fn is_inside(&self, key: u64) -> bool {
        let Some(access) = self.access.get() else { return false };
        let ledger = access.ledger.lock();
        ledger.slots.get(&key).is_some_and(|slot| access.page.is_in_use(*slot))
    }

    /// Ends everything that the guest may do; true the first time. Copies under way may still be.
    pub fn depart(&self) -> bool {
        if let Some(access) = self.access.get() {
            let mut ledger = access.ledger.lock();
            ledger.is_closed = true;
            ledger.slots.values().for_each(|slot| access.page.revoke(*slot));
        }
        let is_first = !self.is_departed.swap(true, Ordering::AcqRel);
        if is_first {
            unix::hang_up(&self.socket);
        }
        is_first
    }

    /// Whether the guest left and cannot be in the middle of a copy.
    pub fn is_gone(&self) -> bool {
        if !self.is_departed.load(Ordering::Acquire) {
            return false;
        }
        let Some(access) = self.access.get() else { return true };
        let is_inside = access.ledger.lock().slots.values().any(|slot| access.page.is_in_use(*slot));
        !is_inside || !self.process.is_alive()
    }

    /// Bytes that the guest moved since the last call, as it says.
    pub fn collect(&self) -> [u64; COUNTERS] {
        let Some(access) = self.access.get() else { return [0; COUNTERS] };
        let mut ledger = access.ledger.lock();
        let now = access.page.counts();
        let before = std::mem::replace(&mut ledger.counted, now);
        std::array::from_fn(|index| now[index].saturating_sub(before[index]))
    }
}
