//! `mooncake bench transfer`: the matrix of cases, each measured in turns with its floors.

mod compat;
mod figures;
pub mod options;
mod progress;
mod report;
mod session;

use options::{Completion, Switch, TransferArgs};
use progress::Progress;
use report::Row;
use session::{Competitor, Measured, Session};

use super::case::{Case, Path};
use super::control::Target;
use super::floors::Floor;
use super::target::{self, Own};
use figures::Figures;

pub use figures::median;

/// Above this load figures change by more than what they are compared for.
const QUIET_LOAD: f64 = 0.5;

pub fn run(args: TransferArgs) -> Result<(), String> {
    match &args.initiator {
        _ if !args.compat => {}
        Some(address) => return compat::initiator(&args, address),
        None if args.target => return compat::target(&args),
        None => return Err("--compat needs --target or --initiator: the other end is Mooncake's".to_owned()),
    }
    if args.target {
        return target::run(&args.bind, args.port, args.once);
    }
    let paths = args.paths()?;
    let count: usize =
        paths.iter().map(|path| args.cases(*path).len() * competitors(&args, *path).len()).sum();
    let load = load();
    if load > QUIET_LOAD {
        eprintln!("mooncake: this machine does something else (load {load:.2}): trust no figure of this run");
    }
    let progress = Progress::new(count as u64 * u64::from(args.reps));
    if !args.json {
        progress.print(|| report::print_head(&args, load));
    }
    let mut failures = Vec::new();
    for path in &paths {
        if let Err(error) = run_path(&args, *path, &progress, &mut failures) {
            failures.push(format!("{}: {error}", path.name()));
        }
    }
    drop(progress);
    match failures.len() {
        0 => Ok(()),
        count => Err(format!("{count} of the measurements failed:\n  {}", failures.join("\n  "))),
    }
}

/// Processes that ran at the same time, over the last minute.
fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

fn run_path(
    args: &TransferArgs,
    path: Path,
    progress: &Progress,
    failures: &mut Vec<String>,
) -> Result<(), String> {
    let own = match &args.initiator {
        Some(_) => None,
        None if path == Path::Local => Some(Own::thread()?),
        None => Some(Own::process(&args.bind)?),
    };
    let mut target = match (&own, &args.initiator) {
        (Some(own), _) => own.connect()?,
        (None, Some(address)) => Target::connect(address)?,
        (None, None) => return Err("there is neither a target of our own nor one to connect to".to_owned()),
    };
    let mut session = Session::open(args, &args.setup(path), &mut target)?;
    for case in args.cases(path) {
        let name =
            format!("{} {} {}x{} on {}", path.name(), case.op.name(), case.batch, case.size, case.threads);
        progress.begin(name.clone());
        let result = match case.trouble() {
            Some(trouble) => Err(trouble),
            None => run_case(args, &case, &mut session, progress),
        };
        if let Err(error) = result {
            failures.push(format!("{name}: {error}"));
        }
    }
    Ok(())
}

/// Everything that is measured on a path, the library first.
fn competitors(args: &TransferArgs, path: Path) -> Vec<Competitor> {
    let library = args.completion.iter().map(|completion| Competitor::Library(*completion));
    library.chain(args.floors_of(path).into_iter().map(Competitor::Floor)).collect()
}

/// Measures all competitors of a case in turns, and tells.
fn run_case(
    args: &TransferArgs,
    case: &Case,
    session: &mut Session,
    progress: &Progress,
) -> Result<(), String> {
    let able = |competitor: &Competitor| session.trouble(*competitor).is_none();
    let competitors: Vec<Competitor> = competitors(args, case.path).into_iter().filter(able).collect();
    let mut measured: Vec<Vec<Measured>> = competitors.iter().map(|_| Vec::new()).collect();
    for rep in 0..args.reps as usize {
        // Another one begins each time: what the one before left in the caches helps nobody twice.
        for turn in 0..competitors.len() {
            let index = (turn + rep) % competitors.len();
            let one = session.measure(case, competitors[index], progress.ticker())?;
            if let (Competitor::Library(_), Some(wrong)) = (competitors[index], one.miscounted(case)) {
                return Err(wrong);
            }
            measured[index].push(one);
            progress.advance(1);
        }
    }
    let figures = |index: usize| measured[index].iter().map(|one| Figures::of(one, case)).collect::<Vec<_>>();
    let floors = || {
        let floor = |(index, competitor): (usize, &Competitor)| match competitor {
            Competitor::Floor(floor) => Some((Floor::name(*floor), figures(index))),
            Competitor::Library(_) => None,
        };
        competitors.iter().enumerate().filter_map(floor).collect::<Vec<_>>()
    };
    for (index, competitor) in competitors.iter().enumerate() {
        let Competitor::Library(completion) = competitor else { continue };
        let first = &measured[index][0];
        let row = Row {
            case,
            completion: Completion::name(*completion),
            is_prepared: args.prepared,
            has_checksum: args.checksum == Switch::On,
            load: load(),
            library: figures(index),
            here: first.here,
            there: first.there,
            floors: floors(),
        };
        progress.print(|| if args.json { say!("{}", row.json()) } else { row.print() });
    }
    Ok(())
}
