//! The ways to nodes: where they are called, and how their memory is reached.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Options;
use super::calls::ask;
use super::masters::{Masters, resolve};
use crate::engine::Engine;
use crate::error::{Code, Context, Result};
use crate::fail;
use crate::rpc::{Address, Client, Several, Terms};
use crate::store::object::{ClientId, Extent, NodeId, SegmentId};
use crate::store::wire::NODE_SERVICE;
use crate::store::wire::master::{Contact, Contacts};
use crate::store::wire::node::{Attach, Attached};
use crate::sys::clock;
use crate::sys::reactor::Reactor;

/// A way into a node's memory, until the node takes it back.
pub struct Attachment {
    pub id: u64,
    engine: Arc<Engine>,
    segments: HashMap<SegmentId, Reached>,
}

struct Reached {
    /// Of the engine.
    segment: u64,
    base: u64,
    length: u64,
}

impl Attachment {
    fn new(engine: &Arc<Engine>, attached: Attached) -> Result<Attachment> {
        let mut attachment =
            Attachment { id: attached.attachment, engine: engine.clone(), segments: HashMap::new() };
        for one in attached.segments {
            let segment = engine.import_segment(&one.blob).context("importing a segment of a node")?;
            let reached = Reached { segment, base: one.base, length: one.length };
            attachment.segments.insert(SegmentId(one.segment), reached);
        }
        Ok(attachment)
    }

    /// The engine's segment, and its offset there, of a range from `from` bytes into an extent on.
    pub fn locate(&self, extent: &Extent, from: u64, length: u64) -> Result<(u64, u64)> {
        let Some(reached) = self.segments.get(&extent.segment) else {
            return Err(fail!(PeerRestarted, "the node gives a segment that it did not show: attach again"));
        };
        let end = extent.offset.checked_add(from).and_then(|start| start.checked_add(length));
        if end.is_none_or(|end| end > reached.length) {
            return Err(fail!(Rejected, "an extent reaches outside of its segment"));
        }
        Ok((reached.segment, reached.base + extent.offset + from))
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        for reached in self.segments.values() {
            let _ = self.engine.close_segment(reached.segment);
        }
    }
}

pub struct NodeLink {
    pub id: NodeId,
    pub client: Arc<Client>,
    /// For calls that need no attachment: those belong to the connection that made them.
    pub clients: Several,
    /// It is called without a network.
    pub is_local: bool,
    attachment: Mutex<Option<Arc<Attachment>>>,
    is_lost: AtomicBool,
}

impl NodeLink {
    /// The way that was opened, if it still stands as far as is known.
    pub fn attached(&self) -> Option<Arc<Attachment>> {
        self.attachment.lock().clone()
    }

    /// Forgets a way that does not lead anywhere any more.
    pub fn detach(&self, stale: &Arc<Attachment>) {
        let mut held = self.attachment.lock();
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, stale)) {
            *held = None;
        }
    }

    /// It was not there: the next operation looks for it anew.
    pub fn lose(&self) {
        self.is_lost.store(true, Ordering::Release);
    }
}

/// How long a node may take to be met, and how long one that was not is left alone.
const MEETING: Duration = Duration::from_secs(1);
const MISSED: Duration = Duration::from_millis(500);

pub struct Nodes {
    client: ClientId,
    no_local: bool,
    terms: Terms,
    reactor: Arc<Reactor>,
    engine: Arc<Engine>,
    links: Mutex<HashMap<NodeId, Arc<NodeLink>>>,
    /// Nodes that could not be met, and when that is worth another try.
    missed: Mutex<HashMap<NodeId, u64>>,
}

impl Nodes {
    pub fn new(client: ClientId, options: &Options, reactor: &Arc<Reactor>, engine: &Arc<Engine>) -> Nodes {
        Nodes {
            client,
            no_local: options.no_local,
            terms: Terms { service: NODE_SERVICE, psk: options.psk.clone() },
            reactor: reactor.clone(),
            engine: engine.clone(),
            links: Mutex::default(),
            missed: Mutex::default(),
        }
    }

    pub fn known(&self, node: NodeId) -> Option<Arc<NodeLink>> {
        let links = self.links.lock();
        links.get(&node).filter(|link| !link.is_lost.load(Ordering::Acquire)).cloned()
    }

    /// Finds out where these nodes are. Those that nobody knows stay unknown.
    pub fn learn(&self, masters: &Masters, nodes: &[NodeId], deadline_ns: u64) -> Result<()> {
        let now = clock::now_ns();
        let unknown: Vec<u64> = {
            let mut missed = self.missed.lock();
            missed.retain(|_, until| *until > now);
            let is_new = |node: &&NodeId| self.known(**node).is_none() && !missed.contains_key(node);
            nodes.iter().filter(is_new).map(|node| node.0).collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let reply = masters.ask(&Contacts { nodes: unknown }, deadline_ns, true)?;
        for contact in reply.contacts {
            let node = NodeId(contact.node);
            match self.meet(contact, deadline_ns.min(clock::after(MEETING))) {
                Ok(link) => {
                    let mut links = self.links.lock();
                    links.retain(|_, link| !link.is_lost.load(Ordering::Acquire));
                    links.insert(node, link);
                }
                Err(error) => {
                    tracing::debug!("node {} is not reached: {error}", node.0);
                    self.missed.lock().insert(node, clock::after(MISSED));
                }
            }
        }
        Ok(())
    }

    fn meet(&self, contact: Contact, deadline_ns: u64) -> Result<Arc<NodeLink>> {
        let node = NodeId(contact.node);
        let link = |client: Arc<Client>, is_local, attached: Attached| -> Result<Arc<NodeLink>> {
            let attachment = Attachment::new(&self.engine, attached)?;
            let attachment = Mutex::new(Some(Arc::new(attachment)));
            let (clients, is_lost) = (Several::new(client.clone()), AtomicBool::new(false));
            Ok(Arc::new(NodeLink { id: node, client, clients, is_local, attachment, is_lost }))
        };
        if !contact.local.is_empty() && !self.no_local {
            let local = Client::new(&self.reactor, 0, Address::Local(contact.local), self.terms.clone());
            if let Ok(attached) = self.attach(&local, node, deadline_ns) {
                return link(local, true, attached);
            }
        }
        let address = Address::Tcp(resolve(&contact.address)?);
        let client = Client::new(&self.reactor, 0, address, self.terms.clone());
        let attached = self.attach(&client, node, deadline_ns)?;
        link(client, false, attached)
    }

    fn attach(&self, client: &Client, node: NodeId, deadline_ns: u64) -> Result<Attached> {
        let attached = ask(client, &Attach { client: self.client.0 }, deadline_ns)?;
        if attached.node != node.0 {
            return Err(fail!(PeerRestarted, "{} is another node by now", client.address()));
        }
        Ok(attached)
    }

    /// A way into a node's memory, opened if there is none. A node that is just closing one is asked again.
    pub fn reach(&self, link: &NodeLink, deadline_ns: u64) -> Result<Arc<Attachment>> {
        loop {
            if let Some(attachment) = link.attached() {
                return Ok(attachment);
            }
            match self.attach(&link.client, link.id, deadline_ns) {
                Ok(attached) => {
                    let made = Arc::new(Attachment::new(&self.engine, attached)?);
                    return Ok(link.attachment.lock().insert(made).clone());
                }
                Err(error) if error.code == Code::Busy && clock::now_ns() < deadline_ns => {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                Err(error) => {
                    if error.code != Code::Busy {
                        link.lose();
                    }
                    return Err(
                        error.context(format_args!("attaching to the node at {}", link.client.address()))
                    );
                }
            }
        }
    }

    pub fn tick(&self, now: u64) -> bool {
        let links: Vec<Arc<NodeLink>> = self.links.lock().values().cloned().collect();
        links.iter().fold(false, |busy, link| link.clients.tick(now) | busy)
    }
}
