//! What Mooncake's engines say: frames of handshakes, headers of requests, JSON of segments and addresses. First byte: which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mooncake::segment::descriptor::{Descriptor, EngineId};
use mooncake::segment::mooncake::{MooncakeSegment, RpcAddress};
use mooncake::transport::mooncake::frame::{self, QUESTION_MAX};
use mooncake::transport::mooncake::wire::{HEADER_LENGTH, Header, Status};

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => {
            if let Ok(Some(head)) = frame::head(rest, |_| QUESTION_MAX) {
                assert!(head.length <= QUESTION_MAX && rest.len() >= head.before);
            }
        }
        1 => {
            if let Some(bytes) = rest.first_chunk::<HEADER_LENGTH>()
                && let Ok(header) = Header::decode(bytes)
            {
                assert!(header.encode()[..17] == bytes[..17]);
            }
            if let Some(word) = rest.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
                && let Ok(status) = Status::decode(word)
            {
                assert!(status.encode() == word);
            }
        }
        2 => {
            let Ok(segment) = MooncakeSegment::from_json(rest) else { return };
            let again = segment.to_json("").to_string();
            assert!(MooncakeSegment::from_json(again.as_bytes()).expect("its own encoding") == segment);
            let descriptor = Descriptor::from_record(segment.to_record(EngineId([1; 16]))).expect("checked before");
            assert!(descriptor.regions.iter().all(|region| region.contains(region.address, region.length)));
        }
        _ => {
            if let Ok(address) = RpcAddress::from_json(rest) {
                assert!(address.port != 0 && !address.host.is_empty());
            }
        }
    }
});
