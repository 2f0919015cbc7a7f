//! A load as a value: who opens streams and how, and who takes them.

use std::ops::Range;

use gapless_core::demux::{Config, Pattern, Registrant, Stats};
use gapless_core::{Duration, Instant};

use super::driver::DemuxDriver;
use crate::sim::path::Chance;
use crate::sim::random::Random;
use crate::sim::runner::Plan;

/// Somebody who takes streams.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AcceptorPlan {
    /// The patterns that it registers when it comes.
    pub takes: Vec<Pattern<'static>>,
    /// On whose behalf.
    pub by: Registrant,
    /// From when to when it is there.
    pub there: Range<Instant>,
    /// When it pauses.
    pub pauses: Vec<Range<Instant>>,
    /// How often it cannot be handed a stream.
    pub fails: Chance,
}

/// Peers that open streams, all in the same way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sends {
    /// How many peers.
    pub peers: u32,
    /// How many streams each opens, all at once.
    pub streams: u32,
    /// When they open them: each peer at some time in between.
    pub opens: Range<Instant>,
    /// One of these tags each.
    pub tags: Vec<&'static str>,
    /// Bytes of payload at most.
    pub payload: usize,
    /// The bytes of the first piece; `None` for the whole preamble, and what another piece has.
    pub first: Option<usize>,
    /// The bytes of the others.
    pub pieces: usize,
    /// The time between pieces.
    pub every: Duration,
    /// After so many bytes nothing more comes.
    pub stops_after: Option<usize>,
    /// How often a stream is reset after a piece.
    pub resets: Chance,
    /// How often the peer goes after a piece.
    pub leaves: Chance,
}

impl Sends {
    /// Peers that do as they should: the preamble and some payload at once, the rest in some pieces.
    #[must_use]
    pub fn honest(peers: u32, opens: Range<Instant>, tag: &'static str) -> Self {
        Self {
            peers,
            streams: 1,
            opens,
            tags: vec![tag],
            payload: 300,
            first: None,
            pieces: 100,
            every: Duration::from_millis(20),
            stops_after: None,
            resets: Chance::NEVER,
            leaves: Chance::NEVER,
        }
    }

    /// Peers that send their preambles a byte at a time.
    #[must_use]
    pub fn dribbling(peers: u32, opens: Range<Instant>, tag: &'static str) -> Self {
        let every = Duration::from_millis(100);
        Self { first: Some(1), pieces: 1, every, payload: 0, ..Self::honest(peers, opens, tag) }
    }
}

/// A demultiplexer, and who comes to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Load {
    /// How it is configured.
    pub config: Config,
    /// The acceptors.
    pub acceptors: Vec<AcceptorPlan>,
    /// The peers that open streams.
    pub sends: Vec<Sends>,
    /// Decides what the others leave open.
    pub seed: u64,
}

/// Statistics of a load.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Totals {
    /// The statistics of the demultiplexer.
    pub stats: Stats,
    /// The most streams that were parked.
    pub most_pending: usize,
    /// The most streams that were held.
    pub most_held: usize,
    /// The most bytes that the demultiplexer reported.
    pub most_bytes: usize,
    /// Streams read to their end by their acceptors.
    pub ended: u64,
}

impl Load {
    /// Plays the load, until nothing happens any more.
    ///
    /// # Panics
    /// When something does not hold.
    #[must_use]
    pub fn play(&self) -> Totals {
        let mut driver = DemuxDriver::new(self.config.clone(), Random::new(self.seed));
        for acceptor in &self.acceptors {
            driver.expect_acceptor(acceptor.clone());
        }
        for sends in &self.sends {
            driver.expect_peers(sends);
        }
        driver.run()
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut plan = self.clone();
        change(&mut plan);
        plan
    }

    fn simpler_peers(&self, index: usize, simpler: &mut Vec<Self>) {
        let changes: [fn(&mut Sends); 9] = [
            |sends| sends.peers = sends.peers.div_ceil(2),
            |sends| sends.streams = sends.streams.div_ceil(2),
            |sends| sends.tags.truncate(1),
            |sends| sends.payload = 0,
            |sends| sends.stops_after = None,
            |sends| sends.first = None,
            |sends| sends.pieces = sends.pieces.max(1000),
            |sends| sends.resets = Chance::NEVER,
            |sends| sends.leaves = Chance::NEVER,
        ];
        for change in changes {
            simpler.push(self.with(|plan| change(&mut plan.sends[index])));
        }
    }

    fn simpler_acceptors(&self, index: usize, simpler: &mut Vec<Self>) {
        let changes: [fn(&mut AcceptorPlan); 4] = [
            |acceptor| acceptor.takes.truncate(1),
            |acceptor| _ = acceptor.pauses.pop(),
            |acceptor| acceptor.fails = Chance::NEVER,
            |acceptor| acceptor.there.end = Instant::MAX,
        ];
        for change in changes {
            simpler.push(self.with(|plan| change(&mut plan.acceptors[index])));
        }
    }
}

impl Plan for Load {
    fn run(&self) {
        _ = self.play();
    }

    fn shrinks(&self) -> Vec<Self> {
        let mut simpler = Vec::new();
        for index in 0..self.sends.len() {
            simpler.push(self.with(|plan| _ = plan.sends.remove(index)));
        }
        for index in 0..self.acceptors.len() {
            simpler.push(self.with(|plan| _ = plan.acceptors.remove(index)));
        }
        for index in 0..self.sends.len() {
            self.simpler_peers(index, &mut simpler);
        }
        for index in 0..self.acceptors.len() {
            self.simpler_acceptors(index, &mut simpler);
        }
        simpler.retain(|simpler| simpler != self);
        simpler
    }
}
