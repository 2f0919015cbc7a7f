//! Malicious clients and servers: their packets are sealed as they should be and say anything: frames that
//! they never meant, their own ones with a few bytes changed, or noise. Only handshakes are left as they are.

use std::any::Any;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use gapless_tests::sim::{Chance, Random};
use quinn_proto::crypto::{
    self, CryptoError, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey,
    UnsupportedVersion,
};
use quinn_proto::transport_parameters::TransportParameters;
use quinn_proto::{ConnectError, ConnectionId, Side, TransportError};

use super::null;

/// Zeros at the end of a first message of 400 bytes, at most: what comes behind them is padding.
const END_OF_HELLO: usize = 200;

/// The configuration of a malicious client.
pub(crate) struct Client {
    /// With a first message of 400 bytes, which fits into one packet.
    pub(crate) client: null::Client,
    pub(crate) tampering: Arc<Tampering>,
}

/// Changes what packets say before they are sealed.
pub(crate) struct Tampering {
    random: Mutex<Random>,
    /// Packets that are changed.
    chance: Chance,
    /// Writes what packets with short headers say, once that is decided.
    script: Mutex<Option<Script>>,
}

/// Writes the payload of a packet.
pub(crate) type Script = Box<dyn FnMut(&mut [u8]) + Send>;

impl Tampering {
    pub(crate) fn new(random: Random, chance: Chance) -> Arc<Self> {
        Arc::new(Self { random: Mutex::new(random), chance, script: Mutex::default() })
    }

    /// Says one thing from now on, as often as fits.
    pub(crate) fn say_only(&self, frame: &[u8]) {
        let frame = frame.to_vec();
        self.say(move |payload| repeat(&frame, payload));
    }

    /// Says what the script writes from now on.
    pub(crate) fn say(&self, script: impl FnMut(&mut [u8]) + Send + 'static) {
        *self.script.lock().expect("one thread") = Some(Box::new(script));
    }

    fn pair(self: &Arc<Self>, pair: KeyPair<Box<dyn PacketKey>>) -> KeyPair<Box<dyn PacketKey>> {
        let local = Key { inner: pair.local, tampering: Arc::clone(self) };
        KeyPair { local: Box::new(local), remote: pair.remote }
    }

    fn keys(self: &Arc<Self>, keys: Keys) -> Keys {
        Keys { packet: self.pair(keys.packet), ..keys }
    }

    fn apply(&self, header: &mut [u8], payload: &mut [u8]) {
        let random = &mut *self.random.lock().expect("one thread");
        if let Some(script) = &mut *self.script.lock().expect("one thread") {
            if header[0] & 0x80 == 0 {
                script(payload);
            }
            return;
        }
        if !random.happens(self.chance) {
            return;
        }
        if header[0] & 0x80 != 0 {
            // The first message has to arrive; what is padding in a first packet may say anything.
            let zeros = payload.iter().rev().take_while(|&&byte| byte == 0).count();
            let from = payload.len() - zeros.saturating_sub(END_OF_HELLO);
            return fill(random, &mut payload[from..]);
        }
        match random.within(0..=9) {
            0 => payload.fill_with(|| random.any() as u8),
            1 => header[0] ^= 1 << random.within(0..=6),
            2..=4 => {
                for _ in 0..random.within(1..=4) {
                    let at = random.within(0..=payload.len() as u64 - 1) as usize;
                    payload[at] =
                        random.one_of(&[0, 0x3F, 0x40, 0x80, 0xFF, random.clone().any() as u8]);
                }
            }
            _ => fill(random, payload),
        }
    }
}

/// Fills a payload with one frame, and with padding.
fn repeat(frame: &[u8], payload: &mut [u8]) {
    for chunk in payload.chunks_mut(frame.len()) {
        if chunk.len() == frame.len() {
            chunk.copy_from_slice(frame);
        } else {
            chunk.fill(0);
        }
    }
}

/// Fills a payload with frames, as many as fit, and with padding.
fn fill(random: &mut Random, mut payload: &mut [u8]) {
    // The same one again and again, or others.
    let is_flood = random.happens(Chance::percent(20));
    let mut frame = frame(random);
    while frame.len() <= payload.len() {
        let (now, rest) = payload.split_at_mut(frame.len());
        now.copy_from_slice(&frame);
        payload = rest;
        if !is_flood {
            frame = self::frame(random);
        }
    }
    payload.fill(0);
}

/// A number as frames have it (RFC 9000 §16), in eight bytes or one.
pub(crate) fn put(frame: &mut Vec<u8>, number: u64) {
    match number {
        0..=63 => frame.push(number as u8),
        _ => frame.extend_from_slice(&(number | 3 << 62).to_be_bytes()),
    }
}

/// A number that may be a limit, or just beyond it.
fn number(random: &mut Random) -> u64 {
    const LAST: u64 = (1 << 62) - 1;
    let about = random.one_of(&[0, 1, 3, 12, 100, 3000, 10_000, 20_000, 1 << 20, 1 << 60, LAST]);
    (about + random.within(0..=4)).saturating_sub(2).min(LAST)
}

/// Any frame (RFC 9000 §19).
fn frame(random: &mut Random) -> Vec<u8> {
    let mut frame = Vec::new();
    let kind = random.within(0..=0x34);
    let stream =
        if random.happens(Chance::percent(80)) { random.within(0..=24) } else { number(random) };
    match kind {
        // Frames that end the connection, not so often.
        0x1C | 0x1D | 0x07 | 0x1E if random.happens(Chance::percent(95)) => frame.push(1),
        0x00 | 0x01 | 0x1E => frame.push(kind as u8),
        0x02 | 0x03 => {
            frame.push(kind as u8);
            put(&mut frame, random.within(0..=9));
            put(&mut frame, number(random).min(99));
            put(&mut frame, 0);
            put(&mut frame, random.within(0..=3));
            if kind == 3 {
                (0..3).for_each(|_| put(&mut frame, number(random)));
            }
        }
        0x06 => {
            frame.push(kind as u8);
            bytes(random, &mut frame, true);
        }
        0x04 | 0x15 => {
            frame.push(kind as u8);
            put(&mut frame, stream);
            put(&mut frame, number(random));
            if kind == 4 {
                put(&mut frame, number(random));
            }
        }
        0x05 | 0x11 => {
            frame.push(kind as u8);
            put(&mut frame, stream);
            put(&mut frame, number(random));
        }
        0x10 | 0x12..=0x14 | 0x16 | 0x17 | 0x19 => {
            frame.push(kind as u8);
            put(&mut frame, if kind == 0x19 { random.within(0..=9) } else { number(random) });
        }
        0x18 => {
            frame.push(kind as u8);
            let sequence = random.within(0..=9);
            put(&mut frame, sequence);
            put(&mut frame, random.within(0..=sequence + 1));
            frame.push(8);
            (0..3).for_each(|_| frame.extend_from_slice(&random.any().to_be_bytes()));
        }
        0x1A | 0x1B => {
            frame.push(kind as u8);
            frame.extend_from_slice(&random.any().to_be_bytes());
        }
        0x1C | 0x1D => frame.extend_from_slice(&[kind as u8, 0, 0]),
        0x1F => frame.extend_from_slice(&random.any().to_be_bytes()),
        // A datagram (RFC 9221 §4).
        0x30 | 0x31 => {
            frame.push(0x31);
            let len = random.within(0..=40);
            put(&mut frame, len);
            (0..len).for_each(|_| frame.push(random.any() as u8));
        }
        // How often to acknowledge, or at once (draft-ietf-quic-ack-frequency §4, §5).
        0x32 => {
            frame.extend_from_slice(&[0x40, 0xAF]);
            put(&mut frame, random.within(0..=9));
            (0..3).for_each(|_| put(&mut frame, number(random).min(1 << 40)));
        }
        0x33 => frame.push(0x1F),
        // A stream, with all that it can have.
        _ => {
            let fin = u8::from(random.happens(Chance::percent(20)));
            frame.push(0x0E | fin);
            put(&mut frame, stream);
            bytes(random, &mut frame, false);
        }
    }
    frame
}

/// An offset, a length, and so many bytes.
fn bytes(random: &mut Random, frame: &mut Vec<u8>, far: bool) {
    let is_far = far || random.happens(Chance::percent(20));
    put(frame, if is_far { number(random) } else { random.within(0..=300) });
    let len = random.within(0..=40);
    put(frame, len);
    (0..len).for_each(|_| frame.push(random.any() as u8));
}

struct Key {
    inner: Box<dyn PacketKey>,
    tampering: Arc<Tampering>,
}

impl PacketKey for Key {
    fn encrypt(&self, packet: u64, buffer: &mut [u8], header_len: usize) {
        let (header, rest) = buffer.split_at_mut(header_len);
        let payload_len = rest.len() - self.inner.tag_len();
        self.tampering.apply(header, &mut rest[..payload_len]);
        self.inner.encrypt(packet, buffer, header_len);
    }

    fn decrypt(
        &self,
        packet: u64,
        header: &[u8],
        payload: &mut BytesMut,
    ) -> Result<(), CryptoError> {
        self.inner.decrypt(packet, header, payload)
    }

    fn tag_len(&self) -> usize {
        self.inner.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.inner.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.inner.integrity_limit()
    }
}

impl crypto::ClientConfig for Client {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        name: &str,
        parameters: &TransportParameters,
    ) -> Result<Box<dyn crypto::Session>, ConnectError> {
        let client = Arc::new(self.client.clone());
        let inner = client.start_session(version, name, parameters)?;
        Ok(Box::new(Session { inner, tampering: Arc::clone(&self.tampering) }))
    }
}

/// The configuration of a malicious server.
pub(crate) struct Server {
    pub(crate) server: null::Server,
    pub(crate) tampering: Arc<Tampering>,
}

impl crypto::ServerConfig for Server {
    fn initial_keys(&self, version: u32, id: &ConnectionId) -> Result<Keys, UnsupportedVersion> {
        Ok(self.tampering.keys(self.server.initial_keys(version, id)?))
    }

    fn retry_tag(&self, version: u32, original: &ConnectionId, packet: &[u8]) -> [u8; 16] {
        self.server.retry_tag(version, original, packet)
    }

    fn start_session(
        self: Arc<Self>,
        version: u32,
        parameters: &TransportParameters,
    ) -> Box<dyn crypto::Session> {
        let inner = Arc::new(self.server.clone()).start_session(version, parameters);
        Box::new(Session { inner, tampering: Arc::clone(&self.tampering) })
    }
}

/// A session whose packet keys tamper.
struct Session {
    inner: Box<dyn crypto::Session>,
    tampering: Arc<Tampering>,
}

impl crypto::Session for Session {
    fn initial_keys(&self, id: &ConnectionId, side: Side) -> Keys {
        self.tampering.keys(self.inner.initial_keys(id, side))
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.inner.handshake_data()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.inner.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.inner.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.inner.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.inner.is_handshaking()
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        self.inner.read_handshake(bytes)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.inner.transport_parameters()
    }

    fn write_handshake(&mut self, buffer: &mut Vec<u8>) -> Option<Keys> {
        let keys = self.inner.write_handshake(buffer)?;
        Some(self.tampering.keys(keys))
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        let pair = self.inner.next_1rtt_keys()?;
        Some(self.tampering.pair(pair))
    }

    fn is_valid_retry(&self, original: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.inner.is_valid_retry(original, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.inner.export_keying_material(output, label, context)
    }
}
