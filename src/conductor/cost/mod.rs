//! What serving a request takes on one instance: seconds of prefill, of moving blocks, of each token of decode.
//!
//! ```text
//!   presets.rs   models and machines of the paper, and the cost that follows from the two
//!   fit.rs       the numbers of prefill, from what instances report
//! ```
//!
//! All times are seconds, all rates bytes per second. Every number of a [`Cost`] can be set; [`Cost::check`] tells which
//! one cannot be.

mod fit;
mod presets;

pub use fit::{Fit, Observed};
pub use presets::{Machine, Model};

use crate::bail;
use crate::error::Result;

/// The cost of one instance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Tokens of one block.
    pub block_tokens: u32,
    pub kv_bytes_per_token: f64,
    pub prefill: Prefill,
    pub decode: Decode,
    /// From the host's memory to the device's.
    pub host_rate: f64,
    pub disk_rate: f64,
    /// From other instances, and from the store.
    pub link_rate: f64,
    /// Layers between which loading blocks and computing overlap; 0 if the one waits for the other.
    pub layers: u32,
    /// Tokens whose cache the device holds while it decodes.
    pub kv_tokens: u64,
    /// Tokens that are prefilled at once: what a group of instances hands on from one to the next.
    pub chunk_tokens: u64,
}

/// Seconds of prefill: `fixed + linear * new tokens + quadratic * (tokens^2 - prefix^2)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prefill {
    pub fixed: f64,
    pub linear: f64,
    pub quadratic: f64,
}

/// Seconds for the next token of each request of a batch: `fixed + per_request * requests + per_token * context`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decode {
    pub fixed: f64,
    pub per_request: f64,
    /// For each token of all contexts together: its cache is read once per step.
    pub per_token: f64,
}

/// What follows from a cost, worked out once: whoever asks hundreds of instances has no time to divide.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Seconds per block.
    link: f64,
    host: f64,
    disk: f64,
    /// How much of what overlaps does not.
    exposed: f64,
    /// How much of the memory for caches a token takes.
    token: f64,
}

impl Rates {
    /// Moving blocks here from another instance or the store, over a link with nothing else on it.
    pub fn transfer(&self, blocks: u32) -> f64 {
        f64::from(blocks) * self.link
    }

    /// Loading blocks from the host, and others from the disk, by way of the host.
    pub fn load(&self, on_host: u32, on_disk: u32) -> f64 {
        f64::from(on_host) * self.host + f64::from(on_disk) * self.disk
    }

    /// Loading, and computing meanwhile as far as that is possible.
    pub fn overlapped(&self, load: f64, compute: f64) -> f64 {
        let (less, more) = if load < compute { (load, compute) } else { (compute, load) };
        more + less * self.exposed
    }

    /// How much of the memory for caches so many tokens take.
    pub fn memory(&self, tokens: i64) -> f64 {
        tokens.max(0) as f64 * self.token
    }
}

impl Prefill {
    /// A prompt of `tokens` of which the first `prefix` are cached. The last token is computed in any case.
    pub fn seconds(&self, tokens: u64, prefix: u64) -> f64 {
        let (whole, cached) = (tokens as f64, prefix.min(tokens.saturating_sub(1)) as f64);
        self.fixed + self.linear * (whole - cached) + self.quadratic * (whole * whole - cached * cached)
    }
}

impl Decode {
    /// Between two tokens of a batch of `requests` whose contexts have `tokens` together.
    pub fn seconds(&self, requests: f64, tokens: f64) -> f64 {
        self.fixed + self.per_request * requests + self.per_token * tokens
    }
}

impl Cost {
    pub fn block_bytes(&self) -> f64 {
        f64::from(self.block_tokens) * self.kv_bytes_per_token
    }

    /// Tokens in blocks.
    pub fn tokens(&self, blocks: u32) -> u64 {
        u64::from(blocks) * u64::from(self.block_tokens)
    }

    /// Prefill with the first `blocks` cached, on the device.
    pub fn prefill(&self, tokens: u64, blocks: u32) -> f64 {
        self.prefill.seconds(tokens, self.tokens(blocks))
    }

    pub fn rates(&self) -> Rates {
        let bytes = self.block_bytes();
        Rates {
            link: bytes / self.link_rate,
            host: bytes / self.host_rate,
            disk: bytes / self.disk_rate.min(self.host_rate),
            // The first layer waits for its part of the blocks; behind it the slower of the two sets the pace.
            exposed: if self.layers == 0 { 1.0 } else { 1.0 / f64::from(self.layers) },
            token: 1.0 / self.kv_tokens as f64,
        }
    }

    /// An error that names the first number that makes no sense.
    pub fn check(&self) -> Result<()> {
        let Cost { prefill, decode, .. } = self;
        for (name, number) in [
            ("kv_bytes_per_token", self.kv_bytes_per_token),
            ("host_rate", self.host_rate),
            ("disk_rate", self.disk_rate),
            ("link_rate", self.link_rate),
        ] {
            if !(number.is_finite() && number > 0.0) {
                bail!(InvalidArgument, "{name} of an instance's cost is {number}: it must be above 0");
            }
        }
        for (name, number) in [
            ("prefill.fixed", prefill.fixed),
            ("prefill.linear", prefill.linear),
            ("prefill.quadratic", prefill.quadratic),
            ("decode.fixed", decode.fixed),
            ("decode.per_request", decode.per_request),
            ("decode.per_token", decode.per_token),
        ] {
            if !(number.is_finite() && number >= 0.0) {
                bail!(InvalidArgument, "{name} of an instance's cost is {number}: it must be 0 or above");
            }
        }
        if self.block_tokens == 0 || self.chunk_tokens == 0 || self.kv_tokens == 0 {
            bail!(
                InvalidArgument,
                "block_tokens, chunk_tokens and kv_tokens of an instance's cost must be above 0"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paper() -> Cost {
        Cost::of(&Model::LLAMA3_70B, &Machine::A800)
    }

    /// Seconds that the paper's formula gives with every operation of the machine in use.
    #[test]
    fn prefill_is_the_papers_formula() {
        let cost = Cost::of(&Model::LLAMA3_70B, &Machine { utilisation: 1.0, ..Machine::A800 });
        for (tokens, seconds) in
            [(8192, 0.458), (16_384, 1.057), (32_768, 2.678), (65_536, 7.61), (131_072, 24.2)]
        {
            let found = cost.prefill(tokens, 0);
            assert!((found / seconds - 1.0).abs() < 0.002, "{tokens} tokens: {found}");
        }
        assert_eq!(cost.kv_bytes_per_token, 327_680.0);
    }

    #[test]
    fn a_cached_prefix_is_not_computed_and_the_last_token_always_is() {
        let prefill = Prefill { fixed: 0.0, linear: 1.0, quadratic: 0.0 };
        assert_eq!(prefill.seconds(1000, 512), 488.0);
        assert_eq!(prefill.seconds(1024, 1024), 1.0);
        assert_eq!(prefill.seconds(0, 512), 0.0);
    }

    #[test]
    fn loading_layer_by_layer_takes_as_long_as_the_slower_of_loading_and_computing() {
        let cost = Cost { layers: 80, ..paper() };
        let (apart, together) = (Cost { layers: 0, ..cost }, cost);
        let compute = cost.prefill(20_000, 20);
        let load = cost.rates().load(20, 0);
        assert!((load - 20.0 * cost.block_bytes() / cost.host_rate).abs() < 1e-12);
        assert!((apart.rates().overlapped(load, compute) - compute - load).abs() < 1e-12);
        let overlapped = together.rates().overlapped(load, compute);
        assert!(overlapped > compute && overlapped < compute + load / 40.0, "{overlapped}");
    }

    #[test]
    fn a_number_that_makes_no_sense_is_named() {
        assert!(paper().check().is_ok());
        let wrong = Cost { link_rate: f64::NAN, ..paper() };
        assert!(wrong.check().expect_err("it is no rate").message().contains("link_rate"));
        let wrong = Cost { prefill: Prefill { linear: -1.0, ..paper().prefill }, ..paper() };
        assert!(wrong.check().expect_err("time does not go back").message().contains("prefill.linear"));
        assert!(Cost { block_tokens: 0, ..paper() }.check().is_err());
    }
}
