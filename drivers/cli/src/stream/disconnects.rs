//! Why a connection could not be had, or is over, in words, and what that means for the program's end.

use std::io;
use std::net::SocketAddr;

use gapless_quic::Reason;
use gapless_quic::tls::{Cause, Noticed, TlsFailure, explain};
use quinn_proto::{ConnectionError, TransportErrorCode};

use super::codes;
use crate::failure::{Failure, Outcome};

/// "Message too long".
const TOO_LARGE: i32 = 90;

/// Why a connection is over that was, or was not yet, complete.
pub(super) fn of_connection(reason: &Reason, was_connected: bool) -> Failure {
    let lost = |why: String| Failure::new(Outcome::Lost, format!("the connection is lost: {why}"));
    let error = match reason {
        Reason::Closed { .. } => {
            return Failure::new(Outcome::Lost, "the connection was closed here");
        }
        Reason::IdleTimedOut { after } if was_connected => {
            return lost(format!("nothing came from the peer for {} s", after.as_secs_f64()));
        }
        Reason::HandshakeTimedOut { .. } | Reason::IdleTimedOut { .. } => {
            return Failure::unreachable("the peer does not answer");
        }
        Reason::Lost(error) => error,
    };
    if let Some(failure) = explain(error) {
        return of_tls(failure);
    }
    match error {
        ConnectionError::Reset => {
            lost("the peer does not know it any more: it was started anew".into())
        }
        ConnectionError::VersionMismatch => Failure::new(
            Outcome::WrongProtocol,
            "the peer speaks no version of QUIC that is known here",
        ),
        ConnectionError::ApplicationClosed(close) => {
            let code = close.error_code.into_inner();
            let reason = String::from_utf8_lossy(&close.reason);
            let why = match (codes::words(code), reason.trim()) {
                (Some(words), _) => format!("the peer closed it: {words}"),
                (None, "") if code == codes::FINE => "the peer closed it".into(),
                (None, "") => format!("the peer closed it with code {code:#x}"),
                // A peer's text is not for a terminal to obey.
                (None, reason) => {
                    format!("the peer closed it with code {code:#x}: {}", reason.escape_debug())
                }
            };
            lost(why)
        }
        ConnectionError::ConnectionClosed(close)
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            Failure::unreachable("the peer refuses connections: it has too many")
        }
        // A peer's text is not for a terminal to obey.
        error => lost(error.to_string().escape_debug().to_string()),
    }
}

/// Why nothing can be sent to an address, in the system's words, and what may help.
pub(super) fn of_send(address: SocketAddr, os_error: i32) -> Failure {
    let error = io::Error::from_raw_os_error(os_error);
    let failure = Failure::unreachable(format!("cannot reach {address}: {error}"));
    match error.kind() {
        io::ErrorKind::ConnectionRefused => failure
            .advise("nobody listens there: see that a listener runs, and that the port is its"),
        io::ErrorKind::PermissionDenied => failure.advise(
            "a firewall or a route of this machine forbids it, or it is a broadcast address",
        ),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => failure
            .advise("see that the address is right, and that there is a way to it: `ip route get`"),
        _ if os_error == TOO_LARGE => {
            failure.advise("QUIC needs a way that carries packets with 1200 bytes: see its MTU")
        }
        _ => failure,
    }
}

fn of_tls(failure: TlsFailure) -> Failure {
    let outcome = match failure.cause {
        Cause::NoCommonProtocol | Cause::Alert(_) => Outcome::WrongProtocol,
        _ => Outcome::Untrusted,
    };
    let reported = Failure::new(outcome, failure.to_string());
    match (failure.cause, failure.noticed) {
        (Cause::Untrusted, Noticed::Here) => reported.advise(
            "give the file of who signed it with --ca, or the fingerprint that the listener tells with \
             --pin",
        ),
        (Cause::NotPinned { presented }, Noticed::Here) => reported.advise(format!(
            "if the listener tells this one now, use --pin {presented}; else somebody is in between"
        )),
        (Cause::WrongName, Noticed::Here) => {
            reported.advise("connect by a name that it is for, or use --pin")
        }
        (Cause::Expired | Cause::NotYetValid, Noticed::Here) => {
            reported.advise("see that both clocks are right, or use --pin")
        }
        (Cause::NoCertificate, Noticed::Peer) => {
            reported.advise("show one with --client-cert and --client-key")
        }
        (Cause::NoCommonProtocol, _) => {
            reported.advise("tagged streams are the protocol gapless/1: see that the port is the right one")
        }
        _ => reported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quinn_proto::{ApplicationClose, ConnectionClose};

    #[test]
    fn nothing_that_a_peer_writes_reaches_a_terminal_as_it_is() {
        let reason = bytes::Bytes::from_static(b"\x1b[2Jgone\n");
        let by_transport = ConnectionClose {
            error_code: TransportErrorCode::PROTOCOL_VIOLATION,
            frame_type: None,
            reason: reason.clone(),
        };
        let by_application = ApplicationClose { error_code: 7_u32.into(), reason };
        for error in [
            ConnectionError::ConnectionClosed(by_transport),
            ConnectionError::ApplicationClosed(by_application),
        ] {
            let failure = of_connection(&Reason::Lost(error), true);
            assert!(failure.what().contains("gone"), "{}", failure.what());
            assert!(!failure.what().contains(char::is_control), "{}", failure.what());
        }
    }
}
