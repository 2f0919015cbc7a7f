//! The standard plan: whatever goes wrong, in whatever combination, everything holds; and a plan that
//! fails is made small.

use gapless_core::Instant;
use gapless_tests::alloc::Counting;
use gapless_tests::sim::check::Checker;
use gapless_tests::sim::{Fact, Journals, Ledger, Plan, Random, Swarm, fails, plans, shrink};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
#[expect(clippy::redundant_closure, reason = "the closure's type has the name of the test")]
fn everything_holds_in_every_swarm() {
    plans(|random| Swarm::draw(random));
}

/// Never satisfied with a receiver that asks for a message past the tenth.
#[derive(Debug)]
struct NeverAsksFar;

impl Checker for NeverAsksFar {
    fn check(&mut self, _: Instant, fact: &Fact, _: &Ledger) {
        assert!(!matches!(*fact, Fact::Asked { first, .. } if first > 10));
    }
}

/// A swarm that this checker watches.
#[derive(Clone, Debug)]
struct Watched(Swarm);

impl Plan for Watched {
    fn run(&self, _: Option<&mut Journals>) {
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
