//! URLs of services: their parts, and how they are shown without their password.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::Result;
use crate::{bail, fail};

/// Most hosts that one URL may name.
const HOSTS_MAX: usize = 64;

/// `scheme://[user[:password]@]host[:port][,host[:port]...][/path][?option=value[&option=value...]]`
///
/// User, password, path and the values of options may hold "%xx".
#[derive(Clone)]
pub struct Url {
    pub scheme: String,
    pub user: Option<String>,
    pub password: Option<String>,
    /// At least one.
    pub hosts: Vec<Host>,
    /// Without the slash before it.
    pub path: String,
    options: BTreeMap<String, String>,
    shown: String,
}

/// A host name or address, IPv6 without brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub port: Option<u16>,
}

impl Url {
    pub fn parse(text: &str) -> Result<Url> {
        let shown = without_password(text);
        let wrong = |what: &str| fail!(InvalidArgument, "{shown:?} is no URL of a service: {what}");
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it has no scheme://"))?;
        if text.chars().any(|letter| letter.is_control() || letter.is_whitespace()) {
            return Err(wrong("it has a space or a control character: write it as %20 or the like"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        let plain =
            |text: &str| decode(text).ok_or_else(|| wrong("% is not followed by two hexadecimal digits"));
        let filled = |text: &str| Ok(Some(plain(text)?).filter(|text| !text.is_empty()));
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (filled(user)?, filled(password)?),
            None => (None, None),
        };
        let hosts: Option<Vec<Host>> = hosts.split(',').take(HOSTS_MAX + 1).map(Host::parse).collect();
        let hosts = hosts.filter(|hosts| hosts.len() <= HOSTS_MAX).ok_or_else(|| {
            wrong("after :// comes HOST or HOST:PORT, IPv6 in brackets, more of them after commas")
        })?;
        let mut options = BTreeMap::new();
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (name, value) = option.split_once('=').ok_or_else(|| wrong("an option is NAME=VALUE"))?;
            if options.insert(name.to_owned(), plain(value)?).is_some() {
                return Err(wrong("an option is there twice"));
            }
        }
        let path = plain(path)?;
        Ok(Url { scheme: scheme.to_ascii_lowercase(), user, password, hosts, path, options, shown })
    }

    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// Refuses options that nobody would look at.
    pub fn only_options(&self, known: &[&str]) -> Result<()> {
        match self.options.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) if known.is_empty() => {
                bail!(InvalidArgument, "{self} has the option {name:?}: it can have none")
            }
            Some(name) => {
                bail!(InvalidArgument, "{self} has the option {name:?}: there are {}", known.join(", "))
            }
            None => Ok(()),
        }
    }

    /// The one host of a service that has no list of them.
    pub fn host(&self) -> Result<&Host> {
        match self.hosts.as_slice() {
            [host] => Ok(host),
            _ => bail!(InvalidArgument, "{self} names several hosts: only etcd can have more than one"),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Host {
    /// `host`, `host:port`, `[IPv6]` or `[IPv6]:port`.
    pub fn parse(text: &str) -> Option<Host> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, rest) = rest.split_once(']')?;
                name.parse::<std::net::Ipv6Addr>().ok()?;
                (name, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            None => match text.split_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            },
        };
        let is_name = |letter: char| letter.is_alphanumeric() || ".-_:".contains(letter);
        if name.is_empty() || !name.chars().all(is_name) {
            return None;
        }
        let port = match port {
            Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
            None => None,
        };
        Some(Host { name: name.to_owned(), port })
    }

    /// "host:port", IPv6 in brackets.
    pub fn with_port(&self, default: u16) -> String {
        let port = self.port.unwrap_or(default);
        if self.name.contains(':') {
            format!("[{}]:{port}", self.name)
        } else {
            format!("{}:{port}", self.name)
        }
    }
}

/// The same text with "***" in place of a password, whether it is a URL or not.
pub fn without_password(text: &str) -> String {
    // Up to the last '@': a password that holds one, or a slash, is hidden as well.
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    match rest.rsplit_once('@') {
        Some((login, rest)) => match login.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:***@{rest}"),
            None => text.to_owned(),
        },
        None => text.to_owned(),
    }
}

/// The same URL with the login and the path that it lacks.
pub fn complete(text: &str, login: Option<(&str, &str)>, path: Option<&str>) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (rest, query) = rest.find('?').map_or((rest, ""), |at| rest.split_at(at));
    let login = match login {
        Some((user, password)) if !rest.contains('@') => format!("{}:{}@", encode(user), encode(password)),
        _ => String::new(),
    };
    let path = match path {
        Some(path) if rest.split_once('/').is_none_or(|(_, path)| path.is_empty()) => {
            format!("{}/{path}", rest.trim_end_matches('/'))
        }
        _ => rest.to_owned(),
    };
    format!("{scheme}://{login}{path}{query}")
}

/// Letters, digits and "-._~" stand for themselves, every other byte as "%XX".
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            other => {
                encoded.push('%');
                for digit in [other >> 4, other & 15] {
                    encoded.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
                }
            }
        }
    }
    encoded
}

/// What `encode` made of it, or any other spelling of that; `None` where a '%' stands alone or the bytes are no text.
pub fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        let digit = |digit: Option<u8>| char::from(digit?).to_digit(16);
        bytes.push(match byte {
            b'%' => u8::try_from(digit(rest.next())? * 16 + digit(rest.next())?).ok()?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_has_its_parts() {
        let url = Url::parse("Redis://joe:p%40ss:w@[::1]:7,b:9,c/3%2f4?ca=%2Fx&cert=y").expect("a URL");
        assert_eq!(
            (url.scheme.as_str(), url.user.as_deref(), url.password.as_deref()),
            ("redis", Some("joe"), Some("p@ss:w"))
        );
        let hosts: Vec<String> = url.hosts.iter().map(|host| host.with_port(1)).collect();
        assert_eq!(hosts, ["[::1]:7", "b:9", "c:1"]);
        assert_eq!((url.path.as_str(), url.option("ca"), url.option("cert")), ("3/4", Some("/x"), Some("y")));
        assert!(
            url.only_options(&["ca", "cert"]).is_ok()
                && url.only_options(&["ca"]).is_err()
                && url.host().is_err()
        );
    }

    #[test]
    fn what_is_no_url_is_refused_with_what_one_is() {
        for text in [
            "",
            "host:1",
            "etcd://",
            "etcd://:1",
            "etcd://h:x",
            "etcd://h:0",
            "etcd://[h]:1",
            "etcd://h,",
            "a://h/%f",
            "a://h i",
            "a://h?x",
            "a://h?x=1&x=2",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
        assert!(Url::parse(&format!("etcd://{}h", "h,".repeat(HOSTS_MAX))).is_err());
    }

    #[test]
    fn a_password_is_never_shown() {
        for text in [
            "redis://:secret@h",
            "redis://joe:secret@h:1/2",
            "redis://joe:a/b?secret@h",
            "redis://joe:x@secret@h",
            "redis://j:secret@:",
        ] {
            assert!(!without_password(text).contains("secret"), "{}", without_password(text));
            if let Err(error) = Url::parse(text) {
                assert!(!error.to_string().contains("secret"), "{error}");
            }
        }
        assert_eq!(without_password("redis://joe:secret@h:1/2"), "redis://joe:***@h:1/2");
        assert_eq!(without_password("http://h/metadata"), "http://h/metadata");
    }

    #[test]
    fn what_is_there_is_kept_and_what_lacks_is_completed() {
        let all = |text| complete(text, Some(("", "p@:/")), Some("2"));
        assert_eq!(all("redis://h"), "redis://:p%40%3A%2F@h/2");
        assert_eq!(all("redis://h/?ca=/x"), "redis://:p%40%3A%2F@h/2?ca=/x");
        assert_eq!(all("redis://:own@h/1"), "redis://:own@h/1");
        assert_eq!(
            (complete("redis://h/1", None, None), all("h")),
            ("redis://h/1".to_owned(), "h".to_owned())
        );
        let url = Url::parse(&complete("redis://h", Some(("jo/e", "p@:/%")), None)).expect("a URL");
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("jo/e"), Some("p@:/%")));
    }

    proptest! {
        #[test]
        fn encoding_can_be_undone(text in any::<String>()) {
            prop_assert_eq!(decode(&encode(&text)), Some(text));
        }

        #[test]
        fn no_text_is_too_strange_for_the_parser(text in any::<String>()) {
            let _ = Url::parse(&text);
            let _ = Url::parse(&format!("a://{text}"));
        }
    }
}
