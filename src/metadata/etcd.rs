//! Metadata in etcd: a key is a key, a claim is a second key beside it on a lease that runs out unless it is renewed.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, DeleteOptions, Error as EtcdError, GetOptions,
    Identity, PutOptions, TlsOptions, Txn, TxnOp,
};
use parking_lot::Mutex;

use super::claims::{Claims, Keeper, owner};
use super::runtime::Runtime;
use super::{
    ANSWER_WITHIN, CONNECT_WITHIN, LIST_MAX, LIST_WITHIN, MetadataBackend, RESERVED, VALUE_MAX, check,
    check_reserved,
};
use crate::config::url::Url;
use crate::error::{Code, Error, Result};
use crate::sys::tls::Tls;
use crate::{bail, fail};

const PORT: u16 = 2379;
/// Keys that are listed by one request: well below the largest message.
const LIST_STEP: i64 = 1000;
/// A connection that broke is found out by the next request, which is then sent once more; likewise a dead member.
const TRIES: usize = 4;
const TRY_AFTER: Duration = Duration::from_millis(100);

/// A handle to one cluster.
pub struct Etcd {
    server: Arc<Server>,
    claims: Claims,
}

struct Server {
    runtime: Runtime,
    endpoints: Vec<String>,
    options: ConnectOptions,
    /// It connects by itself, again and again; a new one is only needed for a new login.
    client: Mutex<Option<Client>>,
    /// With the slash at its end, or empty.
    prefix: String,
    shown: String,
    owner: String,
    claim_lives: Duration,
    /// The lease of each claim, by key.
    leases: Mutex<BTreeMap<String, i64>>,
}

impl Etcd {
    pub fn open(url: &Url, claim_lives: Duration) -> Result<Etcd> {
        let server = Arc::new(Server::new(url, claim_lives)?);
        server.get("mooncake")?;
        let claims = Claims::new(server.clone(), claim_lives);
        Ok(Etcd { server, claims })
    }
}

impl MetadataBackend for Etcd {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        check(key, &[])?;
        let value = self.server.get(key)?;
        if value.as_ref().is_some_and(|value| value.len() > VALUE_MAX) {
            bail!(
                Corrupted,
                "the value of {key:?} in {} is larger than any: {VALUE_MAX} bytes",
                self.server.shown
            );
        }
        Ok(value)
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        check(key, value)?;
        check_reserved(key)?;
        let (key, value) = (self.server.stored(key), value.to_vec());
        self.server.ask(move |mut client| {
            let (key, value) = (key.clone(), value.clone());
            async move { client.put(key, value, None).await.map(drop) }
        })
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<()> {
        check(key, value)?;
        check_reserved(key)?;
        let server = &self.server;
        if !self.claims.take(key, || server.claim(key, Some(value)))? {
            bail!(AlreadyExists, "{key:?} is taken in {}", server.shown);
        }
        Ok(())
    }

    fn remove(&self, key: &str) -> Result<()> {
        check(key, &[])?;
        check_reserved(key)?;
        let server = &self.server;
        self.claims.end(key, || {
            let (stored, claim) = (server.stored(key), server.claim_of(key));
            let delete = |key: &str| TxnOp::delete(key, None::<DeleteOptions>);
            server.transaction(
                Compare::value(claim.as_str(), CompareOp::Equal, server.owner.as_str()),
                vec![delete(&stored), delete(&claim)],
                vec![delete(&stored)],
            )?;
            // Without its key a lease is nothing; it also runs out by itself.
            server.leases.lock().remove(key).map_or(Ok(()), |lease| server.revoke(lease))
        })
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let server = &self.server;
        let start = server.stored(prefix).into_bytes();
        let end = end_of(&start);
        let mut from = if start.is_empty() { vec![0] } else { start };
        let mut keys = Vec::new();
        let deadline = Instant::now() + LIST_WITHIN;
        loop {
            let options = GetOptions::new().with_range(end.clone()).with_keys_only().with_limit(LIST_STEP);
            let first = from.clone();
            let mut response = server.ask(move |mut client| {
                let (first, options) = (first.clone(), options.clone());
                async move { client.get(first, Some(options)).await }
            })?;
            let found: Vec<Vec<u8>> =
                response.take_kvs().into_iter().map(|pair| pair.key().to_vec()).collect();
            let Some(last) = found.last() else { return Ok(keys) };
            from = [last, &[0][..]].concat();
            // What is no text is none of our keys: a cluster may have other users.
            let texts =
                found.iter().filter_map(|key| std::str::from_utf8(key).ok()?.strip_prefix(&server.prefix));
            keys.extend(texts.filter(|key| check_reserved(key).is_ok()).map(str::to_owned));
            if keys.len() > LIST_MAX {
                bail!(Exhausted, "{} has more than {LIST_MAX} keys that begin with {prefix:?}", server.shown);
            }
            if !response.more() {
                return Ok(keys);
            }
            if Instant::now() > deadline {
                bail!(Timeout, "listing {}: it took longer than {LIST_WITHIN:?}", server.shown);
            }
        }
    }
}

impl Keeper for Server {
    fn renew(&self, key: &str) -> Result<bool> {
        let lease = self.leases.lock().get(key).copied();
        match lease {
            Some(lease) if self.keep_alive(lease)? => Ok(true),
            _ => self.claim(key, None),
        }
    }

    fn release(&self, key: &str) -> Result<()> {
        let lease = self.leases.lock().remove(key);
        lease.map_or(Ok(()), |lease| self.revoke(lease))
    }
}

impl Server {
    fn new(url: &Url, claim_lives: Duration) -> Result<Server> {
        let is_secure = url.scheme == "etcds";
        url.only_options(if is_secure { &["ca", "cert", "key"] } else { &[] })?;
        let mut options = ConnectOptions::new().with_connect_timeout(CONNECT_WITHIN);
        if let Some(user) = &url.user {
            options = options.with_user(user, url.password.as_deref().unwrap_or_default());
        }
        if is_secure {
            let tls = Tls::read(url.option("ca"), url.option("cert"), url.option("key"))?;
            let mut wanted = TlsOptions::new().ca_certificate(Certificate::from_pem(&tls.authorities));
            if let Some((certificate, key)) = &tls.identity {
                wanted = wanted.identity(Identity::from_pem(certificate, key));
            }
            options = options.with_tls(wanted);
        }
        let scheme = if is_secure { "https" } else { "http" };
        let path = url.path.trim_matches('/');
        Ok(Server {
            runtime: Runtime::start("mooncake-etcd")?,
            endpoints: url.hosts.iter().map(|host| format!("{scheme}://{}", host.with_port(PORT))).collect(),
            options,
            client: Mutex::default(),
            prefix: if path.is_empty() { String::new() } else { format!("{path}/") },
            shown: url.to_string(),
            owner: owner(),
            claim_lives,
            leases: Mutex::default(),
        })
    }

    fn stored(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn claim_of(&self, key: &str) -> String {
        format!("{}{RESERVED}{key}", self.prefix)
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let key = self.stored(key);
        let mut response = self.ask(move |mut client| {
            let key = key.clone();
            async move { client.get(key, None).await }
        })?;
        Ok(response.take_kvs().into_iter().next().map(|pair| pair.into_key_value().1))
    }

    /// Takes a claim that is free or ours, and sets the value with it.
    fn claim(&self, key: &str, value: Option<&[u8]>) -> Result<bool> {
        let known = self.leases.lock().get(key).copied();
        let lease = match known {
            Some(lease) if self.keep_alive(lease)? => lease,
            _ => self.grant()?,
        };
        let claim = self.claim_of(key);
        let put = || {
            let options = PutOptions::new().with_lease(lease);
            let mut operations = vec![TxnOp::put(claim.as_str(), self.owner.as_str(), Some(options))];
            operations.extend(value.map(|value| TxnOp::put(self.stored(key), value, None)));
            operations
        };
        let is_free = Compare::version(claim.as_str(), CompareOp::Equal, 0);
        let is_ours = Compare::value(claim.as_str(), CompareOp::Equal, self.owner.as_str());
        let taken = match self.transaction(is_free, put(), Vec::new()) {
            Ok(false) => self.transaction(is_ours, put(), Vec::new()),
            other => other,
        };
        if let Ok(true) = taken {
            self.leases.lock().insert(key.to_owned(), lease);
        } else {
            self.leases.lock().remove(key);
            // Whatever happens to it, it runs out by itself.
            let _ = self.revoke(lease);
        }
        taken
    }

    fn grant(&self) -> Result<i64> {
        let seconds = i64::try_from(self.claim_lives.as_secs().max(1)).unwrap_or(i64::MAX);
        self.ask(move |mut client| async move { Ok(client.lease_grant(seconds, None).await?.id()) })
    }

    /// Whether the lease lives on.
    fn keep_alive(&self, lease: i64) -> Result<bool> {
        self.ask(move |mut client| async move {
            match client.lease_keep_alive(lease).await {
                Ok(_) => Ok(true),
                Err(EtcdError::LeaseKeepAliveError(_)) => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    fn revoke(&self, lease: i64) -> Result<()> {
        self.ask(move |mut client| async move {
            match client.lease_revoke(lease).await {
                // It ran out already.
                Err(EtcdError::GRpcStatus(status)) if status.code() as i32 == grpc::NOT_FOUND => Ok(()),
                other => other.map(drop),
            }
        })
    }

    /// Whether the condition held.
    fn transaction(&self, when: Compare, then: Vec<TxnOp>, otherwise: Vec<TxnOp>) -> Result<bool> {
        let transaction = Txn::new().when([when]).and_then(then).or_else(otherwise);
        self.ask(move |mut client| {
            let transaction = transaction.clone();
            async move { Ok(client.txn(transaction).await?.succeeded()) }
        })
    }

    /// Runs one request on the runtime while this thread waits, so that callers with a runtime of their own may call.
    /// Requests are such that they may be repeated.
    fn ask<T, F>(&self, request: impl Fn(Client) -> F + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = std::result::Result<T, EtcdError>> + Send,
    {
        let (sender, receiver) = mpsc::sync_channel(1);
        let (known, endpoints, options) =
            (self.client.lock().clone(), self.endpoints.clone(), self.options.clone());
        self.runtime.spawn(async move {
            let answer =
                tokio::time::timeout(ANSWER_WITHIN, persist(known, endpoints, options, request)).await;
            // Whoever asked waits for this alone.
            let _ = sender.send(answer);
        });
        let Ok(answer) = receiver.recv() else {
            bail!(Internal, "asking {}: the request panicked", self.shown)
        };
        match answer {
            Ok(Ok((client, answer))) => {
                *self.client.lock() = Some(client);
                Ok(answer)
            }
            Ok(Err(error)) => Err(failure(&self.shown, &error)),
            Err(_) => bail!(
                Timeout,
                "asking {}: no answer within {ANSWER_WITHIN:?}; does the cluster have a leader?",
                self.shown
            ),
        }
    }
}

/// Sends a request until it is answered, for a few times.
async fn persist<T, F>(
    mut known: Option<Client>,
    endpoints: Vec<String>,
    options: ConnectOptions,
    request: impl Fn(Client) -> F,
) -> std::result::Result<(Client, T), EtcdError>
where
    F: Future<Output = std::result::Result<T, EtcdError>>,
{
    let mut tries = TRIES + endpoints.len();
    loop {
        let client = match known.take() {
            Some(client) => Ok(client),
            None => Client::connect(&endpoints, Some(options.clone())).await,
        };
        let error = match client {
            Ok(client) => match request(client.clone()).await {
                Ok(answer) => return Ok((client, answer)),
                Err(error) => {
                    // A login ends when its server restarts, and after a while.
                    known = Some(client).filter(|_| status_of(&error) != grpc::UNAUTHENTICATED);
                    error
                }
            },
            Err(error) => error,
        };
        let may_help = match status_of(&error) {
            // The second is a connection that broke under the request.
            grpc::UNAVAILABLE | grpc::CANCELED => true,
            grpc::UNAUTHENTICATED => known.is_none(),
            _ => false,
        };
        tries -= 1;
        if tries == 0 || !may_help {
            return Err(error);
        }
        tokio::time::sleep(TRY_AFTER).await;
    }
}

/// Numbers of gRPC.
mod grpc {
    pub const CANCELED: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const INVALID_ARGUMENT: i32 = 3;
    pub const DEADLINE_EXCEEDED: i32 = 4;
    pub const NOT_FOUND: i32 = 5;
    pub const PERMISSION_DENIED: i32 = 7;
    pub const RESOURCE_EXHAUSTED: i32 = 8;
    pub const OUT_OF_RANGE: i32 = 11;
    pub const UNAVAILABLE: i32 = 14;
    pub const UNAUTHENTICATED: i32 = 16;
}

/// A connection that could not be made counts as unavailable; 0 is none of them.
fn status_of(error: &EtcdError) -> i32 {
    match error {
        // What has a cause happened on this side: the connection broke under the request.
        EtcdError::GRpcStatus(status)
            if status.code() as i32 == grpc::UNKNOWN && std::error::Error::source(status).is_some() =>
        {
            grpc::CANCELED
        }
        EtcdError::GRpcStatus(status) => status.code() as i32,
        EtcdError::TransportError(_) => grpc::UNAVAILABLE,
        _ => 0,
    }
}

/// What a request that was not answered as it should means for the caller.
fn failure(shown: &str, error: &EtcdError) -> Error {
    let story = story_of(error);
    let lower = story.to_ascii_lowercase();
    let is_about_certificates = lower.contains("certificate") || lower.contains("fatal alert");
    let (code, advice) = match status_of(error) {
        _ if is_about_certificates => (
            Code::Unauthenticated,
            "give the authority that signed its certificate with ?ca=FILE, and cert and key if it wants them",
        ),
        grpc::INVALID_ARGUMENT
            if story.contains("authentication failed") || story.contains("user name is empty") =>
        {
            (Code::Unauthenticated, "check user and password in the URL")
        }
        grpc::UNAUTHENTICATED => (Code::Unauthenticated, "check user and password in the URL"),
        grpc::PERMISSION_DENIED => (Code::Permission, "the user may not do that"),
        grpc::RESOURCE_EXHAUSTED => {
            (Code::NoSpace, "the database is full, or the value larger than etcd takes")
        }
        grpc::INVALID_ARGUMENT if story.contains("too large") => {
            (Code::NoSpace, "the value is larger than etcd takes")
        }
        grpc::OUT_OF_RANGE => (Code::Corrupted, "no answer to that is so large"),
        grpc::DEADLINE_EXCEEDED => (Code::Timeout, "does the cluster have a leader?"),
        grpc::UNAVAILABLE => (Code::Unreachable, "is it running there, and is it etcd?"),
        grpc::CANCELED => {
            (Code::ConnectionLost, "is it etcd, and does it want a certificate, with cert and key?")
        }
        _ => (Code::Rejected, "is it etcd?"),
    };
    fail!(Internal, "asking {shown}: {story}; {advice}").with_code(code)
}

/// An error with its causes, each of which often says more.
fn story_of(error: &EtcdError) -> String {
    let mut story = match error {
        EtcdError::GRpcStatus(status) => status.message().to_owned(),
        other => other.to_string(),
    };
    let mut cause = match error {
        EtcdError::GRpcStatus(status) => std::error::Error::source(status),
        other => std::error::Error::source(other),
    };
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !story.contains(&text) {
            story = format!("{story}: {text}");
        }
        cause = inner.source();
    }
    story
}

/// The first key beyond those with a prefix; "\0" is the end of all.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_one_begins() {
        assert_eq!(end_of(b"a/"), b"a0");
        assert_eq!(end_of(b"a\xff\xff"), b"b");
        assert_eq!((end_of(b""), end_of(b"\xff")), (vec![0], vec![0]));
    }
}
