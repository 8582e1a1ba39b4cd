//! A peer: who it is, what it offers, and which paths lead there. Runs that wait for that knowledge are parked here.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::Engine;
use super::dispatch;
use super::neighbour::{Neighbour, OPENING_NS};
use super::routes::{Routes, Short};
use crate::error::{Code, Error, Result};
use crate::segment::descriptor::{Descriptor, EngineId, SegmentRecord};
use crate::segment::memory::MemoryTable;
use crate::sys::clock;
use crate::transport::local::LocalPath;
use crate::transport::shm::{Attachment, Events};
use crate::transport::{Contact, ContactEvents, Greeting, Outcome, Owner, Path, Run, ShmOffer, same_owner};
use crate::{bail, fail};

#[derive(Default)]
struct Knowledge {
    /// Who answered, last time.
    greeting: Option<Greeting>,
    descriptor: Option<Arc<Descriptor>>,
    local: Option<Arc<LocalPath>>,
    /// The engine behind `local`.
    target: Weak<Engine>,
    met_ns: u64,
    restarts: u32,
}

/// A run that waits until the peer is met, or its regions are known anew.
struct Parked {
    run: Run,
    view: View,
    /// The regions were asked for again on behalf of this run: what is missing then does not exist.
    is_last_try: bool,
}

/// Which paths a run may take.
#[derive(Clone, Copy)]
enum Way {
    Shortest,
    /// A shorter one did not work.
    Network,
}

/// Which regions of the peer a segment shows.
#[derive(Clone)]
pub enum View {
    /// All that the peer offers, kept fresh.
    Whole,
    /// Those of a blob, from one life of the peer.
    Blob(EngineId, Arc<Descriptor>),
}

pub struct Peer {
    /// How callers name it.
    pub label: String,
    engine: Weak<Engine>,
    /// None: the peer is in this process and was found there.
    contact: Option<Arc<dyn Contact>>,
    known: RwLock<Knowledge>,
    neighbour: Neighbour,
    /// What `known` and `neighbour` come to; None when one of them changed since.
    routes: RwLock<Option<Arc<Routes>>>,
    /// How often they changed.
    changes: AtomicU64,
    parked: Mutex<Vec<Parked>>,
    pub open_segments: AtomicUsize,
    me: Weak<Peer>,
}

/// What is known of a peer, for callers.
#[derive(Clone, Debug, Default)]
pub struct PeerInfo {
    pub name: String,
    pub id: Option<EngineId>,
    pub restarts: u32,
    pub lanes: u32,
}

impl Peer {
    /// A peer elsewhere.
    pub fn new(
        label: String,
        engine: &Arc<Engine>,
        contact: impl FnOnce(Weak<dyn ContactEvents>) -> Arc<dyn Contact>,
    ) -> Arc<Peer> {
        Arc::new_cyclic(|me: &Weak<Peer>| Peer {
            label,
            engine: Arc::downgrade(engine),
            contact: Some(contact(me.clone() as Weak<dyn ContactEvents>)),
            known: RwLock::default(),
            neighbour: Neighbour::default(),
            routes: RwLock::default(),
            changes: AtomicU64::new(0),
            parked: Mutex::default(),
            open_segments: AtomicUsize::new(0),
            me: me.clone(),
        })
    }

    /// An engine of this process.
    pub fn in_process(label: String, engine: &Arc<Engine>, target: &Arc<Engine>) -> Arc<Peer> {
        let peer = Peer {
            label,
            engine: Arc::downgrade(engine),
            contact: None,
            known: RwLock::default(),
            neighbour: Neighbour::default(),
            routes: RwLock::default(),
            changes: AtomicU64::new(0),
            parked: Mutex::default(),
            open_segments: AtomicUsize::new(0),
            me: Weak::new(),
        };
        peer.learn_local(engine, target);
        Arc::new(peer)
    }

    fn learn_local(&self, engine: &Engine, target: &Engine) {
        let path = LocalPath::new(target.memory.clone(), engine.metrics.clone(), target.metrics.clone());
        let mut known = self.known.write();
        known.greeting = Some(Greeting { id: target.id, name: target.config.name.clone() });
        known.local = Some(Arc::new(path));
        known.target = target.me.clone();
        known.met_ns = clock::now_ns();
        drop(known);
        self.changed();
    }

    /// The routes are to be found out anew.
    fn changed(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        let before = self.routes.write().take();
        drop(before);
    }

    /// None before the peer was met.
    fn routes(&self) -> Option<Arc<Routes>> {
        if let Some(routes) = &*self.routes.read() {
            return Some(routes.clone());
        }
        self.find_routes()
    }

    #[cold]
    fn find_routes(&self) -> Option<Arc<Routes>> {
        let changes = self.changes.load(Ordering::Acquire);
        let transports = self.engine.upgrade()?.config.transports;
        let known = self.known.read();
        let id = known.greeting.as_ref()?.id;
        let routes = match &known.local {
            Some(path) => Routes {
                id,
                regions: Arc::default(),
                local: Some(path.target().clone()),
                short: Short { mapped: None, any: transports.local.then(|| path.clone() as _) },
                network: self.contact.clone().filter(|_| transports.tcp).map(|contact| contact as _),
            },
            None => Routes {
                id,
                regions: known.descriptor.clone()?,
                local: None,
                short: self.neighbour.paths(id),
                network: self.contact.clone().filter(|_| transports.tcp).map(|contact| contact as _),
            },
        };
        drop(known);
        let routes = Arc::new(routes);
        let mut current = self.routes.write();
        // What changed meanwhile is looked at by the next.
        if self.changes.load(Ordering::Acquire) == changes {
            *current = Some(routes.clone());
        }
        Some(routes)
    }

    pub fn engine(&self) -> Option<Arc<Engine>> {
        self.engine.upgrade()
    }

    pub fn contact(&self) -> Option<&Arc<dyn Contact>> {
        self.contact.as_ref()
    }

    pub fn id(&self) -> Option<EngineId> {
        self.known.read().greeting.as_ref().map(|greeting| greeting.id)
    }

    /// The engine, when it lives in this process.
    pub fn local_engine(&self) -> Option<Arc<Engine>> {
        let known = self.known.read();
        known.local.as_ref()?;
        known.target.upgrade().filter(|target| !target.is_closed())
    }

    pub fn info(&self) -> PeerInfo {
        let known = self.known.read();
        PeerInfo {
            name: known.greeting.as_ref().map_or_else(String::new, |greeting| greeting.name.clone()),
            id: known.greeting.as_ref().map(|greeting| greeting.id),
            restarts: known.restarts,
            lanes: self.contact.as_ref().map_or(0, |contact| contact.lane_count()),
        }
    }

    pub fn met_since(&self) -> Duration {
        Duration::from_nanos(clock::now_ns().saturating_sub(self.known.read().met_ns))
    }

    /// What the peer offers, as known now.
    pub fn descriptor(&self) -> Option<Arc<Descriptor>> {
        if let Some(target) = self.local_engine() {
            return local_descriptor(&target).ok();
        }
        self.known.read().descriptor.clone()
    }

    /// Whether the peer was met and its regions are known.
    pub fn is_met(&self) -> bool {
        let known = self.known.read();
        known.local.is_some() || known.descriptor.is_some()
    }

    /// Sends a run on its way, or parks it until enough is known.
    pub fn route(&self, run: Run, view: &View, is_last_try: bool) {
        if self.neighbour.is_opening() {
            return self.park_until_opened(run, view, is_last_try);
        }
        self.send_resolved(run, view, is_last_try, Way::Shortest);
    }

    fn send_resolved(&self, run: Run, view: &View, is_last_try: bool, way: Way) {
        let Some(routes) = self.routes() else { return self.park(run, view, false) };
        if let Some(memory) = &routes.local {
            return self.route_local(run, view, &routes, memory);
        }
        let regions: &Descriptor = match view {
            View::Whole => &routes.regions,
            View::Blob(id, regions) if *id == routes.id => regions,
            View::Blob(..) => return self.fail_restarted(&run),
        };
        let send = |run, is_mappable| match (way, routes.short.to(is_mappable)) {
            (Way::Shortest, Some(path)) => self.send(run, Some(path)),
            (Way::Shortest, None) if !is_last_try => self.send_far(run, view, &routes),
            _ => self.send(run, routes.network.as_ref()),
        };
        for run in dispatch::resolve(run, regions, send) {
            if matches!(view, View::Blob(..)) || is_last_try {
                self.fail_unknown(&run);
            } else {
                self.park(run, view, true);
            }
        }
    }

    /// Sends a run over the network, and asks a neighbour that was lost whether it is back.
    fn send_far(&self, run: Run, view: &View, routes: &Routes) {
        if self.neighbour.is_worth_a_try(routes.network.is_some()) {
            // Its regions are asked for anew, and with them comes its offer.
            match &self.contact {
                Some(contact) if routes.network.is_some() => contact.describe(),
                _ => return self.park(run, view, true),
            }
        }
        self.send(run, routes.network.as_ref());
    }

    fn route_local(&self, run: Run, view: &View, routes: &Routes, memory: &MemoryTable) {
        if matches!(view, View::Whole) && dispatch::resolve_local(&run, memory) {
            return self.send(run, routes.to(false));
        }
        let Some(target) = self.local_engine() else {
            // Destroyed. Another one may listen at its address by now.
            let mut known = self.known.write();
            known.local = None;
            known.descriptor = None;
            drop(known);
            self.changed();
            return self.park(run, view, true);
        };
        let regions = match view {
            // Some range is unknown: let the others pass.
            View::Whole => local_descriptor(&target),
            View::Blob(id, regions) if *id == target.id => Ok(regions.clone()),
            View::Blob(..) => return self.fail_restarted(&run),
        };
        match regions {
            Ok(regions) => {
                for run in dispatch::resolve(run, &regions, |run, _| self.send(run, routes.to(false))) {
                    self.fail_unknown(&run);
                }
            }
            Err(error) => run.complete(Outcome::Failed(error.code), &|| error.message().to_owned()),
        }
    }

    fn send(&self, run: Run, path: Option<&Arc<dyn Path>>) {
        let Some(path) = path else {
            return run.complete(Outcome::Failed(Code::Unreachable), &|| {
                format!("no allowed transport reaches {}: see the option \"transports\"", self.label)
            });
        };
        if dispatch::is_short(path.kind(), &run) {
            return path.submit(run);
        }
        match self.engine.upgrade() {
            Some(engine) => engine.copies.submit(&engine, path.clone(), run),
            None => run.complete(Outcome::Failed(Code::InvalidHandle), &|| "the engine was destroyed".into()),
        }
    }

    fn fail_restarted(&self, run: &Run) {
        run.complete(Outcome::Failed(Code::PeerRestarted), &|| {
            format!("{} restarted since its blob was exported: exchange blobs again", self.label)
        });
    }

    fn fail_unknown(&self, run: &Run) {
        run.complete(Outcome::Failed(Code::AddressNotRegistered), &|| {
            let slice = &run.slices()[0];
            format!("{} offers no region that holds {} bytes at {:#x}", self.label, slice.len(), slice.remote)
        });
    }

    fn park(&self, run: Run, view: &View, refresh: bool) {
        let Some(contact) = &self.contact else {
            return run.complete(Outcome::Failed(Code::Unreachable), &|| format!("{} is gone", self.label));
        };
        run.owner.deadline_ns();
        self.parked.lock().push(Parked { run, view: view.clone(), is_last_try: refresh });
        if refresh {
            contact.describe();
            return;
        }
        contact.meet();
        // Whoever met the peer before the run stood here did not see it.
        if self.routes().is_some() && !self.neighbour.is_opening() {
            self.unpark();
        }
    }

    /// Parks a run while it is found out whether the peer is on this host.
    fn park_until_opened(&self, run: Run, view: &View, is_last_try: bool) {
        self.parked.lock().push(Parked { run, view: view.clone(), is_last_try });
        // Whoever found out before the run stood here did not see it.
        if !self.neighbour.is_opening() {
            self.unpark();
        }
    }

    fn unpark(&self) {
        let parked = std::mem::take(&mut *self.parked.lock());
        for Parked { run, view, is_last_try } in parked {
            self.route(run, &view, is_last_try);
        }
    }

    fn fail_parked(&self, code: Code, text: &str) {
        let parked = std::mem::take(&mut *self.parked.lock());
        for parked in parked {
            parked.run.complete(Outcome::Failed(code), &|| text.to_owned());
        }
    }

    /// A slice came back: its path does not work, or its region is not there any more. True when it goes another way.
    pub fn reroute(&self, run: Run, view: &View, outcome: Outcome) -> bool {
        if matches!(view, View::Blob(..)) && outcome != Outcome::Reroute {
            return false;
        }
        if self.contact.is_none() {
            return false;
        }
        match outcome {
            Outcome::Reroute => self.send_resolved(run, view, false, Way::Network),
            _ => self.park(run, view, true),
        }
        true
    }

    /// The batch was stopped: completes whatever of it waits here or was not sent.
    pub fn prune(&self, owner: &Arc<dyn Owner>, epoch: u32, reason: Code) {
        let mut mine = Vec::new();
        self.parked.lock().retain_mut(|parked| {
            let is_mine = same_owner(&parked.run.owner, owner) && parked.run.epoch == epoch;
            if is_mine {
                mine.push(parked.run.clone());
            }
            !is_mine
        });
        if !mine.is_empty() {
            self.neighbour.hurry();
        }
        for run in mine {
            run.complete(Outcome::Failed(reason), &|| format!("stopped before {} was met", self.label));
        }
        self.neighbour.give_up(owner, epoch);
        if let Some(contact) = &self.contact {
            contact.prune(owner, epoch);
        }
    }

    pub fn abandon(&self, owner: &Arc<dyn Owner>, epoch: u32) {
        self.neighbour.give_up(owner, epoch);
        if let Some(contact) = &self.contact {
            contact.abandon(owner, epoch);
        }
    }

    /// Waits until the peer was met.
    pub fn meet(&self, until_ns: u64) -> Result<()> {
        if self.is_met() {
            return Ok(());
        }
        match &self.contact {
            Some(contact) => {
                contact.wait_met(until_ns)?;
                // Only so that whoever asks for the path hears of the one that will be taken.
                self.neighbour.wait_decided(until_ns.min(clock::now_ns() + OPENING_NS));
                Ok(())
            }
            None => Err(fail!(Unreachable, "{} is gone", self.label)),
        }
    }

    /// Learns the peer's regions anew.
    pub fn refresh(&self, until_ns: u64) -> Result<()> {
        match &self.contact {
            None => Ok(()),
            Some(contact) => contact.wait_described(until_ns),
        }
    }

    /// Closes what stands when nobody needs it any more.
    pub fn close(&self) {
        if let Some(contact) = &self.contact {
            contact.close();
        }
        self.neighbour.close();
        self.changed();
        self.fail_parked(Code::Canceled, "the segment was closed");
    }

    pub fn path_name(&self, is_mappable: bool) -> &'static str {
        self.routes()
            .as_ref()
            .and_then(|routes| routes.to(is_mappable))
            .map_or("none", |path| path.kind().name())
    }
}

fn local_descriptor(target: &Engine) -> Result<Arc<Descriptor>> {
    let record = SegmentRecord::of(&target.memory, target.id, &target.config.name, Vec::new(), None)?;
    Descriptor::from_record(record).map(Arc::new)
}

impl ContactEvents for Peer {
    fn met(&self, greeting: Greeting, record: SegmentRecord, offer: Option<ShmOffer>) -> Result<()> {
        let Some(engine) = self.engine.upgrade() else { bail!(InvalidHandle, "the engine is gone") };
        let descriptor = Arc::new(Descriptor::from_record(record)?);
        let id = greeting.id;
        let target = super::process::find(id).filter(|_| engine.config.transports.local);
        let offer = offer.filter(|_| target.is_none());
        let offer = self.neighbour.expect(engine.config.transports, id, offer);
        let mut known = self.known.write();
        let is_new = known.greeting.as_ref().is_none_or(|old| old.id != greeting.id);
        if is_new {
            if known.greeting.is_some() {
                known.restarts += 1;
                tracing::info!("{} restarted: {} is now {}", self.label, greeting.name, greeting.id);
            }
            known.met_ns = clock::now_ns();
            known.local = None;
        }
        known.greeting = Some(greeting);
        known.descriptor = Some(descriptor);
        drop(known);
        self.changed();
        if let Some(target) = target {
            self.learn_local(&engine, &target);
        }
        if let Some(offer) = offer {
            self.neighbour.open(&engine, id, &offer, self.me.clone() as Weak<dyn Events>);
        }
        if !self.neighbour.is_opening() {
            self.unpark();
        }
        Ok(())
    }

    fn failed(&self, error: &Error) {
        self.fail_parked(error.code, error.message());
    }
}

impl Events for Peer {
    fn opened(&self, id: EngineId, result: Result<Arc<Attachment>>) {
        if let Some(engine) = self.engine.upgrade() {
            self.neighbour.opened(id, result, engine.config.transports);
            self.changed();
            self.unpark();
        }
    }

    fn resume(&self, path: Arc<dyn Path>, run: Run) {
        match self.engine.upgrade() {
            Some(engine) => engine.copies.resume(&engine, path, run),
            None => run.complete(Outcome::Failed(Code::Canceled), &|| "the engine was destroyed".into()),
        }
    }

    fn lost(&self, attachment: &Arc<Attachment>, error: &Error) {
        tracing::info!("{} is reached over the network from here on: {error}", self.label);
        self.neighbour.lost(attachment);
        self.changed();
    }
}
