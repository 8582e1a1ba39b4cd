//! Snapshots of a conductor that were made to do harm.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mooncake::conductor::service::{Conductor, Hooks, Options};
use mooncake::sys::checksum::crc32c;

fn blank() -> Conductor {
    let options = Options { most_contexts: 16, ..Options::default() };
    Conductor::new(options, Hooks::default()).expect("the options are fine")
}

fuzz_target!(|bytes: &[u8]| {
    // Whoever makes one up can make up its checksum, too.
    let mut bytes = bytes.to_vec();
    if let Some((body, sum)) = bytes.split_last_chunk_mut::<4>() {
        *sum = crc32c(body).to_le_bytes();
    }
    let conductor = blank();
    let restored = conductor.restore(&bytes);
    let there = conductor.status().expect("nobody is inside");
    let Ok(restored) = restored else {
        assert_eq!((there.instances, there.contexts, there.blocks), (0, 0, 0));
        return;
    };
    assert_eq!((there.instances, there.contexts), (restored.instances, restored.contexts));
    assert!(there.blocks <= bytes.len());
    // What was taken up can be written down, and taken up again.
    let again = blank().restore(&conductor.snapshot().expect("nobody is inside"));
    assert_eq!(again.expect("it is sound"), restored);
});
