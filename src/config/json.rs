//! The effective configuration as JSON.

use serde_json::{Map, Value as Json, json};

use super::layer::{Layers, Origin};
use super::setting::{SETTINGS, Value};
use super::url::without_password;

pub fn dump(layers: &Layers) -> String {
    let mut all = Map::new();
    for setting in SETTINGS {
        let (value, origin) = match layers.get(setting.key) {
            None => (Json::Null, &Origin::Default),
            Some((value, origin)) => (json(value), origin),
        };
        let mut one = json!({ "value": value, "source": origin.word() });
        match origin {
            Origin::File(path) => one["from"] = json!(path.as_ref()),
            Origin::Environment(variable) => one["from"] = json!(variable),
            Origin::Default | Origin::Options => {}
        }
        all.insert(setting.key.to_owned(), one);
    }
    Json::Object(all).to_string()
}

fn json(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!(without_password(text)),
        Value::Number(number) => json!(number),
        Value::Flag(flag) => json!(flag),
        Value::Secret(bytes) => json!(format!("{} bytes", bytes.len())),
    }
}
