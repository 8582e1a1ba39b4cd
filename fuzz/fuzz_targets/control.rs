//! The body of a control message, and a packet of the unix socket: the first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mooncake::segment::descriptor::Descriptor;
use mooncake::transport::shm;
use mooncake::transport::tcp::messages::{Auth, Description, Hello, HelloAck, Notice};
use prost::Message;

/// What decodes survives another round trip.
fn round_trip<M: Message + Default + PartialEq>(body: &[u8]) -> Option<M> {
    let message = M::decode(body).ok()?;
    assert!(M::decode(&*message.encode_to_vec()).expect("its own encoding") == message);
    Some(message)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind % 6 {
        0 => drop(round_trip::<Hello>(body)),
        1 => drop(round_trip::<HelloAck>(body)),
        2 => drop(round_trip::<Auth>(body)),
        3 => drop(round_trip::<Notice>(body)),
        4 => {
            let Some(segment) = round_trip::<Description>(body).and_then(|description| description.segment)
            else {
                return;
            };
            let Ok(descriptor) = Descriptor::from_record(segment) else { return };
            for region in &descriptor.regions {
                // No range of an accepted region wraps around.
                assert!(region.address.checked_add(region.length).is_some());
                assert!(descriptor.find(region.address, region.length).is_some());
            }
        }
        _ => {
            if let Ok(message) = shm::wire::decode(body) {
                assert!(
                    shm::wire::decode(&shm::wire::encode(message.clone())).expect("its own encoding")
                        == message
                );
            }
        }
    }
});
