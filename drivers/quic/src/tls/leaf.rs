//! Verifiers that look at the peer's own certificate alone, not at who signed it: by its
//! fingerprint, or not at all. That the peer has the certificate's private key is always verified.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

use super::Fingerprint;
use super::provider::provider;

/// Which certificates are believed.
#[derive(Debug)]
enum Believed {
    Pinned(Vec<Fingerprint>),
    Any,
}

/// Believes certificates for what they are.
#[derive(Debug)]
pub(super) struct LeafVerifier {
    believed: Believed,
    algorithms: WebPkiSupportedAlgorithms,
    /// Whether a client has to have one.
    mandatory: bool,
}

/// The certificate is none of those that are pinned. rustls writes it with `Debug` into the reason
/// of the connection's end, where [`super::explain`] finds it.
#[derive(thiserror::Error)]
#[error("{}{presented}", Self::MARK)]
pub(super) struct NotPinned {
    presented: Fingerprint,
}

impl NotPinned {
    /// The text before the fingerprint that the peer presented.
    pub(super) const MARK: &str = "not pinned: ";
}

impl fmt::Debug for NotPinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl LeafVerifier {
    pub(super) fn pinned(pinned: Vec<Fingerprint>) -> Self {
        Self::new(Believed::Pinned(pinned))
    }

    pub(super) fn any() -> Self {
        Self::new(Believed::Any)
    }

    fn new(believed: Believed) -> Self {
        let algorithms = provider().signature_verification_algorithms;
        Self { believed, algorithms, mandatory: true }
    }

    pub(super) fn mandatory(self, mandatory: bool) -> Self {
        Self { mandatory, ..self }
    }

    fn verify(&self, leaf: &CertificateDer<'_>) -> Result<(), Error> {
        let presented = Fingerprint::of(leaf);
        match &self.believed {
            Believed::Any => Ok(()),
            Believed::Pinned(pinned) if pinned.contains(&presented) => Ok(()),
            Believed::Pinned(_) => {
                let error = OtherError(Arc::new(NotPinned { presented }));
                Err(CertificateError::Other(error).into())
            }
        }
    }
}

impl ServerCertVerifier for LeafVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(leaf).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for LeafVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(leaf).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
