//! The engines of this process, so that they reach each other by a copy.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};

use parking_lot::RwLock;

use super::Engine;
use crate::segment::descriptor::EngineId;

static ENGINES: LazyLock<RwLock<HashMap<EngineId, Weak<Engine>>>> = LazyLock::new(Default::default);

pub fn add(id: EngineId, engine: Weak<Engine>) {
    ENGINES.write().insert(id, engine);
}

pub fn remove(id: EngineId) {
    ENGINES.write().remove(&id);
}

pub fn find(id: EngineId) -> Option<Arc<Engine>> {
    ENGINES.read().get(&id).and_then(Weak::upgrade)
}
