//! TLS: identities from files and from a kept folder, what clients and servers believe, and what
//! the ends of connections are called.

mod drivers;
mod ends;
mod files;
mod folder;
mod handshakes;
mod pair;

use std::time::{Duration, SystemTime};

use gapless_quic::tls::{Identity, Keys};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// A new identity for one test, valid now.
fn identity() -> Identity {
    Identity::self_signed(&NAMES, SystemTime::now()).unwrap()
}

/// The values that keys make: the token of a stateless reset, a sealed Retry token, and the mark of
/// connection ids.
fn shown(keys: &Keys) -> (Vec<u8>, Vec<u8>, u64) {
    let mut reset = vec![0; keys.reset.signature_len()];
    keys.reset.sign(b"a connection id", &mut reset);
    let mut token = b"a token".to_vec();
    keys.token.aead_from_hkdf(b"random").seal(&mut token, b"").unwrap();
    (reset, token, keys.connection_id)
}

fn assert_all_differ(one: &Keys, other: &Keys) {
    let (one, other) = (shown(one), shown(other));
    assert_ne!(one.0, other.0);
    assert_ne!(one.1, other.1);
    assert_ne!(one.2, other.2);
}
