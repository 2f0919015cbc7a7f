//! The configurations that quinn-proto takes, from an identity, a trust and the application
//! protocols.

use std::sync::Arc;

use bytes::Bytes;
use quinn_proto::HashedConnectionIdGenerator;
use quinn_proto::crypto::Session;
use quinn_proto::crypto::rustls::{HandshakeData, QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;

use super::{ClientAuth, Identity, Keys, TlsError, Trust, peer_fingerprint, provider};
use crate::endpoint::{self, Handshake, Server};
use crate::{Limits, Transport};

/// What an endpoint is made from that has these keys, and that takes connections if it has a server's
/// configuration. Limits and transport are the defaults.
pub fn endpoint_config(keys: &Keys, server: Option<Arc<QuicServerConfig>>) -> endpoint::Config {
    let key = keys.connection_id;
    endpoint::Config {
        limits: Limits::default(),
        transport: Transport::default(),
        reset_key: keys.reset.clone(),
        connection_ids: Some(Arc::new(move || {
            Box::new(HashedConnectionIdGenerator::from_key(key))
        })),
        seed: None,
        server: server.map(|crypto| Server {
            crypto,
            token_key: keys.token.clone(),
            time_source: None,
        }),
        inspect,
    }
}

/// Reads out of a session of rustls what a finished handshake tells of the peer: for
/// [`endpoint::Config::inspect`].
pub fn inspect(session: &dyn Session) -> Handshake {
    let data = session.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    Handshake {
        protocol: data.and_then(|data| data.protocol).map(Bytes::from),
        fingerprint: peer_fingerprint(session).map(|fingerprint| fingerprint.0),
    }
}

/// The TLS of a server: for [`quinn_proto::ServerConfig::new`], together with the token key of
/// [`Identity::keys`].
///
/// `protocols` are the application protocols (ALPN) that are served, the preferred ones first; a
/// client that offers none of them is refused. Those of one connection are in
/// [`HandshakeData::protocol`](quinn_proto::crypto::rustls::HandshakeData::protocol).
///
/// # Errors
///
/// Of `clients`: a file that cannot be read, or no pins. [`TlsError::NoProtocols`],
/// [`TlsError::Protocol`].
pub fn server_config<P: AsRef<[u8]>>(
    identity: &Identity,
    protocols: &[P],
    clients: &ClientAuth,
) -> Result<Arc<QuicServerConfig>, TlsError> {
    let config = server(identity, protocols, clients)?;
    QuicServerConfig::try_from(config).map(Arc::new).map_err(configuration)
}

/// What rustls takes for a server.
fn server<P: AsRef<[u8]>>(
    identity: &Identity,
    protocols: &[P],
    clients: &ClientAuth,
) -> Result<rustls::ServerConfig, TlsError> {
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(configuration)?
        .with_client_cert_verifier(clients.verifier()?)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
    config.alpn_protocols = names(protocols)?;
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// The TLS of a client: for [`quinn_proto::ClientConfig::new`].
///
/// `protocols` are the application protocols (ALPN) that are offered, the preferred ones first.
/// `identity` is shown to servers that ask for one.
///
/// # Errors
///
/// Of `trust`: a file that cannot be read, or a system without authorities.
/// [`TlsError::NoProtocols`], [`TlsError::Protocol`].
pub fn client_config<P: AsRef<[u8]>>(
    trust: &Trust,
    protocols: &[P],
    identity: Option<&Identity>,
) -> Result<Arc<QuicClientConfig>, TlsError> {
    let config = client(trust, protocols, identity)?;
    QuicClientConfig::try_from(config).map(Arc::new).map_err(configuration)
}

/// What rustls takes for a client.
fn client<P: AsRef<[u8]>>(
    trust: &Trust,
    protocols: &[P],
    identity: Option<&Identity>,
) -> Result<rustls::ClientConfig, TlsError> {
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(configuration)?
        // Not more dangerous than the verifier is: those that believe authorities are rustls' own.
        .dangerous()
        .with_custom_certificate_verifier(trust.verifier()?);
    let mut config = match identity {
        Some(identity) => builder
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified()))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = names(protocols)?;
    config.enable_early_data = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The names of application protocols, as RFC 7301 allows them.
fn names<P: AsRef<[u8]>>(protocols: &[P]) -> Result<Vec<Vec<u8>>, TlsError> {
    if protocols.is_empty() {
        return Err(TlsError::NoProtocols);
    }
    let name = |protocol: &P| match protocol.as_ref() {
        name if (1..=255).contains(&name.len()) => Ok(name.to_vec()),
        name => Err(TlsError::Protocol { length: name.len() }),
    };
    protocols.iter().map(name).collect()
}

fn configuration(error: impl ToString) -> TlsError {
    TlsError::Configuration(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rustls::quic::{ClientConnection, Connection, ServerConnection, Version};
    use rustls::server::ServerSessionMemoryCache;
    use rustls::{CipherSuite, ClientConfig, HandshakeKind, ServerConfig};

    use super::*;

    fn configs() -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let identity = Identity::self_signed(&["localhost"], SystemTime::now()).unwrap();
        let trust = Trust::Pinned(identity.fingerprint());
        let server = server(&identity, &["gapless/1"], &ClientAuth::None).unwrap();
        (Arc::new(server), Arc::new(client(&trust, &["gapless/1"], None).unwrap()))
    }

    /// A client and a server after as many flights as any handshake takes, tickets included.
    fn meet(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> (Connection, Connection) {
        let name = "localhost".try_into().unwrap();
        let client = ClientConnection::new(client.clone(), Version::V1, name, vec![]).unwrap();
        let server = ServerConnection::new(server.clone(), Version::V1, vec![]).unwrap();
        let mut ends = (Connection::from(client), Connection::from(server));
        for _ in 0..4 {
            deliver(&mut ends.0, &mut ends.1);
            deliver(&mut ends.1, &mut ends.0);
        }
        assert!(!ends.0.is_handshaking() && !ends.1.is_handshaking());
        ends
    }

    fn deliver(from: &mut Connection, to: &mut Connection) {
        loop {
            // A flight ends where keys change.
            let mut flight = Vec::new();
            let keys = from.write_hs(&mut flight);
            if keys.is_none() && flight.is_empty() {
                break;
            }
            to.read_hs(&flight).unwrap();
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
}
