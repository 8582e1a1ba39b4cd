//! Layers of settings over one another, each value with where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::setting::{self, Value};
use super::url::without_password;
use crate::bail;
use crate::error::Result;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(Arc<str>),
    Environment(&'static str),
    Options,
}

impl Origin {
    /// One word, as the configuration dump shows it.
    pub fn word(&self) -> &'static str {
        match self {
            Origin::Default => "default",
            Origin::File(_) => "file",
            Origin::Environment(_) => "environment",
            Origin::Options => "options",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => write!(f, "file {path}"),
            Origin::Environment(variable) => write!(f, "environment variable {variable}"),
            other => f.write_str(other.word()),
        }
    }
}

/// One value of one layer.
#[derive(Clone)]
pub struct Entry {
    pub key: &'static str,
    pub value: Value,
    pub origin: Origin,
}

/// Values by key; what is put later is stronger.
#[derive(Clone, Default)]
pub struct Layers {
    values: BTreeMap<&'static str, (Value, Origin)>,
}

impl Layers {
    pub fn with_defaults(defaults: Vec<(&'static str, Value)>) -> Layers {
        let mut layers = Layers::default();
        for (key, value) in defaults {
            layers.put_default(key, value);
        }
        layers
    }

    pub fn put_default(&mut self, key: &'static str, value: Value) {
        self.values.insert(key, (value, Origin::Default));
    }

    /// Puts a whole layer on top, checking each value.
    pub fn put(&mut self, layer: Vec<Entry>) -> Result<()> {
        check_groups(&layer)?;
        for entry in &layer {
            let setting = setting::find(entry.key).expect("layers are made from the table of settings");
            if !setting.kind.allows(&entry.value) {
                bail!(
                    InvalidArgument,
                    "{}: {} is {}: must be {}",
                    entry.origin,
                    entry.key,
                    shown(&entry.value),
                    setting.kind.range()
                );
            }
            self.values.retain(|key, _| setting::find(key).is_none_or(|other| other.group != setting.group));
        }
        for Entry { key, value, origin } in layer {
            self.values.insert(key, (value, origin));
        }
        Ok(())
    }

    pub fn get(&self, key: &str) -> Option<(&Value, &Origin)> {
        self.values.get(key).map(|(value, origin)| (value, origin))
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            (Value::Text(text), _) => Some(text),
            _ => None,
        }
    }

    pub fn number(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            (Value::Number(number), _) => Some(*number),
            _ => None,
        }
    }

    pub fn secret(&self, key: &str) -> Option<&[u8]> {
        match self.get(key)? {
            (Value::Secret(bytes), _) => Some(bytes),
            _ => None,
        }
    }

    pub fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some((Value::Flag(true), _)))
    }

    pub fn port(&self, key: &str) -> u16 {
        self.number(key).and_then(|port| u16::try_from(port).ok()).unwrap_or(0)
    }

    pub fn count(&self, key: &str) -> u32 {
        self.number(key).and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
    }

    /// "environment variable MC_LANES: lanes"
    pub fn title(&self, key: &str) -> String {
        self.get(key).map_or_else(|| key.to_owned(), |(_, origin)| format!("{origin}: {key}"))
    }
}

/// Within one layer only one of the ways to choose an address may be given.
fn check_groups(layer: &[Entry]) -> Result<()> {
    let mut bind =
        layer.iter().filter(|entry| setting::find(entry.key).is_some_and(|setting| setting.group == "bind"));
    if let (Some(one), Some(other)) = (bind.next(), bind.next()) {
        bail!(
            InvalidArgument,
            "{}: {} is {} and {} is {}: give one of bind_address, network_interface and cidr",
            one.origin,
            one.key,
            shown(&one.value),
            other.key,
            shown(&other.value)
        );
    }
    Ok(())
}

/// A value for humans; a secret only as its length, a URL without its password.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{:?}", without_password(text)),
        Value::Number(number) => number.to_string(),
        Value::Flag(flag) => flag.to_string(),
        Value::Secret(bytes) => format!("{} bytes", bytes.len()),
    }
}
