//! Who has how much of a prompt: `/query`, `/query_by_hash`, `/global_view`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::{Request, State};
use mooncake::conductor::service::{Conductor, Duty, InstanceId, Match, Prompt};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Answered, Wrong};
use super::api::{Api, Shared};
use super::body::{self, Fields, missing};
use super::contexts::{Space, Wanted};
use super::terms::{DEFAULT_TENANT, profile_json};

/// Most tokens of a block, for the product with their number.
const MOST_TOKENS: u64 = 1 << 20;

/// What a question is about: tokens, or the keys of blocks.
pub enum Asked {
    Tokens(Vec<u32>),
    Keys(Vec<u64>),
}

impl Wanted {
    pub fn read(fields: &mut Fields, is_size_needed: bool) -> Result<Wanted, Wrong> {
        let block_size = fields.number("block_size", 1..=MOST_TOKENS)?.map(|size| size as u32);
        if is_size_needed && block_size.is_none() {
            return Err(missing("block_size"));
        }
        Ok(Wanted {
            tenant: fields.text("tenant_id")?.unwrap_or_else(|| DEFAULT_TENANT.into()),
            model: fields.need_text("model")?,
            lora: fields.text("lora_name")?,
            block_size,
            namespace: fields.text("additional_salt")?,
            cache_salt: fields.text("cache_salt")?,
        })
    }
}

impl Asked {
    pub fn keys(&self, space: &Space, wanted: &Wanted) -> Result<Vec<u64>, Wrong> {
        match self {
            Asked::Tokens(tokens) => Ok(space.keys(tokens, wanted.cache_salt.as_deref())?),
            Asked::Keys(keys) => Ok(keys.clone()),
        }
    }
}

pub async fn by_tokens(State(api): Shared, request: Request) -> Answered {
    let mut fields = body::read(request).await?;
    let tokens = fields.tokens("token_ids")?.ok_or_else(|| missing("token_ids"))?;
    // A number that stood for the adapter before it had a name.
    fields.pass_over(&["lora_id"]);
    api.query(fields, Asked::Tokens(tokens))
}

pub async fn by_hash(State(api): Shared, request: Request) -> Answered {
    let mut fields = body::read(request).await?;
    let keys = match fields.keys("seq_hashes")? {
        Some(keys) => Some(keys),
        // What it was called in earlier drafts.
        None => fields.keys("block_hash")?,
    };
    fields.pass_over(&["block_hash", "lora_id"]);
    api.query(fields, Asked::Keys(keys.ok_or_else(|| missing("seq_hashes"))?))
}

/// Who serves, by id; the store serves nobody.
fn serving(conductor: &Conductor) -> Result<HashMap<InstanceId, String>, Wrong> {
    let instances = conductor.instances()?.into_iter();
    let serves = instances.filter(|instance| instance.registration.duty != Duty::Hold);
    Ok(serves.map(|instance| (instance.id, instance.registration.name)).collect())
}

/// What one instance has, in tokens.
#[derive(Default)]
struct Held {
    longest: u64,
    tiers: [u64; 4],
    ranks: BTreeMap<u32, u64>,
}

impl Held {
    fn add(&mut self, found: &Match, block_size: u32) {
        let tokens = found.blocks.map(|blocks| u64::from(blocks) * u64::from(block_size));
        for (most, tokens) in self.tiers.iter_mut().zip(tokens) {
            *most = tokens.max(*most);
        }
        self.longest = self.longest.max(tokens[3]);
        let rank = self.ranks.entry(found.rank).or_default();
        *rank = tokens[3].max(*rank);
    }

    fn json(&self) -> Value {
        let [device, host, disk, store] = self.tiers;
        let ranks = self.ranks.iter().map(|(rank, tokens)| (rank.to_string(), json!(tokens)));
        json!({
            "longest_matched": self.longest,
            "GPU": device,
            "CPU": host,
            "DISK": disk,
            "STORE": store,
            "DP": ranks.collect::<Map<_, _>>(),
        })
    }
}

impl Api {
    fn query(&self, mut fields: Fields, asked: Asked) -> Answered {
        let wanted = Wanted::read(&mut fields, true)?;
        let only = fields.text("instance_id")?;
        fields.end()?;
        let serving = serving(&self.conductor)?;
        let mut all: BTreeMap<&str, Held> = BTreeMap::new();
        let mut found = Vec::new();
        for space in self.contexts.those(&wanted) {
            let keys = asked.keys(&space, &wanted)?;
            self.conductor.find(space.id, Prompt::Keys(&keys), &mut found)?;
            for one in &found {
                let Some(name) = serving.get(&one.instance) else { continue };
                if only.as_ref().is_none_or(|only| only == name) {
                    all.entry(name).or_default().add(one, space.context.block_size);
                }
            }
        }
        let all: Map<_, _> = all.into_iter().map(|(name, held)| (name.to_owned(), held.json())).collect();
        Ok(Answer::Json(json!({ wanted.tenant: all })))
    }

    pub fn view(&self) -> Answered {
        let contexts: Vec<Value> =
            self.contexts.all().iter().map(|space| self.view_of(space)).collect::<Result<_, Wrong>>()?;
        Ok(Answer::Json(json!({ "context_count": contexts.len(), "contexts": contexts })))
    }

    fn view_of(&self, space: &Arc<Space>) -> Result<Value, Wrong> {
        let mut instances: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        self.sources.each(|source| {
            if source.terms.suits(&space.context) {
                instances.entry(source.terms.instance.clone()).or_default().push(source.terms.rank);
            }
        });
        let context = &space.context;
        Ok(json!({
            "model_name": context.model,
            "lora_name": context.lora,
            "block_size": context.block_size,
            "tenant_id": context.tenant,
            "additional_salt": context.salt,
            "prefix_count": self.conductor.context_info(space.id)?.blocks,
            "hash_profile": profile_json(&context.scheme),
            "instances": instances,
        }))
    }
}
