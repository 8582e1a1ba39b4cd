//! What is measured: one combination of path, operation, block size, batch and threads.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Path {
    Local,
    Memfd,
    Cma,
    Tcp,
}

impl Path {
    pub fn name(self) -> &'static str {
        match self {
            Path::Local => "local",
            Path::Memfd => "memfd",
            Path::Cma => "cma",
            Path::Tcp => "tcp",
        }
    }
}

/// Which way the bytes go, as the initiator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    Read,
    Write,
}

impl Op {
    pub fn name(self) -> &'static str {
        match self {
            Op::Read => "read",
            Op::Write => "write",
        }
    }
}

/// One cell of the matrix. Both ends know it, and so know where every block of every step lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    pub path: Path,
    pub op: Op,
    /// Bytes of one block.
    pub size: usize,
    /// Blocks of one batch.
    pub batch: usize,
    /// Threads that move batches at the same time.
    pub threads: usize,
    /// Walk over the whole buffers, so that the blocks are in no cache; else over one batch again and again.
    pub is_cold: bool,
    /// Bytes of each buffer.
    pub buffer: usize,
    /// Most different batches of one thread.
    pub positions: usize,
}

impl Case {
    /// Bytes of one batch.
    pub fn bytes(&self) -> u64 {
        self.size as u64 * self.batch as u64
    }

    /// Why it cannot be measured, if so.
    pub fn trouble(&self) -> Option<String> {
        let needed = self.bytes() * self.threads as u64;
        let Case { threads, batch, size, buffer, .. } = self;
        (needed > *buffer as u64).then(|| {
            format!("{threads} x {batch} blocks of {size} bytes need {needed} bytes, --buffer has {buffer}")
        })
    }
}
