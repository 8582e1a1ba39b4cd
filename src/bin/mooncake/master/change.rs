//! What changes something: only for those who have the key, as `Authorization: Bearer KEY`. Without a key there is nobody
//! who may, since a page that a browser shows can make it send such requests.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::{get, post};
use mooncake::error::Code;
use mooncake::store::master::server::Filter;
use mooncake::store::master::{TaskId, TaskInfo, TaskState};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

use super::api::{Api, Shared, filter};
use super::query::{Answer, Answered, Query};
use crate::request::{self, Unread};

/// Largest body.
const BODY_MAX: usize = 64 << 10;
/// Most segments that are drained as one job.
const MOST_SEGMENTS: usize = 64;

pub fn router() -> Router<Arc<Api>> {
    Router::new()
        .route("/api/v1/remove_all", post(remove_all))
        .route("/api/v1/bury", post(bury))
        .route("/api/v1/found", post(found))
        .route("/api/v1/drain_jobs", post(drain))
        .route("/api/v1/drain_jobs/query", get(query_drain))
        .route("/api/v1/drain_jobs/cancel", post(cancel_drain))
        .route("/api/v1/tenant_quotas", get(quotas).put(set_quota).delete(clear_quota))
}

impl Api {
    fn check(&self, headers: &HeaderMap) -> Result<(), Answer> {
        let Some(psk) = &self.psk else {
            let text = "this master was started without a key: nothing can be changed over HTTP";
            return Err(Answer::refused(StatusCode::FORBIDDEN, Code::Permission as i32, text));
        };
        if request::has_key(headers, psk) {
            return Ok(());
        }
        let text = "this needs the key of the store: Authorization: Bearer KEY";
        Err(Answer::refused(StatusCode::UNAUTHORIZED, Code::Unauthenticated as i32, text))
    }
}

/// All objects of a tenant that match; of all tenants where none is named.
async fn remove_all(State(api): Shared, uri: Uri, headers: HeaderMap) -> Answered {
    api.check(&headers)?;
    let query = Query::of(&uri);
    let meant = filter(&query)?;
    let tenants = match query.raw("tenant_id") {
        Some(_) => vec![meant.tenant.clone()],
        None => api.master.with(|state, _| state.tenants().into_iter().map(|tenant| tenant.name).collect()),
    };
    let (mut removed, mut busy) = (0, 0);
    for tenant in tenants {
        let done = api.master.remove_all(&Filter { tenant, ..meant.clone() }, !query.flag("force"))?;
        (removed, busy) = (removed + done.0, busy + done.1);
    }
    Ok(Answer::json(&json!({ "success": true, "removed_count": removed, "busy_count": busy })))
}

/// Somebody knows that a node's process does not exist any more, and will not be waited for.
async fn bury(State(api): Shared, uri: Uri, headers: HeaderMap) -> Answered {
    api.check(&headers)?;
    let query = Query::of(&uri);
    let name = query.raw("node").unwrap_or_default();
    match api.master.with(|state, _| state.bury_named(name)) {
        0 => {
            let text = "no node has this name; a node is named by the address at which it is called";
            Err(Answer::refused(StatusCode::NOT_FOUND, Code::NotFound as i32, text))
        }
        buried => Ok(Answer::json(&json!({ "success": true, "buried_count": buried }))),
    }
}

/// Somebody knows that nothing is left of an earlier store.
async fn found(State(api): Shared, headers: HeaderMap) -> Answered {
    api.check(&headers)?;
    api.master.with(|state, _| state.found());
    Ok(Answer::json(&json!({ "success": true })))
}

#[derive(Deserialize)]
struct Drain {
    segments: Vec<String>,
}

async fn drain(State(api): Shared, headers: HeaderMap, request: Request) -> Answered {
    api.check(&headers)?;
    let body = body(request.into_body()).await?;
    let wanted: Drain = serde_json::from_slice(&body)
        .map_err(|error| Answer::wrong(format!("the body is to be {{\"segments\": [...]}}: {error}")))?;
    if wanted.segments.is_empty() || wanted.segments.len() > MOST_SEGMENTS {
        return Err(Answer::wrong(format!("1 to {MOST_SEGMENTS} segments are drained at once")));
    }
    let mut tasks = Vec::new();
    for segment in &wanted.segments {
        match api.master.drain(segment) {
            Ok(task) => tasks.push(task.0.to_string()),
            Err(error) => {
                // All or none.
                for task in tasks.iter().filter_map(|task: &String| task.parse().ok()) {
                    let _ = api.master.cancel_task(TaskId(task));
                }
                return Err(error.into());
            }
        }
    }
    Ok(Answer::json(&json!({ "success": true, "job_id": tasks.join("-"), "status": "CREATED" })))
}

async fn query_drain(State(api): Shared, uri: Uri) -> Answered {
    let tasks = tasks_of(&uri)?;
    let known: Vec<TaskInfo> = tasks.iter().filter_map(|task| api.master.task(*task)).collect();
    if known.len() < tasks.len() {
        return Err(no_job());
    }
    let is = |state: &str| known.iter().filter(|task| state_of(task) == state).count();
    let status = ["FAILED", "CANCELED", "PROCESSING", "SUCCESS"].into_iter().find(|state| is(state) > 0);
    let sum = |of: fn(&TaskInfo) -> u64| known.iter().map(of).sum::<u64>();
    Ok(Answer::json(&json!({
        "success": true,
        "job_id": Query::of(&uri).raw("job_id"),
        "type_name": "DRAIN",
        "status_name": status,
        "succeeded_units": sum(|task| task.moved_objects),
        "migrated_bytes": sum(|task| task.moved_bytes),
        "active_units": is("PROCESSING"),
        "failed_units": is("FAILED"),
    })))
}

fn state_of(task: &TaskInfo) -> &'static str {
    match task.state {
        TaskState::Running => "PROCESSING",
        TaskState::Done => "SUCCESS",
        TaskState::Failed(_) => "FAILED",
        TaskState::Canceled => "CANCELED",
    }
}

async fn cancel_drain(State(api): Shared, uri: Uri, headers: HeaderMap) -> Answered {
    api.check(&headers)?;
    for task in tasks_of(&uri)? {
        api.master.cancel_task(task)?;
    }
    let job = Query::of(&uri).raw("job_id");
    Ok(Answer::json(&json!({ "success": true, "job_id": job, "status": "CANCELED" })))
}

fn tasks_of(uri: &Uri) -> Result<Vec<TaskId>, Answer> {
    let job = Query::of(uri).raw("job_id").unwrap_or_default();
    let tasks: Option<Vec<TaskId>> = job.split('-').map(|task| task.parse().ok().map(TaskId)).collect();
    tasks.ok_or_else(|| Answer::wrong("Missing or invalid job_id"))
}

fn no_job() -> Answer {
    Answer::refused(StatusCode::NOT_FOUND, Code::NotFound as i32, "this master knows no such job")
}

async fn quotas(State(api): Shared, uri: Uri) -> Answered {
    let only = Query::of(&uri).raw("tenant_id").map(|_| Query::of(&uri).text("tenant_id")).transpose()?;
    let tenants = api.master.with(|state, _| state.tenants());
    let meant = tenants.iter().filter(|tenant| only.as_ref().is_none_or(|only| *only == tenant.name));
    let shown: Vec<Value> = meant
        .map(|tenant| {
            json!({
                "tenant_id": tenant.name,
                "requested_quota_bytes": tenant.quota_bytes,
                "charged_bytes": tenant.used_bytes,
                "objects": tenant.objects,
            })
        })
        .collect();
    Ok(Answer::json(&json!({ "success": true, "tenants": shown })))
}

#[derive(Deserialize)]
struct Quota {
    requested_quota_bytes: u64,
}

async fn set_quota(State(api): Shared, uri: Uri, headers: HeaderMap, request: Request) -> Answered {
    api.check(&headers)?;
    let tenant = tenant_of(&uri)?;
    let body = body(request.into_body()).await?;
    let quota: Quota = serde_json::from_slice(&body).map_err(|error| {
        Answer::wrong(format!("the body is to be {{\"requested_quota_bytes\": N}}: {error}"))
    })?;
    api.master.set_quota(&tenant, Some(quota.requested_quota_bytes))?;
    Ok(Answer::json(&json!({ "success": true, "tenant_id": tenant })))
}

async fn clear_quota(State(api): Shared, uri: Uri, headers: HeaderMap) -> Answered {
    api.check(&headers)?;
    let tenant = tenant_of(&uri)?;
    api.master.set_quota(&tenant, None)?;
    Ok(Answer::json(&json!({ "success": true, "tenant_id": tenant })))
}

fn tenant_of(uri: &Uri) -> Result<String, Answer> {
    let query = Query::of(uri);
    query.raw("tenant_id").ok_or_else(|| Answer::wrong("Missing tenant_id"))?;
    query.text("tenant_id")
}

async fn body(body: Body) -> Result<Bytes, Answer> {
    request::body(body, BODY_MAX).await.map_err(|why| match why {
        Unread::TooLong => Answer::wrong(format!("a body has at most {BODY_MAX} bytes")),
        Unread::Late => Answer::wrong("the body did not arrive in time"),
    })
}
