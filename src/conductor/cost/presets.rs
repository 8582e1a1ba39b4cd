//! Models and machines of the paper, and the cost of the one on the other.
//!
//! Prefill takes `layers * (attention * n^2 * width + dense * n * width^2)` operations for n tokens (the paper's
//! numbers; attention is not halved for looking back only). How long a step of decode takes is not published: here
//! it reads all weights and the cache of all contexts once.

use super::{Cost, Decode, Prefill};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Model {
    pub layers: u32,
    pub width: f64,
    /// Operations per layer for each pair of tokens and unit of width.
    pub attention: f64,
    /// Operations per layer for each token and unit of width squared.
    pub dense: f64,
    pub kv_bytes_per_token: f64,
    pub weight_bytes: f64,
}

/// One instance's accelerators together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Operations per second at best.
    pub operations: f64,
    /// The share of them that prefill gets.
    pub utilisation: f64,
    pub memory_bytes: f64,
    pub memory_rate: f64,
    pub host_rate: f64,
    pub disk_rate: f64,
    pub link_rate: f64,
}

const GIB: f64 = (1u64 << 30) as f64;

impl Model {
    /// The dummy model of the paper, with the architecture of LLaMA3-70B: 8 heads of keys share 64 of queries.
    pub const LLAMA3_70B: Model = Model {
        layers: 80,
        width: 8192.0,
        attention: 4.0,
        dense: 22.0,
        kv_bytes_per_token: 80.0 * 2.0 * 1024.0 * 2.0,
        weight_bytes: 141e9,
    };
}

impl Machine {
    /// Eight A800. Of their operations prefill gets 0.6: at that the published trace takes the GPU time that the
    /// paper measured. Network 800 Gbit/s.
    pub const A800: Machine = Machine {
        operations: 8.0 * 312e12,
        utilisation: 0.6,
        memory_bytes: 8.0 * 80.0 * GIB,
        memory_rate: 8.0 * 2.0e12,
        host_rate: 128e9,
        disk_rate: 12e9,
        link_rate: 100e9,
    };
    /// Eight H800.
    pub const H800: Machine =
        Machine { operations: 8.0 * 989e12, memory_rate: 8.0 * 3.35e12, ..Machine::A800 };
}

/// The share of memory that is left for the cache once the weights are in: the rest is work space.
const CACHE_SHARE: f64 = 0.9;
/// Each request's part of a step of decode, beyond reading its cache.
const PER_REQUEST: f64 = 0.1e-3;

impl Cost {
    /// Blocks of 512 tokens, as in the published traces.
    pub fn of(model: &Model, machine: &Machine) -> Cost {
        let rate = machine.operations * machine.utilisation;
        let layers = f64::from(model.layers);
        let kv_bytes =
            ((machine.memory_bytes - model.weight_bytes) * CACHE_SHARE).max(model.kv_bytes_per_token);
        Cost {
            block_tokens: 512,
            kv_bytes_per_token: model.kv_bytes_per_token,
            prefill: Prefill {
                fixed: 0.0,
                linear: layers * model.dense * model.width * model.width / rate,
                quadratic: layers * model.attention * model.width / rate,
            },
            decode: Decode {
                fixed: model.weight_bytes / machine.memory_rate,
                per_request: PER_REQUEST,
                per_token: model.kv_bytes_per_token / machine.memory_rate,
            },
            host_rate: machine.host_rate,
            disk_rate: machine.disk_rate,
            link_rate: machine.link_rate,
            layers: model.layers,
            // A whole number from here on: above 0 and far below 2^64.
            kv_tokens: (kv_bytes / model.kv_bytes_per_token) as u64,
            chunk_tokens: 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reusing a prefix of 8,192 tokens pays from this rate on, for loading it (paper: 6 and 19 GB/s).
    #[test]
    fn reuse_pays_from_the_published_rates_on() {
        for (machine, rate) in [(Machine::A800, 5.86e9), (Machine::H800, 18.6e9)] {
            let machine = Machine { utilisation: 1.0, ..machine };
            let cost = Cost::of(&Model::LLAMA3_70B, &machine);
            let saved = cost.prefill.seconds(8193, 0) - cost.prefill.seconds(8193, 8192);
            let found = 8192.0 * cost.kv_bytes_per_token / saved;
            assert!((found / rate - 1.0).abs() < 0.01, "{found}");
        }
    }

    #[test]
    fn presets_make_sense() {
        for machine in [Machine::A800, Machine::H800] {
            let cost = Cost::of(&Model::LLAMA3_70B, &machine);
            cost.check().expect("it is a cost");
            assert!(cost.kv_tokens > 1_000_000, "{}", cost.kv_tokens);
            let step = cost.decode.seconds(16.0, 16.0 * 12_000.0);
            assert!((0.005..0.05).contains(&step), "{step}");
        }
    }
}
