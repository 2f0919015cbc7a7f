//! Which servers a client believes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;

use super::leaf::LeafVerifier;
use super::provider::provider;
use super::{Fingerprint, TlsError, pem};

/// Which servers a client believes. That a server has the private key of the certificate that it
/// shows is verified in every case.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    /// Servers whose certificate one of the system's authorities has signed, for the name that was
    /// connected to. `SSL_CERT_FILE` and `SSL_CERT_DIR` are heeded.
    #[default]
    System,
    /// Servers whose certificate was signed by one of those in this PEM file, for the name that was
    /// connected to; or whose certificate is itself in the file, if it is self-signed.
    File(PathBuf),
    /// The server that has this very certificate. Neither the name nor the dates are looked at: a
    /// pin says more than a name does, and a certificate that is no longer to be believed is no
    /// longer pinned, whatever the clocks show. A self-signed certificate has to be pinned anew
    /// when it was renewed.
    Pinned(Fingerprint),
    /// **Anybody.** Whoever is on the path to the server can be it, read everything and write
    /// anything. The connection is encrypted, but nobody knows for whom. For tests on one machine;
    /// [`Pinned`](Self::Pinned) is as easy and is safe.
    Insecure,
}

impl Trust {
    /// The answers to rustls about a server's certificate.
    pub(super) fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
        let roots = match self {
            Self::System => system_roots()?,
            Self::File(file) => roots(file)?,
            Self::Pinned(pin) => return Ok(Arc::new(LeafVerifier::pinned(vec![*pin]))),
            Self::Insecure => return Ok(Arc::new(LeafVerifier::any())),
        };
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider())
            .build()
            .map_err(|error| TlsError::Configuration(error.to_string()))?;
        Ok(verifier)
    }
}

/// The authorities of the system: those that could be loaded, if that is any.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems have certificates among theirs that no verifier takes; the others still serve.
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        let failures = loaded.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoSystemRoots { failures });
    }
    Ok(roots)
}

/// The certificates in a file, each of which is believed.
pub(super) fn roots(file: &Path) -> Result<RootCertStore, TlsError> {
    roots_in(file, &pem::read(file)?)
}

/// The certificates in the text of a file, each of which is believed.
pub(super) fn roots_in(file: &Path, text: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(file, text)? {
        let unusable = |error: rustls::Error| TlsError::Certificate {
            file: file.into(),
            what: error.to_string(),
        };
        roots.add(certificate).map_err(unusable)?;
    }
    Ok(roots)
}
