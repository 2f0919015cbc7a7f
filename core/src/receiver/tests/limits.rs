//! Limits: what is kept and what goes when one is reached, and what is lost when nobody can be asked.

use super::*;

/// One line and nobody to ask.
fn alone() -> Config {
    Config { lines: vec![A], servers: vec![], ..config() }
}

#[test]
fn one_line_without_a_server_gives_up_what_a_reordering_would_have_brought_by_now() {
    let mut bench = Bench::new(alone());
    bench.line(0, A, data(1, 1));
    for number in 3..8 {
        bench.line(10, A, data(number, number));
    }
    bench.pass(29);
    assert_eq!(bench.count(|c| matches!(c, Command::Lost { .. })), 0);
    bench.pass(30);
    assert!(bench.emitted.contains(&lost(2, 2, LossReason::GivenUp)));
    assert_eq!(bench.delivered, numbers(&[(1, 1), (3, 7)]));
}

#[test]
fn an_explicit_time_to_give_up_wins() {
    let mut bench = Bench::new(Config { give_up: Some(Duration::from_secs(1)), ..alone() });
    bench.line(0, A, data(1, 1));
    for number in 3..8 {
        bench.line(10, A, data(number, number));
    }
    bench.pass(1009);
    assert_eq!(bench.count(|c| matches!(c, Command::Lost { .. })), 0);
    bench.pass(1010);
    assert!(bench.emitted.contains(&lost(2, 2, LossReason::GivenUp)));
}

#[test]
fn another_line_or_a_server_is_waited_for_as_soon_as_there_is_one() {
    for event in [Event::AddLine(B), Event::AddServer(SERVER, address(1))] {
        let mut bench = Bench::new(alone());
        bench.line(0, A, data(1, 1));
        for number in 3..8 {
            bench.line(10, A, data(number, number));
        }
        bench.receiver.handle(at(20), event).unwrap();
        bench.drain();
        bench.pass(5009);
        assert_eq!(bench.count(|c| matches!(c, Command::Lost { .. })), 0);
        bench.pass(5010);
        assert!(bench.emitted.contains(&lost(2, 2, LossReason::GivenUp)));
    }
}

/// A packet of two short messages, with seven bytes behind them.
fn padded(first: u64) -> Vec<u8> {
    [data(first, first + 1), vec![0; 7]].concat()
}

/// A receiver that lacks message 2 to 5, and holds so many packets of 100 messages behind them.
fn nearly_full(packets: u64) -> Bench {
    let mut bench = Bench::new(Config { max_held_bytes: 1 << 17, ..config() });
    bench.line(0, A, data(1, 1));
    for packet in 0..packets {
        bench.line(0, A, data(6 + packet * 100, 105 + packet * 100));
    }
    assert_eq!(bench.receiver.stats().put_off_for_memory, 0);
    bench
}

#[test]
fn a_padded_packet_without_room_is_dropped_and_nothing_else() {
    let mut bench = nearly_full(128);
    bench.line(0, A, padded(12_806));
    assert_eq!(bench.receiver.stats().put_off_for_memory, 1);
    bench.answer(2, data(2, 5));
    assert_eq!(bench.delivered, numbers(&[(1, 12_805)]));
}

#[test]
fn room_for_a_padded_packet_is_made_at_the_far_end() {
    let mut bench = nearly_full(128);
    bench.line(0, A, padded(4));
    // A block takes the place of 64 packets.
    assert_eq!(bench.receiver.stats().put_off_for_memory, 64);
    bench.answer(2, data(2, 3));
    assert_eq!(bench.delivered, numbers(&[(1, 6_405)]));
}

#[test]
fn padding_is_not_kept() {
    let mut bench = Bench::new(config());
    bench.line(0, A, data(1, 1));
    for packet in 0..3 {
        bench.line(1, A, [data(3 + packet, 3 + packet), vec![0; 40_000]].concat());
    }
    assert_eq!(bench.receiver.stats().blocks_allocated, 1);
    bench.answer(2, data(2, 2));
    assert_eq!(bench.delivered, numbers(&[(1, 5)]));
}

#[test]
fn a_packet_that_comes_apart_finds_room_for_each_of_its_pieces() {
    let mut bench = nearly_full(60);
    bench.line(0, A, [data(3, 6_400), vec![0; 7]].concat());
    assert_eq!(bench.receiver.stats().put_off_for_memory, 0);
    bench.answer(2, data(2, 2));
    assert_eq!(bench.delivered, numbers(&[(1, 6_400)]));
}

#[test]
fn what_a_driver_says_to_be_pinned_is_summed_without_overflow() {
    let mut bench = Bench::new(config());
    bench.line(0, A, data(1, 1));
    for number in [3, 5, 7] {
        bench.line(0, A, data(number, number));
    }
    let (bytes, arrival) = (Bytes::from(data(2, 9)), at(0));
    let source = Source::Line(A);
    let datagram = Datagram { source, bytes, pinned: usize::MAX, arrival };
    bench.receiver.handle(at(0), Event::Datagram(datagram)).unwrap();
    assert!(bench.receiver.memory_used() > 4 * (u32::MAX as usize / 1024));
    let before = Receiver::memory_limit(&bench.receiver.config);
    bench.drain();
    assert!(bench.receiver.memory_used() <= before);
    assert_eq!(bench.delivered, numbers(&[(1, 9)]));
}

/// A receiver of one line that is asked to be patient, with room for 64 packets and 16 gaps.
fn small(servers: Vec<(ServerId, SocketAddr)>) -> Config {
    let give_up = Some(Duration::from_secs(5));
    Config { max_held_packets: 64, max_gaps: 16, give_up, servers, ..alone() }
}

/// Sends so many messages, one a packet, without these.
fn send_without(bench: &mut Bench, last: u64, missing: &[u64]) {
    for number in (1..=last).filter(|number| !missing.contains(number)) {
        bench.line(number / 4_000, A, data(number, number));
    }
}

fn lost_numbers(bench: &Bench) -> Vec<u64> {
    let lost = bench.emitted.iter().filter_map(|command| match *command {
        Command::Lost { first, last, reason: LossReason::NobodyToAsk, .. } => Some(first..=last),
        Command::Lost { .. } => panic!("{command:?}"),
        _ => None,
    });
    lost.flatten().collect()
}

#[test]
fn with_nobody_to_ask_what_is_lost_is_what_the_network_lost() {
    let missing = [5, 1_000, 1_001, 1_003, 2_000, 2_040, 2_080, 7_000, 7_500, 7_777, 9_000];
    let mut bench = Bench::new(small(vec![]));
    send_without(&mut bench, 10_000, &missing);
    assert_eq!(lost_numbers(&bench), missing);
    let delivered: Vec<u64> = (1..=10_000).filter(|number| !missing.contains(number)).collect();
    assert_eq!(bench.delivered, delivered);
    assert_eq!(bench.receiver.stats().put_off_for_memory, 0);
}

#[test]
fn more_gaps_than_there_may_be_are_lost_from_the_oldest_on() {
    let missing: Vec<u64> = (2..200).step_by(2).collect();
    let mut bench = Bench::new(small(vec![]));
    send_without(&mut bench, 201, &missing);
    assert_eq!(bench.receiver.stats().put_off_for_gaps, 0);
    let lost = lost_numbers(&bench);
    assert_eq!(lost, missing[..lost.len()]);
    assert!(lost.len() > missing.len() - 16, "{lost:?}");
}

#[test]
fn what_a_slow_line_may_bring_is_not_lost_for_want_of_room() {
    let mut bench = Bench::new(Config { lines: vec![A, B], ..small(vec![]) });
    bench.line(0, B, data(1, 1));
    send_without(&mut bench, 100, &[2]);
    assert_eq!(lost_numbers(&bench), []);
    bench.line(100, B, data(2, 2));
    assert_eq!(bench.delivered[..60], numbers(&[(1, 60)]));
}

#[test]
fn as_long_as_a_server_may_answer_the_far_end_is_asked_for_later() {
    let mut bench = Bench::new(small(vec![(SERVER, address(1))]));
    send_without(&mut bench, 100, &[2]);
    assert_eq!(lost_numbers(&bench), []);
    bench.answer(1, data(2, 2));
    let held = bench.delivered.len() as u64;
    assert_eq!(bench.delivered, numbers(&[(1, held)]));
    bench.answer(1, data(held + 1, 100));
    assert_eq!(bench.delivered, numbers(&[(1, 100)]));
}

#[test]
fn nothing_is_expected_of_a_server_that_was_asked_twice_in_vain() {
    let mut bench = Bench::new(small(vec![(SERVER, address(1))]));
    bench.line(0, A, data(1, 1));
    for number in 3..6 {
        bench.line(0, A, data(number, number));
    }
    bench.pass(1_000);
    assert!(bench.requests.len() >= 2, "{:?}", bench.requests);
    for number in 6..1_000 {
        bench.line(1_000, A, data(number, number));
    }
    assert_eq!(lost_numbers(&bench), [2]);
    assert_eq!(bench.delivered[..900], [&[1], &numbers(&[(3, 901)])[..]].concat());
}

#[test]
fn with_nobody_to_ask_delivery_halts_where_that_is_wanted() {
    let mut bench = Bench::new(Config { on_loss: OnLoss::Halt, ..small(vec![]) });
    send_without(&mut bench, 70, &[2]);
    assert_eq!(lost_numbers(&bench), [2]);
    assert!(bench.emitted.contains(&Command::Halted { session: S, next: 3 }));
    assert_eq!(bench.delivered, [1]);
    bench.receiver.handle(at(1), Event::Advance { next: 3 }).unwrap();
    bench.drain();
    assert_eq!(bench.delivered[..61], [&[1], &numbers(&[(3, 62)])[..]].concat());
}

#[test]
fn a_line_or_a_server_that_is_named_twice_is_refused() {
    let lines = Config { lines: vec![A, B, A], ..config() };
    assert_eq!(Receiver::new(lines).unwrap_err(), Error::DuplicateLine(A));
    let servers = vec![(SERVER, address(1)), (ServerId(1), address(2)), (SERVER, address(3))];
    let servers = Config { servers, ..config() };
    assert_eq!(Receiver::new(servers).unwrap_err(), Error::DuplicateServer(SERVER));
}

#[test]
fn a_line_that_is_added_again_stays_as_it_is() {
    let mut bench = Bench::new(config());
    bench.line(0, A, data(1, 1));
    bench.receiver.handle(at(1), Event::AddLine(A)).unwrap();
    bench.drain();
    let stats = bench.receiver.line(A).unwrap();
    assert_eq!((stats.up, stats.packets), (true, 1));
    assert_eq!(bench.count(|c| matches!(c, Command::LineUp(_) | Command::LineDown(_))), 1);
}

/// A receiver that lacks message 2 and holds 3 to 5 and 7 to 9, and is drained.
fn with_held() -> Bench {
    let mut bench = Bench::new(config());
    bench.line(0, A, data(1, 1));
    bench.line(0, A, data(3, 5));
    bench.line(0, A, data(7, 9));
    bench
}

/// A packet of one message, which is another than the feed's.
fn altered(number: u64) -> Vec<u8> {
    let mut bytes = data(number, number);
    *bytes.last_mut().unwrap() ^= 1;
    bytes
}

fn contradiction(sequence: u64, held: Origin, dropped: Origin) -> Command {
    Command::Contradiction { session: S, sequence, held: Some(held), dropped }
}

fn contradictions(bench: &Bench) -> Vec<&Command> {
    let is_one = |command: &&Command| matches!(command, Command::Contradiction { .. });
    bench.emitted.iter().filter(is_one).collect()
}

#[test]
fn a_held_message_that_comes_again_with_other_bytes_is_named_and_stays() {
    for millis in [2, 3] {
        for number in [3, 4, 5, 7, 9] {
            let mut bench = with_held();
            bench.line(millis, B, altered(number));
            let [a, b] = [A, B].map(Origin::Line);
            assert_eq!(contradictions(&bench), [&contradiction(number, a, b)]);
            assert_eq!(bench.receiver.stats().contradictions, 1);
            bench.answer(4, data(2, 2));
            bench.answer(4, data(6, 6));
            assert_eq!(bench.delivered, numbers(&[(1, 9)]));
        }
    }
}

#[test]
fn a_packet_is_compared_where_it_overlaps_what_is_held() {
    let mut bench = with_held();
    // It brings 6 as well, and ends behind what is held.
    let mut bytes = data(4, 10);
    let block = 2 + payload(0).len();
    bytes[20 + 4 * block + 9] ^= 1;
    bench.line(2, B, bytes);
    let (a, b) = (Origin::Line(A), Origin::Line(B));
    assert_eq!(contradictions(&bench), [&contradiction(8, a, b)]);
    bench.answer(4, data(2, 2));
    assert_eq!(bench.delivered, numbers(&[(1, 10)]));
}

#[test]
fn an_answer_is_compared_with_what_is_held() {
    let mut bench = with_held();
    bench.pass(5);
    bench.answer(6, [altered(3)].concat());
    let (line, server) = (Origin::Line(A), Origin::Server(SERVER));
    assert_eq!(contradictions(&bench), [&contradiction(3, line, server)]);
}

#[test]
fn copies_are_no_contradiction_whatever_their_packets() {
    let mut bench = with_held();
    for (first, last) in [(1, 3), (3, 3), (4, 5), (3, 9), (1, 9), (2, 12), (7, 20)] {
        bench.line(2, B, data(first, last));
    }
    assert_eq!(bench.receiver.stats().contradictions, 0);
}

#[test]
fn a_copy_of_a_long_run_is_compared_packet_by_packet() {
    let mut bench = Bench::new(config());
    bench.line(0, A, data(1, 1));
    for number in 3..1_000 {
        bench.line(0, A, data(number, number));
    }
    for number in (3..1_000).filter(|number| number % 10 != 0) {
        bench.line(1, B, data(number, number));
    }
    assert_eq!(bench.receiver.stats().contradictions, 0);
    for number in (3..1_000).filter(|number| number % 10 == 0) {
        bench.line(1, B, altered(number));
    }
    assert_eq!(bench.receiver.stats().contradictions, 99);
    // In the middle of a run nothing is searched for.
    bench.line(1, B, altered(103));
    bench.line(1, B, altered(500));
    assert_eq!(bench.receiver.stats().contradictions, 99);
}

#[test]
fn of_thousands_of_gaps_a_silent_server_is_asked_for_the_lowest_and_for_some_far_behind_it() {
    let mut bench = Bench::new(Config {
        lines: vec![A],
        give_up: Some(Duration::from_secs(3_600)),
        probe_after: Duration::from_secs(3_600),
        ..config()
    });
    for gap in 1..=4_000 {
        bench.line(1, A, data(2 * gap, 2 * gap));
    }
    bench.pass(60_000);
    let asked = |from: u64, to: u64| {
        bench.requests.iter().filter(|request| (from..=to).contains(&request.sequence)).count()
    };
    assert!(asked(1, 1) > 10, "the lowest");
    assert!(asked(2, 512) > 5, "one of the next");
    assert!(asked(513, 8_000) > 5, "one of any");
    assert!(asked(4_000, 8_000) > 2, "far out too");
}
