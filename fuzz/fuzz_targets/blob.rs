//! A blob for mc_segment_import(): refused, or a descriptor whose regions can be looked up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mooncake::segment::descriptor::{Descriptor, from_blob, to_blob};

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = from_blob(bytes) else { return };
    assert!(from_blob(&to_blob(&record)).expect("its own encoding") == record);
    let Ok(descriptor) = Descriptor::from_record(record) else { return };
    assert!(descriptor.find(u64::MAX, u64::MAX).is_none());
    for region in &descriptor.regions {
        assert!(region.contains(region.address, region.length));
        assert!(
            !region.contains(region.address, region.length.saturating_add(1)) || region.length == u64::MAX
        );
    }
});
