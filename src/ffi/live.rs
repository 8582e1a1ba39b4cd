//! The table of live roots: a pointer that C holds is a name, looked up here and never dereferenced.

use std::sync::Arc;
#[cfg(feature = "compat")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

#[cfg(feature = "compat")]
use crate::compat::Session;
use crate::engine::Engine;
use crate::error::Result;
use crate::id::ROOT_TAGS;
use crate::{bail, fail};

/// Names count up from here and are dressed as pointers: far from small integers, never dereferenced.
const FIRST_NAME: u64 = 0x4d43_0000;
/// Names are multiples of this, so that they look like pointers to whoever checks alignment.
const NAME_STEP: u64 = 16;

/// What a name stands for.
struct Root {
    name: u64,
    engine: Arc<Engine>,
    /// What the legacy names remember of the engine, from their first call on.
    #[cfg(feature = "compat")]
    session: OnceLock<Arc<Session>>,
}

static NEXT: AtomicU64 = AtomicU64::new(0);
static SLOTS: [RwLock<Option<Root>>; ROOT_TAGS] = [const { RwLock::new(None) }; ROOT_TAGS];

fn slot_of(name: u64) -> Option<&'static RwLock<Option<Root>>> {
    let count = name.checked_sub(FIRST_NAME)?;
    (count % NAME_STEP == 0).then(|| &SLOTS[(count / NAME_STEP) as usize % ROOT_TAGS])
}

/// Reserves a name and makes the root under it, which gets the tag that its children's ids carry.
fn reserve(make: impl FnOnce(u64, u16) -> Result<Root>) -> Result<u64> {
    for _ in 0..ROOT_TAGS {
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let tag = count as usize % ROOT_TAGS;
        let Some(mut slot) = SLOTS[tag].try_write() else { continue };
        if slot.is_some() {
            continue;
        }
        let name = FIRST_NAME + count * NAME_STEP;
        *slot = Some(make(name, tag as u16)?);
        return Ok(name);
    }
    Err(fail!(Exhausted, "{ROOT_TAGS} engines live in this process: destroy some"))
}

/// Makes an engine under a new name.
pub fn insert(make: impl FnOnce(u16) -> Result<Arc<Engine>>) -> Result<u64> {
    reserve(|name, tag| {
        Ok(Root {
            name,
            engine: make(tag)?,
            #[cfg(feature = "compat")]
            session: OnceLock::new(),
        })
    })
}

/// Makes an engine with its session under a new name.
#[cfg(feature = "compat")]
pub fn insert_session(make: impl FnOnce(u16) -> Result<Session>) -> Result<u64> {
    reserve(|name, tag| {
        let session = make(tag)?;
        Ok(Root { name, engine: session.engine.clone(), session: OnceLock::from(Arc::new(session)) })
    })
}

/// The session of the engine of that name; an engine of the native API gets one here.
#[cfg(feature = "compat")]
pub fn session(name: u64) -> Result<Arc<Session>> {
    with(name, |root| {
        let tag = ((name - FIRST_NAME) / NAME_STEP) as usize % ROOT_TAGS;
        root.session.get_or_init(|| Arc::new(Session::attach(root.engine.clone(), tag as u16))).clone()
    })
}

/// The engine of that name, kept alive while the caller holds it.
pub fn get(name: u64) -> Result<Arc<Engine>> {
    with(name, |root| root.engine.clone())
}

fn with<T>(name: u64, look: impl FnOnce(&Root) -> T) -> Result<T> {
    if name == 0 {
        bail!(InvalidHandle, "the engine is NULL");
    }
    if let Some(slot) = slot_of(name)
        && let Some(root) = &*slot.read()
        && root.name == name
    {
        return Ok(look(root));
    }
    Err(fail!(InvalidHandle, "engine {name:#x} was destroyed, or is no engine"))
}

/// Takes the name away: from here on every call with it fails.
pub fn remove(name: u64) -> Result<Arc<Engine>> {
    let engine = get(name)?;
    if let Some(slot) = slot_of(name) {
        let mut slot = slot.write();
        if slot.as_ref().is_some_and(|root| root.name == name) {
            *slot = None;
            return Ok(engine);
        }
    }
    Err(fail!(InvalidHandle, "engine {name:#x} is being destroyed by another thread"))
}
