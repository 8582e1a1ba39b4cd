//! A master's process: the state, and who waits for its answers.

use std::collections::BTreeMap;

use crate::store::master::{Answer as Word, Config, Effect, ListCursor, PutStart, State, TaskId, Walk};
use crate::store::object::{ClientId, EntryState, Extent, MasterId, Name, ReplicateConfig, Token, Version};
use crate::store::refusal::Result;

use super::message::{Address, Answer, Ask, Body};
use super::node::SimNode;
use super::truth::{KEYS, PINNED_KEYS};
use super::world::{Context, Event};

/// What is written and read at once; all sizes are multiples.
pub const CELL: u64 = 16 << 10;
/// Room for checksums, so that an object fills whole cells.
const FOOTERS: u64 = 64;
const TICK_MS: u64 = 30;
const QUOTA: u64 = 40 * CELL;
/// Keys from this one on are removed together now and then.
const SWEPT_KEYS: u16 = 20;

pub fn config(first_start: bool) -> Config {
    Config {
        shards: 2,
        alignment: CELL,
        lease_ms: 1000,
        term_ms: 500,
        put_deadline_ms: 2000,
        node_lease_ms: 2500,
        lead_every_ms: 150,
        resend_ms: 100,
        high_mark: 850,
        low_mark: 750,
        batch: 4,
        sweep: 2,
        found_after_ms: first_start.then_some(0),
        ..Config::default()
    }
}

fn key_bytes(key: u16) -> [u8; 3] {
    [b'k', (key >> 8) as u8, key as u8]
}

pub fn key_of(bytes: &[u8]) -> u16 {
    match bytes {
        [b'k', high, low] => u16::from_be_bytes([*high, *low]),
        _ => u16::MAX,
    }
}

fn tenant_of(key: u16) -> &'static str {
    ["a", "b"][usize::from(key >= 12)]
}

/// Keys differ in how they are kept.
fn replicate(key: u16) -> ReplicateConfig {
    let plain = ReplicateConfig::default();
    match key {
        0..PINNED_KEYS => ReplicateConfig { count: 1 + (key % 2) as u8, hard_pin: true, ..plain },
        6..10 => ReplicateConfig { group: "g".into(), ..plain },
        10..14 => ReplicateConfig { count: 2, strict_domains: true, preferred: vec!["s1".into()], ..plain },
        14..18 => ReplicateConfig { count: 1 + (key % 2) as u8, stripe_size: 64 << 10, ..plain },
        18..20 => ReplicateConfig { soft_pin_ms: 3000, near: "host1".into(), ..plain },
        _ => plain,
    }
}

/// Who waits for a token, and for what.
struct Waiting {
    from: Address,
    id: u64,
    answer: Answer,
}

pub struct SimMaster {
    address: Address,
    offset: u64,
    pub state: State,
    waiting: BTreeMap<Token, Waiting>,
    next_token: u64,
    drain: Option<TaskId>,
    was_serving: bool,
}

impl SimMaster {
    pub fn new(context: &mut Context, address: Address) -> SimMaster {
        let offset = context.random.below(1 << 30);
        let is_first = address.start == 1;
        let now = context.now + offset;
        let mut state = State::new(config(is_first), MasterId(address.start), now);
        state.set_quota("b", Some(QUOTA)).expect("a sound name");
        let waiting = BTreeMap::new();
        SimMaster { address, offset, state, waiting, next_token: 0, drain: None, was_serving: false }
    }

    /// Adds up what this master did.
    pub fn count(&self, context: &mut Context) {
        let stats = self.state.stats();
        context.counters.evictions += stats.evicted;
        context.counters.missed_deadlines += stats.puts_missed;
        context.counters.lost_objects += stats.lost;
    }

    pub fn is_empty(&self) -> bool {
        let stats = self.state.stats();
        stats.objects == 0 && stats.dropping == 0 && stats.used_bytes == 0 && self.waiting.is_empty()
    }

    pub fn tick(&mut self, context: &mut Context) {
        context.after(TICK_MS, Event::Tick(self.address));
        if self.state.is_deposed() && context.random.happens(100) {
            self.count(context);
            context.counters.deposed_masters += 1;
            let offset = self.offset;
            *self = SimMaster::new(context, self.address);
            // The same process with another master in it.
            self.offset = offset;
            self.state = State::new(config(false), MasterId(context.next_start()), context.now + offset);
            self.state.set_quota("b", Some(QUOTA)).expect("a sound name");
        }
        self.state.tick(context.now + self.offset);
        self.drain_sometimes(context);
        self.act(context);
    }

    fn drain_sometimes(&mut self, context: &mut Context) {
        let now = context.now + self.offset;
        if context.random.happens(3) {
            let quota = if context.healed { 40 } else { context.random.between(8, 40) };
            self.state.set_quota("b", Some(quota * CELL)).expect("a sound name");
        }
        match self.drain {
            Some(task) if context.healed || context.random.happens(20) => {
                // It may have ended by itself.
                let _ = self.state.cancel_task(now, task);
                self.drain = None;
            }
            None if !context.healed && context.drains && context.random.happens(4) => {
                let segments = self.state.segments();
                if !segments.is_empty() {
                    let one = &segments[context.random.index(segments.len())];
                    self.drain = self.state.drain(one.node, one.segment).ok();
                    context.truth.moved.extend(0..super::truth::KEYS);
                }
            }
            _ => {}
        }
    }

    pub fn take(&mut self, context: &mut Context, nodes: &[Option<SimNode>], from: Address, body: Body) {
        let now = context.now + self.offset;
        match body {
            Body::Report(report) => self.state.handle(now, report),
            Body::Ask { id, ask } => {
                if let Some(answer) = self.answer(context, nodes, from, id, ask) {
                    context.send(self.address, from, Body::Answer { id, answer });
                }
            }
            _ => {}
        }
        self.act(context);
    }

    fn answer(
        &mut self,
        context: &mut Context,
        nodes: &[Option<SimNode>],
        from: Address,
        id: u64,
        ask: Ask,
    ) -> Option<Answer> {
        let now = context.now + self.offset;
        let (client, asker) = (ClientId(from.start), from);
        self.next_token += 1;
        let token = Token(self.next_token);
        let result = match ask {
            Ask::PutStart { key, cells, upsert } => {
                let config = replicate(key);
                with_name(key, |name| {
                    let request =
                        PutStart { name, client, size: cells * CELL - FOOTERS, config: &config, upsert };
                    let grant = self.state.put_start(now, request)?;
                    let extents: Vec<Extent> = grant
                        .entries
                        .iter()
                        .map(|(node, entry)| Extent {
                            node: *node,
                            segment: entry.segment,
                            offset: entry.offset,
                            length: entry.length,
                            generation: entry.generation,
                        })
                        .collect();
                    if let Some(what) = context.truth.grant(context.now, key, grant.version, &extents) {
                        context.violated(|| what);
                    }
                    let spots =
                        extents.iter().map(|extent| (extent.node, crate::store::message::Spot::of(extent)));
                    context.truth.grants.insert(grant.version, spots.collect());
                    Ok(Answer::Granted(Box::new(grant)))
                })
            }
            Ask::PutCommit { key, version } => {
                let word = with_name(key, |name| self.state.put_commit(now, name, client, version, token));
                if word.is_ok() {
                    self.check_committed(context, nodes, key, version);
                }
                self.later(token, word, Waiting { from, id, answer: Answer::Done })?
            }
            Ask::PutRevoke { key, version, is_done } => with_name(key, |name| {
                self.state.put_revoke(now, name, client, version, is_done)?;
                Ok(Answer::Done)
            }),
            Ask::Get { key } => {
                with_name(key, |name| Ok(Answer::Located(Box::new(self.state.get(now, name)?))))
            }
            Ask::Exists { key } => {
                with_name(key, |name| Ok(Answer::Exists(self.state.exists(now, name, false)?)))
            }
            Ask::Remove { key } => {
                let answer = Answer::Removed(context.truth.newest(key));
                context.truth.will_remove(key);
                let word = with_name(key, |name| self.state.remove(now, name, token, false));
                self.later(token, word, Waiting { from, id, answer })?
            }
            Ask::Copy { key } => with_name(key, |name| self.state.copy(now, name, &[]).map(|_| Answer::Done)),
            Ask::Move { key, from } => {
                context.truth.moved.insert(key);
                let from = (from.node, from.segment);
                with_name(key, |name| self.state.move_replica(now, name, from, &[]).map(|_| Answer::Done))
            }
            Ask::Renew { key, stripes } => {
                with_name(key, |name| Ok(Answer::Renewed(self.state.renew(now, name, &stripes)?)))
            }
            Ask::PutExtend { key, version } => with_name(key, |name| {
                self.state.put_extend(now, name, client, version)?;
                Ok(Answer::Done)
            }),
            Ask::List { key } => self.list(now, tenant_of(key)),
            Ask::Sweep => {
                let swept = self.swept();
                swept.iter().for_each(|(key, _)| context.truth.will_remove(*key));
                let from = ListCursor::default();
                let mut matches = |bytes: &[u8]| key_of(bytes) >= SWEPT_KEYS;
                let walk = Walk { tenant: tenant_of(SWEPT_KEYS), from, limit: 100, matches: &mut matches };
                let done = self.state.remove_where(now, walk, token, false);
                let left = self.swept();
                let gone = swept.iter().filter(|one| !left.contains(one));
                let gone = gone.map(|(key, _)| (*key, context.truth.newest(*key))).collect();
                let word = done.map(|done| done.answer);
                self.later(token, word, Waiting { from: asker, id, answer: Answer::Swept(gone) })?
            }
            Ask::Trim { key } => {
                context.truth.moved.insert(key);
                context.truth.will_remove(key);
                with_name(key, |name| self.state.trim(now, name, 1).map(|_| Answer::Done))
            }
        };
        Some(result.unwrap_or_else(Answer::Refused))
    }

    fn list(&self, now: u64, tenant: &str) -> Result<Answer> {
        let (mut from, mut listed) = (Some(ListCursor::default()), Vec::new());
        while let Some(cursor) = from {
            let walk = Walk { tenant, from: cursor, limit: 3, matches: &mut |_| true };
            let page = self.state.list(now, walk)?;
            listed.extend(page.objects.iter().map(|one| (key_of(&one.key), one.version)));
            from = page.next;
        }
        Ok(Answer::Listed(listed))
    }

    /// Those of the keys that may be swept that are there.
    fn swept(&self) -> Vec<(u16, Version)> {
        let version = |key| with_name(key, |name| Ok(self.state.peek(name))).ok().flatten();
        (SWEPT_KEYS..KEYS).filter_map(|key| Some((key, version(key)?.0))).collect()
    }

    /// None when the answer comes later.
    fn later(&mut self, token: Token, word: Result<Word>, waiting: Waiting) -> Option<Result<Answer>> {
        match word {
            Ok(Word::Later) => {
                self.waiting.insert(token, waiting);
                None
            }
            Ok(Word::Done) => Some(Ok(waiting.answer)),
            Err(refusal) => Some(Err(refusal)),
        }
    }

    fn act(&mut self, context: &mut Context) {
        for key in (0..PINNED_KEYS).filter(|_| self.state.is_serving()) {
            if let Ok(Some((version, ..))) = with_name(key, |name| Ok(self.state.peek(name))) {
                context.truth.decided(key, version.0);
            }
        }
        for effect in self.state.effects() {
            match effect {
                Effect::Send(order) => {
                    if let Some(node) = context.truth.processes.get(&order.to).copied() {
                        context.send(self.address, node, Body::Order(order));
                    }
                }
                Effect::Notice(_) => {}
                Effect::Reply(token) => {
                    if let Some(Waiting { from, id, answer }) = self.waiting.remove(&token) {
                        context.send(self.address, from, Body::Answer { id, answer });
                    }
                }
            }
        }
        if self.state.is_serving() && !std::mem::replace(&mut self.was_serving, true) {
            context.counters.rebuilds += 1;
        }
        if let Err(what) = self.state.audit() {
            context.violated(|| format!("the books of master {:?}: {what}", self.address.place));
        }
    }

    /// A put is, or will be, acknowledged: all its nodes that are still in the view must have it committed.
    fn check_committed(&self, context: &mut Context, nodes: &[Option<SimNode>], key: u16, version: Version) {
        if !context.truth.is_first_word(version) {
            context.counters.double_commits += 1;
            return;
        }
        if context.truth.moved.contains(&key) {
            return;
        }
        let spots = context.truth.grants.get(&version).cloned().unwrap_or_default();
        let is_striped = (14..18).contains(&key);
        if is_striped && spots.iter().any(|(node, _)| !self.state.view().contains(*node)) {
            // A replica that lost a stripe has lost the others with it.
            return;
        }
        for (node, spot) in spots.into_iter().filter(|(node, _)| self.state.view().contains(*node)) {
            let Some(node) = nodes.iter().flatten().find(|one| one.inventory.id() == node) else { continue };
            let state = node.inventory.entry(spot).map(|entry| entry.state);
            if state != Some(EntryState::Committed) {
                context.violated(|| format!("key {key} is acknowledged, and {spot:?} is not committed"));
            }
        }
    }
}

fn with_name<T>(key: u16, act: impl FnOnce(Name<'_>) -> Result<T>) -> Result<T> {
    act(Name { tenant: tenant_of(key), key: &key_bytes(key) })
}
