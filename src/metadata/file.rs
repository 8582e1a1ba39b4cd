//! Metadata in a directory that its users share: one file per key, replaced atomically.
//!
//! A file holds its key, a line feed and the value. A claim is a lock on a file beside it, which the kernel gives back
//! when its owner's process ends.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{KEY_MAX, MetadataBackend, VALUE_MAX, check};
use crate::error::{Code, Error, Result};
use crate::{bail, fail};

const VALUE: &str = ".value";
const LOCK: &str = ".lock";
const TEMPORARY: &str = ".temporary";
/// Longest encoded key that names its file; longer ones are named by their digest.
const NAME_MAX: usize = 200;
/// A temporary file of this age belongs to nobody who will come back.
const STALE: Duration = Duration::from_secs(3600);

/// A handle to one directory.
pub struct Directory {
    path: PathBuf,
    /// Locks that this handle holds, by file name.
    claims: Mutex<HashMap<String, File>>,
}

impl Directory {
    pub fn open(path: &str) -> Result<Arc<Directory>> {
        let directory = Directory { path: PathBuf::from(path), claims: Mutex::default() };
        let metadata = fs::metadata(&directory.path).map_err(|error| directory.failed("opening", &error))?;
        if !metadata.is_dir() {
            bail!(InvalidArgument, "metadata directory {path} is not a directory");
        }
        directory.sweep();
        Ok(Arc::new(directory))
    }

    /// Removes temporary files that crashed writers left.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            let is_temporary = entry.file_name().to_str().is_some_and(|name| name.ends_with(TEMPORARY));
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
            if is_temporary && age.is_some_and(|age| age > STALE) {
                // Another one may have swept it, or may not be allowed to: both are fine.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn file(&self, name: &str, suffix: &str) -> PathBuf {
        self.path.join(format!("{name}{suffix}"))
    }

    fn read(&self, path: &Path) -> Result<Option<(String, Vec<u8>)>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.missing_value(),
            Err(error) => return Err(self.failed("reading from", &error)),
        };
        let mut bytes = Vec::new();
        file.take((KEY_MAX * 3 + 1 + VALUE_MAX + 1) as u64)
            .read_to_end(&mut bytes)
            .map_err(|error| self.failed("reading from", &error))?;
        let damaged = || fail!(Corrupted, "{} does not begin with its key: remove it", path.display());
        let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
        let key = std::str::from_utf8(&bytes[..end]).ok().and_then(decode).ok_or_else(damaged)?;
        if name_of(&key) != path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default() {
            return Err(damaged());
        }
        bytes.drain(..=end);
        if bytes.len() > VALUE_MAX {
            bail!(Corrupted, "{} is larger than any value: remove it", path.display());
        }
        Ok(Some((key, bytes)))
    }

    /// A key that is not there is fine; a directory that is not there is not.
    fn missing_value<T>(&self) -> Result<Option<T>> {
        fs::metadata(&self.path).map(|_| None).map_err(|error| self.failed("reading from", &error))
    }

    fn write(&self, key: &str, value: &[u8]) -> Result<()> {
        let temporary = self.file(&temporary_name(), TEMPORARY);
        let written = write_new(&temporary, key, value)
            .and_then(|()| fs::rename(&temporary, self.file(&name_of(key), VALUE)))
            .and_then(|()| File::open(&self.path)?.sync_all());
        written.map_err(|error| {
            // It may not exist, or be renamed already.
            let _ = fs::remove_file(&temporary);
            self.failed("writing to", &error)
        })
    }

    /// Locks the claim file of a key; `None` when another handle holds it.
    fn lock(&self, name: &str) -> Result<Option<File>> {
        let path = self.file(name, LOCK);
        loop {
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(|error| self.failed("writing to", &error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(self.failed("locking in", &error)),
            }
            // Its owner before may have unlinked it between our open and our lock: then it protects nothing.
            let ours = file.metadata().map_err(|error| self.failed("locking in", &error))?;
            match fs::metadata(&path) {
                Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => return Ok(Some(file)),
                _ => {}
            }
        }
    }

    fn failed(&self, doing: &str, error: &io::Error) -> Error {
        let code = failure_code(error);
        let advice = match code {
            Code::NotFound => "; create it",
            Code::Permission => "; this process needs to write there",
            Code::NoSpace => "; free some space",
            _ => "",
        };
        Error::new(code, format!("{doing} metadata directory {}: {error}{advice}", self.path.display()))
    }
}

/// What a failure in a directory means for the caller.
pub(super) fn failure_code(error: &io::Error) -> Code {
    match error.kind() {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Code::Permission,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Code::NoSpace,
        _ => Code::Io,
    }
}

impl MetadataBackend for Directory {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        check(key, &[])?;
        Ok(self.read(&self.file(&name_of(key), VALUE))?.map(|(_, value)| value))
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        check(key, value)?;
        self.write(key, value)
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<()> {
        check(key, value)?;
        let name = name_of(key);
        let mut claims = self.claims.lock();
        if !claims.contains_key(&name) {
            let Some(file) = self.lock(&name)? else {
                bail!(AlreadyExists, "{key:?} is taken in metadata directory {}", self.path.display());
            };
            claims.insert(name.clone(), file);
        }
        self.write(key, value).inspect_err(|_| {
            claims.remove(&name);
        })
    }

    fn remove(&self, key: &str) -> Result<()> {
        check(key, &[])?;
        let name = name_of(key);
        let mut claims = self.claims.lock();
        match fs::remove_file(self.file(&name, VALUE)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(self.failed("removing from", &error));
            }
            _ => {}
        }
        if let Some(lock) = claims.remove(&name) {
            // Unlinked while it is still held, so that whoever locks it next sees that it is gone.
            let _ = fs::remove_file(self.file(&name, LOCK));
            drop(lock);
        }
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(|error| self.failed("listing", &error))? {
            let entry = entry.map_err(|error| self.failed("listing", &error))?;
            let file_name = entry.file_name();
            let Some(name) = file_name.to_str().and_then(|name| name.strip_suffix(VALUE)) else { continue };
            let key = match decode(name) {
                Some(key) if !is_digest(name) => Some(key),
                _ => self.read(&entry.path())?.map(|(key, _)| key),
            };
            keys.extend(key.filter(|key| key.starts_with(prefix)));
        }
        keys.sort();
        Ok(keys)
    }
}

fn write_new(path: &Path, key: &str, value: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create_new(true).write(true).open(path)?;
    let mut bytes = encode(key).into_bytes();
    bytes.push(b'\n');
    bytes.extend_from_slice(value);
    file.write_all(&bytes)?;
    file.sync_all()
}

/// Unique among all writers of a directory, also on other hosts.
fn temporary_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{:x}-{now:x}-{:x}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The file name of a key without its suffix.
fn name_of(key: &str) -> String {
    let encoded = encode(key);
    if encoded.len() <= NAME_MAX {
        return encoded;
    }
    let mut name = String::from("=");
    for byte in Sha256::digest(key.as_bytes()) {
        write!(name, "{byte:02x}").expect("writing to a String cannot fail");
    }
    name
}

fn is_digest(name: &str) -> bool {
    name.starts_with('=')
}

/// Letters, digits, '-' and '_' stand for themselves, every other byte as "%xx".
fn encode(key: &str) -> String {
    let mut encoded = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => encoded.push(char::from(byte)),
            other => write!(encoded, "%{other:02x}").expect("writing to a String cannot fail"),
        }
    }
    encoded
}

fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).ok()
}
