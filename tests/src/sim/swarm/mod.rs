//! The standard plan: a swarm draws which kinds of faults there are at all, how many lines, servers
//! and sessions, and which configuration, so that rare combinations come up. It is a value, so that
//! what fails can be made smaller.
//!
//! A million of them, in half an hour or so:
//! `GAPLESS_SEEDS=1000000 cargo test --release -p gapless-tests --test simulator sim_swarm`; of every plan:
//! `GAPLESS_SEEDS=1000000 .ci/soak simulator`.

mod draw;
mod fault;
mod shrink;

pub use fault::{Fault, What, Who};

use gapless_core::receiver::{AcceptAnswers, Config};
use gapless_core::{Duration, Instant};

use super::check::Progress;
use super::path::Path;
use super::random::Random;
use super::runner::Plan;
use super::server::ServerPlan;
use super::setup::{Setup, Stage};
use super::trace::Fact;
use super::world::State;

/// From here on a receiver gives up nothing within a run.
const NEVER_GIVES_UP: Duration = Duration::from_secs(600);

/// A feed, servers and a receiver, and all that goes wrong until it is mended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Swarm {
    /// The setup, with how bad the paths are.
    pub setup: Setup,
    /// The faults of nodes.
    pub faults: Vec<Fault>,
    /// When paths are mended; faults are over by then.
    pub mends: Instant,
    /// From here on every draw of the run follows.
    pub seed: u64,
}

impl Swarm {
    /// The network at its beginning, with all that will happen to it.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let mut stage = self.setup.clone().stage(&mut Random::new(self.seed));
        let Stage { world, feed, listener, servers, .. } = &mut stage;
        for fault in &self.faults {
            fault.schedule(world, |who| match who {
                Who::Feed => *feed,
                Who::Listener => *listener,
                Who::Server(server) => servers[usize::from(server)],
            });
        }
        stage
    }

    /// Runs to the end of the last session.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn play(&self, stage: &mut Stage) {
        if self.progresses() {
            stage.watch(Progress::step_by_step(self.patience()));
        }
        stage.world.run(self.mends, |_| false);
        stage.mend();
        let (last, end) = stage.program.sessions().last().expect("one session at least");
        if !self.serves_all() && self.never_gives_up() {
            // A message that nobody has is waited for all the time.
            stage.world.run(self.mends + Duration::from_secs(10), |_| false);
            return stage.record(Fact::Over);
        }
        stage.run_until_ended(&[last]);
        if self.serves_all() && self.is_patient() {
            stage.assert_complete_session(last, end);
        }
    }

    /// Whether the receiver gives up nothing, however long it waits.
    fn never_gives_up(&self) -> bool {
        let Config { give_up, max_attempts, max_stall, .. } = self.setup.config;
        give_up.is_some_and(|after| after >= NEVER_GIVES_UP)
            && max_attempts == u8::MAX
            && max_stall.is_none()
    }

    /// Nor for want of room, where a server leaves two requests in a row unanswered.
    fn is_patient(&self) -> bool {
        let most = Config::default().max_held_packets;
        self.setup.config.max_held_packets == most && self.never_gives_up()
    }

    /// Whether a server always has all of the last session.
    pub(super) fn serves_all(&self) -> bool {
        let forgets = |server| {
            let forgets = What::Stop(Who::Server(server), State::Lost);
            self.faults.iter().any(|fault| fault.what == forgets)
        };
        let any = self.setup.config.accept_answers == AcceptAnswers::Any;
        let serves = |(server, (_, _, plan)): (u8, &(Path, Path, ServerPlan))| {
            let has_all = plan.keeps == u64::MAX && plan.lacks.is_empty();
            let heard = plan.down.is_empty() && (any || plan.answers_from.is_none());
            has_all && heard && !forgets(server)
        };
        (0..).zip(&self.setup.servers).any(serves)
    }

    /// Whether everything known must be settled soon after the network is mended: there is one
    /// session, no number waits to be confirmed, and every server can answer.
    fn progresses(&self) -> bool {
        let believes = self.setup.config.max_jump == Config::default().max_jump;
        let all_serve = self.setup.servers.iter().all(|(_, _, plan)| {
            *plan == ServerPlan { answer_limit: plan.answer_limit, ..ServerPlan::default() }
        });
        let single = self.setup.sessions.len() == 1;
        single && believes && all_serve && self.serves_all() && self.is_patient()
    }

    /// Twice the capped backoff and a round trip; the delays before something is asked for, and
    /// before a request that was lost is found to be.
    fn patience(&self) -> Duration {
        let Config { max_backoff, max_reorder_delay, max_request_timeout, .. } = self.setup.config;
        let one_way = |path: &Path| path.delay + path.jitter;
        let round_trips = self.setup.servers.iter().map(|(a, b, _)| one_way(a) + one_way(b));
        let round_trip = round_trips.max().unwrap_or_default();
        max_backoff * 2 + round_trip + max_reorder_delay + max_request_timeout
    }
}

impl Plan for Swarm {
    fn run(&self) {
        let mut stage = self.stage();
        self.play(&mut stage);
    }

    fn shrinks(&self) -> Vec<Self> {
        shrink::candidates(self)
    }
}
