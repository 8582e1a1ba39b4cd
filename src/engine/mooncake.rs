//! This engine among Mooncake's: what it tells of itself, where it takes their handshakes and their data.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::Engine;
use super::notify::Message;
use crate::config::Config;
use crate::error::{Context, Result};
use crate::metadata::MetadataBackend;
use crate::segment::descriptor::EngineId;
use crate::segment::memory::MemoryTable;
use crate::segment::mooncake::{
    Buffer, MooncakeSegment, Native, PROTOCOL_VERSION, RpcAddress, rpc_key, segment_key,
};
use crate::sys::errands::Errands;
use crate::sys::reactor::Reactor;
use crate::telemetry::metrics::Metrics;
use crate::transport::mooncake::{Answers, Daemon, Hub, Target};
use crate::{bail, fail};

/// What an engine has for Mooncake's.
pub struct Mooncake {
    pub hub: Arc<Hub>,
    pub errands: Errands,
    pub cluster: Option<String>,
    pub daemon: Arc<Daemon>,
    target: OnceLock<Arc<Target>>,
    /// Version of the memory table that is published.
    published: AtomicU64,
    publishing: Mutex<()>,
}

impl Mooncake {
    pub fn new(
        config: &Config,
        memory: Arc<MemoryTable>,
        metrics: Arc<Metrics>,
        reactor: Arc<Reactor>,
    ) -> Mooncake {
        let daemon = Daemon::new(reactor.clone(), metrics.clone());
        Mooncake {
            hub: Hub::new(memory, metrics, reactor, config.lanes as usize, config.keepalive),
            errands: Errands::default(),
            cluster: config.metadata_cluster.clone(),
            daemon,
            target: OnceLock::new(),
            published: AtomicU64::new(0),
            publishing: Mutex::new(()),
        }
    }

    /// Listens for data beside the port for everything else.
    pub fn listen(&self, config: &Config, bound: SocketAddr) -> Result<()> {
        // The one port that is given is taken by then.
        let ports = if config.port == config.port_last { 0..=0 } else { config.port..=config.port_last };
        let target = Target::start(self.hub.clone(), bound.ip(), ports)?;
        // Listens once, when the engine is made.
        let _ = self.target.set(target);
        Ok(())
    }

    pub fn data_port(&self) -> Option<u16> {
        self.target.get().map(|target| target.port())
    }

    pub fn close(&self) {
        if let Some(target) = self.target.get() {
            target.close();
        }
    }
}

impl Engine {
    /// Does something on a thread that may block.
    pub(super) fn errand(&self, errand: impl FnOnce() + Send + 'static) -> Result<()> {
        match &self.mooncake {
            Some(side) => side.errands.run(errand),
            None => bail!(Unsupported, "compat is off"),
        }
    }

    /// Where handshakes of this engine are taken, as peers are told.
    pub(super) fn rpc_address(&self) -> Option<RpcAddress> {
        self.node.addresses().first().and_then(|address| RpcAddress::parse(address))
    }

    /// The JSON of this engine's segment.
    pub(super) fn mooncake_segment(&self) -> Result<String> {
        let (Some(side), Some(name)) = (&self.mooncake, self.mooncake_name()) else {
            bail!(InvalidState, "engines of Mooncake are not served");
        };
        let buffer = |region: &Arc<crate::segment::memory::Region>| Buffer {
            address: region.mem.address() as u64,
            length: region.mem.len() as u64,
        };
        let segment = MooncakeSegment {
            name,
            data_host: self.rpc_address().map(|address| address.host),
            data_port: side.data_port().ok_or_else(|| fail!(InvalidState, "not listening"))?,
            protocol_version: PROTOCOL_VERSION,
            buffers: self.memory.offered().iter().map(buffer).collect(),
            native: Some(Native { id: self.id, addresses: self.node.addresses() }),
        };
        Ok(segment.to_json(&timestamp(SystemTime::now())).to_string())
    }

    /// Publishes the engine for the first time: where it is, and what it offers.
    pub(super) fn publish_mooncake(&self, backend: &Arc<dyn MetadataBackend>) -> Result<()> {
        let (Some(side), Some(name)) = (&self.mooncake, self.mooncake_name()) else { return Ok(()) };
        let Some(address) = self.rpc_address() else { return Ok(()) };
        let key = rpc_key(side.cluster.as_deref(), &name);
        // Of an engine of that name that ended without taking it back; some services refuse a second one.
        backend.remove(&key).context("removing an old address")?;
        backend
            .set(&key, address.to_json().to_string().as_bytes())
            .context("publishing where the engine is")?;
        self.publish_memory()
    }

    /// Publishes what is registered now, unless somebody did meanwhile. Returns when it can be read.
    pub(super) fn publish_memory(&self) -> Result<()> {
        let (Some(side), Some(backend), Some(name)) = (&self.mooncake, &self.backend, self.mooncake_name())
        else {
            return Ok(());
        };
        let wanted = self.memory.version();
        let _one_at_a_time = side.publishing.lock();
        if side.published.load(Ordering::Acquire) >= wanted || self.is_closed() {
            return Ok(());
        }
        // Whatever comes while this is under way is published by whoever waits for the lock.
        let version = self.memory.version();
        let json = self.mooncake_segment()?;
        backend
            .set(&segment_key(side.cluster.as_deref(), &name), json.as_bytes())
            .context("publishing what is registered")?;
        side.published.store(version, Ordering::Release);
        Ok(())
    }

    /// Takes back what was published.
    pub(super) fn retract_mooncake(&self) {
        let (Some(side), Some(backend)) = (&self.mooncake, &self.backend) else { return };
        let _one_at_a_time = side.publishing.lock();
        let (name, cluster) = (&self.config.name, side.cluster.as_deref());
        for key in [segment_key(cluster, name), rpc_key(cluster, name)] {
            if let Err(error) = backend.remove(&key) {
                tracing::warn!("taking back {key}: {error}");
            }
        }
    }
}

/// Answers for an engine that may be gone.
pub struct Voice(pub Weak<Engine>);

impl Answers for Voice {
    fn segment(&self) -> Result<String> {
        let engine = self.0.upgrade().ok_or_else(|| fail!(InvalidHandle, "the engine is being destroyed"))?;
        engine.mooncake_segment()
    }

    fn notified(&self, name: String, message: String, from: String) -> Result<()> {
        let engine = self.0.upgrade().ok_or_else(|| fail!(InvalidHandle, "the engine is being destroyed"))?;
        engine.metrics.notify_count.increment();
        let sender_id = EngineId::default().to_string();
        engine.inbox.put(Message { tag: name, sender: from, sender_id, data: message.into_bytes() })
    }
}

/// "2026-11-21 15:00:00.000001", as Mooncake writes it; in UTC.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Years that begin in March: the leap day is their last.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:06}", since.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timestamps_are_dates() {
        let at = |seconds| timestamp(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(7));
        assert_eq!(at(0), "1970-01-01 00:00:00.000007");
        assert_eq!(at(951_782_400), "2000-02-29 00:00:00.000007");
        assert_eq!(at(1_795_271_425), "2026-11-21 14:30:25.000007");
    }
}
