//! Streams find who registered for their tag, are paused, refused and handed back.

use std::collections::BTreeMap;
use std::time::Duration;

use gapless_core::demux::{
    self, AcceptorId, DEADLINE, Direction, FIN_IN_PREAMBLE, NO_ACCEPTOR, Pattern, RESERVED,
};
use gapless_quic::tagged::{Notice, Opened, Streams};
use gapless_quic::tls::{self, Cause};
use gapless_quic::{Acceptors, Event, Limits, Reason, StreamId};

use crate::pair::Pair;

const ECHO: AcceptorId = AcceptorId(7);

/// Sends back what comes. It takes no stream whose tag begins with `no`.
#[derive(Default)]
struct Echo {
    opened: Vec<Opened>,
    received: BTreeMap<StreamId, Vec<u8>>,
    failed: Vec<StreamId>,
    gone: Vec<Reason>,
}

impl Acceptors for Echo {
    fn opened(&mut self, _: &mut Streams<'_>, opened: Opened) -> bool {
        let is_taken = !opened.tag.starts_with(b"no");
        self.opened.push(opened);
        is_taken
    }

    fn notice(&mut self, streams: &mut Streams<'_>, notice: Notice) {
        match notice {
            Notice::Data { stream, mut bytes, fin, .. } => {
                let opened = self.opened.iter().any(|opened| opened.stream == stream);
                assert!(opened, "a stream is opened before its data");
                self.received.entry(stream).or_default().extend_from_slice(&bytes);
                if stream.direction() == Direction::Bidirectional {
                    streams.endpoint.write(stream, &mut bytes).unwrap();
                    assert!(bytes.is_empty(), "what is echoed is small");
                    if fin {
                        streams.endpoint.finish(stream).unwrap();
                    }
                }
            }
            Notice::HandOffFailed { stream, acceptor } => {
                assert_eq!(acceptor, ECHO);
                self.failed.push(stream);
            }
            Notice::Event(Event::Disconnected { reason, .. }) => self.gone.push(reason),
            Notice::Event(_) => {}
        }
    }
}

fn connected(config: demux::Config) -> Pair<Echo> {
    let mut pair = Pair::new(config, Limits::default(), Echo::default());
    pair.connect(1);
    pair.register(ECHO, Pattern::Exact(b"echo"));
    pair
}

#[test]
fn a_stream_finds_its_acceptor_and_talks_back() {
    let mut pair = connected(demux::Config::default());
    let stream = pair.open(0, Direction::Bidirectional, b"echo");
    pair.write(stream, b"hello");
    pair.finish(stream);
    pair.turn_until(|pair| pair.fate(stream).is_closed);
    let fate = pair.fate(stream);
    assert_eq!((&fate.answer[..], fate.is_answered), (&b"hello"[..], true));
    let [opened] = &pair.theirs.acceptors().opened[..] else { panic!("one stream was opened") };
    assert_eq!((opened.acceptor, &*opened.tag), (ECHO, &b"echo"[..]));
    let peer = pair.server.endpoint().peer(opened.stream.connection).unwrap();
    assert_eq!((peer.address, peer.is_client), (pair.client.address(), true));
}

#[test]
fn a_stream_that_goes_one_way_is_given_with_its_end() {
    let mut pair = connected(demux::Config::default());
    pair.register(ECHO, Pattern::Prefix(b"log/"));
    let stream = pair.open(0, Direction::Unidirectional, b"log/x");
    pair.finish(stream);
    pair.turn_until(|pair| pair.fate(stream).is_closed);
    let echo = pair.theirs.acceptors();
    assert_eq!(echo.received.values().collect::<Vec<_>>(), [b""]);
    assert_eq!(pair.server.endpoint().streams(), 0);
}

#[test]
fn refused_streams_tell_why() {
    let mut pair = connected(demux::Config {
        preamble_timeout: Duration::from_millis(50),
        ..demux::Config::default()
    });
    let nobody = pair.open(0, Direction::Bidirectional, b"nobody");
    let bare = [(); 4].map(|()| pair.open_bare(0, Direction::Bidirectional));
    let [late, cut, reserved, empty] = bare;
    pair.write(late, b"\x04ech");
    pair.write(cut, b"\x04ech");
    pair.finish(cut);
    pair.write(reserved, b"\x09gapless:x");
    pair.write(empty, b"\0");
    let all = [nobody, late, cut, reserved, empty];
    pair.turn_until(|pair| all.iter().all(|&stream| pair.fate(stream).reset.is_some()));
    let codes = all.map(|stream| pair.fate(stream).reset.unwrap());
    assert_eq!(codes, [NO_ACCEPTOR, DEADLINE, FIN_IN_PREAMBLE, RESERVED, NO_ACCEPTOR]);
    assert_eq!(pair.fate(nobody).stopped, Some(NO_ACCEPTOR));
    assert_eq!(pair.theirs.demux().pending(), 0);
    assert!(pair.theirs.acceptors().opened.is_empty());
}

#[test]
fn a_stream_that_is_not_taken_is_opened_given_and_closed() {
    let mut pair = connected(demux::Config::default());
    pair.register(ECHO, Pattern::Exact(b"no"));
    let stream = pair.open(0, Direction::Unidirectional, b"no");
    pair.write(stream, b"data");
    pair.turn_until(|pair| pair.fate(stream).stopped.is_some());
    assert_eq!(pair.fate(stream).stopped, Some(NO_ACCEPTOR));
    let echo = pair.theirs.acceptors();
    assert_eq!((echo.opened.len(), echo.failed.len()), (1, 1));
    assert_eq!(echo.received.values().collect::<Vec<_>>(), [b"data"]);
}

#[test]
fn a_paused_acceptor_is_given_nothing_until_it_goes_on() {
    let mut pair = connected(demux::Config::default());
    let before = pair.open(0, Direction::Bidirectional, b"echo");
    pair.write(before, b"1");
    pair.turn_until(|pair| pair.fate(before).answer == b"1");
    pair.at_server(|streams, _| streams.pause(ECHO));
    pair.write(before, b"2");
    let meanwhile = pair.open(0, Direction::Bidirectional, b"echo");
    pair.write(meanwhile, b"3");
    pair.finish(meanwhile);
    pair.turn_until(|pair| pair.theirs.demux().held() == 1);
    for _ in 0..20 {
        pair.turn();
    }
    assert_eq!(pair.theirs.acceptors().opened.len(), 1);
    assert_eq!(pair.fate(before).answer, b"1");
    pair.at_server(|streams, _| streams.resume(ECHO));
    pair.turn_until(|pair| pair.fate(meanwhile).is_closed && pair.fate(before).answer == b"12");
    assert_eq!(pair.fate(meanwhile).answer, b"3");
}

#[test]
fn a_stream_waits_for_who_registers_its_tag_when_it_may() {
    let mut pair =
        connected(demux::Config { hold: Duration::from_secs(60), ..demux::Config::default() });
    let stream = pair.open(0, Direction::Bidirectional, b"later");
    pair.write(stream, b"early");
    pair.finish(stream);
    pair.turn_until(|pair| pair.theirs.demux().held() == 1);
    pair.register(ECHO, Pattern::Exact(b"later"));
    pair.turn_until(|pair| pair.fate(stream).is_closed);
    assert_eq!(pair.fate(stream).answer, b"early");
}

#[test]
fn the_end_of_a_connection_ends_its_streams_and_forgets_its_preambles() {
    let mut pair = connected(demux::Config::default());
    let stream = pair.open(0, Direction::Bidirectional, b"echo");
    pair.write(stream, b"1");
    let bare = pair.open_bare(0, Direction::Unidirectional);
    pair.write(bare, b"\x04e");
    pair.turn_until(|pair| pair.fate(stream).answer == b"1" && pair.theirs.demux().pending() == 1);
    let now = std::time::Instant::now();
    pair.client.endpoint().close(now, stream.connection, 0x77, b"enough").unwrap();
    pair.turn_until(|pair| pair.theirs.acceptors().gone.len() == 1);
    assert_eq!(pair.theirs.demux().pending(), 0);
    let reason = pair.theirs.acceptors().gone[0].to_string();
    assert!(reason.contains("enough"), "{reason}");
    let [(_, here)] = &pair.ours.acceptors().gone[..] else { panic!("it is told once") };
    assert_eq!(*here, Reason::Closed { code: 0x77 });
    assert_eq!((pair.server.endpoint().streams(), pair.client.endpoint().streams()), (0, 0));
}

#[test]
fn a_renewed_certificate_is_for_those_who_connect_later() {
    let mut pair = connected(demux::Config::default());
    let old = pair.renew();
    let refused = pair.begin(&old);
    pair.turn_until(|pair| !pair.ours.acceptors().gone.is_empty());
    let [(connection, Reason::Lost(error))] = &pair.ours.acceptors().gone[..] else {
        panic!("one connection is lost")
    };
    let cause = tls::explain(error).map(|failure| failure.cause);
    assert!(matches!(cause, Some(Cause::NotPinned { .. })), "{cause:?}");
    assert_eq!(*connection, refused);
    pair.connect(1);
    for nth in [0, 1] {
        let stream = pair.open(nth, Direction::Bidirectional, b"echo");
        pair.finish(stream);
        pair.turn_until(|pair| pair.fate(stream).is_closed);
    }
}
