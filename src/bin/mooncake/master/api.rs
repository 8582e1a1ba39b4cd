//! What can be asked over HTTP: Mooncake's admin interface as far as it makes sense here, metrics, and a page for people.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use mooncake::error::Code;
use mooncake::store::master::server::{Filter, Master};
use mooncake::store::master::{ListCursor, Located};
use mooncake::store::object::stripe_length;
use serde_json::{Value, json};

use super::publish::Figures;
use super::query::{Answer, Answered, Query, escape, no_object, unescape};
use super::rates::Rates;
use super::{change, metrics, page};

/// Keys in one answer, unless it is asked for another number, and at most.
const KEYS: usize = 10_000;
const MOST_KEYS: usize = 16_384;

pub struct Api {
    pub master: Arc<Master>,
    pub address: SocketAddr,
    /// What those who change something must have.
    pub psk: Option<Arc<[u8]>>,
    pub rates: Rates,
    pub figures: Arc<Figures>,
}

pub type Shared = State<Arc<Api>>;

pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/", get(status_page))
        .route("/metrics", get(async |State(api): Shared| Answer::text(metrics::text(&api.master.look()))))
        .route("/health", get(health))
        .route("/role", get(async |State(api): Shared| Answer::text(api.role())))
        .route("/get_all_segments", get(all_segments))
        .route("/get_segments_detail", get(segments_detail))
        .route("/query_segment", get(query_segment))
        .route("/query_key", get(query_key))
        .route("/batch_query_keys", get(batch_query_keys))
        .route("/get_all_keys", get(all_keys))
        .route("/kv_events/status", get(async |State(api): Shared| Answer::json(&api.figures.json())))
        .merge(change::router())
        .with_state(api)
}

impl Api {
    fn role(&self) -> &'static str {
        let (is_deposed, is_serving) = self.master.with(|state, _| (state.is_deposed(), state.is_serving()));
        match (is_deposed, is_serving) {
            (true, _) => "fenced",
            (_, true) => "leader",
            _ => "candidate",
        }
    }
}

async fn status_page(State(api): Shared) -> Answer {
    let seen = api.master.look();
    let (time, rates) = api.rates.since(Instant::now(), &seen);
    Answer::html(page::html(&seen, &api.address.to_string(), time, &rates))
}

async fn health(State(api): Shared) -> Answer {
    let role = api.role();
    let state = match role {
        "leader" => "serving",
        "fenced" => "fenced",
        _ => "recovering",
    };
    let leader = (role == "leader").then(|| api.address.to_string());
    let view = api.master.with(|state, _| state.view().id.number);
    Answer::json(&json!({
        "status": "ok",
        "role": role,
        "ha_state": state,
        "service_ready": role == "leader",
        "leader_address": leader,
        "view_version": view,
    }))
}

async fn all_segments(State(api): Shared) -> Answer {
    let segments = api.master.with(|state, _| state.segments());
    Answer::text(segments.iter().map(|segment| format!("{}\n", segment.name)).collect::<String>())
}

async fn segments_detail(State(api): Shared) -> Answer {
    let segments = api.master.with(|state, _| state.segments());
    let one = |segment: &mooncake::store::master::SegmentInfo| {
        let status = match (segment.is_draining, segment.is_open) {
            (true, _) => "DRAINING",
            (_, true) => "OK",
            _ => "PENDING",
        };
        let contact = api.master.contact(segment.node).map(|address| address.to_string());
        json!({
            "segment_name": *segment.name,
            "segment_id": segment.segment.0.to_string(),
            "client_id": format!("{:016x}", segment.node.0),
            "size_bytes": segment.capacity,
            "te_endpoint": contact,
            "status": status,
            "allocator_used_bytes": segment.used,
            "allocator_capacity_bytes": segment.capacity,
            "allocator_usage_percent": segment.used as f64 * 100.0 / segment.capacity.max(1) as f64,
        })
    };
    let all: Vec<Value> = segments.iter().map(one).collect();
    Answer::json(&json!({ "total_segments": all.len(), "segments": all }))
}

async fn query_segment(State(api): Shared, uri: Uri) -> Answered {
    let name = Query::of(&uri).text("segment")?;
    let segments = api.master.with(|state, _| state.segments());
    let (mut used, mut capacity, mut found) = (0, 0, false);
    for segment in segments.iter().filter(|segment| *segment.name == *name) {
        (used, capacity, found) = (used + segment.used, capacity + segment.capacity, true);
    }
    if !found {
        return Err(Answer::refused(
            StatusCode::NOT_FOUND,
            Code::NotFound as i32,
            "no segment has this name",
        ));
    }
    Ok(Answer::text(format!("{name}\nUsed(bytes): {used}\nCapacity(bytes) : {capacity}\n")))
}

async fn query_key(State(api): Shared, uri: Uri) -> Answered {
    let query = Query::of(&uri);
    let (tenant, key) = (query.text("tenant_id")?, query.bytes("key")?.unwrap_or_default());
    match api.master.whereabouts(&tenant, &key) {
        Ok(located) => Ok(Answer::json(&json!({ "success": true, "data": api.replicas(&located) }))),
        Err(error) if matches!(error.code, Code::NotFound | Code::InvalidArgument) => Err(no_object()),
        Err(error) => Err(error.into()),
    }
}

async fn batch_query_keys(State(api): Shared, uri: Uri) -> Response {
    let query = Query::of(&uri);
    let keys = query.raw("keys").filter(|keys| !keys.is_empty());
    let Some(keys) = keys else {
        let body = json!({ "success": false, "error": "No keys provided. Use ?keys=key1,key2,..." });
        return (StatusCode::BAD_REQUEST, Answer::json(&body)).into_response();
    };
    api.batch(&query, keys).into_response()
}

impl Api {
    fn batch(&self, query: &Query<'_>, keys: &str) -> Answered {
        let tenant = query.text("tenant_id")?;
        let mut data = BTreeMap::new();
        for key in keys.split(',') {
            let key = unescape(key).ok_or_else(|| Answer::wrong("keys: % is not followed by two digits"))?;
            let one = match self.master.whereabouts(&tenant, &key) {
                Ok(located) => json!({ "ok": true, "error": null, "values": self.replicas(&located) }),
                Err(error) if matches!(error.code, Code::NotFound | Code::InvalidArgument) => {
                    json!({ "ok": false, "error": "OBJECT_NOT_FOUND", "values": null })
                }
                Err(error) => return Err(error.into()),
            };
            data.insert(text_of(&key), one);
        }
        Ok(Answer::json(&json!({ "success": true, "data": data })))
    }

    /// The pieces of all replicas, with Mooncake's names for what it has, too.
    fn replicas(&self, located: &Located) -> Vec<Value> {
        let segments = self.master.with(|state, _| state.segments());
        let mut all = Vec::new();
        for (number, replica) in located.replicas.iter().enumerate() {
            for (index, extent) in replica.stripes.iter().enumerate() {
                let here = |one: &&_| -> bool {
                    let one: &mooncake::store::master::SegmentInfo = one;
                    (one.node, one.segment) == (extent.node, extent.segment)
                };
                let contact = self.master.contact(extent.node).map(|address| address.to_string());
                all.push(json!({
                    "size_": stripe_length(located.size, replica.stripes.len(), index),
                    "buffer_address_": extent.offset,
                    "protocol_": "tcp",
                    "transport_endpoint_": contact.unwrap_or_default(),
                    "segment": segments.iter().find(here).map(|segment| segment.name.to_string()),
                    "replica": number,
                    "stripe": index,
                }));
            }
        }
        all
    }
}

/// A key in JSON: as it is if it is text.
fn text_of(key: &[u8]) -> String {
    std::str::from_utf8(key).map_or_else(|_| escape(key), str::to_owned)
}

async fn all_keys(State(api): Shared, uri: Uri) -> Answered {
    let query = Query::of(&uri);
    let limit = match query.raw("limit") {
        None => KEYS,
        Some(text) => text.parse().map_err(|_| Answer::wrong("limit is no number"))?,
    };
    let limit = limit.clamp(1, MOST_KEYS);
    let mut from = query.raw("cursor").map_or(Some(ListCursor::default()), cursor_of);
    if from.is_none() {
        return Err(Answer::wrong("cursor is none that was given in mooncake-next"));
    }
    let filter = filter(&query)?;
    let (mut text, mut count) = (String::new(), 0);
    while let Some(place) = from.filter(|_| count < limit) {
        let page = api.master.list(&filter, place, limit - count)?;
        count += page.objects.len();
        for object in page.objects {
            text.push_str(&escape(&object.key));
            text.push('\n');
        }
        from = page.next;
    }
    let next = from.map(|next| format!("{}.{}", next.shard, next.slot));
    Ok(Answer::text(text).with_next(next))
}

fn cursor_of(text: &str) -> Option<ListCursor> {
    let (shard, slot) = text.split_once('.')?;
    Some(ListCursor { shard: shard.parse().ok()?, slot: slot.parse().ok()? })
}

pub fn filter(query: &Query<'_>) -> Result<Filter, Answer> {
    Ok(Filter {
        tenant: query.text("tenant_id")?,
        prefix: query.bytes("prefix")?.unwrap_or_default(),
        regex: query.text("regex")?,
    })
}
