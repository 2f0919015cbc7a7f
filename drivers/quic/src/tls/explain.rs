//! Failures of certificates and protocols at the end of a connection, in words for people.
//!
//! QUIC carries TLS's alerts as error codes (RFC 9001 4.8): those say the kind. What they leave open
//! is in the reason that goes with them, which rustls writes and quinn-proto sends along; other
//! stacks write other reasons or none, and then the alert alone counts.

use std::fmt;

use quinn_proto::ConnectionError;

use super::Fingerprint;
use super::leaf::NotPinned;

/// Why TLS refused a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TlsFailure {
    /// The cause.
    pub cause: Cause,
    /// The side that noticed. The certificate that was wrong is the other one's.
    pub noticed: Noticed,
}

/// Which end of a connection refused the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Noticed {
    /// We did: the peer's certificate or protocols are not what we want.
    Here,
    /// The peer did: ours are not what it wants.
    Peer,
}

/// The causes for which TLS refuses.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause {
    /// The certificate was signed by nobody who is believed.
    Untrusted,
    /// The certificate's days are over.
    Expired,
    /// The certificate's days are still to come.
    NotYetValid,
    /// The certificate is for other names than the one that was connected to.
    WrongName,
    /// The certificate is another than the pinned one.
    NotPinned {
        /// The fingerprint that it has.
        presented: Fingerprint,
    },
    /// The certificate was revoked.
    Revoked,
    /// The certificate cannot be used for this, or cannot be read.
    BadCertificate,
    /// A client has to have a certificate, and had none.
    NoCertificate,
    /// A signature is wrong, or made in a way that is not known. A certificate that was signed by a
    /// namesake of a trusted authority ends here too: one with the same name and another key.
    BadSignature,
    /// Both ends speak no application protocol (ALPN) that the other does.
    NoCommonProtocol,
    /// Another alert of TLS (RFC 8446 6).
    Alert(u8),
}

/// The TLS failure that ended a connection, if one did.
pub fn explain(error: &ConnectionError) -> Option<TlsFailure> {
    let (code, reason, noticed) = match error {
        ConnectionError::TransportError(error) => {
            (error.code, error.reason.as_str().into(), Noticed::Here)
        }
        ConnectionError::ConnectionClosed(close) => {
            (close.error_code, String::from_utf8_lossy(&close.reason), Noticed::Peer)
        }
        _ => return None,
    };
    // CRYPTO_ERROR (RFC 9000 20.1).
    let alert = u64::from(code).checked_sub(0x100)?;
    let cause = cause(u8::try_from(alert).ok()?, &reason);
    Some(TlsFailure { cause, noticed })
}

/// The cause of an alert (RFC 8446 6.2), with what the reason adds.
fn cause(alert: u8, reason: &str) -> Cause {
    let says = |word: &str| reason.contains(word);
    match alert {
        42 if says("not valid for name") || says("NotValidForName") => Cause::WrongName,
        42 | 43 => Cause::BadCertificate,
        44 => Cause::Revoked,
        45 if says("not valid yet") || says("NotValidYet") => Cause::NotYetValid,
        45 => Cause::Expired,
        46 => match not_pinned(reason) {
            Some(presented) => Cause::NotPinned { presented },
            None => Cause::BadCertificate,
        },
        48 => Cause::Untrusted,
        51 => Cause::BadSignature,
        116 => Cause::NoCertificate,
        120 => Cause::NoCommonProtocol,
        other => Cause::Alert(other),
    }
}

/// The fingerprint that a verifier of pins had to refuse.
fn not_pinned(reason: &str) -> Option<Fingerprint> {
    let (_, after) = reason.split_once(NotPinned::MARK)?;
    after.get(..64)?.parse().ok()
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.noticed {
            Noticed::Here => "the peer's certificate",
            Noticed::Peer => "the peer refused our certificate: it",
        };
        match (self.cause, self.noticed) {
            (Cause::Untrusted, _) => {
                write!(f, "{whose} is not signed by anybody who is trusted")
            }
            (Cause::Expired, _) => write!(f, "{whose} has expired"),
            (Cause::NotYetValid, _) => write!(f, "{whose} is not valid yet"),
            (Cause::WrongName, _) => write!(f, "{whose} is for another name"),
            (Cause::NotPinned { presented }, _) => {
                write!(f, "{whose} is not the pinned one; its fingerprint is {presented}")
            }
            (Cause::Revoked, _) => write!(f, "{whose} was revoked"),
            (Cause::BadCertificate, _) => write!(f, "{whose} is not acceptable"),
            (Cause::NoCertificate, Noticed::Here) => f.write_str("the peer has no certificate"),
            (Cause::NoCertificate, Noticed::Peer) => {
                f.write_str("the peer demands a certificate of us")
            }
            (Cause::BadSignature, Noticed::Here) => f.write_str(
                "the peer's certificate or handshake is signed with another key than it \
                     should be, or in an unknown way",
            ),
            (Cause::BadSignature, Noticed::Peer) => {
                f.write_str("the peer refused a signature of ours")
            }
            (Cause::NoCommonProtocol, _) => {
                f.write_str("the peer speaks none of our application protocols (ALPN)")
            }
            (Cause::Alert(alert), Noticed::Here) => {
                write!(f, "TLS with the peer failed (alert {alert})")
            }
            (Cause::Alert(alert), Noticed::Peer) => {
                write!(f, "the peer refused TLS with us (alert {alert})")
            }
        }
    }
}
