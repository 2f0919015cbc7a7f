//! The names of the ends of connections, whichever side has ended them.

use gapless_quic::tls::{Cause, Fingerprint, Noticed, TlsFailure, explain};
use quinn_proto::{ConnectionClose, ConnectionError, TransportError, TransportErrorCode};

fn here(alert: u8, reason: &str) -> ConnectionError {
    let mut error = TransportError::from(TransportErrorCode::crypto(alert));
    reason.clone_into(&mut error.reason);
    ConnectionError::TransportError(error)
}

fn by_peer(alert: u8, reason: &[u8]) -> ConnectionError {
    ConnectionError::ConnectionClosed(ConnectionClose {
        error_code: TransportErrorCode::crypto(alert),
        frame_type: None,
        reason: reason.to_vec().into(),
    })
}

#[test]
fn an_alert_without_a_reason_is_named_by_its_number() {
    let causes = [
        (40, Cause::Alert(40)),
        (42, Cause::BadCertificate),
        (43, Cause::BadCertificate),
        (44, Cause::Revoked),
        (45, Cause::Expired),
        (46, Cause::BadCertificate),
        (48, Cause::Untrusted),
        (51, Cause::BadSignature),
        (116, Cause::NoCertificate),
        (120, Cause::NoCommonProtocol),
        (255, Cause::Alert(255)),
    ];
    for (alert, cause) in causes {
        let expected = Some(TlsFailure { cause, noticed: Noticed::Peer });
        assert_eq!(explain(&by_peer(alert, b"")), expected, "{alert}");
        let expected = Some(TlsFailure { cause, noticed: Noticed::Here });
        assert_eq!(explain(&here(alert, "")), expected, "{alert}");
    }
}

#[test]
fn a_reason_that_makes_no_sense_changes_nothing() {
    for reason in [&b"\xff\xfe"[..], b"not pinned: ", "not pinned: ééé".as_bytes()] {
        let failure = explain(&by_peer(46, reason)).unwrap();
        assert_eq!(failure.cause, Cause::BadCertificate);
    }
    let long = format!("not pinned: {}", "é".repeat(64));
    assert_eq!(explain(&by_peer(46, long.as_bytes())).unwrap().cause, Cause::BadCertificate);
}

#[test]
fn ends_that_are_not_tls_s_are_not_explained() {
    let mut error = TransportError::from(TransportErrorCode::PROTOCOL_VIOLATION);
    "certificate".clone_into(&mut error.reason);
    for error in [
        ConnectionError::TransportError(error),
        ConnectionError::TimedOut,
        ConnectionError::Reset,
        ConnectionError::LocallyClosed,
        ConnectionError::VersionMismatch,
    ] {
        assert_eq!(explain(&error), None, "{error}");
    }
}

#[test]
fn a_failure_says_whose_fault_it_is() {
    let text = |cause, noticed| TlsFailure { cause, noticed }.to_string();
    assert_eq!(
        text(Cause::Untrusted, Noticed::Here),
        "the peer's certificate is not signed by anybody who is trusted"
    );
    assert_eq!(
        text(Cause::Expired, Noticed::Peer),
        "the peer refused our certificate: it has expired"
    );
    assert_eq!(text(Cause::NoCertificate, Noticed::Peer), "the peer demands a certificate of us");
    let presented = Fingerprint([0xab; 32]);
    assert!(text(Cause::NotPinned { presented }, Noticed::Here).ends_with(&presented.to_string()));
}
