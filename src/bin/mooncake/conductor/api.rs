//! What can be asked over HTTP.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::routing::{get, post};
use mooncake::conductor::service::Conductor;
use serde_json::json;

use super::answer::{Answer, Answered, Changes, Wrong};
use super::body;
use super::contexts::Contexts;
use super::metrics;
use super::place;
use super::query;
use super::sources::Sources;
use super::terms::{Name, Terms};

pub struct Api {
    pub conductor: Arc<Conductor>,
    pub contexts: Arc<Contexts>,
    pub sources: Arc<Sources>,
    pub changes: Changes,
    pub since: Instant,
    /// Snapshots that were written, and that failed to be.
    pub snapshots: AtomicU64,
    pub snapshot_failures: AtomicU64,
}

pub type Shared = State<Arc<Api>>;

pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/register", post(register))
        .route("/unregister", post(unregister))
        .route("/query", post(query::by_tokens))
        .route("/query_by_hash", post(query::by_hash))
        .route("/services", get(async |State(api): Shared| Answer::Json(api.sources.json())))
        .route("/global_view", get(async |State(api): Shared| api.view()))
        .route("/schedule", post(place::schedule))
        .route("/feedback", post(place::feedback))
        .route("/report", post(place::report))
        .route("/explain", get(place::explain).post(place::explain_request))
        .route("/health", get(async |State(api): Shared| api.health()))
        .route("/metrics", get(async |State(api): Shared| metrics::text(&api).map(Answer::Text)))
        .method_not_allowed_fallback(wrong_method)
        .fallback(nothing_there)
        .with_state(api)
}

async fn wrong_method(method: Method, uri: Uri) -> Wrong {
    let text = format!("{method} is no way to ask for {}", uri.path());
    Wrong::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text)
}

async fn nothing_there(uri: Uri) -> Wrong {
    Wrong::not_found(format!("there is nothing at {}", uri.path()))
}

async fn register(State(api): Shared, headers: HeaderMap, request: Request) -> Answered {
    api.changes.check(&headers)?;
    let terms = Terms::read(body::read(request).await?.all())?;
    let instance = terms.instance.clone();
    api.sources.register(terms, None)?;
    Ok(Answer::Json(json!({ "status": "registered successfully", "instance_id": instance })))
}

async fn unregister(State(api): Shared, headers: HeaderMap, request: Request) -> Answered {
    api.changes.check(&headers)?;
    let mut fields = body::read(request).await?;
    let name = Name::read(&mut fields)?;
    // The three above say which one; the rest of a registration may be sent along.
    fields.pass_over(&["type", "modelname", "lora_name", "block_size", "endpoint", "replay_endpoint"]);
    fields.pass_over(&["additionalsalt", "hash_profile", "cache_group", "role", "cost"]);
    fields.end()?;
    if !api.sources.unregister(&name) {
        return Err(Wrong::not_found(format!("nobody is registered as {name}")));
    }
    let removed = [name.to_string()];
    Ok(Answer::Json(json!({ "status": "unregistered successfully", "removed_instances": removed })))
}

impl Api {
    fn health(&self) -> Answered {
        let connected = self.sources.each(|source| source.watched.figures.is_connected());
        Ok(Answer::Json(json!({
            "status": "ok",
            "publishers": connected.len(),
            "connected_publishers": connected.iter().filter(|is_connected| **is_connected).count(),
            "instances": self.conductor.instances()?.len(),
            "contexts": self.contexts.all().len(),
            "uptime_seconds": self.since.elapsed().as_secs_f64(),
        })))
    }
}
