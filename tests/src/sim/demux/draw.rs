//! Draws loads.

use std::ops::Range;

use gapless_core::demux::{Config, Pattern, Registrant};
use gapless_core::{Duration, Instant};

use super::load::{AcceptorPlan, Load, Sends};
use crate::sim::path::Chance;
use crate::sim::random::Random;

const MILLISECOND: Duration = Duration::from_millis(1);
/// How often each kind of thing exists.
const KIND: Chance = Chance::percent(30);
/// When the last streams are opened.
const LAST: Instant = Instant::from_millis(10_000);
/// The tags that peers ask for, and those that there may be nobody for.
const TAGS: [&str; 7] =
    ["chat", "chat/1", "files", "files/a/rather/long/path/to/it", "x", "gapless:feed", "gapless"];

impl Load {
    /// Draws one to four kinds of peers, and as many acceptors.
    pub fn draw(random: &mut Random) -> Self {
        let acceptors = (0..random.within(1..=4)).map(|_| AcceptorPlan::draw(random)).collect();
        let sends = (0..random.within(1..=4)).map(|_| Sends::draw(random)).collect();
        Self { config: config(random), acceptors, sends, seed: random.any() }
    }
}

fn config(random: &mut Random) -> Config {
    let mut config = Config::default();
    config.max_pending = random.one_of(&[config.max_pending, 1, 10, 50]);
    config.max_pending_per_peer = random.one_of(&[config.max_pending_per_peer, 1, 3]);
    config.preamble_timeout = random.span(MILLISECOND * 50..=MILLISECOND * 6000);
    if random.happens(KIND) {
        config.hold = random.span(MILLISECOND..=MILLISECOND * 3000);
    }
    config.max_held = random.one_of(&[config.max_held, 0, 2, 20]);
    config.max_held_per_acceptor = random.one_of(&[config.max_held_per_acceptor, 1, 5]);
    config.max_held_bytes = random.one_of(&[config.max_held_bytes, 0, 500]);
    config
}

fn times(random: &mut Random) -> Range<Instant> {
    let start = Instant::ZERO + random.span(Duration::ZERO..=LAST.since(Instant::ZERO));
    start..start + random.span(MILLISECOND..=MILLISECOND * 5000)
}

impl AcceptorPlan {
    /// Draws one; most are there all the time.
    pub fn draw(random: &mut Random) -> Self {
        let takes = |random: &mut Random| {
            let tag = random.one_of(&TAGS).as_bytes();
            let prefix = &tag[..usize::try_from(random.within(0..=5)).unwrap_or(0).min(tag.len())];
            if random.happens(KIND) { Pattern::Prefix(prefix) } else { Pattern::Exact(tag) }
        };
        let protocol = random.happens(KIND);
        let comes_and_goes = random.happens(KIND);
        let there = times(random);
        Self {
            takes: (0..random.within(1..=4)).map(|_| takes(random)).collect(),
            by: if protocol { Registrant::Protocol } else { Registrant::Application },
            there: if comes_and_goes { there } else { Instant::ZERO..Instant::MAX },
            pauses: (0..random.within(0..=2)).map(|_| times(random)).collect(),
            fails: random.one_of(&[Chance::NEVER, Chance::NEVER, Chance::percent(10)]),
        }
    }
}

impl Sends {
    /// Draws some peers: a few that open many streams, or many that open a few.
    pub fn draw(random: &mut Random) -> Self {
        let opens = times(random);
        let few = |random: &mut Random, most| u32::try_from(random.within(1..=most)).unwrap_or(1);
        let floods = random.happens(KIND);
        let (peers, streams) =
            if floods { (few(random, 2), few(random, 100)) } else { (few(random, 60), 1) };
        let tags = (0..random.within(1..=3)).map(|_| random.one_of(&TAGS)).collect();
        Self {
            peers,
            streams,
            opens,
            tags,
            payload: random.one_of(&[0, 1, 100, 2000]),
            first: random.one_of(&[None, None, Some(1), Some(5), Some(0)]),
            pieces: random.one_of(&[1, 1, 7, 500]),
            every: random.span(Duration::ZERO..=MILLISECOND * 400),
            stops_after: random.one_of(&[None, None, None, Some(1), Some(4)]),
            resets: random.one_of(&[Chance::NEVER, Chance::NEVER, Chance::percent(2)]),
            leaves: random.one_of(&[Chance::NEVER, Chance::NEVER, Chance::percent(1)]),
        }
    }
}
