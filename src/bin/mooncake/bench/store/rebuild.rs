//! A master is killed, and the next one finds out from the nodes what there is.

use std::time::{Duration, Instant};

use mooncake::store::client::{GetOptions, Put, PutOptions, Store, Wanted};
use mooncake::sys::memory::Mem;

use super::super::end::text;
use super::cases::node_arguments;
use super::processes::{Process, wait_for};

const NODES: usize = 4;
/// Objects of one call.
const TOGETHER: u64 = 2048;
const PATIENCE: Duration = Duration::from_secs(60);

/// How long it took from when the new master listened.
pub struct Rebuilt {
    pub first_read: Duration,
    /// Until it serves: every object is known, and a key that is not known is known not to be there.
    pub whole: Duration,
}

/// Puts `objects` small objects on four nodes, kills the master and starts another one.
pub fn run(
    objects: u64,
    open: impl Fn(&str) -> Result<std::sync::Arc<Store>, String>,
) -> Result<Rebuilt, String> {
    let mut master = Process::start(&["--role", "master"])?;
    let arguments = node_arguments(&master, (objects as usize * 160 / NODES).max(16 << 20));
    let arguments = arguments.each_ref().map(String::as_str);
    let _nodes = (0..NODES).map(|_| Process::start(&arguments)).collect::<Result<Vec<_>, _>>()?;
    let store = open(&master.address)?;
    wait_for(&store, NODES)?;
    let bytes = [9u8; 64];
    let pieces = [Mem::of(&bytes)];
    let mut first = 0;
    while first < objects {
        let keys: Vec<Vec<u8>> = (first..objects.min(first + TOGETHER)).map(key).collect();
        let puts: Vec<Put<'_>> = keys.iter().map(|key| Put { key, from: &pieces }).collect();
        for result in store.put(&puts, &PutOptions::default()) {
            result.map_err(|failure| text(failure.error))?;
        }
        first += TOGETHER;
        if first % (TOGETHER * 64) == 0 {
            eprintln!("{first} of {objects} objects");
        }
    }
    master.kill();
    let port = master.address.rsplit(':').next().unwrap_or("0").to_owned();
    let _next = Process::start(&["--role", "master", "--port", &port])?;
    let begun = Instant::now();
    let room = [0u8; 64];
    let into = [Mem::of(&room)];
    let fresh = GetOptions { fresh: true, deadline: Some(PATIENCE) };
    let got = store.get(&[(&key(objects / 2), Wanted::Whole(&into))], &fresh).remove(0);
    got.map_err(|failure| text(failure.error))?;
    let first_read = begun.elapsed();
    loop {
        let unknown = store.exists(&[b"there is no such key"], false, Some(PATIENCE)).remove(0);
        match unknown.map_err(|failure| failure.code()) {
            Err(mooncake::error::Code::NotFound) => break,
            _ if begun.elapsed() > PATIENCE => return Err("the new master does not serve".into()),
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    let whole = begun.elapsed();
    let keys: Vec<Vec<u8>> = (0..objects).step_by((objects / 1000).max(1) as usize).map(key).collect();
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let lost = store.exists(&keys, false, None).iter().filter(|result| result.is_err()).count();
    if lost > 0 {
        return Err(format!("{lost} of {} objects that were looked for are lost", keys.len()));
    }
    Ok(Rebuilt { first_read, whole })
}

fn key(number: u64) -> Vec<u8> {
    format!("rebuild-{number:036}").into_bytes()
}
