//! The standard plan: whatever goes wrong, in whatever combination, everything holds; and a plan that
//! fails is made small.

use gapless_core::Instant;
use gapless_tests::sim::check::Checker;
use gapless_tests::sim::{
    Chance, Fact, Ledger, Path, Plan, Random, State, Swarm, What, fails, plans, shrink,
};

#[test]
#[expect(clippy::redundant_closure, reason = "the closure's type has the name of the test")]
fn everything_holds_in_every_swarm() {
    plans(|random| Swarm::draw(random));
}

#[test]
fn every_kind_of_thing_exists_in_some_swarms_and_not_in_most() {
    let swarms: Vec<_> = (0..300).map(|seed| Swarm::draw(&mut Random::new(seed))).collect();
    let share = |kind: &dyn Fn(&Swarm) -> bool| swarms.iter().filter(|swarm| kind(swarm)).count();
    let fault = |kind: fn(&What) -> bool| {
        share(&|swarm| swarm.faults.iter().any(|fault| kind(&fault.what)))
    };
    let path = |kind: fn(&Path) -> bool| {
        share(&|swarm| swarm.setup.lines.iter().any(|(path, _)| kind(path)))
    };
    let kinds = [
        ("partitions", fault(|what| matches!(what, What::Partition(_)))),
        ("cuts in one direction", fault(|what| matches!(what, What::OneWay(..)))),
        ("restarts with state", fault(|what| matches!(what, What::Stop(_, State::Kept)))),
        ("restarts without", fault(|what| matches!(what, What::Stop(_, State::Lost)))),
        ("starved nodes", fault(|what| matches!(what, What::Starve(..)))),
        ("loss", path(|path| path.loss > Chance::NEVER)),
        ("bursts", path(|path| path.burst > Chance::NEVER)),
        ("duplicates", path(|path| path.duplicate > Chance::NEVER)),
        ("reordering", path(|path| path.reorder > Chance::NEVER)),
        ("narrow links", path(|path| path.bandwidth.is_some())),
        ("small MTUs", path(|path| path.mtu < usize::MAX)),
        ("several sessions", share(&|swarm| swarm.setup.sessions.len() > 1)),
        ("no server", share(&|swarm| swarm.setup.servers.is_empty())),
        ("several servers", share(&|swarm| swarm.setup.servers.len() > 1)),
    ];
    for (kind, count) in kinds {
        assert!((15..200).contains(&count), "{kind} in {count} of {}", swarms.len());
    }
}

/// Never satisfied with a receiver that asks for a message past the tenth.
#[derive(Debug)]
struct NeverAsksFar;

impl Checker for NeverAsksFar {
    fn check(&mut self, _: Instant, fact: &Fact, _: &Ledger) {
        assert!(!matches!(*fact, Fact::Requested { first, .. } if first > 10));
    }
}

/// A swarm that this checker watches.
#[derive(Clone, Debug)]
struct Watched(Swarm);

impl Plan for Watched {
    fn run(&self) {
        let mut stage = self.0.stage();
        stage.watch(NeverAsksFar);
        self.0.play(&mut stage);
    }

    fn shrinks(&self) -> Vec<Self> {
        self.0.shrinks().into_iter().map(Self).collect()
    }
}

#[test]
fn a_plan_that_fails_is_shrunk_to_what_it_takes_to_fail() {
    let mut plans = (0..).map(|seed| Watched(Swarm::draw(&mut Random::new(seed))));
    let large = plans.find(|plan| plan.0.faults.len() > 1 && fails(plan)).unwrap();
    let small = shrink(large.clone(), 400);
    assert!(fails(&small), "{small:?}");
    let Watched(Swarm { setup, faults, .. }) = &small;
    assert_eq!((setup.lines.len(), setup.servers.len(), setup.sessions.len()), (1, 1, 1));
    assert!(faults.len() < 2, "{faults:?}");
    assert!(setup.sessions[0].messages < 30, "{setup:?}");
    assert_eq!(format!("{small:?}"), format!("{:?}", shrink(large, 400)), "the same every time");
}
