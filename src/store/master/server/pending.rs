//! Answers that wait until nodes have done what was asked for.

use std::collections::HashMap;

use crate::rpc::Answer;
use crate::store::object::Token;

/// Most calls that wait at once.
const MAX_PENDING: usize = 65_536;

/// A connection: each of the two servers counts its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who {
    pub is_local: bool,
    pub number: u64,
}

/// An answer, and what is to be said.
pub struct Ended {
    pub answer: Answer,
    pub body: Vec<u8>,
}

struct Waiting {
    who: Who,
    ended: Ended,
    /// Replies that are still to come.
    left: usize,
    since: u64,
}

#[derive(Default)]
pub struct Pending {
    last: u64,
    calls: HashMap<Token, Waiting>,
}

impl Pending {
    /// A token for one call; None when too many wait.
    pub fn next_token(&mut self) -> Option<Token> {
        if self.calls.len() >= MAX_PENDING {
            return None;
        }
        self.last += 1;
        Some(Token(self.last))
    }

    pub fn insert(&mut self, token: Token, who: Who, ended: Ended, left: usize, now: u64) {
        self.calls.insert(token, Waiting { who, ended, left, since: now });
    }

    /// One reply less to wait for; what is to be answered if it was the last one.
    pub fn replied(&mut self, token: Token) -> Option<Ended> {
        let waiting = self.calls.get_mut(&token)?;
        waiting.left -= 1;
        if waiting.left > 0 {
            return None;
        }
        self.calls.remove(&token).map(|waiting| waiting.ended)
    }

    pub fn forget(&mut self, who: Who) -> Vec<Ended> {
        self.take(|waiting| waiting.who == who)
    }

    /// Calls that wait since before `since`.
    pub fn late(&mut self, since: u64) -> Vec<Ended> {
        self.take(|waiting| waiting.since < since)
    }

    pub fn take_all(&mut self) -> Vec<Ended> {
        self.take(|_| true)
    }

    pub fn len(&self) -> usize {
        self.calls.len()
    }

    fn take(&mut self, is_meant: impl Fn(&Waiting) -> bool) -> Vec<Ended> {
        if self.calls.is_empty() {
            return Vec::new();
        }
        self.calls.extract_if(|_, waiting| is_meant(waiting)).map(|(_, waiting)| waiting.ended).collect()
    }
}
