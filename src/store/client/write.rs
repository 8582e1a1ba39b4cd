//! How the bytes of puts reach their nodes: small objects travel within a call, large ones through the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;

use super::calls::{Outgoing, ask_all};
use super::memory::Borrowed;
use super::nodes::{Attachment, NodeLink};
use super::pieces::BlockSums;
use super::put::{Granted, Put, TOGETHER, unanswered};
use super::read::extent_of;
use super::{Store, pieces};
use crate::engine::batch::{BatchOptions, Local, Request};
use crate::error::{Code, Error};
use crate::fail;
use crate::rpc::Client;
use crate::store::footer;
use crate::store::message::Spot;
use crate::store::object::{CHECKSUM_BLOCK, Entry, NodeId, stripe_length};
use crate::store::wire::master::{Outcome, Results};
use crate::store::wire::node::{self, Commit, Prepare};
use crate::store::wire::{self, Call};
use crate::sys::clock;
use crate::sys::memory::Mem;
use crate::transport::Opcode;
/// Objects up to this size travel within calls.
const INLINE: u64 = 64 << 10;
/// Most bytes of objects in one call.
const INLINE_TOGETHER: u64 = 4 << 20;

/// How a node is called, and how its memory is reached.
#[derive(Clone)]
pub(super) struct Way {
    link: Arc<NodeLink>,
    attachment: Arc<Attachment>,
}

/// Bytes for an entry, from `from` on in its range.
struct Write {
    at: At,
    from: u64,
    local: Vec<Mem>,
}

/// An entry of a granted put, by index of the put and of the entry.
type At = (usize, usize);

impl Store {
    /// Brings the bytes of all stripes of all replicas to their nodes, and has them committed there.
    pub(super) fn write(&self, puts: &[Put<'_>], granted: &mut [Granted], until: u64) {
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
        let (mut calls, mut parts, mut taken) = (Vec::new(), Vec::new(), Vec::new());
        for (node, entries) in by_node(granted, &entries) {
            let Some(link) = self.nodes.known(node) else {
                let lost = fail!(Unreachable, "the node {} was lost meanwhile", node.0);
                entries.iter().for_each(|(put, _)| granted[*put].fail(lost.clone()));
                continue;
            };
            let client = link.clients.take();
            let mut rest = entries.as_slice();
            while !rest.is_empty() {
                let mut bytes = 0;
                let fits = |(put, entry): &&At| {
                    bytes += granted[*put].entries[*entry].1.length;
                    bytes <= INLINE_TOGETHER
                };
                let count = rest.iter().take(TOGETHER).take_while(fits).count().max(1);
                let (now, later) = rest.split_at(count);
                calls.push(self.inline_call(node, &client, puts, granted, now));
                parts.push(now.to_vec());
                rest = later;
            }
            taken.push(client);
        }
        let answers = ask_all(calls, until);
        drop(taken);
        self.settle_commits(granted, answers, &parts);
    }

    fn inline_call(
        &self,
        node: NodeId,
        client: &Arc<Client>,
        puts: &[Put<'_>],
        granted: &[Granted],
        entries: &[At],
    ) -> Outgoing {
        let entry = |(put, entry): &At| wire_entry(&granted[*put].entries[*entry].1);
        let call =
            node::Put { client: self.id.0, node: node.0, entries: entries.iter().map(entry).collect() };
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
        Outgoing { to: client.clone(), method: node::Put::METHOD, body }
    }

    fn write_directly(&self, puts: &[Put<'_>], granted: &mut [Granted], entries: Vec<At>, until: u64) {
        self.open_entries(granted, &entries, until);
        let live: Vec<At> = entries.into_iter().filter(|(put, _)| granted[*put].is_live()).collect();
        let mut stripes = Vec::with_capacity(live.len());
        for (put, entry) in &live {
            let put = &granted[*put];
            stripes.push(stripe_of(puts[put.index].from, put, &put.entries[*entry].1));
        }
        let mut room = match self.rooms.take(stripes.iter().map(|(_, footer)| footer.len()).sum()) {
            Ok(room) => room,
            Err(error) => return live.iter().for_each(|(put, _)| granted[*put].fail(error.clone())),
        };
        let mut writes = Vec::with_capacity(2 * live.len());
        for (at, (stripe, footer)) in live.iter().zip(stripes) {
            let length = data_length(&granted[at.0].entries[at.1].1);
            let copy = room.next(footer.len());
            copy.write(&footer);
            writes.push(Write { at: *at, from: 0, local: stripe });
            writes.push(Write { at: *at, from: footer::offset(length), local: vec![copy] });
        }
        self.transfer(granted, &writes, until);
        self.commit_entries(granted, &live, until);
    }

    /// Opens the ranges of all entries for writing through the engine.
    pub(super) fn open_all(&self, granted: &mut [Granted], until: u64) {
        self.learn_nodes(granted, until);
        let entries: Vec<At> = live_entries(granted).collect();
        self.open_entries(granted, &entries, until);
    }

    /// Attaches to the nodes of these entries, and has the ranges prepared.
    fn open_entries(&self, granted: &mut [Granted], entries: &[At], until: u64) {
        for (node, entries) in by_node(granted, entries) {
            let way = self.nodes.known(node).map(|link| {
                let attachment = self.nodes.reach(&link, until)?;
                Ok::<_, Error>(Way { link, attachment })
            });
            for (put, entry) in entries {
                match &way {
                    Some(Ok(way)) => granted[put].ways[entry] = Some(way.clone()),
                    Some(Err(error)) => granted[put].fail(error.clone()),
                    None => granted[put].fail(fail!(Unreachable, "the node {} is not reached", node.0)),
                }
            }
        }
        self.prepare(granted, entries, until);
    }

    /// Has nodes open the ranges. One that closed our way into its memory meanwhile is attached to anew, once.
    fn prepare(&self, granted: &mut [Granted], entries: &[At], until: u64) {
        let mut left = entries.to_vec();
        for is_last in [false, true] {
            let (mut calls, mut parts, mut ways) = (Vec::new(), Vec::new(), Vec::new());
            for (node, entries) in in_calls(by_node(granted, &left)) {
                let way = entries.iter().find_map(|(put, entry)| granted[*put].ways[*entry].clone());
                let Some(way) = way else { continue };
                let entry = |(put, entry): &At| wire_entry(&granted[*put].entries[*entry].1);
                let call = Prepare {
                    client: self.id.0,
                    node: node.0,
                    attachment: way.attachment.id,
                    entries: entries.iter().map(entry).collect(),
                };
                calls.push(Outgoing::new(&way.link.client, &call));
                parts.push(entries);
                ways.push(way);
            }
            left.clear();
            let mut answers = ask_all(calls, until);
            for (index, answer) in answers.iter_mut().enumerate() {
                if !is_last && is_stale(answer) {
                    *answer = Ok(Vec::new());
                    let entries = std::mem::take(&mut parts[index]);
                    self.attach_anew(granted, &ways[index], &entries, until);
                    left.extend(entries);
                }
            }
            self.settle(granted, answers, &parts);
            left.retain(|(put, _)| granted[*put].is_live());
            if left.is_empty() {
                return;
            }
        }
    }

    fn attach_anew(&self, granted: &mut [Granted], stale: &Way, entries: &[At], until: u64) {
        stale.link.detach(&stale.attachment);
        match self.nodes.reach(&stale.link, until) {
            Ok(attachment) => {
                let way = Way { link: stale.link.clone(), attachment };
                for (put, entry) in entries {
                    granted[*put].ways[*entry] = Some(way.clone());
                }
            }
            Err(error) => entries.iter().for_each(|(put, _)| granted[*put].fail(error.clone())),
        }
    }

    /// Says at the nodes that all bytes of these entries are there.
    fn commit_entries(&self, granted: &mut [Granted], entries: &[At], until: u64) {
        let live: Vec<At> = entries.iter().filter(|(put, _)| granted[*put].is_live()).copied().collect();
        let (mut calls, mut parts) = (Vec::new(), Vec::new());
        for (node, entries) in in_calls(by_node(granted, &live)) {
            let way = entries.iter().find_map(|(put, entry)| granted[*put].ways[*entry].as_ref());
            let Some(way) = way else { continue };
            let spot = |(put, entry): &At| spot_of(&granted[*put].entries[*entry].1).into();
            let spots = entries.iter().map(spot).collect();
            calls.push(Outgoing::new(&way.link.client, &Commit { client: self.id.0, node: node.0, spots }));
            parts.push(entries);
        }
        let answers = ask_all(calls, until);
        self.settle_commits(granted, answers, &parts);
    }

    /// Writes to all replicas of one object the bytes from `offset` on.
    pub(super) fn write_part(&self, put: &mut Granted, offset: u64, from: &[Mem], until: u64) {
        let end = offset + pieces::total(from);
        let mut writes = Vec::new();
        for (index, (_, entry)) in put.entries.iter().enumerate() {
            let begin = stripe_length(put.size, entry.stripes.into(), 0) * u64::from(entry.stripe);
            let (first, last) = (offset.max(begin), end.min(begin + data_length(entry)));
            if first < last {
                let local = pieces::window(from, first - offset, last - first);
                writes.push(Write { at: (0, index), from: first - begin, local });
            }
        }
        self.transfer(std::slice::from_mut(put), &writes, until);
    }

    /// Writes the footers of an object whose blocks have these checksums, and commits it at its nodes.
    pub(super) fn close_entries(&self, put: &mut Granted, checksums: &[u32], until: u64) {
        let footer = |entry: &Entry| {
            let first = stripe_length(put.size, entry.stripes.into(), 0) / CHECKSUM_BLOCK;
            let first = (first * u64::from(entry.stripe)) as usize;
            let blocks = footer::blocks(data_length(entry));
            footer::encode(entry.generation, checksums.get(first..first + blocks).unwrap_or_default())
        };
        let footers: Vec<Vec<u8>> = put.entries.iter().map(|(_, entry)| footer(entry)).collect();
        let mut room = match self.rooms.take(footers.iter().map(Vec::len).sum()) {
            Ok(room) => room,
            Err(error) => return put.fail(error),
        };
        let mut writes = Vec::with_capacity(footers.len());
        for (index, footer) in footers.iter().enumerate() {
            let copy = room.next(footer.len());
            copy.write(footer);
            let from = footer::offset(data_length(&put.entries[index].1));
            writes.push(Write { at: (0, index), from, local: vec![copy] });
        }
        let all: Vec<At> = (0..footers.len()).map(|entry| (0, entry)).collect();
        self.transfer(std::slice::from_mut(put), &writes, until);
        self.commit_entries(std::slice::from_mut(put), &all, until);
    }

    /// Writes; on return nothing reads the local memory any more.
    fn transfer(&self, granted: &mut [Granted], writes: &[Write], until: u64) {
        let mut requests = Vec::with_capacity(writes.len());
        let mut owners = Vec::with_capacity(writes.len());
        for Write { at: (put, entry), from, local } in writes {
            let (node, entry_of) = &granted[*put].entries[*entry];
            let Some(way) = &granted[*put].ways[*entry] else { continue };
            let length = pieces::total(local);
            match way.attachment.locate(&extent_of(*node, entry_of), *from, length) {
                Ok((segment, remote)) => {
                    let (local, opcode) = (local_of(local), Opcode::Write);
                    requests.push(Ok(Request { opcode, segment, remote, length, local, user_data: 0 }));
                    owners.push(*put);
                }
                Err(error) => granted[*put].fail(error),
            }
        }
        if requests.is_empty() {
            return;
        }
        let deadline = Some(clock::until(until));
        match self.run(requests, BatchOptions { deadline, ..Default::default() }) {
            Ok((failed, _)) => {
                for (index, error) in failed {
                    let put = &mut granted[owners[index]];
                    put.is_in_doubt = true;
                    put.fail(as_of_a_grant(error));
                }
            }
            // Perhaps nothing was begun, perhaps the engine was closed in the middle of it.
            Err(error) => owners.iter().for_each(|put| {
                granted[*put].is_in_doubt = true;
                granted[*put].fail(error.clone());
            }),
        }
    }

    /// Runs a batch to its end: which requests failed, and why; and sums of what was read.
    pub(super) fn run(
        &self,
        requests: Vec<crate::error::Result<Request>>,
        options: BatchOptions,
    ) -> crate::error::Result<(Vec<(usize, Error)>, BlockSums)> {
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
        let sums = BlockSums(self.engine.sums(id)?);
        self.engine.release(id)?;
        Ok((failed, sums))
    }

    /// As `settle`, for calls by which nodes commit.
    fn settle_commits(
        &self,
        granted: &mut [Granted],
        answers: Vec<crate::error::Result<Vec<u8>>>,
        parts: &[Vec<At>],
    ) {
        for (answer, entries) in answers.into_iter().zip(parts) {
            if let Ok(reply) =
                answer.as_ref().map_err(Clone::clone).and_then(|body| wire::decode::<Results>(body))
            {
                for ((put, _), outcome) in entries.iter().zip(&reply.results) {
                    granted[*put].confirmed += usize::from(outcome.failed.is_none());
                }
            }
            self.settle(granted, vec![answer], std::slice::from_ref(entries));
        }
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
                Err(error) if error.code == Code::Rejected => {
                    // Nothing of it was done.
                    entries.iter().for_each(|(put, _)| granted[*put].fail(error.clone()));
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
}

/// A node that takes a grant back closes what its writer could reach memory by; the caller's own memory is not meant.
fn as_of_a_grant(error: Error) -> Error {
    match error.code {
        Code::AddressNotRegistered => {
            error.with_code(Code::Canceled).context("the node took the grant back before all was written")
        }
        _ => error,
    }
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

fn live_entries(granted: &[Granted]) -> impl Iterator<Item = At> {
    let live = granted.iter().enumerate().filter(|(_, put)| put.is_live());
    live.flat_map(|(index, put)| (0..put.entries.len()).map(move |entry| (index, entry)))
}

fn by_node(granted: &[Granted], entries: &[At]) -> BTreeMap<NodeId, Vec<At>> {
    let mut all: BTreeMap<NodeId, Vec<At>> = BTreeMap::new();
    for (put, entry) in entries.iter().copied() {
        all.entry(granted[put].entries[entry].0).or_default().push((put, entry));
    }
    all
}

/// So many entries for each node that a message may have.
fn in_calls(by_node: BTreeMap<NodeId, Vec<At>>) -> Vec<(NodeId, Vec<At>)> {
    let cut = |(node, entries): (NodeId, Vec<At>)| -> Vec<(NodeId, Vec<At>)> {
        entries.chunks(TOGETHER).map(|part| (node, part.to_vec())).collect()
    };
    by_node.into_iter().flat_map(cut).collect()
}

/// Bytes of the object in an entry, without its footer.
pub(super) fn data_length(entry: &Entry) -> u64 {
    stripe_length(entry.size, entry.stripes.into(), entry.stripe.into())
}

/// The pieces that an entry's stripe has, and what stands behind them.
fn stripe_of(from: &[Mem], put: &Granted, entry: &Entry) -> (Vec<Mem>, Vec<u8>) {
    let first = stripe_length(put.size, entry.stripes.into(), 0);
    let stripe = pieces::window(from, first * u64::from(entry.stripe), data_length(entry));
    let footer = footer::encode(entry.generation, &pieces::checksums(&stripe, &BlockSums::default()));
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
