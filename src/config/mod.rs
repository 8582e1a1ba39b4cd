//! What an engine is told: defaults, then a file, then the environment, then its options, checked once and then fixed.

mod env;
mod file;
mod json;
mod layer;
pub mod mooncake;
mod setting;
pub mod url;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use env::{TABLE as ENVIRONMENT, Variable};
pub use setting::{SETTINGS, Setting};

use crate::bail;
use crate::error::Result;
use crate::telemetry;
use layer::{Layers, Origin};
use setting::Value;

/// As Mooncake says it: engines find each other by address.
pub const NO_METADATA: &str = "P2PHANDSHAKE";
/// Longest engine name in bytes.
pub const NAME_MAX: usize = 127;

/// What the caller of `create` set: the strongest layer. Zero, empty and `None` mean not set.
#[derive(Clone, Debug, Default)]
pub struct Given {
    pub no_metrics: bool,
    pub no_environment: bool,
    pub no_listen: bool,
    pub name: Option<String>,
    pub bind_address: Option<String>,
    pub network_interface: Option<String>,
    pub cidr: Option<String>,
    pub port: u16,
    pub port_last: u16,
    pub lanes: u32,
    pub worker_threads: u32,
    pub checksum: u32,
    pub transports: Option<String>,
    pub default_deadline_ms: u64,
    pub keepalive_ms: u64,
    pub psk: Vec<u8>,
    pub metadata: Option<String>,
    pub config_file: Option<String>,
    pub queue_limit: u64,
    pub compat: u32,
    pub advertise_host: Option<String>,
    pub metadata_cluster: Option<String>,
}

/// The key of a program that is no engine: from this file, or from where an engine would have it.
pub fn psk(path: Option<&str>) -> Result<Option<Vec<u8>>> {
    let psk = match path.map(file::read_secret).transpose()? {
        Some(Value::Secret(bytes)) if !bytes.is_empty() => bytes,
        Some(_) => bail!(InvalidArgument, "key file {} is empty", path.unwrap_or_default()),
        None => Vec::new(),
    };
    Ok(Config::load(Given { psk, ..Given::default() })?.psk)
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bind {
    Any,
    Address(String),
    Interface(String),
    Cidr(String),
}

/// Whether bytes that cross a network carry checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    Default,
    Off,
    Required,
}

/// Whether Mooncake's own engines are served and reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compat {
    Off,
    /// Not with a key: what they speak is not authenticated.
    On,
    /// Also with a key.
    Allow,
}

/// Paths that bytes may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    pub local: bool,
    pub memfd: bool,
    pub cma: bool,
    pub tcp: bool,
}

/// The configuration of one engine.
#[derive(Clone)]
pub struct Config {
    pub name: String,
    pub listen: bool,
    pub bind: Bind,
    /// 0: one that the kernel gives.
    pub port: u16,
    /// Last port to try; equal to `port` when there is only one.
    pub port_last: u16,
    pub lanes: u32,
    pub worker_threads: u32,
    pub checksum: Checksum,
    pub transports: Transports,
    pub default_deadline: Duration,
    pub keepalive: Duration,
    pub psk: Option<Vec<u8>>,
    pub metadata: Option<String>,
    pub queue_limit: usize,
    pub metrics: bool,
    pub compat: Compat,
    /// Host that peers are told instead of the addresses listened on.
    pub advertise_host: Option<String>,
    /// Part of the keys under which Mooncake's engines publish themselves.
    pub metadata_cluster: Option<String>,
    layers: Layers,
}

impl Config {
    /// Puts the layers over one another and checks the outcome. Errors name the setting, its value, where it came
    /// from and what it may be.
    pub fn load(given: Given) -> Result<Config> {
        let environment = if given.no_environment { Vec::new() } else { env::read()? };
        Config::from_layers(given, environment)
    }

    fn from_layers(given: Given, environment: Vec<layer::Entry>) -> Result<Config> {
        let mut layers = Layers::with_defaults(setting::defaults(processor_count()));
        let options = given_entries(given)?;
        let mut file = Layers::default();
        file.put(
            environment.iter().chain(&options).filter(|entry| entry.key == "config_file").cloned().collect(),
        )?;
        if let Some(path) = file.text("config_file") {
            layers.put(file::read(path)?)?;
        }
        layers.put(environment)?;
        layers.put(options)?;
        let config = Config::from_values(layers)?;
        if let Some(level) = config.layers.text("log_level") {
            telemetry::log::set_configured_level(
                setting::log_level(level).expect("checked when it was read"),
            );
        }
        Ok(config)
    }

    fn from_values(mut layers: Layers) -> Result<Config> {
        if layers.text("name").is_none() {
            layers.put_default("name", Value::Text(made_up_name()));
        }
        if layers.number("port_last").is_none() {
            let port = layers.number("port").unwrap_or(0);
            layers.put_default("port_last", Value::Number(port));
        }
        let (port, port_last) = (layers.port("port"), layers.port("port_last"));
        if port_last < port || (port == 0 && port_last != 0) {
            bail!(
                InvalidArgument,
                "{} is {port_last} but port is {port}: the last port of a range is not below the first, and a range does not start at 0",
                layers.title("port_last")
            );
        }
        let enabled = |path: &str| {
            layers.text("transports").is_some_and(|list| list.split(',').any(|item| item == path))
        };
        Ok(Config {
            name: layers.text("name").unwrap_or_default().to_owned(),
            listen: layers.flag("listen"),
            bind: bind(&layers),
            port,
            port_last,
            lanes: layers.count("lanes"),
            worker_threads: layers.count("worker_threads"),
            checksum: match layers.text("checksum") {
                Some("off") => Checksum::Off,
                Some("required") => Checksum::Required,
                _ => Checksum::Default,
            },
            transports: Transports {
                local: enabled("local"),
                memfd: enabled("memfd"),
                cma: enabled("cma"),
                tcp: enabled("tcp"),
            },
            default_deadline: Duration::from_millis(layers.number("default_deadline_ms").unwrap_or_default()),
            keepalive: Duration::from_millis(layers.number("keepalive_ms").unwrap_or_default()),
            psk: layers.secret("psk").map(<[u8]>::to_vec),
            metadata: metadata_url(&layers),
            queue_limit: layers
                .number("queue_limit")
                .and_then(|limit| usize::try_from(limit).ok())
                .unwrap_or(usize::MAX),
            metrics: layers.flag("metrics"),
            compat: match layers.text("compat") {
                Some("on") => Compat::On,
                Some("allow") => Compat::Allow,
                _ => Compat::Off,
            },
            advertise_host: layers.text("advertise_host").map(str::to_owned),
            metadata_cluster: layers.text("metadata_cluster").map(str::to_owned),
            layers,
        })
    }

    /// Whether Mooncake's own engines are spoken to: with a key only where that is allowed in so many words.
    pub fn speaks_mooncake(&self) -> bool {
        match self.compat {
            Compat::Off => false,
            Compat::On => self.psk.is_none(),
            Compat::Allow => true,
        }
    }

    /// Every setting with its value and where it came from; a key only as its length.
    pub fn to_json(&self) -> String {
        json::dump(&self.layers)
    }
}

fn bind(layers: &Layers) -> Bind {
    let text = |key| layers.text(key).map(str::to_owned);
    text("bind_address")
        .map(Bind::Address)
        .or_else(|| text("network_interface").map(Bind::Interface))
        .or_else(|| text("cidr").map(Bind::Cidr))
        .unwrap_or(Bind::Any)
}

/// The URL of the metadata backend. What Mooncake has in variables beside a redis:// becomes a part of it.
fn metadata_url(layers: &Layers) -> Option<String> {
    let url = layers.text("metadata").filter(|url| *url != NO_METADATA)?;
    if !url.starts_with("redis://") && !url.starts_with("rediss://") {
        return Some(url.to_owned());
    }
    let user = layers.text("redis_username");
    let password = layers.secret("redis_password").map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let login = (user.is_some() || password.is_some())
        .then(|| (user.unwrap_or_default(), password.as_deref().unwrap_or_default()));
    let database = layers.number("redis_db").map(|number| number.to_string());
    Some(url::complete(url, login, database.as_deref()))
}

fn given_entries(given: Given) -> Result<Vec<layer::Entry>> {
    let checksum = match given.checksum {
        0 => None,
        1 => Some("off"),
        2 => Some("required"),
        other => {
            bail!(InvalidArgument, "options: checksum is {other}: MC_CHECKSUM_DEFAULT, _OFF or _REQUIRED")
        }
    };
    let compat = match given.compat {
        0 => None,
        1 => Some("off"),
        2 => Some("on"),
        3 => Some("allow"),
        other => {
            bail!(
                InvalidArgument,
                "options: compat is {other}: MC_COMPAT_DEFAULT, MC_COMPAT_OFF, MC_COMPAT_ON or MC_COMPAT_ALLOW"
            )
        }
    };
    let text = |value: Option<String>| value.map(Value::Text);
    let number = |value: u64| (value != 0).then_some(Value::Number(value));
    let values = [
        ("metrics", given.no_metrics.then_some(Value::Flag(false))),
        ("listen", given.no_listen.then_some(Value::Flag(false))),
        ("name", text(given.name)),
        ("bind_address", text(given.bind_address)),
        ("network_interface", text(given.network_interface)),
        ("cidr", text(given.cidr)),
        ("port", number(given.port.into())),
        ("port_last", number(given.port_last.into())),
        ("lanes", number(given.lanes.into())),
        ("worker_threads", number(given.worker_threads.into())),
        ("checksum", checksum.map(|word| Value::Text(word.to_owned()))),
        ("transports", text(given.transports)),
        ("default_deadline_ms", number(given.default_deadline_ms)),
        ("keepalive_ms", number(given.keepalive_ms)),
        ("psk", (!given.psk.is_empty()).then_some(Value::Secret(given.psk))),
        ("metadata", text(given.metadata)),
        ("config_file", text(given.config_file)),
        ("queue_limit", number(given.queue_limit)),
        ("compat", compat.map(|word| Value::Text(word.to_owned()))),
        ("advertise_host", text(given.advertise_host)),
        ("metadata_cluster", text(given.metadata_cluster)),
    ];
    let entry =
        |(key, value): (_, Option<Value>)| Some(layer::Entry { key, value: value?, origin: Origin::Options });
    Ok(values.into_iter().filter_map(entry).collect())
}

fn processor_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// "host-pid-number": unique on this host while this process lives.
fn made_up_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
    let host = if host.is_empty() { "host" } else { &host };
    format!("{host}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests;
