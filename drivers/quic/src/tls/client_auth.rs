//! Which clients a server believes, and whether it asks them at all.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::leaf::LeafVerifier;
use super::provider::provider;
use super::{Fingerprint, TlsError, pem, trust};

/// Whether a server asks its clients for a certificate.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum ClientAuth {
    /// It does not.
    #[default]
    None,
    /// It does, and takes clients without one too. One that is shown but is not believed is refused.
    Optional(ClientTrust),
    /// It does, and refuses clients without one.
    Required(ClientTrust),
}

/// Which clients' certificates are believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientTrust {
    /// Those that were signed by one of those in this PEM file, or are themselves in it, if they are
    /// self-signed; for clients, and on their days.
    File(PathBuf),
    /// As with [`File`](Self::File), from its text that was read before: see [`read`](Self::read).
    Pem {
        /// The file, for errors.
        file: PathBuf,
        /// Its text.
        text: Vec<u8>,
    },
    /// These very certificates, whatever their dates: as with
    /// [`Trust::Pinned`](super::Trust::Pinned). At least one.
    Pinned(Vec<Fingerprint>),
}

impl ClientAuth {
    /// The answers to rustls about a client's certificate.
    pub(super) fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        match self {
            Self::None => Ok(WebPkiClientVerifier::no_client_auth()),
            Self::Optional(trust) => trust.verifier(false),
            Self::Required(trust) => trust.verifier(true),
        }
    }
}

impl ClientTrust {
    /// Reads a file now, which may be a pipe: it is not read again by configurations that are made later.
    ///
    /// # Errors
    /// [`TlsError::Io`]: it cannot be read, or is larger than 16 MiB.
    pub fn read(file: &Path) -> Result<Self, TlsError> {
        Ok(Self::Pem { file: file.into(), text: pem::read(file)? })
    }

    fn verifier(&self, mandatory: bool) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let roots = match self {
            Self::Pinned(pins) if pins.is_empty() => return Err(TlsError::NoPins),
            Self::Pinned(pins) => {
                return Ok(Arc::new(LeafVerifier::pinned(pins.clone()).mandatory(mandatory)));
            }
            Self::File(file) => trust::roots(file)?,
            Self::Pem { file, text } => trust::roots_in(file, text)?,
        };
        let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider());
        let builder = if mandatory { builder } else { builder.allow_unauthenticated() };
        builder.build().map_err(|error| TlsError::Configuration(error.to_string()))
    }
}
