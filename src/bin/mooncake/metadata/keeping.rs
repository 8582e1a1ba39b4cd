//! What the server keeps: in memory, and with `--data` in a directory first, so that a crash loses nothing it confirmed.

use std::fs::{self, File};
use std::sync::Arc;
use std::time::Instant;

use mooncake::metadata::MetadataBackend;
use mooncake::metadata::file::Directory;
use tokio::sync::{Mutex, MutexGuard};

use super::store::{Claim, Limits, Store, Verdict};

/// The file that keeps a second server out of the directory.
const LOCK: &str = "server.lock";

pub struct Keeping {
    /// Held over the write to the directory too: what is confirmed, stored and read is always the same.
    store: Mutex<Store>,
    disk: Option<Disk>,
}

struct Disk {
    directory: Arc<Directory>,
    /// The lock ends with it.
    _lock: File,
}

impl Keeping {
    pub fn open(path: Option<&str>, limits: Limits) -> Result<Keeping, String> {
        let mut store = Store::new(limits);
        let disk = path.map(Disk::open).transpose()?;
        if let Some(disk) = &disk {
            for key in disk.directory.list("").map_err(text)? {
                let value = disk.directory.get(&key).map_err(text)?.unwrap_or_default();
                if store.judge(&key, &value, None, Instant::now()) != Verdict::Updated {
                    return Err(format!("{}: {key:?} is beyond a limit: raise it", path.unwrap_or_default()));
                }
                store.put(&key, value, None, Instant::now());
            }
        }
        Ok(Keeping { store: Mutex::new(store), disk })
    }

    pub async fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().await
    }

    /// Puts a value if the store allows it; `over` replaces one that Mooncake's rule would keep.
    pub async fn put(
        &self,
        key: &str,
        value: &[u8],
        claim: Option<Claim>,
        over: bool,
    ) -> Result<Verdict, String> {
        let mut store = self.lock().await;
        let mut verdict = store.judge(key, value, claim.as_ref(), Instant::now());
        if verdict == Verdict::Duplicate && over {
            verdict = Verdict::Updated;
        }
        if verdict == Verdict::Updated {
            let (written, owned) = (key.to_owned(), value.to_vec());
            self.write(move |directory| directory.set(&written, &owned)).await?;
            store.put(key, value.to_vec(), claim, Instant::now());
        }
        Ok(verdict)
    }

    /// Removes a value, if it is still the one that was looked at. False when it is not there.
    pub async fn remove(&self, key: &str, owner: Option<&str>, only: Option<&[u8]>) -> Result<bool, String> {
        let mut store = self.lock().await;
        if only.is_some() && store.get(key) != only {
            return Ok(false);
        }
        if store.get(key).is_some() {
            let written = key.to_owned();
            self.write(move |directory| directory.remove(&written)).await?;
        }
        Ok(store.remove(key, owner))
    }

    async fn write(
        &self,
        change: impl FnOnce(&Directory) -> mooncake::error::Result<()> + Send + 'static,
    ) -> Result<(), String> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let directory = disk.directory.clone();
        let written = tokio::task::spawn_blocking(move || change(&directory)).await;
        written.map_err(|error| error.to_string())?.map_err(text)
    }
}

impl Disk {
    fn open(path: &str) -> Result<Disk, String> {
        let told = |error: std::io::Error| format!("--data {path}: {error}");
        fs::create_dir_all(path).map_err(told)?;
        let absolute = fs::canonicalize(path).map_err(told)?;
        let lock = File::create(absolute.join(LOCK)).map_err(told)?;
        lock.try_lock().map_err(|_| format!("--data {path}: another server uses it"))?;
        let absolute = absolute.to_str().ok_or_else(|| format!("--data {path}: the path is no UTF-8"))?;
        Ok(Disk { directory: Directory::open(absolute).map_err(text)?, _lock: lock })
    }
}

fn text(error: mooncake::error::Error) -> String {
    error.message().to_owned()
}
