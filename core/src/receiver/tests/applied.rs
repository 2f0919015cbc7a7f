//! Datagrams that are taken before the commands of what came before.

use alloc::vec;
use alloc::vec::Vec;

use crate::receiver::{Config, Event, LineId, Receiver, Source, Start};
use crate::wire::mold::Header;
use crate::{Instant, Machine, Session};

const SESSION: Session = Session::new(*b"SESSION   ");
const A: Source = Source::Line(LineId(0));
const B: Source = Source::Line(LineId(1));

/// A packet of one message.
fn packet(sequence: u64) -> Vec<u8> {
    let mut bytes = Header { session: SESSION, sequence, count: 1 }.to_bytes().to_vec();
    bytes.extend_from_slice(&[0, 1, b'x']);
    bytes
}

/// A receiver that is drained, and got a packet a millisecond: 100 from both lines, then 2,900 from line A.
fn received() -> Receiver {
    let (lines, start) = (vec![LineId(0), LineId(1)], Start::At(1));
    let config = Config { session: Some(SESSION), start, lines, ..Config::default() };
    let mut receiver = Receiver::new(config).unwrap();
    for sequence in 1..3000 {
        for source in if sequence < 100 { &[A, B][..] } else { &[A] } {
            receiver.receive(Instant::from_millis(sequence), *source, &packet(sequence));
            while receiver.poll_command().is_some() {}
        }
    }
    receiver
}

#[test]
fn nothing_is_returned_before_the_drain_of_an_event() {
    let mut receiver = received();
    let now = Instant::from_millis(3000);
    receiver.handle(now, Event::AddLine(LineId(7))).unwrap();
    assert!(receiver.has_commands());
    assert_eq!(receiver.receive(now, A, &packet(3000)), None);
}

#[test]
fn nothing_is_returned_before_the_drain_of_a_timeout() {
    let mut receiver = received();
    let now = Instant::from_millis(4000);
    receiver.handle_timeout(now).unwrap();
    assert_eq!(receiver.receive(now, A, &packet(3000)), None);
    assert!(receiver.poll_command().is_some(), "line B is down");
}
