//! Which segments the replicas of an object go to. Pure: what is free is told, and taking it is the caller's.

/// A segment that may be chosen.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub segment: u32,
    /// Replicas of one object go to distinct ones.
    pub domain: u32,
    pub free: u64,
    pub capacity: u64,
    /// Position in the caller's list of preferred segments.
    pub preferred: Option<usize>,
    /// In the domain that the caller wants it in.
    pub near: bool,
}

/// What is to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    pub replicas: usize,
    pub stripes: usize,
    /// Two replicas never share a failure domain: rather none.
    pub strict: bool,
}

/// One stripe of one replica, and what `take` gave for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub segment: u32,
    pub block: u32,
}

/// Places replicas one after the other, each with all its stripes, by `take(segment, stripe)`, which may refuse.
/// As many replicas as fit are returned, all of them if `strict`; what a failed one took goes to `give_back`.
pub fn place(
    candidates: &mut [Candidate],
    wish: Wish,
    mut take: impl FnMut(u32, usize) -> Option<u32>,
    mut give_back: impl FnMut(Taken),
) -> Vec<Vec<Taken>> {
    rank(candidates);
    let mut replicas: Vec<Vec<Taken>> = Vec::with_capacity(wish.replicas);
    let limit = (domains(candidates) / wish.replicas.max(1)).max(1);
    while replicas.len() < wish.replicas {
        let used_domains: Vec<u32> = domains_of(candidates, &replicas);
        let mut one = Attempt { candidates, limit, wish, take: &mut take, give_back: &mut give_back };
        let placed = one.place(|candidate| !used_domains.contains(&candidate.domain)).or_else(|| {
            // Next best: another segment, so that a lost mapping or device costs one replica only.
            let apart =
                |candidate: &Candidate| !replicas.iter().flatten().any(|t| t.segment == candidate.segment);
            if wish.strict { None } else { one.place(apart) }
        });
        match placed {
            Some(replica) => replicas.push(replica),
            None => break,
        }
    }
    if wish.strict && replicas.len() < wish.replicas {
        replicas.drain(..).flatten().for_each(give_back);
    }
    replicas
}

/// Preferred ones in their order, then those that are near, then by the free share.
fn rank(candidates: &mut [Candidate]) {
    candidates.sort_by(|a, b| {
        let preferred = |candidate: &Candidate| candidate.preferred.unwrap_or(usize::MAX);
        let share = |one: &Candidate, other: &Candidate| u128::from(one.free) * u128::from(other.capacity);
        let order = preferred(a).cmp(&preferred(b)).then(b.near.cmp(&a.near));
        order.then(share(b, a).cmp(&share(a, b))).then(a.segment.cmp(&b.segment))
    });
}

/// How many failure domains there are.
pub fn domains(candidates: &[Candidate]) -> usize {
    let mut domains: Vec<u32> = candidates.iter().map(|candidate| candidate.domain).collect();
    domains.sort_unstable();
    domains.dedup();
    domains.len()
}

fn domains_of(candidates: &[Candidate], replicas: &[Vec<Taken>]) -> Vec<u32> {
    let of = |taken: &Taken| candidates.iter().find(|candidate| candidate.segment == taken.segment);
    replicas.iter().flatten().filter_map(of).map(|candidate| candidate.domain).collect()
}

/// One replica, tried under a rule.
struct Attempt<'a, Take, GiveBack> {
    candidates: &'a [Candidate],
    /// Most domains that one replica spreads over, so that the others find their own.
    limit: usize,
    wish: Wish,
    take: &'a mut Take,
    give_back: &'a mut GiveBack,
}

impl<Take: FnMut(u32, usize) -> Option<u32>, GiveBack: FnMut(Taken)> Attempt<'_, Take, GiveBack> {
    fn place(&mut self, allowed: impl Fn(&Candidate) -> bool) -> Option<Vec<Taken>> {
        let mut placed: Vec<Taken> = Vec::with_capacity(self.wish.stripes);
        let mut domains: Vec<u32> = Vec::new();
        for stripe in 0..self.wish.stripes {
            let fits = |candidate: &&Candidate, domains: &[u32]| {
                allowed(candidate) && (domains.len() < self.limit || domains.contains(&candidate.domain))
            };
            // Stripes go round, so that they can move in parallel.
            let from = stripe % self.candidates.len().max(1);
            let (later, first) = self.candidates.split_at(from);
            let found =
                first.iter().chain(later).filter(|candidate| fits(candidate, &domains)).find_map(|one| {
                    let block = (self.take)(one.segment, stripe)?;
                    Some((one.domain, Taken { segment: one.segment, block }))
                });
            let Some((domain, taken)) = found else {
                placed.into_iter().for_each(&mut *self.give_back);
                return None;
            };
            if !domains.contains(&domain) {
                domains.push(domain);
            }
            placed.push(taken);
        }
        Some(placed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(segment: u32, domain: u32, free: u64) -> Candidate {
        Candidate { segment, domain, free, capacity: 1000, preferred: None, near: false }
    }

    fn wish(replicas: usize, stripes: usize, strict: bool) -> Wish {
        Wish { replicas, stripes, strict }
    }

    /// Places stripes of one unit each into segments with so much room.
    fn placed(candidates: &[Candidate], wish: Wish) -> (Vec<Vec<u32>>, Vec<u64>) {
        let room = std::cell::RefCell::new(candidates.iter().map(|one| one.free).collect::<Vec<_>>());
        let at = |segment| candidates.iter().position(|one| one.segment == segment).expect("a candidate");
        let take = |segment, _| {
            let left = &mut room.borrow_mut()[at(segment)];
            *left = left.checked_sub(1)?;
            Some(0)
        };
        let give_back = |taken: Taken| room.borrow_mut()[at(taken.segment)] += 1;
        let replicas = place(&mut candidates.to_vec(), wish, take, give_back);
        let segments = replicas.iter().map(|one| one.iter().map(|taken| taken.segment).collect()).collect();
        (segments, room.into_inner())
    }

    #[test]
    fn the_emptiest_comes_first_and_preferred_ones_before_it() {
        let mut three = [candidate(1, 1, 500), candidate(2, 2, 900), candidate(3, 3, 100)];
        assert_eq!(placed(&three, wish(1, 1, false)).0, [[2]]);
        three[2].preferred = Some(0);
        assert_eq!(placed(&three, wish(2, 1, false)).0, [[3], [2]]);
        three[0].near = true;
        assert_eq!(placed(&three, wish(3, 1, false)).0, [[3], [1], [2]]);
    }

    #[test]
    fn a_full_preferred_segment_is_passed_over() {
        let mut two = [candidate(1, 1, 0), candidate(2, 2, 10)];
        two[0].preferred = Some(0);
        assert_eq!(placed(&two, wish(1, 1, false)).0, [[2]]);
    }

    #[test]
    fn too_few_domains_are_refused_or_shared() {
        let two = [candidate(1, 7, 10), candidate(2, 7, 10)];
        let (strict, room) = placed(&two, wish(2, 1, true));
        assert!(strict.is_empty());
        assert_eq!(room, [10, 10], "what was taken is given back");
        assert_eq!(placed(&two, wish(2, 1, false)).0, [[1], [2]]);
        assert_eq!(placed(&two, wish(3, 1, false)).0.len(), 2, "never twice on one segment");
    }

    #[test]
    fn stripes_spread_and_leave_domains_for_the_other_replica() {
        let four = [1, 2, 3, 4].map(|segment| candidate(segment, segment, 10));
        assert_eq!(placed(&four, wish(1, 4, false)).0, [[1, 2, 3, 4]]);
        let (two, _) = placed(&four, wish(2, 4, true));
        assert_eq!(two.len(), 2);
        assert!(two[0].iter().all(|segment| !two[1].contains(segment)));
    }

    proptest! {
        #[test]
        fn replicas_never_share_a_segment_and_nothing_leaks(
            frees in proptest::collection::vec((0u64..6, 0u32..4), 1..9),
            replicas in 1usize..5, stripes in 1usize..6, strict in any::<bool>(),
        ) {
            let candidates: Vec<Candidate> =
                frees.iter().zip(0u32..).map(|((free, domain), segment)| candidate(segment, *domain, *free)).collect();
            let (placed, room) = placed(&candidates, wish(replicas, stripes, strict));
            let taken: u64 = placed.iter().map(|one| one.len() as u64).sum();
            prop_assert_eq!(frees.iter().map(|one| one.0).sum::<u64>(), taken + room.iter().sum::<u64>());
            prop_assert!(placed.len() <= replicas && (!strict || placed.is_empty() || placed.len() == replicas));
            for (index, one) in placed.iter().enumerate() {
                prop_assert_eq!(one.len(), stripes);
                for other in &placed[..index] {
                    prop_assert!(one.iter().all(|segment| !other.contains(segment)));
                    let domain = |segment: &u32| candidates[*segment as usize].domain;
                    prop_assert!(!strict || one.iter().all(|a| other.iter().all(|b| domain(a) != domain(b))));
                }
            }
        }
    }
}
