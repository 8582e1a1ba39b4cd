//! One empty place of every kind of backend.

use std::sync::Arc;

use mooncake::metadata::{MetadataBackend, VALUE_MAX, open};

use crate::servers::{self, Folder, Server};

pub struct Place {
    pub url: String,
    /// Whether it can list its keys.
    pub lists: bool,
    /// The largest value it takes.
    pub value_max: usize,
    _server: Option<Server>,
    _folder: Option<Folder>,
}

impl Place {
    fn new(url: String) -> Place {
        Place { url, lists: true, value_max: VALUE_MAX, _server: None, _folder: None }
    }

    fn on(server: Server, url: String) -> Place {
        servers::open_when_ready(&url);
        Place { _server: Some(server), ..Place::new(url) }
    }

    pub fn memory() -> Option<Place> {
        Some(Place::new(format!("memory://{}", servers::free_port())))
    }

    pub fn file() -> Option<Place> {
        let folder = Folder::new();
        let url = format!("file://{}", folder.path().display());
        Some(Place { _folder: Some(folder), ..Place::new(url) })
    }

    pub fn redis() -> Option<Place> {
        let server = servers::redis(&[])?;
        let url = format!("redis://127.0.0.1:{}/3", server.port);
        Some(Place::on(server, url))
    }

    pub fn etcd() -> Option<Place> {
        let server = servers::etcd("http", &[])?;
        let url = format!("etcd://127.0.0.1:{}/some/prefix", server.port);
        Some(Place::on(server, url))
    }

    pub fn http() -> Option<Place> {
        let server = servers::ours(&[]);
        let url = format!("http://127.0.0.1:{}/metadata", server.port);
        Some(Place::on(server, url))
    }

    /// Mooncake's own server: it cannot list, and its web framework wants less than 1 MiB.
    pub fn mooncakes() -> Option<Place> {
        let server = servers::mooncakes()?;
        let url = format!("http://127.0.0.1:{}/metadata", server.port);
        Some(Place { lists: false, value_max: (1 << 20) - 1, ..Place::on(server, url) })
    }

    pub fn open(&self) -> Arc<dyn MetadataBackend> {
        open(&self.url).expect("a backend")
    }
}
