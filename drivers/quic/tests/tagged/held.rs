//! Streams that end while they wait, and streams that are not for acceptors: nothing is lost, nothing is
//! left.

use std::time::{Duration, Instant};

use gapless_core::Machine;
use gapless_core::demux::{self, AcceptorId, Direction, NO_ACCEPTOR, Pattern, Registrant};
use gapless_quic::tagged::{Notice, Opened, Streams};
use gapless_quic::{Acceptors, ConnectionId, Event, Limits, StreamId};

use crate::pair::{Fate, OWN, Pair};

const TAKER: AcceptorId = AcceptorId(5);

/// Writes down what it is told of streams, the last connection, and where the last data began. It takes
/// no stream whose tag is `no`.
#[derive(Default)]
struct Log(Vec<String>, Option<ConnectionId>, u64);

impl Acceptors for Log {
    fn opened(&mut self, _: &mut Streams<'_>, opened: Opened) -> bool {
        self.0.push(format!("opened {:?}", opened.tag));
        *opened.tag != *b"no"
    }

    fn notice(&mut self, streams: &mut Streams<'_>, notice: Notice) {
        self.0.push(match notice {
            Notice::Data { stream, offset, bytes, fin, .. } => {
                self.2 = offset;
                if fin && stream.direction() == Direction::Bidirectional {
                    // It may have been stopped.
                    let _ = streams.endpoint.finish(stream);
                }
                format!("data {} {fin}", bytes.escape_ascii())
            }
            Notice::HandOffFailed { .. } => "failed".into(),
            Notice::Event(Event::Reset { code, .. }) => format!("reset {code:#x}"),
            Notice::Event(Event::Closed { .. }) => "closed".into(),
            Notice::Event(Event::Connected { connection }) => {
                self.1 = Some(connection);
                return;
            }
            Notice::Event(Event::Data { offset, bytes, .. }) => {
                format!("bare {} at {offset}", bytes.escape_ascii())
            }
            Notice::Event(_) => return,
        });
    }
}

fn connected(hold: Duration) -> Pair<Log> {
    let config = demux::Config { hold, ..demux::Config::default() };
    let mut pair = Pair::new(config, Limits::default(), Log::default());
    pair.connect(1);
    pair
}

/// Sends a short message, and waits until it waits at the server and some more turns have passed.
fn send_short(pair: &mut Pair<Log>, tag: &[u8]) -> StreamId {
    let stream = pair.open(0, Direction::Unidirectional, tag);
    pair.write(stream, b"short");
    pair.finish(stream);
    pair.turn_until(|pair| {
        let stats = *pair.theirs.demux().stats();
        stats.held + stats.dispatched + stats.refused.total() > 0
    });
    for _ in 0..20 {
        pair.turn();
    }
    stream
}

#[track_caller]
fn assert_reported(pair: &mut Pair<Log>, expected: &[&str]) {
    pair.turn_until(|pair| pair.theirs.acceptors().0.len() >= expected.len());
    for _ in 0..20 {
        pair.turn();
    }
    assert_eq!(pair.theirs.acceptors().0, expected);
    assert_eq!((pair.server.endpoint().streams(), pair.theirs.demux().held()), (0, 0));
}

#[test]
fn a_one_way_stream_that_is_whole_waits_for_who_registers_its_tag() {
    let mut pair = connected(Duration::from_secs(60));
    send_short(&mut pair, b"later");
    assert_eq!(pair.theirs.demux().held(), 1);
    pair.register(TAKER, Pattern::Exact(b"later"));
    assert_reported(&mut pair, &["opened \"later\"", "data short true", "closed"]);
}

#[test]
fn a_one_way_stream_that_is_whole_waits_for_an_acceptor_that_pauses() {
    let mut pair = connected(Duration::ZERO);
    pair.register(TAKER, Pattern::Exact(b"tag"));
    pair.at_server(|streams, _| streams.pause(TAKER));
    send_short(&mut pair, b"tag");
    assert_eq!(pair.theirs.demux().held(), 1);
    pair.at_server(|streams, _| streams.resume(TAKER));
    assert_reported(&mut pair, &["opened \"tag\"", "data short true", "closed"]);
}

#[test]
fn a_one_way_stream_that_is_whole_and_nobody_takes_in_time_leaves_nothing() {
    let mut pair = connected(Duration::from_millis(30));
    send_short(&mut pair, b"never");
    pair.turn_until(|pair| pair.theirs.demux().stats().refused.no_acceptor == 1);
    assert_reported(&mut pair, &[]);
}

#[test]
fn a_stream_whose_both_ways_end_while_it_waits_is_given_and_closed_later() {
    let mut pair = connected(Duration::from_secs(60));
    let stream = pair.open(0, Direction::Bidirectional, b"later");
    pair.write(stream, b"short");
    pair.finish(stream);
    pair.turn_until(|pair| pair.theirs.demux().held() == 1);
    pair.client.endpoint().stop(stream, 0x33).unwrap();
    pair.turn_until(|pair| pair.fate(stream).is_closed);
    assert_eq!(pair.theirs.demux().held(), 1);
    pair.register(TAKER, Pattern::Exact(b"later"));
    assert_reported(&mut pair, &["opened \"later\"", "data short true", "closed"]);
}

#[test]
fn a_stream_that_its_peer_breaks_off_while_it_waits_is_forgotten() {
    for direction in [Direction::Unidirectional, Direction::Bidirectional] {
        let mut pair = connected(Duration::from_secs(60));
        let stream = pair.open(0, direction, b"later");
        pair.turn_until(|pair| pair.theirs.demux().held() == 1);
        pair.client.endpoint().reset(stream, 0x33).unwrap();
        pair.turn_until(|pair| pair.theirs.demux().held() == 0);
        pair.register(TAKER, Pattern::Exact(b"later"));
        assert_reported(&mut pair, &[]);
    }
}

#[test]
fn the_end_of_a_connection_leaves_nothing_of_streams_that_are_over_and_wait() {
    let mut pair = connected(Duration::from_secs(60));
    let stream = send_short(&mut pair, b"later");
    assert_eq!(pair.theirs.demux().held(), 1);
    assert!(pair.fate(stream).is_finished, "that it lies there proves nothing");
    pair.client.endpoint().close(Instant::now(), stream.connection, 0, b"").unwrap();
    pair.turn_until(|pair| pair.theirs.demux().held() == 0);
    assert_eq!(pair.theirs.demux().stats().forgotten.peer_gone, 1);
    pair.register(TAKER, Pattern::Exact(b"later"));
    assert_reported(&mut pair, &[]);
}

#[test]
fn events_a_paused_acceptor_did_not_get_are_gone_with_the_connection_and_so_is_the_end() {
    let mut pair = connected(Duration::ZERO);
    pair.register(TAKER, Pattern::Exact(b"tag"));
    let stream = pair.open(0, Direction::Unidirectional, b"tag");
    pair.write(stream, b"1");
    pair.turn_until(|pair| pair.theirs.acceptors().0.len() == 2);
    pair.at_server(|streams, _| streams.pause(TAKER));
    pair.write(stream, b"2");
    pair.finish(stream);
    pair.turn_until(|pair| pair.fate(stream).is_finished);
    pair.client.endpoint().close(Instant::now(), stream.connection, 0, b"").unwrap();
    pair.turn_until(|pair| pair.server.endpoint().streams() == 0);
    pair.at_server(|streams, _| streams.resume(TAKER));
    assert_reported(&mut pair, &["opened \"tag\"", "data 1 false"]);
}

#[test]
fn whoever_does_not_take_a_stream_hears_no_more_of_it() {
    let mut pair = connected(Duration::ZERO);
    pair.register(TAKER, Pattern::Exact(b"no"));
    let stream = pair.open(0, Direction::Bidirectional, b"no");
    pair.write(stream, b"data");
    pair.turn_until(|pair| pair.fate(stream).stopped == Some(NO_ACCEPTOR));
    assert_reported(&mut pair, &["opened \"no\"", "data data false", "failed"]);
}

#[test]
fn what_a_paused_acceptor_opens_waits_with_the_rest() {
    let mut pair = connected(Duration::ZERO);
    pair.register(TAKER, Pattern::Exact(b"tag"));
    let (now, own) = (Instant::now(), OWN);
    pair.ours.with(pair.client.endpoint(), now, |streams, noted| {
        streams.register(own, Pattern::Exact(b"own"), Registrant::Application).unwrap();
        streams.pause(own);
        let opened = streams.open(
            noted.connections[0],
            Direction::Bidirectional,
            own,
            b"tag",
            Registrant::Application,
        );
        streams.endpoint.finish(opened.unwrap()).unwrap();
    });
    pair.turn_until(|pair| !pair.theirs.acceptors().0.is_empty());
    for _ in 0..20 {
        pair.turn();
    }
    let arrived = Fate { is_finished: true, ..Fate::default() };
    let mut fates = pair.ours.acceptors().streams.values();
    assert!(fates.all(|fate| *fate == arrived), "its answer is not told");
    pair.ours.with(pair.client.endpoint(), now, |streams, _| streams.resume(own));
    pair.turn_until(|pair| pair.ours.acceptors().streams.values().any(|fate| fate.is_closed));
}

#[test]
fn an_answer_to_what_was_opened_without_a_tag_is_no_preamble() {
    let mut pair = connected(Duration::ZERO);
    pair.register(TAKER, Pattern::Exact(b"tag"));
    let connection = pair.ours.acceptors().connections[0];
    let stream = pair.client.endpoint().open(connection, Direction::Bidirectional);
    let stream = stream.unwrap().unwrap();
    pair.write(stream, b"\x03tag");
    pair.finish(stream);
    assert_reported(&mut pair, &["opened \"tag\"", "data  true", "closed"]);
    let refused = pair.ours.demux().stats().refused.total();
    assert_eq!((refused, pair.fate(stream).is_closed), (0, true));
}

#[test]
fn a_tagged_stream_on_a_connection_of_another_protocol_tags_no_others() {
    let demux = demux::Config::default();
    let mut pair = Pair::speaking(b"other", demux, Limits::default(), Log::default());
    pair.connect(1);
    pair.register(TAKER, Pattern::Exact(b"tag"));
    pair.turn_until(|pair| pair.theirs.acceptors().1.is_some());
    pair.at_server(|streams, log| {
        let (connection, by) = (log.1.unwrap(), Registrant::Application);
        streams.open(connection, Direction::Unidirectional, TAKER, b"own", by).unwrap();
    });
    let stream = pair.open_bare(0, Direction::Unidirectional);
    pair.write(stream, b"\x03tag");
    pair.finish(stream);
    pair.turn_until(|pair| pair.fate(stream).is_closed);
    assert_eq!(pair.theirs.demux().stats().dispatched, 0);
    assert_eq!(pair.theirs.acceptors().0, ["bare \\x03tag at 0", "closed"]);
}

#[test]
fn what_comes_on_a_connection_of_another_protocol_is_an_acceptor_s_once_it_is_made_its_owner() {
    let demux = demux::Config::default();
    let mut pair = Pair::speaking(b"other", demux, Limits::default(), Log::default());
    pair.connect(1);
    let stream = pair.open_bare(0, Direction::Unidirectional);
    pair.write(stream, b"ab");
    pair.turn_until(|pair| pair.theirs.acceptors().0 == ["bare ab at 0"]);
    let at_server = StreamId { connection: pair.theirs.acceptors().1.unwrap(), ..stream };
    pair.server.endpoint().set_owner(at_server, TAKER.0).unwrap();
    pair.write(stream, b"cd");
    pair.finish(stream);
    assert_reported(&mut pair, &["bare ab at 0", "data cd true", "closed"]);
    assert_eq!(pair.theirs.acceptors().2, 2);
}
