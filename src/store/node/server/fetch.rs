//! Copies that a master ordered: bytes are read from another node, checked block by block, and written here.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use prost::Message;

use super::service::stripe_of;
use super::{Core, State};
use crate::engine::Engine;
use crate::engine::batch::{BatchOptions, Local, Request};
use crate::error::{Code, Context, Result};
use crate::rpc::{Address, Client, Terms};
use crate::segment::memory::MemoryOptions;
use crate::store::footer::{self, Footer};
use crate::store::message::Spot;
use crate::store::node::Reaction;
use crate::store::node::obey::ITSELF;
use crate::store::object::{CHECKSUM_BLOCK, Entry, Extent, NodeId};
use crate::store::refusal::Refusal;
use crate::store::wire::master::{Contact, Contacts};
use crate::store::wire::node::{Attach, Attached, AttachedSegment, MayRead, Verify};
use crate::store::wire::{self, Call, NODE_SERVICE};
use crate::sys::checksum::crc32c;
use crate::sys::clock;
use crate::sys::memory::Mem;
use crate::transport::Opcode;
use crate::{bail, fail};

/// Bytes that are read at once: whole blocks.
const CHUNK: usize = 2 << 20;
/// Bytes that are written between two looks at whether they still may be, under the lock.
const PIECE: usize = 256 << 10;
/// How long one call, and the transfer of one chunk, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Another node, as one that reads from it.
struct Source {
    client: Arc<Client>,
    segments: BTreeMap<u64, (AttachedSegment, u64)>,
    engine: Weak<Engine>,
}

impl Drop for Source {
    fn drop(&mut self) {
        let Some(engine) = self.engine.upgrade() else { return };
        for (_, handle) in self.segments.values() {
            let _ = engine.close_segment(*handle);
        }
    }
}

/// Nodes that were read from, and keep this one attached.
#[derive(Default)]
pub struct Sources(Mutex<BTreeMap<NodeId, Arc<Source>>>);

impl Sources {
    pub fn tick(&self, now_ns: u64) {
        let all: Vec<Arc<Source>> = self.0.lock().values().cloned().collect();
        for source in all {
            source.client.tick(now_ns);
        }
    }

    pub fn close(&self) {
        let all = std::mem::take(&mut *self.0.lock());
        for source in all.into_values() {
            source.client.close(&fail!(Canceled, "the node is stopping"));
        }
    }
}

/// Where bytes come from.
enum From {
    Here,
    There(Arc<Source>),
}

/// Memory that the engine reads into.
struct Scratch {
    engine: Arc<Engine>,
    region: u64,
    mem: Mem,
}

impl Scratch {
    fn new(engine: &Arc<Engine>) -> Result<Scratch> {
        let options = MemoryOptions { permissions: 0, ..Default::default() };
        let (_, region) = engine.allocate_memory(CHUNK, &options)?;
        let mem = engine.memory.get(region)?.mem;
        Ok(Scratch { engine: engine.clone(), region, mem })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = self.engine.free_memory(self.region, true);
    }
}

/// What is to be fetched, and as which node.
struct Wanted {
    node: NodeId,
    spot: Spot,
    entry: Entry,
}

/// The entry was taken back meanwhile: no other source helps.
struct TakenBack;

impl Core {
    /// Has an entry fetched that was prepared for this node itself.
    pub fn begin_fetch(&self, state: &mut State, entry: Entry, from: Vec<Extent>) -> Vec<Reaction> {
        let spot = Spot { segment: entry.segment, offset: entry.offset, generation: entry.generation };
        let wanted = Wanted { node: state.inventory.id(), spot, entry };
        let me = self.me.clone();
        let pushed = self.fetches.run(move || {
            if let Some(core) = me.upgrade() {
                core.fetch(&wanted, &from);
            }
        });
        match pushed {
            Ok(()) => Vec::new(),
            Err(error) => {
                tracing::warn!("a copy that a master ordered is not made: {error}");
                state.inventory.fetched(self.now(), spot, false)
            }
        }
    }

    fn fetch(&self, wanted: &Wanted, from: &[Extent]) {
        // Whatever happens, the end is told: until then the range is taken for being written.
        let mut ending = Ending { core: self, spot: wanted.spot, has_arrived: false };
        let scratch = match Scratch::new(&self.engine) {
            Ok(scratch) => scratch,
            Err(error) => return tracing::warn!("fetching a copy: {error}"),
        };
        for extent in from {
            // A way in that was closed meanwhile is opened anew, once.
            for is_first in [true, false] {
                match self.fetch_from(wanted, extent, &scratch) {
                    Ok(Ok(())) => return ending.has_arrived = true,
                    Ok(Err(TakenBack)) => return,
                    Err(error) => {
                        let (length, node) = (extent.length, extent.node);
                        tracing::warn!("fetching {length} bytes from node {}: {error}", node.0);
                        if error.code == Code::Corrupted {
                            self.doubt(wanted.node, extent);
                            break;
                        }
                        let known = self.sources.0.lock().remove(&node);
                        if !is_first || known.is_none() {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Has the node of a replica look at what was found wrong there.
    fn doubt(&self, own: NodeId, extent: &Extent) {
        let spot = Spot::of(extent);
        match self.source(own, extent.node) {
            Ok(From::Here) => self.me.upgrade().into_iter().for_each(|core| core.verify(own, spot)),
            Ok(From::There(source)) => {
                let call = Verify { node: extent.node.0, spots: vec![spot.into()] };
                let body = call.encode_to_vec();
                source.client.call(Verify::METHOD, &body, clock::after(PATIENCE), Box::new(|_| {}));
            }
            Err(error) => tracing::debug!("node {} is not told: {error}", extent.node.0),
        }
    }

    fn fetch_from(
        &self,
        wanted: &Wanted,
        extent: &Extent,
        scratch: &Scratch,
    ) -> Result<std::result::Result<(), TakenBack>> {
        let length = stripe_of(&wanted.entry).map_err(Refusal::into_error)?;
        if footer::stored_length(length) > extent.length {
            bail!(InvalidArgument, "its {} bytes are too few for a stripe of {length}", extent.length);
        }
        let from = self.source(wanted.node, extent.node)?;
        let mut bytes = Vec::with_capacity(footer::footer_length(length));
        let mut at = footer::offset(length);
        while bytes.len() < footer::footer_length(length) {
            let part = CHUNK.min(footer::footer_length(length) - bytes.len());
            self.read(&from, extent, at, scratch.mem.part(0, part))?;
            scratch.mem.part(0, part).with_bytes(|part| bytes.extend_from_slice(part));
            at += part as u64;
        }
        let footer = Footer::decode(&bytes, extent.generation).map_err(Refusal::into_error)?;
        let mut checksums = Vec::with_capacity(footer::blocks(length));
        let mut at = 0;
        while at < length {
            let chunk = scratch.mem.part(0, usize::try_from(length - at).unwrap_or(CHUNK).min(CHUNK));
            self.read(&from, extent, at, chunk)?;
            let is_written = chunk.with_bytes(|bytes| {
                for block in bytes.chunks(CHECKSUM_BLOCK as usize) {
                    let sum = crc32c(block);
                    if footer.checksum(checksums.len()) != Some(sum) {
                        bail!(Corrupted, "block {} does not match its checksum", checksums.len());
                    }
                    checksums.push(sum);
                }
                Ok(self.write_own(wanted, at, bytes))
            })?;
            if is_written.is_err() {
                return Ok(Err(TakenBack));
            }
            at += chunk.len() as u64;
        }
        self.confirm(wanted.node, &from, extent)?;
        let own = footer::encode(wanted.entry.generation, &checksums);
        Ok(self.write_own(wanted, footer::offset(length), &own))
    }

    /// Writes bytes of the entry, while it is this node's to write.
    fn write_own(&self, wanted: &Wanted, at: u64, bytes: &[u8]) -> std::result::Result<(), TakenBack> {
        let Wanted { node, spot, .. } = wanted;
        let mut to = spot.offset + at;
        for piece in bytes.chunks(PIECE) {
            let state = self.state.lock();
            state.inventory.may_write(*node, *spot, ITSELF, to, piece.len() as u64).map_err(|_| TakenBack)?;
            self.write(spot.segment, to, piece);
            drop(state);
            to += piece.len() as u64;
        }
        Ok(())
    }

    /// Reads bytes of an extent, of which the first is at 0.
    fn read(&self, from: &From, extent: &Extent, at: u64, into: Mem) -> Result<()> {
        let length = into.len() as u64;
        let offset = extent.offset.checked_add(at);
        let is_within =
            |whole: u64| offset.and_then(|offset| offset.checked_add(length)).is_some_and(|end| end <= whole);
        let outside = || fail!(Rejected, "the extent lies outside of its segment");
        let offset = offset.ok_or_else(outside)?;
        match from {
            From::Here => {
                let memory = self.memory.get(&extent.segment).filter(|one| is_within(one.length));
                let mem = memory.ok_or_else(outside)?.mem.part(offset as usize, into.len());
                mem.with_bytes(|bytes| into.write(bytes));
                Ok(())
            }
            From::There(source) => {
                let found = source.segments.get(&extent.segment.0).filter(|(one, _)| is_within(one.length));
                let (segment, handle) = found.ok_or_else(outside)?;
                self.transfer(*handle, segment.base.checked_add(offset).ok_or_else(outside)?, into)
            }
        }
    }

    fn transfer(&self, segment: u64, remote: u64, into: Mem) -> Result<()> {
        let request = Request {
            opcode: Opcode::Read,
            segment,
            remote,
            length: into.len() as u64,
            local: Local::Contiguous(into.address()),
            user_data: 0,
        };
        let options = BatchOptions { deadline: Some(PATIENCE), ..Default::default() };
        let batch = self.engine.submit([Ok(request)].into_iter(), options)?;
        let result = self.engine.wait(batch, None).and_then(|info| match info.status {
            Some(_) => Err(self.engine.batch_error(batch, info)),
            None => Ok(()),
        });
        let _ = self.engine.release(batch);
        result
    }

    /// What was read was the object's, if its node still holds it now.
    fn confirm(&self, node: NodeId, from: &From, extent: &Extent) -> Result<()> {
        let spot = Spot::of(extent);
        match from {
            From::Here => self.state.lock().inventory.may_read(node, spot).map_err(Refusal::into_error),
            From::There(source) => {
                let call = MayRead { node: extent.node.0, spots: vec![spot.into()] };
                let reply = ask(&source.client, &call)?;
                let Some(outcome) = reply.results.into_iter().next() else {
                    bail!(Rejected, "an answer without a result");
                };
                outcome.failed.map_or(Ok(()), |failed| Err(failed.into_error()))
            }
        }
    }

    fn source(&self, own: NodeId, node: NodeId) -> Result<From> {
        if node == own {
            return Ok(From::Here);
        }
        if let Some(source) = self.sources.0.lock().get(&node) {
            return Ok(From::There(source.clone()));
        }
        let asked = self.masters.ask(self.following(), &Contacts { nodes: vec![node.0] });
        let contacts = asked.context("asking the master where it is")?.contacts;
        let Some(contact) = contacts.into_iter().find(|one| one.node == node.0) else {
            bail!(NotFound, "the master does not know where it is");
        };
        let source = Arc::new(self.attach_to(&contact)?);
        self.sources.0.lock().insert(node, source.clone());
        Ok(From::There(source))
    }

    fn attach_to(&self, contact: &Contact) -> Result<Source> {
        let mut ways = Vec::new();
        if !contact.local.is_empty() {
            // Found on the same host only.
            ways.push(Address::Local(contact.local.clone()));
        }
        ways.extend(contact.address.parse().ok().map(Address::Tcp));
        let mut failure = fail!(Unreachable, "it tells no address");
        for address in ways {
            let terms = Terms { service: NODE_SERVICE, psk: self.psk.clone() };
            let client = Client::new(&self.engine.reactor, contact.node as usize, address, terms);
            match ask(&client, &Attach { client: self.client.0 }) {
                Ok(attached) => return self.import(client, contact.node, attached),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn import(&self, client: Arc<Client>, node: u64, attached: Attached) -> Result<Source> {
        if attached.node != node {
            bail!(PeerRestarted, "it is node {} by now", attached.node);
        }
        let mut source = Source { client, segments: BTreeMap::new(), engine: Arc::downgrade(&self.engine) };
        for segment in attached.segments {
            let handle = self.engine.import_segment(&segment.blob)?;
            if let Some((_, before)) = source.segments.insert(segment.segment, (segment, handle)) {
                let _ = self.engine.close_segment(before);
            }
        }
        Ok(source)
    }
}

fn ask<C: Call>(client: &Client, call: &C) -> Result<C::Reply> {
    let body = client.call_wait(C::METHOD, &call.encode_to_vec(), clock::after(PATIENCE))?;
    wire::decode(&body)
}

/// Tells the inventory how a fetch ended, also when it panicked.
struct Ending<'a> {
    core: &'a Core,
    spot: Spot,
    has_arrived: bool,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let Ending { core, spot, has_arrived } = self;
        core.change(|state| state.inventory.fetched(core.now(), *spot, *has_arrived));
    }
}
