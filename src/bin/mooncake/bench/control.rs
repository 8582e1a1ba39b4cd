//! What the initiator asks of the target: one line of JSON each way, over a connection of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use mooncake::telemetry::metrics::Stats;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::case::{Case, Path};
use super::end::Setup;

/// No answer takes longer: filling and checking the largest buffers included.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Serialize, Deserialize)]
pub enum Ask {
    /// Make an engine with buffers; one at a time.
    Open(Setup),
    /// Fill the destination with the sentinel.
    Reset(Case),
    /// Check the destination after so many steps of each thread.
    Verify(Case, Vec<u64>),
    /// Tell the counters and the processor time.
    Count,
    /// Serve a floor for one measurement.
    Serve(Serving),
    /// End what serves a floor.
    EndServing,
    /// Destroy the engine.
    Close,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Done,
    Opened(Opened),
    Counted(Counts),
    /// Port to connect to, 0 when there is none.
    Serving(u16),
    Failed(String),
}

/// A floor that needs hands at the target.
#[derive(Debug, Serialize, Deserialize)]
pub enum Serving {
    /// So many connections for each thread.
    Tcp { case: Case, lanes: usize },
    /// A ring of shared memory for each thread, as paths that this host can open.
    Shm { case: Case, rings: Vec<String> },
}

/// What the target made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Opened {
    /// Where its engine listens.
    pub address: String,
    pub pid: i32,
    /// Tells hosts apart: the floors of one host need one.
    pub host: String,
    pub source: usize,
    pub destination: usize,
}

/// Counters of one end.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Bytes this end moved, by path.
    pub moved: [u64; 4],
    /// Bytes this end saw others move, by path.
    pub served: [u64; 4],
    pub cpu_seconds: f64,
}

impl Counts {
    pub fn of(stats: &Stats, cpu_time: Duration) -> Counts {
        let paths = [stats.local, stats.memfd, stats.cma, stats.tcp];
        Counts {
            moved: paths.map(|path| path.read_bytes + path.written_bytes),
            served: paths.map(|path| path.served_read_bytes + path.served_written_bytes),
            cpu_seconds: cpu_time.as_secs_f64(),
        }
    }

    pub fn since(self, before: Counts) -> Counts {
        let minus = |now: [u64; 4], before: [u64; 4]| {
            std::array::from_fn(|path| now[path].wrapping_sub(before[path]))
        };
        Counts {
            moved: minus(self.moved, before.moved),
            served: minus(self.served, before.served),
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
        }
    }
}

/// The paths in the order of `Counts`.
pub const PATHS: [Path; 4] = [Path::Local, Path::Memfd, Path::Cma, Path::Tcp];

/// One end of the control connection.
pub struct Channel {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Channel {
    pub fn new(stream: TcpStream, patience: Option<Duration>) -> Result<Channel, String> {
        let prepare = || {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(patience)?;
            stream.try_clone()
        };
        let writer = prepare().map_err(|error| format!("control connection: {error}"))?;
        Ok(Channel { reader: BufReader::new(stream), writer })
    }

    pub fn send(&mut self, message: &impl Serialize) -> Result<(), String> {
        let mut line = serde_json::to_vec(message).map_err(|error| error.to_string())?;
        line.push(b'\n');
        self.writer.write_all(&line).map_err(|error| format!("control connection: {error}"))
    }

    /// `None`: the other end hung up.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>, String> {
        let mut line = String::new();
        let length =
            self.reader.read_line(&mut line).map_err(|error| format!("control connection: {error}"))?;
        if length == 0 {
            return Ok(None);
        }
        serde_json::from_str(&line)
            .map(Some)
            .map_err(|error| format!("control connection: not understood: {error}"))
    }
}

/// The target, as the initiator talks to it.
pub struct Target {
    channel: Channel,
    host: String,
}

impl Target {
    pub fn connect(address: &str) -> Result<Target, String> {
        let stream = TcpStream::connect(address).map_err(|error| {
            format!("connecting to the target at {address}: {error}; does it run with --target?")
        })?;
        let host = stream.peer_addr().map_err(|error| error.to_string())?.ip().to_string();
        Ok(Target { channel: Channel::new(stream, Some(PATIENCE))?, host })
    }

    /// The address at which the target was reached, without a port.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn open(&mut self, setup: &Setup) -> Result<Opened, String> {
        match self.ask(&Ask::Open(setup.clone()))? {
            Answer::Opened(opened) => Ok(opened),
            other => Err(unexpected(&other)),
        }
    }

    pub fn count(&mut self) -> Result<Counts, String> {
        match self.ask(&Ask::Count)? {
            Answer::Counted(counts) => Ok(counts),
            other => Err(unexpected(&other)),
        }
    }

    pub fn serve(&mut self, serving: Serving) -> Result<u16, String> {
        match self.ask(&Ask::Serve(serving))? {
            Answer::Serving(port) => Ok(port),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks for something that has no answer but that it is done.
    pub fn order(&mut self, ask: &Ask) -> Result<(), String> {
        match self.ask(ask)? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn ask(&mut self, ask: &Ask) -> Result<Answer, String> {
        self.channel.send(ask)?;
        match self.channel.receive()? {
            None => Err("the target hung up; its own output says why".to_owned()),
            Some(Answer::Failed(why)) => Err(format!("target: {why}")),
            Some(answer) => Ok(answer),
        }
    }
}

fn unexpected(answer: &Answer) -> String {
    format!("the target answered with something else: {answer:?}; is it the same version?")
}
