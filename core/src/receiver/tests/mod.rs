//! The behaviour of a receiver, a sentence a test.

use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::SocketAddr;

use super::*;
use crate::machine::Undrained;
use crate::wire::mold::{END_OF_SESSION, HEARTBEAT, Header, PacketWriter, Request};
use crate::{Duration, Session};

mod applied;
mod claims;
mod encoding;
mod limits;
mod orderly;
mod quotas;
mod restarts;
mod silence;
mod withdrawn;

pub(super) const S: Session = Session::new(*b"SESSION001");
const A: LineId = LineId(0);
const B: LineId = LineId(1);
const SERVER: ServerId = ServerId(0);

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// The payload of a message, known by its number.
fn payload(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

fn data_of(session: Session, first: u64, last: u64) -> Vec<u8> {
    let mut buffer = vec![0; 65_507];
    let mut writer = PacketWriter::new(&mut buffer, session, first).unwrap();
    for number in first..=last {
        assert!(writer.push(&payload(number)));
    }
    let len = writer.as_bytes().len();
    buffer.truncate(len);
    buffer
}

fn data(first: u64, last: u64) -> Vec<u8> {
    data_of(S, first, last)
}

fn bare(session: Session, sequence: u64, count: u16) -> Vec<u8> {
    Header { session, sequence, count }.to_bytes().to_vec()
}

fn config() -> Config {
    Config {
        session: Some(S),
        lines: vec![A, B],
        servers: vec![(SERVER, address(1))],
        ..Config::default()
    }
}

fn lost(first: u64, last: u64, reason: LossReason) -> Command {
    Command::Lost { session: S, first, last, reason }
}

/// A receiver and all that it emitted.
struct Bench {
    receiver: Receiver,
    delivered: Vec<u64>,
    requests: Vec<Request>,
    emitted: Vec<Command>,
}

impl Bench {
    fn new(config: Config) -> Self {
        let receiver = Receiver::new(config).unwrap();
        Self { receiver, delivered: vec![], requests: vec![], emitted: vec![] }
    }

    fn drain(&mut self) {
        while let Some(command) = self.receiver.poll_command() {
            match command {
                Command::Batch(batch) => self.take(&batch),
                Command::Request { request, .. } => self.requests.push(request),
                command => self.emitted.push(command),
            }
        }
        assert!(!self.receiver.has_commands());
        assert!(self.receiver.memory_used() <= Receiver::memory_limit(&self.receiver.config));
    }

    fn take<B: AsRef<[u8]>>(&mut self, batch: &Batch<B>) {
        assert_eq!(batch.messages().count(), usize::from(batch.count));
        for (number, message) in batch.messages() {
            assert_eq!(message, payload(number));
            self.delivered.push(number);
        }
    }

    fn owned(&mut self, millis: u64, source: Source, bytes: Vec<u8>) {
        let pinned = bytes.len();
        let (bytes, arrival) = (Bytes::from(bytes), at(millis));
        let datagram = Datagram { source, bytes, pinned, arrival };
        self.receiver.handle(at(millis), Event::Datagram(datagram)).unwrap();
        self.drain();
    }

    fn line(&mut self, millis: u64, line: LineId, bytes: Vec<u8>) {
        if millis.is_multiple_of(2) {
            self.owned(millis, Source::Line(line), bytes);
        } else if let Some(batch) = self.receiver.receive(at(millis), Source::Line(line), &bytes) {
            self.take(&batch);
            self.drain();
        } else {
            self.drain();
        }
    }

    fn answer(&mut self, millis: u64, bytes: Vec<u8>) {
        self.owned(millis, Source::Peer(address(1)), bytes);
    }

    fn pass(&mut self, millis: u64) {
        while let Some(timeout) = self.receiver.poll_timeout().filter(|t| *t <= at(millis)) {
            self.receiver.handle_timeout(timeout).unwrap();
            self.drain();
            assert!(self.receiver.poll_timeout().is_none_or(|next| next > timeout));
        }
        self.receiver.handle_timeout(at(millis)).unwrap();
        self.drain();
    }

    fn count(&self, wanted: impl Fn(&Command) -> bool) -> usize {
        self.emitted.iter().filter(|command| wanted(command)).count()
    }
}

fn numbers(ranges: &[(u64, u64)]) -> Vec<u64> {
    ranges.iter().flat_map(|&(first, last)| first..=last).collect()
}

#[test]
fn messages_in_order_are_delivered_as_they_come() {
    let mut bench = Bench::new(config());
    for first in 1..20 {
        bench.line(first, A, data(first, first));
    }
    assert_eq!(bench.delivered, numbers(&[(1, 19)]));
    assert_eq!(bench.count(|c| matches!(c, Command::SessionStarted { next: 1, .. })), 1);
}

#[test]
fn a_duplicate_from_line_b_is_dropped_and_counted() {
    let mut bench = Bench::new(config());
    for n in 1..9 {
        bench.line(n, A, data(n * 2, n * 2 + 1));
        bench.line(n, B, data(n * 2, n * 2 + 1));
    }
    bench.line(20, A, data(1, 1));
    assert_eq!(bench.delivered, numbers(&[(1, 17)]));
    let b = bench.receiver.line(B).unwrap();
    assert_eq!((b.messages_first, b.duplicates, b.packets), (0, 16, 8));
}

#[test]
fn a_gap_is_asked_for_when_both_lines_passed_it_by_three_packets() {
    let mut bench = Bench::new(config());
    bench.line(1, A, data(1, 1));
    bench.line(1, B, data(1, 1));
    for n in 3..6 {
        bench.line(1, A, data(n, n));
    }
    assert_eq!(bench.requests, []);
    for n in 3..6 {
        bench.line(1, B, data(n, n));
    }
    assert_eq!(bench.requests, [Request { session: S, sequence: 2, count: 1 }]);
    bench.answer(2, data(2, 2));
    assert_eq!(bench.delivered, numbers(&[(1, 5)]));
    assert_eq!(bench.receiver.stats().gaps_filled_by_request, 1);
}

#[test]
fn a_gap_is_asked_for_after_the_reordering_delay() {
    let mut bench = Bench::new(config());
    bench.line(0, A, data(1, 1));
    bench.line(0, A, data(3, 3));
    bench.pass(1);
    assert_eq!(bench.requests, []);
    bench.pass(2);
    assert_eq!(bench.requests.len(), 1);
}

#[test]
fn the_other_line_fills_a_gap_and_nothing_is_asked() {
    let mut bench = Bench::new(config());
    bench.line(0, A, data(1, 1));
    bench.line(0, A, data(3, 4));
    bench.line(1, B, data(1, 2));
    bench.pass(100);
    assert_eq!(bench.delivered, numbers(&[(1, 4)]));
    assert_eq!(bench.requests, []);
    assert_eq!(bench.receiver.stats().gaps_filled_by_line, 1);
}

#[test]
fn an_answer_that_repacks_fills_several_gaps_and_delivers_each_piece_once() {
    let mut bench = Bench::new(config());
    for n in [1, 3, 5, 6, 9] {
        bench.line(0, A, data(n, n));
    }
    bench.pass(5);
    bench.answer(6, data(1, 10));
    assert_eq!(bench.delivered, numbers(&[(1, 10)]));
    assert_eq!(bench.count(|c| matches!(c, Command::GapFilled { .. })), 3);
}

#[test]
fn a_range_is_lost_exactly_when_it_is_given_up() {
    let mut bench = Bench::new(config());
    bench.line(0, A, data(1, 1));
    for n in 3..8 {
        bench.line(10, A, data(n, n));
    }
    bench.pass(5009);
    assert_eq!(bench.count(|c| matches!(c, Command::Lost { .. })), 0);
    bench.pass(5010);
    assert!(bench.emitted.contains(&lost(2, 2, LossReason::GivenUp)));
    assert_eq!(bench.delivered, numbers(&[(1, 1), (3, 7)]));
}

#[test]
fn a_round_trip_that_is_longer_than_the_first_timeout_is_measured() {
    let mut bench = Bench::new(config());
    let mut answers = vec![];
    let mut next = 1;
    for millis in 0..2000 {
        if millis % 200 == 0 {
            bench.line(millis, A, data(next, next));
            next += 2;
        }
        bench.pass(millis);
        answers.extend(bench.requests.drain(..).map(|request| (millis + 100, request.sequence)));
        while answers.first().is_some_and(|&(due, _)| due <= millis) {
            let (_, number) = answers.remove(0);
            bench.answer(millis, data(number, number));
        }
    }
    let server = bench.receiver.server(SERVER).unwrap();
    assert_eq!(server.round_trip, Duration::from_millis(100));
    assert!(server.timeouts <= 2, "{server:?}");
}

#[test]
fn requests_that_go_unanswered_together_halve_the_window_once() {
    let mut bench = Bench::new(config());
    let most = Config::default().max_in_flight;
    let odd = |range: core::ops::Range<u64>| range.filter(|number| number % 2 == 1);
    bench.line(0, A, data(1, 1));
    for number in odd(3..100) {
        bench.line(number * 5, A, data(number, number));
        bench.pass(number * 5 + 2);
        bench.answer(number * 5 + 5, data(number - 1, number - 1));
    }
    assert_eq!(bench.receiver.server(SERVER).unwrap().window, most);
    odd(101..200).for_each(|number| bench.line(1000, A, data(number, number)));
    bench.pass(1002);
    assert_eq!(bench.receiver.server(SERVER).unwrap().in_flight, most);
    bench.pass(1012);
    let server = bench.receiver.server(SERVER).unwrap();
    assert_eq!((server.timeouts, server.window), (u64::from(most), most / 2));
}

#[test]
fn an_answer_that_was_read_late_still_repairs() {
    let mut bench = Bench::new(config());
    for n in [1, 3, 4, 5] {
        bench.line(0, A, data(n, n));
    }
    bench.pass(5);
    // The program was held up for a minute; the answer waited in the socket's buffer.
    bench.line(60_000, A, data(6, 6));
    bench.answer(60_000, data(2, 2));
    bench.pass(60_001);
    assert_eq!(bench.delivered, numbers(&[(1, 6)]));
}

#[test]
fn a_lone_forged_packet_ahead_makes_nothing_lost() {
    let mut bench = Bench::new(config());
    for n in 1..100 {
        if n == 50 {
            bench.line(n * 1000, A, data(5000, 5000));
        }
        bench.line(n * 1000, A, data(n, n));
    }
    assert_eq!(bench.delivered, numbers(&[(1, 99)]));
    assert_eq!(bench.receiver.stats().lost, 0);
}

#[test]
fn a_heartbeat_reveals_what_was_lost_at_the_tail() {
    let mut bench = Bench::new(config());
    bench.line(0, A, data(1, 3));
    bench.line(1, A, bare(S, 6, HEARTBEAT));
    bench.pass(4);
    assert_eq!(bench.requests, [Request { session: S, sequence: 4, count: 2 }]);
    bench.answer(5, data(4, 5));
    assert_eq!(bench.delivered, numbers(&[(1, 5)]));
}

#[test]
fn the_last_number_there_is_can_be_delivered() {
    let mut bench = Bench::new(Config { start: Start::At(u64::MAX - 2), ..config() });
    bench.line(0, A, data(u64::MAX - 2, u64::MAX - 2));
    bench.line(0, A, data(u64::MAX, u64::MAX));
    bench.pass(3);
    bench.answer(3, data(u64::MAX - 1, u64::MAX - 1));
    assert_eq!(bench.delivered, [u64::MAX - 2, u64::MAX - 1, u64::MAX]);
    bench.pass(100_000);
}

#[test]
fn a_session_ends_behind_the_last_number_there_is() {
    let mut bench = Bench::new(Config { start: Start::At(u64::MAX - 1), ..config() });
    bench.line(0, A, data(u64::MAX - 1, u64::MAX));
    for millis in 1..4 {
        bench.line(millis, A, bare(S, u64::MAX, END_OF_SESSION));
    }
    bench.pass(80);
    let ended = Command::SessionEnded { session: S, next: u64::MAX, reason: SessionEnd::Ended };
    assert_eq!(bench.emitted.last(), Some(&ended));
}

#[test]
fn a_late_start_is_backfilled_while_live_data_waits() {
    let mut bench = Bench::new(config());
    let mut now = 1;
    for n in 0..100 {
        bench.line(now, A, data(10_001 + n, 10_001 + n));
    }
    let mut answered = 0;
    while answered < bench.requests.len() && now < 100_000 {
        let Request { sequence, count, .. } = bench.requests[answered];
        answered += 1;
        now += 1;
        bench.answer(now, data(sequence, (sequence + u64::from(count) - 1).min(sequence + 37)));
        bench.pass(now);
    }
    assert_eq!(bench.delivered, numbers(&[(1, 10_100)]));
    let learnt = bench.receiver.server(SERVER).unwrap().answer_size;
    assert!((38..=42).contains(&learnt), "{learnt}, where answers carry 38");
}

#[test]
fn a_new_session_is_followed_when_the_old_one_is_quiet() {
    let next = Session::new(*b"SESSION002");
    let mut bench = Bench::new(Config { follow: true, ..config() });
    bench.line(0, A, data(1, 3));
    for n in 1..5 {
        bench.line(n, A, data_of(next, n, n));
    }
    bench.pass(80);
    assert_eq!(bench.delivered, numbers(&[(1, 3)]), "the tail of the old one is asked for");
    assert_eq!(bench.requests.last().unwrap().sequence, 4);
    bench.pass(300);
    assert_eq!(bench.delivered, numbers(&[(1, 3), (1, 4)]));
    let left = Command::SessionEnded { session: S, next: 4, reason: SessionEnd::Superseded };
    assert!(bench.emitted.contains(&left));
}

#[test]
fn a_halt_lasts_until_an_advance() {
    let mut bench = Bench::new(Config { on_loss: OnLoss::Halt, ..config() });
    bench.line(0, A, data(1, 1));
    for n in 3..8 {
        bench.line(10, A, data(n, n));
    }
    bench.pass(6000);
    assert_eq!(bench.emitted.last(), Some(&Command::Halted { session: S, next: 3 }));
    assert_eq!(bench.delivered, [1]);
    bench.receiver.handle(at(6001), Event::Advance { next: 5 }).unwrap();
    bench.drain();
    assert_eq!(bench.delivered, [1, 5, 6, 7]);
}

#[test]
fn messages_are_delivered_at_once_in_order_of_arrival() {
    let mut bench = Bench::new(Config { delivery: Delivery::Arrival, ..config() });
    bench.line(0, A, data(1, 1));
    bench.line(1, A, data(4, 5));
    bench.line(1, B, data(1, 4));
    assert_eq!(bench.delivered, [1, 4, 5, 2, 3]);
}

#[test]
fn with_memory_full_the_nearest_is_kept_and_the_rest_is_asked_for_later() {
    let limits = Config { max_held_packets: 16, max_held_bytes: 1 << 17, ..config() };
    let mut bench = Bench::new(limits);
    bench.line(0, A, data(1, 1));
    for n in (3..60).rev() {
        bench.line(1, A, data(n, n));
    }
    let mut answered = 0;
    for now in 3..2000 {
        if let Some(&Request { sequence, count, .. }) = bench.requests.get(answered) {
            answered += 1;
            bench.answer(now, data(sequence, sequence + u64::from(count) - 1));
        }
        bench.pass(now);
    }
    assert_eq!(bench.delivered, numbers(&[(1, 59)]));
    assert!(bench.receiver.stats().put_off_for_memory > 0);
}

#[test]
fn an_event_before_the_drain_is_refused_and_changes_nothing() {
    let mut bench = Bench::new(config());
    bench.line(0, A, data(1, 1));
    bench.receiver.handle_timeout(at(5)).unwrap();
    assert_eq!(bench.receiver.handle_timeout(at(50)), Err(Undrained.into()));
    assert_eq!(bench.receiver.context.now(), at(5));
    bench.drain();
}

#[test]
fn a_gap_that_the_answer_to_a_claim_opens_and_fills_is_emitted_before_it_is_delivered() {
    let mut bench = Bench::new(Config { max_jump: 10, ..config() });
    bench.line(0, A, data(1, 1));
    bench.line(0, A, data(50, 50));
    let (server, answer) = (Source::Peer(address(1)), data(2, 50));
    assert_eq!(bench.receiver.receive(at(1), server, &answer), None);
    let opened = Command::GapOpened { session: S, first: 2, last: 49 };
    assert_eq!(bench.receiver.poll_command(), Some(opened));
    bench.drain();
    assert!(bench.delivered.iter().copied().eq(1..=50), "{:?}", bench.delivered);
}

#[test]
fn an_advance_after_a_halt_renounces_nothing_of_another_session() {
    let other = Session::new(*b"SESSION002");
    let mut bench = Bench::new(Config {
        follow: true,
        delivery: Delivery::Arrival,
        on_loss: OnLoss::Halt,
        believe_after: 1,
        give_up: Some(Duration::from_millis(50)),
        ..config()
    });
    bench.line(0, A, data(1, 5));
    bench.line(1, A, data_of(other, 1, 1));
    bench.pass(60);
    bench.line(64, A, data_of(other, 21, 21));
    bench.line(70, A, data(8, 8));
    bench.pass(116);
    assert_eq!(bench.emitted.last(), Some(&Command::Halted { session: other, next: 21 }));
    bench.receiver.handle(at(116), Event::Advance { next: 21 }).unwrap();
    bench.drain();
    bench.pass(200);
    assert_eq!(bench.emitted.last(), Some(&Command::Halted { session: S, next: 8 }));
}
