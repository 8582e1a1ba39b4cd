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
        let count = requests.iter().map(|request| request.hash_ids.len()).sum();
        let mut numbers = Numbers::new(requests, count);
        let mut blocks = Vec::with_capacity(count);
        let mut number = |request: &trace::Request| {
            let from = blocks.len();
            blocks.extend(request.hash_ids.iter().map(|id| numbers.of(*id)));
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
            unique: u64::from(numbers.count),
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

/// The numbers that ids have got so far.
struct Numbers {
    count: u32,
    /// By id, where ids are not much higher than blocks are many, as in published traces: no search, and neighbours
    /// lie side by side. 0 is none, others are one more than the number.
    near: Vec<u32>,
    far: HashMap<u64, u32>,
}

impl Numbers {
    fn new(requests: &[trace::Request], count: usize) -> Numbers {
        let highest = requests.iter().flat_map(|request| &request.hash_ids).max().copied().unwrap_or(0);
        let bound = usize::try_from(highest).ok().filter(|highest| *highest / 4 < count);
        Numbers { count: 0, near: vec![0; bound.map_or(0, |highest| highest + 1)], far: HashMap::new() }
    }

    fn of(&mut self, id: u64) -> u32 {
        let known = match self.near.is_empty() {
            false => &mut self.near[id as usize],
            true => self.far.entry(id).or_insert(0),
        };
        if *known == 0 {
            self.count = self.count.checked_add(1).expect("a trace that fits into memory has fewer blocks");
            *known = self.count;
        }
        *known - 1
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_numbered_as_they_come_whatever_their_ids() {
        for far in [1, 1 << 40] {
            let request = |ids: &[u64]| trace::Request {
                timestamp: 0,
                input_length: 1,
                output_length: 1,
                hash_ids: ids.iter().map(|id| id * far).collect(),
            };
            let trace = Trace::new(&[request(&[3, 1]), request(&[3, 2]), request(&[]), request(&[1, 0])]);
            assert_eq!((trace.blocks.as_slice(), trace.unique), (&[0, 1, 0, 2, 1, 3][..], 4));
            assert_eq!(trace.blocks_of(&trace.requests[3]), [1, 3]);
        }
        assert_eq!(Trace::new(&[]).unique, 0);
    }
}
