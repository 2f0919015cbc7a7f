//! Acceptors that pause, beside streams that are paused singly.

use std::time::Instant;

use gapless_core::demux::{self, AcceptorId, Direction, Pattern};
use gapless_quic::tagged::{Notice, Opened, Streams};
use gapless_quic::{Acceptors, Event, Limits, StreamId};

use crate::pair::Pair;

const TAKER: AcceptorId = AcceptorId(5);
/// Turns in which everything comes that will.
const WHILE: usize = 20;

/// Notes what it is given; and pauses whenever it was given something, where it is to.
#[derive(Default)]
struct Taker {
    is_sated: bool,
    opened: Vec<StreamId>,
    data: Vec<(StreamId, String)>,
    reset: Vec<u64>,
}

impl Acceptors for Taker {
    fn opened(&mut self, streams: &mut Streams<'_>, opened: Opened) -> bool {
        self.opened.push(opened.stream);
        if self.is_sated {
            streams.pause(opened.acceptor);
        }
        true
    }

    fn notice(&mut self, streams: &mut Streams<'_>, notice: Notice) {
        match notice {
            Notice::Data { acceptor, stream, bytes, .. } => {
                self.data.push((stream, bytes.escape_ascii().to_string()));
                if self.is_sated {
                    streams.pause(acceptor);
                }
            }
            Notice::Event(Event::Reset { code, .. }) => self.reset.push(code),
            _ => {}
        }
    }
}

impl Taker {
    fn texts(&self) -> Vec<&str> {
        self.data.iter().map(|(_, text)| &text[..]).collect()
    }
}

fn connected() -> Pair<Taker> {
    let mut pair = Pair::new(demux::Config::default(), Limits::default(), Taker::default());
    pair.connect(1);
    pair.register(TAKER, Pattern::Exact(b"tag"));
    pair
}

/// Turns until everything has come that will.
fn settle(pair: &mut Pair<Taker>) {
    for _ in 0..WHILE {
        pair.turn();
    }
}

/// Sends a short message, and waits until it is held.
fn send_held(pair: &mut Pair<Taker>, text: &'static [u8]) {
    let held = pair.theirs.demux().held();
    let stream = pair.open(0, Direction::Unidirectional, b"tag");
    pair.write(stream, text);
    pair.finish(stream);
    pair.turn_until(|pair| pair.theirs.demux().held() == held + 1);
}

#[test]
fn an_acceptor_that_pauses_again_while_it_goes_on_is_given_no_more_of_what_waits() {
    let mut pair = connected();
    pair.at_server(|streams, _| streams.pause(TAKER));
    for text in [b"1", b"2", b"3"] {
        send_held(&mut pair, text);
    }
    pair.theirs.acceptors().is_sated = true;
    pair.at_server(|streams, _| streams.resume(TAKER));
    let taker = pair.theirs.acceptors();
    assert_eq!((taker.opened.len(), taker.texts()), (1, vec!["1"]));
    assert_eq!(pair.theirs.demux().held(), 2);
    send_held(&mut pair, b"4");
    pair.at_server(|streams, _| streams.resume(TAKER));
    settle(&mut pair);
    assert_eq!(pair.theirs.acceptors().texts(), ["1", "2"]);
    pair.theirs.acceptors().is_sated = false;
    pair.at_server(|streams, _| streams.resume(TAKER));
    settle(&mut pair);
    assert_eq!(pair.theirs.acceptors().texts(), ["1", "2", "3", "4"]);
    assert!(!pair.theirs.demux().is_paused(TAKER));
    let stream = pair.open(0, Direction::Unidirectional, b"tag");
    pair.write(stream, b"5");
    pair.turn_until(|pair| pair.theirs.acceptors().texts().last() == Some(&"5"));
}

#[test]
fn streams_of_which_only_the_tag_came_are_given_one_by_one_too() {
    let mut pair = connected();
    pair.at_server(|streams, _| streams.pause(TAKER));
    for held in 1..=3 {
        pair.open(0, Direction::Unidirectional, b"tag");
        pair.turn_until(|pair| pair.theirs.demux().held() == held);
    }
    pair.theirs.acceptors().is_sated = true;
    for given in 1..=3 {
        pair.at_server(|streams, _| streams.resume(TAKER));
        assert_eq!(pair.theirs.acceptors().opened.len(), given);
        assert_eq!(pair.theirs.demux().held(), 3 - given);
    }
}

/// Opens a stream, and waits until its first byte was given.
fn open(pair: &mut Pair<Taker>) -> [StreamId; 2] {
    open_on(pair, 0)
}

/// The same, on one of several connections.
fn open_on(pair: &mut Pair<Taker>, nth: usize) -> [StreamId; 2] {
    let stream = pair.open(nth, Direction::Bidirectional, b"tag");
    pair.write(stream, b"1");
    let given = pair.theirs.acceptors().opened.len();
    pair.turn_until(|pair| pair.theirs.acceptors().data.len() > given);
    [stream, pair.theirs.acceptors().opened[given]]
}

#[test]
fn a_stream_that_is_paused_singly_stays_so_when_its_acceptor_goes_on() {
    let mut pair = connected();
    let [stream, at_server] = open(&mut pair);
    pair.server.endpoint().pause(at_server).unwrap();
    pair.at_server(|streams, _| {
        streams.pause(TAKER);
        streams.resume(TAKER);
    });
    pair.write(stream, b"2");
    settle(&mut pair);
    assert_eq!(pair.theirs.acceptors().texts(), ["1"]);
    pair.server.endpoint().resume(at_server).unwrap();
    settle(&mut pair);
    assert_eq!(pair.theirs.acceptors().texts(), ["1", "2"]);
}

#[test]
fn a_stream_that_is_resumed_singly_waits_as_long_as_its_acceptor_pauses() {
    let mut pair = connected();
    let [stream, at_server] = open(&mut pair);
    pair.at_server(|streams, _| streams.pause(TAKER));
    pair.server.endpoint().resume(at_server).unwrap();
    pair.write(stream, b"2");
    settle(&mut pair);
    assert_eq!(pair.theirs.acceptors().texts(), ["1"]);
    pair.at_server(|streams, _| streams.resume(TAKER));
    settle(&mut pair);
    assert_eq!(pair.theirs.acceptors().texts(), ["1", "2"]);
}

#[test]
fn a_reset_is_reported_though_its_acceptor_pauses() {
    let mut pair = connected();
    let [stream, _] = open(&mut pair);
    pair.at_server(|streams, _| streams.pause(TAKER));
    pair.write(stream, b"2");
    settle(&mut pair);
    pair.client.endpoint().reset(stream, 0x33).unwrap();
    settle(&mut pair);
    let taker = pair.theirs.acceptors();
    assert_eq!((taker.texts(), &taker.reset[..]), (vec!["1"], &[0x33][..]));
}

#[test]
fn the_end_of_a_connection_leaves_the_streams_of_others_with_their_acceptor() {
    for ends in 0..3 {
        let mut pair = connected();
        pair.connect(2);
        let streams = [0, 1, 2].map(|nth| open_on(&mut pair, nth)[0]);
        let (now, connection) = (Instant::now(), streams[ends].connection);
        pair.client.endpoint().close(now, connection, 0, b"").unwrap();
        pair.turn_until(|pair| pair.server.endpoint().streams() == 2);
        pair.at_server(|streams, _| streams.pause(TAKER));
        let others = streams.iter().filter(|stream| stream.connection != connection);
        others.for_each(|&stream| pair.write(stream, b"2"));
        settle(&mut pair);
        assert_eq!(pair.theirs.acceptors().texts(), ["1", "1", "1"]);
        pair.at_server(|streams, _| streams.resume(TAKER));
        settle(&mut pair);
        assert_eq!(pair.theirs.acceptors().texts(), ["1", "1", "1", "2", "2"]);
    }
}
