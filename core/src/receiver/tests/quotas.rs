//! The quotas of venues: no window of the length of a quota has more than it allows, whatever happens.

use super::*;
use crate::receiver::{Quota, QuotaUnit, QuotaUse};
use crate::storage::in_flight::Jitter;

const OTHER: ServerId = ServerId(1);

const fn quota(unit: QuotaUnit, most: u64, millis: u64) -> Quota {
    Quota { unit, most, window: Duration::from_millis(millis) }
}

fn limited(quotas: &[Quota]) -> Config {
    Config { lines: vec![A], quotas: quotas.to_vec(), ..config() }
}

/// A receiver with gaps from 1 on, a message each, every other one.
fn comb(config: Config, teeth: u64) -> Bench {
    let mut bench = Bench::new(config);
    (1..=teeth).for_each(|tooth| bench.line(0, A, data(2 * tooth, 2 * tooth)));
    bench
}

/// Asserts that in no window of a quota's length more was asked than it allows: times in nanoseconds.
fn assert_kept(quota: Quota, asked: &[(u64, ServerId, u16)]) {
    let window = u64::try_from(quota.window.as_nanos()).unwrap();
    for server in [SERVER, OTHER] {
        let asked = asked.iter().filter(|(_, of, _)| *of == server);
        let asked = asked.map(|&(at, _, count)| match quota.unit {
            QuotaUnit::Requests => (at, 1),
            QuotaUnit::Messages => (at, u64::from(count)),
        });
        let asked: Vec<_> = asked.collect();
        for (last, &(until, _)) in asked.iter().enumerate() {
            let within = asked[..=last].iter().filter(|(at, _)| at + window >= until);
            let sum: u64 = within.map(|(_, count)| count).sum();
            assert!(sum <= quota.most, "{sum} by {server} until {until} of {quota:?}");
        }
    }
}

#[test]
fn no_window_has_more_than_a_quota_allows_however_often_the_receiver_starts_over() {
    for seed in 0..40 {
        let mut random = Jitter(seed);
        let mut draw = |from: u64, to: u64| from + random.next() % (to - from + 1);
        let quotas = [
            quota(QuotaUnit::Requests, draw(1, 9), draw(1, 200)),
            quota(QuotaUnit::Messages, draw(1, 200), draw(1, 300)),
            quota(QuotaUnit::Requests, draw(5, 30), draw(300, 1_000)),
        ];
        let servers = vec![(SERVER, address(1)), (OTHER, address(2))];
        let give_up = Some(Duration::from_secs(3_600));
        let made = Config { servers, give_up, session: Some(S), ..limited(&quotas) };
        let mut receiver = Receiver::new(made.clone()).unwrap();
        let (mut asked, mut edge) = (vec![], 1);
        // The true time, and the receiver's: a receiver's clock begins anew.
        let (mut now, mut origin) = (0, 0);
        for _ in 0..400 {
            now += draw(0, 20_000_000);
            let time =
                |now: u64| Instant::from_nanos(now - origin + 5_000_000_000 * (1 + origin % 3));
            match draw(0, 19) {
                0 => {
                    let Some(mut checkpoint) = receiver.checkpoint() else { continue };
                    let down = draw(0, 100_000_000);
                    let kept = if draw(0, 1) == 0 { down } else { 0 };
                    let kept = Duration::from_nanos(kept);
                    checkpoint.used.iter_mut().for_each(|used| used.age += kept);
                    now += down;
                    origin = now;
                    receiver = Receiver::new(made.clone().resume(checkpoint)).unwrap();
                }
                1 => {
                    receiver.handle(time(now), Event::RemoveServer(SERVER)).unwrap();
                    while receiver.poll_command().is_some() {}
                    let event = Event::AddServer(SERVER, address(3));
                    receiver.handle(time(now), event).unwrap();
                }
                2..=9 => {
                    edge += draw(1, 60);
                    let bytes = data(edge, edge);
                    let _ = receiver.receive(time(now), Source::Line(A), &bytes);
                }
                _ => {
                    if let Some(at) = receiver.poll_timeout() {
                        let at = at.max(time(now));
                        if at.since(time(now)) < Duration::from_millis(100) {
                            now += u64::try_from(at.since(time(now)).as_nanos()).unwrap();
                        }
                    }
                    receiver.handle_timeout(time(now)).unwrap();
                }
            }
            while let Some(command) = receiver.poll_command() {
                if let Command::Request { server, request, .. } = command {
                    asked.push((now, server, request.count));
                }
            }
            assert!(receiver.memory_used() <= Receiver::memory_limit(receiver.config()));
        }
        assert!(asked.len() > 5, "{} requests", asked.len());
        quotas.iter().for_each(|quota| assert_kept(*quota, &asked));
    }
}

#[test]
fn what_a_quota_holds_back_is_asked_for_as_soon_as_there_is_some_left() {
    let window = 63_000;
    let give_up = Some(Duration::from_secs(3_600));
    let mut bench =
        comb(Config { give_up, ..limited(&[quota(QuotaUnit::Requests, 2, window)]) }, 4);
    bench.pass(10);
    assert_eq!(bench.requests.len(), 2);
    bench.answer(11, data(1, 1));
    bench.answer(11, data(3, 3));
    let left = |bench: &Bench| bench.receiver.server(SERVER).unwrap().requests_left;
    assert_eq!((bench.requests.len(), left(&bench)), (2, Some(0)));
    // Up to a 63rd of the window longer.
    bench.pass(window);
    assert_eq!(bench.requests.len(), 2);
    bench.pass(window + 1_000 + 10);
    assert_eq!((bench.requests.len(), left(&bench)), (4, Some(0)));
}

#[test]
fn a_claim_that_a_quota_holds_back_is_asked_about_as_soon_as_there_is_some_left() {
    let window = 63_000;
    let quotas = [quota(QuotaUnit::Requests, 1, window)];
    let mut bench =
        Bench::new(Config { probe_after: Duration::from_secs(3_600), ..limited(&quotas) });
    bench.line(0, A, data(2, 2));
    bench.pass(10);
    bench.answer(11, data(1, 1));
    bench.line(12, A, data(1 << 30, 1 << 30));
    assert_eq!(bench.requests.len(), 1);
    bench.pass(window + 1_000);
    assert_eq!(bench.requests.len(), 2);
    assert_eq!(bench.requests[1].sequence, 1 << 30);
}

#[test]
fn what_a_quota_holds_back_goes_to_another_server() {
    let servers = vec![(SERVER, address(1)), (OTHER, address(2))];
    let config = Config { servers, ..limited(&[quota(QuotaUnit::Requests, 1, 60_000)]) };
    let mut bench = comb(config, 3);
    bench.pass(10);
    assert_eq!(bench.requests.len(), 2);
    for server in [SERVER, OTHER] {
        assert_eq!(bench.receiver.server(server).unwrap().requests, 1);
    }
}

#[test]
fn a_request_is_for_no_more_messages_than_a_quota_leaves() {
    let mut bench = Bench::new(limited(&[quota(QuotaUnit::Messages, 40, 60_000)]));
    (101..104).for_each(|number| bench.line(0, A, data(number, number)));
    bench.pass(10);
    let counts: Vec<_> = bench.requests.iter().map(|request| request.count).collect();
    assert_eq!(counts, [32, 8]);
    assert_eq!(bench.receiver.server(SERVER).unwrap().messages_left, Some(0));
}

#[test]
fn what_is_held_back_for_too_long_is_lost_with_that_reason() {
    let give_up = Some(Duration::from_secs(5));
    let config = limited(&[quota(QuotaUnit::Requests, 1, 600_000)]);
    let mut bench = comb(Config { give_up, ..config }, 5);
    bench.pass(10);
    bench.answer(11, data(1, 1));
    bench.pass(20_000);
    let lost = [3, 5, 7, 9].map(|number| lost(number, number, LossReason::Quota));
    let emitted = |of: &Command| bench.emitted.contains(of);
    assert!(lost.iter().all(emitted), "{:?}", bench.emitted);
    let stats = bench.receiver.stats();
    assert_eq!((stats.lost, stats.lost_by_quota, stats.requests), (4, 4, 1));
}

#[test]
fn what_was_asked_for_in_vain_is_not_lost_by_a_quota() {
    let give_up = Some(Duration::from_millis(40));
    let mut bench =
        comb(Config { give_up, ..limited(&[quota(QuotaUnit::Requests, 1, 60_000)]) }, 5);
    bench.pass(10);
    bench.pass(45);
    let reasons = bench.emitted.iter().filter_map(|command| match command {
        Command::Lost { first, reason, .. } => Some((*first, *reason)),
        _ => None,
    });
    use LossReason::{GivenUp, Quota};
    assert_eq!(reasons.collect::<Vec<_>>(), [(1, GivenUp), (3, Quota), (5, Quota)]);
}

#[test]
fn what_was_used_is_there_without_a_session_too() {
    let quotas = [quota(QuotaUnit::Requests, 3, 63_000)];
    let mut bench = comb(limited(&quotas), 4);
    bench.pass(10);
    let used = bench.receiver.used();
    assert_eq!(used, bench.receiver.checkpoint().unwrap().used);
    let next = Config { used: used.clone(), session: None, ..limited(&quotas) };
    let mut next = Bench::new(next);
    next.pass(5_000_000);
    assert!(next.receiver.checkpoint().is_none());
    assert_eq!(next.receiver.used(), used);
    // The use of a quota counts for one with another window as well.
    let [other] = [quota(QuotaUnit::Requests, 3, 100_000)];
    let other = Bench::new(Config { used, ..limited(&[other]) });
    assert_eq!(other.receiver.server(SERVER).unwrap().requests_left, Some(1));
}

#[test]
fn quotas_that_make_no_sense_are_refused() {
    let made = |config: Config| Receiver::new(config).map(|_| ());
    let one = quota(QuotaUnit::Requests, 1, 1);
    assert!(made(limited(&[one; 4])).is_ok());
    for refused in [vec![one; 5], vec![Quota { most: 0, ..one }]] {
        assert!(matches!(made(limited(&refused)), Err(Error::Config(_))), "{refused:?}");
    }
    let endless = Quota { window: Duration::ZERO, ..one };
    assert!(matches!(made(limited(&[endless])), Err(Error::Config(_))));
    let (unit, window) = (one.unit, one.window);
    let used = QuotaUse { server: ServerId(32), unit, window, count: 1, age: Duration::ZERO };
    let used = Config { used: vec![used], ..limited(&[one]) };
    assert_eq!(made(used), Err(Error::Server(ServerId(32))));
    let longest = Quota { window: Duration::MAX, most: u64::MAX, ..one };
    let mut bench = comb(limited(&[longest, Quota { most: 1, ..longest }]), 3);
    bench.pass(4_000);
    assert_eq!(bench.requests.len(), 1);
}
