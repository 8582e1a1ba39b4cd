//! Requests that travel together on one connection: what is sent for them, where their answers go, and how far they
//! are. Mooncake's servers take the next request when they have answered the one before, so that many may be sent at once.

use std::sync::atomic::{AtomicU64, Ordering};

use super::wire::{HEADER_LENGTH, Header, STATUS_LENGTH, Status};
use crate::error::Result;
use crate::sys::memory::Mem;
use crate::transport::{Gate, Opcode, Payload, Run, Slice};

/// Most payload and slices in one train.
pub const TRAIN_BYTES: usize = 4 << 20;
pub const TRAIN_SLICES: usize = 256;

/// One request of a train.
#[derive(Debug)]
struct Car {
    /// Its last slice, counted over the train.
    slices_end: usize,
    /// Where in the answer its status word (or the confirmation of a write) ends, and where all of it does.
    told_at: usize,
    ends_at: usize,
}

/// What a look at the answers showed.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    /// Slices up to this one are done.
    Done(usize),
    /// The request that holds the slices from the first to the second one was refused.
    Refused(usize, usize),
}

/// A train is not changed once it is made, so that it is sent and answered at the same time.
pub struct Train {
    pub opcode: Opcode,
    pub runs: Vec<Run>,
    pub out: Payload,
    pub answers: Payload,
    /// Payload bytes.
    pub bytes: usize,
    cars: Vec<Car>,
    has_status: bool,
    slice_count: usize,
    /// In the order of requests; `out` and `answers` point into these.
    _headers: Vec<u8>,
    words: Box<[AtomicU64]>,
}

/// How far the answers were looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    car: usize,
    is_checked: bool,
}

impl Train {
    /// Puts slices of one kind on a train; neighbours at the peer become one request.
    pub fn of(runs: Vec<Run>, has_status: bool) -> Train {
        let opcode = runs[0].slices()[0].opcode;
        let bundles = bundle(&runs);
        let mut train = Train {
            opcode,
            out: Payload::default(),
            answers: Payload::default(),
            bytes: 0,
            cars: Vec::with_capacity(bundles.len()),
            has_status,
            slice_count: 0,
            _headers: headers(&bundles, opcode, has_status),
            words: bundles.iter().map(|_| AtomicU64::new(0)).collect(),
            runs: Vec::new(),
        };
        train.load(&runs, &bundles);
        train.runs = runs;
        train
    }

    fn load(&mut self, runs: &[Run], bundles: &[Bundle]) {
        let headers = Mem::of(&self._headers);
        let words = Mem::of_words(&self.words);
        let is_unconfirmed = self.opcode == Opcode::Write && !self.has_status;
        let mut at = 0;
        let mut slices = slices_of(runs);
        for (index, bundle) in bundles.iter().enumerate() {
            self.out.push_own(headers.part(at, HEADER_LENGTH));
            at += HEADER_LENGTH;
            if self.has_status {
                self.answers.push_own(words.part(index * 8, STATUS_LENGTH));
            }
            let told_at = self.answers.len();
            for (run, slice) in slices.by_ref().take(bundle.count) {
                let gate = Gate::Owner(run.owner.clone(), run.epoch);
                let to = if self.opcode == Opcode::Write { &mut self.out } else { &mut self.answers };
                to.push(slice.local, &gate);
            }
            if is_unconfirmed {
                // Its last byte, read back: the server answers when it has taken the write.
                self.out.push_own(headers.part(at, HEADER_LENGTH));
                at += HEADER_LENGTH;
                self.answers.push_own(words.part(index * 8, 1));
            }
            self.slice_count += bundle.count;
            self.bytes += bundle.size as usize;
            let ends_at = self.answers.len();
            let told_at = if self.has_status { told_at } else { ends_at };
            self.cars.push(Car { slices_end: self.slice_count, told_at, ends_at });
        }
    }

    /// The slices in order: their run and index in the batch.
    pub fn slices(&self) -> impl Iterator<Item = (&Run, u32)> {
        self.runs.iter().flat_map(|run| (run.first..run.first + run.count).map(move |index| (run, index)))
    }

    /// What the answers say, after `received` bytes of them; None when nothing new. A word that makes no sense is an error.
    pub fn look(&self, progress: &mut Progress, received: usize) -> Result<Option<Seen>> {
        let before = progress.car;
        while let Some(car) = self.cars.get(progress.car) {
            if self.has_status && !progress.is_checked && received >= car.told_at {
                let word = u64::from_le(self.words[progress.car].load(Ordering::Acquire));
                if Status::decode(word)? == Status::Refused {
                    if progress.car > before {
                        // Those before it are done; the next look finds the word again.
                        break;
                    }
                    return Ok(Some(Seen::Refused(self.first_slice(progress.car), car.slices_end)));
                }
                progress.is_checked = true;
            }
            if received < car.ends_at {
                break;
            }
            progress.car += 1;
            progress.is_checked = false;
        }
        Ok((progress.car > before).then(|| Seen::Done(self.first_slice(progress.car))))
    }

    fn first_slice(&self, car: usize) -> usize {
        car.checked_sub(1).map_or(0, |before| self.cars[before].slices_end)
    }

    /// Where the rest of the answers goes, when it is all status words: those may be waited for without holding a gate.
    pub fn words_left(&self, length: usize) -> Option<Mem> {
        let words = Mem::of_words(&self.words);
        let is_all = self.opcode == Opcode::Write && self.has_status;
        is_all.then(|| words.part(words.len() - length, length))
    }
}

/// A request: so many slices, which follow each other at the peer.
struct Bundle {
    address: u64,
    size: u64,
    count: usize,
}

fn slices_of(runs: &[Run]) -> impl Iterator<Item = (&Run, &Slice)> {
    runs.iter().flat_map(|run| run.slices().iter().map(move |slice| (run, slice)))
}

/// Whether a slice goes on where a range of a buffer ends.
fn bundle(runs: &[Run]) -> Vec<Bundle> {
    let mut bundles: Vec<Bundle> = Vec::new();
    let mut key = 0;
    for (_, slice) in slices_of(runs) {
        let (length, of) = (slice.len() as u64, slice.key.load(Ordering::Relaxed));
        match bundles.last_mut() {
            Some(last) if key == of && last.address.checked_add(last.size) == Some(slice.remote) => {
                last.size += length;
                last.count += 1;
            }
            _ => bundles.push(Bundle { address: slice.remote, size: length, count: 1 }),
        }
        key = of;
    }
    bundles
}

fn headers(bundles: &[Bundle], opcode: Opcode, has_status: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(bundles.len() * 2 * HEADER_LENGTH);
    for bundle in bundles {
        let header = Header { size: bundle.size, address: bundle.address, opcode, has_status };
        bytes.extend_from_slice(&header.encode());
        if opcode == Opcode::Write && !has_status {
            let last = bundle.address + bundle.size - 1;
            let confirm = Header { size: 1, address: last, opcode: Opcode::Read, has_status: false };
            bytes.extend_from_slice(&confirm.encode());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::error::Code;
    use crate::transport::{Outcome, Owner, Priority};

    struct Slices(Vec<Slice>, #[allow(dead_code)] Vec<u8>);

    impl Owner for Slices {
        fn slices(&self) -> &[Slice] {
            &self.0
        }
        fn begin_touch(&self, _: u32) -> bool {
            true
        }
        fn end_touch(&self) {}
        fn complete(&self, _: u32, _: u32, _: Outcome, _: &dyn Fn() -> String) {}
        fn complete_exclusive(&self, _: u32, _: u32, _: u32) {}
        fn stopped(&self) -> Option<Code> {
            None
        }
        fn priority(&self) -> Priority {
            Priority::Normal
        }
        fn deadline_ns(&self) -> u64 {
            u64::MAX
        }
    }

    /// A train of slices of 100 bytes at these addresses, each in the buffer with that key.
    fn train(opcode: Opcode, places: &[(u64, u64)], has_status: bool) -> Train {
        let bytes = vec![7; 100 * places.len()];
        let slice = |(index, (address, key)): (usize, &(u64, u64))| {
            let slice = Slice::new(opcode, Mem::of(&bytes).part(index * 100, 100), *address, index as u32);
            slice.key.store(*key, Ordering::Relaxed);
            slice
        };
        let slices = places.iter().enumerate().map(slice).collect();
        let count = places.len() as u32;
        let owner = Arc::new(Slices(slices, bytes));
        Train::of(vec![Run { owner, epoch: 0, first: 0, count }], has_status)
    }

    fn say(train: &Train, request: usize, status: Status) {
        train.words[request].store(status.encode().to_le(), Ordering::Release);
    }

    #[test]
    fn neighbours_in_one_buffer_are_one_request() {
        let places = [(1000, 1), (1100, 1), (1200, 2), (1300, 2), (1500, 2)];
        let train = train(Opcode::Write, &places, true);
        assert_eq!(train.out.len(), 3 * HEADER_LENGTH + 500);
        assert_eq!(train.answers.len(), 3 * STATUS_LENGTH);
        assert_eq!(train.bytes, 500);
    }

    #[test]
    fn a_write_of_the_first_version_is_confirmed_by_its_last_byte() {
        let train = train(Opcode::Write, &[(1000, 1)], false);
        assert_eq!((train.out.len(), train.answers.len()), (2 * HEADER_LENGTH + 100, 1));
        let mut bytes = [0; HEADER_LENGTH];
        bytes.copy_from_slice(&train._headers[HEADER_LENGTH..]);
        let confirm = Header::decode(&bytes).expect("a header");
        assert_eq!((confirm.address, confirm.size, confirm.opcode), (1099, 1, Opcode::Read));
        assert_eq!(train.look(&mut Progress::default(), 1).expect("no words"), Some(Seen::Done(1)));
    }

    #[test]
    fn answers_are_seen_as_far_as_they_came() {
        let train = train(Opcode::Read, &[(1000, 1), (5000, 1), (9000, 1)], true);
        let mut progress = Progress::default();
        (0..2).for_each(|request| say(&train, request, Status::Done));
        say(&train, 2, Status::Refused);
        assert_eq!(train.look(&mut progress, 7).expect("nothing"), None);
        assert_eq!(train.look(&mut progress, 107).expect("all but a byte"), None);
        assert_eq!(train.look(&mut progress, 216).expect("two"), Some(Seen::Done(2)));
        assert_eq!(train.look(&mut progress, 224).expect("a word"), Some(Seen::Refused(2, 3)));
    }

    #[test]
    fn what_came_in_one_piece_with_a_refusal_is_done_first() {
        let train = train(Opcode::Read, &[(1000, 1), (5000, 1), (9000, 1)], true);
        let mut progress = Progress::default();
        (0..2).for_each(|request| say(&train, request, Status::Done));
        say(&train, 2, Status::Refused);
        assert_eq!(train.look(&mut progress, 224).expect("two"), Some(Seen::Done(2)));
        assert_eq!(train.look(&mut progress, 224).expect("a word"), Some(Seen::Refused(2, 3)));
    }

    #[test]
    fn a_word_that_is_none_is_an_error() {
        let train = train(Opcode::Read, &[(1000, 1)], true);
        train.words[0].store(u64::MAX, Ordering::Release);
        assert!(train.look(&mut Progress::default(), 8).is_err());
    }
}
