//! Claims of heartbeats and ends alone: withdrawn where the feed contradicts them, lost where nothing
//! does.

use super::*;

/// Both lines, one server, a millisecond between packets.
fn live(delivery: Delivery) -> Bench {
    Bench::new(Config { delivery, ..config() })
}

/// A line and nobody to ask: it gives up soon.
fn alone() -> Bench {
    Bench::new(Config { lines: vec![A], servers: vec![], ..config() })
}

impl Bench {
    /// Each of these lines brings a message every ten milliseconds.
    fn goes_on(
        &mut self,
        from: u64,
        numbers: core::ops::RangeInclusive<u64>,
        lines: &[LineId],
    ) -> u64 {
        let mut now = from;
        for n in numbers {
            now += 10;
            self.pass(now);
            lines.iter().for_each(|&line| self.line(now, line, data(n, n)));
        }
        now
    }

    /// Each of these lines brings this bare packet so often, a second apart.
    fn repeats(&mut self, from: u64, next: u64, count: u16, times: u64, lines: &[LineId]) -> u64 {
        for second in 1..=times {
            self.pass(from + second * 1000);
            lines
                .iter()
                .for_each(|&line| self.line(from + second * 1000, line, bare(S, next, count)));
        }
        from + times * 1000
    }

    /// The real end comes, and everything before it was delivered.
    #[track_caller]
    fn assert_ends_whole(&mut self, now: u64, next: u64, lines: &[LineId]) {
        let now = self.repeats(now, next, END_OF_SESSION, 8, lines);
        self.pass(now + 20_000);
        self.delivered.sort_unstable();
        assert_eq!(self.delivered, numbers(&[(1, next - 1)]));
        assert_eq!(self.lost(), []);
        let ended = Command::SessionEnded { session: S, next, reason: SessionEnd::Ended };
        assert_eq!(self.count(|c| *c == ended), 1, "{:?}", self.emitted);
        assert_eq!(self.count(|c| matches!(c, Command::SequenceRegressed { .. })), 0);
        assert_eq!(self.receiver.stats().lost, 0);
    }

    fn lost(&self) -> Vec<Command> {
        let is_lost = |command: &&Command| matches!(command, Command::Lost { .. });
        self.emitted.iter().filter(is_lost).cloned().collect()
    }
}

/// The forged packets: three heartbeats, or three ends, 100,000 ahead.
const FORGED: [u16; 2] = [HEARTBEAT, END_OF_SESSION];

#[test]
fn three_forged_heartbeats_or_ends_ahead_do_not_break_a_live_session() {
    for (delivery, count) in [Delivery::Ordered, Delivery::Arrival].into_iter().zip(FORGED) {
        for forged_on in [&[A][..], &[A, B]] {
            let mut bench = live(delivery);
            let now = bench.goes_on(0, 1..=50, &[A, B]);
            for _ in 0..3 {
                forged_on.iter().for_each(|&line| bench.line(now, line, bare(S, 100_051, count)));
            }
            let now = bench.goes_on(now, 51..=900, &[A, B]);
            assert_eq!(bench.receiver.stats().claims_withdrawn, 1, "{count} {forged_on:?}");
            bench.assert_ends_whole(now, 901, &[A, B]);
        }
    }
}

#[test]
fn three_forged_heartbeats_or_ends_ahead_do_not_break_an_idle_session() {
    for count in FORGED {
        for lines in [&[A][..], &[A, B]] {
            let mut bench = Bench::new(Config { lines: lines.to_vec(), ..config() });
            let now = bench.goes_on(0, 1..=50, lines);
            (0..3).for_each(|_| bench.line(now + 300, A, bare(S, 100_051, count)));
            let now = bench.repeats(now, 51, HEARTBEAT, 10, lines);
            assert_eq!(bench.receiver.stats().claims_withdrawn, 1, "{count} on {lines:?}");
            let now = bench.goes_on(now, 51..=90, lines);
            bench.assert_ends_whole(now, 91, lines);
        }
    }
}

#[test]
fn who_gives_up_soon_gives_a_feed_the_time_to_contradict() {
    for count in FORGED {
        for idle in [false, true] {
            let mut bench = alone();
            let mut now = bench.goes_on(0, 1..=50, &[A]);
            (0..3).for_each(|_| bench.line(now, A, bare(S, 100_051, count)));
            if idle {
                now = bench.repeats(now, 51, HEARTBEAT, 5, &[A]);
            }
            let now = bench.goes_on(now, 51..=90, &[A]);
            bench.assert_ends_whole(now, 91, &[A]);
        }
    }
}

#[test]
fn ends_contradict_what_was_forged_and_are_believed() {
    for count in FORGED {
        for lines in [&[A][..], &[A, B]] {
            let mut bench = Bench::new(Config { lines: lines.to_vec(), ..config() });
            let now = bench.goes_on(0, 1..=50, lines);
            for _ in 0..3 {
                lines.iter().for_each(|&line| bench.line(now, line, bare(S, 100_051, count)));
            }
            bench.assert_ends_whole(now, 51, lines);
        }
    }
}

#[test]
fn a_forged_heartbeat_a_jump_ahead_that_was_believed_is_withdrawn_too() {
    let mut bench = live(Delivery::Ordered);
    let now = bench.goes_on(0, 1..=50, &[A, B]);
    (0..3).for_each(|_| bench.line(now, A, bare(S, 1 << 40, HEARTBEAT)));
    let now = bench.repeats(now, 51, HEARTBEAT, 4, &[A, B]);
    let far = |c: &Command| matches!(c, Command::GapOpened { last, .. } if *last > 1 << 30);
    assert_eq!((bench.count(far), bench.receiver.stats().claims_withdrawn), (1, 1));
    let now = bench.goes_on(now, 51..=90, &[A, B]);
    bench.assert_ends_whole(now, 91, &[A, B]);
}

#[test]
fn a_forged_heartbeat_hides_no_honest_tail_loss() {
    let mut bench = live(Delivery::Ordered);
    let now = bench.goes_on(0, 1..=50, &[A, B]);
    bench.line(now, A, bare(S, 100_051, HEARTBEAT));
    let now = bench.repeats(now, 56, HEARTBEAT, 12, &[A, B]);
    bench.pass(now);
    assert_eq!(bench.lost(), [lost(51, 55, LossReason::ClaimedOnly)]);
    let stats = bench.receiver.stats();
    assert_eq!((stats.lost, stats.lost_claimed_only, stats.claims_withdrawn), (5, 5, 1));
}

#[test]
fn a_tail_of_which_only_heartbeats_and_ends_speak_is_lost_and_named() {
    for count in FORGED {
        for lines in [&[A][..], &[A, B]] {
            let mut bench = Bench::new(Config { lines: lines.to_vec(), ..config() });
            let now = bench.goes_on(0, 1..=50, lines);
            let now = bench.repeats(now, 61, count, 9, lines);
            bench.repeats(now, 61, END_OF_SESSION, 4, lines);
            assert_eq!(bench.lost(), [lost(51, 60, LossReason::ClaimedOnly)]);
            let stats = bench.receiver.stats();
            assert_eq!((stats.lost_claimed_only, stats.claims_withdrawn), (10, 0));
            let ended = Command::SessionEnded { session: S, next: 61, reason: SessionEnd::Ended };
            assert_eq!(bench.count(|c| *c == ended), 1);
        }
    }
}

#[test]
fn what_data_proves_and_what_is_only_claimed_are_lost_apart() {
    let mut bench = alone();
    bench.goes_on(0, 1..=50, &[A]);
    for millis in 0..3 {
        bench.line(600 + millis, A, data(53, 53));
    }
    bench.repeats(700, 57, HEARTBEAT, 9, &[A]);
    let reasons = [LossReason::GivenUp, LossReason::ClaimedOnly];
    assert_eq!(bench.lost(), [lost(51, 52, reasons[0]), lost(54, 56, reasons[1])]);
    assert_eq!(bench.receiver.stats().lost_claimed_only, 3);
}

#[test]
fn a_line_that_lags_contradicts_nothing_by_itself() {
    let mut bench = live(Delivery::Ordered);
    bench.goes_on(0, 1..=50, &[A, B]);
    bench.line(600, A, bare(S, 91, HEARTBEAT));
    let now = bench.goes_on(700, 51..=80, &[B]);
    assert_eq!(bench.receiver.stats().claims_withdrawn, 0);
    // Line A is down before long: then line B is all that there is.
    bench.goes_on(now + 3000, 81..=84, &[B]);
    assert_eq!(bench.receiver.stats().claims_withdrawn, 1);
    assert_eq!(bench.delivered, numbers(&[(1, 84)]));
}

#[test]
fn what_was_on_its_way_when_a_claim_came_contradicts_nothing() {
    let mut bench = live(Delivery::Ordered);
    bench.goes_on(0, 1..=50, &[A, B]);
    (0..3).for_each(|_| bench.line(600, A, bare(S, 60, HEARTBEAT)));
    for n in 51..55 {
        bench.line(610, A, data(n, n));
        bench.line(620, B, data(n, n));
    }
    assert_eq!(bench.receiver.stats().claims_withdrawn, 0);
    // Nor do copies of what came before it.
    for millis in 700..710 {
        bench.line(millis, A, data(50, 50));
        bench.line(millis, B, data(49, 50));
    }
    assert_eq!(bench.receiver.stats().claims_withdrawn, 0);
}

#[test]
fn a_claim_that_is_made_again_and_again_loses_nothing_of_a_feed_that_contradicts_it() {
    let mut bench = live(Delivery::Ordered);
    let mut now = bench.goes_on(0, 1..=50, &[A, B]);
    for step in 0..2000 {
        now += 10;
        bench.pass(now);
        bench.line(now, A, bare(S, 1051, HEARTBEAT));
        if step % 100 == 0 {
            [A, B].iter().for_each(|&line| bench.line(now, line, bare(S, 51, HEARTBEAT)));
        }
    }
    assert_eq!((bench.receiver.stats().lost, bench.receiver.stats().claims_withdrawn), (0, 0));
    // Once it is not made any more it is withdrawn.
    bench.assert_ends_whole(now, 51, &[A, B]);
    assert_eq!(bench.receiver.stats().claims_withdrawn, 1);
}

#[test]
fn forged_claims_between_the_heartbeats_of_an_idle_feed_break_nothing() {
    for (lines, servers, give_up) in [
        (&[A][..], vec![], 3000),
        (&[A], vec![(SERVER, address(1))], 5000),
        (&[A, B], vec![], 5000),
        (&[A, B], vec![(SERVER, address(1))], 5000),
    ] {
        for (count, forged) in FORGED.into_iter().zip([[100, 2000, 3100], [970, 1970, 2970]]) {
            let give_up = Some(Duration::from_millis(give_up));
            let lines = lines.to_vec();
            let (servers, config) = (servers.clone(), config());
            let mut bench = Bench::new(Config { lines: lines.clone(), servers, give_up, ..config });
            let begin = bench.goes_on(0, 1..=50, &lines);
            for now in (0..9_000).step_by(10) {
                bench.pass(begin + now);
                if now % 1000 == 0 {
                    lines
                        .iter()
                        .for_each(|&line| bench.line(begin + now, line, bare(S, 51, HEARTBEAT)));
                }
                // The last of them every second, until long after it gives up.
                if forged.contains(&now) || (now > 3100 && now < 6500 && now % 1000 == 100) {
                    bench.line(begin + now, A, bare(S, 100_051, count));
                    bench.pass(begin + now);
                }
            }
            assert_eq!(bench.receiver.stats().lost, 0, "{count} {lines:?}");
            let now = bench.goes_on(begin + 9_000, 51..=60, &lines);
            bench.assert_ends_whole(now, 61, &lines);
        }
    }
}

#[test]
fn forged_claims_between_the_packets_of_a_live_feed_break_nothing() {
    for every in [15, 20, 25] {
        let mut bench = alone();
        let begin = bench.goes_on(0, 1..=50, &[A]);
        for n in 1..=4000 {
            bench.pass(begin + n);
            if n % every == 0 {
                bench.line(begin + n, A, bare(S, 100_051, HEARTBEAT));
            }
            bench.line(begin + n, A, data(50 + n, 50 + n));
        }
        assert!(bench.receiver.stats().claims_withdrawn > 0, "every {every} ms");
        bench.assert_ends_whole(begin + 4000, 4051, &[A]);
    }
}

#[test]
fn forged_claims_between_the_ends_of_a_session_break_nothing() {
    let deliveries = [Delivery::Ordered, Delivery::Arrival];
    for (delivery, count) in deliveries.iter().flat_map(|&d| FORGED.map(|count| (d, count))) {
        let mut bench = Bench::new(Config { delivery, ..alone().receiver.config.clone() });
        let begin = bench.goes_on(0, 1..=50, &[A]);
        for now in (10..31_000).step_by(10) {
            bench.pass(begin + now);
            if now % 1000 == 0 {
                bench.line(begin + now, A, bare(S, 51, END_OF_SESSION));
            }
            if [1030, 3030, 4040].contains(&now) {
                bench.line(begin + now, A, bare(S, 100_051, count));
                bench.pass(begin + now);
            }
        }
        bench.assert_ends_whole(begin + 31_000, 51, &[A]);
    }
}

#[test]
fn what_is_left_of_a_claim_that_is_withdrawn_gets_its_time_to_be_contradicted() {
    let mut bench = Bench::new(Config { lines: vec![A], ..config() });
    let now = bench.goes_on(0, 1..=50, &[A]);
    (0..3).for_each(|_| bench.line(now, A, bare(S, 100_051, HEARTBEAT)));
    bench.pass(now + 4970);
    bench.line(now + 4970, A, bare(S, 60_051, HEARTBEAT));
    for millis in [4980, 4990] {
        bench.line(now + millis, A, bare(S, 51, HEARTBEAT));
    }
    assert_eq!(bench.receiver.stats().claims_withdrawn, 1);
    let now = bench.repeats(now + 4990, 51, HEARTBEAT, 6, &[A]);
    bench.assert_ends_whole(now, 51, &[A]);
}

#[test]
fn nobody_is_asked_for_what_was_withdrawn() {
    let mut bench = live(Delivery::Ordered);
    let now = bench.goes_on(0, 1..=50, &[A, B]);
    (0..3).for_each(|_| bench.line(now, A, bare(S, 100_051, HEARTBEAT)));
    let now = bench.goes_on(now, 51..=60, &[A, B]);
    let requests = core::mem::take(&mut bench.requests);
    assert!(requests.iter().any(|request| request.sequence > 51), "{requests:?}");
    bench.goes_on(now, 61..=200, &[A, B]);
    assert_eq!(bench.requests, []);
    let server = bench.receiver.server(SERVER).unwrap();
    assert_eq!(server.in_flight, 0);
}

#[test]
fn a_forged_heartbeat_of_a_session_that_is_left_makes_nothing_lost() {
    let next = Session::new(*b"SESSION002");
    let mut bench = Bench::new(Config { follow: true, ..config() });
    let now = bench.goes_on(0, 1..=50, &[A, B]);
    bench.line(now, A, bare(S, 5051, HEARTBEAT));
    for n in 1..=5 {
        [A, B].iter().for_each(|&line| bench.line(now + 100, line, data_of(next, n, n)));
    }
    bench.pass(now + 20_000);
    assert_eq!(bench.delivered, numbers(&[(1, 50), (1, 5)]));
    assert_eq!(bench.lost(), []);
    let left = Command::SessionEnded { session: S, next: 51, reason: SessionEnd::Superseded };
    assert_eq!(bench.count(|c| *c == left), 1, "{:?}", bench.emitted);
}

#[test]
fn forged_ends_just_ahead_do_not_end_a_feed_that_three_forged_heartbeats_hide() {
    let mut bench = live(Delivery::Ordered);
    let now = bench.goes_on(0, 1..=50, &[A, B]);
    (0..3).for_each(|_| bench.line(now, A, bare(S, 100_051, HEARTBEAT)));
    (0..3).for_each(|_| bench.line(now, A, bare(S, 57, END_OF_SESSION)));
    let now = bench.goes_on(now, 51..=90, &[A, B]);
    bench.assert_ends_whole(now, 91, &[A, B]);
}

#[test]
fn forged_data_does_not_hide_that_the_feed_contradicts_what_is_claimed_behind_it() {
    for lines in [&[A][..], &[A, B]] {
        let mut bench = Bench::new(Config { lines: lines.to_vec(), ..config() });
        let now = bench.goes_on(0, 1..=50, lines);
        bench.line(now, A, data(1050, 1050));
        (0..3).for_each(|_| bench.line(now, A, bare(S, 100_051, HEARTBEAT)));
        let now = bench.repeats(now, 51, HEARTBEAT, 10, lines);
        assert_eq!(bench.receiver.stats().claims_withdrawn, 1, "{lines:?}");
        let now = bench.goes_on(now, 51..=90, lines);
        bench.repeats(now, 91, END_OF_SESSION, 8, lines);
        assert_eq!(bench.delivered, numbers(&[(1, 90)]));
        assert_eq!(bench.lost(), []);
        assert_eq!(bench.count(|c| matches!(c, Command::SessionEnded { next: 91, .. })), 1);
    }
}

#[test]
fn a_line_that_was_added_again_has_contradicted_nothing_yet() {
    let mut bench = live(Delivery::Ordered);
    let mut now = bench.goes_on(0, 1..=50, &[A, B]);
    bench.line(now, A, bare(S, 91, HEARTBEAT));
    now = bench.goes_on(now + 50, 51..=60, &[B]);
    for event in [Event::RemoveLine(B), Event::AddLine(B)] {
        bench.receiver.handle(at(now), event).unwrap();
        bench.drain();
    }
    // It is up again by a copy, and line A says less than before.
    bench.line(now, B, data(10, 10));
    bench.line(now, A, data(61, 61));
    assert_eq!(bench.receiver.stats().claims_withdrawn, 0);
    bench.line(now, B, data(61, 61));
    assert_eq!(bench.receiver.stats().claims_withdrawn, 1);
}
