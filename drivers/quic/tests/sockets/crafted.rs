//! Packets made by hand: any number of Initials that look like different clients', version
//! negotiation probes, and noise.

use std::time::Instant;

use quinn_proto::{Endpoint, EndpointConfig, TransportConfig};
use rustls::quic::{Keys, Version};
use rustls::{CipherSuite, Side, SupportedCipherSuite};

use crate::certified::{Certified, PROTOCOL};

const ID: usize = 8;
/// Where the destination id of a long header begins (RFC 9000 §17.2).
const ID_AT: usize = 6;

/// A small generator of numbers, so that a failing run can be had again.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) const fn next(&mut self) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// The first packet of a real client, opened, so that it can be sealed again under other ids.
pub(crate) struct Initial {
    /// All before the packet number, with the protection off.
    header: Vec<u8>,
    number: Vec<u8>,
    payload: Vec<u8>,
}

fn keys(id: &[u8], side: Side) -> Keys {
    let provider = rustls::crypto::ring::default_provider();
    let suite = provider.cipher_suites.iter().find_map(|suite| match suite {
        SupportedCipherSuite::Tls13(suite)
            if suite.common.suite == CipherSuite::TLS13_AES_128_GCM_SHA256 =>
        {
            suite.quic_suite()
        }
        _ => None,
    });
    suite.unwrap().keys(id, side, Version::V1)
}

impl Initial {
    /// Takes the first datagram that a client sends.
    pub(crate) fn of(certified: &Certified) -> Self {
        let mut client = Endpoint::new(EndpointConfig::default().into(), None, true, None);
        let mut config = certified.client(PROTOCOL);
        config.initial_dst_cid_provider(std::sync::Arc::new(|| {
            quinn_proto::ConnectionId::new(&[1; ID])
        }));
        // It is not the client that ends a connection that idles.
        let mut transport = TransportConfig::default();
        transport.max_idle_timeout(None);
        config.transport_config(transport.into());
        let now = Instant::now();
        let to = "127.0.0.1:1".parse().unwrap();
        let (_, mut connection) = client.connect(now, config, to, "localhost").unwrap();
        let mut packet = Vec::new();
        let sent = connection.poll_transmit(now, 1, &mut packet).unwrap();
        assert_eq!(sent.size, packet.len());
        Self::open(packet)
    }

    fn open(mut packet: Vec<u8>) -> Self {
        // First byte, version, two ids with their lengths, no token, a length of two bytes.
        let source_at = ID_AT + ID;
        let token_at = source_at + 1 + usize::from(packet[source_at]);
        assert_eq!(packet[token_at], 0);
        let number_at = token_at + 3;
        let keys = keys(&packet[ID_AT..ID_AT + ID], Side::Server).remote;
        let sample = packet[number_at + 4..number_at + 20].to_vec();
        let (first, rest) = packet.split_at_mut(1);
        let number = &mut rest[number_at - 1..number_at + 3];
        keys.header.decrypt_in_place(&sample, &mut first[0], number).unwrap();
        let payload_at = number_at + usize::from(packet[0] & 3) + 1;
        let (header, sealed) = packet.split_at_mut(payload_at);
        let number = header[number_at..].to_vec();
        let payload = keys.packet.decrypt_in_place(value_of(&number), header, sealed).unwrap();
        Self { header: header[..number_at].to_vec(), number, payload: payload.to_vec() }
    }

    /// The same packet as a client would send it that chose the id.
    pub(crate) fn to_server(&self, id: u64) -> Vec<u8> {
        let mut packet = self.header.clone();
        packet[ID_AT..ID_AT + ID].copy_from_slice(&id.to_be_bytes());
        let number_at = packet.len();
        packet.extend_from_slice(&self.number);
        let payload_at = packet.len();
        let keys = keys(&id.to_be_bytes(), Side::Client).local;
        let mut payload = self.payload.clone();
        let number = value_of(&self.number);
        let tag = keys.packet.encrypt_in_place(number, &packet, &mut payload).unwrap();
        packet.extend_from_slice(&payload);
        packet.extend_from_slice(tag.as_ref());
        let sample = packet[number_at + 4..number_at + 20].to_vec();
        let (first, rest) = packet.split_at_mut(1);
        let number = &mut rest[number_at - 1..payload_at - 1];
        keys.header.encrypt_in_place(&sample, &mut first[0], number).unwrap();
        packet
    }
}

fn value_of(number: &[u8]) -> u64 {
    number.iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// A packet of a version that nobody speaks: its receiver answers with its own.
pub(crate) fn unknown_version(id: u64) -> Vec<u8> {
    let mut packet = vec![0xC0, 0x1A, 0x2A, 0x3A, 0x4A, ID as u8];
    packet.extend_from_slice(&id.to_be_bytes());
    packet.push(0);
    packet.resize(1200, 0);
    packet
}
