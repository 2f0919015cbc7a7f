//! Cryptography that hides nothing and always has the same lengths, so that a simulation can be repeated
//! byte for byte: a handshake in the shape of TLS 1.3 that carries transport parameters, protocols (ALPN)
//! and identities in the clear, and packets with a checksum under keys of their connection in place of
//! an AEAD's tag. What was corrupted, or meant for another connection, is seen.

use std::any::Any;
use std::collections::VecDeque;
use std::io::Cursor;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use gapless_quic::endpoint::Handshake;
use quinn_proto::crypto::{
    self, AeadKey, CryptoError, ExportKeyingMaterialError, HandshakeTokenKey, HeaderKey, HmacKey,
    KeyPair, Keys, PacketKey, UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side, TransportError, TransportErrorCode};

/// The stand-in for a certificate's SHA-256.
pub(crate) type Identity = [u8; 32];

/// The last byte of an identity of a malicious peer.
pub(crate) const MALICIOUS: u8 = 1;

/// Alerts of TLS (RFC 8446 §6.2).
const UNEXPECTED_MESSAGE: u8 = 10;
pub(crate) const BAD_CERTIFICATE: u8 = 42;
pub(crate) const NO_APPLICATION_PROTOCOL: u8 = 120;

/// A message's kind and length.
const HEAD: usize = 5;
/// Room for transport parameters.
const PARAMETERS: usize = 256;
/// Room for the names of protocols.
const PROTOCOLS: usize = 64;
const TAG: usize = 16;

/// Spreads the bits of a number over all 64 (MurmurHash3's finalizer).
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    z = (z ^ (z >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    z ^ (z >> 33)
}

/// A checksum of parts and of where one ends and the next begins.
fn checksum(key: u64, parts: &[&[u8]]) -> [u8; TAG] {
    let (mut a, mut b) = (mix(key), mix(!key));
    let mut take = |word: u64| {
        a = (a ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
        b = b.wrapping_add(word).rotate_left(17).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    };
    for part in parts {
        take(part.len() as u64);
        for mut chunk in part.chunks(8) {
            let len = chunk.len();
            take(chunk.get_uint_le(len));
        }
    }
    let mut sum = [0; TAG];
    sum[..8].copy_from_slice(&mix(a ^ b.rotate_left(32)).to_le_bytes());
    sum[8..].copy_from_slice(&mix(b.wrapping_add(a)).to_le_bytes());
    sum
}

fn derive(key: u64, parts: &[&[u8]]) -> u64 {
    (&checksum(key, parts)[..]).get_u64_le()
}

/// Headers stay as they are.
struct PlainHeader;

impl HeaderKey for PlainHeader {
    fn decrypt(&self, _: usize, _: &mut [u8]) {}

    fn encrypt(&self, _: usize, _: &mut [u8]) {}

    fn sample_size(&self) -> usize {
        TAG
    }
}

/// Packets end with a checksum.
struct Checked(u64);

impl PacketKey for Checked {
    fn encrypt(&self, packet: u64, buffer: &mut [u8], header_len: usize) {
        let (header, rest) = buffer.split_at_mut(header_len);
        let (payload, tag) = rest.split_at_mut(rest.len() - TAG);
        tag.copy_from_slice(&checksum(self.0 ^ mix(packet), &[header, payload]));
    }

    fn decrypt(
        &self,
        packet: u64,
        header: &[u8],
        payload: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        let len = payload.len().checked_sub(TAG).ok_or(CryptoError)?;
        if payload[len..] != checksum(self.0 ^ mix(packet), &[header, &payload[..len]]) {
            return Err(CryptoError);
        }
        payload.truncate(len);
        Ok(())
    }

    fn tag_len(&self) -> usize {
        TAG
    }

    fn confidentiality_limit(&self) -> u64 {
        1 << 23
    }

    fn integrity_limit(&self) -> u64 {
        1 << 36
    }
}

/// Keys of both directions: a client's packets and a server's.
fn pair(secret: u64, side: Side) -> KeyPair<Box<dyn PacketKey>> {
    let [client, server] = [1, 2].map(|direction| derive(secret, &[&[direction]]));
    let (local, remote) = if side.is_client() { (client, server) } else { (server, client) };
    KeyPair { local: Box::new(Checked(local)), remote: Box::new(Checked(remote)) }
}

fn keys(secret: u64, side: Side) -> Keys {
    let header = KeyPair { local: Box::new(PlainHeader) as _, remote: Box::new(PlainHeader) as _ };
    Keys { header, packet: pair(secret, side) }
}

fn initial_keys(id: &ConnectionId, side: Side) -> Keys {
    keys(derive(0, &[id]), side)
}

/// The key of stateless resets.
pub(crate) struct ResetKey(pub(crate) u64);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        for (index, chunk) in signature.chunks_mut(TAG).enumerate() {
            let sum = checksum(self.0 ^ index as u64, &[data]);
            chunk.copy_from_slice(&sum[..chunk.len()]);
        }
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let mut expected = [0; 32];
        self.sign(data, &mut expected);
        if signature == expected { Ok(()) } else { Err(CryptoError) }
    }
}

/// The key of tokens.
pub(crate) struct TokenKey(pub(crate) u64);

impl HandshakeTokenKey for TokenKey {
    fn aead_from_hkdf(&self, random: &[u8]) -> Box<dyn AeadKey> {
        Box::new(Sealed(derive(self.0, &[random])))
    }
}

struct Sealed(u64);

impl AeadKey for Sealed {
    fn seal(&self, data: &mut Vec<u8>, additional: &[u8]) -> Result<(), CryptoError> {
        let sum = checksum(self.0, &[data, additional]);
        data.extend_from_slice(&sum);
        Ok(())
    }

    fn open<'a>(&self, data: &'a mut [u8], additional: &[u8]) -> Result<&'a mut [u8], CryptoError> {
        let len = data.len().checked_sub(TAG).ok_or(CryptoError)?;
        let (data, tag) = data.split_at_mut(len);
        if *tag == checksum(self.0, &[data, additional]) { Ok(data) } else { Err(CryptoError) }
    }
}

/// The parameters of a client's session.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) identity: Option<Identity>,
    /// The one that the server must have.
    pub(crate) trusts: Identity,
    pub(crate) protocols: Vec<&'static [u8]>,
    /// How long its first message is.
    pub(crate) hello_len: usize,
}

/// The parameters of a server's session.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) identity: Identity,
    pub(crate) protocols: Vec<&'static [u8]>,
    /// How long the message is that stands for certificate and signature.
    pub(crate) certificate_len: usize,
}

impl crypto::ClientConfig for Client {
    fn start_session(
        self: Arc<Self>,
        _: u32,
        _: &str,
        parameters: &TransportParameters,
    ) -> Result<Box<dyn crypto::Session>, ConnectError> {
        let mut hello = begin(Kind::ClientHello);
        put_parameters(&mut hello, parameters);
        put_names(&mut hello, &self.protocols);
        let hello = end(hello, self.hello_len);
        let mut session = Session::new(Role::Client(self));
        session.secret = derive(1, &[&hello]);
        session.outgoing.push_back((hello, None));
        Ok(Box::new(session))
    }
}

impl crypto::ServerConfig for Server {
    fn initial_keys(&self, _: u32, id: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        Ok(initial_keys(id, Side::Server))
    }

    fn retry_tag(&self, _: u32, original: &ConnectionId, packet: &[u8]) -> [u8; TAG] {
        checksum(2, &[original, packet])
    }

    fn start_session(
        self: Arc<Self>,
        _: u32,
        parameters: &TransportParameters,
    ) -> Box<dyn crypto::Session> {
        let mut own = Vec::new();
        put_parameters(&mut own, parameters);
        Box::new(Session { own, ..Session::new(Role::Server(self)) })
    }
}

/// The facts of a finished handshake.
pub(crate) fn inspect(session: &dyn crypto::Session) -> Handshake {
    let protocol = session.handshake_data().and_then(|data| data.downcast::<Bytes>().ok());
    let identity = session.peer_identity().and_then(|data| data.downcast::<Identity>().ok());
    Handshake { protocol: protocol.map(|it| *it), fingerprint: identity.map(|it| *it) }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    ClientHello = 1,
    ServerHello,
    ServerFlight,
    ClientFinished,
}

/// Which keys are next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Level {
    Handshake,
    OneRtt,
}

enum Role {
    Client(Arc<Client>),
    Server(Arc<Server>),
}

struct Session {
    role: Role,
    /// A server's transport parameters.
    own: Vec<u8>,
    incoming: BytesMut,
    /// Which message the peer has to send next.
    expects: Option<Kind>,
    /// Messages, and the keys that come with them.
    outgoing: VecDeque<(Vec<u8>, Option<Level>)>,
    /// Made of both hellos.
    secret: u64,
    /// How often the keys were updated.
    updates: u8,
    parameters: Option<TransportParameters>,
    protocol: Option<Bytes>,
    peer: Option<Identity>,
}

impl Session {
    fn new(role: Role) -> Self {
        let expects = match role {
            Role::Client(_) => Kind::ServerHello,
            Role::Server(_) => Kind::ClientHello,
        };
        Self {
            role,
            own: Vec::new(),
            incoming: BytesMut::new(),
            expects: Some(expects),
            outgoing: VecDeque::new(),
            secret: 0,
            updates: 0,
            parameters: None,
            protocol: None,
            peer: None,
        }
    }

    const fn side(&self) -> Side {
        match self.role {
            Role::Client(_) => Side::Client,
            Role::Server(_) => Side::Server,
        }
    }

    /// Takes a message; whether the protocol is known now.
    fn take(&mut self, kind: Kind, message: &[u8]) -> Result<bool, TransportError> {
        let mut body = &message[HEAD..];
        match kind {
            Kind::ClientHello => {
                let Role::Server(config) = &self.role else { return Err(unexpected()) };
                self.parameters = Some(get_parameters(Side::Server, &mut body)?);
                let offered = get_names(&mut body);
                let chosen = config.protocols.iter();
                let chosen = chosen.copied().find(|name| offered.iter().any(|other| other == name));
                let chosen = chosen.ok_or_else(|| {
                    alert(NO_APPLICATION_PROTOCOL, "peer supports no known protocol")
                })?;
                let mut hello = begin(Kind::ServerHello);
                hello.put_slice(&checksum(3, &[&self.own]));
                let hello = end(hello, HEAD + TAG);
                self.secret = derive(derive(1, &[message]), &[&hello]);
                let mut flight = begin(Kind::ServerFlight);
                flight.put_slice(&self.own);
                put_names(&mut flight, &[chosen]);
                flight.put_slice(&config.identity);
                let flight = end(flight, config.certificate_len);
                self.outgoing.push_back((hello, Some(Level::Handshake)));
                self.outgoing.push_back((flight, Some(Level::OneRtt)));
                self.protocol = Some(Bytes::from_static(chosen));
                self.expects = Some(Kind::ClientFinished);
                Ok(true)
            }
            Kind::ServerHello => {
                self.secret = derive(self.secret, &[message]);
                self.outgoing.push_back((Vec::new(), Some(Level::Handshake)));
                self.expects = Some(Kind::ServerFlight);
                Ok(false)
            }
            Kind::ServerFlight => {
                let Role::Client(config) = &self.role else { return Err(unexpected()) };
                self.parameters = Some(get_parameters(Side::Client, &mut body)?);
                self.protocol = get_names(&mut body).pop().map(Bytes::from);
                let mut identity = Identity::default();
                body.copy_to_slice(&mut identity);
                if identity != config.trusts {
                    return Err(alert(BAD_CERTIFICATE, "the peer is another"));
                }
                self.peer = Some(identity);
                let mut finished = begin(Kind::ClientFinished);
                finished.put_u8(config.identity.is_some().into());
                finished.put_slice(&config.identity.unwrap_or_default());
                let finished = end(finished, HEAD + 33);
                self.outgoing.push_back((finished, Some(Level::OneRtt)));
                self.expects = None;
                Ok(true)
            }
            Kind::ClientFinished => {
                let is_known = body.get_u8() == 1;
                let mut identity = Identity::default();
                body.copy_to_slice(&mut identity);
                self.peer = is_known.then_some(identity);
                self.expects = None;
                Ok(false)
            }
        }
    }
}

impl crypto::Session for Session {
    fn initial_keys(&self, id: &ConnectionId, side: Side) -> Keys {
        initial_keys(id, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.protocol.clone().map(|protocol| Box::new(protocol) as _)
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.peer.map(|identity| Box::new(identity) as _)
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
    }

    fn is_handshaking(&self) -> bool {
        self.expects.is_some()
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        self.incoming.extend_from_slice(bytes);
        let mut is_known = false;
        while self.incoming.len() >= HEAD {
            let len = (&self.incoming[1..]).get_u32() as usize;
            let kind = self.expects.filter(|kind| *kind as u8 == self.incoming[0]);
            let Some(kind) = kind.filter(|_| len >= HEAD) else { return Err(unexpected()) };
            if self.incoming.len() < len {
                break;
            }
            let message = self.incoming.split_to(len);
            is_known |= self.take(kind, &message)?;
        }
        Ok(is_known)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        Ok(self.parameters)
    }

    fn write_handshake(&mut self, buffer: &mut Vec<u8>) -> Option<Keys> {
        let (message, level) = self.outgoing.pop_front()?;
        buffer.extend_from_slice(&message);
        Some(keys(derive(self.secret, &[&[level? as u8]]), self.side()))
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.updates = self.updates.wrapping_add(1);
        Some(pair(derive(self.secret, &[&[Level::OneRtt as u8, self.updates]]), self.side()))
    }

    fn is_valid_retry(&self, original: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        let Some(len) = payload.len().checked_sub(TAG) else { return false };
        let packet = [header, &payload[..len]].concat();
        payload[len..] == checksum(2, &[original, &packet])
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        ResetKey(self.secret).sign(&[label, context].concat(), output);
        Ok(())
    }
}

fn alert(code: u8, reason: &str) -> TransportError {
    let code = TransportErrorCode::crypto(code);
    TransportError { code, frame: None, reason: reason.to_owned() }
}

fn unexpected() -> TransportError {
    alert(UNEXPECTED_MESSAGE, "unexpected message")
}

fn begin(kind: Kind) -> Vec<u8> {
    vec![kind as u8, 0, 0, 0, 0]
}

/// Fills a message up to its length, and writes the length into it.
fn end(mut message: Vec<u8>, len: usize) -> Vec<u8> {
    assert!(message.len() <= len, "{} bytes do not fit into {len}", message.len());
    message.resize(len, 0);
    message[1..HEAD].copy_from_slice(&u32::try_from(len).expect("a short message").to_be_bytes());
    message
}

fn put_parameters(message: &mut Vec<u8>, parameters: &TransportParameters) {
    let mut bytes = Vec::new();
    parameters.write(&mut bytes);
    message.put_u16(u16::try_from(bytes.len()).expect("few bytes"));
    message.extend(end_of_room(bytes, PARAMETERS));
}

fn get_parameters(side: Side, body: &mut &[u8]) -> Result<TransportParameters, TransportError> {
    let len = usize::from(body.get_u16());
    let parameters = TransportParameters::read(side, &mut Cursor::new(&body[..len]));
    body.advance(PARAMETERS);
    parameters.map_err(TransportError::from)
}

fn put_names(message: &mut Vec<u8>, names: &[&[u8]]) {
    let mut bytes = vec![u8::try_from(names.len()).expect("few names")];
    for name in names {
        bytes.push(u8::try_from(name.len()).expect("a short name"));
        bytes.extend_from_slice(name);
    }
    message.extend(end_of_room(bytes, PROTOCOLS));
}

fn get_names(body: &mut &[u8]) -> Vec<Vec<u8>> {
    let mut field = &body[..PROTOCOLS];
    let names = (0..field.get_u8())
        .map(|_| {
            let len = field.get_u8();
            field.copy_to_bytes(len.into()).to_vec()
        })
        .collect();
    body.advance(PROTOCOLS);
    names
}

/// A field of fixed length.
fn end_of_room(mut bytes: Vec<u8>, room: usize) -> Vec<u8> {
    assert!(bytes.len() <= room, "{} bytes do not fit into {room}", bytes.len());
    bytes.resize(room, 0);
    bytes
}

#[test]
fn a_packet_with_any_bit_changed_is_not_taken() {
    let key = Checked(5);
    let mut packet = (0..60).collect::<Vec<u8>>();
    key.encrypt(3, &mut packet, 10);
    let opens = |number, packet: &[u8]| {
        key.decrypt(number, &packet[..10], &mut BytesMut::from(&packet[10..])).is_ok()
    };
    assert!(opens(3, &packet) && !opens(4, &packet));
    for bit in 0..packet.len() * 8 {
        packet[bit / 8] ^= 1 << (bit % 8);
        assert!(!opens(3, &packet), "bit {bit}");
        packet[bit / 8] ^= 1 << (bit % 8);
    }
}
