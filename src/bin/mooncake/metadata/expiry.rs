//! Which engines are dead: those whose published address has refused connections, or been silent, for long enough.
//!
//! Mooncake's engines publish their address once and never again, so that silence of the metadata says nothing; but
//! their peers reach them at that address or not at all. A connection that is accepted is life. One that is refused
//! comes from a host that is up and has nobody there. No answer counts only while others answer: when none does, it is
//! more likely this server that is cut off.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An engine that does not accept a connection within this time is silent.
const PROBE_WITHIN: Duration = Duration::from_secs(2);
/// Fewest probes in a row that must fail.
const PROBES_MIN: u32 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Alive,
    Refused,
    Silent,
}

/// A key of the kind ".../rpc_meta/NAME" and what is published there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub key: String,
    pub value: Vec<u8>,
}

/// Engines that did not answer lately.
#[derive(Default)]
pub struct Watch {
    suspects: HashMap<String, Suspect>,
}

struct Suspect {
    value: Vec<u8>,
    since: Instant,
    probes: u32,
}

impl Watch {
    /// Takes the signs of one round, and returns who has shown no life for so long.
    pub fn judge(
        &mut self,
        signs: Vec<(Published, Sign)>,
        lasting: Duration,
        now: Instant,
    ) -> Vec<Published> {
        let somebody_answers = signs.iter().any(|(_, sign)| *sign == Sign::Alive);
        let mut before = std::mem::take(&mut self.suspects);
        let mut dead = Vec::new();
        for (published, sign) in signs {
            if sign == Sign::Alive || (sign == Sign::Silent && !somebody_answers) {
                continue;
            }
            let known = before.remove(&published.key).filter(|suspect| suspect.value == published.value);
            let mut suspect =
                known.unwrap_or_else(|| Suspect { value: published.value.clone(), since: now, probes: 0 });
            suspect.probes += 1;
            if suspect.probes >= PROBES_MIN && now.saturating_duration_since(suspect.since) >= lasting {
                dead.push(published);
            } else {
                self.suspects.insert(published.key, suspect);
            }
        }
        dead
    }
}

/// Asks an address whether anybody is there; `None` when the value names no address.
pub async fn probe(value: &[u8]) -> Option<Sign> {
    let (host, port) = address_of(value)?;
    Some(match timeout(PROBE_WITHIN, TcpStream::connect((host.as_str(), port))).await {
        Ok(Ok(_)) => Sign::Alive,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => Sign::Refused,
        Ok(Err(_)) | Err(_) => Sign::Silent,
    })
}

fn address_of(value: &[u8]) -> Option<(String, u16)> {
    let json: Value = serde_json::from_slice(value).ok()?;
    let host = json["ip_or_host_name"].as_str().filter(|host| !host.is_empty())?;
    let port = u16::try_from(json["rpc_port"].as_u64()?).ok().filter(|port| *port != 0)?;
    Some((host.trim_matches(['[', ']']).to_owned(), port))
}

/// Whether a key is one of those under which engines publish their address.
pub fn is_address(key: &str) -> bool {
    key.starts_with("rpc_meta/") || key.contains("/rpc_meta/")
}

/// What else a dead engine has published: the description of its memory.
pub fn segment_of(key: &str) -> Option<String> {
    if let Some(name) = key.strip_prefix("rpc_meta/") {
        return Some(format!("ram/{name}"));
    }
    let (place, name) = key.split_once("/rpc_meta/")?;
    Some(format!("{place}/ram/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LASTING: Duration = Duration::from_secs(10);

    fn sign(key: &str, value: &[u8], sign: Sign) -> (Published, Sign) {
        (Published { key: key.to_owned(), value: value.to_vec() }, sign)
    }

    /// Rounds of signs, each so many seconds after the beginning; who was found dead in the last one.
    fn after(rounds: &[(u64, Vec<(Published, Sign)>)]) -> Vec<String> {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let mut dead = Vec::new();
        for (seconds, signs) in rounds {
            dead = watch.judge(signs.clone(), LASTING, start + Duration::from_secs(*seconds));
        }
        dead.into_iter().map(|published| published.key).collect()
    }

    #[test]
    fn who_is_refused_long_enough_is_dead() {
        let refused = || vec![sign("a", b"1", Sign::Refused)];
        assert_eq!(after(&[(0, refused()), (5, refused()), (10, refused())]), ["a"]);
        assert!(after(&[(0, refused()), (5, refused()), (9, refused())]).is_empty());
        assert!(after(&[(0, refused()), (10, refused())]).is_empty(), "too few probes");
    }

    #[test]
    fn one_sign_of_life_or_another_address_begins_anew() {
        let refused = |value: &[u8]| vec![sign("a", value, Sign::Refused)];
        let alive = vec![sign("a", b"1", Sign::Alive)];
        assert!(after(&[(0, refused(b"1")), (5, alive), (9, refused(b"1")), (12, refused(b"1"))]).is_empty());
        assert!(after(&[(0, refused(b"1")), (5, refused(b"1")), (10, refused(b"2"))]).is_empty());
    }

    #[test]
    fn silence_counts_only_while_others_answer() {
        let silent = || vec![sign("a", b"1", Sign::Silent), sign("b", b"1", Sign::Silent)];
        let one_answers = || vec![sign("a", b"1", Sign::Silent), sign("b", b"1", Sign::Alive)];
        assert!(after(&[(0, silent()), (5, silent()), (10, silent()), (20, silent())]).is_empty());
        assert_eq!(after(&[(0, one_answers()), (5, one_answers()), (10, one_answers())]), ["a"]);
        assert!(
            after(&[(0, one_answers()), (5, silent()), (10, one_answers()), (12, one_answers())]).is_empty()
        );
    }

    #[test]
    fn an_address_is_read_as_mooncake_writes_it_and_nothing_else_is() {
        let read = |text: &str| address_of(text.as_bytes());
        assert_eq!(read(r#"{"ip_or_host_name": "::1", "rpc_port": 7}"#), Some(("::1".to_owned(), 7)));
        for text in [
            "",
            "null",
            "[]",
            r#"{"rpc_port":7}"#,
            r#"{"ip_or_host_name":"h","rpc_port":70000}"#,
            r#"{"ip_or_host_name":"","rpc_port":7}"#,
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(
            is_address("mooncake/rpc_meta/h:1")
                && is_address("mooncake/c/rpc_meta/h")
                && !is_address("mooncake/ram/h")
        );
        assert_eq!(segment_of("mooncake/c/rpc_meta/h:1").as_deref(), Some("mooncake/c/ram/h:1"));
    }
}
