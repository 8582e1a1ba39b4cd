//! From a caller's requests to a batch under way, and back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Engine;
use super::batch::{Batch, BatchInfo, BatchOptions, Leg, Local, Request, SAMPLE_EVERY, Task};
use super::cq::Completion;
use super::few::Few;
use super::plan::cut;
use crate::error::{Code, Context, Error, Result};
use crate::segment::memory::Region;
use crate::sys::clock;
use crate::transport::{Outcome, Slice};
use crate::{bail, fail};

impl Engine {
    /// Starts a batch.
    pub fn submit(
        &self,
        requests: impl ExactSizeIterator<Item = Result<Request>>,
        options: BatchOptions,
    ) -> Result<u64> {
        let batch = Arc::new(self.make_batch(requests, options)?);
        let id = self.add_batch(&batch)?;
        if let Err(error) = self.start(&batch) {
            let _ = self.batches.write().remove(id);
            return Err(error);
        }
        Ok(id)
    }

    /// Makes a batch that `post` starts, again and again.
    pub fn prepare(
        &self,
        requests: impl ExactSizeIterator<Item = Result<Request>>,
        options: BatchOptions,
    ) -> Result<u64> {
        let mut batch = self.make_batch(requests, options)?;
        // Each post takes hold of its regions anew.
        batch.release_holds();
        batch.is_prepared = true;
        self.add_batch(&Arc::new(batch))
    }

    fn add_batch(&self, batch: &Arc<Batch>) -> Result<u64> {
        let mut batches = self.batches.write();
        if self.is_closed() {
            bail!(InvalidHandle, "the engine is being destroyed");
        }
        let id = batches.insert(batch.clone())?;
        batch.id.store(id, Ordering::Relaxed);
        Ok(id)
    }

    pub fn post(&self, id: u64) -> Result<()> {
        let batch = self.batch(id)?;
        if !batch.is_prepared {
            bail!(InvalidState, "batch {id:#x} was submitted, not prepared: it runs once");
        }
        self.start(&batch)
    }

    fn make_batch(
        &self,
        requests: impl ExactSizeIterator<Item = Result<Request>>,
        mut options: BatchOptions,
    ) -> Result<Batch> {
        let cq = if options.cq == 0 { None } else { Some(self.queue(options.cq)?) };
        let deadline = options.deadline.unwrap_or(self.config.default_deadline);
        let notification = options.notify.take();
        let mut batch = Batch::new(options, cq, deadline, requests.len());
        self.plan(&mut batch, requests).map_err(|error| {
            // An engine that ends forgets its memory first: whatever is missing, that is why.
            if self.is_closed() { fail!(InvalidHandle, "the engine is being destroyed") } else { error }
        })?;
        if let Some(notification) = notification {
            let segment = match notification.segment {
                0 => batch.legs[0].segment.clone(),
                id => self.segment(id)?,
            };
            batch.notify = Some((segment, notification));
        }
        Ok(batch)
    }

    /// Checks every request and cuts it into slices.
    fn plan(&self, batch: &mut Batch, requests: impl Iterator<Item = Result<Request>>) -> Result<()> {
        let mut segment = 0;
        for (index, request) in requests.enumerate() {
            request
                .and_then(|request| {
                    if segment != request.segment || index == 0 {
                        segment = request.segment;
                        self.begin_leg(batch, segment)?;
                    }
                    self.plan_one(batch, &request)
                })
                .context(format_args!("request {index}"))?;
        }
        Ok(())
    }

    /// What follows goes to this segment.
    fn begin_leg(&self, batch: &mut Batch, segment: u64) -> Result<()> {
        let segment = self.segment(segment)?;
        batch.legs.push(Leg { segment, first: batch.slices.len() as u32, count: 0 });
        Ok(())
    }

    fn plan_one(&self, batch: &mut Batch, request: &Request) -> Result<()> {
        if request.length == 0 {
            bail!(InvalidArgument, "length is 0");
        }
        if request.length > isize::MAX as u64 || request.remote.checked_add(request.length).is_none() {
            bail!(InvalidArgument, "{} bytes at {:#x} wrap around", request.length, request.remote);
        }
        let first = batch.slices.len();
        match &request.local {
            Local::Contiguous(address) => {
                self.plan_piece(batch, request, *address, request.length as usize, 0)?
            }
            Local::Scattered(spans) => {
                let mut done = 0u64;
                for (address, length) in spans {
                    if *length == 0 {
                        bail!(InvalidArgument, "a span is empty");
                    }
                    if *length as u64 > request.length - done {
                        bail!(
                            InvalidArgument,
                            "the spans hold more than length, which is {}",
                            request.length
                        );
                    }
                    self.plan_piece(batch, request, *address, *length, done)?;
                    done += *length as u64;
                }
                if done != request.length {
                    bail!(InvalidArgument, "the spans hold {done} bytes, length is {}", request.length);
                }
            }
        }
        let count = (batch.slices.len() - first) as u32;
        batch.tasks.push(Task::new(request.length, request.user_data, count));
        batch.bytes += request.length;
        batch.legs.last_mut().expect("begun before the first request").count += count;
        Ok(())
    }

    fn plan_piece(
        &self,
        batch: &mut Batch,
        request: &Request,
        address: usize,
        length: usize,
        at: u64,
    ) -> Result<()> {
        if address == 0 {
            bail!(InvalidArgument, "the local address is NULL");
        }
        let region = self.hold(&mut batch.holds, address, length)?;
        let local = region.mem.part(address - region.mem.address(), length);
        let task = batch.tasks.len() as u32;
        for (offset, size) in cut(length) {
            let remote = request.remote + at + offset as u64;
            batch.slices.push(Slice::new(request.opcode, local.part(offset, size), remote, task));
        }
        Ok(())
    }

    /// The region of a local range, held by the batch; neighbours in the same region share a hold.
    fn hold<'a>(
        &self,
        holds: &'a mut Few<Arc<Region>>,
        address: usize,
        length: usize,
    ) -> Result<&'a Arc<Region>> {
        if !holds.last().is_some_and(|region| region.mem.contains(address, length)) {
            holds.push(self.memory.acquire(address, length)?);
        }
        Ok(holds.last().expect("pushed above"))
    }

    pub(super) fn batch(&self, id: u64) -> Result<Arc<Batch>> {
        self.batches.read().get(id).cloned()
    }

    /// Starts a batch that is not under way.
    fn start(&self, batch: &Arc<Batch>) -> Result<()> {
        let (count, under_way) = (batch.tasks.len() as u64, self.requests_under_way.load(Ordering::Acquire));
        if under_way + count > self.config.queue_limit as u64 {
            bail!(Exhausted, "{under_way} requests are under way, {count} more would pass queue_limit");
        }
        let is_sample = self.metrics.batch_count.get().is_multiple_of(SAMPLE_EVERY);
        let epoch = batch.start(is_sample && self.config.metrics)?;
        if let Some(group) = &batch.group {
            group.join(batch.notify.clone());
        }
        self.metrics.batch_count.increment();
        for leg in &batch.legs {
            let run = batch.run(leg, epoch);
            // Whoever destroys the engine stops what is under way: either they see this batch, or we see them.
            if self.is_closed.load(Ordering::SeqCst) {
                run.complete(Outcome::Failed(Code::Canceled), &|| "the engine is being destroyed".into());
            } else {
                leg.segment.route(run);
            }
        }
        batch.dispatched(self);
        if !batch.is_done() {
            self.watch(batch);
        }
        Ok(())
    }

    pub fn poll(&self, id: u64) -> Result<BatchInfo> {
        match self.batch_or_end(id)? {
            Ok(info) => Ok(info),
            Err(batch) => {
                // A thread that polls lends a hand, without waiting.
                self.help(&batch, 0);
                Ok(batch.info())
            }
        }
    }

    /// What became of a batch that is not under way, in one look; the batch otherwise.
    fn batch_or_end(&self, id: u64) -> Result<std::result::Result<BatchInfo, Arc<Batch>>> {
        let batches = self.batches.read();
        let batch = batches.get(id)?;
        Ok(if batch.is_idle() { Ok(batch.info()) } else { Err(batch.clone()) })
    }

    /// Waits until a batch is done, moving its bytes meanwhile where nobody else does.
    pub fn wait(&self, id: u64, timeout: Option<Duration>) -> Result<BatchInfo> {
        match self.batch_or_end(id)? {
            Ok(info) => Ok(info),
            Err(batch) => {
                let until = timeout.map_or(u64::MAX, clock::after);
                self.wait_for_batch(&batch, until);
                Ok(batch.info())
            }
        }
    }

    fn wait_for_batch(&self, batch: &Arc<Batch>, until: u64) {
        while !batch.is_idle() {
            let now = clock::now_ns();
            if now >= until {
                return;
            }
            self.enforce_deadline(batch, now);
            if !self.help(batch, until) && !batch.is_idle() {
                // The clock ends what is late; this is only for a defect there.
                batch.sleep(until.min(now + 100_000_000));
            }
        }
    }

    /// Moves bytes of a batch on the calling thread; false when there is nothing to do for it.
    fn help(&self, batch: &Arc<Batch>, until: u64) -> bool {
        if self.copies.help() {
            return true;
        }
        let until = until.min(crate::transport::Owner::deadline_ns(&**batch));
        batch.legs.iter().any(|leg| match leg.segment.peer.contact() {
            Some(contact) => contact.drive(&|| batch.is_idle(), until),
            None => false,
        })
    }

    /// The first failure of a batch with its story.
    pub fn batch_error(&self, id: u64, info: BatchInfo) -> Error {
        let code = info.status.unwrap_or(Code::Internal);
        self.batch(id).map_or_else(|_| Error::new(code, code.text()), |batch| batch.error(code))
    }

    pub fn task(&self, id: u64, index: usize) -> Result<Completion> {
        self.batch(id)?.task(index)
    }

    /// Where SUMMED bytes lie that a batch read and a path has summed, in order, and their sums. Only of batches whose
    /// caller verifies by itself.
    pub fn sums(&self, id: u64) -> Result<Vec<(usize, u32)>> {
        let batches = self.batches.read();
        let mut sums: Vec<_> = batches.get(id)?.slices.iter().flat_map(Slice::sums).collect();
        sums.sort_unstable();
        Ok(sums)
    }

    pub fn cancel(&self, id: u64) -> Result<()> {
        let batch = self.batch(id)?;
        self.stop(&batch, Code::Canceled);
        Ok(())
    }

    pub fn release(&self, id: u64) -> Result<()> {
        let batch = self.batches.write().remove(id)?;
        if !batch.is_idle() {
            self.stop(&batch, Code::Canceled);
        }
        Ok(())
    }

    /// Forgets a batch without stopping it: it runs to its end, or to its deadline, and is gone then.
    pub fn detach(&self, id: u64) -> Result<()> {
        self.batches.write().remove(id).map(|_| ())
    }
}
