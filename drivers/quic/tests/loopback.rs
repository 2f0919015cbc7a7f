//! Two drivers on loopback.

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gapless_quic::{ConnectionId, Direction, Driver, Endpoint, Event, Handler, Reason, StreamId};
use support::{certified, config};

const TURNS: usize = 20_000;

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
    let certified = certified(&[b"test"]);
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
    client
        .endpoint()
        .connect(Instant::now(), certified.client(&[b"test"]), address, "localhost")
        .unwrap();
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
