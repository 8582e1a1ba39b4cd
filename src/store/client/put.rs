//! Putting objects: small ones travel within a call to their node, large ones through the engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;

use super::calls::{Outgoing, ask_all};
use super::failure::{Failure, Result};
use super::memory::Borrowed;
use super::nodes::{Attachment, NodeLink};
use super::{Store, pieces};
use crate::engine::batch::{BatchOptions, Local, Request};
use crate::error::{Code, Error};
use crate::fail;
use crate::store::footer;
use crate::store::master::Grant;
use crate::store::message::Spot;
use crate::store::object::{Entry, NodeId, ReplicateConfig, Version, stripe_length};
use crate::store::wire::master::{
    Outcome, PutCommit, PutItem, PutRef, PutRevoke, PutStart, Replication, Results,
};
use crate::store::wire::node::{self, Commit, Done, Prepare};
use crate::store::wire::{self, Call, MAX_ITEMS};
use crate::sys::clock;
use crate::sys::memory::Mem;
use crate::transport::Opcode;

/// Objects up to this size travel within calls.
const INLINE: u64 = 64 << 10;
/// Most bytes of objects in one call.
const INLINE_TOGETHER: u64 = 4 << 20;

/// One object to put: its bytes, in pieces that follow one another.
#[derive(Clone, Debug)]
pub struct Put<'a> {
    pub key: &'a [u8],
    pub from: &'a [Mem],
}

#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    pub config: ReplicateConfig,
    /// Replaces an object that is there, instead of ALREADY_EXISTS.
    pub upsert: bool,
    pub deadline: Option<Duration>,
}

/// A put that was granted, on its way.
pub(super) struct Granted {
    /// Which of the caller's.
    pub index: usize,
    pub version: Version,
    pub size: u64,
    pub entries: Vec<(NodeId, Entry)>,
    /// Its first failure.
    pub failure: Option<Failure>,
    /// Something was sent for it that nobody confirmed.
    pub is_in_doubt: bool,
}

impl Granted {
    fn fail(&mut self, failure: impl Into<Failure>) {
        self.failure.get_or_insert(failure.into());
    }

    fn is_live(&self) -> bool {
        self.failure.is_none()
    }
}

/// An entry of a granted put, by index of the put and of the entry.
type At = (usize, usize);

impl Store {
    /// Puts objects; one result for each, the version that it has now. Copying: when this returns the pieces are the
    /// caller's again. Errors of a key: ALREADY_EXISTS, BUSY (somebody else puts it), NO_SPACE (with the time after which
    /// there may be room), QUOTA_EXCEEDED, NOT_READY, UNREACHABLE, CANCELED (it took longer than its grant).
    pub fn put(&self, puts: &[Put<'_>], options: &PutOptions) -> Vec<Result<Version>> {
        let until = self.until(options.deadline);
        let mut results = Vec::with_capacity(puts.len());
        for chunk in puts.chunks(MAX_ITEMS) {
            results.extend(self.put_chunk(chunk, options, until));
        }
        puts.iter().for_each(|put| self.leases.forget(put.key));
        results
    }

    fn put_chunk(&self, puts: &[Put<'_>], options: &PutOptions, until: u64) -> Vec<Result<Version>> {
        let sizes: Vec<(&[u8], u64)> = puts.iter().map(|put| (put.key, pieces::total(put.from))).collect();
        let (mut granted, mut results) = self.put_start(&sizes, options, until);
        self.write(puts, &mut granted, until);
        self.put_end(puts, granted, &mut results, until);
        results.into_iter().map(|result| result.unwrap_or_else(|| Err(unanswered()))).collect()
    }

    /// Asks for memory. What was refused has its result already.
    pub(super) fn put_start(
        &self,
        puts: &[(&[u8], u64)],
        options: &PutOptions,
        until: u64,
    ) -> (Vec<Granted>, Vec<Option<Result<Version>>>) {
        let mut results: Vec<Option<Result<Version>>> = puts.iter().map(|_| None).collect();
        let call = PutStart {
            tenant: self.tenant.clone(),
            client: self.id.0,
            config: Some(Replication::from(&options.config)),
            upsert: options.upsert,
            items: puts.iter().map(|(key, size)| PutItem { key: key.to_vec(), size: *size }).collect(),
        };
        let not_ready = |failed: &Option<wire::Failed>| {
            failed.as_ref().is_some_and(|failed| failed.code() == Code::NotReady)
        };
        let reply = self.masters.ask_until(&call, until, false, |reply| {
            reply.results.iter().all(|result| not_ready(&result.failed))
        });
        let reply = match reply {
            Ok((reply, _)) => reply,
            Err(error) => {
                results.fill_with(|| Some(Err(error.clone().into())));
                return (Vec::new(), results);
            }
        };
        let mut granted = Vec::new();
        for (index, answer) in reply.results.into_iter().enumerate().take(puts.len()) {
            let grant = match (answer.failed, answer.grant) {
                (Some(failed), _) => Err(failed.into()),
                (None, Some(grant)) => Grant::try_from(grant).map_err(Failure::from),
                (None, None) => Err(unanswered()),
            };
            match grant {
                Ok(Grant { version, entries, .. }) => {
                    let size = puts[index].1;
                    let mut put =
                        Granted { index, version, size, entries, failure: None, is_in_doubt: false };
                    if let Err(error) = check(&put) {
                        put.fail(error);
                    }
                    granted.push(put);
                }
                Err(failure) => results[index] = Some(Err(failure)),
            }
        }
        (granted, results)
    }

    /// Brings the bytes of all stripes of all replicas to their nodes, and has them committed there.
    fn write(&self, puts: &[Put<'_>], granted: &mut [Granted], until: u64) {
        self.learn_nodes(granted, until);
        let (inline, direct): (Vec<At>, Vec<At>) = live_entries(granted)
            .partition(|(put, entry)| data_length(&granted[*put].entries[*entry].1) <= INLINE);
        self.write_inline(puts, granted, inline, until);
        if direct.is_empty() {
            return;
        }
        let Some(borrowed) = self.borrow(puts, granted, &direct) else { return };
        self.write_directly(puts, granted, direct, until);
        drop(borrowed);
    }

    fn borrow(&self, puts: &[Put<'_>], granted: &mut [Granted], entries: &[At]) -> Option<Borrowed<'_>> {
        let mut all: Vec<usize> = entries.iter().map(|(put, _)| *put).collect();
        all.dedup();
        let pieces = all.iter().flat_map(|put| puts[granted[*put].index].from.iter().copied());
        Borrowed::new(&self.engine, pieces)
            .map_err(|error| all.iter().for_each(|put| granted[*put].fail(error.clone())))
            .ok()
    }

    pub(super) fn learn_nodes(&self, granted: &mut [Granted], until: u64) {
        let mut nodes: Vec<NodeId> =
            granted.iter().flat_map(|put| put.entries.iter().map(|(node, _)| *node)).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let learned = self.nodes.learn(&self.masters, &nodes, until);
        for put in granted.iter_mut().filter(|put| put.is_live()) {
            let lost = put.entries.iter().find(|(node, _)| self.nodes.known(*node).is_none());
            if let Some((node, _)) = lost {
                let error =
                    fail!(Unreachable, "the node {} that was granted memory of is not reached", node.0);
                put.failure = Some(learned.as_ref().err().cloned().unwrap_or(error).into());
            }
        }
    }

    fn write_inline(&self, puts: &[Put<'_>], granted: &mut [Granted], entries: Vec<At>, until: u64) {
        let (mut calls, mut parts) = (Vec::new(), Vec::new());
        for (node, entries) in by_node(granted, entries) {
            let Some(link) = self.nodes.known(node) else { continue };
            let mut rest = entries.as_slice();
            while !rest.is_empty() {
                let mut bytes = 0;
                let fits = |(put, entry): &&At| {
                    bytes += granted[*put].entries[*entry].1.length;
                    bytes <= INLINE_TOGETHER
                };
                let count = rest.iter().take(MAX_ITEMS).take_while(fits).count().max(1);
                let (now, later) = rest.split_at(count);
                calls.push(self.inline_call(&link, puts, granted, now));
                parts.push(now.to_vec());
                rest = later;
            }
        }
        self.settle(granted, ask_all(calls, until), &parts);
    }

    fn inline_call(
        &self,
        link: &NodeLink,
        puts: &[Put<'_>],
        granted: &[Granted],
        entries: &[At],
    ) -> Outgoing {
        let entry = |(put, entry): &At| wire_entry(&granted[*put].entries[*entry].1);
        let call =
            node::Put { client: self.id.0, node: link.id.0, entries: entries.iter().map(entry).collect() };
        let bytes: u64 = entries.iter().map(|(put, entry)| granted[*put].entries[*entry].1.length).sum();
        let head = call.encode_to_vec();
        let mut body = Vec::with_capacity(4 + head.len() + bytes as usize);
        body.extend_from_slice(&(head.len() as u32).to_le_bytes());
        body.extend_from_slice(&head);
        for (put, entry) in entries {
            let put = &granted[*put];
            let (stripe, footer) = stripe_of(puts[put.index].from, put, &put.entries[*entry].1);
            let begins = body.len();
            pieces::gather(&stripe, &mut body);
            let length = body.len() - begins;
            body.resize(begins + footer::offset(length as u64) as usize, 0);
            body.extend_from_slice(&footer);
        }
        Outgoing { to: link.client.clone(), method: node::Put::METHOD, body }
    }

    fn write_directly(&self, puts: &[Put<'_>], granted: &mut [Granted], entries: Vec<At>, until: u64) {
        let mut ways = BTreeMap::new();
        for (node, entries) in by_node(granted, entries) {
            let reached = self.nodes.known(node).map(|link| {
                let attachment = self.nodes.reach(&link, until)?;
                Ok::<_, Error>((link, attachment))
            });
            match reached {
                Some(Ok((link, attachment))) => drop(ways.insert(node, (link, attachment, entries))),
                Some(Err(error)) => entries.iter().for_each(|(put, _)| granted[*put].fail(error.clone())),
                None => {}
            }
        }
        self.prepare(granted, &mut ways, until);
        // Footers first: they are what is read from our own memory, and must live as long as the batch.
        let mut work = Vec::new();
        for (_, attachment, entries) in ways.values() {
            for at in entries.iter().filter(|(put, _)| granted[*put].is_live()) {
                let put = &granted[at.0];
                let (stripe, footer) = stripe_of(puts[put.index].from, put, &put.entries[at.1].1);
                work.push((*at, attachment.clone(), stripe, footer));
            }
        }
        self.transfer(granted, &work, until);
        let mut calls = Vec::new();
        let mut parts = Vec::new();
        for (link, _, entries) in ways.values() {
            let entries: Vec<At> =
                entries.iter().filter(|(put, _)| granted[*put].is_live()).copied().collect();
            if entries.is_empty() {
                continue;
            }
            let spot = |(put, entry): &At| spot_of(&granted[*put].entries[*entry].1).into();
            let spots = entries.iter().map(spot).collect();
            calls.push(Outgoing::new(&link.client, &Commit { client: self.id.0, node: link.id.0, spots }));
            parts.push(entries);
        }
        self.settle(granted, ask_all(calls, until), &parts);
    }

    /// Has nodes open the ranges. One that closed our way into its memory meanwhile is attached to anew, once.
    fn prepare(
        &self,
        granted: &mut [Granted],
        ways: &mut BTreeMap<NodeId, (Arc<NodeLink>, Arc<Attachment>, Vec<At>)>,
        until: u64,
    ) {
        for is_last in [false, true] {
            let (mut calls, mut parts, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
            for (node, (link, attachment, entries)) in ways.iter() {
                let entry = |(put, entry): &At| wire_entry(&granted[*put].entries[*entry].1);
                let call = Prepare {
                    client: self.id.0,
                    node: node.0,
                    attachment: attachment.id,
                    entries: entries.iter().map(entry).collect(),
                };
                calls.push(Outgoing::new(&link.client, &call));
                parts.push(entries.clone());
                nodes.push(*node);
            }
            let mut stale = Vec::new();
            let mut answers = ask_all(calls, until);
            for (index, answer) in answers.iter_mut().enumerate() {
                if !is_last && is_stale(answer) {
                    stale.push(nodes[index]);
                    *answer = Ok(Results::default().encode_to_vec());
                    parts[index].clear();
                }
            }
            self.settle(granted, answers, &parts);
            if stale.is_empty() {
                return;
            }
            for node in stale {
                let Some((link, attachment, entries)) = ways.get_mut(&node) else { continue };
                link.detach(attachment);
                match self.nodes.reach(link, until) {
                    Ok(fresh) => *attachment = fresh,
                    Err(error) => entries.iter().for_each(|(put, _)| granted[*put].fail(error.clone())),
                }
            }
        }
    }

    /// Writes stripes and footers; on return nothing reads the caller's memory any more.
    fn transfer(
        &self,
        granted: &mut [Granted],
        work: &[(At, Arc<Attachment>, Vec<Mem>, Vec<u8>)],
        until: u64,
    ) {
        if work.is_empty() {
            return;
        }
        let footers: usize = work.iter().map(|(.., footer)| footer.len()).sum();
        let mut room = match self.rooms.take(footers) {
            Ok(room) => room,
            Err(error) => return work.iter().for_each(|(at, ..)| granted[at.0].fail(error.clone())),
        };
        let mut requests = Vec::with_capacity(2 * work.len());
        let mut owners = Vec::with_capacity(2 * work.len());
        for (at, attachment, stripe, footer) in work {
            let entry = &granted[at.0].entries[at.1].1;
            let (node, length) = (granted[at.0].entries[at.1].0, data_length(entry));
            let extent = super::read::extent_of(node, entry);
            let copy = room.next(footer.len());
            copy.write(footer);
            let writes = [
                (attachment.locate(&extent, 0, length), length, stripe.as_slice()),
                (
                    attachment.locate(&extent, footer::offset(length), footer.len() as u64),
                    footer.len() as u64,
                    &[copy],
                ),
            ];
            for (place, length, local) in writes {
                match place {
                    Ok((segment, remote)) => {
                        let local = local_of(local);
                        let opcode = Opcode::Write;
                        requests.push(Ok(Request { opcode, segment, remote, length, local, user_data: 0 }));
                        owners.push(at.0);
                    }
                    Err(error) => granted[at.0].fail(error),
                }
            }
        }
        if requests.is_empty() {
            return;
        }
        let deadline = Some(clock::until(until));
        let failed = self.run(requests, BatchOptions { deadline, ..Default::default() });
        match failed {
            Ok(failed) => {
                for (index, error) in failed {
                    let put = &mut granted[owners[index]];
                    put.is_in_doubt = true;
                    put.fail(error);
                }
            }
            // Nothing was begun.
            Err(error) => owners.iter().for_each(|put| granted[*put].fail(error.clone())),
        }
    }

    /// Runs a batch to its end: which requests failed, and why.
    pub(super) fn run(
        &self,
        requests: Vec<crate::error::Result<Request>>,
        options: BatchOptions,
    ) -> crate::error::Result<Vec<(usize, Error)>> {
        let count = requests.len();
        let id = self.engine.submit(requests.into_iter(), options)?;
        // Batches end by their deadlines; what the peer does not confirm ends soon after.
        let info = loop {
            let info = self.engine.wait(id, None)?;
            if info.is_done {
                break info;
            }
        };
        let mut failed = Vec::new();
        if info.status.is_some() {
            for index in 0..count {
                if let Some(code) = self.engine.task(id, index)?.status {
                    let what = self.engine.batch_error(id, info);
                    failed.push((index, what.with_code(code)));
                }
            }
        }
        self.engine.release(id)?;
        Ok(failed)
    }

    /// Takes in one answer for each call: a result for each of its entries, or a failure of all.
    fn settle(
        &self,
        granted: &mut [Granted],
        answers: Vec<crate::error::Result<Vec<u8>>>,
        parts: &[Vec<At>],
    ) {
        for (answer, entries) in answers.into_iter().zip(parts) {
            match answer.and_then(|body| wire::decode::<Results>(&body)) {
                Ok(reply) => {
                    let mut results = reply.results.into_iter();
                    for (put, _) in entries {
                        let missing = Outcome {
                            failed: Some(wire::Failed::from(&unanswered().error)),
                            ..Default::default()
                        };
                        if let Some(failed) = results.next().unwrap_or(missing).failed {
                            granted[*put].fail(failed);
                        }
                    }
                }
                Err(error) => {
                    if let Some((put, entry)) = entries.first()
                        && let Some(link) = self.nodes.known(granted[*put].entries[*entry].0)
                    {
                        link.lose();
                    }
                    entries.iter().for_each(|(put, _)| {
                        // It may still arrive.
                        granted[*put].is_in_doubt = true;
                        granted[*put].fail(error.clone());
                    });
                }
            }
        }
    }

    /// Makes objects visible whose nodes have them committed, and gives the others' memory back.
    fn put_end(
        &self,
        puts: &[Put<'_>],
        granted: Vec<Granted>,
        results: &mut [Option<Result<Version>>],
        until: u64,
    ) {
        let (done, failed): (Vec<Granted>, Vec<Granted>) = granted.into_iter().partition(Granted::is_live);
        let key = |put: &Granted| puts[put.index].key;
        self.put_revoke(&failed, key);
        for put in failed {
            results[put.index] = put.failure.map(Err);
        }
        for (put, outcome) in done.iter().zip(self.put_commit(&done, key, until)) {
            results[put.index] = Some(outcome.map(|()| put.version));
        }
    }

    pub(super) fn put_commit<'a>(
        &self,
        done: &[Granted],
        key: impl Fn(&Granted) -> &'a [u8],
        until: u64,
    ) -> Vec<Result<()>> {
        if done.is_empty() {
            return Vec::new();
        }
        let put = |put: &Granted| PutRef { key: key(put).to_vec(), version: put.version.0, is_done: true };
        let puts = done.iter().map(put).collect();
        let call = PutCommit { tenant: self.tenant.clone(), client: self.id.0, puts };
        // What was committed once is committed: it may be asked as often as it takes.
        outcomes(
            self.masters.ask_until(&call, until, true, all_not_ready).map(|(reply, _)| reply),
            done.len(),
        )
        .into_iter()
        .map(|outcome| outcome.map(drop))
        .collect()
    }

    /// Gives grants back, as far as anybody hears it: else they run out.
    pub(super) fn put_revoke<'a>(&self, failed: &[Granted], key: impl Fn(&Granted) -> &'a [u8]) {
        if failed.is_empty() {
            return;
        }
        let until = clock::after(REVOKING);
        let mut by_node: BTreeMap<NodeId, Vec<u64>> = BTreeMap::new();
        for put in failed.iter().filter(|put| !put.is_in_doubt) {
            for (node, entry) in &put.entries {
                by_node.entry(*node).or_default().push(entry.generation.0);
            }
        }
        let calls = by_node.into_iter().filter_map(|(node, generations)| {
            let link = self.nodes.known(node)?;
            Some(Outgoing::new(&link.client, &Done { client: self.id.0, generations }))
        });
        drop(ask_all(calls.collect(), until));
        let put = |put: &Granted| PutRef {
            key: key(put).to_vec(),
            version: put.version.0,
            is_done: !put.is_in_doubt,
        };
        let puts = failed.iter().map(put).collect();
        let call = PutRevoke { tenant: self.tenant.clone(), client: self.id.0, puts };
        if let Err(error) = self.masters.ask(&call, until, false) {
            tracing::debug!("giving {} grants back: {error}", failed.len());
        }
    }
}

/// How long a failed put waits for those who are told of it.
const REVOKING: Duration = Duration::from_millis(500);

pub(super) fn unanswered() -> Failure {
    fail!(Rejected, "the answer lacks a result").into()
}

pub(super) fn all_not_ready(reply: &Results) -> bool {
    let is_not_ready =
        |outcome: &Outcome| outcome.failed.as_ref().is_some_and(|failed| failed.code() == Code::NotReady);
    !reply.results.is_empty() && reply.results.iter().all(is_not_ready)
}

/// One outcome for each of so many things.
pub(super) fn outcomes(reply: crate::error::Result<Results>, count: usize) -> Vec<Result<u64>> {
    match reply {
        Ok(reply) => {
            let mut results = reply.results.into_iter();
            let outcome = |outcome: Outcome| match outcome.failed {
                Some(failed) => Err(failed.into()),
                None => Ok(outcome.value),
            };
            (0..count).map(|_| results.next().map_or_else(|| Err(unanswered()), outcome)).collect()
        }
        Err(error) => (0..count).map(|_| Err(error.clone().into())).collect(),
    }
}

/// The master's word, as far as it can be checked: entries of stripes that make up the object.
fn check(put: &Granted) -> crate::error::Result<()> {
    let is_sound = |(_, entry): &(NodeId, Entry)| {
        entry.size == put.size
            && entry.stripe < entry.stripes
            && entry.length == footer::stored_length(data_length(entry))
    };
    if put.entries.is_empty() || !put.entries.iter().all(is_sound) {
        return Err(fail!(Rejected, "the master granted memory that the object does not fit into"));
    }
    Ok(())
}

fn is_stale(answer: &crate::error::Result<Vec<u8>>) -> bool {
    let Ok(body) = answer else { return false };
    let Ok(reply) = wire::decode::<Results>(body) else { return false };
    let stale = |outcome: &Outcome| {
        outcome
            .failed
            .as_ref()
            .is_some_and(|failed| matches!(failed.code(), Code::PeerRestarted | Code::Busy))
    };
    !reply.results.is_empty() && reply.results.iter().all(stale)
}

fn live_entries(granted: &[Granted]) -> impl Iterator<Item = At> + '_ {
    let live = granted.iter().enumerate().filter(|(_, put)| put.is_live());
    live.flat_map(|(index, put)| (0..put.entries.len()).map(move |entry| (index, entry)))
}

fn by_node(granted: &[Granted], entries: Vec<At>) -> BTreeMap<NodeId, Vec<At>> {
    let mut all: BTreeMap<NodeId, Vec<At>> = BTreeMap::new();
    for (put, entry) in entries {
        all.entry(granted[put].entries[entry].0).or_default().push((put, entry));
    }
    all
}

/// Bytes of the object in an entry, without its footer.
pub(super) fn data_length(entry: &Entry) -> u64 {
    stripe_length(entry.size, entry.stripes.into(), entry.stripe.into())
}

/// The pieces that an entry's stripe has, and what stands behind them.
fn stripe_of(from: &[Mem], put: &Granted, entry: &Entry) -> (Vec<Mem>, Vec<u8>) {
    let first = stripe_length(put.size, entry.stripes.into(), 0);
    let stripe = pieces::window(from, first * u64::from(entry.stripe), data_length(entry));
    let footer = footer::encode(entry.generation, &pieces::checksums(&stripe));
    (stripe, footer)
}

pub(super) fn local_of(pieces: &[Mem]) -> Local {
    match pieces {
        [one] => Local::Contiguous(one.address()),
        many => Local::Scattered(many.iter().map(|piece| (piece.address(), piece.len())).collect()),
    }
}

fn spot_of(entry: &Entry) -> Spot {
    Spot { segment: entry.segment, offset: entry.offset, generation: entry.generation }
}

fn wire_entry(entry: &Entry) -> wire::master::EntryOnWire {
    entry.into()
}
