//! Making an engine out of what Mooncake's create call is told, and out of Mooncake's environment.

use std::collections::HashSet;
use std::sync::LazyLock;

use parking_lot::Mutex;

use super::address::ServerName;
use super::{Session, Topology};
use crate::bail;
use crate::config::mooncake::Environment;
use crate::config::{Config, Given, NO_METADATA};
use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::metadata;
use crate::telemetry::log;

/// `Given::compat`: Mooncake's own engines are served and reached.
const COMPAT_ON: u32 = 2;

/// What the caller says. Host and port of the old signature mean nothing, there as here.
pub struct Arguments<'a> {
    pub metadata: &'a str,
    pub local_server_name: &'a str,
    pub auto_discover: bool,
}

impl Session {
    /// Creates an engine; with `auto_discover` its transport is installed.
    pub fn create(arguments: &Arguments<'_>, tag: u16) -> Result<Session> {
        // Programs that were written for Mooncake look for its log there.
        log::set_sink_if_none(|| Box::new(log::StandardError));
        let environment = Environment::read();
        let config = Config::load(given(arguments, &environment)?)?;
        say_what_is_ignored(&environment);
        let session = Session::bare(Engine::create(config, tag)?, tag);
        if environment.force_tcp {
            session.transports.force_tcp();
        } else if arguments.auto_discover {
            session.transports.install_default();
        }
        if arguments.auto_discover {
            discover(&session.topology, &environment)?;
            warn_of_idle_cards(&session);
        }
        Ok(session)
    }
}

fn given(arguments: &Arguments<'_>, environment: &Environment) -> Result<Given> {
    let name = ServerName::parse(arguments.local_server_name).context("local_server_name")?;
    let metadata = metadata_of(arguments.metadata)?;
    let port = match environment.is_port_literal {
        true => name.port.unwrap_or(environment.handshake_port),
        false => 0,
    };
    let mut given = Given {
        port,
        port_last: port,
        compat: if environment.has_compat { 0 } else { COMPAT_ON },
        ..Given::default()
    };
    if metadata == NO_METADATA {
        // Peers open "host:port", with the port that it got.
        given.advertise_host = Some(name.host);
    } else {
        given.name = Some(arguments.local_server_name.to_owned());
    }
    given.metadata = Some(metadata);
    Ok(given)
}

/// A bare "host:port" is etcd.
fn metadata_of(text: &str) -> Result<String> {
    if text.is_empty() {
        bail!(InvalidArgument, "the metadata string is empty: use {NO_METADATA} or a URL");
    }
    if text == NO_METADATA { Ok(text.to_owned()) } else { metadata::legacy_url(text) }
}

fn discover(topology: &Topology, environment: &Environment) -> Result<()> {
    match &environment.topology_file {
        Some(path) => topology.read_file(path).context("MC_CUSTOM_TOPO_JSON"),
        None => {
            topology.discover(&environment.filters);
            Ok(())
        }
    }
}

/// Mooncake would have used them.
fn warn_of_idle_cards(session: &Session) {
    let cards = session.topology.cards();
    if !cards.is_empty() {
        tracing::warn!("{} can do RDMA, which is not in this library yet: TCP is used", cards.join(", "));
    }
}

/// Once for each variable in the life of the process.
fn say_what_is_ignored(environment: &Environment) {
    static SAID: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
    for variable in &environment.ignored {
        if SAID.lock().insert(variable.name) {
            tracing::warn!("environment variable {} has no effect here: {}", variable.name, variable.how);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given_for(metadata: &str, name: &str, environment: &Environment) -> Given {
        let arguments = Arguments { metadata, local_server_name: name, auto_discover: true };
        given(&arguments, environment).expect("arguments")
    }

    #[test]
    fn without_a_service_the_host_is_told_and_the_port_of_the_name_is_not_taken() {
        let given = given_for("P2PHANDSHAKE", "[::1]:12345", &Environment::default());
        assert_eq!(given.advertise_host.as_deref(), Some("::1"));
        assert_eq!((given.name, given.port), (None, 0));
        assert_eq!(given.metadata.as_deref(), Some("P2PHANDSHAKE"));
    }

    #[test]
    fn with_a_service_the_whole_string_is_the_name() {
        let given = given_for("10.0.0.9:2379", "node1:12345", &Environment::default());
        assert_eq!(given.name.as_deref(), Some("node1:12345"));
        assert_eq!(given.metadata.as_deref(), Some("etcd://10.0.0.9:2379"));
        assert_eq!(given.advertise_host, None);
    }

    #[test]
    fn the_port_of_the_name_counts_when_the_environment_says_so() {
        let environment =
            Environment { is_port_literal: true, handshake_port: 12_001, ..Environment::default() };
        assert_eq!(given_for("P2PHANDSHAKE", "node1:12345", &environment).port, 12_345);
        assert_eq!(given_for("P2PHANDSHAKE", "node1", &environment).port, 12_001);
    }

    #[test]
    fn a_word_about_compat_in_the_environment_is_stronger() {
        assert_eq!(given_for("P2PHANDSHAKE", "node1", &Environment::default()).compat, COMPAT_ON);
        let environment = Environment { has_compat: true, ..Environment::default() };
        assert_eq!(given_for("P2PHANDSHAKE", "node1", &environment).compat, 0);
    }

    #[test]
    fn nothing_where_a_name_or_a_service_must_be_is_an_error() {
        for (metadata, name) in [("", "node1"), ("P2PHANDSHAKE", "")] {
            let arguments = Arguments { metadata, local_server_name: name, auto_discover: false };
            assert!(given(&arguments, &Environment::default()).is_err());
        }
    }
}
