//! Plans that end with everything delivered, whatever went wrong.

use gapless_core::Instant;

use super::random::Random;
use super::runner::Plan;
use super::setup::Setup;
use super::swarm::Swarm;

/// A setup of which every session arrives whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whole {
    /// The setup, with the faults that last.
    pub setup: Setup,
    /// From here on every draw of the run follows.
    pub seed: u64,
}

impl Whole {
    /// Of this setup, with the draws that come next.
    pub fn new(setup: Setup, random: &mut Random) -> Self {
        Self { setup, seed: random.any() }
    }
}

impl Plan for Whole {
    fn run(&self) {
        let mut stage = self.setup.clone().stage(&mut Random::new(self.seed));
        stage.run_to_the_end();
        stage.assert_complete();
    }

    /// Those of a swarm without faults that can still be whole: some server has everything, or all
    /// of them are there as they were.
    fn shrinks(&self) -> Vec<Self> {
        let Self { setup, seed } = self.clone();
        let swarm = Swarm { setup, faults: Vec::new(), mends: Instant::ZERO, seed };
        let simpler = swarm.shrinks().into_iter();
        let repairable =
            |swarm: &Swarm| swarm.serves_all() || swarm.setup.servers == self.setup.servers;
        let simpler =
            simpler.filter(repairable).map(|Swarm { setup, seed, .. }| Self { setup, seed });
        simpler.filter(|simpler| simpler != self).collect()
    }
}
