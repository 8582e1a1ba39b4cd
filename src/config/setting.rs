//! The settings: name, kind and range of each, and its default.

use super::NAME_MAX;
use crate::telemetry::log;

/// A value of any kind.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(u64),
    Flag(bool),
    Secret(Vec<u8>),
}

/// What a setting may be.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Bytes at most, and what else must hold.
    Text(usize, fn(&str) -> bool, &'static str),
    Number(u64, u64),
    Flag,
    Choice(&'static [&'static str]),
    /// Words separated by commas.
    List(&'static [&'static str]),
    /// From and to how many bytes.
    Secret(usize, usize),
}

/// One setting. Settings of a group replace each other: the strongest layer that has one of them decides all of them.
pub struct Setting {
    pub key: &'static str,
    pub(super) kind: Kind,
    pub(super) group: &'static str,
}

const fn setting(key: &'static str, kind: Kind) -> Setting {
    Setting { key, kind, group: key }
}

const fn member(group: &'static str, key: &'static str, kind: Kind) -> Setting {
    Setting { key, kind, group }
}

const TRANSPORTS: &[&str] = &["local", "memfd", "cma", "tcp"];
const DAY_MS: u64 = 86_400_000;

/// All settings, in the order in which they are shown.
pub const SETTINGS: &[Setting] = &[
    setting("name", Kind::Text(NAME_MAX, is_printable, "no control characters")),
    setting("listen", Kind::Flag),
    member("bind", "bind_address", Kind::Text(253, is_word, "an address or a host name")),
    member("bind", "network_interface", Kind::Text(15, is_word, "an interface, such as eth0")),
    member("bind", "cidr", Kind::Text(64, is_network, "a network, such as 10.0.0.0/8")),
    member("port", "port", Kind::Number(0, 65_535)),
    member("port", "port_last", Kind::Number(0, 65_535)),
    setting("lanes", Kind::Number(1, 16)),
    setting("worker_threads", Kind::Number(1, 64)),
    setting("checksum", Kind::Choice(&["default", "off", "required"])),
    setting("transports", Kind::List(TRANSPORTS)),
    setting("default_deadline_ms", Kind::Number(1, 30 * DAY_MS)),
    setting("keepalive_ms", Kind::Number(10, DAY_MS)),
    setting("psk", Kind::Secret(16, 256)),
    setting(
        "metadata",
        Kind::Text(4096, is_url, "a URL, such as memory://NAME or etcd://HOST, or P2PHANDSHAKE"),
    ),
    setting("redis_username", Kind::Text(256, is_printable, "a user of Redis")),
    setting("redis_password", Kind::Secret(1, 1024)),
    setting("redis_db", Kind::Number(0, 255)),
    setting("queue_limit", Kind::Number(1, 1 << 26)),
    setting("metrics", Kind::Flag),
    setting("compat", Kind::Choice(&["off", "on", "allow"])),
    setting("advertise_host", Kind::Text(253, is_word, "an address or a host name")),
    setting("metadata_cluster", Kind::Text(128, is_word, "a word")),
    setting("log_level", Kind::Choice(&log::LEVELS)),
    setting("config_file", Kind::Text(4096, is_printable, "a path")),
];

/// The defaults on a host with so many processors. Settings that are not here are unset by default.
pub fn defaults(processors: usize) -> Vec<(&'static str, Value)> {
    let lanes = match processors {
        0 | 1 => 1,
        2..=7 => 2,
        _ => 4,
    };
    let workers = processors.clamp(1, 4) as u64;
    vec![
        ("listen", Value::Flag(true)),
        ("port", Value::Number(0)),
        ("lanes", Value::Number(lanes)),
        ("worker_threads", Value::Number(workers)),
        ("checksum", Value::Text("default".to_owned())),
        ("transports", Value::Text(TRANSPORTS.join(","))),
        ("default_deadline_ms", Value::Number(60_000)),
        ("keepalive_ms", Value::Number(5_000)),
        ("queue_limit", Value::Number(1 << 20)),
        ("metrics", Value::Flag(true)),
        ("compat", Value::Text("off".to_owned())),
    ]
}

pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The number of a level name.
pub fn log_level(name: &str) -> Option<u32> {
    log::LEVELS.iter().position(|level| *level == name).and_then(|index| u32::try_from(index).ok())
}

impl Kind {
    /// Reads a value from text, as the environment has it.
    pub fn parse(self, text: &str) -> Option<Value> {
        match self {
            Kind::Number(..) => text.parse().ok().map(Value::Number),
            Kind::Flag => match text.to_ascii_lowercase().as_str() {
                "1" | "true" | "yes" | "on" => Some(Value::Flag(true)),
                "0" | "false" | "no" | "off" => Some(Value::Flag(false)),
                _ => None,
            },
            Kind::Choice(_) => Some(Value::Text(text.to_ascii_lowercase())),
            Kind::List(_) => Some(Value::Text(words(text).collect::<Vec<_>>().join(","))),
            Kind::Text(..) => Some(Value::Text(text.to_owned())),
            Kind::Secret(..) => Some(Value::Secret(text.as_bytes().to_vec())),
        }
    }

    /// Whether a value is in range.
    pub fn allows(self, value: &Value) -> bool {
        match (self, value) {
            (Kind::Text(most, holds, _), Value::Text(text)) => {
                !text.is_empty() && text.len() <= most && holds(text)
            }
            (Kind::Number(least, most), Value::Number(number)) => (least..=most).contains(number),
            (Kind::Flag, Value::Flag(_)) => true,
            (Kind::Choice(choices), Value::Text(text)) => choices.contains(&text.as_str()),
            (Kind::List(choices), Value::Text(text)) => {
                words(text).next().is_some() && words(text).all(|word| choices.contains(&word))
            }
            (Kind::Secret(least, most), Value::Secret(bytes)) => (least..=most).contains(&bytes.len()),
            _ => false,
        }
    }

    /// What may be given, for error messages.
    pub fn range(self) -> String {
        match self {
            Kind::Text(most, _, what) => format!("1 to {most} bytes, {what}"),
            Kind::Number(least, most) => format!("a number from {least} to {most}"),
            Kind::Flag => "true or false".to_owned(),
            Kind::Choice(choices) => format!("one of {}", choices.join(", ")),
            Kind::List(choices) => format!("one or more of {}, separated by commas", choices.join(", ")),
            Kind::Secret(least, most) => format!("{least} to {most} bytes"),
        }
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

fn is_word(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || c.is_whitespace())
}

fn is_url(text: &str) -> bool {
    is_printable(text) && (text.contains("://") || text == super::NO_METADATA)
}

fn is_network(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else { return false };
    let (Ok(address), Ok(prefix)) = (address.parse::<std::net::IpAddr>(), prefix.parse::<u8>()) else {
        return false;
    };
    prefix <= if address.is_ipv4() { 32 } else { 128 }
}
