//! Messages missing behind too few packets, when all lines fall silent.

use super::*;

/// A line and nobody to ask.
fn alone(delivery: Delivery) -> Bench {
    let give_up = Some(Duration::from_secs(5));
    Bench::new(Config { delivery, give_up, lines: vec![A], servers: vec![], ..config() })
}

#[track_caller]
fn assert_lost_at(bench: &mut Bench, millis: u64, first: u64, last: u64) {
    let losses = |bench: &Bench| bench.count(|c| matches!(c, Command::Lost { .. }));
    let before = losses(bench);
    bench.pass(millis - 1);
    assert_eq!(losses(bench), before);
    assert_eq!(bench.receiver.poll_timeout(), Some(at(millis)));
    bench.pass(millis);
    assert_eq!(bench.emitted.last(), Some(&lost(first, last, LossReason::GivenUp)));
}

fn stalled(bench: &Bench) -> Vec<(u64, u64)> {
    let stalled = |command: &Command| match *command {
        Command::Stalled { first, last, .. } => Some((first, last)),
        _ => None,
    };
    bench.emitted.iter().filter_map(stalled).collect()
}

#[test]
fn a_gap_behind_one_or_two_packets_is_lost_when_all_lines_are_silent() {
    for packets in [&[5][..], &[5, 6], &[5, 7]] {
        for delivery in [Delivery::Ordered, Delivery::Arrival] {
            let mut bench = alone(delivery);
            bench.line(0, A, data(1, 2));
            packets.iter().for_each(|&n| bench.line(100, A, data(n, n)));
            assert_eq!(bench.receiver.stats().lost, 0);
            bench.pass(5099);
            assert_eq!(bench.receiver.stats().lost, 0);
            bench.pass(5100);
            assert_eq!(bench.delivered, [&[1, 2], packets].concat());
            assert_eq!(stalled(&bench), []);
            assert_eq!(bench.receiver.stats().lost_claimed_only, 0);
        }
    }
}

#[test]
fn silence_is_that_of_all_lines_and_begins_with_their_last_packet() {
    let mut bench = Bench::new(Config { servers: vec![], ..config() });
    bench.line(0, A, data(1, 2));
    bench.line(100, A, data(5, 5));
    bench.line(2100, B, data(1, 2));
    assert_lost_at(&mut bench, 7100, 3, 4);
}

#[test]
fn a_pause_shorter_than_three_heartbeats_is_no_silence() {
    let mut bench = Bench::new(Config { lines: vec![A], servers: vec![], ..config() });
    bench.line(0, A, data(1, 2));
    // Somebody forges a packet; the feed says that there is nothing new.
    bench.line(100, A, data(500, 500));
    for second in 1..10 {
        bench.pass(second * 1000);
        bench.line(second * 1000, A, bare(S, 3, HEARTBEAT));
    }
    bench.line(10_000, A, data(3, 4));
    assert_eq!(bench.delivered, numbers(&[(1, 4)]));
    assert_eq!(bench.receiver.stats().lost, 0);
}

#[test]
fn silence_confirms_1024_numbers_and_no_more() {
    let mut bench = alone(Delivery::Ordered);
    bench.line(0, A, data(1, 2));
    bench.line(100, A, data(1027, 1027));
    assert_lost_at(&mut bench, 5100, 3, 1026);
    let mut bench = alone(Delivery::Ordered);
    bench.line(0, A, data(1, 2));
    bench.line(100, A, data(1028, 1028));
    bench.pass(5100);
    assert_eq!(stalled(&bench), [(3, 1027)]);
    assert_eq!(bench.receiver.stats().lost, 0);
}

#[test]
fn several_gaps_reach_no_further_by_silence_than_one() {
    let mut bench = alone(Delivery::Ordered);
    bench.line(0, A, data(1, 2));
    bench.line(100, A, data(700, 700));
    bench.line(100, A, data(1400, 1400));
    bench.pass(5100);
    assert_eq!(bench.count(|c| matches!(c, Command::Lost { first: 3, last: 699, .. })), 1);
    assert_eq!(stalled(&bench), [(701, 1399)]);
    assert_eq!(bench.delivered, [1, 2, 700]);
}

#[test]
fn what_is_stalled_is_said_again_while_it_lasts_and_a_timeout_is_always_pending() {
    let mut bench = alone(Delivery::Ordered);
    bench.line(0, A, data(1, 2));
    bench.line(100, A, data(9001, 9001));
    for second in 1..=21 {
        bench.pass(second * 1000);
        assert!(bench.receiver.poll_timeout().is_some_and(|next| next > at(second * 1000)));
    }
    assert_eq!(stalled(&bench), [(3, 9000); 4]);
    assert_eq!((bench.receiver.stats().lost, &bench.delivered[..]), (0, &[1, 2][..]));
}

#[test]
fn more_packets_confirm_what_is_stalled() {
    let mut bench = alone(Delivery::Ordered);
    bench.line(0, A, data(1, 2));
    bench.line(100, A, data(9001, 9001));
    bench.pass(6000);
    for n in 9002..9004 {
        bench.line(6000, A, data(n, n));
    }
    bench.pass(6001);
    assert_eq!(bench.emitted.last(), Some(&lost(3, 9000, LossReason::GivenUp)));
    assert_eq!(bench.delivered, [1, 2, 9001, 9002, 9003]);
}

#[test]
fn a_server_that_answers_confirms_what_is_stalled() {
    let mut bench = Bench::new(config());
    bench.line(0, A, data(1, 2));
    bench.line(100, A, data(9001, 9001));
    bench.pass(5100);
    assert_eq!(stalled(&bench), [(3, 9000)]);
    bench.answer(5200, data(9000, 9000));
    assert_lost_at(&mut bench, 10_200, 3, 8999);
}

#[test]
fn a_heartbeat_or_two_are_confirmed_by_no_silence() {
    let mut bench = alone(Delivery::Ordered);
    bench.line(0, A, data(1, 2));
    bench.line(100, A, bare(S, 5, HEARTBEAT));
    bench.line(200, A, bare(S, 5, HEARTBEAT));
    bench.pass(9000);
    assert_eq!(stalled(&bench), [(3, 4)]);
    bench.line(9100, A, bare(S, 5, HEARTBEAT));
    bench.pass(9101);
    assert_eq!(bench.emitted.last(), Some(&lost(3, 4, LossReason::ClaimedOnly)));
    assert_eq!(bench.receiver.stats().lost_claimed_only, 2);
}

#[test]
fn a_drain_at_the_end_of_time_ends() {
    for far in [data(500_000, 500_000), bare(S, 500_000, HEARTBEAT)] {
        let mut bench = alone(Delivery::Ordered);
        bench.line(0, A, data(1, 2));
        bench.line(100, A, far);
        for _ in 0..2 {
            bench.receiver.handle_timeout(Instant::MAX).unwrap();
            let commands = core::iter::from_fn(|| bench.receiver.poll_command());
            assert!(commands.take(100).count() < 100);
            assert_eq!(bench.receiver.poll_timeout(), None);
        }
    }
}
