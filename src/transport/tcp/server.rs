//! The listening side: binds, tells where it is found, accepts, and keeps strangers from crowding out peers.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::Node;
use super::session::Session;
use super::threshold::Threshold;
use super::wire::MAGIC;
use crate::config::{Bind, Config};
use crate::error::{Error, Result};
use crate::segment::descriptor::EngineId;
use crate::sys::listener::{Accept, Bound, Listener};
use crate::sys::net::{self, InterfaceAddress};
use crate::transport::Strangers;
use crate::{bail, fail};

/// Connections that have not greeted; beyond that the oldest goes.
const MAX_STRANGERS: usize = 256;
/// Connections of peers.
const MAX_SESSIONS: usize = 16_384;
/// A connection that does not greet is closed after this time.
const GREETING_PATIENCE: Duration = Duration::from_secs(5);

struct Sessions {
    all: HashMap<u64, Arc<Session>>,
    /// Highest epoch of each engine that greeted, and its connections.
    peers: HashMap<EngineId, (u64, Vec<u64>)>,
    strangers: usize,
}

pub struct Server {
    pub node: Arc<Node>,
    listener: Arc<Listener>,
    bound: SocketAddr,
    sessions: Mutex<Sessions>,
    /// Who shares the port, if somebody does; then the first bytes of each connection are looked at.
    strangers: Option<Arc<dyn Strangers>>,
    undecided: Mutex<HashMap<u64, Arc<Threshold>>>,
    next_number: AtomicU64,
    is_closed: AtomicBool,
    me: Weak<Server>,
}

impl Server {
    pub fn start(
        config: &Config,
        node: Arc<Node>,
        strangers: Option<Arc<dyn Strangers>>,
    ) -> Result<Arc<Server>> {
        let (listener, advertised) = listen(config)?;
        let io = |error| Error::io("listening", &error);
        let bound = listener.local_addr().map_err(io)?;
        *node.addresses.write() = match &config.advertise_host {
            Some(host) => vec![host_with_port(host, bound.port())],
            None => advertised.iter().map(|ip| with_port(ip, bound.port())).collect(),
        };
        let server = Arc::new_cyclic(|me: &Weak<Server>| Server {
            node: node.clone(),
            listener: Listener::new(&node.reactor, "connections of peers", Bound::Tcp(listener), me.clone()),
            bound,
            sessions: Mutex::new(Sessions { all: HashMap::new(), peers: HashMap::new(), strangers: 0 }),
            strangers,
            undecided: Mutex::default(),
            next_number: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            me: me.clone(),
        });
        *node.server.write() = Arc::downgrade(&server);
        server.listener.watch().map_err(io)?;
        Ok(server)
    }

    pub fn bound(&self) -> SocketAddr {
        self.bound
    }

    pub fn port(&self) -> u16 {
        self.bound.port()
    }

    /// Finds out whose connection it is.
    fn admit_undecided(&self, me: &Arc<Server>, socket: TcpStream) -> Result<()> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let mut undecided = self.undecided.lock();
        if self.is_closed.load(Ordering::Acquire) {
            bail!(InvalidHandle, "the engine is being destroyed");
        }
        let oldest = match undecided.len() < MAX_STRANGERS {
            true => None,
            false => undecided.keys().min().copied().and_then(|oldest| undecided.remove(&oldest)),
        };
        undecided.insert(number, Threshold::start(me, number, socket)?);
        drop(undecided);
        if let Some(oldest) = oldest {
            self.node.metrics.refused_count.increment();
            oldest.end();
        }
        self.node.start_clock();
        Ok(())
    }

    /// A connection was decided, or ended before.
    pub(super) fn cross(&self, number: u64) {
        self.undecided.lock().remove(&number);
    }

    /// Hands a connection to whom its first bytes name.
    pub(super) fn sort(&self, socket: TcpStream, first: &[u8; 8]) {
        let Some(me) = self.me.upgrade() else { return };
        match &self.strangers {
            Some(strangers) if *first != MAGIC && strangers.is_one(first) => strangers.take(socket),
            _ => {
                if let Err(error) = self.admit_stranger(&me, socket) {
                    self.node.metrics.refused_count.increment();
                    tracing::warn!("a connection was refused: {error}");
                }
            }
        }
    }

    fn admit_stranger(&self, me: &Arc<Server>, socket: TcpStream) -> Result<()> {
        let io = |error| Error::io("preparing a connection", &error);
        socket.set_nodelay(true).map_err(io)?;
        net::keep_alive(&socket).map_err(io)?;
        self.make_room();
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let mut sessions = self.sessions.lock();
        if sessions.all.len() >= MAX_SESSIONS + MAX_STRANGERS || self.is_closed.load(Ordering::Acquire) {
            bail!(Exhausted, "{} connections stand", sessions.all.len());
        }
        let session = Session::start(me, number, socket)?;
        sessions.all.insert(number, session);
        sessions.strangers += 1;
        drop(sessions);
        self.node.start_clock();
        Ok(())
    }

    /// Closes the oldest stranger when there are too many.
    fn make_room(&self) {
        let oldest = {
            let sessions = self.sessions.lock();
            if sessions.strangers < MAX_STRANGERS {
                return;
            }
            let strangers = sessions.all.values().filter(|session| !session.is_greeted());
            strangers.min_by_key(|session| session.number).cloned()
        };
        if let Some(oldest) = oldest {
            self.node.metrics.refused_count.increment();
            oldest.end();
        }
    }

    /// A connection greeted: it joins its engine's, and those of an earlier epoch end before this returns.
    pub(super) fn admit(&self, session: &Arc<Session>, id: EngineId, epoch: u64) -> Result<()> {
        let older: Vec<Arc<Session>> = {
            let mut sessions = self.sessions.lock();
            if sessions.all.len() - sessions.strangers > MAX_SESSIONS {
                bail!(Exhausted, "{MAX_SESSIONS} connections of peers stand");
            }
            let Sessions { all, peers, strangers } = &mut *sessions;
            let (known, numbers) = peers.entry(id).or_insert((epoch, Vec::new()));
            if epoch < *known {
                bail!(Rejected, "a connection of an epoch that has ended");
            }
            let old = if epoch > *known { std::mem::take(numbers) } else { Vec::new() };
            *known = epoch;
            *strangers = strangers.saturating_sub(1);
            numbers.push(session.number);
            old.iter().filter_map(|number| all.get(number).cloned()).collect()
        };
        older.iter().for_each(|session| session.end());
        Ok(())
    }

    pub(super) fn forget(&self, number: u64) {
        let mut sessions = self.sessions.lock();
        let Some(session) = sessions.all.remove(&number) else { return };
        if !session.is_greeted() {
            sessions.strangers = sessions.strangers.saturating_sub(1);
            return;
        }
        // The epoch stays known for as long as the engine has a connection, and is dropped with its last one: the next
        // one of that engine has a higher epoch anyway.
        sessions.peers.retain(|_, (_, numbers)| {
            numbers.retain(|other| *other != number);
            !numbers.is_empty()
        });
    }

    /// Closes strangers that do not greet; true while there are any.
    pub fn tick(&self, now: u64) -> bool {
        let patience = GREETING_PATIENCE.as_nanos() as u64;
        let has_undecided = self.end_undecided(|since_ns| now.saturating_sub(since_ns) > patience);
        let has_others = self.strangers.as_ref().is_some_and(|strangers| strangers.tick(now));
        self.end_ungreeted(now, patience) || has_undecided || has_others
    }

    /// Ends connections that say nothing; true while there are others.
    fn end_undecided(&self, is_late: impl Fn(u64) -> bool) -> bool {
        let (late, waiting): (Vec<Arc<Threshold>>, Vec<Arc<Threshold>>) =
            self.undecided.lock().values().cloned().partition(|one| is_late(one.accepted_ns));
        for one in &late {
            self.node.metrics.refused_count.increment();
            one.end();
        }
        !waiting.is_empty()
    }

    fn end_ungreeted(&self, now: u64, patience: u64) -> bool {
        let (late, has_strangers): (Vec<Arc<Session>>, bool) = {
            let sessions = self.sessions.lock();
            if sessions.strangers == 0 {
                return false;
            }
            let strangers = sessions.all.values().filter(|session| !session.is_greeted());
            let late =
                strangers.filter(|session| now.saturating_sub(session.accepted_ns) > patience).cloned();
            (late.collect(), sessions.strangers > 0)
        };
        for session in late {
            tracing::debug!("a connection did not greet in time");
            self.node.metrics.refused_count.increment();
            session.end();
        }
        has_strangers
    }

    /// Ends every connection; on return nothing is applied any more.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.listener.close();
        self.end_undecided(|_| true);
        if let Some(strangers) = &self.strangers {
            strangers.close();
        }
        let sessions: Vec<Arc<Session>> = self.sessions.lock().all.values().cloned().collect();
        sessions.iter().for_each(|session| session.end());
    }
}

impl Accept for Server {
    fn accept(&self, socket: TcpStream, from: &dyn Display) {
        let Some(me) = self.me.upgrade().filter(|_| !self.is_closed.load(Ordering::Acquire)) else { return };
        let admitted = match &self.strangers {
            None => self.admit_stranger(&me, socket),
            Some(_) => self.admit_undecided(&me, socket),
        };
        if let Err(error) = admitted {
            self.node.metrics.refused_count.increment();
            tracing::warn!("connection of {from} refused: {error}");
        }
    }
}

/// "host:port", with brackets around an IPv6 address that has none.
fn host_with_port(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn with_port(ip: &IpAddr, port: u16) -> String {
    SocketAddr::new(*ip, port).to_string()
}

/// Binds as configured; returns the addresses to tell peers, the best first.
fn listen(config: &Config) -> Result<(TcpListener, Vec<IpAddr>)> {
    let addresses =
        net::interface_addresses().map_err(|error| Error::io("listing network interfaces", &error))?;
    let wanted: Vec<SocketAddr> = match &config.bind {
        Bind::Any => vec![
            SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
            SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        ],
        Bind::Address(host) => resolve(host)?,
        Bind::Interface(name) => {
            let found = addresses.iter().filter(|address| address.interface == *name).collect();
            pick(found, &format!("interface {name:?}"), &addresses)?
        }
        Bind::Cidr(cidr) => {
            let found = addresses.iter().filter(|address| in_network(address.address, cidr)).collect();
            pick(found, &format!("network {cidr}"), &addresses)?
        }
    };
    let listener = bind(&wanted, config)?;
    let bound = listener.local_addr().map_err(|error| Error::io("listening", &error))?;
    if !bound.ip().is_unspecified() {
        return Ok((listener, vec![bound.ip()]));
    }
    tracing::info!("listening on every address: name bind_address, network_interface or cidr to restrict it");
    Ok((listener, advertised(&addresses, bound.is_ipv6())))
}

fn resolve(host: &str) -> Result<Vec<SocketAddr>> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if bare == "*" {
        return Ok(vec![
            SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
            SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        ]);
    }
    let found =
        (bare, 0).to_socket_addrs().map_err(|error| fail!(NotFound, "bind address {host:?}: {error}"))?;
    Ok(found.collect())
}

fn pick(mut found: Vec<&InterfaceAddress>, what: &str, all: &[InterfaceAddress]) -> Result<Vec<SocketAddr>> {
    // IPv4 first, link-local last.
    found.sort_by_key(|address| (is_link_local(&address.address), address.address.is_ipv6()));
    if found.is_empty() {
        let names: Vec<String> = all.iter().map(|one| format!("{} {}", one.interface, one.address)).collect();
        bail!(NotFound, "no address of this host fits {what}; there are: {}", names.join(", "));
    }
    Ok(found
        .iter()
        .map(|one| match one.address {
            IpAddr::V6(ip) => std::net::SocketAddrV6::new(ip, 0, 0, one.scope_id).into(),
            ip => SocketAddr::new(ip, 0),
        })
        .collect())
}

fn bind(wanted: &[SocketAddr], config: &Config) -> Result<TcpListener> {
    let last = config.port_last.max(config.port);
    let mut failure = None;
    for port in config.port..=last {
        for address in wanted {
            let mut address = *address;
            address.set_port(port);
            match TcpListener::bind(address) {
                Ok(listener) => return Ok(listener),
                Err(error) => failure = Some(Error::io(format_args!("binding {address}"), &error)),
            }
        }
    }
    Err(failure.unwrap_or_else(|| fail!(NotFound, "no address to bind")))
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// One address per interface, those that other hosts can use first; loopback only when there is nothing else.
fn advertised(addresses: &[InterfaceAddress], has_v6: bool) -> Vec<IpAddr> {
    let mut usable: Vec<&InterfaceAddress> = addresses
        .iter()
        .filter(|one| one.is_up && !is_link_local(&one.address) && (has_v6 || one.address.is_ipv4()))
        .collect();
    usable.sort_by_key(|one| (one.is_loopback, is_bridge(&one.interface), one.address.is_ipv6()));
    let outside = usable.iter().filter(|one| !one.is_loopback).count();
    let mut seen = std::collections::HashSet::new();
    usable
        .iter()
        .filter(|one| outside == 0 || !one.is_loopback)
        .filter(|one| seen.insert((one.interface.clone(), one.address.is_ipv6())))
        .map(|one| one.address)
        .collect()
}

/// Bridges of container runtimes: reachable from this host's containers only.
fn is_bridge(interface: &str) -> bool {
    ["docker", "br-", "virbr", "cni", "flannel", "veth"].iter().any(|prefix| interface.starts_with(prefix))
}

fn in_network(ip: IpAddr, cidr: &str) -> bool {
    let Some((network, bits)) = cidr.split_once('/') else { return cidr.parse() == Ok(ip) };
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            ip.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(ip), IpAddr::V6(network)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            ip.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertised_host_gets_brackets_where_its_port_needs_them() {
        let told = |host| host_with_port(host, 7);
        assert_eq!(["a.b", "::1", "[::1]"].map(told), ["a.b:7", "[::1]:7", "[::1]:7"]);
    }

    #[test]
    fn networks_are_told_apart_by_their_prefix() {
        let ip: IpAddr = "10.1.2.3".parse().expect("an address");
        assert!(in_network(ip, "10.0.0.0/8"));
        assert!(in_network(ip, "0.0.0.0/0"));
        assert!(!in_network(ip, "10.2.0.0/16"));
        assert!(!in_network(ip, "fd00::/8"));
        assert!(in_network("fd00::1".parse().expect("an address"), "fd00::/8"));
    }
}
