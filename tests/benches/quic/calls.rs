//! The system calls of two drivers that move bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use gapless_quic::tls::{self, ClientAuth, Identity, Keys, Trust};
use gapless_quic::{Config, Direction, Driver, Endpoint, Event, Handler, SocketStats, StreamId};

const PROTOCOL: &[&[u8]] = &[b"gapless/1"];
const BLOCK: usize = 256 << 10;

/// Sends so many bytes.
struct Sender {
    left: usize,
    block: Bytes,
    is_finished: bool,
}

impl Sender {
    fn write_more(&mut self, endpoint: &mut Endpoint, stream: StreamId) {
        while self.left > 0 {
            let mut block = self.block.slice(..BLOCK.min(self.left));
            self.left -= endpoint.write(stream, &mut block).expect("an open stream");
            if !block.is_empty() {
                return;
            }
        }
        endpoint.finish(stream).expect("an open stream");
    }
}

impl Handler for Sender {
    fn event(&mut self, endpoint: &mut Endpoint, _: Instant, event: Event) {
        match event {
            Event::Connected { connection } => {
                let stream = endpoint.open(connection, Direction::Unidirectional);
                self.write_more(endpoint, stream.expect("a connection").expect("credit"));
            }
            Event::Writable { stream, .. } if self.left > 0 => self.write_more(endpoint, stream),
            Event::Finished { .. } => self.is_finished = true,
            Event::Disconnected { reason, .. } => panic!("{reason}"),
            _ => {}
        }
    }
}

struct Receiver;

impl Handler for Receiver {
    fn event(&mut self, _: &mut Endpoint, _: Instant, _: Event) {}
}

pub(crate) fn print(bytes: usize) {
    let identity = Identity::self_signed(&["localhost"], SystemTime::now()).expect("an identity");
    let server = tls::server_config(&identity, PROTOCOL, &ClientAuth::None).expect("TLS");
    let trust = Trust::Pinned(identity.fingerprint());
    let client = tls::client_config(&trust, PROTOCOL, None).expect("TLS");
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let of = |keys: &Keys, server| Config::new(here, tls::endpoint_config(keys, server));
    let mut receiving = Driver::new(of(&identity.keys("bench"), Some(server))).expect("a socket");
    let mut sending = Driver::new(of(&Keys::random().expect("keys"), None)).expect("a socket");
    let address = receiving.address();
    let config = quinn_proto::ClientConfig::new(client);
    let connected = sending.endpoint().connect(Instant::now(), config, address, "localhost");
    connected.expect("a connection");
    let mut sender = Sender { left: bytes, block: vec![7; BLOCK].into(), is_finished: false };
    while !sender.is_finished {
        sending.turn(Some(Duration::ZERO), &mut sender).expect("a turn");
        receiving.turn(Some(Duration::ZERO), &mut Receiver).expect("a turn");
    }
    println!("\n{:<28}{:>12}{:>14}", "two drivers, system calls", "a megabyte", "datagrams each");
    let megabytes = bytes as f64 / 1e6;
    let row = |name, stats: SocketStats| {
        let (calls, datagrams) = (stats.calls as f64, stats.datagrams as f64);
        println!("{name:<28}{:>12.1}{:>14.1}", calls / megabytes, datagrams / calls);
    };
    row("sender, sends", sending.sent());
    row("sender, receives", sending.received());
    row("receiver, receives", receiving.received());
    row("receiver, sends", receiving.sent());
}
