//! Events as conductors read them: what Mooncake's RFC 1527 says, in MessagePack.

use std::time::{SystemTime, UNIX_EPOCH};

use mooncake::conductor::event::object_key;
use mooncake::store::master::Notice;
use rmp::encode as put;

/// Numbers events, and says whose they are.
pub struct Writer {
    backend: String,
    next: u64,
    /// Objects whose names say no block.
    pub unparsed: u64,
}

fn since_epoch() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Writing into memory does not fail.
macro_rules! sure {
    ($($result:expr),+ $(,)?) => {{
        $(let _ = $result;)+
    }};
}

impl Writer {
    pub fn new(backend: String) -> Writer {
        Writer { backend, next: 1, unparsed: 0 }
    }

    /// `[time, [event, ...], nil]`. With `is_whole` it begins by saying that nothing is there.
    pub fn batch(&mut self, notices: &[Notice], is_whole: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + notices.len() * 256);
        let now = since_epoch();
        sure!(
            put::write_array_len(&mut out, 3),
            put::write_f64(&mut out, now),
            put::write_array_len(&mut out, (notices.len() + usize::from(is_whole)) as u32),
        );
        if is_whole {
            self.head(&mut out, now, "cleared", 0);
        }
        for notice in notices {
            self.event(&mut out, now, notice);
        }
        sure!(put::write_nil(&mut out));
        out
    }

    fn event(&mut self, out: &mut Vec<u8>, now: f64, notice: &Notice) {
        let key = std::str::from_utf8(&notice.key);
        let parsed = key.ok().and_then(object_key::parse);
        self.unparsed += u64::from(parsed.is_none());
        let model = parsed.as_ref().map(|named| named.model).filter(|model| !model.is_empty());
        let group = parsed.as_ref().and_then(|named| named.group);
        let more = 3 + u32::from(model.is_some()) + u32::from(group.is_some());
        self.head(out, now, if notice.is_there { "stored" } else { "removed" }, more);
        sure!(put::write_str(out, "tenant_id"), put::write_str(out, &notice.tenant));
        sure!(put::write_str(out, "object_key"));
        match key {
            Ok(text) => sure!(put::write_str(out, text)),
            Err(_) => sure!(put::write_bin(out, &notice.key)),
        }
        sure!(put::write_str(out, "seq_hashes"), put::write_array_len(out, u32::from(parsed.is_some())),);
        if let Some(named) = &parsed {
            sure!(put::write_uint(out, named.key));
        }
        if let Some(model) = model {
            sure!(put::write_str(out, "model_name"), put::write_str(out, model));
        }
        if let Some(group) = group {
            sure!(put::write_str(out, "group_id"), put::write_uint(out, group.into()));
        }
    }

    /// What all events say, of a map with so many fields more.
    fn head(&mut self, out: &mut Vec<u8>, now: f64, kind: &str, more: u32) {
        sure!(
            put::write_map_len(out, 5 + more),
            put::write_str(out, "event_id"),
            put::write_uint(out, self.next),
            put::write_str(out, "timestamp"),
            put::write_uint(out, (now * 1000.0) as u64),
            put::write_str(out, "event_type"),
            put::write_str(out, kind),
            put::write_str(out, "backend_id"),
            put::write_str(out, &self.backend),
            put::write_str(out, "medium"),
            put::write_str(out, "cpu"),
        );
        self.next += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mooncake::conductor::event::{Change, decode};

    #[test]
    fn conductors_read_what_is_written() {
        let hash = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeef1";
        let notice = |key: &[u8], is_there| Notice { tenant: "t".into(), key: key.into(), is_there };
        let mut writer = Writer::new("host:1".into());
        let notices = [
            notice(format!("org/m@4@{hash}@0").as_bytes(), true),
            notice(hash.as_bytes(), false),
            notice(b"weights", true),
            notice(b"\xff\0", true),
        ];
        let payload = writer.batch(&notices, true);
        assert_eq!(writer.unparsed, 2);
        let batch = decode(&payload).expect("sound");
        let first = &batch.events[0];
        assert_eq!((first.change, first.instance), (Change::Cleared, Some("host:1")));
        let [_, stored, removed, ..] = &batch.events[..] else { panic!("{batch:?}") };
        assert_eq!((stored.change, stored.model, stored.group), (Change::Stored, Some("org/m"), Some(4)));
        assert_eq!((batch.keys(stored), stored.tenant), (&[0x8899_aabb_ccdd_eef1][..], Some("t")));
        assert_eq!((removed.change, batch.keys(removed)), (Change::Removed, &[0x0011_2233_4455_6677][..]));
        assert_eq!(batch.events.len() + batch.skipped, 5);
    }
}
