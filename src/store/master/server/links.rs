//! The ways to nodes: where each is found, and what is on its way there. Orders may be lost, since they are given again as
//! long as they matter; so nothing here waits for a node that does not answer.

use std::collections::HashMap;
use std::mem;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use prost::Message;

use crate::bail;
use crate::error::{Code, Error, Result};
use crate::rpc::{Address, Client, Terms};
use crate::store::message::{Order, Report};
use crate::store::object::NodeId;
use crate::store::wire::master::Contact;
use crate::store::wire::node::{Orders, OrdersReply};
use crate::store::wire::{Call, NODE_SERVICE, decode};
use crate::sys::clock;
use crate::sys::reactor::Reactor;

use super::core::Core;

/// Nodes that are known at once.
const MAX_NODES: usize = 4096;
/// Calls to one node that wait for their answers. What comes meanwhile leaves together with the next one.
const MAX_CALLS: usize = 8;
/// Orders that wait for that; more are lost.
const MAX_WAITING: usize = 1 << 16;
/// Most orders in one call.
const MAX_ORDERS: usize = 4096;
/// How long an answer to orders is waited for.
const ORDERS_WITHIN: Duration = Duration::from_secs(2);
/// Where a node that says nothing for so long was found is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(120);

struct Link {
    contact: Contact,
    over_tcp: Arc<Client>,
    /// As long as it is not known to be of no use.
    over_local: Option<Arc<Client>>,
    heard_ns: u64,
    calls: usize,
    waiting: Vec<Order>,
}

pub struct Links {
    reactor: Arc<Reactor>,
    terms: Terms,
    core: Weak<Core>,
    all: Mutex<HashMap<NodeId, Link>>,
}

impl Links {
    pub fn new(reactor: &Arc<Reactor>, psk: Option<Arc<[u8]>>, core: Weak<Core>) -> Links {
        let terms = Terms { service: NODE_SERVICE, psk };
        Links { reactor: reactor.clone(), terms, core, all: Mutex::default() }
    }

    /// Notes where a node is found.
    pub fn learn(&self, contact: Contact) -> Result<()> {
        let node = NodeId(contact.node);
        let Ok(address) = contact.address.parse::<SocketAddr>() else {
            bail!(Rejected, "node {} says that it is found at {:.80}", contact.node, contact.address);
        };
        let now = clock::now_ns();
        let mut all = self.all.lock();
        if let Some(known) = all.get_mut(&node).filter(|known| known.contact == contact) {
            known.heard_ns = now;
            return Ok(());
        }
        if all.len() >= MAX_NODES && !all.contains_key(&node) {
            bail!(Exhausted, "{MAX_NODES} nodes are known here already");
        }
        let worker = node.0 as usize;
        let client = |address| Client::new(&self.reactor, worker, address, self.terms.clone());
        let link = Link {
            over_tcp: client(Address::Tcp(address)),
            over_local: (!contact.local.is_empty()).then(|| client(Address::Local(contact.local.clone()))),
            contact,
            heard_ns: now,
            calls: 0,
            waiting: Vec::new(),
        };
        let before = all.insert(node, link);
        // Dropped without the lock: its calls end, and those who wait for them hear of it.
        drop(all);
        drop(before);
        Ok(())
    }

    pub fn contacts(&self, nodes: impl Iterator<Item = NodeId>) -> Vec<Contact> {
        let all = self.all.lock();
        nodes.filter_map(|node| all.get(&node).map(|link| link.contact.clone())).collect()
    }

    /// Sends orders, those to one node together and in their order.
    pub fn send(&self, orders: Vec<Order>) {
        let mut nodes: Vec<NodeId> = Vec::new();
        {
            let mut all = self.all.lock();
            for order in orders {
                let node = order.to;
                let Some(link) = all.get_mut(&node) else { continue };
                if link.waiting.len() < MAX_WAITING {
                    link.waiting.push(order);
                }
                if !nodes.contains(&node) {
                    nodes.push(node);
                }
            }
        }
        nodes.into_iter().for_each(|node| self.flush(node));
    }

    /// Sends what waits for a node, as far as it may.
    fn flush(&self, node: NodeId) {
        loop {
            let (orders, over_local, over_tcp) = {
                let mut all = self.all.lock();
                let Some(link) = all.get_mut(&node) else { return };
                if link.calls >= MAX_CALLS || link.waiting.is_empty() {
                    return;
                }
                link.calls += 1;
                let rest = link.waiting.split_off(link.waiting.len().min(MAX_ORDERS));
                (mem::replace(&mut link.waiting, rest), link.over_local.clone(), link.over_tcp.clone())
            };
            let body = Orders { orders: orders.iter().map(Into::into).collect() }.encode_to_vec();
            let way = Way { core: self.core.clone(), node };
            match over_local {
                Some(over_local) => way.call_local(&over_local, over_tcp, body),
                None => way.call(&over_tcp, &body),
            }
        }
    }

    /// A call to a node ended.
    fn ended(&self, node: NodeId, was_heard: bool) {
        if let Some(link) = self.all.lock().get_mut(&node) {
            link.calls = link.calls.saturating_sub(1);
            if !was_heard {
                // What still matters by the time it answers is given again.
                return link.waiting.clear();
            }
            link.heard_ns = clock::now_ns();
        }
        self.flush(node);
    }

    /// Nobody listens under the local name: perhaps the node is on another host.
    fn is_not_local(&self, node: NodeId, client: &Arc<Client>) {
        let mut all = self.all.lock();
        let Some(link) = all.get_mut(&node) else { return };
        let is_same = link.over_local.as_ref().is_some_and(|known| Arc::ptr_eq(known, client));
        let gone = if is_same { link.over_local.take() } else { None };
        drop(all);
        drop(gone);
    }

    pub fn tick(&self, now_ns: u64) {
        let mut clients = Vec::new();
        let mut gone = Vec::new();
        {
            let mut all = self.all.lock();
            let patience = FORGET_AFTER.as_nanos() as u64;
            let silent = all.extract_if(|_, link| now_ns.saturating_sub(link.heard_ns) > patience);
            gone.extend(silent);
            for link in all.values().filter(|link| link.calls > 0) {
                clients.push(link.over_tcp.clone());
                clients.extend(link.over_local.clone());
            }
        }
        drop(gone);
        for client in clients {
            client.tick(now_ns);
        }
    }

    pub fn close(&self) {
        let all = mem::take(&mut *self.all.lock());
        drop(all);
    }
}

/// One call of orders to a node. What comes back goes to the core.
struct Way {
    core: Weak<Core>,
    node: NodeId,
}

impl Way {
    fn call_local(self, over_local: &Arc<Client>, over_tcp: Arc<Client>, body: Vec<u8>) {
        let deadline = clock::after(ORDERS_WITHIN);
        let (again, client) = (body.clone(), Arc::downgrade(over_local));
        let reply = move |result: Result<Vec<u8>>| match result {
            Err(Error { code: Code::Unreachable, .. }) => {
                if let (Some(core), Some(client)) = (self.core.upgrade(), client.upgrade()) {
                    core.links.is_not_local(self.node, &client);
                }
                self.call(&over_tcp, &again);
            }
            result => self.answered(result),
        };
        over_local.call(Orders::METHOD, &body, deadline, Box::new(reply));
    }

    fn call(self, client: &Client, body: &[u8]) {
        let reply = move |result| self.answered(result);
        client.call(Orders::METHOD, body, clock::after(ORDERS_WITHIN), Box::new(reply));
    }

    fn answered(self, result: Result<Vec<u8>>) {
        let Some(core) = self.core.upgrade() else { return };
        let reports = result.and_then(|body| {
            let reply: OrdersReply = decode(&body)?;
            reply.reports.into_iter().map(Report::try_from).collect::<Result<Vec<_>>>()
        });
        let was_heard = reports.is_ok();
        match reports {
            Ok(reports) if !reports.is_empty() => core.take(reports),
            Ok(_) => {}
            Err(error) => tracing::debug!(node = self.node.0, "orders to a node: {error}"),
        }
        core.links.ended(self.node, was_heard);
    }
}
