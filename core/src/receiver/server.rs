//! What is known of each re-request server, and what it was asked.
//!
//! A slot of a server's window is freed by a useful answer, or when the request times out, and by
//! nothing else. So there are never more requests than useful answers and one window a timeout.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::config::Config;
use super::event::ServerId;
use super::stats::ServerStats;
use crate::wire::mold::MAX_COUNT;
use crate::{Duration, Instant, Session};

/// The answer size and the window of a server that was never asked.
const FIRST_ANSWER_SIZE: u16 = 32;
const FIRST_WINDOW: u8 = 2;
/// So many whole answers in a row let the answer size grow again after it was cut.
const GROW_AFTER: u8 = 8;

/// So many rounds of silence in a row, and nothing is expected of a server any more where somebody waits
/// for room.
const IN_VAIN: u32 = 2;

/// A request under way, or one that no longer matters but still holds its slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) server: ServerId,
    pub(super) session: Session,
    pub(super) first: u64,
    pub(super) last: u64,
    sent: Instant,
    deadline: Instant,
    /// Nothing is asked for any more; the slot is kept until the deadline.
    pub(super) idle: bool,
    pub(super) purpose: Purpose,
}

impl Asked {
    pub(super) fn is_probe(&self) -> bool {
        self.purpose == Purpose::Probe
    }
}

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// A missing range that nobody was asked for before: the answer measures the round trip.
    First,
    /// A missing range once more: the answer may be to an earlier request.
    Again,
    /// What may not exist: silence says nothing about the server.
    Probe,
}

/// How a request ended that was not answered in time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unanswered {
    pub(super) asked: Asked,
    /// The server answered others since it was sent, or just before.
    pub(super) answers_others: bool,
}

/// A re-request server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    pub(super) id: ServerId,
    pub(super) address: SocketAddr,
    pub(super) stats: ServerStats,
    /// The request timeout, as measured; silence doubles it until there is an answer again.
    timeout: Duration,
    /// How often it is doubled for want of a measured round trip.
    doubled: u32,
    variance: Duration,
    /// When the window was last halved.
    halved_at: Instant,
    /// When it last answered, or was last silent.
    answered: Option<Instant>,
    silent_since: Instant,
    /// Rounds of silence in a row.
    silent: u32,
    /// Not asked before.
    rest_until: Instant,
    /// The largest answer, whole answers in a row, and whether an answer was ever cut short.
    largest: u16,
    whole: u8,
    cut: bool,
}

impl Server {
    fn new(id: ServerId, address: SocketAddr, config: &Config) -> Self {
        let answer_size = FIRST_ANSWER_SIZE.min(config.max_request);
        let window = FIRST_WINDOW.min(config.max_in_flight);
        Self {
            id,
            address,
            stats: ServerStats { answer_size, window, ..ServerStats::default() },
            timeout: config.initial_request_timeout,
            doubled: 0,
            variance: Duration::ZERO,
            halved_at: Instant::ZERO,
            answered: None,
            silent_since: Instant::ZERO,
            silent: 0,
            rest_until: Instant::ZERO,
            largest: 0,
            whole: 0,
            cut: false,
        }
    }

    /// Whether it may be sent a further request.
    fn is_free(&self, now: Instant) -> bool {
        // A silent server is sounded with one request at a time.
        let window = if self.silent > 0 { 1 } else { self.stats.window };
        self.stats.in_flight < window && self.rest_until <= now
    }

    /// Learns from an answer of `carried` messages to a request for `asked`.
    fn learn_size(&mut self, carried: u64, asked: u64, max_request: u16) {
        let carried = u16::try_from(carried).unwrap_or(MAX_COUNT).clamp(1, MAX_COUNT);
        self.largest = self.largest.max(carried);
        let size = &mut self.stats.answer_size;
        if u64::from(carried) < asked {
            *size = carried;
            self.cut = true;
            self.whole = 0;
        } else if asked >= u64::from(*size) {
            self.whole += 1;
            if !self.cut {
                *size = size.saturating_mul(2);
                self.whole = 0;
            } else if *size < self.largest {
                *size = size.saturating_mul(2).min(self.largest);
                self.whole = 0;
            } else if self.whole >= GROW_AFTER {
                *size = size.saturating_add((*size / 8).max(1));
                self.whole = 0;
            }
        }
        *size = (*size).clamp(1, max_request.min(MAX_COUNT));
    }

    /// Learns from a measured round trip (RFC 6298 § 2, with the bounds of the configuration, and with
    /// half a round trip to spare where they hardly vary).
    fn learn_round_trip(&mut self, sample: Duration, config: &Config) {
        let smoothed = &mut self.stats.round_trip;
        if *smoothed == Duration::ZERO {
            *smoothed = sample;
            self.variance = sample / 2;
        } else {
            let deviation = smoothed.abs_diff(sample);
            self.variance = (self.variance.saturating_mul(3).saturating_add(deviation)) / 4;
            *smoothed = (smoothed.saturating_mul(7).saturating_add(sample)) / 8;
        }
        let spare = self.variance.saturating_mul(4).max(*smoothed / 2);
        let timeout = smoothed.saturating_add(spare);
        self.timeout = timeout.max(config.min_request_timeout).min(config.max_request_timeout);
        self.doubled = 0;
    }

    /// How long the next request waits for its answer: doubled by each round of silence, so that a
    /// round trip that has grown is found. Until one is measured an answer does not undo that: where
    /// all are longer than the first timeout, none would ever be (RFC 6298 § 5).
    fn patience(&self, config: &Config) -> Duration {
        let doubled = self.timeout.saturating_mul(1 << self.silent.max(self.doubled).min(16));
        doubled.min(config.max_request_timeout)
    }

    /// The rest after so many times in vain: doubled by each, at most eight timeouts and
    /// `max_backoff`.
    fn backoff(&self, in_vain: u32, config: &Config, jitter: &mut Jitter) -> Duration {
        let doubled = self.timeout.saturating_mul(1 << in_vain.saturating_sub(1).min(3));
        jitter.shorten(doubled.min(config.max_backoff))
    }
}

/// All servers, and all requests under way.
#[derive(Debug)]
pub(super) struct Servers {
    servers: Vec<Server>,
    asked: Vec<Asked>,
    jitter: Jitter,
    /// The earliest deadline of a request.
    deadline: Option<Instant>,
}

impl Servers {
    const MOST: usize = ServerId::MAX.0 as usize + 1;

    /// What the tables take.
    pub(super) const fn most_bytes(max_in_flight: u8) -> usize {
        Self::MOST * (size_of::<Server>() + max_in_flight as usize * size_of::<Asked>())
    }

    pub(super) fn new(config: &Config) -> Self {
        Self {
            servers: Vec::with_capacity(Self::MOST),
            asked: Vec::with_capacity(Self::MOST * usize::from(config.max_in_flight)),
            jitter: Jitter(config.seed),
            deadline: None,
        }
    }

    pub(super) fn table_bytes(&self) -> usize {
        self.servers.capacity() * size_of::<Server>() + self.asked.capacity() * size_of::<Asked>()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        self.servers.len()
    }

    pub(super) fn get(&self, id: ServerId) -> Option<&Server> {
        self.servers.iter().find(|server| server.id == id)
    }

    pub(super) fn get_mut(&mut self, id: ServerId) -> Option<&mut Server> {
        self.servers.iter_mut().find(|server| server.id == id)
    }

    /// The server that has an address.
    pub(super) fn at(&self, address: SocketAddr) -> Option<ServerId> {
        let port = |server: &&Server| server.address.port() == address.port();
        let here = |server: &&Server| server.address.ip() == address.ip();
        self.servers.iter().find(|server| port(server) && here(server)).map(|server| server.id)
    }

    pub(super) fn add(&mut self, id: ServerId, address: SocketAddr, config: &Config) {
        match self.get_mut(id) {
            Some(server) => server.address = address,
            None => self.servers.push(Server::new(id, address, config)),
        }
    }

    pub(super) fn remove(&mut self, id: ServerId) {
        self.servers.retain(|server| server.id != id);
        self.asked.retain(|asked| asked.server != id);
        self.find_deadline();
    }

    /// Whether a server may bring what is missing since `opened`: it has answered since then or not long
    /// before, or was not asked twice in vain.
    pub(super) fn may_answer(&self, opened: Instant, give_up: Duration) -> bool {
        let answers = |at: Instant| at + give_up >= opened;
        let may = |server: &Server| server.silent < IN_VAIN || server.answered.is_some_and(answers);
        self.servers.iter().any(may)
    }

    /// The server to ask next, not one of `tried`: one that answers rather than a silent one, and of
    /// those the one with the fewest requests under way.
    pub(super) fn choose(&self, now: Instant, tried: u32) -> Option<ServerId> {
        let free = self.servers.iter().filter(|server| server.is_free(now));
        let untried = free.filter(|server| tried & bit(server.id) == 0);
        untried.min_by_key(|server| (server.silent > 0, server.stats.in_flight)).map(|s| s.id)
    }

    /// Whether a server left the last request unanswered.
    pub(super) fn is_silent(&self, id: ServerId) -> bool {
        self.get(id).is_some_and(|server| server.silent > 0)
    }

    /// Where to begin asking a server for a range of which it may lack the front: anywhere, when
    /// one answer does not hold it all.
    pub(super) fn anywhere(&mut self, id: ServerId, first: u64, last: u64) -> u64 {
        let answer = self.get(id).map_or(0, |server| u64::from(server.stats.answer_size));
        let width = last - first;
        if width < answer { first } else { first + self.jitter.any() % width }
    }

    /// Chance, by the seed: once in so many times.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.jitter.any().is_multiple_of(times)
    }

    /// Whether a server that is not one of `tried` is not resting.
    pub(super) fn any_untried(&self, now: Instant, tried: u32) -> bool {
        let mut awake = self.servers.iter().filter(|server| server.rest_until <= now);
        awake.any(|server| tried & bit(server.id) == 0)
    }

    /// Whether something of a session is being asked that may not exist.
    pub(super) fn is_probing(&self, session: Session) -> bool {
        let probes = |asked: &Asked| asked.is_probe() && !asked.idle && asked.session == session;
        self.asked.iter().any(probes)
    }

    /// When the next resting server may be asked.
    pub(super) fn rest_deadline(&self, now: Instant) -> Option<Instant> {
        let resting = self.servers.iter().filter(|server| server.rest_until > now);
        resting.map(|server| server.rest_until).min()
    }

    /// Notes a request that is being sent.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        id: ServerId,
        session: Session,
        (first, last): (u64, u64),
        purpose: Purpose,
        config: &Config,
    ) {
        let Some(server) = self.get_mut(id) else { return };
        server.stats.in_flight += 1;
        server.stats.requests += 1;
        let deadline = now + server.patience(config);
        let (server, sent, idle) = (id, now, false);
        self.asked.push(Asked { server, session, first, last, sent, deadline, idle, purpose });
        self.deadline = Some(self.deadline.map_or(deadline, |earliest| earliest.min(deadline)));
    }

    /// The lowest part of `first..=last` that is not being asked for.
    pub(super) fn unasked(&self, session: Session, first: u64, last: u64) -> Option<(u64, u64)> {
        let mut first = first;
        let mut last = last;
        let busy = || self.asked.iter().filter(|asked| !asked.idle && asked.session == session);
        while let Some(asked) = busy().find(|asked| asked.first <= first && first <= asked.last) {
            first = asked.last.checked_add(1).filter(|next| *next <= last)?;
        }
        for asked in busy().filter(|asked| asked.first > first) {
            last = last.min(asked.first - 1);
        }
        Some((first, last))
    }

    /// A request under way that overlaps `first..=last`: whom it asks, and for what.
    pub(super) fn asked_for(
        &self,
        session: Session,
        first: u64,
        last: u64,
    ) -> Option<(ServerId, (u64, u64))> {
        let overlaps =
            |asked: &&Asked| asked.session == session && asked.first <= last && first <= asked.last;
        let asked = self.asked.iter().filter(overlaps).min_by_key(|asked| asked.idle)?;
        Some((asked.server, (asked.first, asked.last)))
    }

    /// Whether this server has a request under way that overlaps `first..=last`.
    pub(super) fn was_asked(&self, id: ServerId, session: Session, first: u64, last: u64) -> bool {
        self.asked.iter().any(|asked| {
            asked.server == id
                && asked.session == session
                && asked.first <= last
                && first <= asked.last
        })
    }

    /// An answer of `first..=last` came that brought `fresh` new messages.
    pub(super) fn answered(
        &mut self,
        now: Instant,
        id: ServerId,
        session: Session,
        (first, last): (u64, u64),
        fresh: u64,
        config: &Config,
    ) {
        let of_this = |asked: &Asked| {
            asked.server == id
                && asked.session == session
                && asked.first <= last
                && first <= asked.last
        };
        // The request whose first message it brings, else any that it overlaps.
        let exact = |asked: &Asked| of_this(asked) && first <= asked.first;
        let position = self.asked.iter().position(exact);
        let position = position.or_else(|| self.asked.iter().position(of_this));
        let matched = position.and_then(|index| self.asked.get(index).copied());
        let Some(server) = self.servers.iter_mut().find(|server| server.id == id) else { return };
        server.stats.messages_first += fresh;
        server.stats.duplicates += last - first + 1 - fresh;
        server.answered = Some(now);
        server.silent = 0;
        server.rest_until = Instant::ZERO;
        if fresh > 0 {
            server.stats.useful_answers += 1;
            server.stats.window = server.stats.window.saturating_add(1).min(config.max_in_flight);
        }
        let Some(asked) = matched else { return };
        if asked.purpose != Purpose::Again && first <= asked.first {
            server.learn_round_trip(now.since(asked.sent), config);
        }
        if first <= asked.first && !asked.is_probe() {
            let carried = last - asked.first + 1;
            server.learn_size(carried, asked.last - asked.first + 1, config.max_request);
        }
        let Some(index) = position else { return };
        if fresh > 0 {
            self.asked.swap_remove(index);
            server.stats.in_flight = server.stats.in_flight.saturating_sub(1);
            self.find_deadline();
        } else if let Some(asked) = self.asked.get_mut(index) {
            asked.idle = true;
        }
    }

    /// Requests overlapping `first..=last`, to be looked at: does anything of them still matter?
    pub(super) fn cancel(
        &mut self,
        session: Session,
        first: u64,
        last: u64,
        mut matters: impl FnMut(u64, u64) -> bool,
    ) -> u64 {
        let mut cancelled = 0;
        for asked in &mut self.asked {
            let overlaps = asked.session == session && asked.first <= last && first <= asked.last;
            if overlaps && !asked.idle && !asked.is_probe() && !matters(asked.first, asked.last) {
                asked.idle = true;
                cancelled += 1;
            }
        }
        cancelled
    }

    /// Nothing that was asked of a session matters any more.
    pub(super) fn forget(&mut self, session: Session) {
        for asked in self.asked.iter_mut().filter(|asked| asked.session == session) {
            asked.idle = true;
        }
    }

    /// Takes out a request that was not answered by now.
    pub(super) fn expire(&mut self, now: Instant, config: &Config) -> Option<Unanswered> {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return None;
        }
        let Some(index) = self.asked.iter().position(|asked| asked.deadline <= now) else {
            self.find_deadline();
            return None;
        };
        let asked = self.asked.swap_remove(index);
        let server = self.servers.iter_mut().find(|server| server.id == asked.server);
        let mut answers_others = false;
        if let Some(server) = server {
            server.stats.in_flight = server.stats.in_flight.saturating_sub(1);
            answers_others = server.answered.is_some_and(|answered| answered >= asked.sent);
            if !asked.idle && !asked.is_probe() {
                server.stats.timeouts += 1;
                // Requests that were under way together are one sign of congestion (RFC 5681 § 3.1).
                if asked.sent >= server.halved_at {
                    server.stats.window = (server.stats.window / 2).max(1);
                    server.halved_at = now;
                    let unmeasured = server.stats.round_trip == Duration::ZERO;
                    server.doubled = server.doubled.saturating_add(u32::from(unmeasured));
                }
                if !answers_others && (server.silent == 0 || asked.sent >= server.silent_since) {
                    server.silent += 1;
                    server.silent_since = now;
                    let backoff = server.backoff(server.silent, config, &mut self.jitter);
                    server.rest_until = now + backoff;
                }
            }
        }
        self.rest_silent(now, config);
        Some(Unanswered { asked, answers_others })
    }

    /// The rest of a range that all servers left unanswered.
    pub(super) fn range_backoff(&mut self, id: ServerId, in_vain: u8, config: &Config) -> Duration {
        let Self { servers, jitter, .. } = self;
        let server = servers.iter().find(|server| server.id == id);
        server.map_or(config.max_backoff, |server| server.backoff(in_vain.into(), config, jitter))
    }

    /// The earliest deadline of a request.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Gives silent servers a long rest while another answers, and a short one otherwise.
    fn rest_silent(&mut self, now: Instant, config: &Config) {
        let another_answers = self.servers.iter().any(|server| {
            server.silent == 0 && server.answered.is_some_and(|at| at + config.max_backoff > now)
        });
        if another_answers {
            let since = |server: &&mut Server| server.silent > 0 && server.silent_since == now;
            for server in self.servers.iter_mut().filter(since) {
                server.rest_until = now + config.max_backoff;
            }
        }
    }

    fn find_deadline(&mut self) {
        self.deadline = self.asked.iter().map(|asked| asked.deadline).min();
    }
}

/// The bit of a server in a set of servers.
pub(super) const fn bit(id: ServerId) -> u32 {
    1u32.wrapping_shl(id.0 as u32)
}

/// Spreads what would otherwise happen at the same time everywhere (splitmix64, seeded).
#[derive(Clone, Copy, Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between half of a duration and all of it.
    fn shorten(&mut self, duration: Duration) -> Duration {
        let part = self.any() >> 54;
        let half = duration / 2;
        half + half.saturating_mul(part as u32) / 1023
    }
}
