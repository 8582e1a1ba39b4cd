//! Answers over HTTP: JSON, and refusals that say what is wrong with which field.

use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use mooncake::error::{Code, Error};
use serde_json::{Value, json};

use crate::request;

/// Answered, or refused with a reason.
pub type Answered = Result<Answer, Wrong>;

pub enum Answer {
    Json(Value),
    Text(String),
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Answer::Json(body) => {
                respond(StatusCode::OK, "application/json; charset=utf-8", body.to_string())
            }
            Answer::Text(body) => respond(StatusCode::OK, "text/plain; version=0.0.4", body),
        }
    }
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response {
    let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// Why something was not done.
#[derive(Debug)]
pub struct Wrong {
    pub status: StatusCode,
    /// A word for programs.
    pub reason: &'static str,
    pub text: String,
    pub field: Option<String>,
    /// Which element of a field that has several.
    pub index: Option<u32>,
    /// What else the answer says.
    pub more: Vec<(&'static str, Value)>,
    pub retry_after: Option<f64>,
}

impl Wrong {
    pub fn new(status: StatusCode, reason: &'static str, text: impl Into<String>) -> Wrong {
        let (field, index, more, retry_after) = (None, None, Vec::new(), None);
        Wrong { status, reason, text: text.into(), field, index, more, retry_after }
    }

    pub fn field(reason: &'static str, field: &str, text: impl Into<String>) -> Wrong {
        let wrong = Wrong::new(StatusCode::BAD_REQUEST, reason, text);
        Wrong { field: Some(field.to_owned()), ..wrong }
    }

    pub fn registration(text: impl Into<String>) -> Wrong {
        Wrong::new(StatusCode::BAD_REQUEST, "invalid_registration", text)
    }

    pub fn not_found(text: impl Into<String>) -> Wrong {
        Wrong::new(StatusCode::NOT_FOUND, "not_found", text)
    }
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Wrong {
        let (status, reason) = match error.code {
            Code::InvalidArgument => (StatusCode::BAD_REQUEST, "invalid_value"),
            Code::NotFound | Code::InvalidHandle => (StatusCode::NOT_FOUND, "not_found"),
            Code::AlreadyExists | Code::InvalidState => (StatusCode::CONFLICT, "conflict"),
            Code::Exhausted | Code::NotReady | Code::Busy => (StatusCode::SERVICE_UNAVAILABLE, "exhausted"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Wrong::new(status, reason, error.message())
    }
}

impl IntoResponse for Wrong {
    fn into_response(self) -> Response {
        let mut body = json!({ "error": self.text, "reason": self.reason });
        if let Some(field) = self.field {
            body["field"] = field.into();
        }
        if let Some(index) = self.index {
            body["index"] = index.into();
        }
        for (name, value) in self.more {
            body[name] = value;
        }
        let mut response = respond(self.status, "application/json; charset=utf-8", body.to_string());
        if let Some(seconds) = self.retry_after {
            // Whole seconds, at least one: zero would be "at once".
            let seconds = HeaderValue::from(seconds.ceil().clamp(1.0, 3600.0) as u64);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

/// Who may change something.
pub enum Changes {
    /// Whoever reaches it, which is this host alone.
    FromHere,
    /// Those who have the key, as `Authorization: Bearer KEY`.
    WithKey(Vec<u8>),
    /// Nobody: others can reach it, and there is no key.
    Never,
}

impl Changes {
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Wrong> {
        let key = match self {
            Changes::FromHere => return Ok(()),
            Changes::WithKey(key) => key,
            Changes::Never => {
                let text = "this conductor was started without a key on an address that others reach: \
                            nothing can be changed over HTTP";
                return Err(Wrong::new(StatusCode::FORBIDDEN, "no_key", text));
            }
        };
        if request::has_key(headers, key) {
            return Ok(());
        }
        let text = "this needs the key of the conductor: Authorization: Bearer KEY";
        Err(Wrong::new(StatusCode::UNAUTHORIZED, "unauthenticated", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(value))])
    }

    #[test]
    fn only_the_whole_key_lets_one_change_something() {
        let changes = Changes::WithKey(b"secret".to_vec());
        assert!(changes.check(&with("Bearer secret")).is_ok());
        for wrong in ["Bearer secre", "Bearer secrets", "Bearer ", "secret", "Basic secret"] {
            assert_eq!(changes.check(&with(wrong)).expect_err("wrong").status, StatusCode::UNAUTHORIZED);
        }
        assert!(changes.check(&HeaderMap::new()).is_err());
        assert!(Changes::FromHere.check(&HeaderMap::new()).is_ok());
        let refused = Changes::Never.check(&with("Bearer secret")).expect_err("nobody may");
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
}
