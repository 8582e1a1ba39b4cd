//! Whom a TLS connection trusts and who it is: PEM files, checked when they are read.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Context, Result};
use crate::{bail, fail};

/// Where systems keep the authorities that they trust; the first one that exists counts.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Largest PEM file.
const FILE_MAX: u64 = 8 << 20;

/// What a client needs for TLS.
pub struct Tls {
    /// The authorities, in PEM.
    pub authorities: Vec<u8>,
    /// Certificates and key of this client, in PEM, if it has any.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    config: Arc<ClientConfig>,
}

impl Tls {
    /// Reads the files of a client: authorities, or those of the system; its certificate and its key, or neither.
    pub fn read(ca: Option<&str>, certificate: Option<&str>, key: Option<&str>) -> Result<Tls> {
        let system = || SYSTEM_BUNDLES.iter().copied().find(|path| Path::new(path).exists());
        let Some(ca) = ca.or_else(system) else {
            bail!(NotFound, "this host has no bundle of certificate authorities: name one with ?ca=FILE");
        };
        let authorities = read(ca)?;
        let mut roots = RootCertStore::empty();
        // A bundle may hold one that this implementation does not know; the others count.
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&authorities).flatten());
        if roots.is_empty() {
            bail!(InvalidArgument, "{ca} holds no certificate in PEM");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| fail!(Internal, "no version of TLS: {error}"))?
            .with_root_certificates(roots);
        let (config, identity) = match (certificate, key) {
            (None, None) => (builder.with_no_client_auth(), None),
            (Some(certificate_file), Some(key_file)) => {
                let (certificate, key) = (read(certificate_file)?, read(key_file)?);
                let chain: std::result::Result<Vec<_>, _> =
                    CertificateDer::pem_slice_iter(&certificate).collect();
                let chain = chain.ok().filter(|chain| !chain.is_empty());
                let chain = chain.ok_or_else(|| {
                    fail!(InvalidArgument, "{certificate_file} holds no certificate in PEM")
                })?;
                let private = PrivateKeyDer::from_pem_slice(&key)
                    .map_err(|_| fail!(InvalidArgument, "{key_file} holds no private key in PEM"))?;
                let config = builder.with_client_auth_cert(chain, private).map_err(|error| {
                    fail!(
                        InvalidArgument,
                        "{certificate_file} and {key_file} do not belong together: {error}"
                    )
                })?;
                (config, Some((certificate, key)))
            }
            _ => bail!(InvalidArgument, "of cert and key only one is given: give both or neither"),
        };
        Ok(Tls { authorities, identity, config: Arc::new(config) })
    }

    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }
}

fn read(path: &str) -> Result<Vec<u8>> {
    let size = fs::metadata(path).context(format_args!("reading {path}"))?.len();
    if size > FILE_MAX {
        bail!(InvalidArgument, "{path} has {size} bytes: a PEM file has at most {FILE_MAX}");
    }
    fs::read(path).context(format_args!("reading {path}"))
}
