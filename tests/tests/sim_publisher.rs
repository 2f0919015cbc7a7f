//! A publisher and receivers in the simulated network: the two sides of a feed, over bad lines and
//! with what the other side thinks of as hostile.

use gapless_core::publisher::Config;
use gapless_core::rate::Rate;
use gapless_core::receiver::{self, LineId, ServerId};
use gapless_core::{Duration, Instant, Session};
use gapless_tests::alloc::Counting;
use gapless_tests::sim::{
    Chance, Listener, NodeId, Path, Random, Schedule, Station, Way, World, line_address,
    listener_address, seeds, server_address, session,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A publisher, one receiver, and two lines between them.
struct Stage {
    world: World,
    session: Session,
    messages: u64,
    listener: NodeId,
}

impl Stage {
    fn new(random: &mut Random, config: Config, worst: Chance) -> Self {
        let session = session("STATION");
        let messages = random.within(1..=5000);
        let interval = random.span(Duration::from_micros(1)..=Duration::from_millis(2));
        let schedule = Schedule { session, messages, interval };
        let mut world = World::new(random.fork());
        let lines = vec![line_address(0), line_address(1)];
        let server = server_address(0);
        let station = Station::new(config, schedule, random.fork(), server, lines.clone());
        let station = world.add(station, &[server]);

        let receiver = receiver::Config {
            lines: vec![LineId(0), LineId(1)],
            servers: vec![(ServerId(0), server)],
            give_up: Duration::from_secs(30),
            max_attempts: 64,
            seed: random.any(),
            ..receiver::Config::default()
        };
        let way = random.one_of(&[Way::Owned, Way::Pinning, Way::Borrowed]);
        let sources = lines.iter().copied().zip((0..).map(LineId)).collect();
        let address = listener_address();
        let listener = Listener::new(Instant::ZERO, receiver, way, address, sources);
        let listener = world.add(listener, &[lines[0], lines[1], address]);
        for to in lines.into_iter().chain([address]) {
            world.set_path(station, to, listener, Path::lossy(random, worst));
        }
        world.set_path(listener, server, station, Path::lossy(random, worst));
        Self { world, session, messages, listener }
    }

    fn runs_complete(mut self) {
        let Self { session, listener, .. } = self;
        self.world.run(Instant::from_millis(120_000), |world| {
            world.node::<Listener>(listener).ledger().ended(session)
        });
        let listener: &Listener = self.world.node(self.listener);
        let account = &listener.ledger().accounts[&session];
        assert_eq!(account.next, self.messages + 1, "{account:?}");
        assert_eq!((account.delivered, &account.lost[..]), (self.messages, &[][..]));
        assert!(account.ended.is_some(), "{account:?}");
    }
}

#[test]
fn what_a_publisher_sends_over_two_bad_lines_arrives_complete() {
    seeds(|random| {
        let config = Config::new(session("STATION"));
        Stage::new(random, config, Chance::percent(20)).runs_complete();
    });
}

#[test]
fn a_paced_publisher_with_a_small_ring_arrives_complete() {
    seeds(|random| {
        let mut config = Config::new(session("STATION"));
        let transmitter = config.transmitter.as_mut().unwrap();
        transmitter.ring = 2;
        let bytes_per_second = random.within(50_000..=1_000_000);
        transmitter.pace = Some(Rate { bytes_per_second, burst: random.within(0..=5000) });
        transmitter.flush_delay = random.span(Duration::ZERO..=Duration::from_millis(5));
        Stage::new(random, config, Chance::percent(10)).runs_complete();
    });
}

#[test]
fn answers_at_a_low_rate_repair_everything_in_the_end() {
    seeds(|random| {
        let mut config = Config::new(session("STATION"));
        let bytes_per_second = random.within(20_000..=100_000);
        config.retransmitter.address_rate = Rate { bytes_per_second, burst: 3000 };
        Stage::new(random, config, Chance::percent(10)).runs_complete();
    });
}

#[test]
fn small_packets_arrive_complete() {
    seeds(|random| {
        let mut config = Config::new(session("STATION"));
        config.transmitter.as_mut().unwrap().mtu = 80;
        config.retransmitter.mtu = 80;
        Stage::new(random, config, Chance::percent(10)).runs_complete();
    });
}
