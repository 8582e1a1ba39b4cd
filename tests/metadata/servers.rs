//! The servers that the tests talk to: each test starts its own, on a port that the kernel gave, and ends it.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mooncake::metadata::{MetadataBackend, open};

/// A generous limit against hanging.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A folder that ends with its test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name =
            format!("mooncake-metadata-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a temporary folder");
        Folder(path)
    }

    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a path that is text").to_owned()
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.0.join(name), text).expect("a file is written");
        self.file(name)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running server and how to start it again.
pub struct Server {
    program: PathBuf,
    arguments: Vec<String>,
    pub folder: Folder,
    pub port: u16,
    child: Option<Child>,
}

impl Server {
    /// `None`, and a line that says so, when the program is not installed.
    pub fn start(program: &str, arguments: impl Fn(&Folder, u16) -> Vec<String>) -> Option<Server> {
        let Some(program) = find(program) else {
            println!("skipped: metadata: {program} is not installed");
            return None;
        };
        let folder = Folder::new();
        let port = free_port();
        let arguments = arguments(&folder, port);
        let mut server = Server { program, arguments, folder, port, child: None };
        server.run();
        Some(server)
    }

    pub fn run(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("a log");
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("the server starts"));
        let deadline = Instant::now() + STARTS_WITHIN;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self.child.as_mut().expect("it was started").try_wait().expect("its state");
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{:?} does not listen: {}",
                self.program,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
        }
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill runs").success());
    }

    /// Its exit status after a signal.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.take().expect("it runs").wait().expect("it ends").code()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

/// A program by path, or by name on the path and where daemons lie.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn texts<S: AsRef<OsStr>>(words: &[S]) -> Vec<String> {
    words.iter().map(|word| word.as_ref().to_str().expect("text").to_owned()).collect()
}

/// Redis that keeps what it was told, with more options.
pub fn redis(more: &[&str]) -> Option<Server> {
    Server::start("redis-server", |folder, port| {
        let folder = folder.file("");
        let mut words =
            vec!["--bind", "127.0.0.1", "--dir", &folder, "--appendonly", "yes", "--appendfsync", "always"];
        let port = port.to_string();
        if !more.contains(&"--tls-port") {
            words.extend(["--port", &port]);
        }
        let more: Vec<&str> =
            more.iter().map(|word| if *word == "PORT" { port.as_str() } else { word }).collect();
        words.extend(more);
        texts(&words)
    })
}

/// One member of etcd, its clients served by `scheme`.
pub fn etcd(scheme: &str, more: &[&str]) -> Option<Server> {
    Server::start("etcd", |folder, port| {
        let (clients, peers) =
            (format!("{scheme}://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", free_port()));
        let cluster = format!("default={peers}");
        let data = folder.file("data");
        let mut words =
            vec!["--data-dir", &data, "--listen-client-urls", &clients, "--advertise-client-urls", &clients];
        words.extend(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        words.extend(["--initial-cluster", &cluster]);
        words.extend(more);
        texts(&words)
    })
}

/// Mooncake's own server, from its wheel: `WHEEL_NEW` is the Python of a virtual environment that has it.
pub fn mooncakes() -> Option<Server> {
    let Some(python) = std::env::var_os("WHEEL_NEW").filter(|python| !python.is_empty()) else {
        println!("skipped: metadata: WHEEL_NEW names no Python with Mooncake's wheel");
        return None;
    };
    let program = Path::new(&python).with_file_name("mooncake_http_metadata_server");
    Server::start(program.to_str().expect("text"), |_, port| {
        texts(&["--host", "127.0.0.1", "--port", &port.to_string()])
    })
}

/// `mooncake metadata`, with more options.
pub fn ours(more: &[&str]) -> Server {
    let started = Server::start(env!("CARGO_BIN_EXE_mooncake"), |_, port| {
        let mut words = vec!["metadata".to_owned(), "--listen".to_owned(), format!("127.0.0.1:{port}")];
        words.extend(texts(more));
        words
    });
    started.expect("cargo built it")
}

/// A server of the test's own that treats each connection as it is told.
pub fn fake(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Opens a backend as soon as its server is ready for requests.
pub fn open_when_ready(url: &str) -> Arc<dyn MetadataBackend> {
    let deadline = Instant::now() + STARTS_WITHIN;
    loop {
        match open(url) {
            Ok(backend) => return backend,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// One plain request of HTTP, as bytes, and the whole answer.
pub fn request(port: u16, text: &str) -> (u16, String) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    stream.set_read_timeout(Some(STARTS_WITHIN)).expect("a timeout");
    stream.write_all(text.as_bytes()).expect("a request");
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        head += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let status = head.split_whitespace().nth(1).expect("a status").parse().expect("a number");
    (status, String::from_utf8(body).expect("text"))
}

/// What `mooncake metadata` says that does not start.
pub fn ours_fails(more: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mooncake"));
    let output = command.args(["metadata", "--listen", "127.0.0.1:0"]).args(more).output().expect("it runs");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}
