//! Putting objects: small ones travel within a call to their node, large ones through the engine.

use std::collections::BTreeMap;
use std::time::Duration;

use super::calls::{Outgoing, ask_all};
use super::failure::{Failure, Result};
use super::write::{Way, data_length};
use super::{Store, pieces};
use crate::error::Code;
use crate::fail;
use crate::store::footer;
use crate::store::master::Grant;
use crate::store::object::{CHECKSUM_BLOCK, Entry, NodeId, ReplicateConfig, Version};
use crate::store::wire;
use crate::store::wire::master::{
    Outcome, PutCommit, PutItem, PutRef, PutRevoke, PutStart, Replication, Results,
};
use crate::store::wire::node::Done;
use crate::sys::clock;
use crate::sys::memory::Mem;

/// Most keys, or entries, in one call: with the longest keys there are, they fit into a message.
pub(super) const TOGETHER: usize = 4096;
/// One object to put: its bytes, in pieces that follow one another.
#[derive(Clone, Debug)]
pub struct Put<'a> {
    pub key: &'a [u8],
    pub from: &'a [Mem],
}

#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    pub config: ReplicateConfig,
    /// Replaces an object that is there, instead of ALREADY_EXISTS.
    pub upsert: bool,
    /// Puts the first replica into the domain of this client, if there is room.
    pub near: bool,
    pub deadline: Option<Duration>,
}

/// A put that was granted, on its way.
pub(super) struct Granted {
    /// Which of the caller's.
    pub index: usize,
    pub version: Version,
    pub size: u64,
    pub entries: Vec<(NodeId, Entry)>,
    /// Its first failure.
    pub failure: Option<Failure>,
    /// Something was sent for it that nobody confirmed.
    pub is_in_doubt: bool,
    /// How long it may take; after that the grant may be taken back.
    pub deadline_ms: u64,
    /// For each entry that is written through the engine: how.
    pub ways: Vec<Option<Way>>,
    /// Entries that their nodes said to have committed.
    pub confirmed: usize,
}

impl Granted {
    pub fn fail(&mut self, failure: impl Into<Failure>) {
        self.failure.get_or_insert(failure.into());
    }

    pub fn is_live(&self) -> bool {
        self.failure.is_none()
    }

    /// Nothing is acknowledged that not every node has written down.
    pub fn check_confirmed(&mut self) {
        if self.confirmed < self.entries.len() {
            self.fail(fail!(
                Internal,
                "{} of {} nodes said nothing",
                self.entries.len() - self.confirmed,
                self.entries.len()
            ));
        }
    }

    /// The blocks that these bytes of the object lie in: which, from where on in the block, and how many bytes.
    pub fn block_parts(offset: u64, length: u64) -> Vec<(u64, u64, u64)> {
        let (mut at, end) = (offset, offset + length);
        let mut parts = Vec::new();
        while at < end {
            let block = at / CHECKSUM_BLOCK;
            let next = ((block + 1) * CHECKSUM_BLOCK).min(end);
            parts.push((block, at % CHECKSUM_BLOCK, next - at));
            at = next;
        }
        parts
    }
}

impl Store {
    /// Puts objects; one result for each, the version that it has now. Copying: when this returns the pieces are the
    /// caller's again. Errors of a key: ALREADY_EXISTS, BUSY (somebody else puts it), NO_SPACE (with the time after which
    /// there may be room), QUOTA_EXCEEDED, NOT_READY, UNREACHABLE, CANCELED (it took longer than its grant).
    pub fn put(&self, puts: &[Put<'_>], options: &PutOptions) -> Vec<Result<Version>> {
        let until = self.until(options.deadline);
        let mut results = Vec::with_capacity(puts.len());
        for chunk in puts.chunks(TOGETHER) {
            results.extend(self.put_chunk(chunk, options, until));
        }
        puts.iter().for_each(|put| self.leases.forget(put.key));
        results
    }

    fn put_chunk(&self, puts: &[Put<'_>], options: &PutOptions, until: u64) -> Vec<Result<Version>> {
        let sizes: Vec<(&[u8], u64)> = puts.iter().map(|put| (put.key, pieces::total(put.from))).collect();
        let (mut granted, mut results) = self.put_start(&sizes, options, until);
        self.write(puts, &mut granted, until);
        self.put_end(puts, granted, &mut results, until);
        results.into_iter().map(|result| result.unwrap_or_else(|| Err(unanswered()))).collect()
    }

    /// Asks for memory. What was refused has its result already.
    pub(super) fn put_start(
        &self,
        puts: &[(&[u8], u64)],
        options: &PutOptions,
        until: u64,
    ) -> (Vec<Granted>, Vec<Option<Result<Version>>>) {
        let mut results: Vec<Option<Result<Version>>> = puts.iter().map(|_| None).collect();
        let mut config = Replication::from(&options.config);
        if options.near {
            config.near.clone_from(&self.domain);
        }
        let call = PutStart {
            tenant: self.tenant.clone(),
            client: self.id.0,
            config: Some(config),
            upsert: options.upsert,
            items: puts.iter().map(|(key, size)| PutItem { key: key.to_vec(), size: *size }).collect(),
        };
        let not_ready = |failed: &Option<wire::Failed>| {
            failed.as_ref().is_some_and(|failed| failed.code() == Code::NotReady)
        };
        let reply = self.masters.ask_until(&call, until, false, |reply| {
            reply.results.iter().all(|result| not_ready(&result.failed))
        });
        let reply = match reply {
            Ok((reply, _)) => reply,
            Err(error) => {
                results.fill_with(|| Some(Err(error.clone().into())));
                return (Vec::new(), results);
            }
        };
        let mut granted = Vec::new();
        for (index, answer) in reply.results.into_iter().enumerate().take(puts.len()) {
            let grant = match (answer.failed, answer.grant) {
                (Some(failed), _) => Err(failed.into()),
                (None, Some(grant)) => Grant::try_from(grant).map_err(Failure::from),
                (None, None) => Err(unanswered()),
            };
            match grant {
                Ok(Grant { version, deadline_ms, entries }) => {
                    let ways = entries.iter().map(|_| None).collect();
                    let size = puts[index].1;
                    let mut put = Granted {
                        index,
                        version,
                        size,
                        entries,
                        failure: None,
                        is_in_doubt: false,
                        deadline_ms,
                        ways,
                        confirmed: 0,
                    };
                    if let Err(error) = check(&put) {
                        put.fail(error);
                    }
                    granted.push(put);
                }
                Err(failure) => results[index] = Some(Err(failure)),
            }
        }
        (granted, results)
    }

    /// Makes objects visible whose nodes have them committed, and gives the others' memory back.
    fn put_end(
        &self,
        puts: &[Put<'_>],
        granted: Vec<Granted>,
        results: &mut [Option<Result<Version>>],
        until: u64,
    ) {
        let mut granted = granted;
        granted.iter_mut().for_each(Granted::check_confirmed);
        let (done, failed): (Vec<Granted>, Vec<Granted>) = granted.into_iter().partition(Granted::is_live);
        let key = |put: &Granted| puts[put.index].key;
        self.put_revoke(&failed, key);
        for put in failed {
            results[put.index] = put.failure.map(Err);
        }
        for (put, outcome) in done.iter().zip(self.put_commit(&done, key, until)) {
            results[put.index] = Some(outcome.map(|()| put.version));
        }
    }

    pub(super) fn put_commit<'a>(
        &self,
        done: &[Granted],
        key: impl Fn(&Granted) -> &'a [u8],
        until: u64,
    ) -> Vec<Result<()>> {
        if done.is_empty() {
            return Vec::new();
        }
        let put = |put: &Granted| PutRef { key: key(put).to_vec(), version: put.version.0, is_done: true };
        let puts = done.iter().map(put).collect();
        let call = PutCommit { tenant: self.tenant.clone(), client: self.id.0, puts };
        // What was committed once is committed: it may be asked as often as it takes.
        outcomes(
            self.masters.ask_until(&call, until, true, all_not_ready).map(|(reply, _)| reply),
            done.len(),
        )
        .into_iter()
        .map(|outcome| outcome.map(drop))
        .collect()
    }

    /// Gives grants back, as far as anybody hears it: else they run out.
    pub(super) fn put_revoke<'a>(&self, failed: &[Granted], key: impl Fn(&Granted) -> &'a [u8]) {
        if failed.is_empty() {
            return;
        }
        let until = clock::after(REVOKING);
        let mut by_node: BTreeMap<NodeId, Vec<u64>> = BTreeMap::new();
        for put in failed.iter().filter(|put| !put.is_in_doubt) {
            for (node, entry) in &put.entries {
                by_node.entry(*node).or_default().push(entry.generation.0);
            }
        }
        let calls = by_node.into_iter().filter_map(|(node, generations)| {
            let link = self.nodes.known(node)?;
            Some(Outgoing::new(&link.client, &Done { client: self.id.0, generations }))
        });
        drop(ask_all(calls.collect(), until));
        let put = |put: &Granted| PutRef {
            key: key(put).to_vec(),
            version: put.version.0,
            is_done: !put.is_in_doubt,
        };
        let puts = failed.iter().map(put).collect();
        let call = PutRevoke { tenant: self.tenant.clone(), client: self.id.0, puts };
        if let Err(error) = self.masters.ask(&call, until, false) {
            tracing::debug!("giving {} grants back: {error}", failed.len());
        }
    }
}

/// How long a failed put waits for those who are told of it.
const REVOKING: Duration = Duration::from_millis(500);

pub(super) fn unanswered() -> Failure {
    fail!(Rejected, "the answer lacks a result").into()
}

pub(super) fn all_not_ready(reply: &Results) -> bool {
    let is_not_ready =
        |outcome: &Outcome| outcome.failed.as_ref().is_some_and(|failed| failed.code() == Code::NotReady);
    !reply.results.is_empty() && reply.results.iter().all(is_not_ready)
}

/// One outcome for each of so many things.
pub(super) fn outcomes(reply: crate::error::Result<Results>, count: usize) -> Vec<Result<u64>> {
    match reply {
        Ok(reply) => {
            let mut results = reply.results.into_iter();
            let outcome = |outcome: Outcome| match outcome.failed {
                Some(failed) => Err(failed.into()),
                None => Ok(outcome.value),
            };
            (0..count).map(|_| results.next().map_or_else(|| Err(unanswered()), outcome)).collect()
        }
        Err(error) => (0..count).map(|_| Err(error.clone().into())).collect(),
    }
}

/// The master's word, as far as it can be checked: entries of stripes that make up the object.
fn check(put: &Granted) -> crate::error::Result<()> {
    let is_sound = |(_, entry): &(NodeId, Entry)| {
        entry.size == put.size
            && entry.stripe < entry.stripes
            && entry.length == footer::stored_length(data_length(entry))
    };
    if put.entries.is_empty() || !put.entries.iter().all(is_sound) {
        return Err(fail!(Rejected, "the master granted memory that the object does not fit into"));
    }
    Ok(())
}
