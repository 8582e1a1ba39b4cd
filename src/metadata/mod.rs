//! How peers are found: small values under keys, in a backend that a URL names.

#[cfg(feature = "tls")]
mod claims;
#[cfg(feature = "etcd")]
mod etcd;
pub mod file;
#[cfg(feature = "http")]
mod http;
pub mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod resp;
#[cfg(feature = "etcd")]
mod runtime;

use std::sync::Arc;
use std::time::Duration;

use crate::bail;
use crate::config::url::Url;
use crate::error::Result;

/// Longest key in bytes.
pub const KEY_MAX: usize = 1024;
/// Longest value in bytes.
pub const VALUE_MAX: usize = 1 << 20;

/// How long a claim on a server outlives an owner that no longer renews it.
pub const CLAIM_LIVES: Duration = Duration::from_secs(30);
/// How long a server may take to accept a connection.
#[cfg(feature = "tls")]
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// How long a whole request may take, the connection included.
#[cfg(feature = "tls")]
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long a list may take, which is made by several requests.
#[cfg(any(feature = "etcd", feature = "redis"))]
const LIST_WITHIN: Duration = Duration::from_secs(60);
/// Most keys that a list may have.
#[cfg(feature = "tls")]
const LIST_MAX: usize = 1_000_000;

/// Under which claims are kept where they are keys like others.
#[cfg(any(feature = "etcd", feature = "redis"))]
const RESERVED: &str = "mooncake-claims/";

/// A store of small values. Any thread may call any method at any time; a call may block for the backend.
///
/// A key that was made by `create` belongs to this handle until it is removed, the handle is dropped or the process
/// ends, however it ends; its value stays until somebody replaces or removes it.
pub trait MetadataBackend: Send + Sync {
    /// The value of a key; `None` when there is none.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>>;

    /// Sets a value, whether there was one or not.
    fn set(&self, key: &str, value: &[u8]) -> Result<()>;

    /// Claims a key and sets its value. `AlreadyExists` while another handle that lives has claimed it.
    fn create(&self, key: &str, value: &[u8]) -> Result<()>;

    /// Removes a key and its claim, if this handle has it. Removing what does not exist is no error.
    fn remove(&self, key: &str) -> Result<()>;

    /// The keys that begin with `prefix`, sorted.
    fn list(&self, prefix: &str) -> Result<Vec<String>>;
}

/// What may be opened, for error messages.
pub const URLS: &str =
    "memory://NAME, file:///DIRECTORY, http://HOST:PORT/metadata, redis://HOST or etcd://HOST";

/// Schemes of servers, whether this build can talk to them or not.
const SCHEMES: &[&str] = &["http", "https", "redis", "rediss", "etcd", "etcds"];

/// Opens the backend that a URL names. Whether a server answers is found out here, so that an engine that cannot be
/// found by anybody is not made.
pub fn open(url: &str) -> Result<Arc<dyn MetadataBackend>> {
    open_for(url, CLAIM_LIVES)
}

/// The same with claims that end so long after their last renewal; a server may round that up.
pub fn open_for(url: &str, claim_lives: Duration) -> Result<Arc<dyn MetadataBackend>> {
    match url.split_once("://") {
        Some(("memory", name)) if !name.is_empty() => return Ok(memory::Memory::open(name)),
        Some(("file", path)) if path.starts_with('/') => return Ok(file::Directory::open(path)?),
        _ => {}
    }
    let shown = crate::config::url::without_password(url);
    let scheme = url.split_once("://").map_or_else(String::new, |(scheme, _)| scheme.to_ascii_lowercase());
    // A build that knows no server has no claims that end by time.
    let _ = claim_lives;
    match scheme.as_str() {
        #[cfg(feature = "http")]
        "http" | "https" => Ok(Arc::new(http::Http::open(&Url::parse(url)?, claim_lives)?)),
        #[cfg(feature = "redis")]
        "redis" | "rediss" => Ok(Arc::new(redis::Redis::open(&Url::parse(url)?, claim_lives)?)),
        #[cfg(feature = "etcd")]
        "etcd" | "etcds" => Ok(Arc::new(etcd::Etcd::open(&Url::parse(url)?, claim_lives)?)),
        known if SCHEMES.contains(&known) => {
            bail!(Unsupported, "metadata is {shown:?}: this library was built without the feature for it")
        }
        _ => bail!(InvalidArgument, "metadata is {shown:?}: must be {URLS}"),
    }
}

/// The URL that a connection string of Mooncake means: one with a scheme stands for itself, a bare "host:port" or a
/// list of them is etcd. "P2PHANDSHAKE" is no backend and is not for here.
pub fn legacy_url(text: &str) -> Result<String> {
    if text.contains("://") {
        return Ok(text.to_owned());
    }
    let url = format!("etcd://{text}");
    match Url::parse(&url) {
        Ok(parsed)
            if parsed.hosts.iter().all(|host| host.port.is_some()) && !text.contains(['/', '@', '?']) =>
        {
            Ok(url)
        }
        _ => bail!(
            InvalidArgument,
            "metadata is {text:?}: must be a URL, or HOST:PORT of etcd, or a list of those"
        ),
    }
}

fn check(key: &str, value: &[u8]) -> Result<()> {
    if key.is_empty() || key.len() > KEY_MAX {
        bail!(InvalidArgument, "a metadata key has {} bytes: 1 to {KEY_MAX}", key.len());
    }
    if value.len() > VALUE_MAX {
        bail!(
            InvalidArgument,
            "the value of metadata key {key:?} has {} bytes: at most {VALUE_MAX}",
            value.len()
        );
    }
    Ok(())
}

#[cfg(any(feature = "etcd", feature = "redis"))]
fn check_reserved(key: &str) -> Result<()> {
    if key.starts_with(RESERVED) {
        bail!(InvalidArgument, "metadata key {key:?}: {RESERVED} is where claims are kept");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
