//! Metadata behind an HTTP server: `mooncake metadata`, or one of Mooncake's own.
//!
//! A value is got, put and deleted at URL?key=KEY. Our server also lists keys (?prefix=) and knows claims, which travel
//! in headers that other servers do not read; there the rule for claims is the server's own: it refuses a second value
//! for a key with "rpc_meta" in it, and replaces all others.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{Request, StatusCode};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig};

use super::claims::{Claims, Keeper, owner};
use super::{ANSWER_WITHIN, CONNECT_WITHIN, KEY_MAX, LIST_MAX, MetadataBackend, VALUE_MAX, check};
use crate::config::url::{Url, encode};
use crate::error::{Code, Error, Result};
use crate::sys::tls::Tls;
use crate::{bail, fail};

/// Who claims, in requests; "granted" in answers of a server that knows claims.
const CLAIM: &str = "mooncake-claim";
/// How long the claim lives without renewal, in milliseconds; 0 gives it back.
const CLAIM_LIVES_MS: &str = "mooncake-claim-lives-ms";
/// Longest answer that is a list of keys.
const LIST_BYTES_MAX: usize = 64 << 20;
/// What of an answer's text goes into an error.
const QUOTED_MAX: usize = 200;
/// Connections that are kept for the next request.
const IDLE_MAX: usize = 2;
const HEAD_MAX: usize = 32 << 10;

/// A handle to one server.
pub struct Http {
    server: Arc<Server>,
    claims: Claims,
}

struct Server {
    agent: ureq::Agent,
    /// Without "?key=".
    base: String,
    shown: String,
    owner: String,
    claim_lives: Duration,
}

/// What a server said.
struct Answer {
    status: StatusCode,
    /// It took note of the claim.
    granted: bool,
    body: Vec<u8>,
}

impl Http {
    pub fn open(url: &Url, claim_lives: Duration) -> Result<Http> {
        let server = Arc::new(Server::new(url, claim_lives)?);
        server.probe()?;
        let claims = Claims::new(server.clone(), claim_lives);
        Ok(Http { server, claims })
    }
}

impl MetadataBackend for Http {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        check(key, &[])?;
        let answer = self.server.ask("GET", key, None, None)?;
        match answer.status {
            StatusCode::OK if answer.body.len() > VALUE_MAX => {
                bail!(
                    Corrupted,
                    "the value of {key:?} at {} is larger than any: {VALUE_MAX} bytes",
                    self.server.shown
                )
            }
            StatusCode::OK => Ok(Some(answer.body)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.server.refused("reading", key, &answer)),
        }
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        check(key, value)?;
        let answer = self.server.ask("PUT", key, Some(value), None)?;
        if !answer.is_duplicate() {
            return self.server.accepted("writing", key, &answer);
        }
        // This server keeps the first value of such a key until it is removed.
        self.server.accepted_removal(key, &self.server.ask("DELETE", key, None, None)?)?;
        let answer = self.server.ask("PUT", key, Some(value), None)?;
        self.server.accepted("writing", key, &answer)
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<()> {
        check(key, value)?;
        let server = &self.server;
        let mut is_free = false;
        self.claims.take(key, || {
            let answer = server.ask("PUT", key, Some(value), Some(server.claim_lives))?;
            is_free = if answer.status == StatusCode::CONFLICT {
                false
            } else if answer.is_duplicate() {
                server.ask("GET", key, None, None)?.body == value
            } else {
                server.accepted("claiming", key, &answer)?;
                true
            };
            Ok(answer.granted)
        })?;
        if !is_free {
            bail!(
                AlreadyExists,
                "{key:?} is taken at {}; if its owner is gone, remove it there",
                server.shown
            );
        }
        Ok(())
    }

    fn remove(&self, key: &str) -> Result<()> {
        check(key, &[])?;
        self.claims.end(key, || {
            let answer = self.server.ask("DELETE", key, None, Some(Duration::ZERO))?;
            self.server.accepted_removal(key, &answer)
        })
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let server = &self.server;
        let answer =
            server.exchange("GET", &format!("?prefix={}", encode(prefix)), None, None, LIST_BYTES_MAX)?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED => {
                bail!(Unsupported, "{} cannot list keys: `mooncake metadata` can", server.shown)
            }
            _ => return Err(server.refused("listing", prefix, &answer)),
        }
        let keys: BTreeSet<String> = serde_json::from_slice(&answer.body).map_err(|error| {
            fail!(VersionMismatch, "{} does not answer with a list: {error}", server.shown)
        })?;
        if keys.len() > LIST_MAX {
            bail!(Exhausted, "{} has more than {LIST_MAX} keys that begin with {prefix:?}", server.shown);
        }
        Ok(keys.into_iter().filter(|key| key.starts_with(prefix)).collect())
    }
}

impl Keeper for Server {
    fn renew(&self, key: &str) -> Result<bool> {
        let answer = self.ask("POST", key, Some(&[]), Some(self.claim_lives))?;
        if answer.status == StatusCode::CONFLICT {
            return Ok(false);
        }
        self.accepted("claiming", key, &answer).map(|()| true)
    }

    fn release(&self, key: &str) -> Result<()> {
        let answer = self.ask("POST", key, Some(&[]), Some(Duration::ZERO))?;
        if answer.status == StatusCode::CONFLICT {
            Ok(())
        } else {
            self.accepted("giving back", key, &answer)
        }
    }
}

impl Server {
    fn new(url: &Url, claim_lives: Duration) -> Result<Server> {
        let is_secure = url.scheme == "https";
        url.only_options(if is_secure { &["ca", "cert", "key"] } else { &[] })?;
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A cluster's own server is not behind the way out to the internet that proxy variables describe.
            .proxy(None)
            .timeout_connect(Some(CONNECT_WITHIN))
            .timeout_global(Some(ANSWER_WITHIN))
            .max_response_header_size(HEAD_MAX)
            .max_idle_connections(IDLE_MAX)
            .max_idle_connections_per_host(IDLE_MAX);
        if is_secure {
            let tls = Tls::read(url.option("ca"), url.option("cert"), url.option("key"))?;
            config = config.tls_config(tls_config(&tls)?);
        }
        let login = match (&url.user, &url.password) {
            (None, None) => String::new(),
            (user, password) => format!(
                "{}:{}@",
                encode(user.as_deref().unwrap_or_default()),
                encode(password.as_deref().unwrap_or_default())
            ),
        };
        let host = url.host()?.with_port(if is_secure { 443 } else { 80 });
        let path: Vec<String> = url.path.split('/').map(encode).collect();
        Ok(Server {
            agent: config.build().new_agent(),
            base: format!("{}://{login}{host}/{}", url.scheme, path.join("/")),
            shown: url.to_string(),
            owner: owner(),
            claim_lives,
        })
    }

    /// Every server of this kind answers a request without a key, and says that there is none.
    fn probe(&self) -> Result<()> {
        let answer = self.exchange("GET", "", None, None, VALUE_MAX)?;
        match answer.status {
            StatusCode::BAD_REQUEST | StatusCode::OK => Ok(()),
            StatusCode::NOT_FOUND => {
                bail!(
                    NotFound,
                    "{} does not exist on that server: metadata is usually at /metadata",
                    self.shown
                )
            }
            _ => Err(self.refused("opening", "", &answer)),
        }
    }

    fn ask(&self, method: &str, key: &str, body: Option<&[u8]>, claim: Option<Duration>) -> Result<Answer> {
        self.exchange(method, &format!("?key={}", encode(key)), body, claim, VALUE_MAX)
    }

    fn exchange(
        &self,
        method: &str,
        query: &str,
        body: Option<&[u8]>,
        claim: Option<Duration>,
        answer_max: usize,
    ) -> Result<Answer> {
        let once = || self.exchange_once(method, query, body, claim, answer_max);
        match once() {
            // The server may have closed a connection that was kept. Each request may be repeated.
            Err(error) if error.code == Code::ConnectionLost => once(),
            other => other,
        }
    }

    fn exchange_once(
        &self,
        method: &str,
        query: &str,
        body: Option<&[u8]>,
        claim: Option<Duration>,
        answer_max: usize,
    ) -> Result<Answer> {
        let mut request = Request::builder().method(method).uri(format!("{}{query}", self.base));
        if let Some(lives) = claim {
            request =
                request.header(CLAIM, &self.owner).header(CLAIM_LIVES_MS, lives.as_millis().to_string());
        }
        let failed = |error| failure(&self.shown, error);
        let response = match body {
            Some(body) => {
                let request = request.header("content-type", "application/json").body(body);
                self.agent.run(request.map_err(|error| failed(error.into()))?)
            }
            None => self.agent.run(request.body(()).map_err(|error| failed(error.into()))?),
        };
        let response = response.map_err(failed)?;
        let status = response.status();
        let granted = response.headers().get(CLAIM).is_some_and(|value| value == "granted");
        let limit = answer_max as u64 + 1;
        let body = response.into_body().into_with_config().limit(limit).read_to_vec().map_err(failed)?;
        Ok(Answer { status, granted, body })
    }

    fn accepted(&self, doing: &str, key: &str, answer: &Answer) -> Result<()> {
        if answer.status.is_success() { Ok(()) } else { Err(self.refused(doing, key, answer)) }
    }

    fn accepted_removal(&self, key: &str, answer: &Answer) -> Result<()> {
        if answer.status == StatusCode::NOT_FOUND { Ok(()) } else { self.accepted("removing", key, answer) }
    }

    fn refused(&self, doing: &str, key: &str, answer: &Answer) -> Error {
        let code = match answer.status {
            StatusCode::UNAUTHORIZED => Code::Unauthenticated,
            StatusCode::FORBIDDEN => Code::Permission,
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::INSUFFICIENT_STORAGE => Code::NoSpace,
            StatusCode::TOO_MANY_REQUESTS => Code::Busy,
            status if status.is_server_error() => Code::NotReady,
            _ => Code::Rejected,
        };
        let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(QUOTED_MAX)]);
        let text = text.trim().escape_debug();
        Error::new(code, format!("{doing} {key:?} at {}: it answers {}: {text}", self.shown, answer.status))
    }
}

impl Answer {
    /// How Mooncake's servers refuse to replace a value.
    fn is_duplicate(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST && self.body.starts_with(b"Duplicate")
    }
}

fn tls_config(tls: &Tls) -> Result<TlsConfig> {
    let pem = |error| fail!(InvalidArgument, "reading certificates: {error}");
    let certificates = |bytes: &[u8]| -> Vec<Certificate<'static>> {
        let items = ureq::tls::parse_pem(bytes).flatten();
        items
            .filter_map(|item| if let PemItem::Certificate(found) = item { Some(found) } else { None })
            .collect()
    };
    let identity = match &tls.identity {
        Some((chain, key)) => {
            let key = PrivateKey::from_pem(key).map_err(pem)?;
            Some(ClientCert::new_with_certs(&certificates(chain), key))
        }
        None => None,
    };
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates(&tls.authorities)))
        .client_cert(identity)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build())
}

/// What a request that got no answer means for the caller.
fn failure(shown: &str, error: ureq::Error) -> Error {
    let (code, advice) = match &error {
        ureq::Error::Timeout(_) => (Code::Timeout, "is the server overloaded, or stopped?"),
        ureq::Error::HostNotFound => (Code::Unreachable, "is the name right?"),
        ureq::Error::ConnectionFailed => (Code::Unreachable, "is the server running there?"),
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                (Code::Unreachable, "is the server running there?")
            }
            ErrorKind::TimedOut | ErrorKind::WouldBlock => {
                (Code::Timeout, "is the server overloaded, or stopped?")
            }
            ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                (Code::Unauthenticated, "give the authority that signed its certificate with ?ca=FILE")
            }
            _ => (Code::ConnectionLost, "is it an HTTP server?"),
        },
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::Pem(_) => {
            (Code::Unauthenticated, "give the authority that signed its certificate with ?ca=FILE")
        }
        ureq::Error::BodyExceedsLimit(_) | ureq::Error::LargeResponseHeader(..) => {
            (Code::Corrupted, "no metadata server answers with so much")
        }
        _ => (Code::VersionMismatch, "is it an HTTP server?"),
    };
    Error::new(code, format!("asking {shown}: {error}; {advice}"))
}

// Keys and their prefix fit into what servers take for a request line.
const _: () = assert!(KEY_MAX * 3 < 8000);
