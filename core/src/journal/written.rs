//! How the values of each machine are written in the last version of its encoding, in which journals are kept.
//! When one of these tests fails, they are not readable any more: then the machine's version is one more,
//! and what was written in the one before must still be read.

use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;

use super::field::{Decoder, Encoder, Field};
use crate::rate::Rate;
use crate::receiver::{
    self, AcceptAnswers, Batch, Datagram, Delivery, LineId, LossReason, OnLoss, Origin, ServerId,
    SessionEnd, Source, Start,
};
use crate::retransmitter::LookUpId;
use crate::wire::mold::{Kind, Request};
use crate::{Duration, Instant, Session, publisher, retransmitter, transmitter};

const SESSION: Session = Session::new(*b"0123456789");
const BYTES: Bytes = Bytes::from_static(&[0xAB, 0xCD]);

fn address() -> SocketAddr {
    ([127, 0, 0, 1], 0x0201).into()
}

const fn ns(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

const fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// Checks that a value is written so: a number stands for itself in one byte, with `w`, `d` or `q` behind it
/// in two, four or eight; `S`, `A` and `B` for the session, the address and the byte string.
#[track_caller]
pub(crate) fn is_written<'a>(value: &impl Field<'a>, expected: &str) {
    let mut written = Vec::new();
    value.encode(&mut Encoder::new(&mut written));
    let number = |digits: &str, bytes: usize| {
        let number: u64 = digits.parse().expect("a number");
        number.to_le_bytes()[..bytes].to_vec()
    };
    let bytes = |word: &str| match (word, word.split_at(word.len() - 1)) {
        ("S", _) => b"0123456789".to_vec(),
        ("A", _) => vec![4, 127, 0, 0, 1, 1, 2],
        ("B", _) => vec![2, 0, 0, 0, 0xAB, 0xCD],
        (_, (digits, "w")) => number(digits, 2),
        (_, (digits, "d")) => number(digits, 4),
        (_, (digits, "q")) => number(digits, 8),
        _ => number(word, 1),
    };
    let expected: Vec<u8> = expected.split_whitespace().flat_map(bytes).collect();
    assert_eq!(written, expected);
}

#[test]
fn a_receiver_s_configuration() {
    let config = receiver::Config {
        session: Some(SESSION),
        follow: true,
        start: Start::At(1),
        delivery: Delivery::Arrival,
        on_loss: OnLoss::Halt,
        lines: vec![LineId(2), LineId(3)],
        servers: vec![(ServerId(4), address())],
        accept_answers: AcceptAnswers::Any,
        reorder_packets: 5,
        reorder_delay: ns(6),
        max_reorder_delay: ns(7),
        line_timeout: ns(8),
        max_request: 9,
        max_in_flight: 10,
        initial_request_timeout: ns(11),
        min_request_timeout: ns(12),
        max_request_timeout: ns(13),
        max_backoff: ns(14),
        give_up: Some(ns(15)),
        max_attempts: 16,
        max_stall: Some(ns(17)),
        max_held_bytes: 18,
        max_held_packets: 19,
        max_gaps: 20,
        max_jump: 21,
        believe_after: 22,
        quiet: ns(23),
        session_grace: ns(24),
        probe_after: ns(25),
        seed: 26,
    };
    is_written(
        &config,
        "1 S 1 0 1q 1 1 2q 2 3 1q 4 A 1 5 6q 7q 8q 9w 10 11q 12q 13q 14q 1 15q 16 1 17q 18q 19q 20q \
         21q 22 23q 24q 25q 26q",
    );
    is_written(&None::<Duration>, "0");
}

#[test]
fn a_receiver_s_configuration_of_version_1_says_when_it_gives_up() {
    let written = |config: &receiver::Config, version| {
        let mut written = Vec::new();
        config.encode(&mut Encoder::in_version(&mut written, version));
        written
    };
    let config = receiver::Config { give_up: Some(ns(15)), ..receiver::Config::default() };
    let (first, second) = (written(&config, 1), written(&config, 2));
    assert_eq!(first.len() + 1, second.len());
    for (bytes, version) in [(first, 1), (second, 2)] {
        let read = receiver::Config::decode(&mut Decoder::new(&bytes, version));
        assert_eq!(read.as_ref(), Ok(&config), "version {version}");
    }
    let by_default = written(&receiver::Config::default(), 1);
    let read = receiver::Config::decode(&mut Decoder::new(&by_default, 1)).unwrap();
    assert_eq!(
        read,
        receiver::Config { give_up: Some(ns(u64::MAX)), ..receiver::Config::default() }
    );
    is_written(&Start::Live, "1");
    is_written(&[Delivery::Ordered, Delivery::Arrival].to_vec(), "2q 0 1");
    is_written(&[OnLoss::Skip, OnLoss::Halt].to_vec(), "2q 0 1");
    is_written(&[AcceptAnswers::Configured, AcceptAnswers::Any].to_vec(), "2q 0 1");
}

#[test]
fn what_a_receiver_takes() {
    use receiver::Event;

    let (source, bytes) = (Source::LineFrom(LineId(1), address()), BYTES);
    let datagram = Datagram { source, bytes, pinned: 2, arrival: at(3) };
    is_written(&Event::Datagram(datagram), "0 1 1 A B 2q 3q");
    is_written(&Source::Line(LineId(1)), "0 1");
    is_written(&Source::Peer(address()), "2 A");
    is_written(&Event::AddLine(LineId(1)), "1 1");
    is_written(&Event::RemoveLine(LineId(1)), "2 1");
    is_written(&Event::AddServer(ServerId(1), address()), "3 1 A");
    is_written(&Event::RemoveServer(ServerId(1)), "4 1");
    is_written(&Event::Advance { next: 1 }, "5 1q");
    let call =
        receiver::Call { arrival: at(1), source: Source::Line(LineId(2)), datagram: &BYTES[..] };
    is_written(&call, "1q 0 2 B");
}

/// A batch of these bytes.
fn batch<B>(bytes: B) -> Batch<B> {
    Batch {
        session: SESSION,
        first: 1,
        count: 2,
        bytes,
        offset: 3,
        arrival: at(4),
        origin: Origin::Line(LineId(5)),
        repaired: true,
    }
}

#[test]
fn what_a_receiver_gives() {
    use receiver::Command;

    let session = SESSION;
    is_written(&Some(batch(&BYTES[..])), "1 S 1q 2w B 3q 4q 0 5 1");
    is_written(&Command::Batch(batch(BYTES)), "0 S 1q 2w B 3q 4q 0 5 1");
    is_written(&Origin::Server(ServerId(1)), "1 1");
    is_written(&Origin::Unknown, "2");
    let request = Request { session, sequence: 2, count: 3 };
    is_written(&Command::Request { server: ServerId(1), to: address(), request }, "1 1 A S 2q 3w");
    is_written(&Command::SessionStarted { session, next: 1 }, "2 S 1q");
    let reason = SessionEnd::Superseded;
    is_written(&Command::SessionEnded { session, next: 1, reason }, "3 S 1q 1");
    is_written(&SessionEnd::Ended, "0");
    is_written(&Command::GapOpened { session, first: 1, last: 2 }, "4 S 1q 2q");
    let (by_lines, by_answers, after) = (3, 4, ns(5));
    let filled = Command::GapFilled { session, first: 1, last: 2, by_lines, by_answers, after };
    is_written(&filled, "5 S 1q 2q 3q 4q 5q");
    let reason = LossReason::Unanswered;
    is_written(&Command::Lost { session, first: 1, last: 2, reason }, "6 S 1q 2q 1");
    use LossReason::{ClaimedOnly, GivenUp, NobodyToAsk, SessionLeft, Stalled, Unanswered};
    let reasons = [GivenUp, Unanswered, Stalled, SessionLeft, NobodyToAsk, ClaimedOnly];
    is_written(&reasons.to_vec(), "6q 0 1 2 3 4 5");
    let mut in_version_1 = Vec::new();
    NobodyToAsk.encode(&mut Encoder::in_version(&mut in_version_1, 1));
    assert_eq!(in_version_1, [], "losses had no reason");
    assert_eq!(LossReason::decode(&mut Decoder::new(&[], 1)), Ok(GivenUp));
    is_written(&Command::Halted { session, next: 1 }, "7 S 1q");
    is_written(&Command::LineUp(LineId(1)), "8 1");
    is_written(&Command::LineDown(LineId(1)), "9 1");
    let line = LineId(1);
    let regressed = Command::SequenceRegressed { line, session, highest: 2, seen: 3 };
    is_written(&regressed, "10 1 S 2q 3q");
    is_written(&Command::Stalled { session, first: 1, last: 2 }, "11 S 1q 2q");
    is_written(&Command::Withdrawn { session, first: 1, last: 2 }, "12 S 1q 2q");
    let (held, dropped) = (Some(Origin::Line(LineId(2))), Origin::Server(ServerId(3)));
    let contradiction = Command::Contradiction { session, sequence: 1, held, dropped };
    is_written(&contradiction, "13 S 1q 1 0 2 1 3");
}

fn transmitting() -> transmitter::Config {
    transmitter::Config {
        session: SESSION,
        first_sequence: 1,
        mtu: 2,
        flush_delay: ns(3),
        heartbeat_interval: ns(4),
        end_interval: ns(5),
        end_linger: ns(6),
        pace: Some(Rate { bytes_per_second: 7, burst: 8 }),
        ring: 9,
    }
}
const TRANSMITTING: &str = "S 1q 2q 3q 4q 5q 6q 1 7q 8q 9q";

fn retransmitting() -> retransmitter::Config {
    retransmitter::Config {
        session: Some(SESSION),
        sent_before: 1,
        max_sessions: 2,
        mtu: 3,
        history_bytes: 4,
        archive: true,
        max_look_ups: 5,
        max_waiting: 6,
        look_up_timeout: ns(7),
        address_rate: Rate { bytes_per_second: 8, burst: 9 },
        total_rate: Rate { bytes_per_second: 10, burst: 11 },
        max_addresses: 12,
        ring: 13,
        remote: Some(retransmitter::Remote { least: 14, times_line: 15, burst: 16 }),
    }
}
const RETRANSMITTING: &str = "1 S 1q 2q 3q 4q 1 5q 6q 7q 8q 9q 10q 11q 12q 13q 1 14q 15d 16q";

#[test]
fn a_transmitter() {
    use transmitter::{Command, Event};

    is_written(&transmitting(), TRANSMITTING);
    is_written(&Event::Message(&BYTES), "0 B");
    is_written(&Event::Flush, "1");
    is_written(&Event::End, "2");
    let packet = |kind| Command::Packet { bytes: BYTES, first: 1, count: 2, kind };
    is_written(&packet(Kind::Data), "0 B 1q 2w 0");
    is_written(&packet(Kind::Heartbeat), "0 B 1q 2w 1");
    is_written(&packet(Kind::EndOfSession), "0 B 1q 2w 2");
}

#[test]
fn a_retransmitter_s_configuration_of_version_1_knows_no_other_machines() {
    let config = retransmitter::Config { remote: None, ..retransmitting() };
    let mut written = Vec::new();
    config.encode(&mut Encoder::in_version(&mut written, 1));
    let read = retransmitter::Config::decode(&mut Decoder::new(&written, 1));
    assert_eq!(read, Ok(config.clone()));
    let mut now = Vec::new();
    config.encode(&mut Encoder::new(&mut now));
    assert_eq!(now[..], [&written[..], &[0]].concat());
}

#[test]
fn a_retransmitter() {
    use retransmitter::{Command, Event};

    is_written(&retransmitting(), RETRANSMITTING);
    let (id, packet) = (LookUpId(1), &BYTES[..]);
    is_written(&Event::Request { from: address(), datagram: packet }, "0 A B");
    is_written(&Event::Store { packet }, "1 B");
    is_written(&Event::Found { id, packet }, "2 1q B");
    is_written(&Event::NotFound { id }, "3 1q");
    is_written(&Event::Sent { packet }, "4 B");
    is_written(&Command::Answer { to: address(), bytes: BYTES }, "0 A B");
    let look_up = Command::LookUp { id, session: SESSION, first: 2, count: 3 };
    is_written(&look_up, "1 1q S 2q 3w");
}

#[test]
fn a_publisher() {
    use publisher::{Command, Event};

    let transmitter = Some(transmitting());
    let retransmitter = retransmitting();
    let config = publisher::Config { transmitter, retransmitter, end_linger: ns(14) };
    is_written(&config, &alloc::format!("1 {TRANSMITTING} {RETRANSMITTING} 14q"));
    let (id, packet) = (LookUpId(1), &BYTES[..]);
    is_written(&Event::Message(packet), "0 B");
    is_written(&Event::Flush, "1");
    is_written(&Event::End, "2");
    is_written(&Event::Republish(BYTES), "3 B");
    is_written(&Event::Store { packet }, "4 B");
    is_written(&Event::Request { from: address(), datagram: packet }, "5 A B");
    is_written(&Event::Found { id, packet }, "6 1q B");
    is_written(&Event::NotFound { id }, "7 1q");
    is_written(&Command::Send { bytes: BYTES }, "0 B");
    is_written(&Command::Answer { to: address(), bytes: BYTES }, "1 A B");
    let look_up = Command::LookUp { id, session: SESSION, first: 2, count: 3 };
    is_written(&look_up, "2 1q S 2q 3w");
}
