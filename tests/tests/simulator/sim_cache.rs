//! Caches that receivers fill: whatever goes wrong before them, however little memory there is, and
//! however slowly they are read, every reader gets the feed's messages in order or is told what it does
//! not get, and relays of one feed agree.

use std::cell::Cell;

use gapless_core::cache::Cache;
use gapless_core::journal::Replayer;
use gapless_core::receiver::Receiver;
use gapless_tests::sim::cache::{Relays, Totals};
use gapless_tests::sim::{Plan, Random, plans, recorded, seeds};

#[test]
#[expect(clippy::redundant_closure, reason = "the closure's type has the name of the test")]
fn relays_of_one_feed_agree_and_their_readers_miss_nothing_silently() {
    plans(|random| Relays::draw(random));
}

#[test]
fn every_kind_of_thing_happens_to_some_caches() {
    let played = (0..40).flat_map(|seed| Relays::draw(&mut Random::new(seed)).play());
    let (held, totals): (Vec<_>, Vec<_>) =
        played.map(|(holdings, totals)| (holdings.held() > 0, totals)).unzip();
    let share =
        |kind: &dyn Fn(&Totals) -> u64| totals.iter().filter(|totals| kind(totals) > 0).count();
    let kinds = [
        ("frames held in the end", held.iter().filter(|&&held| held).count()),
        ("messages published", share(&|totals| totals.published)),
        ("messages read", share(&|totals| totals.read)),
        ("readers notified of evictions", share(&|totals| totals.evicted)),
        ("readers at the end of their track", share(&|totals| totals.ended)),
        ("missing frames filled", share(&|totals| totals.filled)),
        ("messages that came again", share(&|totals| totals.same)),
        ("groups too large for memory", share(&|totals| totals.too_large)),
    ];
    for (kind, caches) in kinds {
        assert!(caches > 2, "{kind}: in {caches} of {}", totals.len());
    }
}

#[test]
fn two_relays_hold_thousands_of_frames_in_common() {
    let mut both = 0;
    for seed in 0..40 {
        let played = Relays::draw(&mut Random::new(seed)).play();
        for (index, (ours, _)) in played.iter().enumerate() {
            both +=
                played[..index].iter().map(|(theirs, _)| ours.assert_agrees(theirs)).sum::<usize>();
        }
    }
    assert!(both > 1000, "{both} frames were compared");
}

#[test]
fn a_recorded_cache_replays_to_the_same_digests() {
    // A relay that is stopped early may have nothing to tell; most have.
    let busy = Cell::new(0_u64);
    seeds(|random| {
        let plan = Relays::draw(random);
        let ((), journals) = recorded(|| plan.run());
        for (node, journal) in journals {
            let mut replayer = Replayer::verifying().knowing::<Receiver>().knowing::<Cache>();
            let bytes = journal.bytes();
            if let Err(failure) = replayer.replay(&bytes[..], &mut ()) {
                panic!("the journal of the {node} of {plan:#?}: {failure:?}");
            }
            let events: u64 = replayer.machines().map(|machine| machine.events).sum();
            busy.set(busy.get() + u64::from(events > 0));
        }
    });
    assert!(busy.get() > 0);
}
