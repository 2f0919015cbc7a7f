//! Identities and trust: the keys that have to outlive a restart, what clients
//! and servers trust, and the configurations that quinn-proto takes.
//!
//! * [`Identity`]: a certificate chain with its key, from files or self-signed and kept in a folder,
//!   and the [`Keys`] that follow from it.
//! * [`Trust`]: which servers a client believes. [`ClientAuth`]: which clients a server believes.
//! * [`server_config`], [`client_config`]: both put together; [`endpoint_config`]: with the keys.
//! * [`explain`]: what a connection's end says about certificates and protocols, for people.
//!
//! # What is chosen here
//!
//! TLS 1.3 only, as QUIC has it, on *ring*, which is always passed explicitly: a process-wide
//! default provider is neither set nor asked for. AES-128-GCM comes first among the cipher suites:
//! QUIC's first packets use it in any case, and it is the cheapest on processors with AES
//! instructions; the others are offered too.
//!
//! 0-RTT is off: what it carries can be replayed. Sessions are not resumed either: without 0-RTT a
//! resumption would spare one signature, but it would cost every connection its tickets and the
//! server a store, and a resumed session is not asked for a certificate again, so that a pin or a
//! CA that was withdrawn would go on being believed.

mod client_auth;
mod config;
mod error;
mod explain;
mod exposed;
mod fingerprint;
mod identity;
mod identity_store;
mod keys;
mod leaf;
mod pem;
mod provider;
mod trust;
mod x509;

pub use client_auth::{ClientAuth, ClientTrust};
pub use config::{client_config, endpoint_config, inspect, server_config};
pub use error::TlsError;
pub use explain::{Cause, Noticed, TlsFailure, explain};
pub use exposed::Exposed;
pub use fingerprint::{Fingerprint, FingerprintError, peer_fingerprint};
pub use identity::{Identity, Warning};
pub use identity_store::{BACKDATED, LIFETIME, RENEW_BEFORE};
pub use keys::Keys;
pub use trust::Trust;
pub use x509::Validity;
