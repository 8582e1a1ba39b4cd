//! Replicas and segments: copying, moving, draining; quotas; what there is.

use super::Store;
use super::failure::{Failure, Result};
use super::put::outcomes;
use crate::store::object::NodeId;
use crate::store::wire::master::{
    self, CancelTask, Copy, Drain, Move, Segments, SetQuota, Task, Tenant, Trim,
};

use std::time::Duration;

#[derive(Clone, Debug)]
pub enum TaskState {
    Running,
    Done,
    Failed(Failure),
    Canceled,
}

/// How far a task is.
#[derive(Clone, Debug)]
pub struct Progress {
    pub state: TaskState,
    pub moved_objects: u64,
    pub moved_bytes: u64,
}

/// A piece of memory that a node gives. Bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    pub node: NodeId,
    pub name: String,
    pub capacity: u64,
    pub used: u64,
    pub is_open: bool,
    pub is_draining: bool,
}

/// What a tenant has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub used_bytes: u64,
    pub quota_bytes: Option<u64>,
    pub objects: u64,
}

impl Store {
    /// Begins to make one more replica, on the first of these segments that has room, or anywhere; the task's number.
    /// Errors: NOT_FOUND, BUSY, NO_SPACE, QUOTA_EXCEEDED, NOT_READY.
    pub fn copy(&self, key: &[u8], preferred: &[String], deadline: Option<Duration>) -> Result<u64> {
        let (tenant, key, preferred) = (self.tenant.clone(), key.to_vec(), preferred.to_vec());
        Ok(self.masters.ask(&Copy { tenant, key, preferred }, self.until(deadline), false)?.task)
    }

    /// Begins to move the replica that lies on this segment.
    pub fn move_replica(
        &self,
        key: &[u8],
        from: &str,
        preferred: &[String],
        deadline: Option<Duration>,
    ) -> Result<u64> {
        let (tenant, key, preferred) = (self.tenant.clone(), key.to_vec(), preferred.to_vec());
        let call = Move { tenant, key, from: from.to_owned(), preferred };
        Ok(self.masters.ask(&call, self.until(deadline), false)?.task)
    }

    /// Gives up replicas beyond `keep`, at least one; how many those were.
    pub fn trim(&self, key: &[u8], keep: u32, deadline: Option<Duration>) -> Result<u64> {
        let call = Trim { tenant: self.tenant.clone(), key: key.to_vec(), keep, ..Default::default() };
        let given_up = outcomes(self.masters.ask(&call, self.until(deadline), true), 1).remove(0);
        self.leases.forget(key);
        given_up
    }

    /// Begins to move all that a segment has to others.
    pub fn drain(&self, segment: &str, deadline: Option<Duration>) -> Result<u64> {
        let call = Drain { segment: segment.to_owned() };
        Ok(self.masters.ask(&call, self.until(deadline), false)?.task)
    }

    /// Errors: NOT_FOUND (no such task, or a later master).
    pub fn task(&self, task: u64, deadline: Option<Duration>) -> Result<Progress> {
        let reply = self.masters.ask(&Task { task }, self.until(deadline), true)?;
        let state = match (reply.state, reply.failed) {
            (1, _) => TaskState::Running,
            (2, _) => TaskState::Done,
            (4, _) => TaskState::Canceled,
            (_, failed) => TaskState::Failed(failed.unwrap_or_default().into()),
        };
        Ok(Progress { state, moved_objects: reply.moved_objects, moved_bytes: reply.moved_bytes })
    }

    /// What was moved stays moved.
    pub fn cancel_task(&self, task: u64, deadline: Option<Duration>) -> Result<()> {
        let reply = self.masters.ask(&CancelTask { task }, self.until(deadline), true);
        outcomes(reply, 1).remove(0).map(drop)
    }

    /// Sets how many bytes a tenant may have; None is no limit. What is above it stays.
    pub fn set_quota(&self, tenant: &str, bytes: Option<u64>, deadline: Option<Duration>) -> Result<()> {
        let call = SetQuota { tenant: tenant.to_owned(), bytes };
        outcomes(self.masters.ask(&call, self.until(deadline), true), 1).remove(0).map(drop)
    }

    /// What a tenant has. Errors: NOT_FOUND (it never put anything).
    pub fn usage(&self, tenant: &str, deadline: Option<Duration>) -> Result<Usage> {
        let reply = self.masters.ask(&Tenant { tenant: tenant.to_owned() }, self.until(deadline), true)?;
        let master::TenantReply { used_bytes, quota_bytes, objects } = reply;
        Ok(Usage { used_bytes, quota_bytes, objects })
    }

    pub fn segments(&self, deadline: Option<Duration>) -> Result<Vec<Segment>> {
        let reply = self.masters.ask(&Segments {}, self.until(deadline), true)?;
        let segment = |one: master::Segment| Segment {
            node: NodeId(one.node),
            name: one.name,
            capacity: one.capacity,
            used: one.used,
            is_open: one.is_open,
            is_draining: one.is_draining,
        };
        Ok(reply.segments.into_iter().map(segment).collect())
    }
}
