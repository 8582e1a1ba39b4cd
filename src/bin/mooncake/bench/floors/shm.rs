//! Floor: a ring in shared memory. The giver copies blocks in, the taker copies them out: two copies.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mooncake::sys::memory::Mem;

use super::super::case::{Case, Op};
use super::super::drive::Mover;
use super::super::walk::Walk;
use super::raw::{self, Mapped};
use super::{Place, Servers};

/// Places of the counters in the ring: blocks asked for, given, taken; each on a cache line of its own.
const ASKED: usize = 0;
const GIVEN: usize = 256;
const TAKEN: usize = 512;
const HEADER: usize = 4096;
/// In `ASKED`: the initiator has left.
const STOP: u64 = u64::MAX;
/// Looks at a counter before the processor is offered to somebody else.
const SPINS: u32 = 200;
/// The other end is taken for dead after so long without progress.
const PATIENCE: Duration = Duration::from_secs(10);

/// One ring, mapped at one end.
struct Ring {
    mapped: Mapped,
    slots: u64,
    stride: usize,
}

impl Ring {
    /// Slots and the distance between them for blocks of a size.
    fn shape(size: usize) -> (u64, usize) {
        (if size > 4 << 20 { 2 } else { 8 }, size.next_multiple_of(4096))
    }

    fn map(file: &impl AsRawFd, size: usize) -> Result<Ring, String> {
        let (slots, stride) = Ring::shape(size);
        Ok(Ring { mapped: Mapped::of_file(file, HEADER + slots as usize * stride, 0)?, slots, stride })
    }

    fn slot(&self, number: u64, size: usize) -> Mem {
        self.mapped.mem().part(HEADER + (number % self.slots) as usize * self.stride, size)
    }

    fn load(&self, counter: usize) -> u64 {
        self.mapped.number(counter).load(Ordering::Acquire)
    }

    fn store(&self, counter: usize, value: u64) {
        self.mapped.number(counter).store(value, Ordering::Release);
    }

    /// Waits until `holds`; false when the initiator left first, or the other end makes no progress.
    fn wait(&self, holds: impl Fn() -> bool) -> bool {
        let mut spins = 0;
        let mut begun = None;
        while !holds() {
            spins += 1;
            if spins % SPINS == 0 {
                let begun = *begun.get_or_insert_with(Instant::now);
                if self.load(ASKED) == STOP || begun.elapsed() > PATIENCE {
                    return false;
                }
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
        true
    }

    fn give(&self, block: Mem, number: u64) -> bool {
        let has_room = self.wait(|| number - self.load(TAKEN) < self.slots);
        if has_room {
            raw::copy(self.slot(number, block.len()), block);
            self.store(GIVEN, number + 1);
        }
        has_room
    }

    fn take(&self, block: Mem, number: u64) -> bool {
        let has_come = self.wait(|| self.load(GIVEN) > number);
        if has_come {
            raw::copy(block, self.slot(number, block.len()));
            self.store(TAKEN, number + 1);
        }
        has_come
    }
}

/// The initiator's end of one thread.
pub struct SharedRing {
    walk: Walk,
    place: Place,
    ring: Ring,
    /// Kept open for the target to open it too.
    file: OwnedFd,
}

impl SharedRing {
    pub fn new(case: &Case, thread: usize, place: Place) -> Result<SharedRing, String> {
        let (slots, stride) = Ring::shape(case.size);
        let file = raw::memory_file(HEADER + slots as usize * stride)?;
        Ok(SharedRing { walk: Walk::new(case, thread), place, ring: Ring::map(&file, case.size)?, file })
    }

    /// A path by which a process of this host can open the ring.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }
}

impl Mover for SharedRing {
    fn step(&mut self, step: u64) -> Result<(), String> {
        let batch = self.walk.batch() as u64;
        let first = step * batch;
        let position = self.walk.position(step);
        self.ring.store(ASKED, first + batch);
        for (number, block) in (first..).zip(self.place.blocks(&self.walk, position)) {
            let is_done = match self.place.op {
                Op::Write => self.ring.give(block, number),
                Op::Read => self.ring.take(block, number),
            };
            if !is_done {
                return Err("raw shared memory: the target makes no progress".to_owned());
            }
        }
        if !self.ring.wait(|| self.ring.load(TAKEN) == first + batch) {
            return Err("raw shared memory: the target makes no progress".to_owned());
        }
        Ok(())
    }
}

impl Drop for SharedRing {
    fn drop(&mut self) {
        self.ring.store(ASKED, STOP);
    }
}

/// Serves the rings of a case's threads.
pub fn serve(paths: &[String], case: &Case, source: Mem, destination: Mem) -> Result<Servers, String> {
    let place = Place::target(case, source, destination);
    let mut threads = Vec::new();
    for (thread, path) in paths.iter().enumerate() {
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(|error| format!("opening the ring {path}: {error}"))?;
        let (ring, walk) = (Ring::map(&file, case.size)?, Walk::new(case, thread));
        threads.push(std::thread::spawn(move || {
            answer(&ring, &walk, place);
            Ok(())
        }));
    }
    Ok(Servers { port: 0, threads })
}

fn answer(ring: &Ring, walk: &Walk, place: Place) {
    let is_asked =
        |number| ring.wait(|| matches!(ring.load(ASKED), asked if asked > number && asked != STOP));
    for step in 0.. {
        let first = step * walk.batch() as u64;
        for (number, block) in (first..).zip(place.blocks(walk, walk.position(step))) {
            let goes_on = match place.op {
                Op::Read => ring.take(block, number),
                Op::Write => is_asked(number) && ring.give(block, number),
            };
            if !goes_on {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::case::Path;
    use super::super::super::pattern;
    use super::*;

    #[test]
    fn a_ring_moves_every_block_both_ways() {
        for op in [Op::Write, Op::Read] {
            let case = Case {
                path: Path::Memfd,
                op,
                size: 5000,
                batch: 11,
                threads: 1,
                is_cold: true,
                buffer: 200_000,
                positions: usize::MAX,
            };
            let (source, destination) = (vec![0u8; 200_000], vec![0u8; 200_000]);
            let (source, destination) = (Mem::of(&source), Mem::of(&destination));
            pattern::fill_source(source);
            pattern::reset(destination, &case);
            let mut mover =
                SharedRing::new(&case, 0, Place::initiator(&case, source, destination)).expect("a ring");
            let servers = serve(&[mover.path()], &case, source, destination).expect("a server");
            mover.step(0).expect("a step");
            mover.step(1).expect("a step");
            drop(mover);
            servers.join().expect("the server ends");
            assert_eq!(pattern::verify(destination, &case, &[2]), Ok(()));
        }
    }
}
