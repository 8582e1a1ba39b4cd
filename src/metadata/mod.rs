//! How peers are found: small values under keys, in a backend that a URL names.

pub mod file;
pub mod memory;

use std::sync::Arc;

use crate::bail;
use crate::error::Result;

/// Longest key in bytes.
pub const KEY_MAX: usize = 1024;
/// Longest value in bytes.
pub const VALUE_MAX: usize = 1 << 20;

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

/// Opens the backend that a URL names: "memory://NAME" or "file:///DIRECTORY".
pub fn open(url: &str) -> Result<Arc<dyn MetadataBackend>> {
    match url.split_once("://") {
        Some(("memory", name)) if !name.is_empty() => Ok(memory::Memory::open(name)),
        Some(("file", path)) if path.starts_with('/') => Ok(file::Directory::open(path)?),
        _ => bail!(
            InvalidArgument,
            "metadata is {url:?}: memory://NAME or file:///DIRECTORY with an absolute path"
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

#[cfg(test)]
mod tests;
