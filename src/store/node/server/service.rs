//! What is asked of a node: by clients that write and read, and by masters.

use std::sync::{Arc, OnceLock, Weak};

use prost::Message;

use super::{Core, State};
use crate::error::Result;
use crate::rpc::{Answer, Caller, Service};
use crate::store::footer::{self, Footer};
use crate::store::message::{Evidence, Order, Spot};
use crate::store::node::Reaction;
use crate::store::node::obey::ITSELF;
use crate::store::object::{self, ClientId, Entry, Generation, NodeId};
use crate::store::refusal::{self, Refusal};
use crate::store::wire::node::{
    Attach, Commit, Done, DoneReply, MayRead, Orders, OrdersReply, Outcome, Prepare, Put, Results, Verify,
    WireSpot,
};
use crate::store::wire::{Call, Failed, decode};
use crate::{bail, fail};

/// Where calls come in; before and after the life of the node they are turned away.
#[derive(Default)]
pub struct Door {
    pub core: OnceLock<Weak<Core>>,
    /// Its callers come without a network: they are numbered apart from the others.
    pub is_local: bool,
}

/// Upper bit of the numbers of local callers.
const LOCAL: u64 = 1 << 63;

impl Door {
    fn number(&self, caller: &Caller) -> u64 {
        if self.is_local { caller.number | LOCAL } else { caller.number }
    }
}

impl Service for Door {
    fn call(&self, caller: &Caller, method: u16, body: &[u8], answer: Answer) {
        let Some(core) = self.core.get().and_then(Weak::upgrade) else {
            return answer.send(Err(fail!(Unreachable, "the node is starting, or stopping")));
        };
        match core.serve(self.number(caller), method, body) {
            Ok(body) => answer.send(Ok(&body)),
            Err(error) => answer.send(Err(error)),
        }
    }

    fn gone(&self, caller: &Caller) {
        let Some(core) = self.core.get().and_then(Weak::upgrade) else { return };
        let (mut state, caller) = (core.state.lock(), self.number(caller));
        state.attachments.gone(core.now(), caller);
        if state.following.caller == caller {
            // Its process ended, maybe: another one is found without delay.
            state.following.lose();
        }
    }
}

/// Most ranges that one call has looked at.
const MAX_VERIFIED: usize = 64;

fn one(result: refusal::Result<()>) -> Outcome {
    Outcome { failed: result.err().map(Failed::from), value: 0 }
}

/// A client's id, as it says; the node itself writes under one that no client has.
fn client(id: u64) -> Result<ClientId> {
    if id == ITSELF.0 {
        bail!(InvalidArgument, "a client's id is not 0");
    }
    Ok(ClientId(id))
}

fn spot_of(entry: &Entry) -> Spot {
    Spot { segment: entry.segment, offset: entry.offset, generation: entry.generation }
}

/// Bytes of an entry's stripe, without its footer.
pub fn stripe_of(entry: &Entry) -> refusal::Result<u64> {
    let is_sound = entry.stripe < entry.stripes
        && u64::from(entry.stripes) <= object::MAX_STRIPES
        && (1..1 << 62).contains(&entry.size);
    let length = if is_sound {
        object::stripe_length(entry.size, usize::from(entry.stripes), usize::from(entry.stripe))
    } else {
        0
    };
    if length == 0 || footer::stored_length(length) > entry.length {
        return Err(Refusal::new(crate::error::Code::InvalidArgument, "the entry describes no stripe"));
    }
    Ok(length)
}

impl Core {
    fn serve(self: &Arc<Self>, caller: u64, method: u16, body: &[u8]) -> Result<Vec<u8>> {
        let reply = match method {
            Orders::METHOD => self.orders(caller, decode(body)?)?.encode_to_vec(),
            Attach::METHOD => {
                let asked: Attach = decode(body)?;
                let client = client(asked.client)?;
                self.attach(&mut self.state.lock(), client, caller)?.encode_to_vec()
            }
            Prepare::METHOD => self.prepare(caller, decode(body)?)?.encode_to_vec(),
            Commit::METHOD => self.commit(&decode(body)?)?.encode_to_vec(),
            Put::METHOD => self.put(body)?.encode_to_vec(),
            Done::METHOD => self.done(&decode(body)?)?.encode_to_vec(),
            MayRead::METHOD => self.may_read(&decode(body)?).encode_to_vec(),
            Verify::METHOD => {
                let asked: Verify = decode(body)?;
                let spots = asked.spots.into_iter().take(MAX_VERIFIED).map(Into::into);
                spots.for_each(|spot| self.verify(NodeId(asked.node), spot));
                DoneReply {}.encode_to_vec()
            }
            _ => bail!(Unsupported, "a node knows no method {method}"),
        };
        Ok(reply)
    }

    fn orders(&self, caller: u64, asked: Orders) -> Result<OrdersReply> {
        let orders: Vec<Order> = asked.orders.into_iter().map(Order::try_from).collect::<Result<_>>()?;
        let now = self.now();
        let mut state = self.state.lock();
        let mut reactions = Vec::new();
        for order in &orders {
            let is_mine = order.to == state.inventory.id();
            reactions.extend(state.inventory.obey(now, order));
            if is_mine && state.inventory.follows(order) {
                state.following.master = Some(order.master);
                state.following.caller = caller;
                state.following.heard_ms = Some(now);
            }
        }
        let reports = self.react(&mut state, reactions);
        Ok(OrdersReply { reports: reports.iter().map(Into::into).collect() })
    }

    fn prepare(&self, caller: u64, asked: Prepare) -> Result<Results> {
        let (client, node) = (client(asked.client)?, NodeId(asked.node));
        let entries: Vec<Result<Entry>> = asked.entries.into_iter().map(Entry::try_from).collect();
        let mut state = self.state.lock();
        let is_open = state.attachments.check(client, asked.attachment, caller);
        let prepare = |entry: Result<Entry>| match entry {
            Ok(entry) => one(is_open.and_then(|()| state.inventory.prepare(node, entry, client))),
            Err(error) => Outcome { failed: Some(Failed::from(&error)), value: 0 },
        };
        Ok(Results { results: entries.into_iter().map(prepare).collect() })
    }

    fn commit(&self, asked: &Commit) -> Result<Results> {
        let (client, node, now) = (client(asked.client)?, NodeId(asked.node), self.now());
        let mut state = self.state.lock();
        let commit = |spot: &WireSpot| one(state.inventory.commit(now, node, (*spot).into(), client));
        Ok(Results { results: asked.spots.iter().map(commit).collect() })
    }

    /// In the body, the message comes first, then the bytes.
    fn put(&self, body: &[u8]) -> Result<Results> {
        let cut = || fail!(Rejected, "a put whose message was cut");
        let (length, rest) = body.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (message, mut bytes) = rest.split_at_checked(length).ok_or_else(cut)?;
        let asked: Put = decode(message)?;
        let (client, node, now) = (client(asked.client)?, NodeId(asked.node), self.now());
        let mut wanted = Vec::with_capacity(asked.entries.len());
        for entry in asked.entries {
            let entry = Entry::try_from(entry)?;
            let stripe = stripe_of(&entry).map_err(Refusal::into_error)?;
            let stored = usize::try_from(footer::stored_length(stripe)).map_err(|_| cut())?;
            let (own, others) = bytes.split_at_checked(stored).ok_or_else(cut)?;
            bytes = others;
            wanted.push((entry, own));
        }
        if !bytes.is_empty() {
            bail!(Rejected, "a put with {} bytes that belong to no entry", bytes.len());
        }
        let put = |(entry, bytes)| one(self.put_one(&mut self.state.lock(), now, node, client, entry, bytes));
        Ok(Results { results: wanted.into_iter().map(put).collect() })
    }

    /// Prepares, writes and commits in one step: nobody can come between.
    fn put_one(
        &self,
        state: &mut State,
        now: u64,
        node: NodeId,
        client: ClientId,
        entry: Entry,
        bytes: &[u8],
    ) -> refusal::Result<()> {
        let stripe = stripe_of(&entry)?;
        let footer = usize::try_from(footer::offset(stripe)).ok().and_then(|at| bytes.get(at..));
        Footer::decode(footer.unwrap_or_default(), entry.generation)?;
        let (spot, length) = (spot_of(&entry), bytes.len() as u64);
        state.inventory.prepare(node, entry, client)?;
        // One that was committed before is as good.
        if state.inventory.may_write(node, spot, client, spot.offset, length).is_ok() {
            self.write(spot.segment, spot.offset, bytes);
        }
        state.inventory.commit(now, node, spot, client)
    }

    fn done(&self, asked: &Done) -> Result<DoneReply> {
        let writer = client(asked.client)?;
        self.change(|state| {
            let now = self.now();
            let done = |generation: &u64| {
                let generation = Generation(*generation);
                state.inventory.evidence(now, Evidence::Done { writer, generation })
            };
            asked.generations.iter().flat_map(done).collect::<Vec<Reaction>>()
        });
        Ok(DoneReply {})
    }

    fn may_read(&self, asked: &MayRead) -> Results {
        let (node, state) = (NodeId(asked.node), self.state.lock());
        let may = |spot: &WireSpot| one(state.inventory.may_read(node, (*spot).into()));
        Results { results: asked.spots.iter().map(may).collect() }
    }
}

/// A door for one node.
pub fn door(is_local: bool) -> Arc<Door> {
    Arc::new(Door { core: OnceLock::new(), is_local })
}
