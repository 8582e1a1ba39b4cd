//! Opening, importing, closing and probing segments.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Engine;
use super::meeting::{Meeting, Place};
use super::peer::{Peer, View};
use super::segment::{Probe, RegionInfo, Segment, SegmentInfo, wait_for};
use crate::error::{Code, Context, Result};
use crate::segment::descriptor::{Descriptor, EngineId, from_blob};
use crate::segment::mooncake::RpcAddress;
use crate::sys::clock;
use crate::transport::tcp::Link;
use crate::{bail, fail};

impl Engine {
    pub(super) fn segment(&self, id: u64) -> Result<Arc<Segment>> {
        self.segments.read().get(id).cloned()
    }

    /// The segment of this engine's own memory; made when first asked for.
    pub fn local_segment_id(&self) -> u64 {
        let Some(me) = self.me.upgrade() else { return 0 };
        let first = |segments: &crate::id::Slab<Arc<Segment>>| segments.iter().next().map(|(id, _)| id);
        if let Some(id) = first(&self.segments.read()) {
            return id;
        }
        let own = self.view_of_self(&me);
        let mut segments = self.segments.write();
        first(&segments).or_else(|| segments.insert(own).ok()).unwrap_or(0)
    }

    /// Opens a peer's segment by address or name; `timeout` zero does not wait for the peer.
    pub fn open_segment(&self, name: &str, timeout: Option<Duration>) -> Result<u64> {
        self.local_segment_id();
        let until = clock::after(timeout.unwrap_or(self.config.default_deadline));
        let peer = self.peer_named(name)?;
        if timeout.is_none_or(|timeout| !timeout.is_zero())
            && let Err(error) = peer.meet(until)
        {
            self.forget_peer(&peer);
            return Err(error.context(format_args!("opening {name}")));
        }
        self.add_segment(Segment { peer, view: View::Whole })
    }

    fn add_segment(&self, segment: Segment) -> Result<u64> {
        let peer = segment.peer.clone();
        peer.open_segments.fetch_add(1, Ordering::AcqRel);
        let added = self.segments.write().insert(Arc::new(segment));
        if added.is_err() {
            peer.open_segments.fetch_sub(1, Ordering::AcqRel);
        }
        added
    }

    /// The peer of an address or of a name in the metadata backend.
    fn peer_named(&self, name: &str) -> Result<Arc<Peer>> {
        if name.is_empty() || name.len() > 255 {
            bail!(InvalidArgument, "a segment's name has 1 to 255 bytes, not {}", name.len());
        }
        // One of this process that was destroyed is looked up anew: a successor has another identity.
        let is_live = |peer: &&Arc<Peer>| peer.contact().is_some() || peer.local_engine().is_some();
        if let Some(peer) = self.peers.lock().get(name).filter(is_live) {
            return Ok(peer.clone());
        }
        if let Some(backend) = &self.backend {
            if let Some(blob) =
                backend.get(&format!("engine/{name}")).context(format_args!("looking up {name:?}"))?
            {
                let record = from_blob(&blob).context(format_args!("what is published for {name:?}"))?;
                let id = EngineId::from_bytes(&record.engine_id)?;
                return self.peer_at(name, Some(id), &record.addresses);
            }
            if self.mooncake.is_some() {
                return self.peer_to_meet(name, Place::Name(name.to_owned()));
            }
            if name.rsplit_once(':').is_none() {
                bail!(NotFound, "no engine {name:?} is published in the metadata backend");
            }
        }
        match (&self.mooncake, &self.backend, RpcAddress::parse(name)) {
            (Some(_), None, Some(address)) => self.peer_to_meet(name, Place::Address(address)),
            _ => self.peer_at(name, None, &[name.to_owned()]),
        }
    }

    /// A peer that may be an engine of Mooncake.
    fn peer_to_meet(&self, label: &str, place: Place) -> Result<Arc<Peer>> {
        let me = self.me.upgrade().ok_or_else(|| fail!(InvalidHandle, "the engine is being destroyed"))?;
        Ok(self.keep_peer(label, || {
            Peer::new(label.to_owned(), &me, |events| Meeting::new(label, place, &me, events))
        }))
    }

    fn peer_at(&self, label: &str, id: Option<EngineId>, addresses: &[String]) -> Result<Arc<Peer>> {
        let me = self.me.upgrade().ok_or_else(|| fail!(InvalidHandle, "the engine is being destroyed"))?;
        if let Some(target) = id.and_then(super::process::find).filter(|_| self.config.transports.local) {
            return Ok(self.keep_peer(label, || Peer::in_process(label.to_owned(), &me, &target)));
        }
        let mut resolved = Vec::new();
        let mut failure = None;
        for address in addresses {
            match resolve(address) {
                Ok(found) => resolved.extend(found),
                Err(error) => failure = Some(error),
            }
        }
        if resolved.is_empty() {
            return Err(
                failure.unwrap_or_else(|| fail!(Unreachable, "{label} tells no address: it does not listen"))
            );
        }
        Ok(self.keep_peer(label, || {
            Peer::new(label.to_owned(), &me, |events| Link::new(self.node.clone(), label, resolved, events))
        }))
    }

    fn keep_peer(&self, key: &str, make: impl FnOnce() -> Arc<Peer>) -> Arc<Peer> {
        let mut peers = self.peers.lock();
        peers.retain(|_, peer| peer.contact().is_some() || peer.local_engine().is_some());
        peers.entry(key.to_owned()).or_insert_with(make).clone()
    }

    /// Makes a segment of a blob that `export` of a peer made.
    pub fn import_segment(&self, blob: &[u8]) -> Result<u64> {
        self.local_segment_id();
        let record = from_blob(blob)?;
        let id = EngineId::from_bytes(&record.engine_id)?;
        let known = self.peers.lock().values().find(|peer| peer.id() == Some(id)).cloned();
        let peer = match known {
            Some(peer) => peer,
            None => self.peer_at(&format!("{}@{id}", record.name), Some(id), &record.addresses)?,
        };
        let regions = Arc::new(
            Descriptor::from_record(record).map_err(|error| error.with_code(Code::InvalidArgument))?,
        );
        self.add_segment(Segment { peer, view: View::Blob(id, regions) })
    }

    pub fn close_segment(&self, id: u64) -> Result<()> {
        if id != 0 && id == self.local_segment_id() {
            bail!(InvalidState, "the local segment lives as long as its engine");
        }
        let segment = self.segments.write().remove(id)?;
        let peer = &segment.peer;
        if peer.open_segments.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.forget_peer(peer);
        }
        Ok(())
    }

    fn forget_peer(&self, peer: &Arc<Peer>) {
        let mut peers = self.peers.lock();
        // Opened again meanwhile, or still in use by a batch: the batch's end drops the last reference.
        if peer.open_segments.load(Ordering::Acquire) == 0 {
            peers.retain(|_, other| !Arc::ptr_eq(other, peer));
        }
    }

    pub fn segment_info(&self, id: u64) -> Result<SegmentInfo> {
        Ok(self.segment(id)?.info())
    }

    pub fn segment_regions(&self, id: u64) -> Result<Vec<RegionInfo>> {
        Ok(self.segment(id)?.list())
    }

    /// Learns a peer's regions anew.
    pub fn refresh_segment(&self, id: u64, timeout: Option<Duration>) -> Result<()> {
        let segment = self.segment(id)?;
        if matches!(segment.view, View::Blob(..)) {
            bail!(InvalidState, "an imported segment has the regions of its blob: import a new one");
        }
        segment.peer.refresh(clock::after(timeout.unwrap_or(self.config.default_deadline)))
    }

    /// Asks whether a peer is alive.
    pub fn probe_segment(&self, id: u64, timeout: Option<Duration>) -> Result<Probe> {
        let segment = self.segment(id)?;
        let peer = &segment.peer;
        let started = clock::now_ns();
        let until = clock::after(timeout.unwrap_or(self.config.keepalive));
        let (is_alive, silence) = match peer.contact() {
            None => (peer.local_engine().is_some(), Duration::ZERO),
            Some(contact) => {
                let answer = wait_for(until, |reply| contact.ping(until, reply));
                (matches!(answer, Some(Ok(_))), contact.silence())
            }
        };
        let info = peer.info();
        let has_restarted = match &segment.view {
            View::Blob(id, _) => info.id.is_some_and(|now| now != *id),
            View::Whole => info.restarts > 0,
        };
        Ok(Probe {
            lanes: info.lanes,
            is_alive,
            has_restarted,
            since: if is_alive { peer.met_since() } else { silence },
            round_trip: Duration::from_nanos(if is_alive { clock::now_ns() - started } else { 0 }),
            path: peer.path_name(false),
            engine_id: info.id.map_or_else(String::new, |id| id.to_string()),
        })
    }
}

/// Addresses of `host:port` or `[IPv6]:port`.
pub(super) fn resolve(address: &str) -> Result<Vec<SocketAddr>> {
    if let Ok(numeric) = address.parse::<SocketAddr>() {
        return Ok(vec![numeric]);
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        bail!(InvalidArgument, "{address:?} has no port: use host:port or [IPv6]:port");
    };
    let port: u16 =
        port.parse().map_err(|_| fail!(InvalidArgument, "{address:?} has no port number at its end"))?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty()
        || (host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err() && !host.contains('%'))
    {
        bail!(InvalidArgument, "{address:?} is no address: use host:port or [IPv6]:port");
    }
    let found: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|error| fail!(NotFound, "no address for host {host:?}: {error}"))?
        .collect();
    if found.is_empty() {
        bail!(NotFound, "no address for host {host:?}");
    }
    Ok(found)
}
