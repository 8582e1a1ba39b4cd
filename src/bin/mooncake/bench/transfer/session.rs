//! Two ends on one path, and one measurement of one competitor between them.

use std::time::Duration;

use super::super::case::{Case, Op};
use super::super::control::{Ask, Counts, Opened, PATHS, Serving, Target};
use super::super::drive::{self, Mover, Outcome, Ticker};
use super::super::end::{End, Setup, text};
use super::super::floors::cma::CrossMemory;
use super::super::floors::mapping::Shared;
use super::super::floors::memcpy::Memcpy;
use super::super::floors::shm::SharedRing;
use super::super::floors::tcp::Tcp;
use super::super::floors::{Floor, Place, raw};
use super::super::movers::{Posting, Route, Submitting};
use super::super::target::host;
use super::super::walk::Walk;
use super::super::{case::Path, pattern};
use super::options::{Completion, TransferArgs};

/// Patience for meeting the target.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Competitor {
    Library(Completion),
    Floor(Floor),
}

/// What one measurement gave.
pub struct Measured {
    pub outcome: Outcome,
    /// Processor seconds of both ends.
    pub cpu_seconds: f64,
    /// Bytes as the two ends counted them; floors pass by the library's counters.
    pub here: Counts,
    pub there: Counts,
}

/// An initiator's engine and its target.
pub struct Session<'a> {
    args: &'a TransferArgs,
    path: Path,
    end: End,
    segment: u64,
    target: &'a mut Target,
    opened: Opened,
}

impl<'a> Session<'a> {
    pub fn open(
        args: &'a TransferArgs,
        setup: &Setup,
        target: &'a mut Target,
    ) -> Result<Session<'a>, String> {
        let opened = target.open(setup)?;
        let end = End::open(setup, &args.bind)?;
        let segment = end.engine.open_segment(&opened.address, Some(OPEN_PATIENCE)).map_err(text)?;
        Ok(Session { args, path: setup.path, end, segment, target, opened })
    }

    /// Why a competitor cannot run between these ends.
    pub fn trouble(&self, competitor: Competitor) -> Option<&'static str> {
        match competitor {
            Competitor::Floor(floor) if floor.needs_one_host() && self.opened.host != host() => {
                Some("the target is on another host")
            }
            _ => None,
        }
    }

    pub fn measure(
        &mut self,
        case: &Case,
        competitor: Competitor,
        ticker: &Ticker,
    ) -> Result<Measured, String> {
        let case = &Case { path: self.path, ..*case };
        match case.op {
            Op::Write => self.target.order(&Ask::Reset(*case))?,
            Op::Read => pattern::reset(self.end.destination, case),
        }
        match competitor {
            Competitor::Library(completion) if self.args.prepared => {
                let movers =
                    self.routes(case, completion).into_iter().map(Posting::new).collect::<Result<_, _>>()?;
                self.run(case, movers, ticker, true)
            }
            Competitor::Library(completion) => {
                let movers = self.routes(case, completion).into_iter().map(Submitting::new).collect();
                self.run(case, movers, ticker, true)
            }
            Competitor::Floor(floor) => self.floor(case, floor, ticker),
        }
    }

    fn routes(&self, case: &Case, completion: Completion) -> Vec<Route> {
        let route = |thread| Route {
            engine: self.end.engine.clone(),
            segment: self.segment,
            walk: Walk::new(case, thread),
            place: self.place(case),
            there: self.there(case) as u64,
            deadline: (self.args.deadline > 0).then(|| Duration::from_millis(self.args.deadline)),
            completion,
        };
        (0..case.threads).map(route).collect()
    }

    fn place(&self, case: &Case) -> Place {
        Place::initiator(case, self.end.source, self.end.destination)
    }

    /// Address of the target's buffer.
    fn there(&self, case: &Case) -> usize {
        if case.op == Op::Write { self.opened.destination } else { self.opened.source }
    }

    fn floor(&mut self, case: &Case, floor: Floor, ticker: &Ticker) -> Result<Measured, String> {
        match floor {
            Floor::Memcpy => self.memcpy(case, ticker),
            Floor::Cma => {
                let (place, there) = (self.place(case), self.there(case));
                let mover = |thread| CrossMemory {
                    walk: Walk::new(case, thread),
                    place,
                    pid: self.opened.pid,
                    there,
                    here_pieces: raw::Pieces::default(),
                    there_pieces: raw::Pieces::default(),
                };
                let movers = (0..case.threads).map(mover).collect();
                self.run(case, movers, ticker, true)
            }
            Floor::Tcp1 => self.tcp(case, 1, ticker),
            Floor::Tcp2 => self.tcp(case, 2, ticker),
            Floor::Shm => {
                let place = self.place(case);
                let ring = |thread| SharedRing::new(case, thread, place);
                let movers: Vec<SharedRing> = (0..case.threads).map(ring).collect::<Result<_, _>>()?;
                let rings = movers.iter().map(SharedRing::path).collect();
                self.target.serve(Serving::Shm { case: *case, rings })?;
                self.run(case, movers, ticker, true)
            }
        }
    }

    fn tcp(&mut self, case: &Case, lanes: usize, ticker: &Ticker) -> Result<Measured, String> {
        let place = self.place(case);
        let port = self.target.serve(Serving::Tcp { case: *case, lanes })?;
        let connect = |thread| Tcp::connect(self.target.host(), port, case, thread, lanes, place);
        let movers = (0..case.threads).map(connect).collect::<Result<_, _>>()?;
        self.run(case, movers, ticker, true)
    }

    /// Between the same buffers where this process can reach them, else between its own two.
    fn memcpy(&mut self, case: &Case, ticker: &Ticker) -> Result<Measured, String> {
        let length = case.buffer;
        let shared = match self.path {
            Path::Memfd => Some(Shared::of_process(self.opened.pid, self.there(case), length)?),
            _ => None,
        };
        let there = match (&shared, self.path) {
            (Some(shared), _) => Some(shared.mem()),
            (None, Path::Local) => Some(raw::allocated(self.there(case), length)),
            (None, _) => None,
        };
        let (source, destination) = match (there, case.op) {
            (Some(there), Op::Write) => (self.end.source, there),
            (Some(there), Op::Read) => (there, self.end.destination),
            (None, _) => (self.end.source, self.end.destination),
        };
        let mover = |thread| Memcpy { walk: Walk::new(case, thread), source, destination };
        let movers = (0..case.threads).map(mover).collect();
        self.run(case, movers, ticker, there.is_some())
    }

    fn run<M: Mover>(
        &mut self,
        case: &Case,
        movers: Vec<M>,
        ticker: &Ticker,
        reaches_there: bool,
    ) -> Result<Measured, String> {
        let mut before = None;
        let (end, target) = (&self.end, &mut *self.target);
        let outcome = drive::drive(movers, self.args.times(), ticker, || {
            before = Some((target.count()?, end.count()));
            Ok(())
        });
        let (outcome, (there_before, here_before)) = match (outcome, before) {
            (Ok(outcome), Some(before)) => (outcome, before),
            (Err(error), _) => return Err(error),
            (Ok(_), None) => return Err("the measurement did not start".to_owned()),
        };
        let here = self.end.count().since(here_before);
        let there = self.target.count()?.since(there_before);
        self.target.order(&Ask::EndServing)?;
        match (case.op, reaches_there) {
            (Op::Write, true) => self.target.order(&Ask::Verify(*case, outcome.steps.clone()))?,
            (Op::Read, _) => pattern::verify(self.end.destination, case, &outcome.steps)?,
            // A copy inside this process is no transfer: its destination was not reset.
            (Op::Write, false) => {}
        }
        let is_one_process = self.opened.pid == std::process::id() as i32 && self.opened.host == host();
        let cpu_seconds =
            if is_one_process { here.cpu_seconds } else { here.cpu_seconds + there.cpu_seconds };
        Ok(Measured { outcome, cpu_seconds, here, there })
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let _ = self.end.engine.close_segment(self.segment);
        // A target that is gone has closed already.
        let _ = self.target.order(&Ask::Close);
    }
}

impl Measured {
    /// Bytes of the timed steps.
    pub fn bytes(&self, case: &Case) -> u64 {
        self.outcome.timed * case.bytes()
    }

    /// What is wrong with the library's counters: every byte went over the path that was asked for, and no other.
    pub fn miscounted(&self, case: &Case) -> Option<String> {
        let bytes = self.bytes(case);
        for (index, path) in PATHS.into_iter().enumerate() {
            let wanted = if path == case.path { bytes } else { 0 };
            if self.here.moved[index] != wanted {
                return Some(format!(
                    "{} bytes went over {} instead of {wanted}",
                    self.here.moved[index],
                    path.name()
                ));
            }
            // Paths without a hand of the owner are not counted there.
            if self.there.served[index] != wanted && (path == Path::Tcp || self.there.served[index] != 0) {
                return Some(format!(
                    "the target saw {} bytes over {} instead of {wanted}",
                    self.there.served[index],
                    path.name()
                ));
            }
        }
        None
    }
}
