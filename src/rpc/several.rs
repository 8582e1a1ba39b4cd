//! Several connections to one server. Threads that wait for answers at once receive them each for itself: on one
//! connection they would have to wake one another.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Client;

/// Most connections to one server. A thread that calls alone makes one.
const MOST: usize = 4;

struct One {
    client: Arc<Client>,
    is_taken: AtomicBool,
}

pub struct Several([Arc<One>; MOST]);

impl Several {
    /// Connects when they are first called.
    pub fn new(first: Arc<Client>) -> Several {
        let client = |index| if index == 0 { first.clone() } else { first.another() };
        let one = |index| Arc::new(One { client: client(index), is_taken: AtomicBool::new(false) });
        Several(std::array::from_fn(one))
    }

    /// The connection that is there whenever one is.
    pub fn first(&self) -> &Arc<Client> {
        &self.0[0].client
    }

    /// One that nobody else has taken, if there is one.
    pub fn take(&self) -> Taken {
        let free = self.0.iter().find(|one| !one.is_taken.swap(true, Ordering::AcqRel));
        Taken { one: free.unwrap_or(&self.0[0]).clone(), is_own: free.is_some() }
    }

    /// As `Client::tick`, for all of them.
    pub fn tick(&self, now: u64) -> bool {
        self.0.iter().fold(false, |busy, one| one.client.tick(now) | busy)
    }
}

/// A connection for the calls of one thread, until it is dropped.
pub struct Taken {
    one: Arc<One>,
    is_own: bool,
}

impl Deref for Taken {
    type Target = Arc<Client>;

    fn deref(&self) -> &Arc<Client> {
        &self.one.client
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.is_own {
            self.one.is_taken.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Address, Terms};
    use super::*;
    use crate::sys::reactor::Reactor;

    #[test]
    fn who_calls_alone_has_always_the_same_connection_and_those_who_call_at_once_others() {
        let reactor = Arc::new(Reactor::start("several", 1).expect("a thread"));
        let terms = Terms { service: "test", psk: None };
        let several = Several::new(Client::new(&reactor, 0, Address::Local("nobody".into()), terms));
        for _ in 0..3 {
            assert!(Arc::ptr_eq(&several.take(), several.first()));
        }
        let taken: Vec<Taken> = (0..MOST + 2).map(|_| several.take()).collect();
        let is_first = |one: &&Taken| Arc::ptr_eq(one, several.first());
        assert_eq!(taken.iter().filter(is_first).count(), 3, "those who found none share the first");
        drop(taken);
        assert!(Arc::ptr_eq(&several.take(), several.first()));
        reactor.stop();
    }
}
