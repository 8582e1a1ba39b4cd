//! A sized struct of C with any bytes in it: read within the size that it declares, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mooncake::ffi::batch::mc_batch_options_t;
use mooncake::ffi::cq::mc_cq_options_t;
use mooncake::ffi::engine::{mc_engine_info_t, mc_engine_options_t};
use mooncake::ffi::memory::mc_memory_options_t;
use mooncake::ffi::options::{Sized32, check_info, read, write};

/// The bytes at an aligned address, in an allocation that ends with them: a step too far is seen.
fn with_aligned(bytes: &[u8], act: impl FnOnce(*mut u8)) {
    let layout = std::alloc::Layout::from_size_align(bytes.len().max(8), 8).expect("a small layout");
    // SAFETY: allocated for the layout, freed with it, filled within it.
    unsafe {
        let memory = std::alloc::alloc_zeroed(layout);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory, bytes.len());
        act(memory);
        std::alloc::dealloc(memory, layout);
    }
}

fn try_reading<T: Sized32>(bytes: &[u8]) {
    with_aligned(bytes, |memory| {
        // SAFETY: readable for the size that it declares, which was checked.
        let value: Result<T, _> = unsafe { read(memory.cast::<T>(), "options") };
        let declared = u32::from_le_bytes(bytes[..4].try_into().expect("checked")) as usize;
        assert!(value.is_err() || declared >= 8);
    });
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let Some(declared) = bytes.first_chunk::<4>().map(|size| u32::from_le_bytes(*size) as usize) else {
        return;
    };
    // A caller that declares more than there is breaks the contract; more than any struct may have is refused anyway.
    if declared > bytes.len() && declared <= 1 << 16 {
        return;
    }
    match kind % 5 {
        0 => try_reading::<mc_engine_options_t>(bytes),
        1 => try_reading::<mc_memory_options_t>(bytes),
        2 => try_reading::<mc_batch_options_t>(bytes),
        3 => try_reading::<mc_cq_options_t>(bytes),
        _ => with_aligned(bytes, |memory| {
            let info = memory.cast::<mc_engine_info_t>();
            // SAFETY: writable for the size that it declares; the struct is valid when zero.
            unsafe {
                let value: mc_engine_info_t = std::mem::zeroed();
                assert_eq!(check_info(info, "info").is_ok(), write(info, &value, "info").is_ok());
            }
        }),
    }
});
