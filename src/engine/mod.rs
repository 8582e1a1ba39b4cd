//! The transfer engine: request -> plan -> dispatch -> progress -> completion.

pub mod batch;
pub mod cq;
pub mod dispatch;
mod few;
pub mod group;
mod meeting;
mod memory;
mod messages;
mod mooncake;
mod neighbour;
pub mod notify;
pub mod peer;
pub mod plan;
mod process;
mod progress;
mod request;
mod routes;
pub mod segment;
mod segments;
mod submit;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::config::Config;
use crate::error::{Code, Context, Result};
use crate::id::Slab;
use crate::metadata::{self, MetadataBackend};
use crate::segment::descriptor::{EngineId, SegmentRecord, to_blob};
use crate::segment::memory::MemoryTable;
use crate::sys::clock;
use crate::sys::reactor::Reactor;
use crate::telemetry::metrics::{Metrics, Stats};
use crate::transport::shm::Host;
use crate::transport::tcp::{Node, Server, ShmSource};
use crate::transport::{ShmOffer, Strangers};
use crate::{bail, fail};

use batch::{Batch, BatchInfo};
use cq::Cq;
use dispatch::Copies;
use mooncake::{Mooncake, Voice};
use notify::Inbox;
use peer::{Peer, View};
use segment::Segment;

/// Most batches, segments and queues of one engine.
const MAX_BATCHES: usize = crate::id::MAX_INDEX;
const MAX_SEGMENTS: usize = 65_536;
const MAX_QUEUES: usize = 4_096;

/// One end of transfers.
pub struct Engine {
    pub config: Config,
    pub id: EngineId,
    pub memory: Arc<MemoryTable>,
    pub metrics: Arc<Metrics>,
    pub reactor: Arc<Reactor>,
    pub inbox: Arc<Inbox>,
    pub copies: Copies,
    node: Arc<Node>,
    server: Option<Arc<Server>>,
    host: Arc<Host>,
    backend: Option<Arc<dyn MetadataBackend>>,
    /// None: only peers of this library are spoken to.
    mooncake: Option<Mooncake>,
    batches: RwLock<Slab<Arc<Batch>>>,
    segments: RwLock<Slab<Arc<Segment>>>,
    queues: RwLock<Slab<Arc<Cq>>>,
    peers: Mutex<HashMap<String, Arc<Peer>>>,
    /// Batches under way that did not end inside submit.
    active: Mutex<Vec<Arc<Batch>>>,
    is_ticking: AtomicBool,
    requests_under_way: AtomicU64,
    is_closed: AtomicBool,
    me: Weak<Engine>,
}

/// What an engine is, for callers.
#[derive(Clone, Debug)]
pub struct EngineInfo {
    pub port: u16,
    pub name: String,
    pub address: String,
    pub engine_id: String,
    pub transports: String,
    pub local_segment: u64,
    pub lanes: u32,
    pub worker_threads: u32,
    pub region_count: u64,
    pub registered_bytes: u64,
    pub segment_count: u64,
    pub batch_count: u64,
    pub notify_count: u64,
}

impl Engine {
    /// Makes an engine whose children carry `tag` in their ids.
    pub fn create(config: Config, tag: u16) -> Result<Arc<Engine>> {
        let backend = config.metadata.as_deref().map(metadata::open).transpose()?;
        let reactor = Arc::new(
            Reactor::start(&config.name, config.worker_threads as usize)
                .context("starting the worker threads")?,
        );
        // Its threads outlive a failure otherwise: what was added to the reactor keeps it alive.
        Engine::assemble(config, tag, backend, reactor.clone()).inspect_err(|_| reactor.stop())
    }

    fn assemble(
        config: Config,
        tag: u16,
        backend: Option<Arc<dyn MetadataBackend>>,
        reactor: Arc<Reactor>,
    ) -> Result<Arc<Engine>> {
        let memory = Arc::new(MemoryTable::new(tag));
        let metrics = Arc::new(Metrics::default());
        let id = EngineId::random();
        let inbox = Arc::new(Inbox::default());
        let node = Node::new(&config, id, memory.clone(), metrics.clone(), reactor.clone(), inbox.clone());
        let host = Host::start(id, memory.clone(), metrics.clone(), reactor.clone());
        node.set_shm(offer_of(&host));
        let mooncake = config
            .speaks_mooncake()
            .then(|| Mooncake::new(&config, memory.clone(), metrics.clone(), reactor.clone()));
        let server = if config.listen {
            let strangers = mooncake.as_ref().map(|side| side.daemon.clone() as Arc<dyn Strangers>);
            let started = Server::start(&config, node.clone(), strangers).and_then(|server| {
                mooncake.iter().try_for_each(|side| side.listen(&config, server.bound()))?;
                Ok(server)
            });
            // The host and the memory that it fences name each other.
            Some(started.inspect_err(|_| {
                host.close();
                memory.close();
            })?)
        } else {
            None
        };
        let engine = Arc::new_cyclic(|me: &Weak<Engine>| Engine {
            id,
            memory,
            metrics,
            reactor,
            inbox,
            copies: Copies::default(),
            node,
            server,
            host,
            backend,
            mooncake,
            batches: RwLock::new(Slab::new("batch", tag, MAX_BATCHES)),
            segments: RwLock::new(Slab::new("segment", tag, MAX_SEGMENTS)),
            queues: RwLock::new(Slab::new("completion queue", tag, MAX_QUEUES)),
            peers: Mutex::default(),
            active: Mutex::new(Vec::with_capacity(64)),
            is_ticking: AtomicBool::new(false),
            requests_under_way: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            me: me.clone(),
            config,
        });
        process::add(id, engine.me.clone());
        if let Some(side) = &engine.mooncake {
            side.daemon.set_answers(Arc::new(Voice(engine.me.clone())));
        }
        engine.reactor.set_clockwork(engine.clock());
        if let Err(error) = engine.announce() {
            engine.destroy();
            return Err(error);
        }
        Ok(engine)
    }

    /// Publishes where this engine is found, and says so in the log.
    fn announce(&self) -> Result<()> {
        let addresses = self.node.addresses();
        if let Some(server) = &self.server {
            tracing::info!(
                "engine {} ({}) listens on {} and tells peers {}; {}",
                self.config.name,
                self.id,
                server.bound(),
                addresses.join(", "),
                if self.config.psk.is_some() {
                    "peers need the key"
                } else {
                    "peers are not authenticated: set a key"
                },
            );
        }
        if let Some(backend) = &self.backend {
            let record = SegmentRecord::of(&self.memory, self.id, &self.config.name, addresses, Some(&[]))?;
            self.claim_name(backend, &to_blob(&record))
                .context(format_args!("publishing engine {:?}", self.config.name))?;
            self.publish_mooncake(backend)?;
        }
        Ok(())
    }

    /// Among Mooncake's engines a name belongs to whoever took it last: one that was killed comes back at once, before its
    /// claim has run out.
    fn claim_name(&self, backend: &Arc<dyn MetadataBackend>, record: &[u8]) -> Result<()> {
        let key = format!("engine/{}", self.config.name);
        match backend.create(&key, record) {
            Err(error) if error.code == Code::AlreadyExists && self.mooncake_name().is_some() => {
                tracing::warn!("taking the name {:?} over: {error}", self.config.name);
                backend.set(&key, record)
            }
            other => other,
        }
    }

    /// Ends the engine: on return no registered buffer is touched on its behalf.
    pub fn destroy(&self) {
        if self.is_closed.swap(true, Ordering::SeqCst) {
            return;
        }
        std::sync::atomic::fence(Ordering::SeqCst);
        if let Some(backend) = &self.backend
            && let Err(error) = backend.remove(&format!("engine/{}", self.config.name))
        {
            tracing::warn!("taking back the name {:?}: {error}", self.config.name);
        }
        self.retract_mooncake();
        process::remove(self.id);
        self.stop_everything();
        if let Some(side) = &self.mooncake {
            side.close();
        }
        if let Some(server) = &self.server {
            server.close();
        }
        let peers: Vec<Arc<Peer>> = self.peers.lock().drain().map(|(_, peer)| peer).collect();
        for peer in &peers {
            peer.close();
        }
        if let Some(side) = &self.mooncake {
            side.errands.close();
            // A peer that was forgotten while a batch waits for it is held by that batch, and the batch by its way there.
            side.hub.close(&fail!(Canceled, "the engine is being destroyed"));
        }
        self.memory.close();
        self.host.close();
        self.inbox.close();
        for queue in self.queues.write().drain() {
            queue.close();
        }
        self.reactor.stop();
        while self.copies.help() {}
        let batches = self.batches.write().drain();
        drop(batches);
        self.active.lock().clear();
        let segments = self.segments.write().drain();
        drop(segments);
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Waits until no batch is under way.
    pub fn drain(&self, timeout: Option<Duration>) -> Result<()> {
        let until = timeout.map_or(u64::MAX, clock::after);
        loop {
            let count = self.batches.read().iter().filter(|(_, batch)| !batch.is_idle()).count();
            if count == 0 {
                return Ok(());
            }
            if clock::now_ns() >= until || self.is_closed() {
                bail!(Busy, "{count} batches are still under way");
            }
            if !self.copies.help() {
                std::thread::sleep(clock::until(until).min(Duration::from_millis(1)));
            }
        }
    }

    pub fn info(&self) -> EngineInfo {
        let (region_count, registered_bytes) = self.memory.count();
        let transports = self.config.transports;
        let names = [
            (transports.local, "local"),
            (transports.memfd, "memfd"),
            (transports.cma, "cma"),
            (transports.tcp, "tcp"),
        ];
        let usable: Vec<&str> = names.iter().filter(|(is_on, _)| *is_on).map(|(_, name)| *name).collect();
        EngineInfo {
            port: self.server.as_ref().map_or(0, |server| server.port()),
            name: self.config.name.clone(),
            address: self.node.addresses().first().cloned().unwrap_or_default(),
            engine_id: self.id.to_string(),
            transports: usable.join(","),
            local_segment: self.local_segment_id(),
            lanes: self.config.lanes,
            worker_threads: self.config.worker_threads,
            region_count,
            registered_bytes,
            segment_count: (self.segments.read().len() as u64).saturating_sub(1),
            batch_count: self.batches.read().len() as u64,
            notify_count: self.inbox.count() as u64,
        }
    }

    /// Under which name engines of Mooncake open this one; None unless they are served. Without a metadata service
    /// that is its address, as there.
    pub fn mooncake_name(&self) -> Option<String> {
        if !self.config.speaks_mooncake() || self.server.is_none() {
            return None;
        }
        match &self.backend {
            Some(_) => Some(self.config.name.clone()),
            None => self.node.addresses().first().cloned(),
        }
    }

    pub fn config_json(&self) -> String {
        self.config.to_json()
    }

    pub fn stats(&self) -> Stats {
        self.host.collect();
        let mut stats = self.metrics.snapshot();
        stats.wakeup_count = self.reactor.wakeups();
        stats
    }

    pub fn metrics_text(&self) -> Result<String> {
        if !self.config.metrics {
            bail!(InvalidState, "metrics are switched off for this engine");
        }
        self.host.collect();
        Ok(self.metrics.prometheus(&self.config.name))
    }

    /// A blob with which a peer can reach this engine and the given regions (all, when None).
    pub fn export(&self, regions: Option<&[u64]>) -> Result<Vec<u8>> {
        let addresses = self.node.addresses();
        SegmentRecord::of(&self.memory, self.id, &self.config.name, addresses, regions)
            .map(|record| to_blob(&record))
    }

    /// A batch did not end while it was posted.
    pub(crate) fn batch_goes_on(&self, requests: usize) {
        self.requests_under_way.fetch_add(requests as u64, Ordering::AcqRel);
    }

    /// The ending of a batch, told by itself; with how many requests it went on after it was posted.
    /// `took` and for how many batches that counts; None: it was not looked.
    pub(crate) fn batch_ended(&self, requests: usize, info: &BatchInfo, took: Option<(Duration, u64)>) {
        if requests > 0 {
            self.requests_under_way.fetch_sub(requests as u64, Ordering::AcqRel);
        }
        self.metrics.completed_count.add(info.completed_count);
        if info.failed_count > 0 {
            self.metrics.failed_count.add(info.failed_count);
        }
        if let Some((took, weight)) = took.filter(|_| self.config.metrics) {
            self.metrics.batch_latency.observe(took, weight);
        }
    }

    fn view_of_self(&self, me: &Arc<Engine>) -> Arc<Segment> {
        let peer = Peer::in_process(self.config.name.clone(), me, me);
        Arc::new(Segment { peer, view: View::Whole })
    }
}

/// Tells where processes of this host find a better way, as soon as somebody asks.
fn offer_of(host: &Arc<Host>) -> ShmSource {
    let host = Arc::downgrade(host);
    Box::new(move || match host.upgrade()?.offer() {
        Ok(offer) => Some(ShmOffer { socket: offer.socket, token: offer.token.to_vec() }),
        Err(error) => {
            tracing::warn!("processes of this host must use the network: {error}");
            None
        }
    })
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.destroy();
    }
}
