//! The keys that have to outlive a restart, beside a certificate but not of it.
//!
//! A server that starts again has lost its connections. Its clients learn that at their next packet,
//! from a stateless reset (RFC 9000 10.3), if the server can tell that the packet's connection id
//! was one of its own and can make the token that it promised for it: for both it needs the keys of
//! before. Clients that were sent away with a Retry just before a restart may come back after it,
//! too.
//!
//! All of them follow from one secret, by HKDF (RFC 5869): none of them tells anything about another
//! or about the secret.

use std::fmt;
use std::sync::Arc;

use quinn_proto::crypto::{HandshakeTokenKey, HmacKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{hkdf, hmac};

use super::TlsError;
use super::fingerprint::read_hex;

/// The keys of an endpoint that have to be the same after a restart.
#[derive(Clone)]
pub struct Keys {
    /// Makes the tokens of stateless resets: for [`quinn_proto::EndpointConfig::new`].
    pub reset: Arc<dyn HmacKey>,
    /// Seals the tokens of Retry packets: for [`quinn_proto::ServerConfig::new`].
    pub token: Arc<dyn HandshakeTokenKey>,
    /// Marks connection ids as ours: for
    /// [`quinn_proto::HashedConnectionIdGenerator::from_key`]. quinn-proto answers unknown
    /// connection ids with a stateless reset only if its generator takes them for its own.
    pub connection_id: u64,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// New keys, for endpoints that need not be known again: clients, tests.
    ///
    /// # Errors
    ///
    /// [`TlsError::Random`] when the system has no randomness.
    pub fn random() -> Result<Self, TlsError> {
        Ok(Secret::random()?.keys(""))
    }
}

/// The secret that [`Keys`] are derived from, as it is kept in a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Secret([u8; 32]);

/// The first line of a secret's file; the number is the format's.
const HEAD: &str = "gapless-quic secret 1\n";

impl Secret {
    pub(super) fn random() -> Result<Self, TlsError> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).map_err(|_| TlsError::Random)?;
        Ok(Self(secret))
    }

    /// The secret that follows from a private key.
    pub(super) fn of_private_key(private_key: &[u8]) -> Self {
        Self(derive(private_key, "secret", ""))
    }

    /// The keys of one endpoint.
    pub(super) fn keys(&self, endpoint: &str) -> Keys {
        let reset: [u8; 32] = derive(&self.0, "reset", endpoint);
        let token: [u8; 32] = derive(&self.0, "token", endpoint);
        let token = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&token);
        Keys {
            reset: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &reset)),
            token: Arc::new(token),
            connection_id: u64::from_be_bytes(derive(&self.0, "connection-id", endpoint)),
        }
    }

    /// The file's text: a head, then the secret in hexadecimal digits, a line each.
    pub(super) fn to_text(self) -> String {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{HEAD}{digits}\n")
    }

    /// Reads what [`to_text`](Self::to_text) wrote; says what is wrong.
    pub(super) fn from_text(text: &[u8]) -> Result<Self, String> {
        let text = str::from_utf8(text).map_err(|_| "it is not text")?;
        let rest = text
            .strip_prefix(HEAD)
            .ok_or_else(|| format!("it does not begin with the line {:?}", HEAD.trim_end()))?;
        let mut secret = [0; 32];
        rest.strip_suffix('\n')
            .and_then(|digits| read_hex(digits, &mut secret))
            .ok_or("its second line is not exactly 64 hexadecimal digits")?;
        Ok(Self(secret))
    }
}

/// HKDF-SHA256 of a secret, for one purpose at one endpoint.
fn derive<const LENGTH: usize>(secret: &[u8], purpose: &str, endpoint: &str) -> [u8; LENGTH] {
    let mut derived = [0; LENGTH];
    // No purpose has a zero in it, so no two pairs make one label.
    let label = [purpose.as_bytes(), &[0], endpoint.as_bytes()];
    hkdf::Salt::new(hkdf::HKDF_SHA256, b"gapless-quic 1")
        .extract(secret)
        .expand(&label, Length(LENGTH))
        .and_then(|expanded| expanded.fill(&mut derived))
        .expect("HKDF-SHA256 gives up to 8160 bytes");
    derived
}

/// How many bytes HKDF is to give.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_as_it_was_written() {
        let secret = Secret::random().unwrap();
        assert!(Secret::from_text(secret.to_text().as_bytes()) == Ok(secret));
    }

    #[test]
    fn a_secret_that_was_cut_anywhere_is_refused() {
        let text = Secret::random().unwrap().to_text();
        for end in 0..text.len() {
            assert!(Secret::from_text(&text.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_secret_with_more_in_its_file_is_refused() {
        let text = Secret::random().unwrap().to_text();
        for more in ["\n", "00\n", "more\n"] {
            assert!(Secret::from_text((text.clone() + more).as_bytes()).is_err(), "{more:?}");
        }
    }

    #[test]
    fn what_is_derived_differs_by_secret_by_purpose_and_by_endpoint() {
        let derived: [[u8; 32]; 4] = [
            derive(b"one", "reset", "a"),
            derive(b"two", "reset", "a"),
            derive(b"one", "token", "a"),
            derive(b"one", "reset", "b"),
        ];
        for (at, one) in derived.iter().enumerate() {
            assert!(!derived[at + 1..].contains(one));
        }
        assert_eq!(derived[0], derive(b"one", "reset", "a"));
    }
}
