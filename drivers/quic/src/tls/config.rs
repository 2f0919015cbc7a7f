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

use super::provider::provider;
use super::{ClientAuth, Identity, Keys, TlsError, Trust, peer_fingerprint};
use crate::endpoint::{self, Handshake, Server};
use crate::{Limits, Transport};

/// The configuration of an endpoint that has these keys, and that takes connections if it has a server's
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

/// Reads out of a session of rustls the peer's identity after a handshake: for
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

/// The configuration of rustls for a server.
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

/// The configuration of rustls for a client.
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
mod tests;
