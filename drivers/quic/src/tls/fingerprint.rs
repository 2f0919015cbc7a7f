//! The fingerprint of a certificate: the SHA-256 of its DER, which is what browsers call a
//! certificate hash and what `openssl x509 -fingerprint -sha256` prints.

use std::fmt;
use std::str::FromStr;

use quinn_proto::crypto::Session;
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;

/// The SHA-256 of a certificate's DER.
///
/// Written as 64 lower-case hexadecimal digits; read in either case, plain or as pairs with colons
/// between them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self::of_bytes(certificate)
    }

    pub(super) fn of_bytes(hashed: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, hashed).as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no fingerprint.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FingerprintError {
    /// Not as many digits as a SHA-256 has.
    #[error("a fingerprint has 64 hexadecimal digits, not {digits}")]
    Length {
        /// How many characters there are, without colons.
        digits: usize,
    },
    /// A character that is no hexadecimal digit.
    #[error("{found:?} is not a hexadecimal digit")]
    Digit {
        /// The character.
        found: char,
    },
    /// A colon that is not between two pairs of digits, or some that are missing.
    #[error("colons stand between all pairs of digits, or nowhere")]
    Colons,
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: String = text.chars().filter(|character| *character != ':').collect();
        if let Some(found) = digits.chars().find(|character| !character.is_ascii_hexdigit()) {
            return Err(FingerprintError::Digit { found });
        }
        let mut bytes = [0; 32];
        if read_hex(&digits, &mut bytes).is_none() {
            return Err(FingerprintError::Length { digits: digits.len() });
        }
        let paired = text.split(':').all(|pair| pair.len() == 2);
        if text.contains(':') && !paired {
            return Err(FingerprintError::Colons);
        }
        Ok(Self(bytes))
    }
}

/// Reads exactly as many bytes as `bytes` takes from hexadecimal digits.
pub(super) fn read_hex(digits: &str, bytes: &mut [u8]) -> Option<()> {
    if digits.len() != 2 * bytes.len() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..digits.len()).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    Some(())
}

/// The fingerprint of the certificate that the peer of a connection has shown, once the handshake
/// is done: a client always has its server's, a server has its client's if it asked for one and the
/// client had one.
///
/// `session` is what [`quinn_proto::Connection::crypto_session`] gives. Sessions that are not
/// rustls' (the simulator's) have no certificates.
pub fn peer_fingerprint(session: &dyn Session) -> Option<Fingerprint> {
    let chain = session.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    chain.first().map(Fingerprint::of)
}
