//! Events of blocks from a publisher that may send anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mooncake::conductor::event::{Change, decode, object_key};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(name) = std::str::from_utf8(bytes) {
        if let Some(read) = object_key::parse(name) {
            assert!(name.contains(read.model));
        }
    }
    let Ok(batch) = decode(bytes) else { return };
    let mut tokens = Vec::new();
    for event in &batch.events {
        // Nothing is made of bytes that are not there.
        let keys = batch.keys(event);
        assert!(keys.len() <= bytes.len());
        assert!(event.change != Change::Cleared || keys.is_empty());
        if let Some(told) = event.tokens {
            let _ = told.read(&mut tokens);
            assert!(tokens.len() <= bytes.len());
        }
    }
});
