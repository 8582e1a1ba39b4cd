//! Claims on a server: whose they are, and the thread that renews them, because an owner that dies cannot give them back.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use crate::bail;
use crate::error::{Context, Result};
use crate::sys::random;

/// Most claims of one handle.
const CLAIMS_MAX: usize = 4096;

/// A server that knows claims: each belongs to an owner and ends some time after its last renewal.
pub trait Keeper: Send + Sync + 'static {
    /// Takes the claim of a key, or takes it once more; false when somebody else has it.
    fn renew(&self, key: &str) -> Result<bool>;

    /// Gives the claim of a key back, if this owner has it. The value stays.
    fn release(&self, key: &str) -> Result<()>;
}

/// The claims of one handle. Dropping it gives all of them back.
pub struct Claims {
    keeper: Arc<dyn Keeper>,
    interval: Duration,
    /// Held over each renewal, so that a claim that is given back is not taken once more behind its back.
    keys: Arc<Mutex<BTreeSet<String>>>,
    renewal: Mutex<Option<Renewal>>,
}

struct Renewal {
    /// Dropping it ends the thread.
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

/// A name that no other handle has.
pub fn owner() -> String {
    let mut name = String::with_capacity(32);
    for byte in random::bytes::<16>() {
        write!(name, "{byte:02x}").expect("writing to a String cannot fail");
    }
    name
}

impl Claims {
    /// For claims that live so long without renewal.
    pub fn new(keeper: Arc<dyn Keeper>, lives: Duration) -> Claims {
        Claims { keeper, interval: lives / 3, keys: Arc::default(), renewal: Mutex::default() }
    }

    /// Takes a claim with `take`, which says whether it was free, and renews it from then on.
    pub fn take(&self, key: &str, take: impl FnOnce() -> Result<bool>) -> Result<bool> {
        let mut keys = self.keys.lock();
        if keys.len() >= CLAIMS_MAX && !keys.contains(key) {
            bail!(Exhausted, "this handle has claimed {CLAIMS_MAX} keys, which is as many as it may");
        }
        let is_ours = take()?;
        if is_ours {
            // Without the thread it runs out by itself.
            self.start()?;
            keys.insert(key.to_owned());
        }
        Ok(is_ours)
    }

    /// Ends a claim with `end`, which also gives it back.
    pub fn end<T>(&self, key: &str, end: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut keys = self.keys.lock();
        let ended = end()?;
        keys.remove(key);
        Ok(ended)
    }

    fn start(&self) -> Result<()> {
        let mut renewal = self.renewal.lock();
        if renewal.is_some() {
            return Ok(());
        }
        let (stop, stopped) = mpsc::channel();
        let (keys, keeper, interval) = (self.keys.clone(), self.keeper.clone(), self.interval);
        let thread = std::thread::Builder::new()
            .name("mooncake-claims".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    renew_all(&keys, keeper.as_ref(), &stopped);
                }
            })
            .context("starting the thread that renews claims")?;
        *renewal = Some(Renewal { stop, thread });
        Ok(())
    }
}

fn renew_all(keys: &Mutex<BTreeSet<String>>, keeper: &dyn Keeper, stopped: &mpsc::Receiver<()>) {
    let snapshot: Vec<String> = keys.lock().iter().cloned().collect();
    for key in snapshot {
        if stopped.try_recv() == Err(mpsc::TryRecvError::Disconnected) {
            return;
        }
        let mut keys = keys.lock();
        if !keys.contains(&key) {
            continue;
        }
        match keeper.renew(&key) {
            Ok(true) => {}
            Ok(false) => {
                keys.remove(&key);
                tracing::warn!("the claim on {key:?} ran out, and another engine has taken it");
            }
            // Tried again at the next turn: a server that comes back finds the claim renewed.
            Err(error) => tracing::warn!("renewing the claim on {key:?}: {error}"),
        }
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        if let Some(Renewal { stop, thread }) = self.renewal.lock().take() {
            drop(stop);
            // It only ends early if a backend panicked, which has been told already.
            let _ = thread.join();
        }
        for key in std::mem::take(&mut *self.keys.lock()) {
            if let Err(error) = self.keeper.release(&key) {
                // The rest would wait as long, and all of them end by themselves.
                tracing::warn!("giving back the claim on {key:?}: {error}");
                return;
            }
        }
    }
}
