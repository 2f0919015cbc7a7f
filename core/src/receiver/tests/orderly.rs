//! Asking at once where nothing is reordered.

use super::*;

/// So many packets, over so long, show that a line reorders nothing.
const PACKETS: u64 = 65_536;
const TIME: u64 = 10_000;

/// A receiver that was brought message after message, each in a packet of its own.
struct Orderly {
    bench: Bench,
    packet: Vec<u8>,
    next: u64,
    millis: u64,
}

impl Orderly {
    fn new() -> Self {
        let mut bench = Bench::new(Config { lines: vec![A], ..config() });
        // The packet by which the line comes up.
        bench.line(1, A, data(1, 1));
        Self { bench, packet: data(1, 1), next: 2, millis: 1 }
    }

    /// Line A brings so many packets more within so many milliseconds.
    fn bring(&mut self, packets: u64, millis: u64) {
        for packet in 0..packets {
            let number = self.next.to_be_bytes();
            self.packet[10..18].copy_from_slice(&number);
            self.packet[22..30].copy_from_slice(&number);
            let now = at(self.millis + (packet + 1) * millis / packets);
            let batch = self.bench.receiver.receive(now, Source::Line(A), &self.packet);
            assert_eq!(batch.map(|batch| batch.first), Some(self.next));
            self.bench.drain();
            self.next += 1;
        }
        self.millis += millis;
    }

    /// Line A brings what lies behind one number: whether that is asked for at once.
    fn asks_for_a_gap(&mut self) -> bool {
        let asked = self.bench.requests.len();
        self.bench.line(self.millis, A, data(self.next + 1, self.next + 1));
        self.bench.requests.len() > asked
    }

    /// The number that is missing comes, by whom it may be.
    fn fill(&mut self, source: Source) {
        let number = self.next;
        self.bench.owned(self.millis, source, data(number, number));
        self.next += 2;
    }
}

#[test]
fn a_gap_is_asked_for_at_once_where_the_only_line_reorders_nothing() {
    let mut orderly = Orderly::new();
    // The packet that opens the gap is one of them.
    orderly.bring(PACKETS - 1, TIME);
    assert!(orderly.asks_for_a_gap());
    orderly.fill(Source::Peer(address(1)));
    assert!(orderly.asks_for_a_gap(), "a repair is no reordering");
}

#[test]
fn fewer_packets_do_not_show_that_nothing_is_reordered() {
    let mut orderly = Orderly::new();
    orderly.bring(PACKETS - 2, TIME);
    assert!(!orderly.asks_for_a_gap());
}

#[test]
fn a_shorter_time_does_not_show_that_nothing_is_reordered() {
    let mut orderly = Orderly::new();
    orderly.bring(PACKETS, TIME - 1);
    assert!(!orderly.asks_for_a_gap());
}

#[test]
fn a_gap_may_be_filled_by_a_second_line_that_is_up() {
    let mut orderly = Orderly::new();
    orderly.bench.receiver.handle(at(1), Event::AddLine(B)).unwrap();
    orderly.bench.drain();
    orderly.bring(PACKETS, TIME);
    orderly.bench.line(orderly.millis, B, data(1, 1));
    assert!(!orderly.asks_for_a_gap());
    orderly.fill(Source::Peer(address(1)));
    orderly.bench.receiver.handle(at(orderly.millis), Event::RemoveLine(B)).unwrap();
    orderly.bench.drain();
    assert!(orderly.asks_for_a_gap(), "the other line is gone");
}

#[test]
fn the_first_reordered_packet_begins_the_count_anew() {
    let mut orderly = Orderly::new();
    orderly.bring(PACKETS, TIME);
    assert!(orderly.asks_for_a_gap());
    orderly.fill(Source::Line(A));
    assert!(!orderly.asks_for_a_gap());
    orderly.fill(Source::Peer(address(1)));
    orderly.bring(PACKETS, TIME - 1);
    assert!(!orderly.asks_for_a_gap(), "not for long enough");
    orderly.fill(Source::Peer(address(1)));
    orderly.millis += 1;
    assert!(orderly.asks_for_a_gap());
}

#[test]
fn what_comes_behind_the_answer_was_reordered() {
    let mut orderly = Orderly::new();
    orderly.bring(PACKETS, TIME);
    assert!(orderly.asks_for_a_gap());
    let number = orderly.next;
    orderly.fill(Source::Peer(address(1)));
    orderly.bench.line(orderly.millis, A, data(number, number));
    assert!(!orderly.asks_for_a_gap());
}

#[test]
fn a_line_that_comes_up_begins_the_count_anew() {
    let mut orderly = Orderly::new();
    orderly.bring(PACKETS, TIME);
    orderly.millis += 5_000;
    orderly.bench.pass(orderly.millis);
    assert_eq!(orderly.bench.count(|command| *command == Command::LineDown(A)), 1);
    orderly.bring(1, 1);
    assert!(!orderly.asks_for_a_gap());
}

#[test]
fn a_heartbeat_past_a_gap_suffices() {
    let mut orderly = Orderly::new();
    orderly.bring(PACKETS, TIME);
    let asked = orderly.bench.requests.len();
    orderly.bench.line(orderly.millis, A, bare(S, orderly.next + 5, HEARTBEAT));
    assert_eq!(orderly.bench.requests.len(), asked + 1);
}
