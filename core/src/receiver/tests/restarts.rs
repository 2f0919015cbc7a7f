//! Senders that start over within a session, and sessions and addresses that nobody asked for.

use super::*;

/// Packets of the same numbers as [`data`], with other content.
fn other(first: u64, last: u64) -> Vec<u8> {
    let mut buffer = vec![0; 65_507];
    let mut writer = PacketWriter::new(&mut buffer, S, first).unwrap();
    for number in first..=last {
        assert!(writer.push(&payload(number + 1_000_000)));
    }
    let len = writer.as_bytes().len();
    buffer.truncate(len);
    buffer
}

/// A feed of `last` messages, five a packet.
fn fed(last: u64) -> Bench {
    let mut bench = Bench::new(config());
    for first in (1..=last).step_by(5) {
        bench.line(1, A, data(first, (first + 4).min(last)));
    }
    assert_eq!(bench.delivered, numbers(&[(1, last)]));
    bench
}

fn is_regression(command: &Command) -> bool {
    matches!(command, Command::SequenceRegressed { .. })
}

#[test]
fn a_sender_that_starts_over_with_other_content_is_emitted_when_its_old_feed_was_quiet() {
    let mut bench = fed(1_000);
    for first in (1..=40).step_by(5) {
        bench.line(2, A, other(first, first + 4));
    }
    assert_eq!(bench.count(is_regression), 0);
    bench.line(52, A, other(41, 45));
    let regressed = Command::SequenceRegressed { line: A, session: S, highest: 1_000, seen: 41 };
    assert_eq!(bench.emitted.last(), Some(&regressed));
    for first in (46..1_000).step_by(5) {
        bench.line(53, A, other(first, first + 4));
    }
    bench.line(53, A, data(1_001, 1_005));
    assert_eq!(bench.count(is_regression), 1, "once an episode");
    assert_eq!(bench.delivered, numbers(&[(1, 1_005)]));
}

#[test]
fn nothing_of_a_sender_that_starts_over_is_delivered_before_that_is_emitted() {
    for borrowed in [true, false] {
        let mut bench = fed(10);
        // Its packets come twice.
        for first in (1..=61).step_by(6) {
            bench.line(2, A, other(first, first + 5));
            bench.line(2, A, other(first, first + 5));
        }
        assert_eq!(bench.delivered, numbers(&[(1, 10)]));
        assert_eq!(bench.receiver.stats().suspected, 20);
        let (now, source, bytes) = (at(52), Source::Line(A), other(67, 72));
        if borrowed {
            assert_eq!(bench.receiver.receive(now, source, &bytes), None);
        } else {
            let (pinned, bytes) = (bytes.len(), Bytes::from(bytes));
            let datagram = Datagram { source, bytes, pinned, arrival: now };
            bench.receiver.handle(now, Event::Datagram(datagram)).unwrap();
        }
        let first = bench.receiver.poll_command();
        assert!(first.as_ref().is_some_and(is_regression), "{first:?}");
    }
}

#[test]
fn a_sender_that_starts_over_and_ends_where_it_ended_before_is_emitted() {
    for packets in [1, 2, 5, 50] {
        let mut bench = fed(100);
        for n in 0..packets {
            bench.line(200, A, other(1 + n * 100 / packets, (n + 1) * 100 / packets));
        }
        for millis in [200, 210, 300] {
            bench.line(millis, A, bare(S, 101, END_OF_SESSION));
        }
        let contradictions =
            bench.count(|c| matches!(c, Command::Contradiction { held: None, .. }));
        assert!(contradictions > 0, "{packets}: {:?}", bench.emitted);
        assert_eq!(bench.receiver.stats().contradictions, contradictions as u64);
        assert_eq!(bench.delivered, numbers(&[(1, 100)]));
    }
}

#[test]
fn one_packet_that_goes_past_all_that_was_sent_is_neither_delivered_nor_enough() {
    let mut bench = fed(3);
    assert_eq!(bench.receiver.receive(at(3), Source::Line(A), &other(1, 9)), None);
    bench.drain();
    bench.line(60, A, bare(S, 10, HEARTBEAT));
    assert_eq!(bench.count(is_regression), 0);
    bench.line(1_060, A, bare(S, 10, HEARTBEAT));
    assert_eq!(bench.count(is_regression), 1);
    assert_eq!(bench.delivered, numbers(&[(1, 3)]));
}

#[test]
fn forged_packets_of_other_content_end_no_feed_that_goes_on() {
    // Ones that go past the end, or end just there, bursts, and numbers far ahead.
    let forged: [&[Vec<u8>]; 7] = [
        &[other(1, 5_000)],
        &[other(1, 100)],
        &[other(60, 101)],
        &[other(1, 1), other(2, 2), other(3, 3), other(4, 4)],
        &[other(1, 200), other(1, 200), other(1, 200), other(201, 300)],
        &[bare(S, 100_000, HEARTBEAT), other(1, 1)],
        &[other(5_000, 5_000)],
    ];
    for lines in [&[A][..], &[A, B]] {
        for packets in forged {
            let mut bench = fed(100);
            for packet in packets {
                bench.receiver.receive(at(2), Source::Line(A), packet);
                bench.drain();
            }
            for number in 101..400 {
                for &line in lines {
                    bench.line(10 * number, line, data(number, number));
                }
            }
            assert_eq!(bench.count(is_regression), 0);
            assert_eq!(bench.delivered, numbers(&[(1, 399)]));
        }
    }
}

#[test]
fn a_forged_message_ahead_in_the_opening_makes_no_restart_of_the_honest_ones() {
    let mut bench = Bench::new(config());
    let mut number = 1;
    while number <= 60 {
        if number == 10 {
            bench.receiver.receive(at(100), Source::Line(A), &data(30, 30));
            bench.drain();
        }
        // The forged message is there already, and is what was delivered.
        let packet = if number == 30 { other(30, 30) } else { data(number, number) };
        bench.line(10 * number, A, packet);
        number += 1;
    }
    assert_eq!(bench.count(is_regression), 0);
    assert_eq!(bench.delivered, numbers(&[(1, 60)]));
}

#[test]
fn one_forged_message_on_a_line_that_went_down_lets_the_short_way_be_taken_again() {
    let mut bench = fed(100);
    bench.line(5, B, data(100, 100));
    bench.line(6, B, other(1, 1));
    bench.pass(10_000);
    bench.line(10_001, A, data(101, 101));
    assert_eq!(bench.receiver.phase, Phase::Steady);
}

#[test]
fn a_sender_that_starts_over_early_is_emitted_once() {
    let mut bench = fed(5);
    for number in 1..=5 {
        bench.line(2, A, other(number, number));
    }
    for now in [60, 70] {
        bench.line(now, A, bare(S, 6, HEARTBEAT));
    }
    assert_eq!(bench.count(is_regression), 1);
}

#[test]
fn a_sender_that_starts_over_idle_is_emitted_by_its_heartbeats() {
    let mut bench = fed(1_000);
    bench.line(2, A, other(1, 5));
    for millis in [1_000, 2_000] {
        bench.line(millis, A, bare(S, 6, HEARTBEAT));
    }
    assert_eq!(bench.count(is_regression), 1);
}

#[test]
fn a_sender_that_sends_the_same_again_is_none_that_started_over() {
    let mut bench = fed(30);
    for first in (1..=60).step_by(5) {
        bench.line(2, A, data(first, first + 4));
    }
    assert_eq!(bench.count(is_regression), 0);
    assert_eq!(bench.delivered, numbers(&[(1, 60)]));
}

#[test]
fn one_forged_packet_of_other_content_is_no_sender_that_starts_over() {
    let mut bench = fed(100);
    for n in 101..130 {
        bench.line(n, A, other(1, 5));
        bench.line(n, A, data(n, n));
        bench.line(n, B, data(n, n));
    }
    assert_eq!(bench.count(is_regression), 0);
    assert_eq!(bench.delivered, numbers(&[(1, 129)]));
}

#[test]
fn a_line_that_is_behind_with_other_content_has_not_started_over() {
    let mut bench = fed(100);
    for first in (1..=100).step_by(5) {
        bench.line(2, B, other(first, first + 4));
    }
    assert_eq!(bench.count(is_regression), 0);
}

#[test]
fn the_next_session_may_have_any_content_under_its_numbers() {
    let next = Session::new(*b"SESSION002");
    let mut bench = Bench::new(Config { follow: true, believe_after: 1, ..config() });
    bench.line(1, A, data(1, 5));
    bench.line(1, A, bare(S, 6, END_OF_SESSION));
    bench.pass(10_000);
    for first in 1..9 {
        bench.line(10_001, A, data_of(next, first, first));
    }
    assert_eq!(bench.count(|c| matches!(c, Command::SessionStarted { .. })), 2);
    assert_eq!(bench.count(is_regression), 0);
}

#[test]
fn a_session_that_is_not_received_is_kept_with_its_padding() {
    let mut bench = fed(5);
    let zeros = Session::new(*b"S\0\0\0\0\0\0\0\0\0");
    for _ in 0..3 {
        bench.line(2, A, data_of(zeros, 1, 1));
    }
    assert_eq!(bench.receiver.foreign_sessions().collect::<Vec<_>>(), [(zeros, 3)]);
    assert_eq!(bench.receiver.line(A).unwrap().foreign, 3);
}

#[test]
fn an_address_that_nobody_configured_is_kept() {
    let mut bench = fed(5);
    assert_eq!(bench.receiver.unknown_peer(), None);
    bench.owned(2, Source::Peer(address(9)), data(6, 6));
    assert_eq!(bench.receiver.unknown_peer(), Some(address(9)));
    assert_eq!(bench.receiver.stats().unknown_peer, 1);
}

/// A session of five messages that ended.
fn over() -> Bench {
    let mut bench = Bench::new(Config { follow: true, ..config() });
    bench.line(1, A, data(1, 5));
    for _ in 0..3 {
        bench.line(2, A, bare(S, 6, 0xFFFF));
    }
    bench.pass(60_000);
    assert_eq!(bench.count(|command| matches!(command, Command::SessionEnded { .. })), 1);
    bench
}

#[test]
fn what_comes_after_the_end_with_other_content_is_a_sender_that_started_over() {
    let mut bench = over();
    bench.line(61_000, A, other(1, 2));
    let stats = bench.receiver.stats();
    assert_eq!((stats.ended_session_data, stats.ended_session_restarts), (1, 1));
    assert_eq!(bench.delivered, numbers(&[(1, 5)]));
}

#[test]
fn what_comes_behind_the_end_is_a_sender_that_started_over() {
    let mut bench = over();
    bench.line(61_000, A, data(4, 6));
    assert_eq!(bench.receiver.stats().ended_session_restarts, 1);
}

#[test]
fn late_copies_after_the_end_are_no_sender_that_started_over() {
    let mut bench = over();
    bench.line(61_000, A, data(1, 5));
    bench.line(61_000, A, bare(S, 6, 0xFFFF));
    let stats = bench.receiver.stats();
    assert_eq!((stats.ended_session_data, stats.ended_session_restarts), (1, 0));
}
