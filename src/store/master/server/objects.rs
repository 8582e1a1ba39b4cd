//! What clients ask about objects. A call is done as a whole before others get their turn, with one status for each part.

use std::sync::atomic::Ordering;

use prost::Message;

use crate::error::{Code, Result};
use crate::fail;
use crate::rpc::Answer;
use crate::store::master::{Answer as Done, Listed as Found, PutStart as Wanted, State, Walk};
use crate::store::object::{ClientId, Extent as Range, Name, ReplicateConfig, Token, Version};
use crate::store::refusal::{self, Refusal};
use crate::store::wire::master::*;
use crate::store::wire::quick::{Keys, put_found};
use crate::store::wire::{Call, Failed, decode};

use super::core::Core;
use super::pattern::Pattern;
use super::pending::Who;

/// Most objects in one page of a list, and in one step of a removal.
const MAX_PAGE: usize = 4096;
/// Bytes of an answer for one object with one replica.
const FOUND_BYTES: usize = 80;
/// Bytes of an answer at which what is left of its batch is put off: an object may have thousands of stripes.
const MAX_ANSWER: usize = 8 << 20;

const TOO_LONG: Refusal = Refusal::retry(Code::Exhausted, "the answer is too long: ask for less at once", 0);

pub fn outcome(result: refusal::Result<u64>) -> Outcome {
    match result {
        Ok(value) => Outcome { failed: None, value },
        Err(refusal) => Outcome { failed: Some(refusal.into()), value: 0 },
    }
}

/// Answers a batch, and counts it.
pub fn results(core: &Core, method: u16, results: Vec<Outcome>) -> Vec<u8> {
    let failed = results.iter().filter(|one| one.failed.is_some()).count();
    core.counters.note(method, results.len(), failed);
    Results { results }.encode_to_vec()
}

pub fn get(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let keys = Keys::read(body)?;
    let (mut out, mut failed, mut bytes) = (Vec::with_capacity(keys.len() * FOUND_BYTES), 0, 0);
    core.work(|inner, now| {
        for key in keys.iter() {
            let has_room = out.len() < MAX_ANSWER;
            let name = Name { tenant: keys.tenant, key };
            let found = if has_room { inner.state.get(now, name) } else { Err(TOO_LONG) };
            match &found {
                Ok(found) => bytes += found.size,
                Err(_) => failed += 1,
            }
            put_found(&mut out, &found);
        }
    });
    core.counters.found_bytes.fetch_add(bytes, Ordering::Relaxed);
    let all = std::cell::OnceCell::new();
    core.hot.note(keys.tenant, keys.len(), |index| {
        all.get_or_init(|| keys.iter().collect::<Vec<_>>()).get(index).copied()
    });
    core.counters.note(Get::METHOD, keys.len(), failed);
    Ok(out)
}

pub fn exists(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let keys = Keys::read(body)?;
    let count = keys.len();
    let mut reply = ExistsReply {
        statuses: Vec::with_capacity(count),
        sizes: Vec::with_capacity(count),
        replicas: Vec::with_capacity(count),
    };
    core.work(|inner, now| {
        for key in keys.iter() {
            let looked = inner.state.look(now, Name { tenant: keys.tenant, key }, keys.prolong);
            let (status, size, replicas) = match looked {
                Ok((size, replicas)) => (0, size, replicas),
                Err(refusal) => (refusal.code as i32, 0, 0),
            };
            reply.statuses.push(status);
            reply.sizes.push(size);
            reply.replicas.push(replicas.into());
        }
    });
    let failed = reply.statuses.iter().filter(|status| **status != 0).count();
    core.counters.note(Exists::METHOD, count, failed);
    Ok(reply.encode_to_vec())
}

pub fn put_start(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let request: PutStart = decode(body)?;
    let config = ReplicateConfig::from(request.config.unwrap_or_default());
    let (client, upsert) = (ClientId(request.client), request.upsert);
    let granted: Vec<_> = core.work(|inner, now| {
        let mut bytes = 0;
        let start = |item: &PutItem| {
            if bytes >= MAX_ANSWER {
                return Err(TOO_LONG);
            }
            let name = Name { tenant: &request.tenant, key: &item.key };
            let wanted = Wanted { name, client, size: item.size, config: &config, upsert };
            let granted = inner.state.put_start(now, wanted)?;
            bytes += granted.entries.len() * (FOUND_BYTES + item.key.len() + config.group.len());
            Ok(granted)
        };
        request.items.iter().map(start).collect()
    });
    let failed = granted.iter().filter(|granted| granted.is_err()).count();
    core.counters.note(PutStart::METHOD, granted.len(), failed);
    let is_full = |granted: &&refusal::Result<_>| matches!(granted, Err(Refusal { code: Code::NoSpace, .. }));
    core.counters.no_space.fetch_add(granted.iter().filter(is_full).count() as u64, Ordering::Relaxed);
    let result = |granted: refusal::Result<_>| match granted {
        Ok(grant) => PutStartResult { failed: None, grant: Some(Grant::from(&grant)) },
        Err(refusal) => PutStartResult { failed: Some(Failed::from(refusal)), grant: None },
    };
    Ok(PutStartReply { results: granted.into_iter().map(result).collect() }.encode_to_vec())
}

pub fn put_revoke(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let PutRevoke { tenant, client, puts } = decode(body)?;
    let revoke = |state: &mut State, now, put: &PutRef| {
        let name = Name { tenant: &tenant, key: &put.key };
        state.put_revoke(now, name, ClientId(client), Version(put.version), put.is_done).map(|()| 0)
    };
    Ok(each(core, PutRevoke::METHOD, &puts, revoke))
}

pub fn put_extend(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let PutExtend { tenant, client, puts } = decode(body)?;
    let extend = |state: &mut State, now, put: &PutRef| {
        let name = Name { tenant: &tenant, key: &put.key };
        state.put_extend(now, name, ClientId(client), Version(put.version))
    };
    Ok(each(core, PutExtend::METHOD, &puts, extend))
}

pub fn renew(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let Renew { tenant, leases } = decode(body)?;
    let renew = |state: &mut State, now, lease: &LeaseRef| {
        let stripes: Vec<Range> = lease.stripes.iter().map(Into::into).collect();
        state.renew(now, Name { tenant: &tenant, key: &lease.key }, &stripes)
    };
    Ok(each(core, Renew::METHOD, &leases, renew))
}

/// One outcome for each part, all of them at one time.
fn each<T>(
    core: &Core,
    method: u16,
    parts: &[T],
    mut work: impl FnMut(&mut State, u64, &T) -> refusal::Result<u64>,
) -> Vec<u8> {
    let all = core.work(|inner, now| {
        parts.iter().map(|part| outcome(work(&mut inner.state, now, part))).collect::<Vec<_>>()
    });
    results(core, method, all)
}

pub fn put_commit(core: &Core, who: Who, body: &[u8], answer: Answer) {
    let PutCommit { tenant, client, puts } = match decode(body) {
        Ok(request) => request,
        Err(error) => return answer.send(Err(error)),
    };
    each_later(core, PutCommit::METHOD, who, answer, &puts, |state, now, put, token| {
        let name = Name { tenant: &tenant, key: &put.key };
        state.put_commit(now, name, ClientId(client), Version(put.version), token)
    });
}

pub fn remove(core: &Core, who: Who, body: &[u8], answer: Answer) {
    let Remove { tenant, keys, unless_leased, .. } = match decode(body).and_then(|call: Remove| {
        core.attempts.admit(call.stamp.as_ref())?;
        Ok(call)
    }) {
        Ok(request) => request,
        Err(error) => return answer.send(Err(error)),
    };
    each_later(core, Remove::METHOD, who, answer, &keys, |state, now, key, token| {
        state.remove(now, Name { tenant: &tenant, key }, token, unless_leased)
    });
}

/// The same for parts that may have to wait: the batch is answered when all are done.
fn each_later<T>(
    core: &Core,
    method: u16,
    who: Who,
    answer: Answer,
    parts: &[T],
    mut work: impl FnMut(&mut State, u64, &T, Token) -> refusal::Result<Done>,
) {
    core.work_later(who, answer, |state, now, token| {
        let mut left = 0;
        let one = |part: &T| {
            let done = work(state, now, part, token);
            left += usize::from(done == Ok(Done::Later));
            outcome(done.map(|_| 0))
        };
        let all = parts.iter().map(one).collect();
        Ok((results(core, method, all), left))
    });
}

pub fn remove_where(core: &Core, who: Who, body: &[u8], answer: Answer) {
    let RemoveWhere { tenant, matching, unless_leased, from, limit, .. } =
        match decode(body).and_then(|call: RemoveWhere| {
            core.attempts.admit(call.stamp.as_ref())?;
            Ok(call)
        }) {
            Ok(request) => request,
            Err(error) => return answer.send(Err(error)),
        };
    // What takes its time is done before the state is held.
    let pattern = match Pattern::new(matching) {
        Ok(pattern) => pattern,
        Err(error) => return answer.send(Err(error)),
    };
    core.work_later(who, answer, |state, now, token| {
        let mut matches = |key: &[u8]| pattern.matches(key);
        let walk = walk(core, &tenant, from, limit, &mut matches)?;
        let swept = state.remove_where(now, walk, token, unless_leased).map_err(Refusal::into_error)?;
        core.counters.note(RemoveWhere::METHOD, swept.removed + swept.busy, swept.busy);
        let reply = RemoveWhereReply {
            removed: swept.removed as u64,
            busy: swept.busy as u64,
            next: swept.next.map(|next| cursor(core, next)),
        };
        Ok((reply.encode_to_vec(), usize::from(swept.answer == Done::Later)))
    });
}

pub fn list(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let List { tenant, matching, from, limit } = decode(body)?;
    let pattern = Pattern::new(matching)?;
    let mut matches = |key: &[u8]| pattern.matches(key);
    let walk = walk(core, &tenant, from, limit, &mut matches)?;
    let page = core.work(|inner, now| inner.state.list(now, walk));
    let page = page.map_err(Refusal::into_error)?;
    core.counters.note(List::METHOD, page.objects.len(), 0);
    let listed = |found: Found| Listed {
        key: found.key.into(),
        version: found.version.0,
        size: found.size,
        replicas: found.replicas.into(),
    };
    let objects = page.objects.into_iter().map(listed).collect();
    let next = page.next.map(|next| cursor(core, next));
    Ok(ListReply { objects, next }.encode_to_vec())
}

/// Places in the index mean something to the master that told them, and to no other.
const MARK_BITS: u32 = 16;

fn mark(core: &Core) -> u32 {
    (core.master.0 as u32) << MARK_BITS
}

fn walk<'a>(
    core: &Core,
    tenant: &'a str,
    from: Option<ListCursor>,
    limit: u32,
    matches: &'a mut dyn FnMut(&[u8]) -> bool,
) -> Result<Walk<'a>> {
    let limit = if limit == 0 { MAX_PAGE } else { MAX_PAGE.min(limit as usize) };
    let place = |from: ListCursor| {
        if from.shard >> MARK_BITS != mark(core) >> MARK_BITS {
            return Err(fail!(PeerRestarted, "the walk began at another master: begin it again"));
        }
        let shard = from.shard & ((1 << MARK_BITS) - 1);
        Ok(crate::store::master::ListCursor { shard, slot: from.slot })
    };
    let from = from.map(place).transpose()?.unwrap_or_default();
    Ok(Walk { tenant, from, limit, matches })
}

fn cursor(core: &Core, next: crate::store::master::ListCursor) -> ListCursor {
    ListCursor { shard: mark(core) | next.shard, slot: next.slot }
}

pub fn set_quota(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let SetQuota { tenant, bytes } = decode(body)?;
    Ok(each(core, SetQuota::METHOD, &[bytes], |state, _, bytes| state.set_quota(&tenant, *bytes).map(|()| 0)))
}

pub fn tenant(core: &Core, body: &[u8]) -> Result<Vec<u8>> {
    let Tenant { tenant } = decode(body)?;
    core.counters.note(Tenant::METHOD, 1, 0);
    // Whoever put nothing yet has what everybody gets.
    let known = core.work(|inner, _| inner.state.tenant(&tenant));
    let (used_bytes, quota_bytes, objects) = known.unwrap_or((0, core.config.default_quota, 0));
    Ok(TenantReply { used_bytes, quota_bytes, objects }.encode_to_vec())
}
