//! A stranger on the port of a living engine: greets as an engine would, then sends frames made of any bytes. The engine
//! goes on for others, and memory that it did not offer keeps its bytes.
#![no_main]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use mooncake::ffi::engine::*;
use mooncake::ffi::memory::mc_memory_register;
use mooncake::transport::tcp::messages::Hello;
use mooncake::transport::tcp::wire::{HEADER_LENGTH, Header, MAGIC, Method, VERSION};
use prost::Message;

const LENGTH: usize = 1 << 16;

/// The engine under attack: its address, and where the memory lies that it offers.
fn target() -> (SocketAddr, u64) {
    static TARGET: OnceLock<(SocketAddr, u64)> = OnceLock::new();
    *TARGET.get_or_init(|| {
        let memory = vec![0u8; LENGTH].leak();
        // SAFETY: zeros are valid for both structs; the memory is never freed.
        unsafe {
            let mut options: mc_engine_options_t = std::mem::zeroed();
            options.struct_size = size_of::<mc_engine_options_t>() as u32;
            options.flags = MC_ENGINE_FLAG_NO_ENVIRONMENT;
            options.bind_address = c"127.0.0.1".as_ptr();
            options.worker_threads = 1;
            let mut engine = null_mut();
            assert_eq!(mc_engine_create(&options, &mut engine), 0);
            let mut region = 0;
            assert_eq!(
                mc_memory_register(engine, memory.as_mut_ptr().cast(), LENGTH, null(), &mut region),
                0
            );
            let mut info: mc_engine_info_t = std::mem::zeroed();
            info.struct_size = size_of::<mc_engine_info_t>() as u32;
            assert_eq!(mc_engine_get_info(engine, &mut info), 0);
            (SocketAddr::from(([127, 0, 0, 1], info.port as u16)), memory.as_ptr() as u64)
        }
    })
}

fn hello(lane: u32) -> Vec<u8> {
    let body = Hello {
        version_min: 1,
        version_max: 1,
        engine_id: vec![7; 16],
        name: "fuzz".into(),
        epoch: u64::from(std::process::id()),
        lane,
        nonce: vec![9; 16],
        features: u64::MAX,
    }
    .encode_to_vec();
    let mut message = Header::new(Method::Hello, 1, body.len() as u64).encode().to_vec();
    message.extend_from_slice(&body);
    message
}

/// Cuts the bytes into frames: magic and version right, so that what comes after them is reached. Addresses of WRITE and
/// READ entries are moved into the offered memory now and then.
fn frames(bytes: &[u8], memory: u64) -> Vec<u8> {
    let mut stream = Vec::new();
    for chunk in bytes.chunks(200) {
        let mut frame = chunk.to_vec();
        frame.resize(frame.len().max(HEADER_LENGTH), 0);
        frame[..8].copy_from_slice(&MAGIC);
        frame[8] = VERSION;
        let is_data = frame[9] >= Method::Write as u8;
        if chunk.first().is_some_and(|first| first % 2 == 0) {
            let length = (frame.len() - HEADER_LENGTH) as u64;
            frame[24..32].copy_from_slice(&length.to_le_bytes());
            if is_data {
                frame[12..16].copy_from_slice(&1u32.to_le_bytes());
            }
        }
        if is_data && frame.len() >= HEADER_LENGTH + 24 {
            let offset = u64::from(frame[HEADER_LENGTH]) * 300;
            frame[HEADER_LENGTH..HEADER_LENGTH + 8].copy_from_slice(&(memory + offset).to_le_bytes());
        }
        stream.extend_from_slice(&frame);
    }
    stream
}

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let (address, memory) = target();
    // Thousands of connections a second use up the ports of a host unless each ends with a reset.
    let mut socket = TcpStream::connect(address).expect("the engine listens still");
    let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of::<libc::linger>() as u32;
    // SAFETY: a plain option of a socket that is open.
    unsafe {
        let value = (&raw const at_once).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, value, length);
    }
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a valid time");
    // The peer may hang up at any moment: that is its right.
    if kind % 4 != 0 {
        let mut answer = [0; HEADER_LENGTH];
        if socket.write_all(&hello(u32::from(kind % 4 - 1))).is_err()
            || socket.read_exact(&mut answer).is_err()
        {
            return;
        }
        let stream = frames(bytes, memory);
        let _ = socket.write_all(&stream);
    } else {
        let _ = socket.write_all(bytes);
    }
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let mut rest = [0; 4096];
    while socket.read(&mut rest).is_ok_and(|count| count > 0) {}
});
