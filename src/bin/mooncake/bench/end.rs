//! One end of the library's transfers: an engine, a source and a destination.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use mooncake::config::{Config, Given};
use mooncake::engine::Engine;
use mooncake::segment::memory::MemoryOptions;
use mooncake::sys::memory::Mem;
use serde::{Deserialize, Serialize};

use super::case::Path;
use super::control::Counts;
use super::floors::raw::{self, Mapped};

/// Most looks at counters that do not stand still.
const COUNT_LOOKS: u32 = 100;

/// How to make an end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// The only path that bytes may take.
    pub path: Path,
    /// Bytes of each buffer.
    pub buffer: usize,
    pub has_checksum: bool,
    /// 0: as the library chooses.
    pub lanes: u32,
    pub worker_threads: u32,
}

/// An engine with its buffers. Dropping it destroys the engine before the memory goes.
pub struct End {
    pub engine: Arc<Engine>,
    pub source: Mem,
    pub destination: Mem,
    _mappings: Vec<Mapped>,
}

impl End {
    /// `bind` is the address to listen on.
    pub fn open(setup: &Setup, bind: &str) -> Result<End, String> {
        let engine = open_engine(setup, Some(bind.to_owned()))?;
        let mut mappings = Vec::new();
        let mut buffer = || -> Result<Mem, String> {
            // Only memory of the library's own can be mapped by a peer.
            if setup.path == Path::Memfd {
                let (address, _) =
                    engine.allocate_memory(setup.buffer, &MemoryOptions::default()).map_err(text)?;
                return Ok(raw::allocated(address, setup.buffer));
            }
            let mapped = Mapped::anonymous(setup.buffer)?;
            let mem = mapped.mem();
            engine.register_memory(mem.address(), mem.len(), &MemoryOptions::default()).map_err(text)?;
            mappings.push(mapped);
            Ok(mem)
        };
        let (source, destination) = match (buffer(), buffer()) {
            (Ok(source), Ok(destination)) => (source, destination),
            (Err(error), _) | (_, Err(error)) => {
                engine.destroy();
                return Err(error);
            }
        };
        super::pattern::fill_source(source);
        Ok(End { engine, source, destination, _mappings: mappings })
    }

    pub fn address(&self) -> String {
        self.engine.info().address
    }

    /// The counters once they stand still: a thread of the engine may count a moment after a batch is complete. The
    /// processor time is that of the first look.
    pub fn count(&self) -> Counts {
        let first = Counts::of(&self.engine.stats(), raw::cpu_time());
        let mut counts = first;
        for _ in 0..COUNT_LOOKS {
            std::thread::sleep(Duration::from_millis(1));
            let again = Counts::of(&self.engine.stats(), raw::cpu_time());
            let is_still = again.moved == counts.moved && again.served == counts.served;
            counts = Counts { cpu_seconds: first.cpu_seconds, ..again };
            if is_still {
                break;
            }
        }
        counts
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.engine.destroy();
    }
}

/// An engine without memory. `bind`: where to listen; `None` listens nowhere.
pub fn open_engine(setup: &Setup, bind: Option<String>) -> Result<Arc<Engine>, String> {
    /// Ids of one process's engines differ by their tag.
    static TAG: AtomicU16 = AtomicU16::new(0);
    let given = Given {
        no_listen: bind.is_none(),
        bind_address: bind,
        transports: Some(setup.path.name().to_owned()),
        checksum: if setup.has_checksum { 0 } else { 1 },
        lanes: setup.lanes,
        worker_threads: setup.worker_threads,
        ..Given::default()
    };
    let config = Config::load(given).map_err(text)?;
    let tag = TAG.fetch_add(1, Ordering::Relaxed) % mooncake::id::ROOT_TAGS as u16;
    Engine::create(config, tag).map_err(text)
}

/// What the program shows of an error of the library.
pub fn text(error: mooncake::error::Error) -> String {
    error.to_string()
}
