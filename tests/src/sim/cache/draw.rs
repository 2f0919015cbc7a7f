//! Draws relays of one feed.

use gapless_core::cache::{self, Limits, ReadUnit, Start};
use gapless_core::{Duration, Instant};

use super::ballast::Ballast;
use super::node::{CachePlan, Keeps, Rounding};
use super::reader::{Pace, ReaderPlan};
use super::relays::{Relay, Relays};
use crate::sim::path::Chance;
use crate::sim::program::Message;
use crate::sim::random::Random;
use crate::sim::swarm::{Fault, Swarm, What, Who};
use crate::sim::world::State;

const MILLISECOND: Duration = Duration::from_millis(1);
/// How often each kind of thing exists.
const KIND: Chance = Chance::percent(30);
const HALF: Chance = Chance::percent(50);

impl Relays {
    /// Draws one to three relays.
    pub fn draw(random: &mut Random) -> Self {
        let first = Swarm::draw(random);
        let (sessions, mends) = (first.setup.sessions.clone(), first.mends);
        let group_size = random.one_of(&[1, 2, 7, 64, 512]);
        let mut swarms = vec![first];
        for _ in 0..random.within(0..=2) {
            let mut swarm = Swarm::draw(random);
            swarm.setup.sessions.clone_from(&sessions);
            swarm.mends = swarm.mends.max(mends);
            swarms.push(swarm);
        }
        let mut relays = Vec::new();
        for mut swarm in swarms {
            let config = &mut swarm.setup.config;
            if sessions.len() > 1 {
                (config.follow, config.session) = (true, None);
            }
            if config.start == gapless_core::receiver::Start::At(1) && random.happens(KIND) {
                let begins = random.within(1..=sessions[0].messages);
                config.start = gapless_core::receiver::Start::At(begins);
            }
            if random.happens(HALF) {
                swarm.faults.push(restart(random, swarm.setup.joins, swarm.mends));
            }
            relays.push(Relay { swarm, cache: CachePlan::draw(random, group_size) });
        }
        let epoch = random.happens(KIND).then(|| random.any());
        Self { sessions, group_size, epoch, relays }
    }
}

/// The receiver stops, and goes on before the network is mended.
fn restart(random: &mut Random, joins: Instant, mends: Instant) -> Fault {
    let start = joins + random.span(Duration::ZERO..=mends.since(joins));
    let pause = random.span(Duration::ZERO..=MILLISECOND * 500);
    let state = random.one_of(&[State::Kept, State::Lost, State::Lost]);
    let times = start..(start + pause).min(mends);
    Fault { times, what: What::Stop(Who::Listener, state) }
}

impl CachePlan {
    /// Draws a cache that groups of this size fit.
    pub fn draw(random: &mut Random, group_size: u32) -> Self {
        let max_bytes =
            random.one_of(&[256 << 10, 256 << 10, 300 << 10, 2 << 20, 64 << 20, 64 << 20]);
        let mut grouping = gapless_core::grouping::Config::new("simulated");
        if random.happens(KIND) {
            let longest = random.one_of(&[Message::MAX_LEN, Message::MAX_LEN, 40]);
            grouping.max_message = longest.try_into().expect("a short message");
        }
        grouping.limits = limits(random, group_size, grouping.max_message);
        let readers = (0..random.within(1..=4)).map(|_| ReaderPlan::draw(random)).collect();
        let ballast = random.happens(HALF).then(|| Ballast::draw(random));
        Self {
            cache: cache::Config::new(max_bytes),
            grouping,
            rounding: random.one_of(&[Rounding::Back, Rounding::Back, Rounding::Up, Rounding::Not]),
            keeps: random.one_of(&[Keeps::Nothing, Keeps::Written, Keeps::All, Keeps::All]),
            readers,
            ballast,
        }
    }
}

fn limits(random: &mut Random, group_size: u32, max_message: u16) -> Limits {
    let mut limits = Limits::default();
    if random.happens(Chance::percent(15)) {
        limits.max_age = random.span(MILLISECOND..=MILLISECOND * 5000);
    }
    if random.happens(Chance::percent(15)) {
        limits.max_groups = random.one_of(&[1, 2, 20]);
    }
    if random.happens(KIND) {
        limits.max_group_frames = group_size;
    }
    if random.happens(KIND) {
        limits.max_group_bytes = u64::from(group_size) * u64::from(max_message);
    }
    limits
}

impl ReaderPlan {
    /// Draws one.
    pub fn draw(random: &mut Random) -> Self {
        let at_once = random.happens(HALF);
        let joins = random.span(Duration::ZERO..=MILLISECOND * 3000);
        let pause = random.span(MILLISECOND..=MILLISECOND * 100);
        let hour = Duration::from_secs(3600);
        let paces = [
            Pace::Eager,
            Pace::Eager,
            Pace::Eager,
            Pace::Every(pause),
            Pace::Every(hour),
            Pace::Never,
        ];
        let first = Start::At { group: 0, frame: 0 };
        let by = random.one_of(&[ReadUnit::Frame, ReadUnit::Chunk, ReadUnit::Run]);
        let most = random.one_of(&[None, Some(0), Some(1000), Some(usize::MAX)]);
        Self {
            joins: if at_once { Duration::ZERO } else { joins },
            start: random.one_of(&[first, first, Start::Oldest, Start::Newest, Start::Live]),
            by,
            positioned: most.filter(|_| by == ReadUnit::Run),
            pace: random.one_of(&paces),
            holds: random.happens(Chance::percent(20)),
            clones_after: random.one_of(&[0, 0, 1, 20]),
        }
    }
}

impl Ballast {
    /// Draws ballast for ten seconds.
    pub fn draw(random: &mut Random) -> Self {
        let (frames, size) =
            random.one_of(&[(200, 100), (10, 5000), (1, 0), (1, 100_000), (2, 300_000)]);
        Self {
            every: random.span(MILLISECOND * 5..=MILLISECOND * 500),
            frames,
            size,
            ends: Instant::from_millis(10_000),
            drops: random.happens(KIND),
        }
    }
}
