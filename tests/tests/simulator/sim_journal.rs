//! Runs of the simulator leave journals, and replaying those does the same again: every digest is
//! equal.

use gapless_core::journal::Replayer;
use gapless_core::publisher::{Config, Publisher};
use gapless_core::receiver::Receiver;
use gapless_tests::sim::{Broadcast, Chance, Plan, Swarm, recorded, seeds, session};

/// Records a run, and replays what each of its nodes left.
fn replays(plan: &impl Plan) {
    let ((), journals) = recorded(|| plan.run());
    assert!(!journals.is_empty());
    for (node, journal) in journals {
        let mut replayer = Replayer::verifying().knowing::<Receiver>().knowing::<Publisher>();
        let bytes = journal.bytes();
        if let Err(failure) = replayer.replay(&bytes[..], &mut ()) {
            panic!("the journal of the {node} of {plan:#?}: {failure:?}");
        }
        let events: u64 = replayer.machines().map(|machine| machine.events).sum();
        assert!(events > 0, "nothing happened to the {node} of {plan:#?}");
    }
}

#[test]
fn a_recorded_swarm_replays_to_the_same_digests() {
    seeds(|random| replays(&Swarm::draw(random)));
}

#[test]
fn a_recorded_publisher_and_its_receiver_replay_to_the_same_digests() {
    seeds(|random| {
        let session = session("STATION");
        let config = Config::new(session);
        let plan = Broadcast::draw(random, session, config, Chance::percent(20));
        replays(&plan.with_faults(random));
    });
}
