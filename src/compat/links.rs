//! What there is to see of an engine: itself, its cards, and the peers that it has open.

use serde_json::{Value, json};

use super::Session;

impl Session {
    pub fn links_json(&self) -> String {
        let info = self.engine.info();
        json!({
            "engine": {
                "name": info.name,
                "address": self.address(),
                "id": info.engine_id,
                "paths": info.transports.split(',').collect::<Vec<_>>(),
                "transports": self.transports.names(),
            },
            "nics": self.topology.cards(),
            "topology": self.topology.to_json(),
            "links": self.links(),
        })
        .to_string()
    }

    pub fn links_text(&self) -> String {
        let info = self.engine.info();
        let mut text = format!(
            "engine {} at {}\ntransports: {}\nnics: {}\ntopology: {}\n",
            info.name,
            self.address(),
            or_none(&self.transports.names().join(", ")),
            or_none(&self.topology.cards().join(", ")),
            self.topology.to_json(),
        );
        for link in self.links() {
            let field = |name: &str| link[name].as_str().unwrap_or_default().to_owned();
            text.push_str(&format!(
                "link {}: {} ({}) by {}, {} regions\n",
                link["segment"],
                field("name"),
                field("address"),
                field("path"),
                link["regions"]
            ));
        }
        text
    }

    fn links(&self) -> Vec<Value> {
        let list = self.segments.list().into_iter();
        list.filter_map(|(id, name, segment)| {
            // Closed at this moment by another thread: not worth a line.
            let info = self.engine.segment_info(segment).ok()?;
            Some(json!({
                "segment": id,
                "name": name,
                "engine": info.name,
                "address": info.address,
                "path": info.path,
                "regions": info.region_count,
                "bytes": info.total_bytes,
            }))
        })
        .collect()
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}
