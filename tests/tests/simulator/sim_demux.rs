//! Demultiplexers in virtual time: whatever many peers do, what waits stays within its bounds,
//! honest streams are dispatched meanwhile, and every refusal has its cause and its time.

use std::cell::Cell;

use gapless_core::Machine;
use gapless_core::demux::{Config, Demux, Pattern, Registrant};
use gapless_core::journal::Replayer;
use gapless_core::{Duration, Instant};
use gapless_tests::sim::demux::{AcceptorPlan, Load, Sends, Totals};
use gapless_tests::sim::{Chance, Plan, Random, plans, recorded, seeds};

const SECOND: Duration = Duration::from_secs(1);

#[test]
#[expect(clippy::redundant_closure, reason = "the closure's type has the name of the test")]
fn every_load_gets_what_it_asks_for_or_a_cause() {
    plans(|random| Load::draw(random));
}

#[test]
fn every_kind_of_thing_happens_to_some_loads() {
    let played: Vec<_> = (0..200).map(|seed| Load::draw(&mut Random::new(seed)).play()).collect();
    let share =
        |kind: &dyn Fn(&Totals) -> u64| played.iter().filter(|totals| kind(totals) > 0).count();
    let kinds = [
        ("streams dispatched", share(&|totals| totals.stats.dispatched)),
        ("streams read to their end", share(&|totals| totals.ended)),
        ("streams parked", share(&|totals| totals.stats.parked)),
        ("streams held", share(&|totals| totals.stats.held)),
        ("nobody to take them", share(&|totals| totals.stats.refused.no_acceptor)),
        ("deadlines", share(&|totals| totals.stats.refused.deadline)),
        ("too many", share(&|totals| totals.stats.refused.too_many)),
        ("too many of a peer", share(&|totals| totals.stats.refused.too_many_of_peer)),
        ("reserved tags", share(&|totals| totals.stats.refused.reserved)),
        ("resets", share(&|totals| totals.stats.forgotten.reset)),
        ("peers that went", share(&|totals| totals.stats.forgotten.peer_gone)),
        ("hand-offs that failed", share(&|totals| totals.stats.hand_off_failed)),
        ("strays", share(&|totals| totals.stats.stray)),
    ];
    for (kind, loads) in kinds {
        assert!(loads > 4, "{kind}: in {loads} of {}", played.len());
    }
}

#[test]
fn a_recorded_demultiplexer_replays_to_the_same_digests() {
    let busy = Cell::new(0_u64);
    seeds(|random| {
        let plan = Load::draw(random);
        let ((), journals) = recorded(|| plan.run());
        for (node, journal) in journals {
            let mut replayer = Replayer::verifying().knowing::<Demux>();
            let bytes = journal.bytes();
            if let Err(failure) = replayer.replay(&bytes[..], &mut ()) {
                panic!("the journal of the {node} of {plan:#?}: {failure:?}");
            }
            busy.set(busy.get() + replayer.machines().map(|machine| machine.events).sum::<u64>());
        }
    });
    assert!(busy.get() > 0);
}

/// Somebody who takes `honest` and `slow` all the time.
fn acceptor() -> AcceptorPlan {
    AcceptorPlan {
        takes: vec![Pattern::Exact(b"honest"), Pattern::Prefix(b"slow")],
        by: Registrant::Application,
        there: Instant::ZERO..Instant::MAX,
        pauses: Vec::new(),
        fails: Chance::NEVER,
    }
}

/// A tag of 72 bytes: a byte each 100 ms takes more than the five seconds that it may.
const SLOW: &str = "slow, and slower, and slower still, until nobody waits for it any longer";

/// Ten thousand peers dribble for twenty seconds, half of them stop after a few bytes; three hundred honest
/// ones come meanwhile, and send their preambles so.
fn ten_thousand_dribblers(config: Config, first: Option<usize>) -> Totals {
    let second = |second| Instant::ZERO + SECOND * second;
    let dribbling = Sends::dribbling(5_000, second(0)..second(20), SLOW);
    let stopping = Sends { stops_after: Some(20), ..dribbling.clone() };
    let honest = Sends { first, ..Sends::honest(300, second(1)..second(20), "honest") };
    let sends = vec![dribbling, stopping, honest];
    Load { config, acceptors: vec![acceptor()], sends, seed: 5 }.play()
}

#[test]
fn dribblers_take_no_more_than_the_places_there_are_and_honest_streams_go_by() {
    let config = Config::default();
    let totals = ten_thousand_dribblers(config.clone(), None);
    let refused = totals.stats.refused;
    assert_eq!((totals.stats.dispatched, totals.ended), (300, 300));
    assert_eq!(totals.most_pending, config.max_pending, "all places are taken");
    assert!(totals.most_bytes <= Demux::memory_limit(&config));
    assert!(refused.deadline >= 3 * 1024, "{refused:?}");
    assert_eq!(refused.total(), 10_000);
    assert_eq!(refused.total(), refused.deadline + refused.too_many);
}

#[test]
fn with_places_for_all_every_dribbler_is_refused_at_its_deadline_and_no_honest_stream_is() {
    let config = Config { max_pending: 4_096, ..Config::default() };
    let totals = ten_thousand_dribblers(config, Some(3));
    assert_eq!((totals.stats.dispatched, totals.ended), (300, 300));
    assert_eq!(totals.stats.refused.deadline, 10_000);
    assert_eq!(totals.stats.refused.total(), 10_000);
    assert!(totals.most_pending > 2_000, "{totals:?}");
}

#[test]
fn a_flood_of_one_peer_takes_its_own_places_and_nobody_elses() {
    let second = |second| Instant::ZERO + SECOND * second;
    let flood = Sends {
        streams: 5_000,
        stops_after: Some(1),
        ..Sends::dribbling(1, second(1)..second(1), SLOW)
    };
    let honest = Sends { first: Some(3), ..Sends::honest(200, second(0)..second(4), "honest") };
    let config = Config::default();
    let of_peer = config.max_pending_per_peer as u64;
    let plan = Load { config, acceptors: vec![acceptor()], sends: vec![flood, honest], seed: 6 };
    let totals = plan.play();
    assert_eq!((totals.stats.dispatched, totals.ended), (200, 200));
    assert_eq!(totals.stats.refused.deadline, of_peer);
    assert_eq!(totals.stats.refused.too_many_of_peer, 5_000 - of_peer);
}

#[test]
fn streams_for_a_paused_acceptor_are_held_in_bounds_and_read_on_when_it_resumes() {
    let second = |second| Instant::ZERO + SECOND * second;
    let paused = AcceptorPlan { pauses: vec![second(1)..second(5)], ..acceptor() };
    let honest = Sends::honest(1_000, second(0)..second(10), "honest");
    let config = Config { max_held_per_acceptor: 100, ..Config::default() };
    let totals = Load { config, acceptors: vec![paused], sends: vec![honest], seed: 7 }.play();
    let stats = totals.stats;
    assert_eq!((stats.held, totals.most_held), (100, 100));
    assert_eq!(stats.dispatched, totals.ended);
    assert_eq!(stats.dispatched + stats.refused.too_many, 1_000);
    assert!(stats.refused.too_many > 100, "{stats:?}");
}
