//! What Mooncake's engines tell of themselves: keys in a metadata service, and the JSON of a segment. Pure.

use serde_json::{Map, Value, json};

use super::descriptor::{EngineId, MAX_REGIONS, RegionRecord, SegmentRecord};
use super::memory::{REMOTE_READ, REMOTE_WRITE};
use crate::error::Result;
use crate::{bail, fail};

/// The newest data protocol; without the field it is 1.
pub const PROTOCOL_VERSION: u64 = 2;
/// The field by which engines of this library know one another; Mooncake ignores it.
const NATIVE: &str = "mc_engine";
/// Most addresses that a native peer tells.
const MAX_ADDRESSES: usize = 64;
const NAME_MAX: usize = 1024;

/// Where the segment of that name is published.
pub fn segment_key(cluster: Option<&str>, name: &str) -> String {
    match name.contains('/') {
        // Such as "nvmeof/x": the name says where.
        true => format!("{}{name}", prefix(cluster)),
        false => format!("{}ram/{name}", prefix(cluster)),
    }
}

/// Where the address of the handshake daemon of that engine is published.
pub fn rpc_key(cluster: Option<&str>, name: &str) -> String {
    format!("{}rpc_meta/{name}", prefix(cluster))
}

fn prefix(cluster: Option<&str>) -> String {
    match cluster.map(|cluster| cluster.trim_matches('/')).filter(|cluster| !cluster.is_empty()) {
        Some(cluster) => format!("mooncake/{cluster}/"),
        None => "mooncake/".to_owned(),
    }
}

/// Where an engine takes handshakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcAddress {
    pub host: String,
    pub port: u16,
}

impl RpcAddress {
    pub fn to_json(&self) -> Value {
        json!({"ip_or_host_name": self.host, "rpc_port": self.port})
    }

    pub fn from_json(text: &[u8]) -> Result<RpcAddress> {
        let value = parse(text, "an rpc_meta entry")?;
        let host = text_of(&value, "ip_or_host_name")?;
        let port = port_of(&value, "rpc_port")?;
        if host.is_empty() || port == 0 {
            bail!(Rejected, "the rpc_meta entry names no host or port");
        }
        Ok(RpcAddress { host: bare_host(&host).to_owned(), port })
    }

    /// "host:port", as names of segments without a metadata service are.
    pub fn parse(name: &str) -> Option<RpcAddress> {
        let (host, port) = name.rsplit_once(':')?;
        let host = bare_host(host);
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty()).then(|| RpcAddress { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for RpcAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

fn bare_host(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// A range that an engine offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    pub address: u64,
    pub length: u64,
}

/// The engine of this library behind a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Native {
    pub id: EngineId,
    pub addresses: Vec<String>,
}

/// A segment whose bytes go over Mooncake's TCP protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MooncakeSegment {
    pub name: String,
    /// Where its bytes are, when that is not the host of its name.
    pub data_host: Option<String>,
    pub data_port: u16,
    pub protocol_version: u64,
    pub buffers: Vec<Buffer>,
    pub native: Option<Native>,
}

impl MooncakeSegment {
    /// As Mooncake writes it: an object with a line feed after it, `timestamp` in local form.
    pub fn to_json(&self, timestamp: &str) -> Value {
        let buffer =
            |buffer: &Buffer| json!({"name": self.name, "addr": buffer.address, "length": buffer.length});
        let mut value = json!({
            "name": self.name,
            "protocol": "tcp",
            "rdma_server_name": "",
            "tcp_data_host": self.data_host.as_deref().unwrap_or_default(),
            "tcp_data_port": self.data_port,
            "tcp_proto_version": self.protocol_version,
            "timestamp": timestamp,
            "buffers": self.buffers.iter().map(buffer).collect::<Vec<_>>(),
        });
        if let (Some(native), Some(fields)) = (&self.native, value.as_object_mut()) {
            let field = json!({"version": 1, "id": native.id.to_string(), "addresses": native.addresses});
            fields.insert(NATIVE.to_owned(), field);
        }
        value
    }

    /// Takes a peer's word apart; unknown fields are skipped, what cannot be true is refused.
    pub fn from_json(text: &[u8]) -> Result<MooncakeSegment> {
        let value = parse(text, "a segment")?;
        let name = text_of(&value, "name")?;
        let native = native_of(&value)?;
        if !speaks_tcp(&value) && native.is_none() {
            bail!(
                Unsupported,
                "its segment is for protocol {}; only tcp is spoken with Mooncake's engines",
                value.get("protocol").map_or_else(|| "unknown".to_owned(), Value::to_string)
            );
        }
        let data_port = port_of(&value, "tcp_data_port")?;
        if data_port == 0 && native.is_none() {
            bail!(Unsupported, "its segment names no tcp_data_port");
        }
        let protocol_version = match value.get("tcp_proto_version") {
            None => 1,
            Some(version) => version
                .as_u64()
                .filter(|version| *version > 0)
                .ok_or_else(|| fail!(Rejected, "tcp_proto_version is {version}"))?,
        };
        let data_host = match value.get("tcp_data_host") {
            None => None,
            Some(_) => Some(text_of(&value, "tcp_data_host")?).filter(|host| !host.is_empty()),
        };
        Ok(MooncakeSegment {
            name,
            data_host,
            data_port,
            protocol_version,
            buffers: buffers_of(&value)?,
            native,
        })
    }

    /// The same in the words of this library. Mooncake knows no keys: each buffer gets its number.
    pub fn to_record(&self, id: EngineId) -> SegmentRecord {
        let region = |(index, buffer): (usize, &Buffer)| RegionRecord {
            address: buffer.address,
            length: buffer.length,
            key: index as u64 + 1,
            permissions: REMOTE_READ | REMOTE_WRITE,
            location: "*".to_owned(),
            is_mappable: false,
        };
        SegmentRecord {
            engine_id: id.0.to_vec(),
            name: self.name.clone(),
            addresses: Vec::new(),
            regions: self.buffers.iter().enumerate().map(region).collect(),
            version: 0,
        }
    }
}

/// JSON as the other side may send it: of bounded depth, an object, anything else refused.
fn parse(text: &[u8], what: &str) -> Result<Map<String, Value>> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::Null) => bail!(NotFound, "the peer has nothing to tell: null instead of {what}"),
        Ok(_) => bail!(Rejected, "{what} is no JSON object"),
        Err(error) => bail!(Rejected, "{what} is no JSON: {error}"),
    }
}

fn text_of(value: &Map<String, Value>, key: &str) -> Result<String> {
    match value.get(key) {
        Some(Value::String(text)) if text.len() <= NAME_MAX => Ok(text.clone()),
        Some(Value::String(text)) => bail!(Rejected, "{key} has {} bytes", text.len()),
        None => bail!(Rejected, "{key} is missing"),
        Some(_) => bail!(Rejected, "{key} is no text"),
    }
}

fn port_of(value: &Map<String, Value>, key: &str) -> Result<u16> {
    match value.get(key) {
        None => Ok(0),
        Some(port) => port
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
            .ok_or_else(|| fail!(Rejected, "{key} is {port}")),
    }
}

fn speaks_tcp(value: &Map<String, Value>) -> bool {
    match value.get("protocol") {
        Some(Value::String(protocol)) => protocol == "tcp",
        Some(Value::Array(protocols)) => protocols.iter().any(|protocol| protocol == "tcp"),
        _ => false,
    }
}

fn buffers_of(value: &Map<String, Value>) -> Result<Vec<Buffer>> {
    let listed = match value.get("buffers") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(listed)) => listed,
        Some(_) => bail!(Rejected, "buffers is no list"),
    };
    if listed.len() > MAX_REGIONS {
        bail!(Rejected, "{} buffers: at most {MAX_REGIONS}", listed.len());
    }
    // Of a peer with several protocols each buffer says for which one it is.
    let is_for_tcp =
        |buffer: &&Value| buffer.get("protocol").is_none_or(|protocol| protocol == "tcp" || protocol == "");
    listed.iter().filter(is_for_tcp).map(buffer_of).collect()
}

fn buffer_of(value: &Value) -> Result<Buffer> {
    let number = |key: &str| {
        let number = value.get(key).and_then(Value::as_u64);
        number.ok_or_else(|| fail!(Rejected, "a buffer without a number for {key}"))
    };
    let buffer = Buffer { address: number("addr")?, length: number("length")? };
    if buffer.length == 0 || buffer.address.checked_add(buffer.length).is_none() {
        bail!(Rejected, "an impossible buffer of {} bytes at {:#x}", buffer.length, buffer.address);
    }
    Ok(buffer)
}

fn native_of(value: &Map<String, Value>) -> Result<Option<Native>> {
    let Some(field) = value.get(NATIVE) else { return Ok(None) };
    // A later version is not for us: then its engine is met as Mooncake's is.
    if field.get("version").and_then(Value::as_u64) != Some(1) {
        return Ok(None);
    }
    let id = field.get("id").and_then(Value::as_str).and_then(id_of);
    let addresses =
        field.get("addresses").and_then(Value::as_array).filter(|list| list.len() <= MAX_ADDRESSES);
    let (Some(id), Some(addresses)) = (id, addresses) else { bail!(Rejected, "{NATIVE} cannot be read") };
    let text = |address: &Value| address.as_str().filter(|text| text.len() <= 300).map(str::to_owned);
    let addresses: Option<Vec<String>> = addresses.iter().map(text).collect();
    let addresses = addresses.ok_or_else(|| fail!(Rejected, "{NATIVE} has an address that is no text"))?;
    Ok(Some(Native { id, addresses }))
}

fn id_of(text: &str) -> Option<EngineId> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut id = [0; 16];
    for (index, byte) in id.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[index * 2..index * 2 + 2], 16).ok()?;
    }
    Some(EngineId(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment() -> MooncakeSegment {
        MooncakeSegment {
            name: "10.0.0.2:15011".into(),
            data_host: None,
            data_port: 16001,
            protocol_version: 2,
            buffers: vec![Buffer { address: 0x7f00_0000_0000, length: 4096 }],
            native: None,
        }
    }

    fn refused(text: &str) -> String {
        MooncakeSegment::from_json(text.as_bytes()).expect_err(text).message().to_owned()
    }

    #[test]
    fn keys_are_those_of_mooncake() {
        assert_eq!(segment_key(None, "a:1"), "mooncake/ram/a:1");
        assert_eq!(segment_key(Some("c"), "a:1"), "mooncake/c/ram/a:1");
        assert_eq!(segment_key(Some(""), "nvmeof/x"), "mooncake/nvmeof/x");
        assert_eq!(rpc_key(Some("c/"), "a:1"), "mooncake/c/rpc_meta/a:1");
        assert_eq!(rpc_key(None, "a"), "mooncake/rpc_meta/a");
    }

    #[test]
    fn a_segment_has_the_fields_of_mooncake() {
        let told = segment().to_json("2026-11-21 15:00:00.000001");
        let expected = r#"{"buffers":[{"addr":139637976727552,"length":4096,"name":"10.0.0.2:15011"}],"name":"10.0.0.2:15011","protocol":"tcp","rdma_server_name":"","tcp_data_host":"","tcp_data_port":16001,"tcp_proto_version":2,"timestamp":"2026-11-21 15:00:00.000001"}"#;
        assert_eq!(told.to_string(), expected);
        assert_eq!(MooncakeSegment::from_json(expected.as_bytes()).expect("its own"), segment());
    }

    #[test]
    fn a_native_engine_is_known_by_its_extra_field() {
        let native = Native { id: EngineId([0xab; 16]), addresses: vec!["10.0.0.2:4".into()] };
        let with = MooncakeSegment { native: Some(native), ..segment() };
        let text = with.to_json("").to_string();
        assert_eq!(MooncakeSegment::from_json(text.as_bytes()).expect("its own"), with);
        let later = text.replace("\"version\":1", "\"version\":9");
        assert_eq!(MooncakeSegment::from_json(later.as_bytes()).expect("a later one"), segment());
    }

    #[test]
    fn what_old_and_multi_protocol_peers_leave_out_or_add_is_understood() {
        let old = r#"{"name":"a","protocol":"tcp","tcp_data_port":7,"buffers":[{"name":"a","addr":1,"length":2,"x":[]}]}"#;
        let old = MooncakeSegment::from_json(old.as_bytes()).expect("an old one");
        assert_eq!((old.protocol_version, old.buffers.len()), (1, 1));
        let many = r#"{"name":"a","protocol":["rdma","tcp"],"tcp_data_port":7,"tcp_proto_version":2,
            "buffers":[{"addr":1,"length":2,"protocol":"rdma"},{"addr":9,"length":2,"protocol":"tcp"}]}"#;
        let many = MooncakeSegment::from_json(many.as_bytes()).expect("several protocols");
        assert_eq!(many.buffers, [Buffer { address: 9, length: 2 }]);
    }

    #[test]
    fn what_cannot_be_true_is_refused_with_its_reason() {
        let base = segment().to_json("").to_string();
        for (from, to, reason) in [
            ("\"tcp_data_port\":16001", "\"tcp_data_port\":70000", "tcp_data_port is 70000"),
            ("\"tcp_data_port\":16001", "\"tcp_data_port\":0", "names no tcp_data_port"),
            ("\"tcp_data_port\":16001", "\"tcp_data_port\":{}", "tcp_data_port is {}"),
            ("\"tcp_proto_version\":2", "\"tcp_proto_version\":-2", "tcp_proto_version is -2"),
            ("\"protocol\":\"tcp\"", "\"protocol\":\"rdma\"", "protocol \"rdma\""),
            ("139637976727552", "18446744073709551615", "impossible buffer"),
            ("\"length\":4096", "\"length\":0", "impossible buffer"),
            ("\"length\":4096", "\"length\":-1", "number for length"),
            ("\"name\":\"10.0.0.2:15011\",\"protocol\"", "\"name\":{},\"protocol\"", "name is no text"),
        ] {
            let text = base.replace(from, to);
            assert_ne!(text, base, "{from}");
            assert!(refused(&text).contains(reason), "{to}: {}", refused(&text));
        }
        assert!(refused("null").contains("nothing to tell"));
        assert!(refused("[]").contains("no JSON object"));
        assert!(refused("{").contains("no JSON"));
        assert!(refused(&"[".repeat(100_000)).contains("no JSON"));
        assert!(
            refused("{\"name\":\"a\",\"protocol\":\"tcp\",\"tcp_data_port\":7,\"buffers\":3}")
                .contains("no list")
        );
    }

    #[test]
    fn rpc_addresses_have_brackets_outside_and_none_inside() {
        for (text, host) in [("a.b:15001", "a.b"), ("[::1]:15001", "::1"), ("10.0.0.1:15001", "10.0.0.1")] {
            let address = RpcAddress::parse(text).expect(text);
            assert_eq!((address.host.as_str(), address.port), (host, 15001));
            assert_eq!(address.to_string(), text);
            let json = address.to_json().to_string();
            assert_eq!(RpcAddress::from_json(json.as_bytes()).expect("its own"), address);
        }
        assert!(RpcAddress::parse("a").is_none() && RpcAddress::parse("a:0").is_none());
        assert!(RpcAddress::parse(":1").is_none() && RpcAddress::parse("a:x").is_none());
    }
}
