//! The order of a publisher's messages: what is missing, what came before, and whether somebody else publishes now.

use std::hash::{DefaultHasher, Hasher};

/// What a message is by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Next,
    /// It was applied already, when messages were sent again.
    Before,
    /// Those from this number on did not come.
    After {
        missing_from: u64,
    },
    /// Numbers went back: the publisher began anew.
    Restarted,
}

/// The last message that was applied: who has it, is the same publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    pub sequence: u64,
    pub digest: u64,
}

impl Last {
    pub fn of(sequence: u64, payload: &[u8]) -> Last {
        let mut hasher = DefaultHasher::new();
        hasher.write(payload);
        Last { sequence, digest: hasher.finish() }
    }
}

#[derive(Debug, Default)]
pub struct Order {
    last: Option<Last>,
    /// The last one that this connection brought by itself.
    live: Option<u64>,
    /// Messages were sent again on this connection, so that some come twice.
    may_repeat: bool,
}

impl Order {
    /// Goes on after a message that was applied earlier.
    pub fn after(last: Option<Last>) -> Order {
        Order { last, ..Order::default() }
    }

    pub fn last(&self) -> Option<Last> {
        self.last
    }

    /// The number of the next message to be applied, if that is known.
    pub fn next(&self) -> Option<u64> {
        self.last.map(|last| last.sequence.saturating_add(1))
    }

    pub fn connected(&mut self) {
        (self.live, self.may_repeat) = (None, false);
    }

    pub fn sent_again(&mut self) {
        self.may_repeat = true;
    }

    /// A message of the connection, in the order in which they come.
    pub fn live(&mut self, sequence: u64) -> Place {
        let went_back = self.live.replace(sequence).is_some_and(|before| sequence <= before);
        match self.next() {
            _ if went_back => Place::Restarted,
            Some(next) if sequence < next && !self.may_repeat => Place::Restarted,
            Some(next) if sequence < next => Place::Before,
            Some(next) if sequence > next => Place::After { missing_from: next },
            _ => Place::Next,
        }
    }

    pub fn applied(&mut self, last: Last) {
        self.last = Some(last);
    }

    /// Any message may be the next one.
    pub fn forget(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: u64) -> Order {
        Order::after(Some(Last::of(sequence, b"")))
    }

    #[test]
    fn a_message_is_placed_by_its_number() {
        let mut order = Order::default();
        assert_eq!((order.live(7), order.next()), (Place::Next, None));
        order.applied(Last::of(7, b""));
        assert_eq!(order.live(8), Place::Next);
        order.applied(Last::of(8, b""));
        assert_eq!(order.live(12), Place::After { missing_from: 9 });
        assert_eq!(order.live(3), Place::Restarted);
    }

    #[test]
    fn what_was_sent_again_comes_once_more_and_is_no_restart() {
        let mut order = at(9);
        order.connected();
        order.sent_again();
        assert_eq!(
            (order.live(8), order.live(9), order.live(10)),
            (Place::Before, Place::Before, Place::Next)
        );
        // The next connection has not seen anything twice.
        order.connected();
        assert_eq!(order.live(9), Place::Restarted);
    }

    #[test]
    fn a_connection_that_was_mended_goes_on_where_it_was() {
        let mut order = at(9);
        order.connected();
        assert_eq!(order.live(10), Place::Next);
        let mut order = at(9);
        assert_eq!(order.live(11), Place::After { missing_from: 10 });
        order.forget();
        assert_eq!(order.live(12), Place::Next);
    }
}
