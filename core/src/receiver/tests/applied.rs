//! Datagrams that are taken before the commands of what came before.

use alloc::vec::Vec;

use crate::receiver::{Config, Event, LineId, Receiver, Source, Start};
use crate::wire::mold::Header;
use crate::{Instant, Machine, Session};

#[test]
fn nothing_is_returned_before_a_drain() {
    let session = Session::from_name(b"S").unwrap();
    let config = Config {
        session: Some(session),
        start: Start::At(1),
        lines: alloc::vec![LineId(0), LineId(1)],
        ..Config::default()
    };
    let mut receiver = Receiver::new(config).unwrap();
    let packet = |sequence| -> Vec<u8> {
        let mut bytes = Header { session, sequence, count: 1 }.to_bytes().to_vec();
        bytes.extend_from_slice(&[0, 1, b'x']);
        bytes
    };
    let at = Instant::from_millis;
    for sequence in 1..1000 {
        for line in [0, 1] {
            receiver.receive(at(sequence), Source::Line(LineId(line)), &packet(sequence));
            while receiver.poll_command().is_some() {}
        }
    }
    for sequence in 1000..5000 {
        receiver.receive(at(sequence), Source::Line(LineId(0)), &packet(sequence));
        while receiver.poll_command().is_some() {}
    }
    // Line 1 goes down at 3 s of silence: was it drained? Add a line and do not drain.
    receiver.handle(at(5000), Event::AddLine(LineId(7))).unwrap();
    assert!(receiver.has_commands());
    let bytes = packet(5000);
    let batch = receiver.receive(at(5000), Source::Line(LineId(0)), &bytes);
    assert_eq!(batch, None, "before a drain");
}

#[test]
fn nothing_is_returned_before_a_drain_of_a_timeout() {
    let session = Session::from_name(b"S").unwrap();
    let config = Config {
        session: Some(session),
        start: Start::At(1),
        lines: alloc::vec![LineId(0), LineId(1)],
        ..Config::default()
    };
    let mut receiver = Receiver::new(config).unwrap();
    let packet = |sequence| -> Vec<u8> {
        let mut bytes = Header { session, sequence, count: 1 }.to_bytes().to_vec();
        bytes.extend_from_slice(&[0, 1, b'x']);
        bytes
    };
    let at = Instant::from_millis;
    for sequence in 1..100 {
        for line in [0, 1] {
            receiver.receive(at(sequence), Source::Line(LineId(line)), &packet(sequence));
            while receiver.poll_command().is_some() {}
        }
    }
    for sequence in 100..3000 {
        receiver.receive(at(sequence), Source::Line(LineId(0)), &packet(sequence));
        while receiver.poll_command().is_some() {}
    }
    receiver.handle_timeout(at(4000)).unwrap();
    let bytes = packet(3000);
    let batch = receiver.receive(at(4000), Source::Line(LineId(0)), &bytes);
    let command = receiver.poll_command();
    assert_eq!((batch, command.is_some()), (None, true), "{command:?}");
}
