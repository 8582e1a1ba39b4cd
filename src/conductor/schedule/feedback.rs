//! What really happened to requests and instances, and what follows from it for the next predictions.

use super::decoding::Stay;
use super::instance::Report;
use super::running::{RequestId, Running, Stage};
use super::{InstanceId, Scheduler, is_time};
use crate::bail;
use crate::conductor::cost::Observed;
use crate::error::Result;

/// A pace beyond these says that something else was measured.
pub(super) const PACE: (f64, f64) = (0.1, 10.0);
/// Of how many observations one makes the fitted numbers those of the instance.
const REFIT: u64 = 16;

impl Scheduler {
    /// The instance has begun with the prefill.
    pub fn started(&mut self, id: RequestId, now: f64) -> Result<()> {
        let instance = self.in_stage(id, now, Stage::Queued, "started")?;
        self.request(id)?.stage = Stage::Prefilling;
        let instance = self.instances.get_mut(instance.0)?;
        instance.hear(now);
        instance.queue.begin(&mut self.requests, id.0, now);
        Ok(())
    }

    /// The prefill has ended and the first token is there.
    pub fn first_token(&mut self, id: RequestId, now: f64) -> Result<()> {
        let request = self.requests.get(id.0)?;
        is_time(now)?;
        if request.stage == Stage::Decoding {
            bail!(InvalidState, "request {:#x} had its first token already", id.0);
        }
        self.accuracy.add(request.ttft, now - request.arrived);
        let options = self.options;
        let instance = self.instances.get_mut(request.prefill.0)?;
        instance.hear(now);
        instance.succeed();
        let begun = instance.queue.remove(&mut self.requests, id.0, now);
        self.enter(id, now)?;
        let request = self.requests.get(id.0)?;
        let (transfer, tokens, prefix) = (request.transfer, request.tokens, request.cached);
        // What was predicted without the pace of then: with that of now, the echo of a long queue would be learnt.
        let compute = (request.work - transfer) / request.pace;
        let (prefill, is_shared) = (request.prefill, request.is_shared);
        let taken = begun
            .map(|begun| now - begun - transfer)
            .filter(|taken| *taken > 0.0 && compute > 0.0 && !is_shared);
        let Some(taken) = taken else { return Ok(()) };
        let instance = self.instances.get_mut(prefill.0)?;
        let pace = (taken / compute).clamp(PACE.0, PACE.1);
        instance.pace += options.learning * (pace - instance.pace);
        if let (Some(fit), Some(after)) = (&mut instance.fit, options.fit_after) {
            let counts = fit.add(Observed { tokens, prefix, seconds: taken });
            if counts && fit.count() >= u64::from(after) && fit.count() % REFIT == 0 {
                instance.cost.prefill = fit.prefill();
            }
        }
        Ok(())
    }

    /// The request decodes from now on, whatever was foreseen.
    fn enter(&mut self, id: RequestId, now: f64) -> Result<()> {
        self.decoding.push(&mut self.requests, id.0);
        let request = self.requests.get_mut(id.0)?;
        request.stage = Stage::Decoding;
        request.decodes_since = now;
        let (decode, seconds, before) = (request.decode, request.decode_seconds, request.stay);
        let Some(decoding) = self.decoding_of(decode) else { return Ok(()) };
        let stay = Stay { tokens: before.tokens, ..decoding.stay(now, now, seconds, 0) };
        decoding.forget(&before);
        decoding.expect(&stay);
        decoding.enter(stay.tokens);
        self.requests.get_mut(id.0)?.stay = stay;
        Ok(())
    }

    /// The last token is there; or, without a first one, all that was asked for was the prefill.
    pub fn finished(&mut self, id: RequestId, now: f64) -> Result<()> {
        let has_decoded = self.requests.get(id.0)?.stage == Stage::Decoding;
        if !has_decoded {
            self.first_token(id, now)?;
        }
        let request = self.end(id, now)?;
        if has_decoded {
            let seconds = (now - request.decodes_since).max(0.0);
            self.decode_seconds += self.options.learning * (seconds - self.decode_seconds);
        }
        Ok(())
    }

    /// The instance gave the request up.
    pub fn failed(&mut self, id: RequestId, now: f64) -> Result<()> {
        let request = self.end(id, now)?;
        let doubts = self.options.doubts;
        if request.stage != Stage::Decoding {
            self.instances.get_mut(request.prefill.0)?.fail(&doubts, now);
        }
        Ok(())
    }

    /// Whoever asked does not want it any more.
    pub fn cancelled(&mut self, id: RequestId, now: f64) -> Result<()> {
        self.end(id, now).map(drop)
    }

    /// An instance says how it is.
    pub fn report(&mut self, id: InstanceId, report: &Report, now: f64) -> Result<()> {
        is_time(now)?;
        if let Some(seconds) = report.queue.filter(|seconds| !(seconds.is_finite() && *seconds >= 0.0)) {
            bail!(InvalidArgument, "an instance reports a queue of {seconds} seconds: it can be 0 and above");
        }
        if let Some(seconds) = report.tbt.filter(|seconds| !(seconds.is_finite() && *seconds >= 0.0)) {
            bail!(
                InvalidArgument,
                "an instance reports {seconds} seconds between tokens: it can be 0 and above"
            );
        }
        let learning = self.options.learning;
        let instance = self.instances.get_mut(id.0)?;
        instance.hear_report(now);
        if let Some(seconds) = report.queue {
            instance.queue.extend(now + seconds);
        }
        let Some(decoding) = &mut instance.decoding else { return Ok(()) };
        if let Some((requests, tokens)) = report.decoding {
            decoding.report(requests, tokens);
        }
        if let Some(seconds) = report.tbt.filter(|_| decoding.now().requests > 0) {
            let predicted = decoding.now().tbt(&instance.cost).max(f64::MIN_POSITIVE);
            let pace = (seconds / predicted).clamp(PACE.0, PACE.1);
            decoding.pace += learning * (pace - decoding.pace);
        }
        Ok(())
    }

    fn end(&mut self, id: RequestId, now: f64) -> Result<Running> {
        is_time(now)?;
        let request = self.requests.get(id.0)?;
        let (stage, prefill, decode, stay) = (request.stage, request.prefill, request.decode, request.stay);
        if stage == Stage::Decoding {
            self.decoding.unlink(&mut self.requests, id.0);
        } else if let Ok(instance) = self.instances.get_mut(prefill.0) {
            instance.hear(now);
            instance.queue.remove(&mut self.requests, id.0, now);
        }
        if let Some(decoding) = self.decoding_of(decode) {
            decoding.forget(&stay);
            if stage == Stage::Decoding {
                decoding.leave(stay.tokens);
            }
        }
        self.requests.remove(id.0)
    }

    fn in_stage(&self, id: RequestId, now: f64, stage: Stage, what: &str) -> Result<InstanceId> {
        is_time(now)?;
        let request = self.requests.get(id.0)?;
        if request.stage != stage {
            bail!(InvalidState, "request {:#x} is said to have {what} twice, or too late", id.0);
        }
        Ok(request.prefill)
    }

    fn request(&mut self, id: RequestId) -> Result<&mut Running> {
        self.requests.get_mut(id.0)
    }
}
