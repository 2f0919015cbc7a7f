//! Facts of a handshake that only rustls reports: whether it was a full one, and who signed it.

use std::time::SystemTime;

use rustls::quic::{ClientConnection, Connection, ServerConnection, Version};
use rustls::server::ServerSessionMemoryCache;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, CipherSuite, ClientConfig, Error, HandshakeKind, ServerConfig};

use super::super::ClientTrust;
use super::*;

fn identity() -> Identity {
    Identity::self_signed(&["localhost"], SystemTime::now()).unwrap()
}

fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let identity = identity();
    let trust = Trust::Pinned(identity.fingerprint());
    let server = server(&identity, &["gapless/1"], &ClientAuth::None).unwrap();
    (Arc::new(server), Arc::new(client(&trust, &["gapless/1"], None).unwrap()))
}

/// A client and a server that believe each other, after as many flights as any handshake takes, tickets
/// included.
fn meet(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> (Connection, Connection) {
    try_to_meet(server, client).unwrap()
}

/// The same, or the first error of either.
fn try_to_meet(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> Result<(Connection, Connection), Error> {
    let name = "localhost".try_into().unwrap();
    let client = ClientConnection::new(client.clone(), Version::V1, name, vec![])?;
    let server = ServerConnection::new(server.clone(), Version::V1, vec![])?;
    let mut ends = (Connection::from(client), Connection::from(server));
    for _ in 0..4 {
        deliver(&mut ends.0, &mut ends.1)?;
        deliver(&mut ends.1, &mut ends.0)?;
    }
    assert!(!ends.0.is_handshaking() && !ends.1.is_handshaking());
    Ok(ends)
}

fn deliver(from: &mut Connection, to: &mut Connection) -> Result<(), Error> {
    loop {
        // A flight ends where keys change.
        let mut flight = Vec::new();
        let keys = from.write_hs(&mut flight);
        if keys.is_none() && flight.is_empty() {
            return Ok(());
        }
        to.read_hs(&flight)?;
    }
}

/// Ours that believe each other, and the same as they would be if they resumed sessions.
fn with_resuming() -> ((ServerConfig, ClientConfig), (ServerConfig, ClientConfig)) {
    let (server, client) = configs();
    let ours = || (ServerConfig::clone(&server), ClientConfig::clone(&client));
    let (mut generous, mut keen) = ours();
    generous.send_tls13_tickets = 2;
    generous.session_storage = ServerSessionMemoryCache::new(8);
    keen.resumption = Resumption::in_memory_sessions(8);
    (ours(), (generous, keen))
}

/// How the second handshake of two goes, and whether its client could send before it.
fn second(server: ServerConfig, client: ClientConfig) -> (HandshakeKind, bool) {
    let (server, client) = (Arc::new(server), Arc::new(client));
    meet(&server, &client);
    let (client, server) = meet(&server, &client);
    (server.handshake_kind().unwrap(), client.zero_rtt_keys().is_some())
}

#[test]
fn whoever_comes_again_is_asked_for_everything_again() {
    let ((ours, _), (_, keen)) = with_resuming();
    assert_eq!(second(ours, keen).0, HandshakeKind::Full);
    let ((_, ours), (generous, _)) = with_resuming();
    assert_eq!(second(generous, ours).0, HandshakeKind::Full);
    let (_, (generous, keen)) = with_resuming();
    assert_eq!(second(generous, keen).0, HandshakeKind::Resumed, "it can happen");
}

#[test]
fn neither_end_lets_data_be_sent_before_the_handshake() {
    let early = |server: bool, client: bool| {
        let (_, (mut generous, mut keen)) = with_resuming();
        if server {
            generous.max_early_data_size = u32::MAX;
        }
        keen.enable_early_data |= client;
        second(generous, keen).1
    };
    assert!(!early(true, false));
    assert!(!early(false, true));
    assert!(early(true, true), "it can happen");
}

#[test]
fn the_cheapest_cipher_suite_is_chosen_first() {
    let (server, client) = configs();
    let (client, _) = meet(&server, &client);
    let chosen = client.negotiated_cipher_suite().map(|suite| suite.suite());
    assert_eq!(chosen, Some(CipherSuite::TLS13_AES_128_GCM_SHA256));
}

/// Somebody who shows a certificate without having its private key.
fn impostor(shown: &Identity) -> Arc<SingleCertAndKey> {
    let own = identity().certified();
    let shown = CertifiedKey::new(shown.chain().to_vec(), own.key.clone());
    Arc::new(SingleCertAndKey::from(shown))
}

#[test]
fn a_server_without_the_key_of_its_certificate_is_refused_by_every_trust() {
    let real = identity();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("certificate.pem");
    std::fs::write(&file, real.chain_pem()).unwrap();
    for trust in [Trust::File(file), Trust::Pinned(real.fingerprint()), Trust::Insecure] {
        let mut server = server(&real, &["gapless/1"], &ClientAuth::None).unwrap();
        let client = Arc::new(client(&trust, &["gapless/1"], None).unwrap());
        meet(&Arc::new(server.clone()), &client);
        server.cert_resolver = impostor(&real);
        let refused = try_to_meet(&Arc::new(server), &client).err();
        assert_eq!(refused, Some(CertificateError::BadSignature.into()), "{trust:?}");
    }
}

#[test]
fn a_client_without_the_key_of_its_certificate_is_refused_by_every_trust() {
    let real = identity();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("certificate.pem");
    std::fs::write(&file, real.chain_pem()).unwrap();
    for trust in [ClientTrust::File(file), ClientTrust::Pinned(vec![real.fingerprint()])] {
        let clients = ClientAuth::Optional(trust);
        let server = Arc::new(server(&identity(), &["gapless/1"], &clients).unwrap());
        let mut client = client(&Trust::Insecure, &["gapless/1"], Some(&real)).unwrap();
        meet(&server, &Arc::new(client.clone()));
        client.client_auth_cert_resolver = impostor(&real);
        let refused = try_to_meet(&server, &Arc::new(client)).err();
        assert_eq!(refused, Some(CertificateError::BadSignature.into()), "{clients:?}");
    }
}
