//! What is asked, and how answers look: parameters as forms encode them, where keys may be any bytes.

use axum::http::header::{self, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use mooncake::error::{Code, Error};
use serde_json::json;

/// Where the next page of a list begins.
pub const NEXT: &str = "mooncake-next";
/// Mooncake's number for an object that is not there.
const OBJECT_NOT_FOUND: i32 = -704;

/// Answered, or refused with a reason.
pub type Answered = Result<Answer, Answer>;

pub struct Answer {
    status: StatusCode,
    kind: &'static str,
    body: String,
    next: Option<String>,
}

const TEXT: &str = "text/plain; version=0.0.4";
const JSON: &str = "application/json; charset=utf-8";

impl Answer {
    pub fn text(body: impl Into<String>) -> Answer {
        Answer { status: StatusCode::OK, kind: TEXT, body: body.into(), next: None }
    }

    pub fn json(body: &serde_json::Value) -> Answer {
        Answer { status: StatusCode::OK, kind: JSON, body: body.to_string(), next: None }
    }

    pub fn html(body: String) -> Answer {
        Answer { status: StatusCode::OK, kind: "text/html; charset=utf-8", body, next: None }
    }

    pub fn refused(status: StatusCode, code: i32, text: &str) -> Answer {
        let body = json!({ "success": false, "error_code": code, "error_message": text }).to_string();
        Answer { status, kind: JSON, body, next: None }
    }

    pub fn wrong(text: impl AsRef<str>) -> Answer {
        Answer::refused(StatusCode::BAD_REQUEST, Code::InvalidArgument as i32, text.as_ref())
    }

    pub fn with_next(self, next: Option<String>) -> Answer {
        Answer { next, ..self }
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Answer {
        let status = match error.code {
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::InvalidArgument => StatusCode::BAD_REQUEST,
            Code::AlreadyExists | Code::Busy => StatusCode::CONFLICT,
            Code::NotReady | Code::Exhausted => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Answer::refused(status, error.code as i32, error.message())
    }
}

/// As Mooncake's master says it.
pub fn no_object() -> Answer {
    Answer::refused(StatusCode::NOT_FOUND, OBJECT_NOT_FOUND, "OBJECT_NOT_FOUND")
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.status, [(header::CONTENT_TYPE, self.kind)], self.body).into_response();
        let headers = response.headers_mut();
        // What is shown came from strangers: no script of theirs is to run, whatever was overlooked.
        let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(next) = self.next.and_then(|next| HeaderValue::from_str(&next).ok()) {
            headers.insert(NEXT, next);
        }
        response
    }
}

/// The parameters of a request.
pub struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub fn of(uri: &'a Uri) -> Query<'a> {
        Query(uri.query().unwrap_or_default())
    }

    /// As it was sent.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.split('&').find_map(|pair| {
            let (this, value) = pair.split_once('=').unwrap_or((pair, ""));
            (this == name).then_some(value)
        })
    }

    pub fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, Answer> {
        self.raw(name).map(|raw| unescape(raw).ok_or_else(|| bad(name))).transpose()
    }

    /// Empty where it is not given.
    pub fn text(&self, name: &str) -> Result<String, Answer> {
        let bytes = self.bytes(name)?.unwrap_or_default();
        String::from_utf8(bytes).map_err(|_| Answer::wrong(format!("{name} is not UTF-8")))
    }

    pub fn flag(&self, name: &str) -> bool {
        matches!(self.raw(name), Some("1" | "true" | ""))
    }
}

fn bad(name: &str) -> Answer {
    Answer::wrong(format!("{name}: % is not followed by two hexadecimal digits"))
}

/// The bytes that a form's value stands for.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                let digit = |digit: u8| char::from(digit).to_digit(16);
                (digit(digits[0])? << 4 | digit(digits[1])?) as u8
            }
            other => *other,
        });
    }
    Some(bytes)
}

/// A key on a line of its own, and in a request: what is no text, or would be taken for something else, as %xx.
pub fn escape(key: &[u8]) -> String {
    let mut text = String::with_capacity(key.len());
    for chunk in key.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '%' | '+' | '&' | '#' | ',' | ' ' => text.push_str(&format!("%{:02X}", letter as u32)),
                letter if letter.is_control() || letter == '\u{2028}' || letter == '\u{2029}' => {
                    let mut buffer = [0; 4];
                    let bytes = letter.encode_utf8(&mut buffer).bytes();
                    bytes.for_each(|byte| text.push_str(&format!("%{byte:02X}")));
                }
                letter => text.push(letter),
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("%{byte:02X}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_any_bytes_come_back_from_what_is_shown_of_them() {
        let all: Vec<u8> = (0..=255).collect();
        for key in [&all[..], b"plain/key:1", "caf\u{e9}\u{2028}".as_bytes(), b"a,b c+d%25&e=f#g", b""] {
            let shown = escape(key);
            assert!(!shown.contains(['\n', ',', '&', '#', ' ']), "{shown}");
            assert_eq!(unescape(&shown).expect("its own text"), key);
        }
        assert_eq!(escape(b"plain/key:1"), "plain/key:1");
        assert!(unescape("%4").is_none() && unescape("%zz").is_none());
    }

    #[test]
    fn parameters_are_found_by_name() {
        let query = Query("a=1&key=x%20y+z&flag&b=");
        assert_eq!(query.bytes("key").ok().flatten(), Some(b"x y z".to_vec()));
        assert!(query.flag("flag") && !query.flag("a2") && query.raw("c").is_none());
        assert_eq!(query.text("b").ok(), Some(String::new()));
    }
}
