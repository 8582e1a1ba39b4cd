//! The target: offers memory, checks what arrived, and serves the floors. It does what the initiator asks.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::control::{Answer, Ask, Channel, Opened, Serving, Target};
use super::end::End;
use super::floors;
use super::pattern;

/// How long a target of our own waits to be called.
const CHILD_PATIENCE: Duration = Duration::from_secs(30);
/// What a target prints before its address.
const READY: &str = "target ready at ";

/// Runs a target for whoever connects, one after another; with `once` for the first one only.
pub fn run(bind: &str, port: u16, once: bool) -> Result<(), String> {
    let listener = listen(bind, port)?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    say!("{READY}{address}");
    if once {
        return serve(accept_within(&listener, CHILD_PATIENCE)?, bind);
    }
    eprintln!("start the other end with: mooncake bench transfer --initiator {address}");
    loop {
        let (stream, initiator) = listener.accept().map_err(|error| format!("accepting: {error}"))?;
        eprintln!("initiator {initiator} came");
        match serve(stream, bind) {
            Ok(()) => eprintln!("initiator {initiator} left"),
            Err(error) => eprintln!("initiator {initiator}: {error}"),
        }
    }
}

fn listen(bind: &str, port: u16) -> Result<TcpListener, String> {
    TcpListener::bind((bind, port)).map_err(|error| format!("listening on {bind} port {port}: {error}"))
}

/// Takes the next connection, if one comes soon enough.
pub fn accept_within(listener: &TcpListener, patience: Duration) -> Result<TcpStream, String> {
    listener.set_nonblocking(true).map_err(|error| error.to_string())?;
    let begun = std::time::Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).map_err(|error| error.to_string())?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && begun.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(format!("waiting for the initiator: {error}")),
        }
    }
}

/// Answers one initiator until it hangs up.
fn serve(stream: TcpStream, bind: &str) -> Result<(), String> {
    let mut channel = Channel::new(stream, None)?;
    let mut state = State { bind, servers: None, end: None };
    while let Some(ask) = channel.receive::<Ask>()? {
        channel.send(&state.answer(ask).unwrap_or_else(Answer::Failed))?;
    }
    Ok(())
}

struct State<'a> {
    bind: &'a str,
    /// Before `end`: its threads use the memory.
    servers: Option<floors::Servers>,
    end: Option<End>,
}

impl State<'_> {
    fn answer(&mut self, ask: Ask) -> Result<Answer, String> {
        match ask {
            Ask::Open(setup) => {
                self.close();
                let end = End::open(&setup, self.bind)?;
                let opened = Opened {
                    address: end.address(),
                    pid: std::process::id() as i32,
                    host: host(),
                    source: end.source.address(),
                    destination: end.destination.address(),
                };
                self.end = Some(end);
                return Ok(Answer::Opened(opened));
            }
            Ask::Reset(case) => pattern::reset(self.end()?.destination, &case),
            Ask::Verify(case, steps) => pattern::verify(self.end()?.destination, &case, &steps)?,
            Ask::Count => return Ok(Answer::Counted(self.end()?.count())),
            Ask::Serve(serving) => return self.serve(serving).map(Answer::Serving),
            Ask::EndServing => {
                if let Some(servers) = self.servers.take() {
                    servers.join()?;
                }
            }
            Ask::Close => self.close(),
        }
        Ok(Answer::Done)
    }

    fn end(&self) -> Result<&End, String> {
        self.end.as_ref().ok_or_else(|| "no engine is open".to_owned())
    }

    fn serve(&mut self, serving: Serving) -> Result<u16, String> {
        // One that failed half-way may still have threads in the memory.
        self.servers = None;
        let (source, destination) = (self.end()?.source, self.end()?.destination);
        let servers = match serving {
            Serving::Tcp { case, lanes } => {
                floors::tcp::serve(listen(self.bind, 0)?, &case, lanes, source, destination)?
            }
            Serving::Shm { case, rings } => floors::shm::serve(&rings, &case, source, destination)?,
        };
        let port = servers.port;
        self.servers = Some(servers);
        Ok(port)
    }

    fn close(&mut self) {
        self.servers = None;
        self.end = None;
    }
}

/// This boot of this host, as far as a process can tell.
pub fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// A target of our own: another process, or for the path inside a process a thread of this one.
pub struct Own {
    child: Option<Child>,
    address: String,
}

impl Own {
    pub fn process(bind: &str) -> Result<Own, String> {
        let program = std::env::current_exe().map_err(|error| format!("finding this program: {error}"))?;
        let mut child = Command::new(program)
            .args(["bench", "transfer", "--target", "--once", "--bind", bind])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("starting the target: {error}"))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            let _ = std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line);
        }
        let mut own = Own { child: Some(child), address: String::new() };
        match line.trim_end().strip_prefix(READY) {
            Some(address) => own.address = address.to_owned(),
            None => return Err("the target did not start; its own output says why".to_owned()),
        }
        Ok(own)
    }

    pub fn thread() -> Result<Own, String> {
        let listener = listen("127.0.0.1", 0)?;
        let address = listener.local_addr().map_err(|error| error.to_string())?.to_string();
        std::thread::spawn(move || {
            accept_within(&listener, CHILD_PATIENCE).and_then(|stream| serve(stream, "127.0.0.1"))
        });
        Ok(Own { child: None, address })
    }

    pub fn connect(&self) -> Result<Target, String> {
        Target::connect(&self.address)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It ends by itself when its initiator hangs up; this is for when it hangs.
            let begun = std::time::Instant::now();
            while begun.elapsed() < Duration::from_secs(5) {
                if matches!(child.try_wait(), Ok(Some(_))) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
