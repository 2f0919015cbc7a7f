//! How a receiver is written in journals.

use alloc::vec;
use alloc::vec::Vec;

use crate::journal::encoding::{BYTES, SESSION, address, assert_encoding, at, is_digested, ns};
use crate::journal::{Decoder, Digest, Encoder, Field};
use crate::receiver::{
    AcceptAnswers, Batch, Call, Command, Config, Datagram, Delivery, Event, LineId, LossReason,
    OnLoss, Origin, Quota, QuotaUnit, QuotaUse, ServerId, SessionEnd, Source, Start,
};
use crate::wire::mold::Request;

#[test]
fn a_receiver_s_configuration() {
    let config = Config {
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
        quotas: vec![Quota { unit: QuotaUnit::Messages, most: 27, window: ns(28) }],
        used: vec![QuotaUse {
            server: ServerId(29),
            unit: QuotaUnit::Requests,
            window: ns(30),
            count: 31,
            age: ns(32),
        }],
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
    assert_encoding(
        &config,
        "1 S 1 0 1q 1 1 2q 2 3 1q 4 A 1 5 6q 7q 8q 1q 1 27q 28q 1q 29 0 30q 31q 32q 9w 10 11q 12q 13q 14q 1 15q 16 1 17q 18q 19q 20q \
         21q 22 23q 24q 25q 26q",
    );
    assert_encoding(&Start::Live, "1");
    assert_encoding(&[Delivery::Ordered, Delivery::Arrival].to_vec(), "2q 0 1");
    assert_encoding(&[OnLoss::Skip, OnLoss::Halt].to_vec(), "2q 0 1");
    assert_encoding(&[AcceptAnswers::Configured, AcceptAnswers::Any].to_vec(), "2q 0 1");
}

#[test]
fn a_receiver_s_configuration_of_version_1_says_when_it_gives_up() {
    let written = |config: &Config, version| {
        let mut written = Vec::new();
        config.encode(&mut Encoder::in_version(&mut written, version));
        written
    };
    let config = Config { give_up: Some(ns(15)), ..Config::default() };
    let (first, second) = (written(&config, 1), written(&config, 2));
    assert_eq!(first.len() + 1, second.len());
    for (bytes, version) in [(first, 1), (second, 2)] {
        let read = Config::decode(&mut Decoder::new(&bytes, version));
        assert_eq!(read.as_ref(), Ok(&config), "version {version}");
    }
    let by_default = written(&Config::default(), 1);
    let read = Config::decode(&mut Decoder::new(&by_default, 1)).unwrap();
    assert_eq!(read, Config { give_up: Some(ns(u64::MAX)), ..Config::default() });
}

#[test]
fn what_a_receiver_takes() {
    let (source, bytes) = (Source::LineFrom(LineId(1), address()), BYTES);
    let datagram = Datagram { source, bytes, pinned: 2, arrival: at(3) };
    assert_encoding(&Event::Datagram(datagram), "0 1 1 A B 2q 3q");
    assert_encoding(&Source::Line(LineId(1)), "0 1");
    assert_encoding(&Source::Peer(address()), "2 A");
    assert_encoding(&Event::AddLine(LineId(1)), "1 1");
    assert_encoding(&Event::RemoveLine(LineId(1)), "2 1");
    assert_encoding(&Event::AddServer(ServerId(1), address()), "3 1 A");
    assert_encoding(&Event::RemoveServer(ServerId(1)), "4 1");
    assert_encoding(&Event::Advance { next: 1 }, "5 1q");
    let call = Call { arrival: at(1), source: Source::Line(LineId(2)), datagram: &BYTES[..] };
    assert_encoding(&call, "1q 0 2 B");
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
    let session = SESSION;
    assert_encoding(&Some(batch(&BYTES[..])), "1 S 1q 2w B 3q 4q 0 5 1");
    assert_encoding(&Command::Batch(batch(BYTES)), "0 S 1q 2w B 3q 4q 0 5 1");
    let rest = (((SESSION, 2_u16), [0_u8, 5, 1, 0]), ((1_u64, 2_u64), (3_u64, 4_u64)));
    let (mut digest, mut written) = (Digest::new(), Vec::new());
    rest.encode(&mut Encoder::new(&mut written));
    digest.update(&BYTES);
    digest.update(&written);
    assert_eq!(digest.value(), 1_421_076_671);
    is_digested(&Some(batch(&BYTES[..])), "1 1421076671d");
    is_digested(&Command::Batch(batch(BYTES)), "0 1421076671d");
    assert_encoding(&Origin::Server(ServerId(1)), "1 1");
    assert_encoding(&Origin::Unknown, "2");
    let request = Request { session, sequence: 2, count: 3 };
    assert_encoding(
        &Command::Request { server: ServerId(1), to: address(), request },
        "1 1 A S 2q 3w",
    );
    assert_encoding(&Command::SessionStarted { session, next: 1 }, "2 S 1q");
    let reason = SessionEnd::Superseded;
    assert_encoding(&Command::SessionEnded { session, next: 1, reason }, "3 S 1q 1");
    assert_encoding(&SessionEnd::Ended, "0");
    assert_encoding(&Command::GapOpened { session, first: 1, last: 2 }, "4 S 1q 2q");
    let (by_lines, by_answers, after) = (3, 4, ns(5));
    let filled = Command::GapFilled { session, first: 1, last: 2, by_lines, by_answers, after };
    assert_encoding(&filled, "5 S 1q 2q 3q 4q 5q");
    let reason = LossReason::Unanswered;
    assert_encoding(&Command::Lost { session, first: 1, last: 2, reason }, "6 S 1q 2q 1");
    use LossReason::{ClaimedOnly, GivenUp, NobodyToAsk, SessionLeft, Stalled, Unanswered};
    let reasons =
        [GivenUp, Unanswered, Stalled, SessionLeft, NobodyToAsk, ClaimedOnly, LossReason::Quota];
    assert_encoding(&reasons.to_vec(), "7q 0 1 2 3 4 5 6");
    let mut in_version_1 = Vec::new();
    NobodyToAsk.encode(&mut Encoder::in_version(&mut in_version_1, 1));
    assert_eq!(in_version_1, [], "losses had no reason");
    assert_eq!(LossReason::decode(&mut Decoder::new(&[], 1)), Ok(GivenUp));
    assert_encoding(&Command::Halted { session, next: 1 }, "7 S 1q");
    assert_encoding(&Command::LineUp(LineId(1)), "8 1");
    assert_encoding(&Command::LineDown(LineId(1)), "9 1");
    let line = LineId(1);
    let regressed = Command::SequenceRegressed { line, session, highest: 2, seen: 3 };
    assert_encoding(&regressed, "10 1 S 2q 3q");
    assert_encoding(&Command::Stalled { session, first: 1, last: 2 }, "11 S 1q 2q");
    assert_encoding(&Command::Withdrawn { session, first: 1, last: 2 }, "12 S 1q 2q");
    let (held, dropped) = (Some(Origin::Line(LineId(2))), Origin::Server(ServerId(3)));
    let contradiction = Command::Contradiction { session, sequence: 1, held, dropped };
    assert_encoding(&contradiction, "13 S 1q 1 0 2 1 3");
}
