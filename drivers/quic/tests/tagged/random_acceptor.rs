//! An acceptor that does whatever it can whenever it is called: pauses, goes on, registers, breaks off,
//! opens, closes. The events stay in order, nothing is reported twice, and nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use gapless_core::Machine;
use gapless_core::demux::{self, AcceptorId, Direction, Pattern, Registrant};
use gapless_quic::tagged::{Notice, Opened, Streams};
use gapless_quic::{Acceptors, ConnectionId, Event, Limits, StreamId};

use crate::pair::Pair;

const SEEDS: u64 = 24;
const STEPS: usize = 150;
/// Turns in which everything that waits has come.
const TURNS: usize = 4_000;
const TAGS: [&[u8]; 4] = [b"a", b"ab", b"b", b"gapless:x"];
const PATTERNS: [Pattern<'static>; 5] = [
    Pattern::Exact(b"a"),
    Pattern::Exact(b"b"),
    Pattern::Prefix(b""),
    Pattern::Prefix(b"a"),
    Pattern::Exact(b"ab"),
];

/// xorshift64*
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides
    }

    fn direction(&mut self) -> Direction {
        [Direction::Bidirectional, Direction::Unidirectional][self.roll(2)]
    }
}

/// A stream as it was reported to the acceptors.
struct StreamLog {
    acceptor: AcceptorId,
    /// Where the next data begins.
    offset: u64,
    /// Nothing more comes: it ended, or was broken off by either side.
    is_over: bool,
    is_closed: bool,
}

struct RandomAcceptor {
    dice: Dice,
    /// Whether it still does what the dice say.
    is_random: bool,
    streams: BTreeMap<StreamId, StreamLog>,
    connections: BTreeSet<ConnectionId>,
}

impl RandomAcceptor {
    fn acts(&mut self, streams: &mut Streams<'_>) {
        while self.is_random && self.dice.roll(2) == 0 {
            self.act(streams);
        }
    }

    fn act(&mut self, streams: &mut Streams<'_>) {
        let acceptor = AcceptorId(1 + self.dice.roll(3) as u64);
        let pattern = PATTERNS[self.dice.roll(PATTERNS.len())];
        let nth = self.dice.roll(self.streams.len().max(1));
        let stream = self.streams.keys().nth(nth).copied();
        let nth = self.dice.roll(self.connections.len().max(1));
        let connection = self.connections.iter().nth(nth).copied();
        // Refusals are fine.
        match (self.dice.roll(40), stream, connection) {
            (0..6, ..) => streams.pause(acceptor),
            (6..14, ..) => streams.resume(acceptor),
            (14..20, ..) => drop(streams.register(acceptor, pattern, Registrant::Application)),
            (20..22, ..) => streams.unregister(pattern),
            (22, ..) => streams.acceptor_gone(acceptor),
            (23..26, Some(stream), _) => drop(streams.endpoint.pause(stream)),
            (26..30, Some(stream), _) => drop(streams.endpoint.resume(stream)),
            (30, Some(stream), _) => drop(streams.endpoint.reset(stream, 1)),
            (31, Some(stream), _) if streams.endpoint.stop(stream, 2).is_ok() => self.over(stream),
            (32..34, Some(stream), _) => drop(streams.endpoint.finish(stream)),
            (34..36, Some(stream), _) => {
                let _ = streams.endpoint.write(stream, &mut Bytes::from_static(b"answer"));
            }
            (36, _, Some(connection)) => {
                let _ = streams.endpoint.close(streams.now, connection, 3, b"");
            }
            (37..39, _, Some(connection)) => {
                let (direction, tag) = (self.dice.direction(), TAGS[self.dice.roll(TAGS.len())]);
                let by = Registrant::Application;
                if let Ok(stream) = streams.open(connection, direction, acceptor, tag, by) {
                    self.begins(stream, acceptor, 0);
                    if direction == Direction::Unidirectional {
                        self.over(stream);
                    }
                }
            }
            _ => {}
        }
    }

    fn begins(&mut self, stream: StreamId, acceptor: AcceptorId, offset: u64) {
        let known = StreamLog { acceptor, offset, is_over: false, is_closed: false };
        assert!(self.streams.insert(stream, known).is_none(), "{stream:?} begins twice");
    }

    fn over(&mut self, stream: StreamId) {
        if let Some(known) = self.streams.get_mut(&stream) {
            known.is_over = true;
        }
    }
}

impl Acceptors for RandomAcceptor {
    fn opened(&mut self, streams: &mut Streams<'_>, opened: Opened) -> bool {
        self.begins(opened.stream, opened.acceptor, 1 + opened.tag.len() as u64);
        self.acts(streams);
        !self.is_random || self.dice.roll(8) > 0
    }

    fn notice(&mut self, streams: &mut Streams<'_>, notice: Notice) {
        match &notice {
            Notice::Data { acceptor, stream, offset, bytes, fin } => {
                let known = self.streams.get_mut(stream).unwrap();
                assert_eq!((known.acceptor, known.offset), (*acceptor, *offset));
                assert!(!known.is_closed);
                known.offset += bytes.len() as u64;
                known.is_over |= fin;
            }
            Notice::HandOffFailed { acceptor, stream } => {
                let known = self.streams.get_mut(stream).unwrap();
                assert_eq!(known.acceptor, *acceptor);
                known.is_over = true;
            }
            Notice::Event(Event::Connected { connection }) => {
                self.connections.insert(*connection);
            }
            Notice::Event(Event::Disconnected { connection, .. }) => {
                assert!(self.connections.remove(connection));
                self.streams.retain(|stream, _| stream.connection != *connection);
            }
            Notice::Event(event) => {
                let Some((stream, owner)) = event.stream() else { return self.acts(streams) };
                let known = self.streams.get_mut(&stream).unwrap();
                assert_eq!((known.acceptor.0, known.is_closed), (owner, false), "{event:?}");
                known.is_over |= matches!(event, Event::Reset { .. });
                known.is_closed |= matches!(event, Event::Closed { .. });
            }
        }
        self.acts(streams);
    }
}

/// The clients do something.
fn send(pair: &mut Pair<RandomAcceptor>, dice: &mut Dice, open: &mut Vec<StreamId>) {
    let gone: Vec<_> = pair.ours.acceptors().gone.iter().map(|(gone, _)| *gone).collect();
    pair.ours.acceptors().connections.retain(|connection| !gone.contains(connection));
    open.retain(|stream| !gone.contains(&stream.connection));
    let connections = pair.ours.acceptors().connections.len();
    if connections < 2 {
        return pair.connect(1);
    }
    let client = pair.client.endpoint();
    let nth = dice.roll(open.len().max(1));
    match (dice.roll(12), open.get(nth).copied()) {
        (0..5, _) => {
            let connection = pair.ours.acceptors().connections[dice.roll(connections)];
            let (direction, tag) = (dice.direction(), TAGS[dice.roll(3)]);
            let (whole, mut bytes) = (dice.roll(2) == 0, vec![tag.len() as u8]);
            bytes.extend(tag);
            bytes.extend(b"payload");
            bytes.truncate(if whole { bytes.len() } else { 1 + dice.roll(bytes.len()) });
            let client = pair.client.endpoint();
            let Ok(Some(stream)) = client.open(connection, direction) else { return };
            client.set_owner(stream, crate::pair::OWN.0).unwrap();
            client.write(stream, &mut bytes.into()).unwrap();
            open.push(stream);
        }
        (5..8, Some(stream)) => {
            let _ = client.write(stream, &mut Bytes::from_static(b"more"));
        }
        (8..10, Some(stream)) => drop(client.finish(stream)),
        (10, Some(stream)) => drop(client.reset(stream, 4)),
        (11, Some(stream)) => drop(client.stop(stream, 5)),
        _ => {}
    }
}

#[test]
fn an_acceptor_that_does_everything_at_any_moment_gets_all_in_order_and_leaves_nothing() {
    for seed in 1..=SEEDS {
        let mut dice = Dice(seed);
        let config = demux::Config {
            hold: Duration::from_millis([0, 3, 60_000][dice.roll(3)]),
            max_held: 6,
            max_held_per_acceptor: 4,
            ..demux::Config::default()
        };
        let acceptor = RandomAcceptor {
            dice: Dice(seed << 32),
            is_random: true,
            streams: BTreeMap::new(),
            connections: BTreeSet::new(),
        };
        let mut pair = Pair::new(config, Limits::default(), acceptor);
        let mut open = Vec::new();
        for _ in 0..STEPS {
            send(&mut pair, &mut dice, &mut open);
            if dice.roll(3) == 0 {
                pair.turn();
            }
            if dice.roll(4) == 0 {
                pair.at_server(|streams, acceptor| acceptor.act(streams));
            }
        }
        // From now on everything is taken.
        pair.at_server(|streams, acceptor| {
            acceptor.is_random = false;
            (1..=3).for_each(|acceptor| streams.acceptor_gone(AcceptorId(acceptor)));
            (1..=3).for_each(|acceptor| streams.resume(AcceptorId(acceptor)));
            let all = Pattern::Prefix(b"");
            streams.register(AcceptorId(1), all, Registrant::Application).unwrap();
            for &stream in acceptor.streams.keys() {
                let _ = streams.endpoint.resume(stream);
            }
        });
        for stream in open {
            let _ = pair.client.endpoint().finish(stream);
        }
        let waits = |pair: &mut Pair<RandomAcceptor>| {
            pair.theirs.demux().held() + pair.theirs.demux().pending() > 0
                || pair.theirs.acceptors().streams.values().any(|known| !known.is_over)
        };
        let mut turns = 0;
        while waits(&mut pair) {
            pair.turn();
            turns += 1;
            assert!(turns < TURNS, "seed {seed}: something waits for ever");
        }
        let (now, connections) = (Instant::now(), pair.ours.acceptors().connections.clone());
        for connection in connections {
            let _ = pair.client.endpoint().close(now, connection, 0, b"");
        }
        pair.turn_until(|pair| pair.theirs.acceptors().connections.is_empty());
        assert_eq!(pair.server.endpoint().streams(), 0);
        // A waiting stream is given to somebody, broken off, or refused: not just over.
        assert_eq!(pair.theirs.demux().stats().forgotten.closed, 0);
        assert!(pair.theirs.acceptors().streams.is_empty());
    }
}
