//! A way to a master that loses, holds back and breaks off what goes through it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use mooncake::sys::clock;
use mooncake::sys::splitmix::Random;

const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// How often a pump looks whether the proxy ended.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Shared {
    target: Mutex<Option<SocketAddr>>,
    is_faulty: AtomicBool,
    is_over: AtomicBool,
    hole_until_ns: AtomicU64,
    /// How often all connections were cut.
    cuts: AtomicU64,
    connections: AtomicU64,
    resets: AtomicU64,
    delays: AtomicU64,
}

pub struct Proxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Leads nowhere until it has a target.
    pub fn start(seed: u64, is_faulty: bool) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        shared.is_faulty.store(is_faulty, Ordering::Relaxed);
        let accepting = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepting.is_over.load(Ordering::Relaxed) {
                    break;
                }
                let (shared, chance) = (accepting.clone(), Random::new(seed ^ connection(&accepting)));
                thread::spawn(move || lead(&shared, &stream, chance));
            }
        });
        Proxy { address, shared }
    }

    /// Where new connections lead to.
    pub fn aim(&self, target: Option<SocketAddr>) {
        *self.shared.target.lock().expect("no panic") = target;
    }

    /// Ends all connections, and leads nowhere.
    pub fn cut(&self) {
        self.aim(None);
        self.shared.cuts.fetch_add(1, Ordering::Relaxed);
    }

    /// For so long nothing comes through.
    pub fn swallow(&self, time: Duration) {
        self.shared.hole_until_ns.store(clock::after(time), Ordering::Relaxed);
    }

    /// From here on it does no harm.
    pub fn heal(&self) {
        self.shared.is_faulty.store(false, Ordering::Relaxed);
        self.shared.hole_until_ns.store(0, Ordering::Relaxed);
    }

    /// How many connections it reset, and how often it held something back.
    pub fn harm(&self) -> (u64, u64) {
        (self.shared.resets.load(Ordering::Relaxed), self.shared.delays.load(Ordering::Relaxed))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // It wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn connection(shared: &Shared) -> u64 {
    shared.connections.fetch_add(1, Ordering::Relaxed) << 8
}

fn lead(shared: &Arc<Shared>, near: &TcpStream, mut chance: Random) {
    let target = *shared.target.lock().expect("no panic");
    let Some(far) = target.and_then(|target| TcpStream::connect_timeout(&target, CONNECT_WITHIN).ok()) else {
        return;
    };
    let back = Random::new(chance.bits());
    for stream in [near, &far] {
        stream.set_nodelay(true).expect("TCP");
        stream.set_read_timeout(Some(LOOK_EVERY)).expect("TCP");
    }
    thread::scope(|scope| {
        scope.spawn(|| pump(shared, &far, near, back));
        pump(shared, near, &far, chance);
    });
}

/// Until one of them ends. What was taken from one is given to the other even if the one is gone meanwhile.
fn pump(shared: &Shared, mut from: &TcpStream, mut to: &TcpStream, mut chance: Random) {
    let mut buffer = vec![0; 64 << 10];
    let cuts = shared.cuts.load(Ordering::Relaxed);
    while cuts == shared.cuts.load(Ordering::Relaxed) {
        let length = match from.read(&mut buffer) {
            Ok(0) | Err(_) if shared.is_over.load(Ordering::Relaxed) => break,
            Err(error) if is_patience(&error) => continue,
            Ok(0) | Err(_) => break,
            Ok(length) => length,
        };
        let harm = chance.below(1000);
        if shared.is_faulty.load(Ordering::Relaxed) {
            if harm < 4 {
                shared.resets.fetch_add(1, Ordering::Relaxed);
                break;
            }
            if harm < 20 {
                shared.delays.fetch_add(1, Ordering::Relaxed);
                // Some of it comes when the caller has long asked again on another connection.
                let (shortest, longest) = if harm < 16 { (1, 300) } else { (2_000, 6_000) };
                thread::sleep(Duration::from_millis(chance.between(shortest, longest)));
            }
        }
        let mut was_swallowed = false;
        while clock::now_ns() < shared.hole_until_ns.load(Ordering::Relaxed) {
            was_swallowed = true;
            thread::sleep(Duration::from_millis(10));
        }
        // What comes out of a hole is late, or lost with its connection.
        if was_swallowed && chance.happens(500) || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn is_patience(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut | std::io::ErrorKind::Interrupted
    )
}
