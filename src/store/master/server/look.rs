//! What those who run a master see of it, and may do without being a client: the same methods, called within the process.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use crate::error::{Code, Error, Result};
use crate::store::master::{
    ListCursor, Located, Page, SegmentInfo, Stats, TaskId, TaskInfo, TenantInfo, Walk,
};
use crate::store::object::{Name, NodeId};
use crate::store::refusal::Refusal;
use crate::store::wire::master::Matching;

use super::pattern::Pattern;
use super::tasks::named;
use super::{Counted, HotKey, Master};

/// Hot keys that are shown.
const HOTTEST: usize = 20;

/// A master at one moment.
#[derive(Clone, Debug)]
pub struct Seen {
    pub epoch: u64,
    pub is_serving: bool,
    /// Another one has taken over.
    pub is_deposed: bool,
    pub view: u64,
    pub members: usize,
    pub stats: Stats,
    pub segments: Vec<SegmentInfo>,
    pub tenants: Vec<TenantInfo>,
    pub counted: Vec<Counted>,
    /// Bytes of objects that were found by those who read.
    pub found_bytes: u64,
    /// Puts that found no memory.
    pub no_space: u64,
    /// Calls that wait for nodes.
    pub waiting: usize,
    /// Connections of clients and nodes.
    pub connections: usize,
    pub hot: Vec<HotKey>,
}

/// Which objects of a tenant are meant.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub tenant: String,
    pub prefix: Vec<u8>,
    /// Empty is any.
    pub regex: String,
}

impl Filter {
    fn pattern(&self) -> Result<Pattern> {
        Pattern::new(Some(Matching { prefix: self.prefix.clone(), regex: self.regex.clone() }))
    }
}

impl Master {
    pub fn look(&self) -> Seen {
        let counters = &self.core.counters;
        let mut seen = self.core.work(|inner, _| {
            let state = &inner.state;
            Seen {
                epoch: state.epoch().0,
                is_serving: state.is_serving(),
                is_deposed: state.is_deposed(),
                view: state.view().id.number,
                members: state.view().members.len(),
                stats: state.stats(),
                segments: state.segments(),
                tenants: state.tenants(),
                counted: Vec::new(),
                found_bytes: 0,
                no_space: 0,
                waiting: inner.pending.len(),
                connections: 0,
                hot: Vec::new(),
            }
        });
        seen.counted = counters.all();
        seen.found_bytes = counters.found_bytes.load(Ordering::Relaxed);
        seen.no_space = counters.no_space.load(Ordering::Relaxed);
        seen.connections = self.over_tcp.connection_count() + self.over_local.connection_count();
        seen.hot = self.core.hot.hottest(HOTTEST);
        seen
    }

    /// Where an object lies, without a lease.
    pub fn whereabouts(&self, tenant: &str, key: &[u8]) -> Result<Located> {
        let name = Name { tenant, key };
        self.core.work(|inner, now| inner.state.whereabouts(now, name)).map_err(Refusal::into_error)
    }

    /// Where a node is found by those who call it.
    pub fn contact(&self, node: NodeId) -> Option<SocketAddr> {
        let contact = self.core.links.contacts([node].into_iter()).pop()?;
        contact.address.parse().ok()
    }

    /// Objects that match, from a place on; a page may have fewer than the limit and not be the last.
    pub fn list(&self, filter: &Filter, from: ListCursor, limit: usize) -> Result<Page> {
        let pattern = filter.pattern()?;
        let mut matches = |key: &[u8]| pattern.matches(key);
        let walk = Walk { tenant: &filter.tenant, from, limit, matches: &mut matches };
        self.core.work(|inner, now| inner.state.list(now, walk)).map_err(Refusal::into_error)
    }

    /// Removes what matches, a page at a time. Returns how many are not found any more, and how many stay because they are
    /// in use; nodes drop the former by themselves.
    pub fn remove_all(&self, filter: &Filter, unless_leased: bool) -> Result<(usize, usize)> {
        let pattern = filter.pattern()?;
        let (mut removed, mut busy, mut from) = (0, 0, Some(ListCursor::default()));
        while let Some(place) = from {
            let mut matches = |key: &[u8]| pattern.matches(key);
            let walk = Walk { tenant: &filter.tenant, from: place, limit: 1024, matches: &mut matches };
            let swept = self.core.work(|inner, now| {
                let Some(token) = inner.pending.next_token() else {
                    return Err(Error::new(Code::Exhausted, "too many calls wait for nodes"));
                };
                inner.state.remove_where(now, walk, token, unless_leased).map_err(Refusal::into_error)
            })?;
            (removed, busy, from) = (removed + swept.removed, busy + swept.busy, swept.next);
        }
        Ok((removed, busy))
    }

    pub fn set_quota(&self, tenant: &str, bytes: Option<u64>) -> Result<()> {
        self.core.work(|inner, _| inner.state.set_quota(tenant, bytes)).map_err(Refusal::into_error)
    }

    /// Moves what a segment holds elsewhere.
    pub fn drain(&self, segment: &str) -> Result<TaskId> {
        self.core.work(|inner, _| {
            let one = named(&inner.state, segment)?;
            inner.state.drain(one.node, one.segment).map_err(Refusal::into_error)
        })
    }

    pub fn task(&self, task: TaskId) -> Option<TaskInfo> {
        self.core.work(|inner, _| inner.state.task(task))
    }

    pub fn cancel_task(&self, task: TaskId) -> Result<()> {
        self.core.work(|inner, now| inner.state.cancel_task(now, task)).map_err(Refusal::into_error)
    }
}
