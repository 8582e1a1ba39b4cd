//! The names that Mooncake's engines go by: a host in several spellings, perhaps with a port.

use std::net::Ipv6Addr;

use crate::bail;
use crate::error::Result;

/// A server name taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct ServerName {
    /// Without brackets.
    pub host: String,
    pub port: Option<u16>,
}

impl ServerName {
    /// Reads `host`, `host:port`, an address of either family, `[IPv6]:port`, and `host:port:anything`, which names a
    /// device behind the port. A port that is none counts as missing.
    pub fn parse(name: &str) -> Result<ServerName> {
        let (host, rest) = if let Some((host, rest)) = name.strip_prefix('[').and_then(|n| n.split_once(']'))
        {
            (host, rest.strip_prefix(':'))
        } else if is_ipv6(name) {
            (name, None)
        } else {
            name.split_once(':').map_or((name, None), |(host, rest)| (host, Some(rest)))
        };
        if host.is_empty() {
            bail!(InvalidArgument, "{name:?} names no host");
        }
        let port = rest.and_then(|rest| rest.split(':').next()).and_then(|port| port.parse().ok());
        Ok(ServerName { host: host.to_owned(), port: port.filter(|port| *port != 0) })
    }
}

fn is_ipv6(text: &str) -> bool {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_name_has_its_host_and_port() {
        for (name, host, port) in [
            ("node1", "node1", None),
            ("node1:12345", "node1", Some(12345)),
            ("10.0.0.2", "10.0.0.2", None),
            ("10.0.0.2:99", "10.0.0.2", Some(99)),
            ("fe80::1", "fe80::1", None),
            ("fe80::1%eth0", "fe80::1%eth0", None),
            ("[fe80::1]:7", "fe80::1", Some(7)),
            ("[::1]", "::1", None),
            ("10.0.0.2:16000:npu_3", "10.0.0.2", Some(16000)),
            ("node1:", "node1", None),
            ("node1:65536", "node1", None),
            ("node1:0", "node1", None),
            ("node1:text", "node1", None),
        ] {
            let expected = ServerName { host: host.to_owned(), port };
            assert_eq!(ServerName::parse(name).expect(name), expected, "{name}");
        }
        assert!(ServerName::parse("").is_err());
        assert!(ServerName::parse(":80").is_err());
        assert!(ServerName::parse("[]:80").is_err());
    }
}
