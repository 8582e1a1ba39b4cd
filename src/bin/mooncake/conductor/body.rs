//! Bodies of requests: a JSON object whose fields are taken one by one, and nothing is left that is not known.

use std::ops::RangeInclusive;

use axum::extract::Request;
use axum::http::{StatusCode, header};
use mooncake::conductor::service::LONGEST_NAME;
use serde_json::{Map, Value};

use super::answer::Wrong;
use crate::request::{self, Unread};

/// Largest body: a million tokens with room to spare.
const BODY_MAX: usize = 16 << 20;

pub struct Fields(Map<String, Value>);

/// Reads the body of a request that has to be JSON. A page in a browser cannot send that without being asked for leave.
pub async fn read(request: Request) -> Result<Fields, Wrong> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let text = format!("the body is {kind:?}: send JSON, with Content-Type: application/json");
        return Err(Wrong::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_type", text));
    }
    let body = request::body(request.into_body(), BODY_MAX).await.map_err(|why| match why {
        Unread::TooLong => {
            let text = format!("a body has at most {BODY_MAX} bytes");
            Wrong::new(StatusCode::PAYLOAD_TOO_LARGE, "out_of_range", text)
        }
        Unread::Late => Wrong::new(StatusCode::REQUEST_TIMEOUT, "missing", "the body did not arrive in time"),
    })?;
    match serde_json::from_slice(&body) {
        Ok(Value::Object(fields)) => Ok(Fields(fields)),
        Ok(_) => Err(Wrong::new(StatusCode::BAD_REQUEST, "invalid_type", "the body is no JSON object")),
        Err(error) => {
            let text = format!("the body is no JSON: {error}");
            Err(Wrong::new(StatusCode::BAD_REQUEST, "invalid_value", text))
        }
    }
}

impl Fields {
    pub fn new(fields: Map<String, Value>) -> Fields {
        Fields(fields)
    }

    /// All of them, untouched.
    pub fn all(self) -> Map<String, Value> {
        self.0
    }

    /// What is given and is not null.
    pub fn value(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// None where it is empty, too.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Wrong> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() > LONGEST_NAME => {
                let length = text.len();
                Err(Wrong::field(
                    "out_of_range",
                    name,
                    format!("{name} has {length} bytes, above {LONGEST_NAME}"),
                ))
            }
            Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
            Some(other) => Err(of_type(name, "a text", &other)),
        }
    }

    pub fn need_text(&mut self, name: &str) -> Result<String, Wrong> {
        self.text(name)?.ok_or_else(|| missing(name))
    }

    pub fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Wrong> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let number =
            value.as_u64().ok_or_else(|| of_type(name, "a whole number that is not negative", &value))?;
        if !range.contains(&number) {
            let text = format!("{name} is {number}: it can be {} to {}", range.start(), range.end());
            return Err(Wrong::field("out_of_range", name, text));
        }
        Ok(Some(number))
    }

    pub fn need_number(&mut self, name: &str, range: RangeInclusive<u64>) -> Result<u64, Wrong> {
        self.number(name, range)?.ok_or_else(|| missing(name))
    }

    pub fn decimal(&mut self, name: &str) -> Result<Option<f64>, Wrong> {
        let Some(value) = self.value(name) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| of_type(name, "a number", &value))
    }

    pub fn object(&mut self, name: &str) -> Result<Option<Fields>, Wrong> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(fields)) => Ok(Some(Fields(fields))),
            Some(other) => Err(of_type(name, "an object", &other)),
        }
    }

    pub fn tokens(&mut self, name: &str) -> Result<Option<Vec<u32>>, Wrong> {
        let token = |value: &Value| value.as_u64().and_then(|token| u32::try_from(token).ok());
        self.list(name, "a token: a whole number below 2^32", token)
    }

    /// Keys of blocks: numbers, or hashes as hexadecimal text.
    pub fn keys(&mut self, name: &str) -> Result<Option<Vec<u64>>, Wrong> {
        self.list(name, "the hash of a block: a number below 2^64, or at least 16 hexadecimal digits", key_of)
    }

    fn list<T>(
        &mut self,
        name: &str,
        what: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>, Wrong> {
        let values = match self.value(name) {
            None => return Ok(None),
            Some(Value::Array(values)) => values,
            Some(other) => return Err(of_type(name, "an array", &other)),
        };
        let mut all = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            let Some(one) = read(value) else {
                let wrong = Wrong::field("invalid_type", name, format!("{name}[{index}] is not {what}"));
                return Err(Wrong { index: Some(index as u32), ..wrong });
            };
            all.push(one);
        }
        Ok(Some(all))
    }

    /// Passes over what others send along and nobody needs here.
    pub fn pass_over(&mut self, names: &[&str]) {
        names.iter().for_each(|name| drop(self.0.remove(*name)));
    }

    /// Refuses what is left.
    pub fn end(self) -> Result<(), Wrong> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                Err(Wrong::field("unknown_field", name, format!("there is no field {name:?} here")))
            }
        }
    }
}

fn key_of(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or(number.as_i64().map(|number| number as u64)),
        Value::String(digits) => {
            let digits = digits.strip_prefix("0x").unwrap_or(digits);
            let tail = digits.get(digits.len().checked_sub(16)?..)?;
            let is_hash = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let number = u64::from_str_radix(tail, 16).ok().filter(|_| is_hash)?;
            Some(number)
        }
        _ => None,
    }
}

pub fn missing(name: &str) -> Wrong {
    Wrong::field("missing", name, format!("{name} is missing"))
}

fn of_type(name: &str, wanted: &str, given: &Value) -> Wrong {
    let given = match given {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "another number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Wrong::field("invalid_type", name, format!("{name} is {given}: it has to be {wanted}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        match value {
            Value::Object(fields) => Fields(fields),
            _ => panic!("an object"),
        }
    }

    #[test]
    fn every_field_that_is_wrong_is_named_with_its_reason() {
        let mut all = fields(json!({
            "text": 1, "number": "1", "negative": -1, "large": 11, "tokens": [1, -1], "keys": [1, "ff"], "object": [],
        }));
        let cases = [
            (all.text("text").err(), "invalid_type", None),
            (all.need_text("absent").err(), "missing", None),
            (all.number("number", 0..=9).err(), "invalid_type", None),
            (all.number("negative", 0..=9).err(), "invalid_type", None),
            (all.number("large", 0..=9).err(), "out_of_range", None),
            (all.tokens("tokens").err(), "invalid_type", Some(1)),
            (all.keys("keys").err(), "invalid_type", Some(1)),
            (all.object("object").err(), "invalid_type", None),
        ];
        for (number, (wrong, reason, index)) in cases.into_iter().enumerate() {
            let wrong = wrong.unwrap_or_else(|| panic!("case {number}"));
            assert_eq!((wrong.reason, wrong.index), (reason, index), "{}", wrong.text);
        }
        assert!(all.end().is_ok());
        assert_eq!(fields(json!({ "more": 1 })).end().expect_err("unknown").reason, "unknown_field");
    }

    #[test]
    fn hashes_are_numbers_or_their_last_16_digits() {
        let mut all =
            fields(json!({ "keys": [18446744073709551615_u64, -1, "0x00000000000000ff", "a".repeat(64)] }));
        let keys = all.keys("keys").expect("hashes").expect("given");
        assert_eq!(keys, [u64::MAX, u64::MAX, 255, 0xaaaa_aaaa_aaaa_aaaa]);
    }
}
