//! Messages that can be sent again, by their numbers.

use std::collections::VecDeque;

/// Messages and bytes that are kept.
const MOST: usize = 16_384;
const MOST_BYTES: usize = 64 << 20;
/// Numbers begin here: the parts of a picture have those before what is kept.
const FIRST: u64 = 1 << 20;

#[derive(Default)]
pub struct Kept {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Those that are not kept any more.
    gone: u64,
}

impl Kept {
    /// The number of the first one that is kept, or will be.
    pub fn first(&self) -> u64 {
        FIRST + self.gone
    }

    /// Keeps a message, and gives its number.
    pub fn add(&mut self, message: Vec<u8>) -> u64 {
        self.bytes += message.len();
        self.messages.push_back(message);
        let number = self.first() + self.messages.len() as u64 - 1;
        while self.messages.len() > MOST || self.bytes > MOST_BYTES && self.messages.len() > 1 {
            self.bytes -= self.messages.pop_front().map_or(0, |oldest| oldest.len());
            self.gone += 1;
        }
        number
    }

    /// Those that are kept, from a number on.
    pub fn from(&self, number: u64) -> Vec<(u64, Vec<u8>)> {
        let first = self.first();
        let skipped = number.saturating_sub(first) as usize;
        let numbered = (first + skipped as u64..).zip(self.messages.iter().skip(skipped));
        numbered.map(|(own, message)| (own, message.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_messages_are_forgotten_and_the_others_keep_their_numbers() {
        let mut kept = Kept::default();
        assert_eq!(kept.add(vec![1]), FIRST);
        assert_eq!(kept.add(vec![0; MOST_BYTES]), FIRST + 1);
        assert_eq!(kept.first(), FIRST + 1, "no room for both");
        assert_eq!(kept.add(vec![2]), FIRST + 2);
        assert_eq!(kept.from(0), [(FIRST + 2, vec![2])]);
        assert!(kept.from(FIRST + 3).is_empty());
        for _ in 0..MOST {
            kept.add(Vec::new());
        }
        assert_eq!((kept.first(), kept.from(FIRST + 5).len()), (FIRST + 3, MOST - 2));
    }
}
