//! A store as Mooncake's API drives it: made first, set up later, its memory known by address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::compat::{Registrations, ServerName, Transports};
use crate::config;
use crate::config::mooncake::Environment;
use crate::error::{Code, Context, Error, Result};
use crate::ffi::live;
use crate::ffi::opened::{self, Opened, Opening, engine_config, listed};
use crate::store::client::Options;
use crate::store::node::server::{self as node, Node, SegmentOptions};
use crate::{bail, fail};

/// Where a master is that nobody named.
const MASTER: &str = "127.0.0.1:50051";
/// Where a process is that nobody named.
const HOST: &str = "localhost";

/// What `mooncake_store_t` names.
#[derive(Default)]
pub struct Handle {
    state: RwLock<Option<Arc<Running>>>,
    /// One set-up at a time.
    setting_up: Mutex<()>,
}

/// A store that was set up.
pub struct Running {
    pub opened: Arc<Opened>,
    name: u64,
    /// "host:port", which is what its memory is called.
    pub hostname: String,
    masters: Vec<String>,
    nodes: Mutex<Vec<Arc<Node>>>,
    pub memory: Registrations,
}

/// What a set-up is told.
pub struct Setup<'a> {
    pub local_hostname: &'a str,
    pub segment_bytes: u64,
    pub protocol: &'a str,
    pub masters: &'a str,
}

impl Setup<'_> {
    /// For those who name neither themselves nor a master.
    pub fn plain(protocol: &str, segment_bytes: u64) -> Setup<'_> {
        Setup { local_hostname: HOST, segment_bytes, protocol, masters: MASTER }
    }

    pub fn or_default(masters: Option<&str>) -> &str {
        masters.filter(|masters| !masters.is_empty()).unwrap_or(MASTER)
    }
}

impl Handle {
    pub fn running(&self) -> Result<Arc<Running>> {
        let not_set_up = || fail!(NotReady, "the store is not set up: mooncake_store_setup() first");
        self.state.read().clone().ok_or_else(not_set_up)
    }

    pub fn is_set_up(&self) -> bool {
        self.state.read().is_some()
    }

    pub fn set_up(&self, setup: &Setup<'_>) -> Result<()> {
        let _one = self.setting_up.lock();
        if self.is_set_up() {
            bail!(InvalidState, "the store is set up already");
        }
        check_protocol(setup.protocol)?;
        let masters = listed(setup.masters, "master_server_addr")?;
        let place = Place::of(setup.local_hostname)?;
        let running = Running::open(masters, &place, setup.segment_bytes)?;
        *self.state.write() = Some(Arc::new(running));
        Ok(())
    }

    /// Gives more memory to a store that was set up; sets one up that was not.
    pub fn mount(&self, protocol: &str, bytes: u64) -> Result<()> {
        let Ok(running) = self.running() else { return self.set_up(&Setup::plain(protocol, bytes)) };
        check_protocol(protocol)?;
        running.give(&Place::of(&running.hostname)?.anew()?, bytes)
    }

    pub fn close(&self) {
        let running = self.state.write().take();
        if let Some(running) = running {
            running.close();
        }
    }
}

/// TCP, and what TCP may stand in for.
fn check_protocol(protocol: &str) -> Result<()> {
    if protocol == "rpc_only" {
        return Ok(());
    }
    let transports = Transports::default();
    if Environment::read().force_tcp {
        transports.force_tcp();
    }
    let installed = transports.install(protocol).map(drop);
    installed.map_err(|error| match error.code {
        Code::NotFound => error.with_code(Code::InvalidArgument),
        _ => error,
    })
}

/// Where a process gives memory, and what it is called.
struct Place {
    host: String,
    ip: IpAddr,
    /// 0: none yet.
    port: u16,
}

impl Place {
    fn of(local_hostname: &str) -> Result<Place> {
        let text = if local_hostname.is_empty() { HOST } else { local_hostname };
        let name = ServerName::parse(text).context("local_hostname")?;
        // A name that nobody here knows is still a name: then every address is listened on.
        let ip = (name.host.as_str(), 0).to_socket_addrs().ok().and_then(|mut found| found.next());
        let ip = ip.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
        let place = Place { host: name.host, ip, port: name.port.unwrap_or(0) };
        if place.port == 0 { place.anew() } else { Ok(place) }
    }

    /// The same with a port that is free at the moment.
    fn anew(self) -> Result<Place> {
        let probe = TcpListener::bind((self.ip, 0)).context(format_args!("binding {}", self.ip))?;
        let port = probe.local_addr().context("asking for the port")?.port();
        Ok(Place { port, ..self })
    }

    fn name(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl Running {
    fn open(masters: Vec<String>, place: &Place, bytes: u64) -> Result<Running> {
        let name = opened::open(Opening {
            client: Options {
                masters: masters.clone(),
                // Its nodes have it from there, too.
                psk: config::psk(None)?.map(Arc::from),
                ..Options::default()
            },
            engine: None,
            no_environment: false,
            memory_bytes: 0,
            node_name: String::new(),
            master_listen: None,
            node_listen: None,
        })?;
        let running = Running {
            opened: live::root(name)?,
            name,
            hostname: place.name(),
            masters,
            nodes: Mutex::default(),
            memory: Registrations::default(),
        };
        if bytes > 0
            && let Err(error) = running.give(place, bytes)
        {
            running.close();
            return Err(error);
        }
        Ok(running)
    }

    fn give(&self, place: &Place, bytes: u64) -> Result<()> {
        let mut tried = Err(fail!(Internal, "nothing was tried"));
        // The port of the name is Mooncake's engine's there; here whoever has it may be somebody else.
        for port in [place.port, 0] {
            let listen = SocketAddr::new(place.ip, port);
            tried = Node::start(node::Options {
                masters: self.masters.clone(),
                listen,
                segments: vec![SegmentOptions { name: place.name(), bytes }],
                domain: String::new(),
                engine: engine_config(listen.ip(), Vec::new(), false)?,
            });
            match &tried {
                Err(error) if error.code == Code::Io => {}
                _ => break,
            }
        }
        let node = tried.context("giving memory to the store")?;
        opened::wait_for(&self.opened.store, Some(&*node))?;
        self.nodes.lock().push(node);
        Ok(())
    }

    /// Whether a master answers.
    pub fn ask(&self) -> std::result::Result<(), Error> {
        self.opened.store.segments(None).map(drop).map_err(|failure| failure.error)
    }

    fn close(&self) {
        if let Ok(opened) = live::remove_root::<Opened>(self.name) {
            opened.close();
        }
        for node in self.nodes.lock().drain(..) {
            node.stop();
        }
    }
}
