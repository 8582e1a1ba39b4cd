//! What is said of a publisher when it is registered, in the words of Mooncake's indexer and a few more.

use mooncake::conductor::cost::{Cost, Machine, Model};
use mooncake::conductor::hash::{Hasher, Scheme};
use mooncake::conductor::schedule::Role;
use mooncake::conductor::service::{Context, MOST_RANKS};
use serde_json::{Map, Value, json};

use super::answer::Wrong;
use super::body::Fields;
use crate::zmtp::address_of;

pub const DEFAULT_TENANT: &str = "default";
/// The seed of Mooncake's own hashes where none is named.
const XXH3_SEED: u64 = 0;
const MOST_TOKENS_IN_BLOCK: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An engine that tells of its own blocks.
    Engine,
    /// The store, whose blocks are in reach of all engines.
    Store,
}

/// How blocks are named in what a publisher tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// By the keys of this scheme.
    As(Scheme),
    /// In a way of its own: keys are made of the tokens, which it tells along.
    ByTokens,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// As it was written.
    pub kind_name: String,
    pub kind: Kind,
    pub endpoint: Option<String>,
    pub replay_endpoint: Option<String>,
    pub instance: String,
    pub tenant: String,
    pub rank: u32,
    pub model: String,
    pub lora: Option<String>,
    pub salt: Option<String>,
    pub block_size: u32,
    pub naming: Naming,
    /// Which of the engine's groups of layers counts.
    pub group: u32,
    pub role: Role,
    pub cost: Cost,
    /// The body that says all this, for the next start.
    pub written: Map<String, Value>,
}

/// By which a registration is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub instance: String,
    pub tenant: String,
    pub rank: u32,
}

impl Name {
    pub fn read(fields: &mut Fields) -> Result<Name, Wrong> {
        let instance = fields.need_text("instance_id")?;
        let tenant = fields.text("tenant_id")?.unwrap_or_else(|| DEFAULT_TENANT.into());
        let rank = fields.need_number("dp_rank", 0..=u64::from(MOST_RANKS / 2 - 1))? as u32;
        Ok(Name { instance, tenant, rank })
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}|{}|{}", self.instance, self.tenant, self.rank)
    }
}

impl Terms {
    pub fn read(written: Map<String, Value>) -> Result<Terms, Wrong> {
        let mut fields = Fields::new(written.clone());
        let kind_name = fields.need_text("type")?;
        let kind = match &*kind_name.to_ascii_lowercase() {
            "vllm" | "sglang" => Kind::Engine,
            "mooncake" => Kind::Store,
            _ => {
                let text = format!("type is {kind_name:?}: it can be vLLM, SGLang or Mooncake");
                return Err(Wrong::field("invalid_value", "type", text));
            }
        };
        let Name { instance, tenant, rank } = Name::read(&mut fields)?;
        let endpoint = endpoint(&mut fields, "endpoint")?;
        let replay_endpoint = self::endpoint(&mut fields, "replay_endpoint")?;
        let role = role(&mut fields)?;
        if endpoint.is_none() && (kind == Kind::Store || role.is_none()) {
            return Err(super::body::missing("endpoint"));
        }
        let model = fields.need_text("modelname")?;
        let (lora, salt) = (fields.text("lora_name")?, fields.text("additionalsalt")?);
        let block_size = fields.need_number("block_size", 1..=MOST_TOKENS_IN_BLOCK)? as u32;
        let group = fields.number("cache_group", 0..=u64::from(u32::MAX))?.unwrap_or(0) as u32;
        let naming = match fields.object("hash_profile")? {
            Some(profile) => profile_of(profile)?,
            None if kind == Kind::Store => Naming::As(Scheme::Xxh3 { seed: XXH3_SEED }),
            None => Naming::ByTokens,
        };
        if kind == Kind::Store && naming == Naming::ByTokens {
            let text = "the names of the store's objects are hashes: a strategy of token_ids is for engines";
            return Err(Wrong::field("invalid_value", "hash_profile", text));
        }
        let cost = cost(fields.object("cost")?, block_size)?;
        fields.end()?;
        let role = role.unwrap_or(Role::Both);
        Ok(Terms {
            kind_name,
            kind,
            endpoint,
            replay_endpoint,
            instance,
            tenant,
            rank,
            model,
            lora,
            salt,
            block_size,
            naming,
            group,
            role,
            cost,
            written,
        })
    }

    pub fn name(&self) -> Name {
        Name { instance: self.instance.clone(), tenant: self.tenant.clone(), rank: self.rank }
    }

    /// By what keys its blocks stand in the index.
    pub fn scheme(&self) -> Scheme {
        match &self.naming {
            Naming::As(scheme) => scheme.clone(),
            Naming::ByTokens => Scheme::Xxh3 { seed: XXH3_SEED },
        }
    }

    pub fn context(&self, lora: Option<&str>) -> Context {
        Context {
            tenant: self.tenant.clone(),
            model: self.model.clone(),
            lora: lora.map(str::to_owned),
            salt: self.salt.clone(),
            block_size: self.block_size,
            scheme: self.scheme(),
        }
    }

    /// Whether blocks of this publisher can be in the context.
    pub fn suits(&self, context: &Context) -> bool {
        let is_named_so = match (&self.naming, &context.scheme) {
            (Naming::As(scheme), other) => scheme == other,
            (Naming::ByTokens, other) => *other == Scheme::Xxh3 { seed: XXH3_SEED },
        };
        is_named_so
            && self.tenant == context.tenant
            && self.model == context.model
            && self.salt == context.salt
            && self.block_size == context.block_size
            && (self.lora.is_none() || self.lora == context.lora)
    }

    /// Ranks of the instance in the index: the memory of a store and its disks are two.
    pub fn ranks(&self) -> u32 {
        match self.kind {
            Kind::Engine => self.rank + 1,
            Kind::Store => 2 * self.rank + 2,
        }
    }

    pub fn json(&self) -> Value {
        json!({
            "Endpoint": self.endpoint,
            "ReplayEndpoint": self.replay_endpoint,
            "Type": self.kind_name,
            "ModelName": self.model,
            "LoraName": self.lora,
            "TenantID": self.tenant,
            "InstanceID": self.instance,
            "BlockSize": self.block_size,
            "DPRank": self.rank,
            "AdditionalSalt": self.salt,
            "CacheGroup": self.group,
            "HashProfile": match &self.naming {
                Naming::As(scheme) => profile_json(scheme),
                Naming::ByTokens => json!({ "strategy": "token_ids" }),
            },
        })
    }
}

pub fn profile_json(scheme: &Scheme) -> Value {
    let root = || Hasher::new(scheme).root().map(|root| root.map(|byte| format!("{byte:02x}")).concat());
    let vllm = |algorithm, seed: &str| {
        json!({
            "strategy": "vllm_v1",
            "algorithm": algorithm,
            "python_hash_seed": seed,
            "index_projection": "low64_be",
            "root_digest": root(),
        })
    };
    match scheme {
        Scheme::Xxh3 { seed } => json!({ "strategy": "xxh3", "seed": seed }),
        Scheme::VllmCbor { python_hash_seed } => vllm("sha256_cbor", python_hash_seed),
        Scheme::VllmPickle { python_hash_seed } => vllm("sha256", python_hash_seed),
    }
}

fn endpoint(fields: &mut Fields, name: &str) -> Result<Option<String>, Wrong> {
    let Some(endpoint) = fields.text(name)? else { return Ok(None) };
    address_of(&endpoint).map_err(|text| Wrong::field("invalid_value", name, text))?;
    Ok(Some(endpoint))
}

fn role(fields: &mut Fields) -> Result<Option<Role>, Wrong> {
    Ok(Some(match fields.text("role")?.as_deref() {
        None => return Ok(None),
        Some("both") => Role::Both,
        Some("prefill") => Role::Prefill,
        Some("decode") => Role::Decode,
        Some(other) => {
            let text = format!("role is {other:?}: it can be prefill, decode or both");
            return Err(Wrong::field("invalid_value", "role", text));
        }
    }))
}

fn profile_of(mut profile: Fields) -> Result<Naming, Wrong> {
    const FIELD: &str = "hash_profile";
    let strategy = profile.need_text("strategy")?;
    let naming = match &*strategy {
        "token_ids" => Naming::ByTokens,
        "xxh3" => {
            Naming::As(Scheme::Xxh3 { seed: profile.number("seed", 0..=u64::MAX)?.unwrap_or(XXH3_SEED) })
        }
        "vllm_v1" => {
            let python_hash_seed = profile.need_text("python_hash_seed")?;
            // An answer of /services may be sent back.
            profile.pass_over(&["root_digest"]);
            match profile.text("index_projection")?.as_deref() {
                None | Some("low64_be") => {}
                Some(other) => {
                    let text = format!("index_projection is {other:?}: it can be low64_be");
                    return Err(Wrong::field("invalid_value", FIELD, text));
                }
            }
            match &*profile.need_text("algorithm")? {
                "sha256" => Naming::As(Scheme::VllmPickle { python_hash_seed }),
                "sha256_cbor" => Naming::As(Scheme::VllmCbor { python_hash_seed }),
                other => {
                    let text = format!("algorithm is {other:?}: it can be sha256 or sha256_cbor");
                    return Err(Wrong::field("invalid_value", FIELD, text));
                }
            }
        }
        other => {
            let text = format!("strategy is {other:?}: it can be vllm_v1, xxh3 or token_ids");
            return Err(Wrong::field("invalid_value", FIELD, text));
        }
    };
    profile.end()?;
    Ok(naming)
}

/// What serving takes there: of a known machine, and each number by itself.
fn cost(given: Option<Fields>, block_size: u32) -> Result<Cost, Wrong> {
    let base = |machine: &Machine| Cost { block_tokens: block_size, ..Cost::of(&Model::LLAMA3_70B, machine) };
    let Some(mut given) = given else { return Ok(base(&Machine::A800)) };
    let mut cost = match given.text("machine")?.as_deref() {
        None | Some("A800") => base(&Machine::A800),
        Some("H800") => base(&Machine::H800),
        Some(other) => {
            let text = format!("machine is {other:?}: it can be A800 or H800");
            return Err(Wrong::field("invalid_value", "cost", text));
        }
    };
    let numbers: [(&str, &mut f64); 10] = [
        ("kv_bytes_per_token", &mut cost.kv_bytes_per_token),
        ("prefill_fixed_seconds", &mut cost.prefill.fixed),
        ("prefill_seconds_per_token", &mut cost.prefill.linear),
        ("prefill_seconds_per_token_squared", &mut cost.prefill.quadratic),
        ("decode_fixed_seconds", &mut cost.decode.fixed),
        ("decode_seconds_per_request", &mut cost.decode.per_request),
        ("decode_seconds_per_token", &mut cost.decode.per_token),
        ("host_bytes_per_second", &mut cost.host_rate),
        ("disk_bytes_per_second", &mut cost.disk_rate),
        ("link_bytes_per_second", &mut cost.link_rate),
    ];
    for (name, number) in numbers {
        if let Some(value) = given.decimal(name)? {
            *number = value;
        }
    }
    if let Some(layers) = given.number("layers", 0..=10_000)? {
        cost.layers = layers as u32;
    }
    if let Some(tokens) = given.number("kv_tokens", 1..=1 << 40)? {
        cost.kv_tokens = tokens;
    }
    if let Some(tokens) = given.number("chunk_tokens", 1..=1 << 30)? {
        cost.chunk_tokens = tokens;
    }
    given.end()?;
    cost.check().map_err(|error| Wrong::field("out_of_range", "cost", error.message()))?;
    Ok(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(more: &[(&str, Value)]) -> Map<String, Value> {
        let Value::Object(mut written) = json!({
            "endpoint": "tcp://1.1.1.1:5557", "type": "vLLM", "modelname": "deepseek", "instance_id": "node1",
            "block_size": 128, "dp_rank": 0,
        }) else {
            panic!("an object")
        };
        written.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        written
    }

    #[test]
    fn registrations_of_both_generations_are_read() {
        let plain = Terms::read(written(&[("additionalsalt", json!("w8a8")), ("lora_name", json!(""))]));
        let plain = plain.expect("as documented");
        assert_eq!(
            (&*plain.tenant, plain.lora.as_deref(), plain.salt.as_deref()),
            ("default", None, Some("w8a8"))
        );
        assert_eq!((plain.naming.clone(), plain.ranks()), (Naming::ByTokens, 1));
        assert_eq!(plain.name().to_string(), "node1|default|0");
        let profile = json!({
            "strategy": "vllm_v1", "algorithm": "sha256_cbor", "python_hash_seed": "0", "index_projection": "low64_be",
        });
        let terms = Terms::read(written(&[("hash_profile", profile)])).expect("as documented");
        let shown = terms.json()["HashProfile"]["root_digest"].clone();
        assert_eq!(shown, "4e1195df020de59e0d65a33a4279f1183e7ae4e5d980e309f8b55adff2e61c3e");
        let store = Terms::read(written(&[("type", json!("Mooncake"))])).expect("as documented");
        assert_eq!((store.kind, store.ranks()), (Kind::Store, 2));
    }

    #[test]
    fn registrations_that_make_no_sense_are_refused_by_field() {
        let cases = [
            ("type", json!("Other"), "invalid_value", "type"),
            ("endpoint", json!("tcp://*:5557"), "invalid_value", "endpoint"),
            ("endpoint", json!(null), "missing", "endpoint"),
            ("replay_endpoint", json!("ipc://x"), "invalid_value", "replay_endpoint"),
            ("block_size", json!(0), "out_of_range", "block_size"),
            ("dp_rank", json!(-1), "invalid_type", "dp_rank"),
            ("dp_rank", json!(512), "out_of_range", "dp_rank"),
            ("modelname", json!(""), "missing", "modelname"),
            ("more", json!(1), "unknown_field", "more"),
            ("role", json!("cook"), "invalid_value", "role"),
            ("hash_profile", json!({}), "missing", "strategy"),
            ("hash_profile", json!({ "strategy": "md5" }), "invalid_value", "hash_profile"),
            ("cost", json!({ "machine": "abacus" }), "invalid_value", "cost"),
            ("cost", json!({ "link_bytes_per_second": 0.0 }), "out_of_range", "cost"),
            ("cost", json!({ "pence": 1 }), "unknown_field", "pence"),
        ];
        for (name, value, reason, field) in cases {
            let wrong = Terms::read(written(&[(name, value)])).expect_err(name);
            assert_eq!((wrong.reason, wrong.field.as_deref()), (reason, Some(field)), "{}", wrong.text);
        }
        let decode = written(&[("endpoint", json!(null)), ("role", json!("decode"))]);
        assert_eq!(Terms::read(decode).expect("it publishes nothing").role, Role::Decode);
    }
}
