//! What can be asked and done about keys without their bytes.

use super::Store;
use super::failure::{Failure, Result};
use super::put::{TOGETHER, all_not_ready, outcomes};
use crate::error::{self, Code};
use crate::store::object::Version;
use crate::store::wire::master::{self, Exists, ExistsReply, ListCursor, Remove};

use std::time::Duration;

/// What is known of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    pub size: u64,
    pub replicas: u32,
}

/// An object of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub key: Vec<u8>,
    pub version: Version,
    pub size: u64,
    pub replicas: u32,
}

/// Objects of a list, and where the next ones begin.
pub type Page = (Vec<Listed>, Option<(u32, u32)>);

/// Keys that begin so, and in which the regular expression is found somewhere. Empty is all.
#[derive(Clone, Debug, Default)]
pub struct Matching {
    pub prefix: Vec<u8>,
    pub regex: String,
}

impl Matching {
    fn wire(&self) -> master::Matching {
        master::Matching { prefix: self.prefix.clone(), regex: self.regex.clone() }
    }
}

/// What removing many did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub removed: u64,
    /// They match and stay: they are being read or written.
    pub busy: u64,
}

/// Objects that one step of a walk removes.
const STEP: u32 = 4096;

impl Store {
    /// Looks for objects; one result for each key. A lease is granted only with `prolong`. Errors of a key: NOT_FOUND,
    /// NOT_READY, UNREACHABLE.
    pub fn exists(&self, keys: &[&[u8]], prolong: bool, deadline: Option<Duration>) -> Vec<Result<Known>> {
        let until = self.until(deadline);
        let mut results = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(TOGETHER) {
            let call = Exists {
                tenant: self.tenant.clone(),
                keys: chunk.iter().map(|key| key.to_vec()).collect(),
                prolong,
            };
            let not_ready = Code::NotReady as i32;
            let is_late = |reply: &ExistsReply| reply.statuses.iter().all(|status| *status == not_ready);
            match self.masters.ask_until(&call, until, true, is_late) {
                Ok((reply, _)) => results.extend((0..chunk.len()).map(|index| known(&reply, index))),
                Err(error) => results.extend(chunk.iter().map(|_| Err(error.clone().into()))),
            }
        }
        results
    }

    /// Removes objects; one result for each key: it is gone everywhere. Errors of a key: NOT_FOUND, BUSY (somebody puts
    /// it; with `unless_leased` also: somebody reads it), NOT_READY, UNREACHABLE.
    pub fn remove(&self, keys: &[&[u8]], unless_leased: bool, deadline: Option<Duration>) -> Vec<Result<()>> {
        let until = self.until(deadline);
        let mut results = Vec::with_capacity(keys.len());
        for chunk in keys.chunks(TOGETHER) {
            let call = Remove {
                tenant: self.tenant.clone(),
                keys: chunk.iter().map(|key| key.to_vec()).collect(),
                unless_leased,
                ..Default::default()
            };
            let reply = self.masters.ask_until(&call, until, true, all_not_ready);
            let reply = reply.map(|(reply, _)| reply);
            results.extend(outcomes(reply, chunk.len()).into_iter().map(|outcome| outcome.map(drop)));
        }
        keys.iter().for_each(|key| self.leases.forget(key));
        results
    }

    /// Removes all objects that match. What is put meanwhile may stay.
    pub fn remove_where(
        &self,
        matching: &Matching,
        unless_leased: bool,
        deadline: Option<Duration>,
    ) -> Result<Removed> {
        let until = self.until(deadline);
        let (mut from, mut all) = (None, Removed::default());
        loop {
            let call = master::RemoveWhere {
                tenant: self.tenant.clone(),
                matching: Some(matching.wire()),
                unless_leased,
                from,
                limit: STEP,
                ..Default::default()
            };
            let step = match self.masters.ask(&call, until, true) {
                // Another master leads by now, and what is left begins at its first object.
                Err(error) if error.code == Code::PeerRestarted && from.is_some() => {
                    from = None;
                    continue;
                }
                step => step.inspect_err(|_| self.leases.forget_all())?,
            };
            all.removed += step.removed;
            all.busy += step.busy;
            from = step.next;
            if from.is_none() {
                self.leases.forget_all();
                return Ok(all);
            }
        }
    }

    /// Lists objects that match, at most `limit` at a time; with where to go on, until that is None. What is there during
    /// the whole walk is met once. Errors: PEER_RESTARTED (another master leads by now: list from the beginning).
    pub fn list(
        &self,
        matching: &Matching,
        from: Option<(u32, u32)>,
        limit: u32,
        deadline: Option<Duration>,
    ) -> Result<Page> {
        let call = master::List {
            tenant: self.tenant.clone(),
            matching: Some(matching.wire()),
            from: from.map(|(shard, slot)| ListCursor { shard, slot }),
            limit,
        };
        let reply = self.masters.ask(&call, self.until(deadline), true)?;
        let listed = |one: master::Listed| Listed {
            key: one.key,
            version: Version(one.version),
            size: one.size,
            replicas: one.replicas,
        };
        let next = reply.next.map(|next| (next.shard, next.slot));
        Ok((reply.objects.into_iter().map(listed).collect(), next))
    }
}

fn known(reply: &ExistsReply, index: usize) -> Result<Known> {
    let status = reply.statuses.get(index).copied().unwrap_or(Code::Rejected as i32);
    if status == 0 {
        let size = reply.sizes.get(index).copied().unwrap_or(0);
        let replicas = reply.replicas.get(index).copied().unwrap_or(0);
        return Ok(Known { size, replicas });
    }
    let code = Code::from_raw(status).unwrap_or(Code::Rejected);
    Err(Failure::from(error::Error::new(code, code.text())))
}
