//! The table of live roots: a pointer that C holds is a name, looked up here and never dereferenced.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::engine::Engine;
use crate::error::Result;
use crate::id::ROOT_TAGS;
use crate::{bail, fail};

/// Names count up from here and are dressed as pointers: far from small integers, never dereferenced.
const FIRST_NAME: u64 = 0x4d43_0000;
/// Names are multiples of this, so that they look like pointers to whoever checks alignment.
const NAME_STEP: u64 = 16;

type Entry = Option<(u64, Arc<Engine>)>;

static NEXT: AtomicU64 = AtomicU64::new(0);
static SLOTS: [RwLock<Entry>; ROOT_TAGS] = [const { RwLock::new(None) }; ROOT_TAGS];

fn slot_of(name: u64) -> Option<&'static RwLock<Entry>> {
    let count = name.checked_sub(FIRST_NAME)?;
    (count % NAME_STEP == 0).then(|| &SLOTS[(count / NAME_STEP) as usize % ROOT_TAGS])
}

/// Reserves a name and makes the engine under it; the engine gets the tag that its children's ids carry.
pub fn insert(make: impl FnOnce(u16) -> Result<Arc<Engine>>) -> Result<u64> {
    for _ in 0..ROOT_TAGS {
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let tag = count as usize % ROOT_TAGS;
        let Some(mut slot) = SLOTS[tag].try_write() else { continue };
        if slot.is_some() {
            continue;
        }
        let name = FIRST_NAME + count * NAME_STEP;
        *slot = Some((name, make(tag as u16)?));
        return Ok(name);
    }
    Err(fail!(Exhausted, "{ROOT_TAGS} engines live in this process: destroy some"))
}

/// The engine of that name, kept alive while the caller holds it.
pub fn get(name: u64) -> Result<Arc<Engine>> {
    if name == 0 {
        bail!(InvalidHandle, "the engine is NULL");
    }
    if let Some(slot) = slot_of(name)
        && let Some((live, engine)) = &*slot.read()
        && *live == name
    {
        return Ok(engine.clone());
    }
    Err(fail!(InvalidHandle, "engine {name:#x} was destroyed, or is no engine"))
}

/// Takes the name away: from here on every call with it fails.
pub fn remove(name: u64) -> Result<Arc<Engine>> {
    let engine = get(name)?;
    if let Some(slot) = slot_of(name) {
        let mut slot = slot.write();
        if slot.as_ref().is_some_and(|(live, _)| *live == name) {
            *slot = None;
            return Ok(engine);
        }
    }
    Err(fail!(InvalidHandle, "engine {name:#x} is being destroyed by another thread"))
}
