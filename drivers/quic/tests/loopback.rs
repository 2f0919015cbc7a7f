//! Two drivers on loopback.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gapless_quic::endpoint::{self, Handshake, Server};
use gapless_quic::{
    Config, ConnectionId, Direction, Driver, Endpoint, Event, Handler, Limits, Reason, StreamId,
    Transport,
};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

const TURNS: usize = 20_000;

struct Certified {
    certificate: CertificateDer<'static>,
    server: Arc<QuicServerConfig>,
}

fn certified() -> Certified {
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
    config.alpn_protocols = vec![b"test".to_vec()];
    Certified { certificate, server: Arc::new(QuicServerConfig::try_from(config).unwrap()) }
}

impl Certified {
    fn client(&self) -> quinn_proto::ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"test".to_vec()];
        quinn_proto::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
    }
}

fn config(server: Option<&Certified>) -> Config {
    let defaults = quinn_proto::EndpointConfig::default();
    let _ = defaults;
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

/// Sends a stream as fast as it may.
struct Sender {
    connected: Option<ConnectionId>,
    left: usize,
    stream: Option<StreamId>,
    chunk: Bytes,
    is_finished: bool,
    gone: Option<Reason>,
}

impl Sender {
    fn go_on(&mut self, endpoint: &mut Endpoint, stream: StreamId) {
        while self.left > 0 {
            let mut chunk = self.chunk.slice(..self.chunk.len().min(self.left));
            let written = endpoint.write(stream, &mut chunk).unwrap();
            self.left -= written;
            if !chunk.is_empty() {
                return;
            }
        }
        endpoint.finish(stream).unwrap();
    }
}

impl Handler for Sender {
    fn event(&mut self, endpoint: &mut Endpoint, _: Instant, event: Event) {
        match event {
            Event::Connected { connection } => {
                self.connected = Some(connection);
                let stream = endpoint.open(connection, Direction::Unidirectional).unwrap().unwrap();
                self.stream = Some(stream);
                self.go_on(endpoint, stream);
            }
            Event::Writable { stream, .. } if self.left > 0 => self.go_on(endpoint, stream),
            Event::Finished { .. } => self.is_finished = true,
            Event::Disconnected { reason, .. } => self.gone = Some(reason),
            _ => {}
        }
    }
}

#[derive(Default)]
struct Receiver {
    bytes: BTreeMap<StreamId, u64>,
    ended: usize,
    chunks: usize,
}

impl Handler for Receiver {
    fn event(&mut self, _: &mut Endpoint, _: Instant, event: Event) {
        if let Event::Data { stream, bytes, fin, offset, .. } = event {
            let known = self.bytes.entry(stream).or_default();
            assert_eq!(*known, offset);
            *known += bytes.len() as u64;
            self.chunks += 1;
            self.ended += usize::from(fin);
        }
    }
}

#[test]
fn a_stream_arrives_whole_and_its_end_is_acknowledged() {
    let certified = certified();
    let mut server = Driver::new(config(Some(&certified))).unwrap();
    let mut client = Driver::new(config(None)).unwrap();
    let size = std::env::var("GAPLESS_BYTES").map_or(3_000_000, |n| n.parse().unwrap());
    let mut sender = Sender {
        connected: None,
        left: size,
        stream: None,
        chunk: vec![7; 64 << 10].into(),
        is_finished: false,
        gone: None,
    };
    let mut receiver = Receiver::default();
    let address = server.address();
    client.endpoint().connect(Instant::now(), certified.client(), address, "localhost").unwrap();
    let begin = Instant::now();
    for _ in 0..TURNS * 100 {
        client.turn(Some(Duration::ZERO), &mut sender).unwrap();
        server.turn(Some(Duration::ZERO), &mut receiver).unwrap();
        if sender.is_finished {
            break;
        }
    }
    println!(
        "{:?} {} chunks; sent {:?} received {:?}",
        begin.elapsed(),
        receiver.chunks,
        client.sent(),
        server.received()
    );
    println!("back: {:?} {:?}", server.sent(), client.received());
    println!("{:?}", client.endpoint().connection_stats(sender.connected.unwrap()).unwrap().path);
    assert!(sender.is_finished);
    assert_eq!(receiver.bytes.values().sum::<u64>(), size as u64);
    assert_eq!(receiver.ended, 1);
}
