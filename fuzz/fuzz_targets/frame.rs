//! A frame from a stranger: header, entries and acknowledgements decode or are refused, within their bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mooncake::transport::tcp::wire::{
    AckEntry, DataEntry, HEADER_LENGTH, Header, MAX_CONTROL, MAX_ENTRIES, MAX_PAYLOAD, Method, code_of,
    entries,
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = Header::decode(bytes) else { return };
    // What was accepted can be trusted to be small, whatever it says.
    assert!(header.length <= MAX_CONTROL.max(MAX_PAYLOAD + (MAX_ENTRIES * 64) as u64));
    assert!(header.meta_length() as u64 + header.payload_length() == header.length);
    assert_eq!(Header::decode(&header.encode()).expect("its own encoding"), header);
    let Some(meta) = bytes[HEADER_LENGTH..].get(..header.meta_length()) else { return };
    match header.method {
        Method::Write | Method::Read => {
            let Ok(entries) = entries(&header, meta) else { return };
            let total: u64 = entries.map(|entry| u64::from(entry.length)).sum();
            assert!(total <= MAX_PAYLOAD);
        }
        Method::Ack => meta.chunks_exact(AckEntry::LENGTH).map(AckEntry::decode).for_each(|entry| {
            assert_eq!(code_of(entry.status).is_none(), entry.status == 0);
        }),
        Method::Data => meta.chunks_exact(DataEntry::LENGTH).map(DataEntry::decode).for_each(|entry| {
            assert_eq!(code_of(entry.status).is_none(), entry.status == 0);
        }),
        _ => {}
    }
});
