//! A peer of which it is not known whether it is an engine of this library or one of Mooncake's: it is asked in the way
//! that both understand, and met in its own. One that is lost is asked again, for it may be another one by then.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};
use serde_json::json;

use super::Engine;
use super::segments::resolve;
use crate::error::{Code, Context, Error, Result};
use crate::segment::descriptor::{EngineId, SegmentRecord, from_blob};
use crate::segment::mooncake::{MooncakeSegment, RpcAddress, rpc_key, segment_key};
use crate::sys::clock;
use crate::transport::mooncake::frame::Kind;
use crate::transport::mooncake::{Patience, Remote, RemoteEvents, exchange};
use crate::transport::tcp::Link;
use crate::transport::{
    Contact, ContactEvents, Greeting, Outcome, Owner, Path, PathKind, Reply, Run, ShmOffer, same_owner,
};
use crate::{bail, fail};

/// Times that a peer that cannot be reached is asked again before those who wait are told, and the pause before each.
const PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(60),
    Duration::from_millis(150),
    Duration::from_millis(300),
];
/// Most runs kept while a peer that was lost is asked again; others fail at once.
const MAX_WAITING: usize = 65_536;

/// Where a peer is asked.
pub enum Place {
    Address(RpcAddress),
    /// In the metadata backend.
    Name(String),
}

/// How a peer is met.
#[derive(Clone)]
enum Way {
    Native(Arc<Link>),
    Mooncake(Arc<Remote>),
}

/// What a peer turned out to be.
enum Found {
    Native(Vec<String>),
    Mooncake { segment: MooncakeSegment, rpc: RpcAddress },
}

/// One life of an engine of Mooncake: its ports are others in the next.
#[derive(Clone, PartialEq, Eq)]
struct Life {
    rpc: RpcAddress,
    data: RpcAddress,
    protocol_version: u64,
}

#[derive(Default)]
struct State {
    is_asking: bool,
    /// A thread is at it; before that the question waits for one.
    is_begun: bool,
    /// Asked for while an older question was under way.
    is_wanted_again: bool,
    /// The data connection was lost; what waits there depends on what is found out.
    is_lost: bool,
    is_met: bool,
    is_closed: bool,
    life: Option<(Life, Greeting)>,
    /// Counts descriptions that arrived and failures, for those who wait for a new one.
    described: u64,
    failures: u64,
    failure: Option<Error>,
    heard_ns: u64,
    probed_ns: u64,
}

pub struct Meeting {
    label: String,
    place: Place,
    engine: Weak<Engine>,
    owner: Weak<dyn ContactEvents>,
    state: Mutex<State>,
    changed: Condvar,
    way: RwLock<Option<Way>>,
    /// Sent while there was no way.
    waiting: Mutex<Vec<Run>>,
    me: Weak<Meeting>,
}

impl Meeting {
    pub fn new(
        label: &str,
        place: Place,
        engine: &Arc<Engine>,
        owner: Weak<dyn ContactEvents>,
    ) -> Arc<Meeting> {
        Arc::new_cyclic(|me: &Weak<Meeting>| Meeting {
            label: label.to_owned(),
            place,
            engine: Arc::downgrade(engine),
            owner,
            state: Mutex::new(State { heard_ns: clock::now_ns(), ..State::default() }),
            changed: Condvar::new(),
            way: RwLock::new(None),
            waiting: Mutex::default(),
            me: me.clone(),
        })
    }

    fn way(&self) -> Option<Way> {
        self.way.read().clone()
    }

    fn engine(&self) -> Result<Arc<Engine>> {
        self.engine.upgrade().ok_or_else(|| fail!(InvalidHandle, "the engine was destroyed"))
    }

    // ---- who is it?

    /// Asks, on a thread that may wait.
    fn ask(&self) {
        {
            let mut state = self.state.lock();
            if state.is_closed {
                drop(state);
                return self.tell_failure(&fail!(Canceled, "the connection to {} was closed", self.label));
            }
            if state.is_asking {
                state.is_wanted_again = true;
                return;
            }
            state.is_asking = true;
        }
        let (Some(me), Ok(engine)) = (self.me.upgrade(), self.engine()) else { return };
        if let Err(error) = engine.errand(move || me.find_out()) {
            {
                let mut state = self.state.lock();
                state.is_asking &= state.is_begun;
            }
            self.tell_failure(&error);
        }
    }

    /// Asks on this thread, one that may wait, unless another is at it. Those that would wait for the answer could be all
    /// the threads there are, with the question behind them.
    fn ask_here(&self) {
        self.state.lock().is_asking = true;
        self.find_out();
    }

    fn find_out(&self) {
        {
            let mut state = self.state.lock();
            if state.is_begun || !state.is_asking {
                return;
            }
            state.is_begun = true;
        }
        loop {
            let result = self.look_patiently().and_then(|found| self.meet_as(found));
            if let Err(error) = result {
                self.lose(&error);
            }
            let mut state = self.state.lock();
            if !std::mem::take(&mut state.is_wanted_again) || state.is_closed {
                state.is_asking = false;
                state.is_begun = false;
                return;
            }
        }
    }

    fn look_patiently(&self) -> Result<Found> {
        let mut last = fail!(Unreachable, "{} cannot be reached", self.label);
        for pause in PAUSES {
            std::thread::sleep(pause);
            match self.look() {
                Err(error) if error.code == Code::Unreachable => last = error,
                result => return result,
            }
            if self.state.lock().is_closed || self.engine()?.is_closed() {
                break;
            }
        }
        Err(last)
    }

    fn look(&self) -> Result<Found> {
        let engine = self.engine()?;
        match &self.place {
            Place::Address(rpc) => self.look_there(&engine, rpc),
            Place::Name(name) => self.look_up(&engine, name),
        }
    }

    /// Without a metadata service: a peer tells its segment itself.
    fn look_there(&self, engine: &Engine, rpc: &RpcAddress) -> Result<Found> {
        // Long enough for an engine of this library that does not speak this to say so at once.
        let nothing = |_| json!({}).to_string() + &" ".repeat(64);
        let question = engine.mooncake_segment().unwrap_or_else(nothing);
        match self.exchange(engine, rpc, Kind::Metadata, &question, clock::after(engine.config.keepalive)) {
            Ok(answer) => {
                self.state.lock().heard_ns = clock::now_ns();
                let segment = MooncakeSegment::from_json(&answer).context(&self.label)?;
                Ok(self.take_for(segment, rpc.clone()))
            }
            // An engine of this library that does not speak with Mooncake's.
            Err(error) if error.code == Code::VersionMismatch => Ok(Found::Native(vec![rpc.to_string()])),
            Err(error) => Err(error),
        }
    }

    fn look_up(&self, engine: &Engine, name: &str) -> Result<Found> {
        let backend = engine.backend.as_ref().ok_or_else(|| fail!(NotFound, "no metadata backend"))?;
        let get = |key: &str| backend.get(key).context(format_args!("looking up {name:?}"));
        if let Some(blob) = get(&format!("engine/{name}"))? {
            let record = from_blob(&blob).context(format_args!("what is published for {name:?}"))?;
            return Ok(Found::Native(record.addresses));
        }
        let cluster = engine.mooncake.as_ref().and_then(|side| side.cluster.as_deref());
        let Some(json) = get(&segment_key(cluster, name))? else {
            if let Some(rpc) = RpcAddress::parse(name) {
                return self.look_there(engine, &rpc);
            }
            bail!(NotFound, "no engine {name:?} is published in the metadata backend");
        };
        let segment = MooncakeSegment::from_json(&json).context(&self.label)?;
        let rpc = match get(&rpc_key(cluster, name))? {
            Some(json) => RpcAddress::from_json(&json).context(&self.label)?,
            None => RpcAddress::parse(name)
                .ok_or_else(|| fail!(NotFound, "{name:?} is published without its address"))?,
        };
        Ok(self.take_for(segment, rpc))
    }

    fn take_for(&self, segment: MooncakeSegment, rpc: RpcAddress) -> Found {
        match segment.native {
            Some(native) => Found::Native(native.addresses),
            None => Found::Mooncake { segment, rpc },
        }
    }

    fn exchange(
        &self,
        engine: &Engine,
        rpc: &RpcAddress,
        kind: Kind,
        json: &str,
        until_ns: u64,
    ) -> Result<Vec<u8>> {
        let addresses = resolve(&rpc.to_string())?;
        let is_unwanted = || engine.is_closed() || self.state.lock().is_closed;
        let patience = Patience { until_ns, is_unwanted: &is_unwanted };
        exchange(&addresses, kind, json, &patience).context(&self.label)
    }

    // ---- meeting it

    fn meet_as(&self, found: Found) -> Result<()> {
        match found {
            Found::Native(addresses) => self.meet_native(&addresses),
            Found::Mooncake { segment, rpc } => self.meet_mooncake(&segment, rpc),
        }
    }

    fn meet_native(&self, addresses: &[String]) -> Result<()> {
        let engine = self.engine()?;
        let mut resolved = Vec::new();
        for address in addresses {
            resolved.extend(resolve(address).unwrap_or_default());
        }
        if resolved.is_empty() {
            bail!(Unreachable, "{} tells no address: it does not listen", self.label);
        }
        let link = match self.way() {
            Some(Way::Native(link)) => link,
            _ => {
                let me: Weak<dyn ContactEvents> = self.me.clone();
                let link = Link::new(engine.node.clone(), &self.label, resolved, me);
                self.go(Way::Native(link.clone()))?;
                self.state.lock().life = None;
                link
            }
        };
        for run in self.take_waiting() {
            link.submit(run);
        }
        link.meet();
        Ok(())
    }

    fn meet_mooncake(&self, segment: &MooncakeSegment, rpc: RpcAddress) -> Result<()> {
        let host = segment.data_host.clone().unwrap_or_else(|| rpc.host.clone());
        let data = RpcAddress { host, port: segment.data_port };
        let life = Life { rpc, data, protocol_version: segment.protocol_version };
        let known = self.state.lock().life.clone().filter(|(known, _)| *known == life);
        let (remote, greeting) = match (self.way(), known) {
            (Some(Way::Mooncake(remote)), Some((_, greeting))) => (remote, greeting),
            (_, known) => {
                let is_same = known.is_some();
                let greeting = known.map(|(_, greeting)| greeting);
                let greeting = greeting
                    .unwrap_or_else(|| Greeting { id: EngineId::random(), name: segment.name.clone() });
                (self.connect(life, &greeting, is_same)?, greeting)
            }
        };
        let record: SegmentRecord = segment.to_record(greeting.id);
        self.tell_met(greeting, record, None)?;
        remote.resume();
        for run in self.take_waiting() {
            remote.submit(run);
        }
        Ok(())
    }

    fn connect(&self, life: Life, greeting: &Greeting, is_same: bool) -> Result<Arc<Remote>> {
        let engine = self.engine()?;
        let side = engine.mooncake.as_ref().ok_or_else(|| fail!(Unsupported, "compat is off"))?;
        let addresses: Vec<SocketAddr> = resolve(&life.data.to_string())?;
        let events: Weak<dyn RemoteEvents> = self.me.clone();
        let has_status = life.protocol_version >= 2;
        let remote = Remote::new(side.hub.clone(), &self.label, addresses, has_status, events);
        self.state.lock().life = Some((life, greeting.clone()));
        self.go(Way::Mooncake(remote.clone()))?;
        if !is_same {
            // Its addresses are those of an earlier life, whatever was met in between.
            self.fail_waiting(Code::PeerRestarted, &self.restarted());
        }
        Ok(remote)
    }

    fn restarted(&self) -> String {
        format!("{} restarted: its memory is new", self.label)
    }

    /// Takes another way. What is under way on the one before fails: its memory is gone.
    fn go(&self, next: Way) -> Result<()> {
        if self.state.lock().is_closed {
            bail!(Canceled, "the connection to {} was closed", self.label);
        }
        let before = self.way.write().replace(next);
        self.leave(before, &Error::new(Code::PeerRestarted, self.restarted()));
        Ok(())
    }

    fn leave(&self, way: Option<Way>, error: &Error) {
        match way {
            Some(Way::Mooncake(remote)) => remote.close(error),
            Some(Way::Native(link)) => link.close(),
            None => {}
        }
    }

    fn tell_met(&self, greeting: Greeting, record: SegmentRecord, shm: Option<ShmOffer>) -> Result<()> {
        {
            let mut state = self.state.lock();
            if state.is_closed {
                bail!(Canceled, "the connection to {} was closed", self.label);
            }
            state.is_lost = false;
            state.heard_ns = clock::now_ns();
        }
        let owner = self.owner.upgrade().ok_or_else(|| fail!(Canceled, "the peer is forgotten"))?;
        // Those who wait find everything in place.
        let result = owner.met(greeting, record, shm);
        {
            let mut state = self.state.lock();
            state.is_met |= result.is_ok();
            state.described += 1;
            state.failure = None;
        }
        self.changed.notify_all();
        result
    }

    /// It could not be found out. A connection that works stays; one that was lost is given up.
    fn lose(&self, error: &Error) {
        let is_lost = std::mem::take(&mut self.state.lock().is_lost);
        if is_lost {
            let before = self.way.write().take();
            self.leave(before, error);
        }
        self.tell_failure(error);
    }

    fn tell_failure(&self, error: &Error) {
        {
            let mut state = self.state.lock();
            state.failures += 1;
            state.failure = Some(error.clone());
            if self.way.read().is_none() {
                state.is_met = false;
            }
        }
        self.changed.notify_all();
        self.fail_waiting(error.code, error.message());
        if let Some(owner) = self.owner.upgrade() {
            owner.failed(error);
        }
    }

    // ---- runs without a way

    fn take_waiting(&self) -> Vec<Run> {
        std::mem::take(&mut *self.waiting.lock())
    }

    fn fail_waiting(&self, code: Code, text: &str) {
        for run in self.take_waiting() {
            run.complete(Outcome::Failed(code), &|| text.to_owned());
        }
    }

    fn wait(&self, until_ns: u64, seen_failures: u64, is_there: impl Fn(&State) -> bool) -> Result<()> {
        let mut state = self.state.lock();
        while !is_there(&state) {
            if let Some(failure) = state.failure.clone().filter(|_| state.failures > seen_failures) {
                return Err(failure);
            }
            let left = clock::until(until_ns);
            if left.is_zero() {
                bail!(Unreachable, "{} did not answer in time", self.label);
            }
            self.changed.wait_for(&mut state, left);
        }
        Ok(())
    }

    /// Asks an engine of Mooncake something, or hands the question to the native link, once it is met.
    fn call(
        &self,
        question: Question,
        deadline_ns: u64,
        reply: Reply,
        native: impl FnOnce(&Link, Reply) + Send + 'static,
    ) {
        let reply = Pending(Some(reply));
        let (Some(me), Ok(engine)) = (self.me.upgrade(), self.engine()) else { return };
        if let Some(Way::Native(link)) = self.way() {
            return native(&link, reply.into_inner());
        }
        // Where there is no room for it the reply is dropped, and so says why.
        let _ = engine.errand(move || {
            if let Err(error) = me.wait_met_here(deadline_ns) {
                return reply.send(Err(error));
            }
            match me.way() {
                Some(Way::Native(link)) => native(&link, reply.into_inner()),
                _ => reply.send(me.put(question, deadline_ns)),
            }
        });
    }

    /// `wait_met` for a thread of the engine's own.
    fn wait_met_here(&self, until_ns: u64) -> Result<()> {
        let seen = self.state.lock().failures;
        match self.way() {
            Some(Way::Native(link)) => link.meet(),
            Some(Way::Mooncake(_)) if self.state.lock().is_met => {}
            _ => self.ask_here(),
        }
        self.wait(until_ns, seen, |state| state.is_met)
    }

    /// Asks an engine of Mooncake that was met.
    fn put(&self, question: Question, until_ns: u64) -> Result<Vec<u8>> {
        let engine = self.engine()?;
        let life = self.state.lock().life.clone();
        let (life, _) = life.ok_or_else(|| fail!(Unreachable, "{} was lost", self.label))?;
        let json = question.json? + "\n";
        let answer = self.exchange(&engine, &life.rpc, question.kind, &json, until_ns);
        if answer.is_ok() {
            self.state.lock().heard_ns = clock::now_ns();
        }
        (question.read)(answer).context(&self.label)
    }
}

/// A reply that is sent exactly once, also when its question is never asked.
struct Pending(Option<Reply>);

impl Pending {
    fn into_inner(mut self) -> Reply {
        self.0.take().expect("taken only here and at the end")
    }

    fn send(self, result: Result<Vec<u8>>) {
        self.into_inner()(result)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply(Err(fail!(Canceled, "the engine is being destroyed, or has too many questions to ask")));
        }
    }
}

/// What an engine of Mooncake is asked, and what its answer means.
struct Question {
    kind: Kind,
    /// An error where it cannot be put into words.
    json: Result<String>,
    read: fn(Result<Vec<u8>>) -> Result<Vec<u8>>,
}

fn read_notified(answer: Result<Vec<u8>>) -> Result<Vec<u8>> {
    let value: serde_json::Value = serde_json::from_slice(&answer?).unwrap_or_default();
    match value.get("notify_msg").and_then(serde_json::Value::as_str) {
        Some("success") => Ok(Vec::new()),
        other => bail!(Rejected, "the notification was not taken: {}", other.unwrap_or("no reason")),
    }
}

/// The oldest ones close without an answer, which shows just as well that they are there.
fn read_probed(answer: Result<Vec<u8>>) -> Result<Vec<u8>> {
    match answer {
        Err(error) if error.code != Code::VersionMismatch => Err(error),
        _ => Ok(Vec::new()),
    }
}

impl Contact for Meeting {
    fn meet(&self) {
        match self.way() {
            Some(Way::Native(link)) => link.meet(),
            Some(Way::Mooncake(_)) if self.state.lock().is_met => {}
            _ => self.ask(),
        }
    }

    fn describe(&self) {
        match self.way() {
            Some(Way::Native(link)) => link.describe(),
            _ => self.ask(),
        }
    }

    fn wait_met(&self, until_ns: u64) -> Result<()> {
        let seen = self.state.lock().failures;
        self.meet();
        self.wait(until_ns, seen, |state| state.is_met)
    }

    fn wait_described(&self, until_ns: u64) -> Result<()> {
        if let Some(Way::Native(link)) = self.way() {
            return link.wait_described(until_ns);
        }
        let (seen, failures) = {
            let state = self.state.lock();
            // One that is under way may be older than what the caller wants to see.
            (state.described + u64::from(state.is_asking), state.failures)
        };
        self.ask();
        self.wait(until_ns, failures, |state| state.described > seen)
    }

    fn notify(&self, tag: &str, data: &[u8], deadline_ns: u64, reply: Reply) {
        let (tag, data) = (tag.to_owned(), data.to_vec());
        let json = match std::str::from_utf8(&data) {
            Ok(text) => Ok(json!({"name": tag, "notify_msg": text}).to_string()),
            Err(_) => Err(fail!(InvalidArgument, "notifications to engines of Mooncake are UTF-8")),
        };
        let question = Question { kind: Kind::Notify, json, read: read_notified };
        self.call(question, deadline_ns, reply, move |link, reply| {
            link.notify(&tag, &data, deadline_ns, reply);
        });
    }

    fn ping(&self, deadline_ns: u64, reply: Reply) {
        let question = Question { kind: Kind::Probe, json: Ok(json!({}).to_string()), read: read_probed };
        self.call(question, deadline_ns, reply, move |link, reply| link.ping(deadline_ns, reply));
    }

    fn silence(&self) -> Duration {
        match self.way() {
            Some(Way::Native(link)) => link.silence(),
            way => {
                let data_ns = match way {
                    Some(Way::Mooncake(remote)) => remote.heard_ns().unwrap_or(0),
                    _ => 0,
                };
                let heard_ns = self.state.lock().heard_ns.max(data_ns);
                Duration::from_nanos(clock::now_ns().saturating_sub(heard_ns))
            }
        }
    }

    fn lane_count(&self) -> u32 {
        match self.way() {
            Some(Way::Native(link)) => link.lane_count(),
            Some(Way::Mooncake(remote)) => remote.lane_count(),
            None => 0,
        }
    }

    fn close(&self) {
        self.state.lock().is_closed = true;
        let error = fail!(Canceled, "the connection to {} was closed", self.label);
        let before = self.way.write().take();
        self.leave(before, &error);
        self.tell_failure(&error);
    }
}

impl ContactEvents for Meeting {
    fn met(&self, greeting: Greeting, record: SegmentRecord, shm: Option<ShmOffer>) -> Result<()> {
        self.tell_met(greeting, record, shm)
    }

    fn failed(&self, error: &Error) {
        // Next time it may be another kind of engine.
        let before = self.way.write().take_if(|way| matches!(way, Way::Native(_)));
        drop(before);
        if !self.state.lock().is_closed {
            self.tell_failure(error);
        }
    }
}

impl RemoteEvents for Meeting {
    fn lost(&self, remote: &Arc<Remote>, error: Error) {
        if !matches!(self.way(), Some(Way::Mooncake(now)) if Arc::ptr_eq(&now, remote)) {
            return remote.close(&error);
        }
        tracing::debug!("{} is asked anew: {error}", self.label);
        self.state.lock().is_lost = true;
        self.ask();
    }

    fn silent(&self, remote: &Arc<Remote>) {
        let (Some(me), Ok(engine)) = (self.me.upgrade(), self.engine()) else { return };
        let keepalive = engine.config.keepalive;
        {
            let mut state = self.state.lock();
            let now = clock::now_ns();
            if now.saturating_sub(state.probed_ns) < keepalive.as_nanos() as u64 * 2 {
                return;
            }
            state.probed_ns = now;
        }
        let remote = remote.clone();
        let _ = engine.errand(move || {
            let question = Question { kind: Kind::Probe, json: Ok(json!({}).to_string()), read: read_probed };
            if let Err(error) = me.put(question, clock::after(keepalive)) {
                let error = error.with_code(Code::Unreachable);
                remote.close(&error);
                me.way.write().take_if(|way| matches!(way, Way::Mooncake(now) if Arc::ptr_eq(now, &remote)));
                me.tell_failure(&error);
            }
        });
    }
}

impl Path for Meeting {
    fn kind(&self) -> PathKind {
        PathKind::Tcp
    }

    fn submit(&self, run: Run) {
        match self.way() {
            Some(Way::Native(link)) => link.submit(run),
            Some(Way::Mooncake(remote)) => remote.submit(run),
            None => {
                let mut waiting = self.waiting.lock();
                if waiting.len() >= MAX_WAITING {
                    drop(waiting);
                    return run.complete(Outcome::Failed(Code::Unreachable), &|| {
                        format!("{} was lost, and too much waits for it", self.label)
                    });
                }
                waiting.push(run);
                drop(waiting);
                self.ask();
            }
        }
    }

    fn drive(&self, is_done: &dyn Fn() -> bool, until_ns: u64) -> bool {
        match self.way() {
            Some(Way::Native(link)) => link.drive(is_done, until_ns),
            Some(Way::Mooncake(remote)) => remote.drive(is_done, until_ns),
            None => false,
        }
    }

    fn prune(&self, owner: &Arc<dyn Owner>, epoch: u32) {
        let reason = owner.stopped().unwrap_or(Code::Canceled);
        let is_mine = |run: &mut Run| run.epoch == epoch && same_owner(&run.owner, owner);
        // Others stay where whoever meets the peer finds them, at every moment.
        let mine: Vec<Run> = self.waiting.lock().extract_if(.., is_mine).collect();
        for run in mine {
            run.complete(Outcome::Failed(reason), &|| format!("stopped before {} was met", self.label));
        }
        match self.way() {
            Some(Way::Native(link)) => link.prune(owner, epoch),
            Some(Way::Mooncake(remote)) => remote.prune(owner, epoch),
            None => {}
        }
    }

    fn abandon(&self, owner: &Arc<dyn Owner>, epoch: u32) {
        match self.way() {
            Some(Way::Native(link)) => link.abandon(owner, epoch),
            Some(Way::Mooncake(remote)) => remote.abandon(owner, epoch),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests;
