//! Draws a swarm: first which kinds of things go wrong, then how badly.

use gapless_core::receiver::{AcceptAnswers, Config, Delivery, OnLoss, Quota, QuotaUnit, Start};
use gapless_core::{Duration, Instant};

use super::{Fault, NEVER_GIVES_UP, Swarm, What, Who};
use crate::sim::path::{Bandwidth, Chance, Path};
use crate::sim::program::{Ending, SessionPlan};
use crate::sim::random::Random;
use crate::sim::server::ServerPlan;
use crate::sim::setup::{Setup, server_address, session};
use crate::sim::world::State;

/// The most messages of a session.
const MOST_MESSAGES: u64 = 1500;

const MICROSECOND: Duration = Duration::from_micros(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// How often each kind of thing exists in a swarm.
const KIND: Chance = Chance::percent(30);

/// Which kinds of things go wrong.
struct Kinds {
    loss: bool,
    bursts: bool,
    duplicates: bool,
    reordering: bool,
    narrow: bool,
    small_mtu: bool,
    partitions: bool,
    one_way: bool,
    stops: bool,
    starves: bool,
}

impl Kinds {
    fn draw(random: &mut Random) -> Self {
        let mut exists = || random.happens(KIND);
        Self {
            loss: exists(),
            bursts: exists(),
            duplicates: exists(),
            reordering: exists(),
            narrow: exists(),
            small_mtu: exists(),
            partitions: exists(),
            one_way: exists(),
            stops: exists(),
            starves: exists(),
        }
    }

    fn path(&self, random: &mut Random) -> Path {
        let up_to = |random: &mut Random, percent| {
            Chance::percent(u32::try_from(random.within(0..=percent)).expect("at most a hundred"))
        };
        let mut path = Path {
            delay: random.span(MICROSECOND * 20..=MILLISECOND * 20),
            jitter: random.span(Duration::ZERO..=MILLISECOND),
            ..Path::default()
        };
        if self.loss {
            path.loss = up_to(random, 40);
        }
        if self.bursts {
            path.burst = up_to(random, 3);
            path.burst_length = random.span(MILLISECOND..=MILLISECOND * 100);
        }
        if self.duplicates {
            path.duplicate = up_to(random, 50);
        }
        if self.reordering {
            path.reorder = up_to(random, 50);
            path.reorder_by = random.span(MICROSECOND * 10..=MILLISECOND * 30);
        }
        if self.narrow && random.happens(Chance::percent(50)) {
            let bytes_per_second = random.within(20_000..=2_000_000);
            let queue = random.within(0..=bytes_per_second / 10);
            path.bandwidth = Some(Bandwidth { bytes_per_second, queue });
        }
        if self.small_mtu && random.happens(Chance::percent(50)) {
            path.mtu = index(random.within(20..=1400));
        }
        path
    }

    /// The faults of nodes between the two times.
    fn faults(
        &self,
        random: &mut Random,
        servers: u8,
        (from, to): (Instant, Instant),
    ) -> Vec<Fault> {
        let mut nodes = vec![Who::Feed, Who::Listener];
        nodes.extend((0..servers).map(Who::Server));
        let mut kinds: Vec<fn(&mut Random, &[Who]) -> What> = Vec::new();
        if self.partitions {
            kinds.push(|random, nodes| {
                let cut = |_: &Who| random.happens(Chance::percent(50));
                What::Partition(nodes.iter().copied().filter(cut).collect())
            });
        }
        if self.one_way {
            kinds.push(|random, nodes| What::OneWay(random.one_of(nodes), random.one_of(nodes)));
        }
        if self.stops {
            kinds.push(|random, nodes| {
                What::Stop(random.one_of(nodes), random.one_of(&[State::Kept, State::Lost]))
            });
        }
        if self.starves {
            kinds.push(|random, nodes| {
                What::Starve(random.one_of(nodes), index(random.within(0..=100_000)))
            });
        }
        if kinds.is_empty() {
            return Vec::new();
        }
        let count = random.within(1..=5);
        let fault = |_| {
            let start = from + random.span(Duration::ZERO..=to.since(from));
            let end = start + random.span(Duration::ZERO..=to.since(start));
            Fault { times: start..end, what: random.one_of(&kinds)(random, &nodes) }
        };
        (0..count).map(fault).collect()
    }
}

impl Swarm {
    /// Draws one.
    pub fn draw(random: &mut Random) -> Self {
        let kinds = Kinds::draw(random);
        let mut setup = Setup::new(random);
        setup.sessions = sessions(random);
        let last = setup.sessions.last().expect("one session at least").begins;
        if random.happens(KIND) {
            setup.joins = Instant::ZERO + random.span(Duration::ZERO..=MILLISECOND * 2000);
        }
        let mends = last.max(setup.joins) + random.span(MILLISECOND..=MILLISECOND * 3000);

        setup = setup.line(kinds.path(random));
        for _ in 0..random.within(0..=2) {
            let path = kinds.path(random);
            let from = Instant::ZERO + random.span(Duration::ZERO..=MILLISECOND * 2000);
            let until = random.one_of(&[Instant::MAX, from + MILLISECOND * 500]);
            setup.lines.push((path, from..until));
        }
        let sound = random.happens(Chance::percent(60));
        for _ in 0..random.within(u64::from(sound)..=3) {
            let plan = if sound { ServerPlan::default() } else { server(random, mends) };
            setup.servers.push((kinds.path(random), kinds.path(random), plan));
        }
        if sound && random.happens(KIND) {
            setup.servers[0].2.answer_limit = random.within(1..=20);
        }
        configure(&mut setup, random);
        let servers = u8::try_from(setup.servers.len()).expect("at most three");
        let faults = kinds.faults(random, servers, (setup.joins, mends));
        let seed = random.any();
        let mut swarm = Self { setup, faults, mends, seed };
        if !swarm.never_gives_up() && random.happens(Chance::percent(50)) {
            swarm.setup.config.quotas = quotas(random);
        }
        swarm
    }
}

fn sessions(random: &mut Random) -> Vec<SessionPlan> {
    let count = random.one_of(&[1, 1, 1, 2, 3]);
    let mut begins = Instant::from_millis(10);
    let mut plans = Vec::new();
    for name in ["MONDAY", "TUESDAY", "WEDNESDAY"].into_iter().take(count) {
        let mut plan = SessionPlan::new(random, session(name));
        plan.begins = begins;
        plan.messages = random.within(1..=MOST_MESSAGES);
        plan.ending = random.one_of(&[Ending::Announced, Ending::Silent]);
        begins += random.span(MILLISECOND * 100..=MILLISECOND * 8000);
        plans.push(plan);
    }
    plans.last_mut().expect("one session at least").ending = Ending::Announced;
    plans
}

/// A server that may lack something, or be silent.
fn server(random: &mut Random, mends: Instant) -> ServerPlan {
    let mut plan = ServerPlan::default();
    if random.happens(KIND) {
        plan.answer_limit = random.within(1..=20);
    }
    if random.happens(KIND) {
        plan.mtu = index(random.within(100..=1400));
    }
    if random.happens(KIND) {
        plan.keeps = random.within(0..=MOST_MESSAGES);
    }
    if random.happens(KIND) {
        let until = random.one_of(&[mends, Instant::MAX]);
        plan.down.push(Instant::ZERO..until);
    }
    if random.happens(KIND) {
        let first = random.within(1..=MOST_MESSAGES);
        plan.lacks.push(first..=first + random.within(0..=100));
    }
    if random.happens(KIND) {
        plan.answers_from = Some(server_address(200));
    }
    plan
}

fn configure(setup: &mut Setup, random: &mut Random) {
    let single = setup.sessions.len() == 1;
    let first = setup.sessions[0].session;
    let config = &mut setup.config;
    config.follow = !single || random.happens(KIND);
    if single && random.happens(KIND) {
        config.session = Some(first);
    }
    if random.happens(KIND) {
        config.start = Start::Live;
    }
    if random.happens(KIND) {
        config.delivery = Delivery::Arrival;
    }
    if random.happens(KIND) {
        config.on_loss = OnLoss::Halt;
    }
    if random.happens(KIND) {
        config.accept_answers = AcceptAnswers::Any;
    }
    if random.happens(KIND) {
        (config.max_held_bytes, config.max_held_packets, config.max_gaps) = (1 << 17, 16, 16);
    }
    if random.happens(Chance::percent(70)) {
        (config.give_up, config.max_attempts) = (Some(NEVER_GIVES_UP), u8::MAX);
    } else {
        config.give_up = Some(random.span(MILLISECOND * 50..=MILLISECOND * 3000));
        config.max_attempts = random.one_of(&[1, 3, 24]);
        config.max_stall = random.one_of(&[None, Some(MILLISECOND * 1500)]);
    }
    if random.happens(KIND) {
        asks(config, random);
    }
    if random.happens(KIND) {
        believes(config, random);
    }
}

/// Quotas that are used up now and then.
fn quotas(random: &mut Random) -> Vec<Quota> {
    let quota = |_| {
        let unit = random.one_of(&[QuotaUnit::Requests, QuotaUnit::Messages]);
        let most = random.within(1..=if unit == QuotaUnit::Requests { 30 } else { 1_000 });
        let window = random.span(MILLISECOND..=MILLISECOND * 5000);
        Quota { unit, most, window }
    };
    (0..2).map(quota).collect()
}

/// How it asks.
fn asks(config: &mut Config, random: &mut Random) {
    config.reorder_packets = random.one_of(&[1, 3, 64]);
    config.reorder_delay = random.span(MICROSECOND * 10..=MILLISECOND * 20);
    config.max_reorder_delay =
        config.reorder_delay + random.span(Duration::ZERO..=MILLISECOND * 20);
    config.line_timeout = random.span(MILLISECOND * 50..=MILLISECOND * 5000);
    config.max_request = random.one_of(&[1, 10, 65_534]);
    config.max_in_flight = random.one_of(&[1, 2, 64]);
    config.min_request_timeout = random.span(MICROSECOND * 100..=MILLISECOND * 20);
    config.initial_request_timeout =
        config.min_request_timeout + random.span(Duration::ZERO..=MILLISECOND * 100);
    config.max_request_timeout =
        config.initial_request_timeout + random.span(Duration::ZERO..=MILLISECOND * 500);
    config.max_backoff = random.span(MILLISECOND * 50..=MILLISECOND * 2000);
    config.probe_after = random.span(MILLISECOND * 100..=MILLISECOND * 5000);
}

/// Draws how much evidence it needs.
fn believes(config: &mut Config, random: &mut Random) {
    config.believe_after = random.one_of(&[1, 2, 8]);
    config.quiet = random.span(MILLISECOND..=MILLISECOND * 500);
    config.max_jump = random.one_of(&[config.max_jump, 1, 50]);
    config.session_grace = random.span(MILLISECOND * 10..=MILLISECOND * 5000);
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("a small number")
}
