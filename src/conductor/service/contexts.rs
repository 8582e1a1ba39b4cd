//! Contexts are opened and closed: one index each, with all instances that can have blocks of it as holders.

use std::sync::Arc;

use parking_lot::RwLock;

use super::Conductor;
use super::hooks::refuse_inside;
use super::state::{Indexed, Space};
use super::words::*;
use crate::conductor::hash::Hasher;
use crate::error::{Context as _, Result};

impl Conductor {
    /// The id of the context, which is opened if it is not yet.
    pub fn open_context(&self, context: &Context) -> Result<ContextId> {
        refuse_inside()?;
        if let Some(id) = self.directory.read().by_context.get(context) {
            return Ok(*id);
        }
        context.check().context(format_args!("a context of model {:?}", context.model))?;
        let mut directory = self.directory.write();
        if let Some(id) = directory.by_context.get(context) {
            return Ok(*id);
        }
        let model = directory.model(&context.model, context.block_size, &self.options)?;
        let mut indexed = Indexed::new(self.options.limits, self.seed);
        let suiting = |registration: &Registration| registration.suits(context);
        for (_, instance) in directory.instances.iter().filter(|(_, one)| suiting(&one.registration)) {
            indexed.join(instance).context(format_args!("a context of model {:?}", context.model))?;
        }
        let space = Space {
            context: context.clone(),
            hasher: Hasher::new(&context.scheme),
            model,
            indexed: RwLock::new(indexed),
        };
        let id = ContextId(directory.spaces.insert(Arc::new(space))?);
        directory.by_context.insert(context.clone(), id);
        Ok(id)
    }

    /// Forgets a context and all blocks in it. Requests that run go on.
    pub fn close_context(&self, id: ContextId) -> Result<()> {
        refuse_inside()?;
        let mut directory = self.directory.write();
        let space = directory.spaces.remove(id.0)?;
        directory.by_context.remove(&space.context);
        directory.forget_models();
        drop(directory);
        // Requests of the context may keep it for as long as they run, but not what was in it.
        let old =
            std::mem::replace(&mut *space.indexed.write(), Indexed::new(self.options.limits, self.seed));
        drop(old);
        Ok(())
    }

    pub fn context_info(&self, id: ContextId) -> Result<ContextInfo> {
        refuse_inside()?;
        Ok(info_of(id, self.space(id)?.as_ref()))
    }

    pub fn contexts(&self) -> Result<Vec<ContextInfo>> {
        refuse_inside()?;
        let directory = self.directory.read();
        Ok(directory.spaces.iter().map(|(id, space)| info_of(ContextId(id), space)).collect())
    }

    pub(super) fn space(&self, id: ContextId) -> Result<Arc<Space>> {
        Ok(self.directory.read().space(id)?.clone())
    }
}

fn info_of(id: ContextId, space: &Space) -> ContextInfo {
    ContextInfo { id, context: space.context.clone(), blocks: space.indexed.read().index.len() }
}
