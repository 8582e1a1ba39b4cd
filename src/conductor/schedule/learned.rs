//! What was learnt, for whoever keeps it over a restart; and instances whose numbers are set anew.

use super::feedback::PACE;
use super::{InstanceId, RequestId, Scheduler};
use crate::bail;
use crate::conductor::cost::{Cost, Fit, Prefill};
use crate::error::Result;

/// What was learnt of an instance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    pub prefill: Prefill,
    /// Observed times of prefill, and between tokens, by predicted ones.
    pub pace: f64,
    pub decode_pace: f64,
}

impl Learned {
    pub fn check(&self) -> Result<()> {
        let Prefill { fixed, linear, quadratic } = self.prefill;
        let numbers = [fixed, linear, quadratic];
        let paces = [self.pace, self.decode_pace];
        if numbers.iter().any(|number| !(number.is_finite() && *number >= 0.0))
            || paces.iter().any(|pace| !(PACE.0..=PACE.1).contains(pace))
        {
            bail!(InvalidArgument, "{self:?} cannot have been learnt of an instance");
        }
        Ok(())
    }
}

impl Scheduler {
    pub fn learned(&self, id: InstanceId) -> Result<Learned> {
        let instance = self.instances.get(id.0)?;
        let decode_pace = instance.decoding.as_ref().map_or(1.0, |decoding| decoding.pace);
        Ok(Learned { prefill: instance.cost.prefill, pace: instance.pace, decode_pace })
    }

    /// Goes on from what was learnt before.
    pub fn teach(&mut self, id: InstanceId, learned: &Learned) -> Result<()> {
        learned.check()?;
        let fit_after = self.options.fit_after;
        let instance = self.instances.get_mut(id.0)?;
        instance.pace = learned.pace;
        instance.cost.prefill = learned.prefill;
        instance.fit = fit_after.map(|count| Fit::new(learned.prefill, count.saturating_mul(4)));
        if let Some(decoding) = &mut instance.decoding {
            decoding.pace = learned.decode_pace;
        }
        Ok(())
    }

    /// Gives an instance another cost: what was learnt of the one before is forgotten.
    pub fn set_cost(&mut self, id: InstanceId, cost: Cost) -> Result<()> {
        cost.check()?;
        let instance = self.instances.get_mut(id.0)?;
        (instance.cost, instance.rates) = (cost, cost.rates());
        self.teach(id, &Learned { prefill: cost.prefill, pace: 1.0, decode_pace: 1.0 })
    }

    /// Goes on from how long requests were seen to decode before.
    pub fn set_decode_seconds(&mut self, seconds: f64) -> Result<()> {
        if !(seconds.is_finite() && seconds >= 0.0) {
            bail!(InvalidArgument, "decoding is {seconds} seconds: it can be 0 and above");
        }
        self.decode_seconds = seconds;
        Ok(())
    }

    /// Whether the request was neither ended nor given up.
    pub fn is_running(&self, id: RequestId) -> bool {
        self.requests.get(id.0).is_ok()
    }
}
