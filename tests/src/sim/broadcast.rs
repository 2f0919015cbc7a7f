//! A publisher and a receiver: the two sides of a feed, over bad lines and with what the other side
//! thinks of as hostile.

use std::net::SocketAddr;

use gapless_core::publisher;
use gapless_core::receiver::{Config, LineId, ServerId};
use gapless_core::{Duration, Instant, Session};

use super::listener::{Listener, Way};
use super::path::{Chance, Path};
use super::publisher_node::{PublisherNode, Schedule};
use super::random::Random;
use super::runner::Plan;
use super::setup::{line_address, listener_address, server_address};
use super::swarm::{Fault, What, Who};
use super::trace::Fact;
use super::world::{NodeId, Outbox, State, World};

/// How long a run may take in all.
const PATIENCE: Instant = Instant::from_millis(180_000);

/// A plan: the messages that are published, how, and the faults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broadcast {
    /// How it is published, by a publisher with a session of its own.
    pub config: publisher::Config,
    /// The messages that are published, and when.
    pub schedule: Schedule,
    /// The lines.
    pub lines: Vec<Path>,
    /// The path that requests take, and that of the answers.
    pub requests: (Path, Path),
    /// How the receiver is given datagrams.
    pub way: Way,
    /// The faults of the two.
    pub faults: Vec<Fault>,
    /// From here on every draw of the run follows.
    pub seed: u64,
}

impl Broadcast {
    /// Some thousand messages on two lines, on which up to so many packets are lost.
    pub fn draw(
        random: &mut Random,
        session: Session,
        config: publisher::Config,
        worst: Chance,
    ) -> Self {
        let messages = random.within(1..=5000);
        let interval = random.span(Duration::from_micros(1)..=Duration::from_millis(2));
        Self {
            config,
            schedule: Schedule { session, messages, interval },
            lines: vec![Path::lossy(random, worst), Path::lossy(random, worst)],
            requests: (Path::lossy(random, worst), Path::lossy(random, worst)),
            way: random.one_of(&[Way::Owned, Way::Pinning, Way::Borrowed]),
            faults: Vec::new(),
            seed: random.any(),
        }
    }

    /// With up to four faults within the first seconds.
    #[must_use]
    pub fn with_faults(mut self, random: &mut Random) -> Self {
        let both = [Who::Feed, Who::Listener];
        for _ in 0..random.within(1..=4) {
            let start = Instant::ZERO + random.span(Duration::ZERO..=Duration::from_secs(3));
            let end = start + random.span(Duration::ZERO..=Duration::from_secs(2));
            let state = random.one_of(&[State::Kept, State::Lost]);
            let who = random.one_of(&both);
            let room = usize::try_from(random.within(0..=100_000)).expect("a small number");
            let kinds =
                [What::Partition(vec![who]), What::Stop(who, state), What::Starve(who, room)];
            self.faults.push(Fault { times: start..end, what: random.one_of(&kinds) });
        }
        self
    }

    /// Whether the publisher ever forgets what it sent.
    fn forgets(&self) -> bool {
        let forgets = What::Stop(Who::Feed, State::Lost);
        self.faults.iter().any(|fault| fault.what == forgets)
    }

    /// The world, and the receiver in it.
    fn stage(&self) -> (World, NodeId) {
        let mut random = Random::new(self.seed);
        let mut world = World::new(random.fork());
        let ids = (0..).zip(&self.lines).map(|(line, _)| line);
        let lines: Vec<(SocketAddr, LineId)> =
            ids.map(|line| (line_address(line), LineId(line))).collect();
        let server = server_address(0);
        let to = lines.iter().map(|&(address, _)| address).collect();
        let publisher = PublisherNode::new(
            self.config.clone(),
            self.schedule.clone(),
            random.fork(),
            server,
            to,
        );
        let publisher = world.add(publisher, &[server]);

        let receiver = Config {
            lines: lines.iter().map(|&(_, line)| line).collect(),
            servers: vec![(ServerId(0), server)],
            give_up: Some(Duration::from_secs(30)),
            max_attempts: 64,
            seed: random.any(),
            ..Config::default()
        };
        let address = listener_address();
        let mut addresses: Vec<_> = lines.iter().map(|&(address, _)| address).collect();
        addresses.push(address);
        let listener = Listener::new(Instant::ZERO, receiver, self.way, address, lines.clone());
        let listener = world.add(listener, &addresses);
        for (path, (to, _)) in self.lines.iter().zip(lines) {
            world.set_path(publisher, to, listener, path.clone());
        }
        let (there, back) = self.requests.clone();
        world.set_path(listener, server, publisher, there);
        world.set_path(publisher, address, listener, back);
        for fault in &self.faults {
            fault.schedule(&mut world, |who| if who == Who::Feed { publisher } else { listener });
        }
        (world, listener)
    }
}

impl Plan for Broadcast {
    fn run(&self) {
        let (mut world, listener) = self.stage();
        let Schedule { session, messages, .. } = self.schedule;
        let last = self.faults.iter().map(|fault| fault.times.end).max();
        world.run(last.unwrap_or_default(), |_| false);
        let ended =
            world.run(PATIENCE, |world| world.node::<Listener>(listener).ledger().ended(session));
        world.call(listener, |listener: &mut Listener, now, _: &mut Outbox| {
            listener.trace.record(now, Fact::Over);
        });
        let ledger = world.node::<Listener>(listener).ledger();
        assert!(ended, "not ended: {:?}", ledger.accounts);
        let account = &ledger.accounts[&session];
        assert_eq!(account.next, messages + 1, "{account:?}");
        if !self.forgets() {
            assert_eq!((account.delivered, &account.lost[..]), (messages, &[][..]));
        }
    }

    fn shrinks(&self) -> Vec<Self> {
        let with = |change: &dyn Fn(&mut Self)| {
            let mut simpler = self.clone();
            change(&mut simpler);
            simpler
        };
        let mut simpler = Vec::new();
        if self.lines.len() > 1 {
            simpler.extend(
                (0..self.lines.len()).map(|line| with(&|plan| _ = plan.lines.remove(line))),
            );
        }
        let faults = 0..self.faults.len();
        simpler.extend(faults.map(|fault| with(&|plan| _ = plan.faults.remove(fault))));
        for part in [2, 10] {
            simpler.push(with(&|plan| {
                let messages = &mut plan.schedule.messages;
                *messages = (*messages - *messages / part).max(1);
            }));
        }
        let lines = 0..self.lines.len();
        simpler.extend(lines.map(|line| with(&|plan| plan.lines[line] = Path::default())));
        simpler.push(with(&|plan| plan.requests.0 = Path::default()));
        simpler.push(with(&|plan| plan.requests.1 = Path::default()));
        simpler.push(with(&|plan| plan.way = Way::Owned));
        simpler.retain(|simpler| simpler != self);
        simpler
    }
}
