//! Streams on paths that lose, duplicate, reorder and corrupt: whole, in order, ended once; and the same seed
//! gives the same datagrams.

use std::cell::Cell;

use gapless_core::Duration;
use gapless_tests::sim::{Bandwidth, Chance, Random, seeds};

use super::book::Entry;
use super::host::Host;
use super::testbed::{Plan, Testbed};
use super::traffic::Manners;

pub(crate) fn lossy(random: &mut Random) -> Plan {
    let loss = Some(Chance::percent(10));
    let mut plan = Plan { loss, clients: random.within(1..=3) as usize, ..Plan::new(random) };
    for recipe in [&mut plan.server, &mut plan.client] {
        recipe.corrupts = Chance::percent(1);
        // One in some ten thousand loses everything for longer than by default.
        recipe.transport.idle_timeout = std::time::Duration::from_secs(120);
    }
    plan
}

fn runs_complete(plan: &Plan, random: &mut Random) -> Testbed {
    let mut testbed = plan.build(random);
    testbed.run_to_the_end();
    testbed.assert_all_arrived();
    testbed.close();
    testbed
}

#[test]
fn streams_both_ways_arrive_whole_whatever_the_network_does() {
    seeds(|random| {
        let plan = lossy(random);
        runs_complete(&plan, random);
    });
}

#[test]
fn the_same_seed_gives_the_same_datagrams_byte_for_byte() {
    seeds(|random| {
        let plan = lossy(random);
        let transcript = |mut random: Random| runs_complete(&plan, &mut random).transcript();
        let first = transcript(random.clone());
        assert_eq!(first, transcript(random.clone()));
        // To be compared between builds.
        println!("{first:x?}");
    });
}

#[test]
fn a_narrow_path_is_shared_by_all_streams() {
    seeds(|random| {
        let bandwidth =
            Bandwidth { bytes_per_second: 200_000, queue: random.within(5000..=50_000) };
        let plan = Plan { bandwidth: Some(bandwidth), ..Plan::new(random) };
        runs_complete(&plan, random);
    });
}

#[test]
fn more_streams_than_the_peer_allows_wait_for_their_turn() {
    let waited = Cell::new(0);
    seeds(|random| {
        let mut plan = lossy(random);
        plan.clients = 1;
        for manners in [&mut plan.asking, &mut plan.serving] {
            *manners = Manners { streams: 10..=40, bytes: 0..=300, ..manners.clone() };
        }
        let testbed = runs_complete(&plan, random);
        let openable = |host: &Host| host.checker.counts.openable;
        waited.set(waited.get() + testbed.hosts().map(openable).sum::<u64>());
    });
    assert!(waited.get() > 0);
}

/// Both sides break streams off, want no more of them, or let them wait, at any point of their lives.
pub(crate) fn moody(plan: &mut Plan) {
    for manners in [&mut plan.asking, &mut plan.serving] {
        manners.streams = 2..=6;
        manners.resets = Chance::percent(40);
        manners.stops = Chance::percent(30);
        manners.pauses = Chance::percent(30);
    }
}

#[test]
fn resets_and_stops_at_any_point_end_both_sides_of_a_stream() {
    let (resets, stops, whole) = (Cell::new(0), Cell::new(0), Cell::new(0));
    seeds(|random| {
        let mut plan = lossy(random);
        moody(&mut plan);
        let mut testbed = plan.build(random);
        testbed.run_to_the_end();
        if testbed.is_stuck() {
            return;
        }
        // A reset is on its way when its sender is done.
        let is_over = |entry: &Entry| entry.reported.is_some() || entry.stopped.is_some();
        testbed.run("readers are notified", |testbed| testbed.book.entries().values().all(is_over));
        for host in testbed.hosts() {
            let counts = host.checker.counts;
            resets.set(resets.get() + counts.resets);
            stops.set(stops.get() + counts.stops);
            whole.set(whole.get() + counts.fins);
        }
        testbed.close();
    });
    assert!(resets.get() > 0 && stops.get() > 0 && whole.get() > 0);
}

#[test]
fn connections_that_close_in_the_middle_of_everything_leave_nothing() {
    let cut = Cell::new(0);
    seeds(|random| {
        let mut plan = lossy(random);
        moody(&mut plan);
        let mut testbed = plan.build(random);
        testbed.pass(random.span(Duration::ZERO..=Duration::from_millis(300)));
        // Those that are not connected yet have nothing to close, and go on.
        testbed.run("all are connected", |testbed| {
            testbed.hosts().all(|host| host.checker.counts.connected > 0)
        });
        testbed.pass(random.span(Duration::ZERO..=Duration::from_millis(100)));
        testbed.close();
        let lost = |host: &Host| host.checker.counts.cut;
        cut.set(cut.get() + testbed.hosts().map(lost).sum::<u64>());
    });
    assert!(cut.get() > 0);
}

#[test]
fn a_peer_that_ends_none_of_its_streams_harms_no_other() {
    seeds(|random| {
        let mut plan = lossy(random);
        plan.clients = 3;
        plan.asking.streams = 0..=2;
        let mut testbed = plan.build(random);
        let greedy = Manners {
            connections: 1,
            streams: 150..=150,
            bytes: 0..=10,
            keeps: Chance::ALWAYS,
            ..plan.asking.clone()
        };
        let greedy = testbed.add_client(&plan, &greedy, random);
        let honest: Vec<_> = testbed.clients.iter().copied().filter(|&id| id != greedy).collect();
        testbed.run("the honest ones are done", |testbed| {
            honest.iter().all(|&id| testbed.is_client_done(id))
        });
        let allowed = plan.server.transport;
        let allowed = allowed.max_bidirectional + allowed.max_unidirectional;
        let opened = testbed.host(greedy).checker.streams() as u64;
        assert!(opened <= u64::from(allowed) + plan.serving.streams.end() * 2, "{opened}");
        testbed.close();
    });
}
