//! Tagged streams that are broken off after every byte of their preamble and their payload, by the one who
//! sends and by the one who reads: each acceptor gets what came, once, and an end, and nothing is left.

use std::time::Instant;

use gapless_core::demux::{self, AcceptorId, Direction, FIN_IN_PREAMBLE, Pattern};
use gapless_quic::tagged::{Notice, Opened, Streams};
use gapless_quic::{Acceptors, Event, Limits, StreamId};

use crate::pair::Pair;

const TAKER: AcceptorId = AcceptorId(7);
const STREAM: &[u8] = b"\x04echowhat it says";
/// Bytes of the preamble.
const HEAD: usize = 5;
const RESET: u64 = 0x77;
const STOP: u64 = 0x55;

/// How a stream is broken off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Break {
    Reset,
    /// Its answer is not wanted; it goes on to its end.
    Stop,
    Both,
    End,
}

/// Answers with what comes, and writes down the one stream that it is given.
#[derive(Default)]
struct Taker {
    opened: usize,
    received: Vec<u8>,
    is_whole: bool,
    reset: Option<u64>,
    closed: usize,
}

impl Acceptors for Taker {
    fn opened(&mut self, _: &mut Streams<'_>, opened: Opened) -> bool {
        assert_eq!((opened.acceptor, &opened.tag[..]), (TAKER, &STREAM[1..HEAD]));
        self.opened += 1;
        true
    }

    fn notice(&mut self, streams: &mut Streams<'_>, notice: Notice) {
        // Answers may be refused: nobody has to want them.
        match notice {
            Notice::Data { stream, offset, mut bytes, fin, .. } => {
                assert_eq!(offset, (HEAD + self.received.len()) as u64);
                assert!(!self.is_whole && self.reset.is_none() && self.closed == 0);
                self.received.extend_from_slice(&bytes);
                self.is_whole = fin;
                let _ = streams.endpoint.write(stream, &mut bytes);
                if fin {
                    let _ = streams.endpoint.finish(stream);
                }
            }
            Notice::Event(Event::Reset { stream, code, .. }) => {
                assert!(!self.is_whole && self.reset.is_none() && self.closed == 0);
                self.reset = Some(code);
                let _ = streams.endpoint.finish(stream);
            }
            Notice::Event(Event::Closed { .. }) => self.closed += 1,
            Notice::HandOffFailed { .. } => panic!("every stream is taken"),
            Notice::Event(_) => {}
        }
    }
}

fn connected() -> Pair<Taker> {
    let mut pair = Pair::new(demux::Config::default(), Limits::default(), Taker::default());
    pair.connect(1);
    pair.register(TAKER, Pattern::Exact(&STREAM[1..HEAD]));
    pair
}

/// Whether the server holds nothing of any stream.
fn is_clean(pair: &mut Pair<Taker>) -> bool {
    let demux = pair.theirs.demux();
    demux.pending() + demux.held() == 0 && pair.server.endpoint().streams() == 0
}

/// Opens a stream, sends the beginning of it, and lets it arrive, or not.
fn begin(pair: &mut Pair<Taker>, direction: Direction, cut: usize, arrives: bool) -> StreamId {
    *pair.theirs.acceptors() = Taker::default();
    let latest = pair.ours.acceptors().connections.len() - 1;
    let stream = pair.open_bare(latest, direction);
    pair.write(stream, &STREAM[..cut]);
    if arrives {
        pair.turn_until(|pair| {
            let Taker { opened, received, .. } = pair.theirs.acceptors();
            let (opened, received) = (*opened, received.len());
            match cut {
                0 => true,
                1..HEAD => pair.theirs.demux().pending() == 1,
                _ => opened == 1 && received == cut - HEAD,
            }
        });
    }
    stream
}

/// Breaks the stream off, and sees what became of it.
fn check(pair: &mut Pair<Taker>, direction: Direction, cut: usize, breaks: Break, arrives: bool) {
    let stream = begin(pair, direction, cut, arrives);
    let endpoint = pair.client.endpoint();
    if matches!(breaks, Break::Stop | Break::Both) {
        endpoint.stop(stream, STOP).unwrap();
    }
    match breaks {
        Break::Reset | Break::Both => endpoint.reset(stream, RESET).unwrap(),
        Break::Stop => {
            pair.write(stream, &STREAM[cut..]);
            pair.finish(stream);
        }
        Break::End => pair.finish(stream),
    }
    pair.turn_until(|pair| pair.fate(stream).is_closed && is_clean(pair));
    let fate = pair.fate(stream);
    let taker = pair.theirs.acceptors();
    let case = format!("{breaks:?} of {direction:?} after {cut}, arrives: {arrives}: {fate:?}");
    let sent = if breaks == Break::Stop { STREAM.len() } else { cut };
    let is_reset = matches!(breaks, Break::Reset | Break::Both);
    // A reset may overtake what was sent before it.
    let may_be_lost = is_reset && !arrives;
    assert!(
        taker.opened == usize::from(sent >= HEAD) || may_be_lost && taker.opened == 0,
        "{case}"
    );
    assert_eq!(taker.closed, taker.opened, "{case}");
    if taker.opened == 0 {
        assert_eq!(taker.received, b"", "{case}");
        // A peer that has sent all of a stream that goes one way cannot be notified.
        if breaks == Break::End && direction == Direction::Bidirectional {
            assert_eq!(fate.reset, Some(FIN_IN_PREAMBLE), "{case}");
        }
        return;
    }
    assert_eq!((taker.is_whole, taker.reset.is_some()), (!is_reset, is_reset), "{case}");
    assert!(taker.reset.is_none_or(|code| code == RESET), "{case}");
    assert!(STREAM[HEAD..sent].starts_with(&taker.received), "{case}");
    assert!(taker.received.len() == sent - HEAD || may_be_lost, "{case}");
}

#[test]
fn streams_that_are_broken_off_after_any_byte_end_on_both_sides_and_leave_nothing() {
    let mut pair = connected();
    for cut in 0..=STREAM.len() {
        for arrives in [true, false] {
            for breaks in [Break::Reset, Break::Stop, Break::Both, Break::End] {
                check(&mut pair, Direction::Bidirectional, cut, breaks, arrives);
            }
            for breaks in [Break::Reset, Break::End] {
                check(&mut pair, Direction::Unidirectional, cut, breaks, arrives);
            }
        }
    }
}

#[test]
fn connections_that_are_closed_after_any_byte_of_a_stream_leave_nothing() {
    let mut pair = connected();
    for cut in 0..=STREAM.len() {
        for arrives in [true, false] {
            let stream = begin(&mut pair, Direction::Bidirectional, cut, arrives);
            pair.client.endpoint().close(Instant::now(), stream.connection, RESET, b"").unwrap();
            pair.turn_until(|pair| {
                pair.server.endpoint().connections() + pair.client.endpoint().connections() == 0
            });
            assert!(is_clean(&mut pair));
            let taker = pair.theirs.acceptors();
            assert!(taker.opened <= usize::from(cut >= HEAD) && !taker.is_whole);
            assert!(STREAM[HEAD..].starts_with(&taker.received));
            pair.connect(1);
        }
    }
}
