//! Which instance prefills a request: one rule per file, one line each in [`Policy::ALL`].
//!
//! A rule sees all instances that may be chosen, with what each would take, and names one of them and whether the
//! blocks that it lacks are moved there. It decides nothing else: admission, replication and the choice of who
//! decodes are the same under all.

mod centric;
mod lightest;
mod local;
mod longest;
mod random;

use std::fmt;

use super::round::{Round, Way};

/// The candidate that was chosen, by its place in the round, and how it gets the blocks that it lacks.
pub type Choice = (usize, Way);

/// None only if there are no candidates. The same round always has the same choice.
pub type Choose = fn(&Round<'_>) -> Option<Choice>;

#[derive(Clone, Copy)]
pub struct Policy {
    pub name: &'static str,
    pub about: &'static str,
    pub(super) choose: Choose,
}

impl Policy {
    pub const GLOBAL: Policy = Policy {
        name: "global",
        about: "the first token soonest, blocks computed or moved, whichever is faster (KVCache-centric)",
        choose: centric::choose,
    };
    pub const ALL: [Policy; 5] = [
        Policy { name: "random", about: "any instance", choose: random::choose },
        Policy { name: "lb", about: "the one whose queue ends first", choose: lightest::choose },
        Policy {
            name: "local",
            about: "the first token soonest, without moving blocks",
            choose: local::choose,
        },
        Policy::GLOBAL,
        Policy { name: "maxhit", about: "the longest prefix, whatever the queue", choose: longest::choose },
    ];

    pub fn named(name: &str) -> Option<Policy> {
        Policy::ALL.into_iter().find(|policy| policy.name == name)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Policy) -> bool {
        self.name == other.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_is_found_by_its_name() {
        for policy in Policy::ALL {
            assert_eq!(Policy::named(policy.name), Some(policy));
        }
        assert_eq!(Policy::named("best"), None);
    }
}
