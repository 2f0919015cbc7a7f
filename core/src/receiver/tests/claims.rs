//! Claims: what is claimed and by how many, and what is believed of it.

use super::*;

#[test]
fn a_forged_far_jump_and_a_forged_end_change_nothing() {
    let mut bench = Bench::new(config());
    for n in 1..100 {
        bench.line(n * 10, A, data(n, n));
        if n == 50 {
            bench.line(n * 10, A, data(1 << 60, 1 << 60));
            bench.line(n * 10, A, bare(S, n + 1, END_OF_SESSION));
            bench.line(n * 10, A, data_of(Session::new(*b"FORGED    "), 7, 7));
        }
    }
    assert_eq!(bench.delivered, numbers(&[(1, 99)]));
    assert_eq!(bench.count(|c| matches!(c, Command::GapOpened { .. })), 0);
    assert_eq!(bench.count(|c| matches!(c, Command::SessionEnded { .. })), 0);
}

/// A feed sends a message every ten milliseconds; after the fiftieth come these packets. Whatever
/// they say, the feed goes on.
#[track_caller]
fn assert_goes_on(forged: &[Vec<u8>], answer: Option<Vec<u8>>) {
    let mut bench = Bench::new(Config { follow: true, ..config() });
    for n in 1..100 {
        bench.line(n * 10, A, data(n, n));
        if n == 50 {
            forged.iter().for_each(|packet| bench.line(n * 10, A, packet.clone()));
            answer.iter().for_each(|packet| bench.answer(n * 10, packet.clone()));
        }
    }
    assert_eq!(bench.delivered, numbers(&[(1, 99)]), "{forged:?}");
    assert_eq!(bench.count(|c| matches!(c, Command::SessionStarted { .. })), 1);
    assert_eq!(bench.count(|c| matches!(c, Command::SessionEnded { .. })), 0);
    let far = |c: &Command| matches!(c, Command::GapOpened { last, .. } if *last > 1 << 30);
    assert_eq!(bench.count(far), 0, "{forged:?}");
}

#[test]
fn a_forged_end_ahead_is_not_believed_while_the_feed_moves_on_below_it() {
    let end = bare(S, 70, END_OF_SESSION);
    assert_goes_on(&vec![end; 3], None);
}

#[test]
fn a_forged_heartbeat_does_not_hide_that_the_feed_moves_on() {
    let heartbeat = || bare(S, 1000, HEARTBEAT);
    let ends = [70, 70, 70].map(|next| bare(S, next, END_OF_SESSION));
    let jump = [0, 1, 2].map(|n| data((1 << 40) + n, (1 << 40) + n));
    let session = [1, 2, 3].map(|n| data_of(Session::new(*b"FORGED    "), n, n));
    for [first, second, third] in [ends, jump, session] {
        assert_goes_on(&[heartbeat(), first, second, third], None);
    }
}

#[test]
fn a_feed_moves_on_by_what_answers_brought_before_it_too() {
    let end = bare(S, 60, END_OF_SESSION);
    assert_goes_on(&vec![end; 3], Some(data(51, 59)));
}

#[test]
fn an_answer_that_confirms_a_jump_is_delivered_behind_it() {
    let mut bench = Bench::new(Config { max_jump: 4, ..config() });
    bench.line(0, A, data(1, 1));
    bench.line(0, A, data(20, 20));
    let next = bench.receiver.handle(at(1), Event::Advance { next: 20 });
    next.unwrap();
    bench.drain();
    let answer = data(20, 22);
    let direct = bench.receiver.receive(at(2), Source::Peer(address(1)), &answer);
    if let Some(batch) = direct {
        bench.take(&batch);
    }
    bench.drain();
    assert_eq!(bench.delivered, [1, 20, 21, 22]);
}

#[test]
fn an_end_is_refused_when_a_jump_past_it_is_believed_at_the_same_time() {
    let (delivery, believe_after) = (Delivery::Arrival, 1);
    let mut bench = Bench::new(Config { delivery, believe_after, ..config() });
    bench.line(0, A, data(1, 3));
    bench.line(2, A, bare(S, 4, END_OF_SESSION));
    bench.line(2, A, data(1 << 40, 1 << 40));
    bench.pass(60);
    assert_eq!(bench.delivered, [1, 2, 3, 1 << 40]);
    let gap = Command::GapOpened { session: S, first: 4, last: (1 << 40) - 1 };
    assert!(bench.emitted.contains(&gap));
    assert_eq!(bench.count(|c| matches!(c, Command::SessionEnded { .. })), 0);
}

#[test]
fn a_jump_is_believed_after_three_packets_and_quiet() {
    let mut bench = Bench::new(config());
    bench.line(0, A, data(1, 1));
    for n in 0..3 {
        bench.line(n, A, data((1 << 40) + n, (1 << 40) + n));
    }
    assert_eq!(bench.count(|c| matches!(c, Command::GapOpened { .. })), 0);
    bench.pass(60);
    let gap = Command::GapOpened { session: S, first: 2, last: (1 << 40) - 1 };
    assert!(bench.emitted.contains(&gap));
}

#[test]
fn an_end_is_reported_when_everything_before_it_is_there() {
    let mut bench = Bench::new(config());
    bench.line(0, A, data(1, 3));
    bench.line(0, A, data(5, 6));
    for n in 0..3 {
        bench.line(n, A, bare(S, 7, END_OF_SESSION));
    }
    bench.pass(80);
    assert_eq!(bench.count(|c| matches!(c, Command::SessionEnded { .. })), 0);
    bench.answer(81, data(4, 4));
    let ended = Command::SessionEnded { session: S, next: 7, reason: SessionEnd::Ended };
    assert_eq!(bench.emitted.last(), Some(&ended));
    assert_eq!(bench.delivered, numbers(&[(1, 6)]));
}

/// Asserts how a session ends after one or two forged packets claim more behind the last message.
#[track_caller]
fn assert_ends_after(delivery: Delivery, forged: &[Vec<u8>]) {
    let mut bench = Bench::new(Config { delivery, ..config() });
    bench.line(0, A, data(1, 3));
    bench.line(0, A, data(5, 6));
    for packet in forged {
        bench.line(2, A, packet.clone());
    }
    for millis in 10..13 {
        bench.line(millis, A, bare(S, 7, END_OF_SESSION));
    }
    bench.pass(80);
    bench.answer(81, data(4, 4));
    let ended = Command::SessionEnded { session: S, next: 7, reason: SessionEnd::Ended };
    assert_eq!(bench.emitted.last(), Some(&ended), "{forged:?}");
    bench.delivered.sort_unstable();
    assert_eq!(bench.delivered, numbers(&[(1, 6)]));
    assert_eq!(bench.count(|c| matches!(c, Command::Lost { .. })), 0);
}

#[test]
fn a_forged_packet_or_two_past_the_end_do_not_keep_a_session_from_ending() {
    let heartbeat = |next| bare(S, next, HEARTBEAT);
    for delivery in [Delivery::Ordered, Delivery::Arrival] {
        assert_ends_after(delivery, &[heartbeat(8)]);
        assert_ends_after(delivery, &[heartbeat(1000), heartbeat(1 << 20)]);
        assert_ends_after(delivery, &[bare(S, 1000, END_OF_SESSION)]);
    }
    assert_ends_after(Delivery::Ordered, &[data(6, 9)]);
}

#[test]
fn forged_data_ahead_does_not_keep_a_session_from_ending() {
    for forged in [&[data(8, 8)][..], &[data(1000, 1002), data(1004, 1004)]] {
        let mut bench = Bench::new(Config { servers: vec![], ..config() });
        bench.line(0, A, data(1, 6));
        forged.iter().for_each(|packet| bench.line(2, A, packet.clone()));
        for millis in 10..13 {
            bench.line(millis, A, bare(S, 7, END_OF_SESSION));
        }
        bench.pass(80);
        let ended = Command::SessionEnded { session: S, next: 7, reason: SessionEnd::Ended };
        assert_eq!(bench.emitted.last(), Some(&ended), "{forged:?}");
        assert_eq!(bench.delivered[..6], numbers(&[(1, 6)]));
        assert_eq!(bench.count(|c| matches!(c, Command::Lost { .. })), 0);
    }
}

/// Three ends are believed, but a message is missing before; then come heartbeats past the end.
#[track_caller]
fn ended_after(heartbeats: usize) -> bool {
    let mut bench = Bench::new(config());
    bench.line(0, A, data(1, 3));
    bench.line(0, A, data(5, 6));
    (0..3).for_each(|_| bench.line(2, A, bare(S, 7, END_OF_SESSION)));
    bench.pass(80);
    (0..heartbeats).for_each(|_| bench.line(80, A, bare(S, 1000, HEARTBEAT)));
    bench.answer(81, data(4, 4));
    bench.pass(200);
    assert_eq!(bench.delivered, numbers(&[(1, 6)]));
    assert_eq!(bench.count(|c| matches!(c, Command::Lost { .. })), 0);
    bench.count(|c| matches!(c, Command::SessionEnded { next: 7, .. })) == 1
}

#[test]
fn an_end_that_is_believed_is_taken_back_by_three_heartbeats_and_by_no_fewer() {
    assert!(ended_after(1) && ended_after(2));
    assert!(!ended_after(3));
}

#[test]
fn a_forged_heartbeat_takes_one_vote_off_an_end_and_no_more() {
    let mut bench = Bench::new(Config { lines: vec![A], servers: vec![], ..config() });
    bench.line(0, A, data(1, 6));
    for second in 1..=8 {
        bench.pass(second * 1000);
        bench.line(second * 1000, A, bare(S, 7, END_OF_SESSION));
        if second % 2 == 0 {
            bench.line(second * 1000 + 30, A, bare(S, 100_051, HEARTBEAT));
        }
    }
    let ended = Command::SessionEnded { session: S, next: 7, reason: SessionEnd::Ended };
    assert_eq!(bench.count(|c| *c == ended), 1, "{:?}", bench.emitted);
    assert_eq!(bench.receiver.stats().lost, 0);
}

#[test]
fn data_past_an_end_that_is_not_believed_yet_takes_it_back() {
    let mut bench = Bench::new(config());
    bench.line(0, A, data(1, 3));
    bench.line(1, A, data(9, 9));
    for millis in 2..5 {
        bench.line(millis, A, bare(S, 4, END_OF_SESSION));
    }
    bench.line(6, A, data(4, 8));
    bench.pass(80);
    assert_eq!(bench.count(|c| matches!(c, Command::SessionEnded { .. })), 0);
    assert_eq!(bench.delivered, numbers(&[(1, 9)]));
}

#[test]
fn the_first_packets_of_a_session_may_come_in_any_order() {
    for order in [[1, 2, 3], [2, 1, 3], [2, 3, 1], [3, 2, 1]] {
        let mut bench = Bench::new(Config { session: None, servers: vec![], ..config() });
        order.iter().for_each(|&n| bench.line(1, A, data(n * 10, n * 10 + 9)));
        bench.line(2, A, data(1, 9));
        assert_eq!(bench.delivered, numbers(&[(1, 39)]), "{order:?}");
        assert_eq!(bench.receiver.stats().unbelieved, 0, "{order:?}");
    }
}

#[test]
fn the_first_packets_of_a_session_that_is_followed_may_come_in_any_order() {
    let next = Session::new(*b"SESSION002");
    let mut bench = Bench::new(Config { follow: true, servers: vec![], ..config() });
    bench.line(0, A, data(1, 5));
    for n in [2, 3, 1] {
        bench.line(10, A, data_of(next, n * 10 - 9, n * 10));
    }
    bench.pass(10_000);
    assert_eq!(bench.delivered, numbers(&[(1, 5), (1, 30)]));
}

#[test]
fn a_live_start_is_not_drawn_back_by_an_earlier_packet() {
    let live = Config { session: None, start: Start::Live, servers: vec![], ..config() };
    let mut bench = Bench::new(live);
    for n in [100, 101, 5, 102, 103] {
        bench.line(1, A, data(n, n));
    }
    assert_eq!(bench.delivered, numbers(&[(100, 103)]));
}

/// A feed of one line, `interval` milliseconds a packet, that loses message `hole`, and into which three packets
/// are forged that say that it is 5,000 messages further; one of them is data.
fn fed_beside_a_forged_jump(give_up: Option<Duration>, interval: u64, hole: u64) -> Bench {
    let mut bench = Bench::new(Config { give_up, lines: vec![A], servers: vec![], ..config() });
    for n in 1..400 {
        if n == 50 {
            for packet in [data(5_000, 5_000), bare(S, 5_001, HEARTBEAT), bare(S, 5_001, HEARTBEAT)]
            {
                bench.line(interval * n, A, packet);
            }
        }
        if n != hole {
            bench.line(interval * n, A, data(n, n));
        }
        bench.pass(interval * (n + 1) - 1);
    }
    bench
}

#[test]
fn a_feed_goes_on_whatever_data_was_forged_ahead() {
    for give_up in [None, Some(Duration::from_millis(500)), Some(Duration::from_secs(10))] {
        for interval in [1, 5, 50, 1_000] {
            let bench = fed_beside_a_forged_jump(give_up, interval, 0);
            assert_eq!(bench.delivered, numbers(&[(1, 399)]), "{give_up:?}, {interval}");
            assert_eq!(bench.count(|c| matches!(c, Command::Lost { .. })), 0);
        }
    }
}

#[test]
fn what_a_feed_loses_below_forged_data_is_lost_alone() {
    for interval in [5, 50] {
        let give_up = Some(Duration::from_millis(500));
        let bench = fed_beside_a_forged_jump(give_up, interval, 60);
        assert_eq!(bench.delivered, numbers(&[(1, 59), (61, 399)]), "{interval}");
        let lost: Vec<_> =
            bench.emitted.iter().filter(|c| matches!(c, Command::Lost { .. })).collect();
        assert_eq!(lost, [&lost_alone(60)]);
    }
}

fn lost_alone(number: u64) -> Command {
    lost(number, number, LossReason::GivenUp)
}

/// Ends that say that the session ended with `last`, one a second from `from` on.
fn end_from(bench: &mut Bench, from: u64, last: u64) {
    for n in 0..30 {
        bench.pass(from + 1_000 * n);
        bench.line(from + 1_000 * n, A, bare(S, last + 1, END_OF_SESSION));
    }
}

/// Plays a feed of 100 messages with what is forged at its end, and then honest ends.
fn ended_beside(forged: &[Vec<u8>], delivery: Delivery) -> Bench {
    let mut bench = Bench::new(Config { delivery, ..config() });
    for first in (1..=100).step_by(5) {
        bench.line(first, A, data(first, first + 4));
    }
    forged.iter().for_each(|packet| bench.line(200, A, packet.clone()));
    end_from(&mut bench, 210, 100);
    bench
}

fn has_ended(bench: &Bench, next: u64) -> bool {
    let ended = Command::SessionEnded { session: S, next, reason: SessionEnd::Ended };
    bench.emitted.contains(&ended)
}

#[test]
fn a_session_ends_behind_what_was_forged_at_its_end_and_that_is_emitted() {
    let forged: [&[Vec<u8>]; 4] = [
        &[data(101, 101)],
        &[data(101, 101), bare(S, 102, END_OF_SESSION)],
        &[data(101, 101), bare(S, 5_000, HEARTBEAT)],
        &[data(101, 101), bare(S, 5_000, END_OF_SESSION)],
    ];
    for packets in forged {
        for delivery in [Delivery::Ordered, Delivery::Arrival] {
            let bench = ended_beside(packets, delivery);
            assert!(has_ended(&bench, 102), "{delivery:?}: {:?}", bench.emitted);
            assert_eq!(bench.delivered, numbers(&[(1, 101)]), "{delivery:?}");
            let regressed =
                Command::SequenceRegressed { line: A, session: S, highest: 101, seen: 101 };
            assert_eq!(bench.count(|command| *command == regressed), 1, "{:?}", bench.emitted);
        }
    }
}

#[test]
fn a_session_ends_below_what_was_forged_ahead_where_nothing_of_it_was_delivered() {
    let bench = ended_beside(&[data(2_000, 2_000)], Delivery::Ordered);
    assert!(has_ended(&bench, 101), "{:?}", bench.emitted);
    let bench = ended_beside(&[data(2_000, 2_000)], Delivery::Arrival);
    assert!(has_ended(&bench, 2_001), "{:?}", bench.emitted);
    let missing = lost(101, 1_999, LossReason::GivenUp);
    assert!(bench.emitted.contains(&missing), "{:?}", bench.emitted);
}

#[test]
fn forged_ends_below_take_nothing_from_a_session_whose_end_is_believed() {
    let mut bench = Bench::new(Config { max_attempts: 255, ..config() });
    bench.line(0, A, data(1, 1));
    bench.line(0, A, data(3, 100));
    for last in 998..=1_000 {
        bench.line(1, A, data(last, last));
    }
    (0..3).for_each(|_| bench.line(2, A, bare(S, 1_001, END_OF_SESSION)));
    bench.pass(100);
    (0..3).for_each(|_| bench.line(101, A, bare(S, 1, END_OF_SESSION)));
    // A backfill that progresses for longer than the claim timeout.
    for n in 0..100 {
        bench.pass(200 + 100 * n);
        bench.answer(200 + 100 * n, data(2 + 10 * n, (11 + 10 * n).min(997)));
    }
    assert!(has_ended(&bench, 1_001), "{:?}", bench.emitted);
    assert_eq!(bench.delivered, numbers(&[(1, 1_000)]));
}

#[test]
fn what_is_held_or_claimed_behind_forged_ends_is_delivered_or_named() {
    // Of the last messages there are too few packets, or only heartbeats speak.
    let tails: [&[Vec<u8>]; 2] = [
        &[data(103, 103)],
        &[bare(S, 104, HEARTBEAT), bare(S, 104, HEARTBEAT), bare(S, 104, HEARTBEAT)],
    ];
    for tail in tails {
        let mut bench = Bench::new(config());
        bench.line(0, A, data(1, 100));
        tail.iter().for_each(|packet| bench.line(1, A, packet.clone()));
        (0..3).for_each(|_| bench.line(2, A, bare(S, 91, END_OF_SESSION)));
        // The driver comes late.
        bench.receiver.handle_timeout(at(60_000)).unwrap();
        bench.drain();
        bench.pass(120_000);
        assert!(has_ended(&bench, 104), "{:?}", bench.emitted);
        let named = bench.count(|command| matches!(command, Command::Lost { first: 101, .. }));
        assert_eq!(named, 1, "{:?}", bench.emitted);
    }
}

#[test]
fn a_sender_that_starts_over_below_a_live_start_and_ends_is_emitted() {
    let mut bench = Bench::new(Config { start: Start::Live, ..config() });
    for first in (5_000..5_100).step_by(10) {
        bench.line(first, A, data(first, first + 9));
    }
    (1..=5).for_each(|n| bench.line(6_000, A, data(n, n)));
    end_from(&mut bench, 6_001, 5);
    let is_regression = |command: &Command| {
        matches!(command, Command::SequenceRegressed { highest: 5_099, seen: 6, .. })
    };
    assert_eq!(bench.count(is_regression), 1, "{:?}", bench.emitted);
    assert!(has_ended(&bench, 5_100));
}

#[test]
fn ends_below_what_was_delivered_end_no_feed_that_still_sends() {
    let next: [fn(u64) -> Vec<u8>; 2] = [|n| data(n, n), |_| bare(S, 101, HEARTBEAT)];
    for next in next {
        for ends in [1, 3, 5, 30] {
            let mut bench = Bench::new(config());
            bench.line(0, A, data(1, 100));
            for n in 101..140 {
                bench.line(1_000 * n, A, next(n));
                if n == 110 {
                    (0..ends).for_each(|_| bench.line(1_000 * n, A, bare(S, 91, END_OF_SESSION)));
                }
                bench.line(1_000 * n + 5, A, bare(S, 91, END_OF_SESSION));
                bench.pass(1_000 * n + 999);
            }
            assert_eq!(bench.count(|c| matches!(c, Command::SessionEnded { .. })), 0, "{ends}");
        }
    }
}

#[test]
fn ends_below_what_was_delivered_do_not_keep_honest_ones_from_being_believed() {
    let mut bench = Bench::new(config());
    bench.line(0, A, data(1, 100));
    for n in 1..6 {
        bench.line(n, A, bare(S, 91, END_OF_SESSION));
        bench.line(n, A, bare(S, 91, END_OF_SESSION));
        bench.line(n, A, bare(S, 101, END_OF_SESSION));
    }
    bench.pass(60);
    let ended = Command::SessionEnded { session: S, next: 101, reason: SessionEnd::Ended };
    assert_eq!(bench.emitted.last(), Some(&ended));
}
