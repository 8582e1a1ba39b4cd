//! The publishers that are registered, each followed by a task of its own, and what the conductor knows for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use mooncake::conductor::service::{Conductor, Duty, InstanceId, Registration};
use mooncake::error::Code;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::answer::Wrong;
use super::contexts::Contexts;
use super::intake::blocks::Blocks;
use super::intake::order::Last;
use super::intake::subscriber::{Sink as _, Subscriber};
use super::intake::watched::Watched;
use super::terms::{Kind, Name, Naming, Terms};
use crate::zmtp::address_of;

/// Most publishers at once.
const MOST_SOURCES: usize = 4096;

pub struct Source {
    pub terms: Arc<Terms>,
    pub watched: Arc<Watched>,
    instance: InstanceId,
    task: Option<AbortHandle>,
}

pub struct Sources {
    pub conductor: Arc<Conductor>,
    pub contexts: Arc<Contexts>,
    /// Where events are taken in.
    intake: Handle,
    table: Mutex<BTreeMap<Name, Source>>,
}

/// What it takes to go on after a restart.
pub struct Kept {
    pub written: Map<String, Value>,
    pub last: Option<Last>,
}

impl Sources {
    pub fn new(conductor: Arc<Conductor>, contexts: Arc<Contexts>, intake: Handle) -> Sources {
        Sources { conductor, contexts, intake, table: Mutex::default() }
    }

    /// Begins to follow a publisher; or goes on after a message that was applied before a restart. The same
    /// registration once more changes nothing, another one takes the place of the one before.
    pub fn register(&self, terms: Terms, last: Option<Last>) -> Result<(), Wrong> {
        let mut table = self.table.lock();
        let name = terms.name();
        if table.get(&name).is_some_and(|known| known.terms.is_same(&terms)) {
            return Ok(());
        }
        if table.len() >= MOST_SOURCES && !table.contains_key(&name) {
            let text = format!("{MOST_SOURCES} publishers is the limit: unregister some");
            return Err(Wrong {
                status: axum::http::StatusCode::SERVICE_UNAVAILABLE,
                ..Wrong::registration(text)
            });
        }
        if let Some(old) = table.remove(&name) {
            self.stop(&old);
            // It may come back as another model's.
            self.settle(&table, &name.instance);
        }
        let source = self.start(&table, terms, last);
        if source.is_err() {
            self.settle(&table, &name.instance);
        }
        table.insert(name, source?);
        Ok(())
    }

    fn start(
        &self,
        table: &BTreeMap<Name, Source>,
        terms: Terms,
        last: Option<Last>,
    ) -> Result<Source, Wrong> {
        let others = of_instance(table, &terms.instance);
        let ranks = others.map(|source| source.terms.ranks()).max().unwrap_or(0).max(terms.ranks());
        let instance = self.conductor.register(&registration(&terms, ranks)).map_err(refused)?;
        let terms = Arc::new(terms);
        self.contexts.open(&terms.context(terms.lora.as_deref()))?;
        let watched = Arc::new(Watched::default());
        let mut blocks = Blocks::new(
            self.conductor.clone(),
            self.contexts.clone(),
            terms.clone(),
            instance,
            watched.clone(),
        );
        // What blocks are called was not kept: they are told anew.
        let last = last.filter(|_| terms.naming != Naming::ByTokens);
        if last.is_none() {
            blocks.clear();
        }
        watched.reached(last);
        let task = match &terms.endpoint {
            None => None,
            Some(endpoint) => {
                let address = |endpoint| address_of(endpoint).map_err(Wrong::registration);
                let replay = terms.replay_endpoint.as_deref().map(address).transpose()?;
                let subscriber = Subscriber::new(address(endpoint)?, replay, last, blocks, watched.clone());
                Some(self.intake.spawn(subscriber.run()).abort_handle())
            }
        };
        Ok(Source { terms, watched, instance, task })
    }

    /// Whether there was such a publisher.
    pub fn unregister(&self, name: &Name) -> bool {
        let mut table = self.table.lock();
        let Some(source) = table.remove(name) else { return false };
        self.stop(&source);
        self.settle(&table, &name.instance);
        let needed: Vec<Arc<Terms>> = table.values().map(|source| source.terms.clone()).collect();
        self.contexts.retain(|context| needed.iter().any(|terms| terms.suits(context)));
        true
    }

    /// Its blocks are forgotten, and it changes nothing any more.
    fn stop(&self, source: &Source) {
        if let Some(task) = &source.task {
            task.abort();
        }
        let parts = (self.conductor.clone(), self.contexts.clone(), source.terms.clone());
        Blocks::new(parts.0, parts.1, parts.2, source.instance, source.watched.clone()).clear();
        source.watched.close();
    }

    /// The instance has as many ranks as are registered, or is gone.
    fn settle(&self, table: &BTreeMap<Name, Source>, instance: &str) {
        let last = of_instance(table, instance).max_by_key(|source| source.terms.ranks());
        let done = match last {
            Some(source) => {
                self.conductor.register(&registration(&source.terms, source.terms.ranks())).map(drop)
            }
            None => match self.conductor.unregister(instance) {
                Err(error) if error.code == Code::NotFound => Ok(()),
                done => done,
            },
        };
        if let Err(error) = done {
            tracing::warn!(instance, %error, "an instance stays as it was");
        }
    }

    pub fn each<T>(&self, look: impl FnMut(&Source) -> T) -> Vec<T> {
        self.table.lock().values().map(look).collect()
    }

    /// What `register` needs to go on from here. Taken before the blocks are: what is applied in between is applied
    /// once more, and says the same.
    pub fn kept(&self) -> Vec<Kept> {
        let kept =
            |source: &Source| Kept { written: source.terms.written.clone(), last: source.watched.last() };
        self.each(kept)
    }

    pub fn json(&self) -> Value {
        let services = self.each(|source| {
            let mut service = source.terms.json();
            service["Status"] = source.watched.figures.json();
            service["Status"]["last_sequence"] = source.watched.last().map(|last| last.sequence).into();
            service
        });
        json!({ "count": services.len(), "services": services })
    }
}

impl Terms {
    fn is_same(&self, other: &Terms) -> bool {
        *self == Terms { written: self.written.clone(), ..other.clone() }
    }
}

fn of_instance<'a>(table: &'a BTreeMap<Name, Source>, instance: &'a str) -> impl Iterator<Item = &'a Source> {
    table.values().filter(move |source| source.terms.instance == instance)
}

fn registration(terms: &Terms, ranks: u32) -> Registration {
    let duty = match terms.kind {
        Kind::Engine => Duty::Serve { role: terms.role, cost: terms.cost },
        Kind::Store => Duty::Hold,
    };
    let (name, model) = (terms.instance.clone(), terms.model.clone());
    Registration { name, model, block_size: terms.block_size, ranks, duty }
}

fn refused(error: mooncake::error::Error) -> Wrong {
    Wrong { reason: "invalid_registration", ..Wrong::from(error) }
}
