//! What is asked over HTTP and answered: the interface of Mooncake's metadata servers, with lists and claims besides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use mooncake::config::url::decode;
use mooncake::metadata::KEY_MAX;

use super::expiry::{self, Sign};
use super::keeping::Keeping;
use super::store::{Claim, Verdict};
use crate::request::{self, Unread};

/// Who claims, in a request; "granted" in the answer.
const CLAIM: &str = "mooncake-claim";
const CLAIM_LIVES_MS: &str = "mooncake-claim-lives-ms";
/// Longest name of an owner.
const OWNER_MAX: usize = 128;
/// Longest life of a claim without renewal.
const CLAIM_LIVES_MAX: Duration = Duration::from_secs(3600);

pub struct Api {
    pub keeping: Arc<Keeping>,
    /// Longest body.
    pub value_max: usize,
    /// Whether a dead engine's address may be replaced.
    pub expires: bool,
}

/// A status and a text, with the type that Mooncake's servers give to all they say.
struct Answer(StatusCode, String, bool);

impl Answer {
    fn plain(status: StatusCode, text: impl Into<String>) -> Answer {
        Answer(status, text.into(), false)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let Answer(status, text, granted) = self;
        let mut response = (status, [(header::CONTENT_TYPE, "application/json")], text).into_response();
        if granted {
            response.headers_mut().insert(CLAIM, header::HeaderValue::from_static("granted"));
        }
        response
    }
}

pub fn router(api: Api) -> Router {
    Router::new()
        .route("/metadata", any(metadata))
        .route("/health", get(async || "OK"))
        .with_state(Arc::new(api))
}

async fn metadata(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default();
    let answered = match (key_of(query), &parts.method) {
        (Ok(Some(key)), &Method::GET) => return api.get(&key).await,
        (Ok(Some(key)), &Method::PUT) => api.put(&key, &parts.headers, body).await,
        (Ok(Some(key)), &Method::DELETE) => api.delete(&key, &parts.headers).await,
        (Ok(Some(key)), &Method::POST) => api.renew(&key, &parts.headers).await,
        (Ok(Some(_)), _) => Err(Answer::plain(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")),
        (Ok(None), &Method::GET) => api.list(query).await,
        (Ok(None), _) => Err(no_key()),
        (Err(answer), _) => Err(answer),
    };
    answered.unwrap_or_else(|refused| refused).into_response()
}

type Answered = Result<Answer, Answer>;

impl Api {
    async fn get(&self, key: &str) -> Response {
        let value = self.keeping.lock().await.get(key).map(<[u8]>::to_vec);
        match value {
            Some(value) => ([(header::CONTENT_TYPE, "application/json")], value).into_response(),
            None => not_found().into_response(),
        }
    }

    async fn put(&self, key: &str, headers: &HeaderMap, body: Body) -> Answered {
        let claim = claim_of(headers)?;
        let is_claim = claim.is_some();
        let value = self.body(body).await?;
        let mut verdict = self.keeping.put(key, &value, claim, false).await.map_err(full)?;
        if verdict == Verdict::Duplicate && self.expires && self.is_deserted(key).await {
            eprintln!("mooncake metadata: {key} is replaced: nobody is at the address it had");
            verdict = self.keeping.put(key, &value, None, true).await.map_err(full)?;
        }
        match verdict {
            Verdict::Updated => Ok(Answer(StatusCode::OK, "metadata updated".to_owned(), is_claim)),
            Verdict::Unchanged => Ok(Answer::plain(StatusCode::OK, "metadata unchanged")),
            Verdict::Duplicate => {
                Err(Answer::plain(StatusCode::BAD_REQUEST, "Duplicate rpc_meta key not allowed"))
            }
            Verdict::Taken => Err(taken()),
            Verdict::Full => Err(full("a limit of this server is reached".to_owned())),
        }
    }

    async fn delete(&self, key: &str, headers: &HeaderMap) -> Answered {
        let owner = claim_of(headers)?.map(|claim| claim.owner);
        match self.keeping.remove(key, owner.as_deref(), None).await.map_err(full)? {
            true => Ok(Answer::plain(StatusCode::OK, "metadata deleted")),
            false => Err(not_found()),
        }
    }

    async fn renew(&self, key: &str, headers: &HeaderMap) -> Answered {
        let Some(claim) = claim_of(headers)? else {
            return Err(Answer::plain(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"));
        };
        match self.keeping.lock().await.renew(key, claim, Instant::now()) {
            Verdict::Taken => Err(taken()),
            Verdict::Full => Err(full("a limit of this server is reached".to_owned())),
            _ => Ok(Answer(StatusCode::OK, "claim renewed".to_owned(), true)),
        }
    }

    async fn list(&self, query: &str) -> Answered {
        let prefix = parameter(query, "prefix").ok_or_else(no_key)?.ok_or_else(bad_text)?;
        let store = self.keeping.lock().await;
        Ok(Answer::plain(StatusCode::OK, serde_json::json!(store.list(&prefix)).to_string()))
    }

    async fn body(&self, body: Body) -> Result<Bytes, Answer> {
        request::body(body, self.value_max).await.map_err(|why| match why {
            Unread::TooLong => Answer::plain(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a value has at most {} bytes here", self.value_max),
            ),
            Unread::Late => Answer::plain(StatusCode::REQUEST_TIMEOUT, "the value did not arrive"),
        })
    }

    /// Whether an address is published under the key at which nobody listens any more.
    async fn is_deserted(&self, key: &str) -> bool {
        let Some(value) = self.keeping.lock().await.get(key).map(<[u8]>::to_vec) else { return false };
        expiry::is_address(key) && expiry::probe(&value).await == Some(Sign::Refused)
    }
}

/// The key of a request, without the space around it.
fn key_of(query: &str) -> Result<Option<String>, Answer> {
    let Some(key) = parameter(query, "key") else { return Ok(None) };
    let key = key.ok_or_else(bad_text)?;
    match key.trim() {
        "" => Err(no_key()),
        key if key.len() > KEY_MAX => {
            Err(Answer::plain(StatusCode::BAD_REQUEST, format!("a metadata key has at most {KEY_MAX} bytes")))
        }
        key => Ok(Some(key.to_owned())),
    }
}

/// A parameter as forms encode it; `Some(None)` when it is no text.
fn parameter(query: &str, name: &str) -> Option<Option<String>> {
    let found = query.split('&').find_map(|pair| {
        let (this, value) = pair.split_once('=').unwrap_or((pair, ""));
        (this == name).then_some(value)
    })?;
    Some(decode(&found.replace('+', " ")))
}

/// The claim that a request comes with.
fn claim_of(headers: &HeaderMap) -> Result<Option<Claim>, Answer> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(owner) = text(CLAIM) else { return Ok(None) };
    let lives = text(CLAIM_LIVES_MS).and_then(|value| value.parse().ok()).map(Duration::from_millis);
    match lives {
        Some(lives) if lives <= CLAIM_LIVES_MAX && !owner.is_empty() && owner.len() <= OWNER_MAX => {
            Ok(Some(Claim { owner: owner.to_owned(), lives }))
        }
        _ => Err(Answer::plain(
            StatusCode::BAD_REQUEST,
            format!(
                "a claim has an owner of 1 to {OWNER_MAX} bytes and lives 0 to {} ms",
                CLAIM_LIVES_MAX.as_millis()
            ),
        )),
    }
}

fn no_key() -> Answer {
    Answer::plain(StatusCode::BAD_REQUEST, "metadata key is required")
}

fn bad_text() -> Answer {
    Answer::plain(StatusCode::BAD_REQUEST, "metadata key is not UTF-8")
}

fn not_found() -> Answer {
    Answer::plain(StatusCode::NOT_FOUND, "metadata not found")
}

fn taken() -> Answer {
    Answer::plain(StatusCode::CONFLICT, "another engine has claimed this key")
}

fn full(why: String) -> Answer {
    eprintln!("mooncake metadata: refused to store: {why}");
    Answer::plain(StatusCode::INSUFFICIENT_STORAGE, why)
}
