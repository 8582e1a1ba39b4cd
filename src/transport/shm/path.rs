//! Copying to and from regions of another process of this host, on the thread that asks.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::attachment::{Attachment, Ready};
use super::regions::Known;
use crate::error::Code;
use crate::sys::memory::copy;
use crate::sys::process::{Direction, MAX_PIECES};
use crate::transport::{Opcode, Outcome, Owner, Path, PathKind, Run, Slice};

/// Most bytes between two looks at whether the batch was stopped or the region unregistered: some 0.1 ms.
const GROUP_BYTES: usize = 1 << 20;

/// One of the two ways to the process of an attachment.
pub struct SharedPath {
    pub kind: PathKind,
    pub attachment: Arc<Attachment>,
}

impl Path for SharedPath {
    fn kind(&self) -> PathKind {
        self.kind
    }

    fn submit(&self, run: Run) {
        let Some(ready) = self.attachment.ready() else {
            return run.complete(Outcome::Reroute, &|| self.attachment.lost_text());
        };
        let mut copying = Copying { path: self, ready, run: &run, slices: run.slices(), at: 0 };
        let mut found: Option<Arc<Known>> = None;
        while let Some(slice) = copying.slices.get(copying.at) {
            let key = slice.key.load(Ordering::Relaxed);
            if found.as_ref().is_none_or(|known| known.key != key) {
                found = self.attachment.regions.get(key);
            }
            let Some(known) = &found else {
                let mut rest = run.clone();
                rest.split_front(copying.at as u32);
                return self.attachment.wait_for(key, self.kind, rest);
            };
            copying.copy_group(known);
        }
    }

    fn drive(&self, _: &dyn Fn() -> bool, _: u64) -> bool {
        false
    }

    fn prune(&self, owner: &Arc<dyn Owner>, epoch: u32) {
        self.attachment.give_up(owner, epoch);
    }

    fn abandon(&self, owner: &Arc<dyn Owner>, epoch: u32) {
        self.attachment.give_up(owner, epoch);
    }
}

/// A run in work: every step completes at least one slice.
struct Copying<'a> {
    path: &'a SharedPath,
    ready: &'a Ready,
    run: &'a Run,
    slices: &'a [Slice],
    /// The first slice that is not completed.
    at: usize,
}

impl Copying<'_> {
    /// Copies neighbours in one region.
    fn copy_group(&mut self, known: &Known) {
        let attachment = &self.path.attachment;
        let Some(slot) = known.slot else {
            return self.reroute("the region is reached over the network only");
        };
        let first = &self.slices[self.at];
        if let Err(code) = known.check(first.opcode, first.remote, first.len()) {
            return self.refuse(code);
        }
        let is_mapped = self.path.kind == PathKind::Memfd;
        if is_mapped && !known.is_mapped() {
            return self.reroute("the region cannot be mapped");
        }
        if !is_mapped && !attachment.is_same_process() {
            return self.reroute("its process ended");
        }
        let (count, bytes) = group(known, &self.slices[self.at..]);
        let slices = &self.slices[self.at..self.at + count];
        let Some(inside) = self.ready.page.enter(slot, known.key) else {
            attachment.regions.forget(known.key);
            return self.refuse(Code::AddressNotRegistered);
        };
        if !self.run.owner.begin_touch(self.run.epoch) {
            drop(inside);
            return self.stop();
        }
        let is_summed = self.run.owner.verifies_reads();
        let copied =
            if is_mapped { copy_mapped(known, slices, is_summed) } else { self.copy_by_kernel(slices) };
        if is_summed && !is_mapped && copied.is_ok() && first.opcode == Opcode::Read {
            slices.iter().for_each(Slice::sum);
        }
        self.run.owner.end_touch();
        drop(inside);
        match copied {
            Ok(()) => self.done(count, bytes),
            Err((copied, error)) => {
                self.done(copied, slices[..copied].iter().map(Slice::len).sum());
                self.failed(&error);
            }
        }
    }

    fn copy_by_kernel(&self, slices: &[Slice]) -> Copied {
        let direction = if slices[0].opcode == Opcode::Read { Direction::In } else { Direction::Out };
        let pieces = slices.iter().map(|slice| (slice.local, slice.remote));
        let (mut bytes, result) = self.path.attachment.process().copy(direction, pieces);
        result.map_err(|error| {
            let whole = slices.iter().take_while(|slice| {
                let is_whole = bytes >= slice.len();
                bytes = bytes.saturating_sub(slice.len());
                is_whole
            });
            (whole.count(), error)
        })
    }

    /// Slices of one opcode were copied.
    fn done(&mut self, count: usize, bytes: usize) {
        if count == 0 {
            return;
        }
        let first = self.at;
        self.at += count;
        // Before the last word: whoever waits for the batch finds its bytes counted. Here and for the owner, who does
        // not see it.
        let (kind, opcode, bytes) = (self.path.kind, self.slices[first].opcode, bytes as u64);
        let counters = self.path.attachment.metrics.path(kind);
        match opcode {
            Opcode::Read => counters.read_bytes.add(bytes),
            Opcode::Write => counters.written_bytes.add(bytes),
        }
        self.ready.page.count(kind, opcode, bytes);
        self.run.owner.complete_exclusive(self.run.epoch, self.run.first + first as u32, count as u32);
    }

    /// The kernel did not copy the slice.
    #[cold]
    fn failed(&mut self, error: &std::io::Error) {
        let attachment = &self.path.attachment;
        let is_fault = error.raw_os_error() == Some(libc::EFAULT);
        if !is_fault || !attachment.is_alive_now() {
            attachment.withdraw_cma(error);
            return self.reroute(&error.to_string());
        }
        let slice = &self.slices[self.at];
        self.end_one(Outcome::Failed(Code::Io), &|| {
            format!(
                "{} bytes at {:#x} of {}, or at {:#x} here, cannot be accessed: registered, but not mapped",
                slice.len(),
                slice.remote,
                attachment.name(),
                slice.local.address()
            )
        });
    }

    #[cold]
    fn refuse(&mut self, code: Code) {
        let (name, slice) = (self.path.attachment.name(), &self.slices[self.at]);
        self.end_one(Outcome::Failed(code), &|| match code {
            Code::Permission => {
                format!("{name} does not allow that in the region around {:#x}", slice.remote)
            }
            _ => format!("{name} has no such region around {:#x} any more", slice.remote),
        });
    }

    #[cold]
    fn reroute(&mut self, why: &str) {
        let name = self.path.attachment.name();
        self.end_one(Outcome::Reroute, &|| format!("copying from or to {name}: {why}"));
    }

    #[cold]
    fn stop(&mut self) {
        let reason = self.run.owner.stopped().unwrap_or(Code::Canceled);
        self.end_one(Outcome::Failed(reason), &|| "stopped before its copy".into());
    }

    /// Completes the slice that was not copied.
    fn end_one(&mut self, outcome: Outcome, detail: &dyn Fn() -> String) {
        let index = self.run.first + self.at as u32;
        self.at += 1;
        self.run.owner.complete(self.run.epoch, index, outcome, detail);
    }
}

/// What became of a group: how many slices were copied before an error.
type Copied = std::result::Result<(), (usize, std::io::Error)>;

/// How many slices can be copied together with the first, which is allowed: all that one system call takes. And their
/// bytes.
fn group(known: &Known, slices: &[Slice]) -> (usize, usize) {
    let (first, mut count, mut bytes) = (&slices[0], 1, slices[0].len());
    for slice in &slices[1..slices.len().min(MAX_PIECES)] {
        if bytes + slice.len() > GROUP_BYTES
            || slice.opcode != first.opcode
            || slice.key.load(Ordering::Relaxed) != known.key
            || known.check(slice.opcode, slice.remote, slice.len()).is_err()
        {
            break;
        }
        count += 1;
        bytes += slice.len();
    }
    (count, bytes)
}

fn copy_mapped(known: &Known, slices: &[Slice], is_summed: bool) -> Copied {
    for slice in slices {
        let remote = known.mapped(slice.remote, slice.len());
        match slice.opcode {
            Opcode::Read => slice.read_from(remote, is_summed),
            Opcode::Write => copy(remote, slice.local),
        }
    }
    Ok(())
}
