//! Certificates and configurations for tests.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use gapless_quic::endpoint::{self, Handshake, Server};
use gapless_quic::{Config, Limits, Transport};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

pub(crate) struct Certified {
    certificate: CertificateDer<'static>,
    server: Arc<QuicServerConfig>,
}

pub(crate) fn certified(protocols: &[&[u8]]) -> Certified {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let certificate = made.cert.der().clone();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|of| of.to_vec()).collect();
    Certified { certificate, server: Arc::new(QuicServerConfig::try_from(config).unwrap()) }
}

impl Certified {
    pub(crate) fn client(&self, protocols: &[&[u8]]) -> quinn_proto::ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|of| of.to_vec()).collect();
        quinn_proto::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
    }
}

pub(crate) fn config(server: Option<&Certified>) -> Config {
    let endpoint = endpoint::Config {
        limits: Limits::default(),
        transport: Transport::default(),
        reset_key: Arc::new(Key),
        connection_ids: None,
        seed: None,
        server: server.map(|server| Server {
            crypto: server.server.clone(),
            token_key: Arc::new(Key),
            time_source: None,
        }),
        inspect: |session| {
            let data = session.handshake_data();
            let data = data.and_then(|data| {
                data.downcast::<quinn_proto::crypto::rustls::HandshakeData>().ok()
            });
            Handshake {
                protocol: data.and_then(|data| data.protocol).map(Bytes::from),
                ..Handshake::default()
            }
        },
    };
    Config::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), endpoint)
}

struct Key;

impl quinn_proto::crypto::HmacKey for Key {
    fn sign(&self, _: &[u8], out: &mut [u8]) {
        out.fill(7);
    }
    fn signature_len(&self) -> usize {
        32
    }
    fn verify(&self, _: &[u8], _: &[u8]) -> Result<(), quinn_proto::crypto::CryptoError> {
        Err(quinn_proto::crypto::CryptoError)
    }
}

impl quinn_proto::crypto::HandshakeTokenKey for Key {
    fn aead_from_hkdf(&self, _: &[u8]) -> Box<dyn quinn_proto::crypto::AeadKey> {
        Box::new(Plain)
    }
}

struct Plain;

impl quinn_proto::crypto::AeadKey for Plain {
    fn seal(&self, _: &mut Vec<u8>, _: &[u8]) -> Result<(), quinn_proto::crypto::CryptoError> {
        Ok(())
    }
    fn open<'a>(
        &self,
        data: &'a mut [u8],
        _: &[u8],
    ) -> Result<&'a mut [u8], quinn_proto::crypto::CryptoError> {
        Ok(data)
    }
}
