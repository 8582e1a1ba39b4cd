//! The engine's side of notifications and completion queues.

use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use super::batch::Notification;
use super::cq::{Completion, Cq};
use super::notify::Taken;
use super::segment::wait_for;
use crate::error::Result;
use crate::fail;
use crate::sys::clock;

impl Engine {
    /// Sends a notification and waits for the peer's word.
    pub fn notify(&self, notification: Notification, timeout: Option<Duration>) -> Result<()> {
        let segment = self.segment(notification.segment)?;
        let until = clock::after(timeout.unwrap_or(self.config.default_deadline));
        let answer = wait_for(until, |reply| segment.notify(&notification, until, reply));
        let late = || Err(fail!(Timeout, "{} did not answer in time", segment.peer.label));
        answer.unwrap_or_else(late).map(|_| ())
    }

    pub fn receive_notification(
        &self,
        tag: Option<&str>,
        timeout: Option<Duration>,
        room: usize,
    ) -> Result<Option<Taken>> {
        self.inbox.take(tag, timeout.map_or(u64::MAX, clock::after), room)
    }

    pub fn bind_notifications(&self, tag: Option<&str>, cq: u64, user_data: u64) -> Result<()> {
        let cq = if cq == 0 { None } else { Some(self.queue(cq)?) };
        self.inbox.bind(tag, cq, user_data)
    }

    pub fn create_cq(&self, capacity: usize) -> Result<u64> {
        self.queues.write().insert(Arc::new(Cq::new(capacity)?))
    }

    pub fn destroy_cq(&self, cq: u64) -> Result<()> {
        let queue = self.queues.write().remove(cq)?;
        self.inbox.forget_queue(&queue);
        queue.close();
        Ok(())
    }

    pub fn queue(&self, cq: u64) -> Result<Arc<Cq>> {
        self.queues.read().get(cq).cloned()
    }

    pub fn cq_event_fd(&self, cq: u64) -> Result<i32> {
        Ok(self.queue(cq)?.event_fd())
    }

    /// Takes completions; while a thread waits here it also does copies that wait for somebody.
    pub fn take_completions(
        &self,
        cq: u64,
        timeout: Option<Duration>,
        limit: usize,
        each: &mut dyn FnMut(&Completion),
    ) -> Result<()> {
        let queue = self.queue(cq)?;
        queue.take(
            timeout.map_or(u64::MAX, |timeout| if timeout.is_zero() { 0 } else { clock::after(timeout) }),
            limit,
            each,
        )
    }
}
