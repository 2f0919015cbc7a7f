//! An identity of the test's own, and what servers and clients are made from with it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use gapless_quic::tls::{
    ClientAuth, Identity, Keys, Trust, client_config, endpoint_config, server_config,
};
use gapless_quic::{Config, Limits, Transport};
use quinn_proto::ClientConfig;
use quinn_proto::crypto::rustls::QuicClientConfig;

/// The protocol that tests speak.
pub(crate) const PROTOCOL: &[u8] = b"test";

pub(crate) struct Certified(Identity);

impl Certified {
    pub(crate) fn new() -> Self {
        Self(Identity::self_signed(&["localhost"], SystemTime::now()).unwrap())
    }

    /// A driver's configuration that others can connect to; its keys are those of any other one.
    pub(crate) fn server(&self, limits: Limits, transport: Transport) -> Config {
        self.server_of(PROTOCOL, limits, transport)
    }

    /// As `server`, of another protocol.
    pub(crate) fn server_of(
        &self,
        protocol: &[u8],
        limits: Limits,
        transport: Transport,
    ) -> Config {
        let crypto = server_config(&self.0, &[protocol], &ClientAuth::None).unwrap();
        let mut config = endpoint_config(&self.0.keys("server"), Some(crypto));
        (config.limits, config.transport) = (limits, transport);
        Config::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), config)
    }

    /// A client that speaks `protocol`.
    pub(crate) fn client(&self, protocol: &[u8]) -> ClientConfig {
        let trust = Trust::Pinned(self.0.fingerprint());
        ClientConfig::new(client_config(&trust, &[protocol], None).unwrap())
    }

    /// A client that would resume sessions and send early data if the server let it.
    pub(crate) fn hasty_client(&self) -> ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.0.chain()[0].clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.enable_early_data = true;
        ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
    }
}

/// A driver's configuration that nobody can connect to.
pub(crate) fn client(transport: Transport) -> Config {
    let mut config = endpoint_config(&Keys::random().unwrap(), None);
    config.transport = transport;
    Config::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), config)
}
