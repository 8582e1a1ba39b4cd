//! TLS: an authority of the test's own, servers that it vouches for, clients that it vouches for, and those it does not.

use std::io::{Read, Write};
use std::sync::Arc;

use mooncake::error::Code;
use mooncake::metadata::open;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::servers::{self, Folder, open_when_ready};

/// PEM files: ca, another authority, server and client with their keys.
struct Papers {
    folder: Folder,
}

impl Papers {
    fn new() -> Papers {
        let folder = Folder::new();
        let authority = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).expect("parameters");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
        };
        let ca = authority("the authority");
        folder.write("ca.pem", &ca.pem());
        folder.write("other.pem", &authority("another authority").pem());
        for name in ["server", "client"] {
            let key = KeyPair::generate().expect("a key");
            let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
            let mut params = CertificateParams::new(names).expect("parameters");
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            let certificate = params.signed_by(&key, &ca).expect("a certificate");
            folder.write(&format!("{name}.pem"), &certificate.pem());
            folder.write(&format!("{name}.key"), &key.serialize_pem());
        }
        Papers { folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.file(name)
    }

    /// "?ca=..." with a client's certificate or without.
    fn options(&self, ca: &str, has_certificate: bool) -> String {
        let ca = self.file(ca);
        match has_certificate {
            true => format!("?ca={ca}&cert={}&key={}", self.file("client.pem"), self.file("client.key")),
            false => format!("?ca={ca}"),
        }
    }

    /// Whoever shows a certificate of the authority is let in, over a certificate of it; nobody else, on either side.
    fn shows(&self, scheme: &str, plain: &str, at: &str) {
        let backend = open_when_ready(&format!("{scheme}://{at}{}", self.options("ca.pem", true)));
        backend.set("a", b"1").expect("set");
        assert_eq!(backend.get("a").expect("get"), Some(b"1".to_vec()));
        let refused = |url: String, codes: &[Code]| {
            let error = open(&url).err().expect("an error");
            assert!(codes.contains(&error.code), "{url}: {error}");
            error.message().to_owned()
        };
        let told =
            refused(format!("{scheme}://{at}{}", self.options("other.pem", true)), &[Code::Unauthenticated]);
        assert!(told.contains("ca=FILE"), "{told}");
        // How a client without a certificate learns of it depends on when the server says so.
        let late = [Code::Unauthenticated, Code::ConnectionLost, Code::Unreachable];
        refused(format!("{scheme}://{at}{}", self.options("ca.pem", false)), &late);
        let plainly = [Code::ConnectionLost, Code::VersionMismatch, Code::Unreachable, Code::Rejected];
        refused(format!("{plain}://{at}"), &plainly);
    }
}

#[test]
fn redis_over_tls() {
    let papers = Papers::new();
    let [ca, certificate, key] = ["ca.pem", "server.pem", "server.key"].map(|name| papers.file(name));
    let words = [
        "--port",
        "0",
        "--tls-port",
        "PORT",
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
    ];
    let Some(server) = servers::redis(&words) else { return };
    papers.shows("rediss", "redis", &format!("localhost:{}", server.port));
}

#[test]
fn etcd_over_tls() {
    let papers = Papers::new();
    let [ca, certificate, key] = ["ca.pem", "server.pem", "server.key"].map(|name| papers.file(name));
    let words =
        ["--cert-file", &certificate, "--key-file", &key, "--trusted-ca-file", &ca, "--client-cert-auth"];
    let Some(server) = servers::etcd("https", &words) else { return };
    papers.shows("etcds", "etcd", &format!("localhost:{}", server.port));
}

/// A door with TLS before a server of ours.
#[test]
fn http_over_tls() {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let papers = Papers::new();
    let behind = servers::ours(&[]);
    let certificates = |name: &str| {
        CertificateDer::pem_file_iter(papers.file(name))
            .expect("a file")
            .collect::<Result<Vec<_>, _>>()
            .expect("PEM")
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(certificates("ca.pem"));
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .expect("a verifier");
    let key = PrivateKeyDer::from_pem_file(papers.file("server.key")).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates("server.pem"), key)
        .expect("a configuration");
    let (config, port) = (Arc::new(config), behind.port);
    let door = servers::fake(move |stream| {
        let session = rustls::ServerConnection::new(config.clone()).expect("a session");
        let mut stream = rustls::StreamOwned::new(session, stream);
        let mut asked = Vec::new();
        // One request a connection: what comes before the client waits is all of it.
        let mut bytes = [0; 65_536];
        while !is_whole(&asked) {
            match stream.read(&mut bytes) {
                Ok(count) if count > 0 => asked.extend_from_slice(&bytes[..count]),
                _ => return,
            }
        }
        let text = String::from_utf8(asked).expect("text").replacen("\r\n", "\r\nconnection: close\r\n", 1);
        let (status, body) = servers::request(port, &text);
        let head =
            format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    for path in ["metadata"] {
        let at = |ca: &str, has_certificate| {
            format!("https://localhost:{door}/{path}{}", papers.options(ca, has_certificate))
        };
        let backend = open(&at("ca.pem", true)).expect("a backend");
        backend.set("a", b"1").expect("set");
        assert_eq!(backend.get("a").expect("get"), Some(b"1".to_vec()));
        let error = open(&at("other.pem", true)).err().expect("an error");
        assert!(error.code == Code::Unauthenticated && error.message().contains("ca=FILE"), "{error}");
        let error = open(&at("ca.pem", false)).err().expect("an error");
        assert!(matches!(error.code, Code::Unauthenticated | Code::ConnectionLost), "{error}");
    }
}

/// The head, and as much of a body as it says.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.split("content-length:").nth(1).and_then(|rest| rest.lines().next()?.trim().parse().ok());
    body.len() >= length.unwrap_or(0)
}

#[test]
fn files_that_are_none_are_named() {
    let papers = Papers::new();
    let empty = papers.folder.write("empty.pem", "");
    let url = |options: &str| format!("https://localhost:1/metadata?{options}");
    for (options, wanted) in [
        (format!("ca={empty}"), "holds no certificate"),
        ("ca=/nonexistent.pem".to_owned(), "/nonexistent.pem"),
        (format!("ca={}&cert={}", papers.file("ca.pem"), papers.file("client.pem")), "give both or neither"),
        (
            format!("ca={}&cert={}&key={empty}", papers.file("ca.pem"), papers.file("client.pem")),
            "no private key",
        ),
        (
            format!(
                "ca={}&cert={}&key={}",
                papers.file("ca.pem"),
                papers.file("client.pem"),
                papers.file("server.key")
            ),
            "do not belong together",
        ),
    ] {
        let error = open(&url(&options)).err().expect("an error");
        assert!(error.message().contains(wanted), "{error}");
    }
}
