//! Where requests run and what became of them: `/schedule`, `/feedback`, `/report`, `/explain`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use mooncake::conductor::schedule::{Reason, Rejection, Report};
use mooncake::conductor::service::{
    Advice, Answer as Decided, Decision, Feedback, LONGEST_NAME, MOST_RANKS, Place, Prompt, Request as Wish,
    RequestId, Source,
};
use serde_json::{Value, json};

use super::answer::{Answer, Answered, Wrong};
use super::api::{Api, Shared};
use super::body::{self, Fields, missing};
use super::contexts::{Space, Wanted};
use super::query::Asked;

/// A request as it was asked for, with the keys of its blocks.
struct Meant {
    space: Arc<Space>,
    keys: Vec<u64>,
    tokens: u64,
    priority: u8,
    class: u8,
    output: Option<u32>,
    name: String,
}

impl Meant {
    fn wish(&self) -> Wish<'_> {
        Wish {
            context: self.space.id,
            prompt: Prompt::Keys(&self.keys),
            tokens: self.tokens,
            priority: self.priority,
            class: self.class,
            output: self.output,
            name: &self.name,
        }
    }
}

impl Api {
    fn meant(&self, mut fields: Fields) -> Result<Meant, Wrong> {
        let wanted = Wanted::read(&mut fields, false)?;
        let asked = match (fields.tokens("token_ids")?, fields.keys("seq_hashes")?) {
            (Some(tokens), _) => Asked::Tokens(tokens),
            (None, Some(keys)) => Asked::Keys(keys),
            (None, None) => return Err(missing("token_ids")),
        };
        let (space, keys) = self.within(wanted, &asked)?;
        let told = match &asked {
            Asked::Tokens(tokens) => tokens.len() as u64,
            Asked::Keys(keys) => keys.len() as u64 * u64::from(space.context.block_size),
        };
        // Where the blocks alone are told, the tokens behind the last whole one are not in them.
        let tokens = fields.number("tokens", told..=u64::from(u32::MAX))?.unwrap_or(told);
        let meant = Meant {
            space,
            keys,
            tokens,
            priority: fields.number("priority", 0..=3)?.unwrap_or(0) as u8,
            class: fields.number("class", 0..=3)?.unwrap_or(0) as u8,
            output: fields.number("output_tokens", 0..=u64::from(u32::MAX))?.map(|count| count as u32),
            name: fields.text("request_id")?.unwrap_or_default(),
        };
        if meant.name.len() > LONGEST_NAME {
            let text = format!("request_id has more than {LONGEST_NAME} bytes");
            return Err(Wrong::field("out_of_range", "request_id", text));
        }
        fields.end()?;
        Ok(meant)
    }

    /// The context that is meant, and the keys that the prompt has in it.
    fn within(&self, wanted: Wanted, asked: &Asked) -> Result<(Arc<Space>, Vec<u64>), Wrong> {
        if let Some(space) = self.busiest(&wanted) {
            let keys = asked.keys(&space, &wanted)?;
            return Ok((space, keys));
        }
        // Of an adapter without a single block nobody has a prefix. Those who serve its model serve it, too.
        let is_adapter = wanted.lora.is_some();
        let base = Wanted { lora: None, ..wanted };
        match self.busiest(&base).filter(|_| is_adapter) {
            Some(space) => Ok((space, Vec::new())),
            None => Err(Wrong::not_found(format!(
                "nobody is registered for model {:?} of tenant {:?} with this block size and salt",
                base.model, base.tenant
            ))),
        }
    }

    /// Of several contexts that are meant, the one with the most publishers.
    fn busiest(&self, wanted: &Wanted) -> Option<Arc<Space>> {
        let count = |space: &Arc<Space>| {
            let suits = self.sources.each(|source| source.terms.suits(&space.context));
            suits.into_iter().filter(|suits| *suits).count()
        };
        let mut meant = self.contexts.those(wanted);
        match meant.len() {
            0 | 1 => meant.pop(),
            _ => meant.into_iter().rev().max_by_key(count),
        }
    }

    /// By the name that the caller gave it, or the number that it was given.
    fn request(&self, name: Option<Value>) -> Result<RequestId, Wrong> {
        match name {
            None => Err(missing("request_id")),
            Some(Value::String(name)) => match self.conductor.request(&name) {
                Ok(id) => Ok(id),
                Err(error) => name.parse().map(RequestId).map_err(|_| error.into()),
            },
            Some(Value::Number(number)) if number.is_u64() => {
                Ok(RequestId(number.as_u64().unwrap_or_default()))
            }
            Some(_) => {
                let text = "request_id is neither a text nor a number";
                Err(Wrong::field("invalid_type", "request_id", text))
            }
        }
    }
}

pub async fn schedule(State(api): Shared, headers: HeaderMap, request: Request) -> Answered {
    api.changes.check(&headers)?;
    let meant = api.meant(body::read(request).await?)?;
    match api.conductor.schedule(&meant.wish())? {
        Decided::Run(decision) => Ok(Answer::Json(decision_json(&decision, &meant.name))),
        Decided::Rejected(rejection) => Err(rejected(&rejection)),
    }
}

fn decision_json(decision: &Decision, name: &str) -> Value {
    let request = if name.is_empty() { json!(decision.request.0.to_string()) } else { json!(name) };
    let source = match &decision.source {
        Source::Nowhere => json!(null),
        Source::Instance(place) => place_json(place),
        Source::Store => json!("store"),
    };
    json!({
        "request_id": request,
        "prefill": place_json(&decision.prefill),
        "prefill_group": decision.group.iter().map(place_json).collect::<Vec<_>>(),
        "decode": decision.decode.as_ref().map(place_json),
        "blocks": decision.blocks,
        "reused_blocks": decision.reused,
        "moved_blocks": decision.moved,
        "moved_from": source,
        "computed_tokens": decision.computed_tokens,
        "queue_seconds": decision.queue,
        "transfer_seconds": decision.transfer,
        "compute_seconds": decision.compute,
        "ttft_seconds": decision.ttft,
        "tbt_seconds": decision.tbt,
        "copy": decision.advice.as_ref().map(advice_json),
    })
}

fn place_json(place: &Place) -> Value {
    json!({ "instance_id": *place.name, "dp_rank": place.rank })
}

fn advice_json(advice: &Advice) -> Value {
    json!({
        "from": place_json(&advice.sender),
        "to": place_json(&advice.receiver),
        "first_block": advice.from,
        "seq_hashes": advice.keys,
    })
}

fn rejected(rejection: &Rejection) -> Wrong {
    let (reason, text) = match rejection.reason {
        Reason::Prefill => ("prefill_load", "the first token would come too late"),
        Reason::Decode => ("decode_load", "tokens would come too slowly"),
        Reason::Rule => ("rule", "a rule of the operator's own refuses it"),
    };
    Wrong {
        more: vec![
            ("load", rejection.load.into()),
            ("limit", rejection.limit.into()),
            ("retry_after_seconds", rejection.retry_after.into()),
        ],
        retry_after: Some(rejection.retry_after),
        ..Wrong::new(StatusCode::TOO_MANY_REQUESTS, reason, text)
    }
}

pub async fn feedback(State(api): Shared, headers: HeaderMap, request: Request) -> Answered {
    api.changes.check(&headers)?;
    let mut fields = body::read(request).await?;
    let name = fields.value("request_id");
    let event = fields.need_text("event")?;
    fields.end()?;
    let Some(feedback) = Feedback::ALL.into_iter().find(|feedback| feedback.name() == event) else {
        let known = Feedback::ALL.map(Feedback::name).join(", ");
        return Err(Wrong::field("invalid_value", "event", format!("event is {event:?}: it can be {known}")));
    };
    let id = api.request(name)?;
    // What would be too much for those who decode is said before they get it.
    if feedback == Feedback::FirstToken
        && let Some(rejection) = api.conductor.recheck(id)?
    {
        api.conductor.feedback(id, Feedback::Cancelled)?;
        return Err(rejected(&rejection));
    }
    api.conductor.feedback(id, feedback)?;
    Ok(Answer::Json(json!({ "status": "ok" })))
}

pub async fn report(State(api): Shared, headers: HeaderMap, request: Request) -> Answered {
    api.changes.check(&headers)?;
    let mut fields = body::read(request).await?;
    let instance = fields.need_text("instance_id")?;
    let rank = fields.number("dp_rank", 0..=u64::from(MOST_RANKS - 1))?.unwrap_or(0) as u32;
    let requests = fields.number("decoding_requests", 0..=u64::from(u32::MAX))?.map(|count| count as u32);
    let tokens = fields.number("decoding_tokens", 0..=1 << 48)?;
    let decoding = match (requests, tokens) {
        (Some(requests), Some(tokens)) => Some((requests, tokens)),
        (None, None) => None,
        (Some(_), None) => return Err(missing("decoding_tokens")),
        (None, Some(_)) => return Err(missing("decoding_requests")),
    };
    let (queue, tbt) = (fields.decimal("queue_seconds")?, fields.decimal("tbt_seconds")?);
    fields.end()?;
    let id = api.conductor.instance(&instance)?;
    api.conductor.report(id, rank, &Report { queue, decoding, tbt })?;
    Ok(Answer::Json(json!({ "status": "ok" })))
}

/// Why a request was placed where it was.
pub async fn explain(State(api): Shared, uri: Uri) -> Answered {
    let mut pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let name = pairs.find(|(name, _)| *name == "request_id").map(|(_, value)| unescape(value));
    let name = name.ok_or_else(|| missing("request_id"))?.map(Value::String);
    let explained = api.conductor.explain(api.request(name)?)?;
    Ok(Answer::Json(parsed(&explained)))
}

/// What would be decided, without its being so.
pub async fn explain_request(State(api): Shared, request: Request) -> Answered {
    let meant = api.meant(body::read(request).await?)?;
    let explained = api.conductor.explain_request(&meant.wish())?;
    Ok(Answer::Json(parsed(&explained)))
}

/// What a form's value stands for, if it is text.
fn unescape(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
