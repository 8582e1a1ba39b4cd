//! Control messages between engines: protobuf bodies, whose field numbers outlive releases.

use prost::Message;

/// First message of the side that connects, on every connection.
#[derive(Clone, PartialEq, Message)]
pub struct Hello {
    /// Lowest and highest protocol that the sender speaks.
    #[prost(uint32, tag = "1")]
    pub version_min: u32,
    #[prost(uint32, tag = "2")]
    pub version_max: u32,
    #[prost(bytes = "vec", tag = "3")]
    pub engine_id: Vec<u8>,
    #[prost(string, tag = "4")]
    pub name: String,
    /// Counts this engine's connections to this peer: a higher one ends those of lower ones.
    #[prost(uint64, tag = "5")]
    pub epoch: u64,
    /// 0: control; others carry data.
    #[prost(uint32, tag = "6")]
    pub lane: u32,
    #[prost(bytes = "vec", tag = "7")]
    pub nonce: Vec<u8>,
    #[prost(uint64, tag = "8")]
    pub features: u64,
}

/// The answer.
#[derive(Clone, PartialEq, Message)]
pub struct HelloAck {
    /// 0, or why not; then `text` says more.
    #[prost(sint32, tag = "1")]
    pub status: i32,
    #[prost(string, tag = "2")]
    pub text: String,
    #[prost(uint32, tag = "3")]
    pub version: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub engine_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub name: String,
    #[prost(bytes = "vec", tag = "6")]
    pub nonce: Vec<u8>,
    #[prost(uint64, tag = "7")]
    pub features: u64,
    /// Proof that the answerer has the key; empty without one.
    #[prost(bytes = "vec", tag = "8")]
    pub proof: Vec<u8>,
    /// CLOCK_MONOTONIC of the answerer in microseconds.
    #[prost(uint64, tag = "9")]
    pub now_us: u64,
}

/// Proof that the side that connects has the key.
#[derive(Clone, PartialEq, Message)]
pub struct Auth {
    #[prost(bytes = "vec", tag = "1")]
    pub proof: Vec<u8>,
}

/// The answer to DESCRIBE, sent only once the peer is known.
#[derive(Clone, PartialEq, Message)]
pub struct Description {
    #[prost(message, optional, tag = "1")]
    pub segment: Option<crate::segment::descriptor::SegmentRecord>,
    /// Where processes of the same host can do better: an abstract unix socket, and the word that opens it.
    #[prost(bytes = "vec", tag = "2")]
    pub shm_socket: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub shm_token: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Notice {
    #[prost(string, tag = "1")]
    pub tag: String,
    #[prost(bytes = "vec", tag = "2")]
    pub data: Vec<u8>,
}

/// Bytes that cross the network carry a CRC32C per slice.
pub const FEATURE_CHECKSUM: u64 = 1;
