//! A trace whose blocks are numbered in the order in which they first come, as simulations need it.

use std::collections::HashMap;

use crate::trace;

pub struct Trace {
    pub requests: Vec<Request>,
    /// Of all requests, one after the other.
    blocks: Vec<u32>,
    pub unique: u64,
    pub tokens: u64,
}

pub struct Request {
    /// Seconds since the trace began.
    pub at: f64,
    /// Tokens.
    pub input: u64,
    pub output: u64,
    from: usize,
    to: usize,
}

impl Trace {
    pub fn new(requests: &[trace::Request]) -> Trace {
        let mut numbers: HashMap<u64, u32> = HashMap::new();
        let mut blocks = Vec::with_capacity(requests.iter().map(|request| request.hash_ids.len()).sum());
        let mut number = |request: &trace::Request| {
            let from = blocks.len();
            blocks.extend(request.hash_ids.iter().map(|id| {
                let next =
                    u32::try_from(numbers.len()).expect("a trace that fits into memory has fewer blocks");
                *numbers.entry(*id).or_insert(next)
            }));
            Request {
                at: request.timestamp as f64 / 1000.0,
                input: request.input_length,
                output: request.output_length,
                from,
                to: blocks.len(),
            }
        };
        let numbered = requests.iter().map(&mut number).collect();
        Trace {
            requests: numbered,
            unique: numbers.len() as u64,
            blocks,
            tokens: requests.iter().map(|request| request.input_length).sum(),
        }
    }

    /// A block counts once for each request that has it.
    pub fn blocks(&self) -> u64 {
        self.blocks.len() as u64
    }

    pub fn blocks_of(&self, request: &Request) -> &[u32] {
        &self.blocks[request.from..request.to]
    }
}

/// Where the published conversation is, for tests that know its figures; they say so if it is not at hand.
#[cfg(test)]
pub fn published_path(what: &str) -> Option<std::path::PathBuf> {
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/traces");
    let folder = std::env::var_os("MOONCAKE_TRACES").map_or(beside, std::path::PathBuf::from);
    let path = folder.join("conversation_trace.jsonl");
    if !path.exists() {
        println!("skipped: {what} on the published trace: no {}", path.display());
        return None;
    }
    Some(path)
}

#[cfg(test)]
pub fn published(what: &str) -> Option<Trace> {
    published_path(what).map(|path| Trace::new(&trace::read(&path).expect("it is a trace")))
}
