//! Getting objects, whole or in parts: located once, read from any replica, verified.

use std::sync::Arc;
use std::time::Duration;

use super::failure::{Failure, Result};
use super::leases::Lease;
use super::memory::Borrowed;
use super::nodes::Attachment;
use super::pieces::BlockSums;
use super::put::{TOGETHER, unanswered};
use super::read::{Fetch, Reading, room_for};
use super::write::local_of;
use super::{Store, pieces};
use crate::engine::batch::{BatchOptions, Request};
use crate::error::{Code, Error};
use crate::fail;
use crate::store::master::Located;
use crate::store::message::Spot;
use crate::store::object::{Extent, NodeId, Replica, Version};
use crate::store::wire::Call;
use crate::store::wire::master::{Get, GetReply, GetResult};
use crate::store::wire::node::Verify;
use crate::sys::clock;
use crate::sys::memory::Mem;
use crate::transport::Opcode;

/// Bytes of an object that are wanted somewhere.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// From the object's first byte on; as many follow as the pieces take.
    pub offset: u64,
    pub into: &'a [Mem],
}

/// What is wanted of an object.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// All of it; the pieces may have more room.
    Whole(&'a [Mem]),
    /// Each part whole, or OUT of range.
    Parts(&'a [Part<'a>]),
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Got {
    pub version: Version,
    /// Bytes of the whole object.
    pub size: u64,
}

#[derive(Clone, Debug, Default)]
pub struct GetOptions {
    /// Asks the master although a lease is held: what was put before this call is seen.
    pub fresh: bool,
    pub deadline: Option<Duration>,
}

/// An object that is being read.
struct Pending {
    /// Which of the caller's.
    index: usize,
    lease: Arc<Lease>,
    /// Which replica is read, in the order in which they are tried.
    replica: usize,
    /// The lease was held, not just granted.
    is_old: bool,
    /// The way to its node was opened anew for it.
    is_second_try: bool,
    failure: Option<Failure>,
}

impl Store {
    /// Gets objects; one result for each. What was read of an object that failed is undefined. Errors of a key:
    /// NOT_FOUND, BUFFER_TOO_SMALL (the message has the size), INVALID_ARGUMENT (a part lies outside), NOT_READY,
    /// UNREACHABLE, CORRUPTED (every replica is), LEASE_EXPIRED (reading took longer than a lease, again and again).
    pub fn get(&self, wanted: &[(&[u8], Wanted<'_>)], options: &GetOptions) -> Vec<Result<Got>> {
        let until = self.until(options.deadline);
        if let [one] = wanted {
            return vec![self.get_one(one, options.fresh, until)];
        }
        let mut results = Vec::with_capacity(wanted.len());
        for chunk in wanted.chunks(TOGETHER) {
            results.extend(self.get_chunk(chunk, options.fresh, until));
        }
        results
    }

    fn get_one(&self, one: &(&[u8], Wanted<'_>), fresh: bool, until: u64) -> Result<Got> {
        let (key, wanted) = one;
        if !fresh
            && let Some(lease) = self.leases.get(key, clock::now_ns())
            && let Some(got) = self.read_quickly(&lease, wanted, until)
        {
            return Ok(got);
        }
        let (one, mut results) = (std::slice::from_ref(one), vec![None]);
        let pending = self.locate(one, &[0], fresh, until, &mut results);
        if let Some(new) = pending.first().filter(|pending| !pending.is_old)
            && let Some(got) = self.read_quickly(&new.lease, wanted, until)
        {
            return Ok(got);
        }
        self.read_located(one, pending, results, until).remove(0)
    }

    fn get_chunk(&self, wanted: &[(&[u8], Wanted<'_>)], fresh: bool, until: u64) -> Vec<Result<Got>> {
        let mut results: Vec<Option<Result<Got>>> = wanted.iter().map(|_| None).collect();
        let all: Vec<usize> = (0..wanted.len()).collect();
        let pending = self.locate(wanted, &all, fresh, until, &mut results);
        self.read_located(wanted, pending, results, until)
    }

    /// Reads objects whose places are known; those that are not have their results.
    fn read_located(
        &self,
        wanted: &[(&[u8], Wanted<'_>)],
        mut pending: Vec<Pending>,
        mut results: Vec<Option<Result<Got>>>,
        until: u64,
    ) -> Vec<Result<Got>> {
        let pieces = wanted.iter().flat_map(|(_, wanted)| wanted.pieces());
        let borrowed = match Borrowed::new(&self.engine, pieces) {
            Ok(borrowed) => borrowed,
            Err(error) => return wanted.iter().map(|_| Err(error.clone().into())).collect(),
        };
        for _ in 0..ROUNDS {
            if pending.is_empty() {
                break;
            }
            let stale = self.read_all(wanted, &mut pending, until, &mut results);
            if stale.is_empty() {
                continue;
            }
            // What was known of them is out of date: look again.
            stale.iter().for_each(|index| self.leases.forget(wanted[*index].0));
            if clock::now_ns() < until {
                pending.extend(self.locate(wanted, &stale, true, until, &mut results));
            }
        }
        for one in pending {
            results[one.index] = Some(Err(one.failure.unwrap_or_else(expired)));
        }
        drop(borrowed);
        results.into_iter().map(|result| result.unwrap_or_else(|| Err(expired()))).collect()
    }

    /// Looks objects up, and holds leases of them.
    pub(super) fn look_up(&self, keys: &[&[u8]], fresh: bool, until: u64) -> Vec<Result<Arc<Lease>>> {
        let nothing: Vec<(&[u8], Wanted<'_>)> = keys.iter().map(|key| (*key, Wanted::Parts(&[]))).collect();
        let all: Vec<usize> = (0..keys.len()).collect();
        let mut results: Vec<Option<Result<Got>>> = keys.iter().map(|_| None).collect();
        let mut found: Vec<Option<Arc<Lease>>> = keys.iter().map(|_| None).collect();
        for one in self.locate(&nothing, &all, fresh, until, &mut results) {
            found[one.index] = Some(one.lease);
        }
        let word = |(lease, result): (Option<Arc<Lease>>, Option<Result<Got>>)| match (lease, result) {
            (Some(lease), _) => Ok(lease),
            (None, Some(Err(failure))) => Err(failure),
            (None, _) => Err(unanswered()),
        };
        found.into_iter().zip(results).map(word).collect()
    }

    /// Reads of an object by this lease and no other; and which replica it was. Errors: LEASE_EXPIRED, and as of `get`.
    pub(super) fn get_leased(
        &self,
        key: &[u8],
        lease: &Arc<Lease>,
        wanted: Wanted<'_>,
        until: u64,
    ) -> Result<(Got, usize)> {
        wanted.check(lease.size)?;
        let borrowed = Borrowed::new(&self.engine, wanted.pieces())?;
        let wanted = [(key, wanted)];
        let lease = lease.clone();
        let mut pending =
            vec![Pending { index: 0, lease, replica: 0, is_old: false, is_second_try: false, failure: None }];
        let (mut results, mut replica) = (vec![None], 0);
        while let Some(one) = pending.first() {
            replica = one.replica;
            if !self.read_all(&wanted, &mut pending, until, &mut results).is_empty() {
                break;
            }
        }
        drop(borrowed);
        results.remove(0).unwrap_or_else(|| Err(expired())).map(|got| (got, replica))
    }

    /// Finds out where objects lie. Those that cannot be read have their results then.
    fn locate(
        &self,
        wanted: &[(&[u8], Wanted<'_>)],
        which: &[usize],
        fresh: bool,
        until: u64,
        results: &mut [Option<Result<Got>>],
    ) -> Vec<Pending> {
        let (mut pending, mut asked) = (Vec::with_capacity(which.len()), Vec::new());
        let now = clock::now_ns();
        for index in which.iter().copied() {
            match self.leases.get(wanted[index].0, now).filter(|_| !fresh) {
                Some(lease) => pending.push(Pending {
                    index,
                    lease,
                    replica: 0,
                    is_old: true,
                    is_second_try: false,
                    failure: None,
                }),
                None => asked.push(index),
            }
        }
        if !asked.is_empty() {
            let before = self.leases.changes();
            for (index, located) in self.ask_where(wanted, &asked, until) {
                match located {
                    Ok(lease) => {
                        self.leases.put(wanted[index].0, &lease, before);
                        pending.push(Pending {
                            index,
                            lease,
                            replica: 0,
                            is_old: false,
                            is_second_try: false,
                            failure: None,
                        });
                    }
                    Err(failure) => results[index] = Some(Err(failure)),
                }
            }
        }
        pending.retain(|one| {
            let fits = wanted[one.index].1.check(one.lease.size);
            let is_sound = fits.is_ok();
            if let Err(error) = fits {
                results[one.index] = Some(Err(error.into()));
            }
            is_sound
        });
        pending
    }

    fn ask_where(
        &self,
        wanted: &[(&[u8], Wanted<'_>)],
        which: &[usize],
        until: u64,
    ) -> Vec<(usize, Result<Arc<Lease>>)> {
        let keys = which.iter().map(|index| wanted[*index].0.to_vec()).collect();
        let call = Get { tenant: self.tenant.clone(), keys };
        let is_not_ready =
            |result: &GetResult| result.failed.as_ref().is_some_and(|failed| failed.code() == Code::NotReady);
        let is_late = |reply: &GetReply| reply.results.iter().all(is_not_ready);
        match self.masters.ask_until(&call, until, true, is_late) {
            Ok((reply, asked_ns)) => {
                let mut answers = reply.results.into_iter();
                let lease = |index: &usize| {
                    let lease = match answers.next() {
                        Some(GetResult { failed: Some(failed), .. }) => Err(failed.into()),
                        Some(GetResult { located: Some(located), .. }) => {
                            sound(Lease::new(Located::from(&located), asked_ns))
                                .map(|lease| self.nearest_first(lease))
                        }
                        _ => Err(unanswered()),
                    };
                    (*index, lease)
                };
                which.iter().map(lease).collect()
            }
            Err(error) => which.iter().map(|index| (*index, Err(error.clone().into()))).collect(),
        }
    }

    /// Puts replicas on this host before others, as far as that is known.
    fn nearest_first(&self, mut lease: Lease) -> Arc<Lease> {
        if lease.replicas.len() > 1 {
            let is_near = |node: NodeId| self.nodes.known(node).is_some_and(|link| link.is_local);
            lease.replicas.sort_by_key(|one| !one.stripes.iter().all(|extent| is_near(extent.node)));
        }
        Arc::new(lease)
    }

    /// Reads what is pending, each from the replica whose turn it is. What succeeded is taken out, with its result; what
    /// failed stays for another replica. Returns those whose object has to be located anew.
    fn read_all(
        &self,
        wanted: &[(&[u8], Wanted<'_>)],
        pending: &mut Vec<Pending>,
        until: u64,
        results: &mut [Option<Result<Got>>],
    ) -> Vec<usize> {
        let replicas = pending.iter().filter_map(|one| one.lease.replicas.get(one.replica));
        let extents = replicas.flat_map(|replica| &replica.stripes);
        self.learn(extents.map(|extent| extent.node).collect(), until);
        let room: usize = pending.iter().map(|one| wanted[one.index].1.room(one)).sum();
        let mut room = match self.rooms.take(room) {
            Ok(room) => room,
            Err(error) => {
                for one in pending.drain(..) {
                    results[one.index] = Some(Err(error.clone().into()));
                }
                return Vec::new();
            }
        };
        let mut readings: Vec<Reading> = Vec::with_capacity(pending.len());
        for one in pending.iter() {
            let mut reading = Reading::default();
            if let Some(replica) = one.lease.replicas.get(one.replica) {
                let size = one.lease.size;
                wanted[one.index].1.each(size, |offset, length, into| {
                    reading.add(replica, (size, offset, length), into, &mut room);
                });
            }
            readings.push(reading);
        }
        let outcomes = self.fetch(pending, &readings, until);
        let now = clock::now_ns();
        for ((one, reading), outcome) in pending.iter().zip(&readings).zip(&outcomes) {
            if outcome.is_ok() {
                one.lease.sums.keep(&one.lease, one.replica, || reading.checksums());
            }
        }
        let (mut stale, mut rest) = (Vec::new(), Vec::new());
        for (mut one, outcome) in pending.drain(..).zip(outcomes) {
            let Err(failure) = outcome else {
                let (version, size) = (one.lease.version, one.lease.size);
                results[one.index] = Some(Ok(Got { version, size }));
                continue;
            };
            // A node closes the way of a client that it cannot trust to have stopped writing: then it takes another one.
            let is_closed = matches!(
                failure.code(),
                Code::AddressNotRegistered | Code::PeerRestarted | Code::ConnectionLost
            );
            if is_closed && !one.is_second_try && now < until {
                (one.is_second_try, one.failure) = (true, Some(failure));
                rest.push(one);
                continue;
            }
            (one.replica, one.is_second_try) = (one.replica + 1, false);
            let is_out = now >= one.lease.until_ns || failure.code() == Code::LeaseExpired;
            if is_out || one.is_old && one.replica >= one.lease.replicas.len() {
                stale.push(one.index);
            } else if one.replica >= one.lease.replicas.len() || now >= until {
                results[one.index] = Some(Err(failure));
            } else {
                one.failure = Some(failure);
                rest.push(one);
            }
        }
        *pending = rest;
        stale
    }

    /// Finds out where nodes are, as far as somebody knows.
    fn learn(&self, mut nodes: Vec<NodeId>, until: u64) {
        nodes.sort_unstable();
        nodes.dedup();
        if let Err(error) = self.nodes.learn(&self.masters, &nodes, until) {
            tracing::debug!("looking for nodes: {error}");
        }
    }

    /// Fetches all bytes of all readings, and looks whether they are right and came in time.
    fn fetch(&self, pending: &[Pending], readings: &[Reading], until: u64) -> Vec<Result<()>> {
        let mut outcomes: Vec<Result<()>> = readings.iter().map(|_| Ok(())).collect();
        let mut together: Vec<(usize, &Fetch)> = Vec::new();
        for (index, reading) in readings.iter().enumerate() {
            if reading.fetches.is_empty() {
                outcomes[index] = Err(fail!(Unreachable, "no replica of the object is there").into());
            } else {
                together.extend(reading.fetches.iter().map(|fetch| (index, fetch)));
            }
        }
        let sums = self.fetch_together(pending, &together, &mut outcomes, until);
        let now = clock::now_ns();
        for ((one, reading), outcome) in pending.iter().zip(readings).zip(&mut outcomes) {
            if outcome.is_ok() {
                *outcome = if now >= one.lease.until_ns {
                    Err(expired())
                } else {
                    reading.verify(&sums).map_err(|(extent, refusal)| self.distrust(&extent, refusal))
                };
            }
        }
        outcomes
    }

    /// Fetches everything with one batch.
    fn fetch_together(
        &self,
        pending: &[Pending],
        fetches: &[(usize, &Fetch)],
        outcomes: &mut [Result<()>],
        until: u64,
    ) -> BlockSums {
        let (mut requests, mut asked) =
            (Vec::with_capacity(fetches.len()), Vec::with_capacity(fetches.len()));
        for (index, fetch) in fetches {
            if outcomes[*index].is_err() {
                continue;
            }
            match self.request(fetch, until) {
                Ok((request, way)) => {
                    requests.push(Ok(request));
                    asked.push((*index, *fetch, way));
                }
                Err(error) => outcomes[*index] = Err(error.into()),
            }
        }
        if requests.is_empty() {
            return BlockSums::default();
        }
        // Nobody may go on reading when the first of the leases is over; and if one node is silent, the others are tried
        // while the leases still hold.
        let ends = asked.iter().map(|(index, ..)| pending[*index].lease.until_ns).min();
        let deadline = Some(clock::until(attempt(ends.unwrap_or(until), until)));
        let options = BatchOptions { deadline, verifies_reads: true, ..Default::default() };
        match self.run(requests, options) {
            Ok((failed, sums)) => {
                for (request, error) in failed {
                    let (index, fetch, way) = &asked[request];
                    let index = *index;
                    self.doubt(fetch, way, &error);
                    if outcomes[index].is_ok() {
                        outcomes[index] = Err(error.into());
                    }
                }
                sums
            }
            Err(error) => {
                asked.iter().for_each(|(index, ..)| outcomes[*index] = Err(error.clone().into()));
                BlockSums::default()
            }
        }
    }

    /// With the way that it goes, which must stand until it ended.
    fn request(&self, fetch: &Fetch, until: u64) -> crate::error::Result<(Request, Arc<Attachment>)> {
        let node = fetch.extent.node;
        let Some(link) = self.nodes.known(node) else {
            return Err(fail!(Unreachable, "the node {} of a replica is not reached", node.0));
        };
        let attachment = self.nodes.reach(&link, until)?;
        let (segment, remote) = attachment.locate(&fetch.extent, fetch.from, fetch.length)?;
        let local = local_of(&fetch.into);
        let length = fetch.length;
        Ok((Request { opcode: Opcode::Read, segment, remote, length, local, user_data: 0 }, attachment))
    }

    /// Reading failed: the way that was used is opened anew before the next time.
    fn doubt(&self, fetch: &Fetch, way: &Arc<Attachment>, error: &Error) {
        let Some(link) = self.nodes.known(fetch.extent.node) else { return };
        link.detach(way);
        if matches!(error.code, Code::Unreachable | Code::ConnectionLost | Code::PeerRestarted) {
            link.lose();
        }
    }

    /// What was read of an extent is wrong.
    fn distrust(&self, extent: &Extent, refusal: crate::store::refusal::Refusal) -> Failure {
        if refusal.code == Code::Corrupted {
            tracing::warn!(
                "{} (node {}, segment {}, offset {}): reading another replica, if there is one",
                refusal.reason,
                extent.node.0,
                extent.segment.0,
                extent.offset
            );
            // The node looks for itself: it may have been wrong on the way.
            if let Some(link) = self.nodes.known(extent.node) {
                let verify = Verify { node: extent.node.0, spots: vec![Spot::of(extent).into()] };
                let body = prost::Message::encode_to_vec(&verify);
                link.client.call(Verify::METHOD, &body, clock::after(TOLD), Box::new(drop));
            }
        }
        refusal.into()
    }
}

/// How long a node may take to hear that it holds something wrong.
const TOLD: Duration = Duration::from_secs(1);
/// How often objects are read before a failure is the answer: once from each replica there may be, and some more
/// because leases end meanwhile.
const ROUNDS: usize = crate::store::object::MAX_REPLICAS + 8;

/// When one attempt to read ends: what came by then is judged while its lease holds, and the rest has time for another.
pub(super) fn attempt(lease_ends: u64, until: u64) -> u64 {
    let now = clock::now_ns();
    now + lease_ends.min(until).saturating_sub(now) / 2
}

fn expired() -> Failure {
    fail!(LeaseExpired, "reading took longer than the lease, again and again").into()
}

/// The master's word, as far as it can be checked: every replica has stripes, and the object fits into them.
fn sound(lease: Lease) -> Result<Lease> {
    let fits = |replica: &Replica| {
        let stripes = replica.stripes.len();
        let is_whole = |(index, extent): (usize, &Extent)| {
            let length = crate::store::object::stripe_length(lease.size, stripes, index);
            length > 0 && extent.length == crate::store::footer::stored_length(length)
        };
        stripes > 0 && replica.stripes.iter().enumerate().all(is_whole)
    };
    if lease.size == 0 || lease.size > i64::MAX as u64 || !lease.replicas.iter().all(fits) {
        return Err(fail!(Rejected, "the master tells of a replica that the object does not fit into").into());
    }
    Ok(lease)
}

impl Wanted<'_> {
    fn pieces(&self) -> impl Iterator<Item = Mem> + '_ {
        let (whole, parts): (&[Mem], &[Part<'_>]) = match self {
            Wanted::Whole(pieces) => (pieces, &[]),
            Wanted::Parts(parts) => (&[], parts),
        };
        whole.iter().copied().chain(parts.iter().flat_map(|part| part.into.iter().copied()))
    }

    fn check(&self, size: u64) -> crate::error::Result<()> {
        match self {
            Wanted::Whole(pieces) if pieces::total(pieces) < size => Err(fail!(
                BufferTooSmall,
                "the object has {size} bytes, and there is room for {}",
                pieces::total(pieces)
            )),
            Wanted::Whole(_) => Ok(()),
            Wanted::Parts(parts) => parts.iter().try_for_each(|part| {
                let length = pieces::total(part.into);
                if part.offset.checked_add(length).is_none_or(|end| end > size) {
                    return Err(fail!(
                        InvalidArgument,
                        "{length} bytes from {} on: the object has {size}",
                        part.offset
                    ));
                }
                Ok(())
            }),
        }
    }

    /// Calls with offset, length and memory of everything that is wanted.
    fn each(&self, size: u64, mut then: impl FnMut(u64, u64, &[Mem])) {
        match self {
            Wanted::Whole(pieces) => then(0, size, pieces),
            Wanted::Parts(parts) => {
                parts.iter().for_each(|part| then(part.offset, pieces::total(part.into), part.into));
            }
        }
    }

    fn room(&self, one: &Pending) -> usize {
        let Some(replica) = one.lease.replicas.get(one.replica) else { return 0 };
        let mut room = 0;
        self.each(one.lease.size, |offset, length, _| {
            room += room_for(replica, one.lease.size, offset, length)
        });
        room
    }
}
