//! Metadata in Redis: a key is a key, a claim is a second key beside it that runs out unless it is renewed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::claims::{Claims, Keeper, owner};
use super::resp::{Reply, read_reply, write_command};
use super::{
    ANSWER_WITHIN, CONNECT_WITHIN, LIST_MAX, LIST_WITHIN, MetadataBackend, VALUE_MAX, check, check_reserved,
};
use crate::config::url::Url;
use crate::error::{Code, Error, Result};
use crate::sys::stream::Stream;
use crate::sys::tls::Tls;
use crate::{bail, fail};

const PORT: u16 = 6379;
/// Keys that a scan looks at in one step.
const SCAN_STEP: &[u8] = b"1000";

// Each script runs as one: KEYS are the claim and the key, ARGV the owner, the life of the claim in milliseconds, and
// the value.
const CREATE: &str = "local o = redis.call('GET', KEYS[1]) \
    if o and o ~= ARGV[1] then return 0 end \
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) \
    redis.call('SET', KEYS[2], ARGV[3]) return 1";
const RENEW: &str = "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end \
    if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
    redis.call('PEXPIRE', KEYS[1], ARGV[2]) return 1";
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1";
const REMOVE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end \
    return redis.call('DEL', KEYS[2])";

/// A handle to one server.
pub struct Redis {
    server: Arc<Server>,
    claims: Claims,
}

struct Server {
    host: String,
    port: u16,
    tls: Option<Tls>,
    user: Option<String>,
    password: Option<String>,
    database: u32,
    shown: String,
    owner: String,
    claim_lives: Duration,
    /// One request at a time; `None` until it is needed, and after a failure.
    connection: Mutex<Option<Stream>>,
}

impl Redis {
    pub fn open(url: &Url, claim_lives: Duration) -> Result<Redis> {
        let server = Arc::new(Server::new(url, claim_lives)?);
        server.ask(&[b"PING"])?;
        let claims = Claims::new(server.clone(), claim_lives);
        Ok(Redis { server, claims })
    }
}

impl MetadataBackend for Redis {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        check(key, &[])?;
        match self.server.ask(&[b"GET", key.as_bytes()])? {
            Reply::Bulk(value) if value.len() > VALUE_MAX => {
                bail!(
                    Corrupted,
                    "the value of {key:?} in {} is larger than any: {VALUE_MAX} bytes",
                    self.server.shown
                )
            }
            Reply::Bulk(value) => Ok(Some(value)),
            Reply::Nil => Ok(None),
            other => Err(self.server.strange(&other)),
        }
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<()> {
        check(key, value)?;
        check_reserved(key)?;
        self.server.ask(&[b"SET", key.as_bytes(), value]).map(drop)
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<()> {
        check(key, value)?;
        check_reserved(key)?;
        let server = &self.server;
        if !self.claims.take(key, || server.run(CREATE, key, Some(value)))? {
            bail!(AlreadyExists, "{key:?} is taken in {}", server.shown);
        }
        Ok(())
    }

    fn remove(&self, key: &str) -> Result<()> {
        check(key, &[])?;
        check_reserved(key)?;
        self.claims.end(key, || self.server.run(REMOVE, key, None).map(drop))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let server = &self.server;
        let pattern = pattern_of(prefix);
        let deadline = Instant::now() + LIST_WITHIN;
        let mut found = BTreeSet::new();
        let mut cursor = b"0".to_vec();
        loop {
            let reply = server.ask(&[b"SCAN", &cursor, b"MATCH", &pattern, b"COUNT", SCAN_STEP])?;
            let Reply::Array(parts) = reply else { return Err(server.strange(&reply)) };
            let (next, keys) = match <[Reply; 2]>::try_from(parts) {
                Ok([Reply::Bulk(next), Reply::Array(keys)]) => (next, keys),
                _ => bail!(VersionMismatch, "{} does not answer a scan as Redis does", server.shown),
            };
            // What is no text is none of our keys: a database may have other users.
            let texts = keys.into_iter().filter_map(|key| match key {
                Reply::Bulk(key) => String::from_utf8(key).ok(),
                _ => None,
            });
            found.extend(texts.filter(|key| key.starts_with(prefix) && check_reserved(key).is_ok()));
            if found.len() > LIST_MAX {
                bail!(Exhausted, "{} has more than {LIST_MAX} keys that begin with {prefix:?}", server.shown);
            }
            if next == b"0" {
                return Ok(found.into_iter().collect());
            }
            if Instant::now() > deadline {
                bail!(Timeout, "listing {}: it took longer than {LIST_WITHIN:?}", server.shown);
            }
            cursor = next;
        }
    }
}

impl Keeper for Server {
    fn renew(&self, key: &str) -> Result<bool> {
        self.run(RENEW, key, None)
    }

    fn release(&self, key: &str) -> Result<()> {
        self.run(RELEASE, key, None).map(drop)
    }
}

impl Server {
    fn new(url: &Url, claim_lives: Duration) -> Result<Server> {
        let is_secure = url.scheme == "rediss";
        url.only_options(if is_secure { &["ca", "cert", "key"] } else { &[] })?;
        let database = if url.path.is_empty() { Ok(0) } else { url.path.parse() };
        let database = database
            .map_err(|_| fail!(InvalidArgument, "{url}: after the host comes /NUMBER, the database"))?;
        let host = url.host()?;
        Ok(Server {
            host: host.name.clone(),
            port: host.port.unwrap_or(PORT),
            tls: if is_secure {
                Some(Tls::read(url.option("ca"), url.option("cert"), url.option("key"))?)
            } else {
                None
            },
            user: url.user.clone(),
            password: url.password.clone(),
            database,
            shown: url.to_string(),
            owner: owner(),
            claim_lives,
            connection: Mutex::default(),
        })
    }

    /// Runs a script on a key and its claim: whether it said 1.
    fn run(&self, script: &str, key: &str, value: Option<&[u8]>) -> Result<bool> {
        let lives = self.claim_lives.as_millis().max(1).to_string();
        let claim = claim_of(key);
        let command: [&[u8]; 8] = [
            b"EVAL",
            script.as_bytes(),
            b"2",
            claim.as_bytes(),
            key.as_bytes(),
            self.owner.as_bytes(),
            lives.as_bytes(),
            value.unwrap_or_default(),
        ];
        match self.ask(&command)? {
            Reply::Number(number) => Ok(number == 1),
            other => Err(self.strange(&other)),
        }
    }

    /// One command and its answer; what the server refuses is an error.
    fn ask(&self, command: &[&[u8]]) -> Result<Reply> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let Some(mut connection) = self.connection.try_lock_until(deadline) else {
            bail!(Timeout, "asking {}: other requests took longer than {ANSWER_WITHIN:?}", self.shown);
        };
        // A server that restarted has closed the connection that was kept. Each command may be repeated.
        if let Some(mut kept) = connection.take() {
            match self.exchange(&mut kept, command, deadline) {
                Err(error) if error.code == Code::ConnectionLost => {}
                other => return self.settle(&mut connection, kept, other),
            }
        }
        let mut fresh = self.connect(deadline)?;
        let reply = self.exchange(&mut fresh, command, deadline);
        self.settle(&mut connection, fresh, reply)
    }

    /// Keeps a connection whose position in the protocol is known.
    fn settle(&self, kept: &mut Option<Stream>, stream: Stream, reply: Result<Reply>) -> Result<Reply> {
        let reply = reply?;
        *kept = Some(stream);
        self.accepted(reply)
    }

    fn connect(&self, deadline: Instant) -> Result<Stream> {
        let within = deadline.min(Instant::now() + CONNECT_WITHIN);
        let mut stream = Stream::connect(&self.host, self.port, self.tls.as_ref(), within).map_err(|error| {
            let code = error_code(&error);
            let advice = match code {
                Code::Unauthenticated => {
                    "; give the authority that signed its certificate with ?ca=FILE, and cert and key if it wants them"
                }
                Code::Unreachable => "; is the server running there?",
                _ => "",
            };
            Error::new(code, format!("connecting to {}: {error}{advice}", self.shown))
        })?;
        let user = self.user.as_deref().map(str::as_bytes);
        let login: Vec<&[u8]> = match (user, &self.password) {
            (Some(user), password) => vec![b"AUTH", user, password.as_deref().unwrap_or_default().as_bytes()],
            (None, Some(password)) => vec![b"AUTH", password.as_bytes()],
            (None, None) => Vec::new(),
        };
        let database = self.database.to_string();
        let select: [&[u8]; 2] = [b"SELECT", database.as_bytes()];
        for command in [login.as_slice(), if self.database == 0 { &[] } else { &select }] {
            if !command.is_empty() {
                self.accepted(self.exchange(&mut stream, command, deadline)?)?;
            }
        }
        Ok(stream)
    }

    fn exchange(&self, stream: &mut Stream, command: &[&[u8]], deadline: Instant) -> Result<Reply> {
        stream.set_deadline(deadline);
        let replied = write_command(stream, command).and_then(|()| read_reply(stream));
        replied.map_err(|error| Error::new(error_code(&error), format!("asking {}: {error}", self.shown)))
    }

    fn accepted(&self, reply: Reply) -> Result<Reply> {
        let Reply::Error(text) = reply else { return Ok(reply) };
        let (code, advice) = match text.split_whitespace().next().unwrap_or_default() {
            "NOAUTH" => (Code::Unauthenticated, "; give user and password in the URL"),
            "WRONGPASS" => (Code::Unauthenticated, "; check user and password"),
            // What a server without a password says to one, and one without users to a user.
            "ERR" if text.contains("AUTH") => (Code::Unauthenticated, "; check user and password"),
            "NOPERM" => (Code::Permission, ""),
            "LOADING" | "BUSY" | "MASTERDOWN" | "TRYAGAIN" => (Code::NotReady, ""),
            "READONLY" => (Code::Rejected, "; name the primary, not its copy"),
            "MOVED" | "CROSSSLOT" => {
                (Code::Unsupported, "; a Redis cluster is not supported, name a single server")
            }
            "OOM" | "MISCONF" => (Code::NoSpace, ""),
            _ => (Code::Rejected, ""),
        };
        Err(Error::new(code, format!("{} refuses: {}{advice}", self.shown, text.escape_debug())))
    }

    fn strange(&self, reply: &Reply) -> Error {
        fail!(VersionMismatch, "{} answers with {}, as Redis would not", self.shown, reply.kind())
    }
}

/// What a failure of the connection means for the caller.
fn error_code(error: &std::io::Error) -> Code {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::TimedOut => Code::Timeout,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => Code::ConnectionLost,
        ErrorKind::InvalidInput | ErrorKind::InvalidData => Code::Unauthenticated,
        ErrorKind::Unsupported => Code::VersionMismatch,
        ErrorKind::FileTooLarge => Code::Corrupted,
        _ => Code::Unreachable,
    }
}

/// Where the claim of a key is kept.
fn claim_of(key: &str) -> String {
    format!("{}{key}", super::RESERVED)
}

/// A pattern that only keys with this prefix match.
fn pattern_of(prefix: &str) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for byte in prefix.bytes() {
        if b"*?[]^-\\".contains(&byte) {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.push(b'*');
    pattern
}
