//! A program that connects, does anything with its streams, and tampers with its packets.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use gapless_core::{Duration, Instant};
use gapless_quic::{ConnectionId, Direction, Event, StreamId};
use gapless_tests::sim::{Chance, Random};

use super::host::{Desk, Program};
use super::malicious_peer::{self, Tampering};
use super::null;
use super::testbed::{client, server_address};

/// Connections that it makes, one after the other.
const CONNECTIONS: u64 = 20;
/// How often it does something.
const EVERY: Duration = Duration::from_millis(7);

/// Connects again and again, and does anything with its streams, so that there are packets to tamper with.
pub(crate) struct Abuser {
    client: null::Client,
    tampering: Arc<Tampering>,
    /// Connections that it still makes.
    left: u64,
    next: Option<Instant>,
    open: Option<ConnectionId>,
    streams: BTreeSet<StreamId>,
}

impl Abuser {
    /// One that tampers with so many of its packets.
    pub(crate) fn new(chance: Chance, random: &mut Random) -> Self {
        Self {
            client: client(random),
            tampering: Tampering::new(random.fork(), chance),
            left: CONNECTIONS,
            next: Some(Instant::ZERO),
            open: None,
            streams: BTreeSet::new(),
        }
    }

    /// All its connections were there, and are over.
    pub(crate) const fn is_over(&self) -> bool {
        self.open.is_none() && self.left == 0
    }

    fn connect(&mut self, desk: &mut Desk<'_>) {
        self.left -= 1;
        let mut identity = [null::MALICIOUS; 32];
        identity[..8].copy_from_slice(&desk.random.any().to_le_bytes());
        let client =
            null::Client { identity: Some(identity), hello_len: 400, ..self.client.clone() };
        let client = malicious_peer::Client { client, tampering: Arc::clone(&self.tampering) };
        self.open = Some(desk.connect_as(Arc::new(client), server_address()));
    }

    /// Does anything with a stream, as often with one that is over.
    fn act(&mut self, desk: &mut Desk<'_>, stream: StreamId) {
        let code = desk.random.within(0..=9);
        // Nobody minds what is refused.
        let _ = match desk.random.within(0..=9) {
            0 => desk.endpoint.reset(stream, code),
            1 => desk.endpoint.stop(stream, code),
            2 => desk.endpoint.finish(stream),
            _ => {
                let bytes = vec![7; desk.random.within(0..=2000) as usize];
                desk.endpoint.write(stream, &mut Bytes::from(bytes)).map(|_| ())
            }
        };
    }
}

impl Program for Abuser {
    fn event(&mut self, desk: &mut Desk<'_>, event: &Event) {
        match *event {
            Event::Connected { connection } => {
                for direction in [Direction::Bidirectional, Direction::Unidirectional] {
                    for _ in 0..desk.random.within(0..=3) {
                        let stream = desk.endpoint.open(connection, direction);
                        self.streams.extend(stream.expect("it is connected"));
                    }
                }
            }
            Event::Disconnected { .. } => {
                self.open = None;
                self.streams.clear();
            }
            Event::Opened { stream } => {
                self.streams.insert(stream);
            }
            _ => {}
        }
    }

    fn wake(&mut self, desk: &mut Desk<'_>) {
        if self.open.is_none() && self.left > 0 {
            self.connect(desk);
        }
        let streams: Vec<_> = self.streams.iter().copied().collect();
        for _ in 0..streams.len().min(3) {
            let stream = desk.random.one_of(&streams);
            self.act(desk, stream);
        }
        self.next = (!self.is_over()).then_some(desk.now + EVERY);
    }

    fn next(&self) -> Option<Instant> {
        self.next
    }
}
