//! Configuration files: TOML or JSON, the same keys as the settings.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::layer::{Entry, Origin};
use super::setting::{self, Kind, SETTINGS, Value};
use crate::error::{Context, Result};
use crate::{bail, fail};

/// Largest file that is read.
const SIZE_MAX: u64 = 1 << 20;

/// The settings in a file. Unknown keys, and values of another type, are errors that name the file and the key.
pub fn read(path: &str) -> Result<Vec<Entry>> {
    let text = read_bounded(path, "configuration file")?;
    let text = String::from_utf8(text)
        .map_err(|_| fail!(InvalidArgument, "configuration file {path} is not UTF-8"))?;
    let table = parse(path, &text)?;
    let origin = Origin::File(Arc::from(path));
    table.into_iter().map(|(key, value)| entry(path, &key, &value, &origin)).collect()
}

fn parse(path: &str, text: &str) -> Result<Map<String, Json>> {
    let malformed = |error: String| fail!(InvalidArgument, "configuration file {path}: {}", error.trim_end());
    match Path::new(path).extension().and_then(|extension| extension.to_str()) {
        Some("toml") => toml::from_str(text).map_err(|error| malformed(error.to_string())),
        Some("json") => serde_json::from_str(text).map_err(|error| malformed(error.to_string())),
        _ => bail!(InvalidArgument, "configuration file {path}: its name must end in .toml or .json"),
    }
}

fn entry(path: &str, key: &str, json: &Json, origin: &Origin) -> Result<Entry> {
    let wrong = |wants: String| fail!(InvalidArgument, "file {path}: {key} is {json}: must be {wants}");
    if key == "psk_file" {
        let secret = json.as_str().ok_or_else(|| wrong("a path".to_owned()))?;
        return Ok(Entry { key: "psk", value: read_secret(secret)?, origin: origin.clone() });
    }
    let Some(setting) = setting::find(key).filter(|setting| is_file_key(setting.key)) else {
        let known: Vec<&str> =
            SETTINGS.iter().map(|setting| setting.key).filter(|key| is_file_key(key)).collect();
        bail!(InvalidArgument, "file {path}: unknown key {key}; known are psk_file, {}", known.join(", "));
    };
    let value = match (setting.kind, json) {
        (Kind::Number(..), Json::Number(number)) => number.as_u64().map(Value::Number),
        (Kind::Flag, Json::Bool(flag)) => Some(Value::Flag(*flag)),
        (Kind::List(_), Json::Array(items)) => items
            .iter()
            .map(Json::as_str)
            .collect::<Option<Vec<_>>>()
            .and_then(|words| setting.kind.parse(&words.join(","))),
        (Kind::Text(..) | Kind::Choice(_) | Kind::List(_), Json::String(text)) => setting.kind.parse(text),
        _ => None,
    };
    let value = value.ok_or_else(|| wrong(setting.kind.range()))?;
    Ok(Entry { key: setting.key, value, origin: origin.clone() })
}

/// A file names no other file, and holds no secret itself: it is read by more people than a key file.
fn is_file_key(key: &str) -> bool {
    !matches!(key, "config_file" | "psk" | "redis_password")
}

/// A pre-shared key from a file of its own, without a line feed at its end.
pub fn read_secret(path: &str) -> Result<Value> {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!("key file {path} is open to other users: chmod 600 {path}");
    }
    let mut bytes = read_bounded(path, "key file")?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(Value::Secret(bytes))
}

fn read_bounded(path: &str, what: &str) -> Result<Vec<u8>> {
    use std::io::Read;
    let named = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => fail!(NotFound, "{what} {path} does not exist"),
        _ => fail!(Io, "opening {what} {path}: {error}"),
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(named)?;
    file.take(SIZE_MAX + 1).read_to_end(&mut bytes).context(format_args!("reading {what} {path}"))?;
    if bytes.len() as u64 > SIZE_MAX {
        bail!(InvalidArgument, "{what} {path} is larger than {SIZE_MAX} bytes");
    }
    Ok(bytes)
}
