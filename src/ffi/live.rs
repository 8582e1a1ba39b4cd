//! The table of live roots: a pointer that C holds is a name, looked up here and never dereferenced.

use std::sync::Arc;
#[cfg(feature = "compat")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

#[cfg(feature = "compat")]
use super::compat::store_handle::Handle;
use super::opened::Opened;
#[cfg(feature = "compat")]
use crate::compat::Session;
use crate::conductor::service::Conductor;
use crate::engine::Engine;
use crate::error::Result;
use crate::id::ROOT_TAGS;
use crate::store::master::server::Master;
use crate::store::node::server::Node;
use crate::{bail, fail};

/// Names count up from here and are dressed as pointers: far from small integers, never dereferenced.
const FIRST_NAME: u64 = 0x4d43_0000;
/// Names are multiples of this, so that they look like pointers to whoever checks alignment.
const NAME_STEP: u64 = 16;

/// What a name stands for. A name of one kind is no name of another.
struct Root {
    /// 0 where there is none.
    name: u64,
    held: Held,
}

/// A table of nobodies is all zeros, which the library's file need not hold.
#[repr(u32)]
pub enum Held {
    Nobody,
    Engine(EngineRoot),
    Store(Arc<Opened>),
    Master(Arc<Master>),
    Node(Arc<Node>),
    Conductor(Arc<Conductor>),
    #[cfg(feature = "compat")]
    Legacy(Arc<Handle>),
}

pub struct EngineRoot {
    engine: Arc<Engine>,
    /// It ends with the store that made it, and not before.
    is_of_store: bool,
    /// What the legacy names remember of the engine, from their first call on.
    #[cfg(feature = "compat")]
    session: OnceLock<Arc<Session>>,
}

/// A kind of root.
pub trait Named: Sized {
    const NOUN: &'static str;
    fn held(root: Arc<Self>) -> Held;
    fn of(held: &Held) -> Option<&Arc<Self>>;
}

macro_rules! named {
    ($type:ty, $variant:ident, $noun:literal) => {
        impl Named for $type {
            const NOUN: &'static str = $noun;

            fn held(root: Arc<Self>) -> Held {
                Held::$variant(root)
            }

            fn of(held: &Held) -> Option<&Arc<Self>> {
                match held {
                    Held::$variant(root) => Some(root),
                    _ => None,
                }
            }
        }
    };
}

named!(Opened, Store, "store");
named!(Master, Master, "master");
named!(Node, Node, "node");
named!(Conductor, Conductor, "conductor");
#[cfg(feature = "compat")]
named!(Handle, Legacy, "mooncake_store_t");

static NEXT: AtomicU64 = AtomicU64::new(0);
static SLOTS: [RwLock<Root>; ROOT_TAGS] =
    [const { RwLock::new(Root { name: 0, held: Held::Nobody }) }; ROOT_TAGS];

fn slot_of(name: u64) -> Option<&'static RwLock<Root>> {
    let count = name.checked_sub(FIRST_NAME)?;
    (count % NAME_STEP == 0).then(|| &SLOTS[(count / NAME_STEP) as usize % ROOT_TAGS])
}

/// Reserves a name and makes the root under it, which gets the tag that its children's ids carry.
fn reserve(make: impl FnOnce(u16) -> Result<Held>) -> Result<u64> {
    for _ in 0..ROOT_TAGS {
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let tag = count as usize % ROOT_TAGS;
        let Some(mut slot) = SLOTS[tag].try_write() else { continue };
        if slot.name != 0 {
            continue;
        }
        let name = FIRST_NAME + count * NAME_STEP;
        *slot = Root { name, held: make(tag as u16)? };
        return Ok(name);
    }
    Err(fail!(
        Exhausted,
        "{ROOT_TAGS} engines, stores, masters, nodes and conductors live in this process: destroy some"
    ))
}

fn engine_root(engine: Arc<Engine>, is_of_store: bool) -> EngineRoot {
    EngineRoot {
        engine,
        is_of_store,
        #[cfg(feature = "compat")]
        session: OnceLock::new(),
    }
}

/// Makes an engine under a new name.
pub fn insert(make: impl FnOnce(u16) -> Result<Arc<Engine>>) -> Result<u64> {
    reserve(|tag| Ok(Held::Engine(engine_root(make(tag)?, false))))
}

/// Makes an engine that a store has for itself.
pub fn insert_for_store(make: impl FnOnce(u16) -> Result<Arc<Engine>>) -> Result<u64> {
    reserve(|tag| Ok(Held::Engine(engine_root(make(tag)?, true))))
}

/// Makes an engine with its session under a new name.
#[cfg(feature = "compat")]
pub fn insert_session(make: impl FnOnce(u16) -> Result<Session>) -> Result<u64> {
    reserve(|tag| {
        let session = make(tag)?;
        let mut root = engine_root(session.engine.clone(), false);
        root.session = OnceLock::from(Arc::new(session));
        Ok(Held::Engine(root))
    })
}

/// Names a root of another kind. What takes time was done before: a name may not be long in the making.
pub fn insert_root<T: Named>(make: impl FnOnce(u16) -> Arc<T>) -> Result<u64> {
    try_insert_root(|tag| Ok(make(tag)))
}

/// The same for one whose making can fail.
pub fn try_insert_root<T: Named>(make: impl FnOnce(u16) -> Result<Arc<T>>) -> Result<u64> {
    reserve(|tag| Ok(T::held(make(tag)?)))
}

/// The session of the engine of that name; an engine of the native API gets one here.
#[cfg(feature = "compat")]
pub fn session(name: u64) -> Result<Arc<Session>> {
    with_engine(name, |root| {
        let tag = ((name - FIRST_NAME) / NAME_STEP) as usize % ROOT_TAGS;
        root.session.get_or_init(|| Arc::new(Session::attach(root.engine.clone(), tag as u16))).clone()
    })
}

/// The engine of that name, kept alive while the caller holds it.
pub fn get(name: u64) -> Result<Arc<Engine>> {
    with_engine(name, |root| root.engine.clone())
}

/// The root of that name, if it is one of this kind; kept alive while the caller holds it.
pub fn root<T: Named>(name: u64) -> Result<Arc<T>> {
    with(name, T::NOUN, |held| T::of(held).cloned())
}

fn with_engine<T>(name: u64, look: impl FnOnce(&EngineRoot) -> T) -> Result<T> {
    with(name, "engine", |held| match held {
        Held::Engine(root) => Some(look(root)),
        _ => None,
    })
}

fn with<T>(name: u64, noun: &str, look: impl FnOnce(&Held) -> Option<T>) -> Result<T> {
    if name == 0 {
        bail!(InvalidHandle, "the {noun} is NULL");
    }
    if let Some(slot) = slot_of(name) {
        let root = slot.read();
        if root.name == name
            && let Some(found) = look(&root.held)
        {
            return Ok(found);
        }
    }
    Err(fail!(InvalidHandle, "{noun} {name:#x} was destroyed, or is no {noun}"))
}

/// Takes the name away: from here on every call with it fails.
pub fn remove(name: u64) -> Result<Arc<Engine>> {
    let (engine, is_of_store) = with_engine(name, |root| (root.engine.clone(), root.is_of_store))?;
    if is_of_store {
        bail!(InvalidState, "the engine {name:#x} belongs to a store: close that, and it ends");
    }
    take_away(name, "engine")?;
    Ok(engine)
}

/// The same for an engine that a store made.
pub fn remove_for_store(name: u64) -> Result<Arc<Engine>> {
    let engine = get(name)?;
    take_away(name, "engine")?;
    Ok(engine)
}

/// The same for other kinds.
pub fn remove_root<T: Named>(name: u64) -> Result<Arc<T>> {
    let found = root::<T>(name)?;
    take_away(name, T::NOUN)?;
    Ok(found)
}

fn take_away(name: u64, noun: &str) -> Result<()> {
    if let Some(slot) = slot_of(name) {
        let mut slot = slot.write();
        if slot.name == name {
            let root = std::mem::replace(&mut *slot, Root { name: 0, held: Held::Nobody });
            drop(slot);
            // What ends with it may take its time.
            drop(root);
            return Ok(());
        }
    }
    Err(fail!(InvalidHandle, "{noun} {name:#x} is being destroyed by another thread"))
}
