//! The contexts that are open, and the keys of prompts in each.

use std::collections::HashMap;
use std::sync::Arc;

use mooncake::conductor::hash::{Extra, Hasher, Scheme};
use mooncake::conductor::service::{Conductor, Context, ContextId};
use mooncake::error::Result;
use parking_lot::RwLock;

pub struct Space {
    pub id: ContextId,
    pub context: Context,
    hasher: Hasher,
}

pub struct Contexts {
    conductor: Arc<Conductor>,
    spaces: RwLock<HashMap<Context, Arc<Space>>>,
}

/// What a question says of the context that it means.
#[derive(Debug, Default)]
pub struct Wanted {
    pub tenant: String,
    pub model: String,
    pub lora: Option<String>,
    pub block_size: Option<u32>,
    /// What parts deployments from one another.
    pub namespace: Option<String>,
    /// What the request brings along to be apart from others.
    pub cache_salt: Option<String>,
}

impl Wanted {
    fn is(&self, context: &Context) -> bool {
        // vLLM mixes the salt of a request into the hash of its first block; elsewhere it is another namespace.
        let salt = match context.scheme {
            Scheme::Xxh3 { .. } => self.namespace.as_ref().or(self.cache_salt.as_ref()),
            _ => self.namespace.as_ref(),
        };
        self.tenant == context.tenant
            && self.model == context.model
            && self.lora == context.lora
            && self.block_size.is_none_or(|size| size == context.block_size)
            && salt == context.salt.as_ref()
    }
}

impl Contexts {
    pub fn new(conductor: Arc<Conductor>) -> Contexts {
        Contexts { conductor, spaces: RwLock::default() }
    }

    pub fn open(&self, context: &Context) -> Result<Arc<Space>> {
        if let Some(space) = self.spaces.read().get(context) {
            return Ok(space.clone());
        }
        let mut spaces = self.spaces.write();
        let id = self.conductor.open_context(context)?;
        let hasher = Hasher::new(&context.scheme);
        let space = Arc::new(Space { id, context: context.clone(), hasher });
        spaces.insert(context.clone(), space.clone());
        Ok(space)
    }

    /// Closes those that nobody needs.
    pub fn retain(&self, is_needed: impl Fn(&Context) -> bool) {
        self.spaces.write().retain(|context, space| {
            let stays = is_needed(context);
            if !stays {
                // It may have been closed as well: what counts is that it is not there.
                let _ = self.conductor.close_context(space.id);
            }
            stays
        });
    }

    /// In the order in which they were opened.
    pub fn all(&self) -> Vec<Arc<Space>> {
        self.which(|_| true)
    }

    pub fn those(&self, wanted: &Wanted) -> Vec<Arc<Space>> {
        self.which(|context| wanted.is(context))
    }

    fn which(&self, is_meant: impl Fn(&Context) -> bool) -> Vec<Arc<Space>> {
        let spaces = self.spaces.read();
        let meant = spaces.iter().filter(|(context, _)| is_meant(context));
        let mut meant: Vec<_> = meant.map(|(_, space)| space.clone()).collect();
        drop(spaces);
        meant.sort_by_key(|space| space.id);
        meant
    }
}

impl Space {
    /// The keys of a prompt's full blocks, as its engine names them.
    pub fn keys(&self, tokens: &[u32], cache_salt: Option<&str>) -> Result<Vec<u64>> {
        let extra = Extra { lora: self.context.lora.as_deref(), salt: cache_salt };
        Ok(self.hasher.keys(tokens, self.context.block_size as usize, extra)?.collect())
    }
}
