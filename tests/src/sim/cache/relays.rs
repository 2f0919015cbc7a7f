//! Several relays of one feed: each receives it for itself, with faults, starts, restarts and limits of
//! its own, and all of them agree on what they hold.

use std::cell::RefCell;
use std::rc::Rc;

use gapless_core::cache::Limits;
use gapless_core::receiver::Start;

use super::law::Holdings;
use super::node::{CacheNode, CachePlan, Keeps, Totals};
use crate::sim::listener::Listener;
use crate::sim::program::SessionPlan;
use crate::sim::runner::Plan;
use crate::sim::swarm::Swarm;
use crate::sim::world::Outbox;

/// A receiver, all that goes wrong around it, and its cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relay {
    /// The receiver and its network; the feed's sessions are those of the plan.
    pub swarm: Swarm,
    /// Its cache; what its numbers mean is told by the plan.
    pub cache: CachePlan,
}

/// Relays of one feed. Each lives in a world of its own: they would not speak to each other, and what
/// a message says depends on nothing but its session and number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Relays {
    /// The program of the feed.
    pub sessions: Vec<SessionPlan>,
    /// Messages in a group.
    pub group_size: u32,
    /// The epoch, if there is one.
    pub epoch: Option<u64>,
    /// The receiver's plan.
    pub relays: Vec<Relay>,
}

impl Relays {
    /// Runs every relay; what each holds in the end, and what happened to it.
    ///
    /// # Panics
    /// When something does not hold.
    #[must_use]
    pub fn play(&self) -> Vec<(Holdings, Totals)> {
        self.relays.iter().map(|relay| self.play_one(relay)).collect()
    }

    fn play_one(&self, relay: &Relay) -> (Holdings, Totals) {
        let mut swarm = relay.swarm.clone();
        swarm.setup.sessions.clone_from(&self.sessions);
        if let Start::At(first) = &mut swarm.setup.config.start {
            // Whichever session it hears first has it.
            let messages = self.sessions.iter().map(|session| session.messages);
            *first = messages.min().map_or(1, |least| least.min(*first));
        }
        let mut plan = relay.cache.clone();
        plan.grouping.group_size = self.group_size;
        plan.grouping.epoch = self.epoch;
        let mut stage = swarm.stage();
        let live = swarm.setup.config.start == Start::Live;
        let node = Rc::new(RefCell::new(CacheNode::new(stage.world.now(), plan, live)));
        let downstream = Box::new(Rc::clone(&node));
        stage.world.call(stage.listener, |listener: &mut Listener, _, _: &mut Outbox| {
            listener.downstream = Some(downstream);
        });
        swarm.play(&mut stage);
        let mut node = node.borrow_mut();
        let holdings = node.finish(stage.world.now());
        (holdings, node.totals)
    }

    /// This plan with a change.
    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut plan = self.clone();
        change(&mut plan);
        plan
    }

    /// Simpler networks of one relay. Sessions are everybody's.
    fn simpler_swarms(&self, index: usize, simpler: &mut Vec<Self>) {
        let mut swarm = self.relays[index].swarm.clone();
        swarm.setup.sessions.clone_from(&self.sessions);
        for swarm in swarm.shrinks() {
            simpler.push(self.with(|plan| {
                plan.sessions.clone_from(&swarm.setup.sessions);
                plan.relays[index].swarm = swarm;
            }));
        }
    }

    fn simpler_caches(&self, index: usize, simpler: &mut Vec<Self>) {
        for reader in 0..self.relays[index].cache.readers.len() {
            simpler.push(self.with(|plan| _ = plan.relays[index].cache.readers.remove(reader)));
        }
        let changes: [fn(&mut CachePlan); 5] = [
            |cache| cache.ballast = None,
            |cache| cache.cache.max_bytes = cache.cache.max_bytes.max(64 << 20),
            |cache| cache.grouping.limits = Limits::default(),
            |cache| cache.keeps = Keeps::Nothing,
            |cache| {
                for reader in &mut cache.readers {
                    (reader.holds, reader.clones_after) = (false, 0);
                }
            },
        ];
        for change in changes {
            simpler.push(self.with(|plan| change(&mut plan.relays[index].cache)));
        }
    }
}

impl Plan for Relays {
    fn run(&self) {
        let played = self.play();
        for (index, (ours, _)) in played.iter().enumerate() {
            for (theirs, _) in &played[..index] {
                ours.assert_agrees(theirs);
            }
        }
    }

    fn shrinks(&self) -> Vec<Self> {
        let mut simpler = Vec::new();
        for index in 0..self.relays.len() {
            if self.relays.len() > 1 {
                simpler.push(self.with(|plan| _ = plan.relays.remove(index)));
            }
        }
        for index in 0..self.relays.len() {
            self.simpler_caches(index, &mut simpler);
        }
        for index in 0..self.relays.len() {
            self.simpler_swarms(index, &mut simpler);
        }
        simpler.retain(|simpler| simpler != self);
        simpler
    }
}
