//! Calls from a stranger, in pieces of any size: frames come out, or the connection is given up, within bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mooncake::rpc::frame::{Header, Inbound, Kind, MAX_BODY, MAX_GREETING, Outbound, open};

fuzz_target!(|bytes: &[u8]| {
    let Some((step, mut rest)) = bytes.split_first() else { return };
    let mut inbound = Inbound::default();
    if step % 2 == 1 {
        inbound.trust();
    }
    while !rest.is_empty() {
        let room = inbound.room();
        assert!(room.len() <= MAX_BODY + 4096);
        let count = room.len().min(usize::from(*step).max(1)).min(rest.len());
        room[..count].copy_from_slice(&rest[..count]);
        inbound.received(count);
        rest = &rest[count..];
        loop {
            let Ok(frame) = inbound.next_frame() else { return };
            let Some((header, body)) = frame else { break };
            assert_eq!(body.len(), header.length as usize);
            assert!(matches!(header.kind, Kind::Call | Kind::Answer) || body.len() <= MAX_GREETING);
            if let Ok(body) = open(&header, body, None) {
                let mut again = Outbound::default();
                again.put(header, body);
                let head = again.bytes().first_chunk().expect("a header");
                assert_eq!(Header::decode(head).expect("its own encoding"), header);
            }
        }
    }
});
