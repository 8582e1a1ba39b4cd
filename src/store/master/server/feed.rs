//! Which objects came and went, in the order in which they did, for whoever tells others.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::store::master::Notice;

/// Notices that wait. Beyond them none is kept: then only a look at everything tells what is there.
const ROOM: usize = 1 << 16;

#[derive(Default)]
struct Queue {
    notices: VecDeque<Notice>,
    /// Some were not kept since the last time.
    is_torn: bool,
}

/// What was taken from a feed.
pub struct Told {
    pub notices: Vec<Notice>,
    /// Notices before these were lost.
    pub is_torn: bool,
}

pub struct Feed {
    queue: Mutex<Queue>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Feed {
    /// `wake` is called when there is something to take. It may be called by any thread, holds up the master, and calls
    /// nothing of it.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Feed {
        Feed { queue: Mutex::default(), wake: Box::new(wake) }
    }

    pub fn push(&self, notices: Vec<Notice>) {
        let mut queue = self.queue.lock();
        if queue.notices.len() + notices.len() > ROOM {
            queue.notices.clear();
            queue.is_torn = true;
        } else {
            queue.notices.extend(notices);
        }
        drop(queue);
        (self.wake)();
    }

    /// Takes so many at most, the oldest first.
    pub fn take(&self, most: usize) -> Told {
        let mut queue = self.queue.lock();
        let count = queue.notices.len().min(most);
        Told { notices: queue.notices.drain(..count).collect(), is_torn: std::mem::take(&mut queue.is_torn) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn notices(count: usize) -> Vec<Notice> {
        let one = |at: usize| Notice { tenant: "t".into(), key: at.to_be_bytes().into(), is_there: true };
        (0..count).map(one).collect()
    }

    #[test]
    fn what_finds_no_room_is_missed_as_a_whole_and_said_so_once() {
        let woken = Arc::new(AtomicUsize::new(0));
        let count = woken.clone();
        let feed = Feed::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        feed.push(notices(3));
        let told = feed.take(2);
        assert_eq!((told.notices, told.is_torn), (notices(2), false));
        feed.push(notices(ROOM));
        let told = feed.take(10);
        assert!(told.notices.is_empty() && told.is_torn);
        feed.push(notices(1));
        let told = feed.take(10);
        assert_eq!((told.notices, told.is_torn), (notices(1), false));
        assert_eq!(woken.load(Ordering::Relaxed), 3);
    }
}
