//! Posting a prepared batch, polling, waiting and taking completions allocate nothing in the steady state.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

use mooncake::ffi::batch::*;
use mooncake::ffi::cq::*;
use mooncake::ffi::engine::*;
use mooncake::ffi::memory::*;
use mooncake::ffi::segment::*;
use mooncake::ffi::status::MC_OK;

/// Counts what each thread asks for.
struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that is ending has no counter any more, and is none of ours.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: everything is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What this thread allocated and freed during `act`.
fn counted(act: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    act();
    COUNT.get() - before
}

const REQUESTS: usize = 16;
const LENGTH: usize = 4096;

/// Two engines that reach each other by one transport, and requests from one to the other.
struct World {
    engine: *mut mc_engine_t,
    peer: *mut mc_engine_t,
    source: Vec<u8>,
    target: Vec<u8>,
    segment: mc_segment_t,
    cq: mc_cq_t,
}

fn sized<T: Copy>() -> T {
    // SAFETY: the structs of the C interface are valid when zero, and start with their size.
    unsafe {
        let mut value: T = std::mem::zeroed();
        (&raw mut value).cast::<u32>().write(size_of::<T>() as u32);
        value
    }
}

fn engine(transports: &std::ffi::CStr) -> *mut mc_engine_t {
    let mut options: mc_engine_options_t = sized();
    options.flags = MC_ENGINE_FLAG_NO_ENVIRONMENT;
    options.bind_address = c"127.0.0.1".as_ptr();
    options.transports = transports.as_ptr();
    let mut engine = null_mut();
    // SAFETY: the options and the output live during the call.
    assert_eq!(unsafe { mc_engine_create(&options, &mut engine) }, MC_OK);
    engine
}

impl World {
    fn new(transports: &std::ffi::CStr) -> World {
        let mut world = World {
            engine: engine(transports),
            peer: engine(transports),
            source: (0..REQUESTS * LENGTH).map(|index| index as u8).collect(),
            target: vec![0; REQUESTS * LENGTH],
            segment: 0,
            cq: 0,
        };
        let mut info: mc_engine_info_t = sized();
        let mut region = 0;
        // SAFETY: all memory outlives the world's engines; the outputs live during the calls.
        unsafe {
            assert_eq!(mc_engine_get_info(world.peer, &mut info), MC_OK);
            assert_eq!(mc_segment_open(world.engine, info.address.as_ptr(), -1, &mut world.segment), MC_OK);
            let (source, target) = (world.source.as_mut_ptr().cast(), world.target.as_mut_ptr().cast());
            assert_eq!(
                mc_memory_register(world.engine, source, world.source.len(), null(), &mut region),
                MC_OK
            );
            assert_eq!(
                mc_memory_register(world.peer, target, world.target.len(), null(), &mut region),
                MC_OK
            );
            assert_eq!(mc_cq_create(world.engine, null(), &mut world.cq), MC_OK);
        }
        world
    }

    fn requests(&mut self) -> Vec<mc_request_t> {
        (0..REQUESTS)
            .map(|index| mc_request_t {
                opcode: MC_OPCODE_WRITE,
                flags: 0,
                segment: self.segment,
                remote: self.target.as_ptr() as u64 + (index * LENGTH) as u64,
                local: self.source[index * LENGTH..].as_mut_ptr().cast::<c_void>(),
                length: LENGTH as u64,
                spans: null(),
                span_count: 0,
                user_data: index as u64,
            })
            .collect()
    }

    fn prepare(&mut self) -> mc_batch_t {
        let requests = self.requests();
        let mut options: mc_batch_options_t = sized();
        options.cq = self.cq;
        let mut batch = 0;
        // SAFETY: requests and options live during the call.
        let status =
            unsafe { mc_batch_prepare(self.engine, requests.as_ptr(), REQUESTS, &options, &mut batch) };
        assert_eq!(status, MC_OK);
        batch
    }

    /// One post, looked at in every way there is.
    fn go_round(&self, batch: mc_batch_t) {
        let mut info: mc_batch_info_t = sized();
        // SAFETY: zeros are a valid completion.
        let mut items: [mc_completion_t; REQUESTS] = unsafe { std::mem::zeroed() };
        // SAFETY: the outputs live during the calls.
        unsafe {
            assert_eq!(mc_batch_post(self.engine, batch), MC_OK);
            assert_eq!(mc_batch_poll(self.engine, batch, &mut info), MC_OK);
            assert_eq!(mc_batch_wait(self.engine, batch, -1, &mut info), MC_OK);
            assert_eq!(mc_batch_task(self.engine, batch, 3, &mut items[0]), MC_OK);
            let (mut have, mut taken) = (0, 0);
            while have < REQUESTS {
                assert_eq!(mc_cq_poll(self.engine, self.cq, items.as_mut_ptr(), REQUESTS, &mut taken), MC_OK);
                have += taken;
            }
        }
        assert!(info.is_done && info.completed_count == REQUESTS as u64);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        assert_eq!(mc_engine_destroy(self.engine), MC_OK);
        assert_eq!(mc_engine_destroy(self.peer), MC_OK);
    }
}

fn a_post_allocates_nothing_over(transports: &std::ffi::CStr) {
    let mut world = World::new(transports);
    let batch = world.prepare();
    // Until buffers have their size: first posts meet the peer and fill spare lists.
    (0..200).for_each(|_| world.go_round(batch));
    world.target.fill(0);
    let allocations = counted(|| (0..1000).for_each(|_| world.go_round(batch)));
    assert_eq!(allocations, 0, "in 1,000 posts over {transports:?}");
    assert!(world.target == world.source, "the posts moved nothing");
    assert_eq!(mc_batch_release(world.engine, batch), MC_OK);
}

#[test]
fn the_counter_counts() {
    assert!(counted(|| drop(std::hint::black_box(vec![1, 2, 3]))) >= 2);
}

#[test]
fn a_post_in_the_same_process_allocates_nothing() {
    a_post_allocates_nothing_over(c"local");
}

#[test]
fn a_post_over_tcp_allocates_nothing() {
    a_post_allocates_nothing_over(c"tcp");
}
