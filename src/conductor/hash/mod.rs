//! Keys of token blocks, as the engines name them: each is a hash over its own tokens and the key before it.
//!
//! Two prompts share the key of a block exactly if they share all tokens up to its end (and what else the scheme
//! mixes in), so one u64 stands for a whole prefix. Only full blocks have keys; the tokens after the last full
//! block are left out.

mod cbor;
mod pickle;
#[cfg(test)]
mod tests;

use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::bail;
use crate::error::Result;

/// Most bytes of a LoRA name or a salt.
pub const LONGEST_NAME: usize = 1024;

type Digest = [u8; 32];

/// How an engine computes keys. All that are to share a cache must use the same, with the same seed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// XXH3-64 over tokens as little-endian u32; then over the key before and the block's own hash. LoRA and salt
    /// are not mixed in: they part contexts instead.
    Xxh3 { seed: u64 },
    /// vLLM's `sha256_cbor`.
    VllmCbor { python_hash_seed: String },
    /// vLLM's `sha256`: the same over Python's pickle, protocol 5.
    VllmPickle { python_hash_seed: String },
}

/// What vLLM hashes beside the tokens: the LoRA name with every block, the salt with the first one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra<'a> {
    pub lora: Option<&'a str>,
    pub salt: Option<&'a str>,
}

impl<'a> Extra<'a> {
    fn names(self) -> impl Iterator<Item = &'a str> {
        [self.lora, self.salt].into_iter().flatten()
    }
}

/// A scheme that is ready to hash.
#[derive(Clone, Debug)]
pub struct Hasher(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Rolling { seed: u64 },
    Chained { encode: Encode, root: Digest },
}

#[derive(Clone, Copy, Debug)]
enum Encode {
    Cbor,
    Pickle,
}

impl Hasher {
    pub fn new(scheme: &Scheme) -> Hasher {
        let chained = |encode: Encode, seed: &str| {
            let mut bytes = Vec::new();
            encode.root(seed, &mut bytes);
            Hasher(Kind::Chained { encode, root: Sha256::digest(bytes).into() })
        };
        match scheme {
            Scheme::Xxh3 { seed } => Hasher(Kind::Rolling { seed: *seed }),
            Scheme::VllmCbor { python_hash_seed } => chained(Encode::Cbor, python_hash_seed),
            Scheme::VllmPickle { python_hash_seed } => chained(Encode::Pickle, python_hash_seed),
        }
    }

    /// The digest that stands before the first block (vLLM's `NONE_HASH`), by which seeds can be compared.
    pub fn root(&self) -> Option<[u8; 32]> {
        match &self.0 {
            Kind::Rolling { .. } => None,
            Kind::Chained { root, .. } => Some(*root),
        }
    }

    /// The keys of all full blocks of `tokens`, first to last, each hashed when it is asked for: who stops early
    /// pays for what was taken. Refuses a `block_size` of 0 and names above [`LONGEST_NAME`] bytes.
    pub fn keys<'a>(&'a self, tokens: &'a [u32], block_size: usize, extra: Extra<'a>) -> Result<Keys<'a>> {
        self.keys_after(None, tokens, block_size, extra)
    }

    /// The same for tokens that follow the block of that key. Refused where a key is not all that the next one is
    /// made of.
    pub fn keys_after<'a>(
        &'a self,
        before: Option<u64>,
        tokens: &'a [u32],
        block_size: usize,
        extra: Extra<'a>,
    ) -> Result<Keys<'a>> {
        if block_size == 0 {
            bail!(InvalidArgument, "a block of 0 tokens has no key: give the engine's block size");
        }
        for (noun, name) in [("LoRA name", extra.lora), ("salt", extra.salt)] {
            if let Some(name) = name.filter(|name| name.len() > LONGEST_NAME) {
                bail!(InvalidArgument, "a {noun} of {} bytes is longer than {LONGEST_NAME}", name.len());
            }
        }
        // vLLM takes an empty name for none.
        let given = |name: Option<&'a str>| name.filter(|name| !name.is_empty());
        let extra = Extra { lora: given(extra.lora), salt: given(extra.salt) };
        let before = match &self.0 {
            Kind::Rolling { seed } => Before::Rolling { seed: *seed, key: before },
            Kind::Chained { .. } if before.is_some() => {
                bail!(
                    Unsupported,
                    "vLLM's hashes follow from the whole digest before, of which a key is a part"
                );
            }
            Kind::Chained { encode, root } => Before::Chained { encode: *encode, parent: *root },
        };
        Ok(Keys { blocks: tokens.chunks_exact(block_size), extra, before, bytes: Vec::new() })
    }
}

/// The key of a block whose hash an engine tells as bytes: the last eight, big-endian. None of fewer than eight.
pub fn key_of_digest(digest: &[u8]) -> Option<u64> {
    digest.last_chunk().map(|tail| u64::from_be_bytes(*tail))
}

/// The keys of a prompt, see [`Hasher::keys`].
#[derive(Clone, Debug)]
pub struct Keys<'a> {
    blocks: std::slice::ChunksExact<'a, u32>,
    extra: Extra<'a>,
    before: Before,
    /// What is hashed, kept for its capacity.
    bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Before {
    Rolling { seed: u64, key: Option<u64> },
    Chained { encode: Encode, parent: Digest },
}

impl Iterator for Keys<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let tokens = self.blocks.next()?;
        self.bytes.clear();
        Some(match &mut self.before {
            Before::Rolling { seed, key } => {
                self.bytes.extend(tokens.iter().flat_map(|token| token.to_le_bytes()));
                let own = xxh3_64_with_seed(&self.bytes, *seed);
                *key.insert(key.map_or(own, |before| rolled(before, own, *seed)))
            }
            Before::Chained { encode, parent } => {
                encode.block(parent, tokens, self.extra, &mut self.bytes);
                self.extra.salt = None;
                *parent = Sha256::digest(&self.bytes).into();
                key_of_digest(parent).expect("a SHA-256 digest has 32 bytes")
            }
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.blocks.size_hint()
    }
}

impl ExactSizeIterator for Keys<'_> {}

fn rolled(before: u64, own: u64, seed: u64) -> u64 {
    let mut pair = [0; 16];
    pair[..8].copy_from_slice(&before.to_le_bytes());
    pair[8..].copy_from_slice(&own.to_le_bytes());
    xxh3_64_with_seed(&pair, seed)
}

impl Encode {
    fn root(self, seed: &str, out: &mut Vec<u8>) {
        match self {
            Encode::Cbor => cbor::text(seed, out),
            Encode::Pickle => pickle::text(seed, out),
        }
    }

    /// The tuple (parent, tokens, extra or None).
    fn block(self, parent: &Digest, tokens: &[u32], extra: Extra<'_>, out: &mut Vec<u8>) {
        match self {
            Encode::Cbor => cbor::block(parent, tokens, extra, out),
            Encode::Pickle => pickle::block(parent, tokens, extra, out),
        }
    }
}
