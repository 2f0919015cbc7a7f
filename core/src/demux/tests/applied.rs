//! Events that are applied before the commands of others were taken, as a composite may.

use alloc::vec::Vec;
use bytes::Bytes;

use crate::demux::{
    AcceptorId, Command, Config, Demux, Event, Pattern, PeerId, Registrant, StreamId,
};
use crate::{Instant, Machine};

#[test]
fn answers_come_in_the_order_of_events() {
    let mut demux = Demux::new(Config::default()).unwrap();
    let now = Instant::ZERO;
    let (by, pattern) = (Registrant::Application, Pattern::Exact(b"a"));
    demux.apply(now, Event::Register { acceptor: AcceptorId(1), pattern, by }).unwrap();
    demux.apply(now, Event::Register { acceptor: AcceptorId(2), pattern, by }).unwrap();
    assert_eq!(demux.poll_command(), Some(Command::Answer(Ok(()))));
}

#[test]
fn writes_come_in_the_order_in_which_streams_are_opened() {
    let mut demux = Demux::new(Config::default()).unwrap();
    let stream = |number| StreamId { peer: PeerId(1), number };
    for number in [0, 4] {
        demux.open(Instant::ZERO, stream(number), b"a", Registrant::Application).unwrap();
    }
    let Some(Command::Write { stream: first, .. }) = demux.poll_command() else { panic!() };
    assert_eq!(first, stream(0));
}

#[test]
fn payload_is_exact_when_pieces_come_before_a_drain() {
    let mut demux = Demux::new(Config::default()).unwrap();
    let now = Instant::ZERO;
    let stream = StreamId { peer: PeerId(1), number: 0 };
    demux.register(now, AcceptorId(1), Pattern::Exact(b"a"), Registrant::Application).unwrap();
    demux.data(now, stream, 0, Bytes::from_static(b"\x01a"), 2, false).unwrap();
    demux.data(now, stream, 2, Bytes::from_static(b"hello"), 5, true).unwrap();
    let mut given = Vec::new();
    while let Some(command) = demux.poll_command() {
        if let Command::Data { bytes, .. } = command {
            given.extend_from_slice(&bytes);
        }
    }
    assert_eq!(given, b"hello");
}
