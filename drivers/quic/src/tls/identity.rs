//! An identity: a certificate chain with its private key, and the keys that have to outlive a
//! restart. From PEM files, kept in a folder, or made for one run.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::exposed::{Exposed, exposed};
use super::keys::{Keys, Secret};
use super::provider::provider;
use super::x509::{Leaf, Validity};
use super::{Fingerprint, TlsError, pem, x509};

/// Something about an identity that does not hinder a start, but that peers will refuse.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Warning {
    /// The certificate's last day is over.
    Expired {
        /// For how long it has been.
        since: Duration,
    },
    /// The certificate's first day is still to come, or the clock is slow.
    NotYetValid {
        /// How long it is until then.
        until: Duration,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Expired { since } => {
                write!(f, "the certificate expired {} ago", Rounded(since))
            }
            Self::NotYetValid { until } => {
                write!(f, "the certificate is not valid yet, but in {}", Rounded(until))
            }
        }
    }
}

/// A time in its largest unit.
struct Rounded(Duration);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (count, unit) = match seconds {
            0..60 => (seconds, "second"),
            60..3_600 => (seconds / 60, "minute"),
            3_600..86_400 => (seconds / 3_600, "hour"),
            _ => (seconds / 86_400, "day"),
        };
        write!(f, "{count} {unit}{}", if count == 1 { "" } else { "s" })
    }
}

/// The identity of an endpoint: its certificate chain, its private key, and the secret that its [`Keys`]
/// follow from.
#[derive(Clone)]
pub struct Identity {
    certified: Arc<CertifiedKey>,
    private: Arc<PrivateKeyDer<'static>>,
    leaf: Arc<Leaf>,
    secret: Secret,
    exposed: Arc<[Exposed]>,
}

impl Identity {
    /// Reads a certificate chain, the endpoint's own certificate first, and the private key that
    /// belongs to it: PKCS #8, SEC 1 or PKCS #1, the first in its file. Both may be one file.
    ///
    /// Dates are not checked: see [`warning`](Self::warning).
    ///
    /// The [`keys`](Self::keys) follow from the private key's bytes (HKDF): who runs an endpoint from
    /// files has given it no folder to keep a secret in, and still a restarted server has to have the
    /// same keys. They change when the private key does.
    ///
    /// # Errors
    ///
    /// Which file it is, and what is wrong with it: it cannot be read, is larger than 16 MiB or damaged,
    /// holds no certificate or no key, the key is encrypted or is another certificate's, or rustls knows no
    /// such key.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = pem::certificates(certificate, &pem::read(certificate)?)?;
        let private = pem::private_key(key, &pem::read(key)?)?;
        let secret = Secret::of_private_key(private.secret_der());
        let identity = Self::assemble(chain, private, secret, certificate, key)?;
        Ok(identity.exposed_at(std::iter::once(key).chain(exposed_folder(key))))
    }

    /// An identity from a text with both the certificate and the private key.
    pub(super) fn from_text(file: &Path, text: &[u8], secret: Secret) -> Result<Self, TlsError> {
        let chain = pem::certificates(file, text)?;
        let private = pem::private_key(file, text)?;
        Self::assemble(chain, private, secret, file, file)
    }

    fn assemble(
        chain: Vec<CertificateDer<'static>>,
        private: PrivateKeyDer<'static>,
        secret: Secret,
        certificate: &Path,
        key: &Path,
    ) -> Result<Self, TlsError> {
        let unusable = |what| TlsError::Certificate { file: certificate.into(), what };
        let leaf = x509::read(&chain[0]).map_err(unusable)?;
        let signing = provider()
            .key_provider
            .load_private_key(private.clone_key())
            .map_err(|source| TlsError::Key { file: key.into(), source })?;
        let certified = CertifiedKey::new(chain, signing);
        certified.keys_match().map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Mismatch { certificate: certificate.into(), key: key.into() }
            }
            other => unusable(other.to_string()),
        })?;
        Ok(Self {
            certified: Arc::new(certified),
            private: Arc::new(private),
            leaf: Arc::new(leaf),
            secret,
            exposed: Arc::default(),
        })
    }

    /// The same, with a look at the permissions of what its private key is kept in.
    pub(super) fn exposed_at<'a>(mut self, places: impl IntoIterator<Item = &'a Path>) -> Self {
        self.exposed = places.into_iter().filter_map(exposed).collect();
        self
    }

    /// Files and folders of the private key that others can read or change.
    pub fn exposed(&self) -> &[Exposed] {
        &self.exposed
    }

    /// The SHA-256 of the endpoint's own certificate: what clients pin.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certified.cert[0])
    }

    /// The certificate chain, the endpoint's own first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The certificate chain as PEM: for a client's [`Trust::File`](super::Trust::File), and for
    /// other programs.
    pub fn chain_pem(&self) -> String {
        let section = |der: &CertificateDer<'_>| ::pem::Pem::new("CERTIFICATE", der.to_vec());
        let sections: Vec<_> = self.chain().iter().map(section).collect();
        let endings = ::pem::EncodeConfig::new().set_line_ending(::pem::LineEnding::LF);
        ::pem::encode_many_config(&sections, endings)
    }

    /// The private key, for those who configure another TLS stack with it.
    pub fn private_key(&self) -> &PrivateKeyDer<'static> {
        &self.private
    }

    /// The keys that are the same after a restart of the same endpoint.
    ///
    /// `endpoint` distinguishes endpoints that share this identity: the address that is listened on
    /// serves, with the machine's name if several machines do. It has to, because two endpoints with
    /// the same keys betray each other's connections: whoever sees a connection id of one sends it to
    /// the other, which does not know it, and gets the token that ends the connection (RFC 9000
    /// 21.11).
    pub fn keys(&self, endpoint: &str) -> Keys {
        self.secret.keys(endpoint)
    }

    /// From when to when the endpoint's own certificate is valid.
    pub fn validity(&self) -> Validity {
        self.leaf.validity
    }

    /// The reason for which peers that check dates refuse this identity at the time `now`.
    pub fn warning(&self, now: SystemTime) -> Option<Warning> {
        let Validity { not_before, not_after } = self.leaf.validity;
        match (now.duration_since(not_after), not_before.duration_since(now)) {
            // The last second is valid all through.
            (Ok(since), _) if since >= Duration::from_secs(1) => Some(Warning::Expired { since }),
            (_, Ok(until)) if !until.is_zero() => Some(Warning::NotYetValid { until }),
            _ => None,
        }
    }

    pub(super) fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    pub(super) fn certified(&self) -> Arc<CertifiedKey> {
        self.certified.clone()
    }
}

/// The folder of a private key, if others can replace the key in it: in a sticky one they cannot.
fn exposed_folder(key: &Path) -> Option<&Path> {
    const STICKY: u32 = 0o1000;
    let folder = key.parent()?;
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    exposed(folder).is_some_and(|exposed| exposed.mode & STICKY == 0).then_some(folder)
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("fingerprint", &self.fingerprint())
            .field("validity", &self.leaf.validity)
            .finish_non_exhaustive()
    }
}
