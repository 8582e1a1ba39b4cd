//! The environment: one table of variables, and the only reader of them.

use super::file;
use super::layer::{Entry, Origin};
use super::setting::{self, Value};
use super::url::without_password;
use crate::error::Result;
use crate::{bail, fail};

/// How the text of a variable becomes values of settings.
#[derive(Clone, Copy)]
enum Parse {
    /// As the setting says.
    Plain,
    /// "4000" or "4000-4010": `port` and `port_last`.
    Ports,
    /// A path; the file's content is the value.
    SecretFile,
    /// A level, also in the spellings "warning" and "fatal".
    Level,
    /// True: only TCP.
    OnlyTcp,
    /// Whole seconds for a setting in milliseconds; none or fewer: not set.
    Seconds,
}

/// One variable.
pub struct Variable {
    pub name: &'static str,
    /// The setting it sets.
    pub key: &'static str,
    parse: Parse,
    pub help: &'static str,
}

const fn plain(name: &'static str, key: &'static str, help: &'static str) -> Variable {
    Variable { name, key, parse: Parse::Plain, help }
}

const fn special(name: &'static str, key: &'static str, parse: Parse, help: &'static str) -> Variable {
    Variable { name, key, parse, help }
}

/// Every variable that is read. Of two that set the same thing, the upper one counts: native names stand before the
/// ones that Mooncake's transfer engine has for the same.
pub const TABLE: &[Variable] = &[
    plain("MC_CONFIG_FILE", "config_file", "configuration file, .toml or .json"),
    plain("MC_NAME", "name", "name shown to peers"),
    plain("MC_LISTEN", "listen", "false: offer nothing to peers on other hosts"),
    plain("MC_BIND_ADDRESS", "bind_address", "address to listen on"),
    plain("MC_TCP_BIND_ADDRESS", "bind_address", "the same, as Mooncake calls it"),
    plain("MC_INTERFACE", "network_interface", "interface whose address to listen on"),
    plain("MC_CIDR", "cidr", "network in which to listen"),
    special("MC_PORT", "port", Parse::Ports, "port to listen on, or a range such as 4000-4010"),
    plain("MC_MIN_RPC_PORT", "port", "first port of the range, as Mooncake calls it"),
    plain("MC_MAX_RPC_PORT", "port_last", "last port of the range, as Mooncake calls it"),
    plain("MC_MIN_PRC_PORT", "port", "the same, as older Mooncakes call it"),
    plain("MC_MAX_PRC_PORT", "port_last", "the same, as older Mooncakes call it"),
    plain("MC_LANES", "lanes", "connections for data to each peer"),
    plain("MC_TCP_LANES_PER_PEER", "lanes", "the same, as Mooncake calls it"),
    plain("MC_TCP_MAX_CONNECTIONS_PER_PEER", "lanes", "the same, as older Mooncakes call it"),
    plain("MC_WORKER_THREADS", "worker_threads", "threads that move data"),
    plain("MC_CHECKSUM", "checksum", "default, off or required"),
    plain("MC_TRANSPORTS", "transports", "paths that bytes may take, of local,memfd,cma,tcp"),
    special("MC_FORCE_TCP", "transports", Parse::OnlyTcp, "true: only tcp, as Mooncake calls it"),
    plain("MC_DEADLINE_MS", "default_deadline_ms", "deadline of batches that name none"),
    special(
        "MC_SLICE_TIMEOUT",
        "default_deadline_ms",
        Parse::Seconds,
        "the same in seconds, as Mooncake calls it; 0 and below: not set",
    ),
    plain(
        "MC_KEEPALIVE_MS",
        "keepalive_ms",
        "silence after which a peer that owes an answer is taken for lost",
    ),
    special("MC_PSK_FILE", "psk", Parse::SecretFile, "file with the secret that all peers share"),
    plain("MC_METADATA", "metadata", "URL of where names are looked up, see below; P2PHANDSHAKE: nowhere"),
    plain("MC_REDIS_USERNAME", "redis_username", "user of a redis:// that names none, as Mooncake calls it"),
    plain(
        "MC_REDIS_PASSWORD",
        "redis_password",
        "password of a redis:// that has none, as Mooncake calls it",
    ),
    plain("MC_REDIS_DB_INDEX", "redis_db", "database of a redis:// that names none, as Mooncake calls it"),
    plain("MC_QUEUE_LIMIT", "queue_limit", "requests that may be under way at once"),
    plain("MC_METRICS", "metrics", "false: no Prometheus text"),
    plain("MC_COMPAT", "compat", "off, on or allow: whether Mooncake's own engines are served and reached"),
    plain(
        "MC_ADVERTISE_HOST",
        "advertise_host",
        "host that peers are told, instead of the addresses listened on",
    ),
    plain(
        "MC_METADATA_CLUSTER_ID",
        "metadata_cluster",
        "part of the keys under which Mooncake's engines publish themselves, as Mooncake calls it",
    ),
    special("MC_LOG_LEVEL", "log_level", Parse::Level, "off, error, warn, info, debug or trace"),
];

/// What is set now. Empty variables count as not set.
pub fn read() -> Result<Vec<Entry>> {
    read_from(|name| std::env::var_os(name))
}

/// One variable; empty, or not text, counts as not set.
pub fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// The same from any source of variables.
pub(super) fn read_from(get: impl Fn(&str) -> Option<std::ffi::OsString>) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    for variable in TABLE {
        let Some(text) = get(variable.name).filter(|text| !text.is_empty()) else { continue };
        let Some(text) = text.to_str() else {
            bail!(InvalidArgument, "environment variable {} is not UTF-8", variable.name);
        };
        // Every value is checked, the ones that lose as well: a typing error does not hide behind another variable.
        let parsed = variable.parse(text)?;
        for (key, value) in parsed {
            if !entries.iter().any(|entry| entry.key == key) {
                entries.push(Entry { key, value, origin: Origin::Environment(variable.name) });
            }
        }
    }
    complete_range(&mut entries);
    Ok(entries)
}

/// Mooncake's two range variables have a default each, and so may stand alone.
fn complete_range(entries: &mut Vec<Entry>) {
    for (variable, missing, default) in [
        ("MC_MIN_RPC_PORT", "port_last", 17_000),
        ("MC_MIN_PRC_PORT", "port_last", 17_000),
        ("MC_MAX_RPC_PORT", "port", 15_000),
        ("MC_MAX_PRC_PORT", "port", 15_000),
    ] {
        let origin = Origin::Environment(variable);
        if entries.iter().any(|entry| entry.origin == origin)
            && !entries.iter().any(|entry| entry.key == missing)
        {
            entries.push(Entry { key: missing, value: Value::Number(default), origin });
        }
    }
}

impl Variable {
    fn parse(&self, text: &str) -> Result<Vec<(&'static str, Value)>> {
        let kind = setting::find(self.key).expect("a test compares the two tables").kind;
        let wrong = |range: String| {
            let text = match kind {
                setting::Kind::Secret(..) => format!("{} bytes", text.len()),
                _ => format!("{:?}", without_password(text)),
            };
            fail!(InvalidArgument, "environment variable {} is {text}: must be {range}", self.name)
        };
        let one = |text: &str| {
            kind.parse(text).filter(|value| kind.allows(value)).ok_or_else(|| wrong(kind.range()))
        };
        match self.parse {
            Parse::Plain => Ok(vec![(self.key, one(text)?)]),
            Parse::Level => {
                let lower = text.to_ascii_lowercase();
                let level = match lower.as_str() {
                    "warning" => "warn",
                    "fatal" => "error",
                    other => other,
                };
                Ok(vec![(self.key, one(level)?)])
            }
            Parse::Ports => {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                Ok(vec![("port", one(first.trim())?), ("port_last", one(last.trim())?)])
            }
            Parse::SecretFile => {
                let value = file::read_secret(text).map_err(|error| error.context(self.name))?;
                if !kind.allows(&value) {
                    bail!(
                        InvalidArgument,
                        "environment variable {}: the key in {text} has {}: must be {}",
                        self.name,
                        super::layer::shown(&value),
                        kind.range()
                    );
                }
                Ok(vec![("psk", value)])
            }
            Parse::OnlyTcp => match setting::Kind::Flag.parse(text) {
                Some(Value::Flag(true)) => Ok(vec![(self.key, Value::Text("tcp".to_owned()))]),
                Some(_) => Ok(Vec::new()),
                None => Err(wrong(setting::Kind::Flag.range())),
            },
            Parse::Seconds => match text.trim().parse::<i64>() {
                Ok(..=0) => Ok(Vec::new()),
                Ok(seconds) => Ok(vec![(self.key, one(&seconds.saturating_mul(1_000).to_string())?)]),
                Err(_) => Err(wrong("a number of seconds".to_owned())),
            },
        }
    }
}
