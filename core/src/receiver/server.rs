//! The state of each re-request server, and the requests that it was sent.
//!
//! A slot of a server's window is freed by a useful answer, or when the request times out, and by
//! nothing else. So there are never more requests than useful answers and one window a timeout.

use alloc::vec::Vec;
use core::net::SocketAddr;

use super::config::Config;
use super::event::{Command, ServerId};
use super::quota::{QuotaUnit, Quotas};
use super::stats::ServerStats;
use crate::storage::charge::{Measure, charged};
use crate::storage::in_flight::{InFlight, Jitter, backoff};
use crate::wire::mold::{MAX_COUNT, Request};
use crate::{Duration, Instant, Session};

/// The answer size and the window of a server that was never asked.
const FIRST_ANSWER_SIZE: u16 = 32;
const FIRST_WINDOW: u8 = 2;
/// The answer size grows after so many whole answers in a row.
const GROW_AFTER: u8 = 8;
/// A range that takes more requests than there may be is shared out in stretches of so many answers at the most.
const MAX_STRETCH: u64 = 8;
/// The bytes of an answer, by which it is judged how far apart stretches may lie.
const ANSWER_LEN: usize = 1500;
/// So many rounds of silence in a row, and nothing is expected of a server any more where somebody waits
/// for room.
const UNRESPONSIVE_AFTER: u32 = 2;

/// Consecutive messages of a session, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) session: Session,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Span {
    /// How many messages.
    pub(super) const fn count(&self) -> u64 {
        self.last - self.first + 1
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.session == other.session && self.first <= other.last && other.first <= self.last
    }
}

/// A request that was sent, or one that no longer matters but still holds its slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlightRequest {
    pub(super) server: ServerId,
    pub(super) span: Span,
    /// The last number of its stretch, of which nothing else is asked for meanwhile.
    stretch: u64,
    sent: Instant,
    /// Nothing is asked for any more; the slot is kept until the deadline.
    pub(super) idle: bool,
    pub(super) purpose: Purpose,
}

impl InFlightRequest {
    pub(super) fn is_probe(&self) -> bool {
        self.purpose == Purpose::Probe
    }
}

/// The purpose of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// A missing range that nobody was asked for before: the answer measures the round trip.
    First,
    /// A missing range once more: the answer may be to an earlier request.
    Again,
    /// A message that may not exist: silence says nothing about the server.
    Probe,
}

/// A request that was not answered in time, and whether its server answered others since it was sent, or just
/// before.
pub(super) type TimedOut = (InFlightRequest, bool);

/// A server to ask for something.
pub(super) type Ask = (ServerId, Span, Purpose);

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
    /// By how much the answer size grows next, and whole answers in a row.
    growth: u16,
    whole: u8,
}

impl Server {
    fn new(id: ServerId, address: SocketAddr, rules: &Config) -> Self {
        let answer_size = FIRST_ANSWER_SIZE.min(rules.max_request);
        let window = FIRST_WINDOW.min(rules.max_in_flight);
        Self {
            id,
            address,
            stats: ServerStats { answer_size, window, ..ServerStats::default() },
            timeout: rules.initial_request_timeout,
            doubled: 0,
            variance: Duration::ZERO,
            halved_at: Instant::ZERO,
            answered: None,
            silent_since: Instant::ZERO,
            silent: 0,
            rest_until: Instant::ZERO,
            growth: answer_size,
            whole: GROW_AFTER,
        }
    }

    /// Returns true if it may be sent a further request, quotas left aside.
    fn is_free(&self, now: Instant) -> bool {
        // A silent server is sounded with one request at a time.
        let window = if self.silent > 0 { 1 } else { self.stats.window };
        self.stats.in_flight < window && self.rest_until <= now
    }

    /// Learns from an answer of `carried` messages to a request for `asked`: the size grows by more each time while
    /// answers bring all that was asked for, until one is cut short.
    fn learn_size(&mut self, carried: u64, asked: u64, max_request: u16) {
        let carried = u16::try_from(carried).unwrap_or(MAX_COUNT).clamp(1, MAX_COUNT);
        let size = &mut self.stats.answer_size;
        let grows = self.whole >= GROW_AFTER;
        if u64::from(carried) < asked {
            let step = |distance: u16| if grows { distance } else { distance.div_ceil(4) };
            *size -= step(size.saturating_sub(carried));
            *size += step(carried.saturating_sub(*size));
            (self.growth, self.whole) = (1, 0);
        } else if asked > u64::from(*size) || (grows && asked == u64::from(*size)) {
            *size = size.saturating_add(self.growth);
            self.growth = self.growth.saturating_mul(2);
        } else if asked == u64::from(*size) {
            self.whole += 1;
        }
        *size = (*size).clamp(1, max_request.min(MAX_COUNT));
    }

    /// Learns from a measured round trip (RFC 6298 § 2, with the bounds of the configuration, and with
    /// half a round trip to spare where they hardly vary).
    fn learn_round_trip(&mut self, sample: Duration, rules: &Config) {
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
        self.timeout = timeout.max(rules.min_request_timeout).min(rules.max_request_timeout);
        self.doubled = 0;
    }

    /// How long the next request waits for its answer: doubled by each round of silence, so that a
    /// round trip that has grown is found. Until one is measured an answer does not undo that: where
    /// all are longer than the first timeout, none would ever be (RFC 6298 § 5).
    fn rto(&self, rules: &Config) -> Duration {
        backoff(self.timeout, self.silent.max(self.doubled), rules.max_request_timeout)
    }

    /// The rest after so many unanswered requests: doubled by each, at most eight timeouts and
    /// `max_backoff`.
    fn backoff(&self, unanswered: u32, rules: &Config, jitter: &mut Jitter) -> Duration {
        let doublings = unanswered.saturating_sub(1).min(3);
        jitter.shorten(backoff(self.timeout, doublings, rules.max_backoff))
    }
}

charged!(InFlightRequest = 56, Server = 216);

/// All servers, and all requests in flight.
#[derive(Debug)]
pub(super) struct Servers {
    servers: Vec<Server>,
    in_flight: InFlight<InFlightRequest>,
    pub(super) quotas: Quotas,
    jitter: Jitter,
    /// The configuration, without its lines and servers.
    rules: Config,
}

impl Servers {
    const MOST: usize = ServerId::MAX.0 as usize + 1;

    /// The bytes of the tables.
    pub(super) const fn table_bytes(max_in_flight: u8, measure: Measure) -> usize {
        let most = Self::MOST * max_in_flight as usize;
        measure.of::<Server>(Self::MOST) + InFlight::<InFlightRequest>::bytes(most, measure)
    }

    pub(super) fn new(config: &Config) -> Self {
        let mut servers = Self {
            servers: Vec::with_capacity(Self::MOST),
            in_flight: InFlight::new(Self::MOST * usize::from(config.max_in_flight)),
            quotas: Quotas::new(config),
            jitter: Jitter(config.seed),
            rules: config.rules(),
        };
        config.servers.iter().for_each(|&(server, address)| servers.add(server, address));
        servers
    }

    pub(super) fn count(&self) -> usize {
        self.servers.len()
    }

    pub(super) fn get(&self, id: ServerId) -> Option<&Server> {
        self.servers.iter().find(|server| server.id == id)
    }

    /// The server that has an address.
    pub(super) fn at(&self, address: SocketAddr) -> Option<ServerId> {
        let place = |address: SocketAddr| (address.port(), address.ip());
        let is_there = |server: &&Server| place(server.address) == place(address);
        self.servers.iter().find(is_there).map(|server| server.id)
    }

    pub(super) fn add(&mut self, id: ServerId, address: SocketAddr) {
        match self.servers.iter_mut().find(|server| server.id == id) {
            Some(server) => server.address = address,
            None => self.servers.push(Server::new(id, address, &self.rules)),
        }
    }

    pub(super) fn remove(&mut self, id: ServerId) {
        self.servers.retain(|server| server.id != id);
        self.in_flight.retain(|request| request.server != id);
    }

    /// Returns true if a server may bring what is missing since `opened`: it has answered since then or not long
    /// before, or left less than two requests in a row unanswered.
    pub(super) fn may_answer(&self, opened: Instant, give_up: Duration) -> bool {
        let answers = |at: Instant| at + give_up >= opened;
        let may = |server: &Server| {
            server.silent < UNRESPONSIVE_AFTER || server.answered.is_some_and(answers)
        };
        self.servers.iter().any(may)
    }

    /// The server to ask next, not one of `tried_servers`: one that answers rather than a silent one, and of
    /// those the one with the fewest requests under way.
    pub(super) fn choose(&self, now: Instant, tried_servers: u32) -> Option<ServerId> {
        let untried = self.free(now).filter(|server| tried_servers & bit(server.id) == 0);
        untried.min_by_key(|server| (server.silent > 0, server.stats.in_flight)).map(|s| s.id)
    }

    /// The servers that may be sent a further request.
    fn free(&self, now: Instant) -> impl Iterator<Item = &Server> {
        let free = self.servers.iter().filter(move |server| server.is_free(now));
        free.filter(move |server| self.quotas.most(now, server.id) > 0)
    }

    /// Returns true if quotas keep every server from being asked for a message that none is being asked for.
    pub(super) fn is_held_back(&self, now: Instant, session: Session, number: u64) -> bool {
        let span = Span { session, first: number, last: number };
        let mut servers = self.servers.iter();
        !self.servers.is_empty()
            && servers.all(|server| self.quotas.most(now, server.id) == 0)
            && self.unasked(span).is_some()
    }

    /// The counters of a server, with what quotas leave of it now.
    pub(super) fn stats(&self, now: Instant, id: ServerId) -> Option<ServerStats> {
        let left = |unit| self.quotas.left(now, id, unit);
        let (requests_left, messages_left) = (left(QuotaUnit::Requests), left(QuotaUnit::Messages));
        Some(ServerStats { requests_left, messages_left, ..self.get(id)?.stats })
    }

    /// Returns true if a server left the last request unanswered.
    pub(super) fn is_silent(&self, id: ServerId) -> bool {
        self.get(id).is_some_and(|server| server.silent > 0)
    }

    /// The number from which to ask a server for a range of which it may lack the front: anywhere, when
    /// one answer does not hold it all.
    pub(super) fn anywhere(&mut self, id: ServerId, first: u64, last: u64) -> u64 {
        let answer = self.get(id).map_or(0, |server| u64::from(server.stats.answer_size));
        let width = last - first;
        if width < answer { first } else { first + self.jitter.next() % width }
    }

    /// Chance, by the seed: once in so many times.
    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.jitter.next().is_multiple_of(times)
    }

    /// Returns true if a server that is not one of `tried_servers` is neither resting nor held back.
    pub(super) fn any_untried(&self, now: Instant, tried_servers: u32) -> bool {
        let mut awake = self.servers.iter().filter(|server| server.rest_until <= now);
        awake.any(|server| {
            tried_servers & bit(server.id) == 0 && self.quotas.most(now, server.id) > 0
        })
    }

    /// Returns true if something of a session is being asked that may not exist.
    pub(super) fn is_probing(&self, session: Session) -> bool {
        let mut probes = self.in_flight.iter().filter(|request| request.is_probe());
        probes.any(|probe| !probe.idle && probe.span.session == session)
    }

    /// When the next server that is resting, or that a quota holds back, may be asked.
    pub(super) fn rest_deadline(&self, now: Instant) -> Option<Instant> {
        let until = |server: &Server| {
            self.quotas.free_at(now, server.id).unwrap_or_default().max(server.rest_until)
        };
        self.servers.iter().map(until).filter(|until| *until > now).min()
    }

    /// The request for the front of a span, as much as this server answers at once.
    ///
    /// If the span takes more requests than may be sent now, each gets a stretch of it: what an answer leaves out is
    /// then the front of what is asked for next, and no request by itself.
    pub(super) fn request(
        &mut self,
        now: Instant,
        (id, mut span, purpose): Ask,
    ) -> Option<Command> {
        let free = |server: &Server| u64::from(server.stats.window - server.stats.in_flight);
        let free = match purpose {
            Purpose::Probe => u64::MAX,
            _ => self.free(now).map(free).sum::<u64>().max(1),
        };
        let max_stretch = self.max_stretch();
        let allowed = self.quotas.most(now, id).min(self.rules.max_request.into());
        let is_rationed = self.quotas.left(now, id, QuotaUnit::Messages).is_some();
        let server = self.servers.iter_mut().find(|server| server.id == id)?;
        let size = u64::from(server.stats.answer_size);
        let answers = (span.count() / size / free).clamp(1, max_stretch);
        let whole = free == 1 && span.count() <= size * max_stretch;
        let stretch = if whole { span.count() } else { answers * size };
        let stretch = span.last.min(span.first.saturating_add(stretch - 1));
        // A few more show whether answers could be larger.
        let more = if stretch - span.first >= size && !is_rationed { size / 8 + 1 } else { 0 };
        let most = allowed.min(size + more).max(1);
        span.last = span.last.min(span.first.saturating_add(most - 1));
        self.quotas.take(now, id, span.count());
        server.stats.in_flight += 1;
        server.stats.requests += 1;
        let sent = InFlightRequest { server: id, span, stretch, sent: now, idle: false, purpose };
        self.in_flight.push(now + server.rto(&self.rules), sent);
        let count = span.count() as u16;
        let request = Request { session: span.session, sequence: span.first, count };
        Some(Command::Request { server: id, to: server.address, request })
    }

    /// The most answers of a stretch, so that all stretches together can be held.
    fn max_stretch(&self) -> u64 {
        let requests = usize::from(self.rules.max_in_flight) * self.servers.len();
        let answers = self.rules.max_held_bytes / (4 * ANSWER_LEN * requests.max(1));
        (answers as u64).clamp(1, MAX_STRETCH)
    }

    /// The lowest part of a span that is not being asked for.
    pub(super) fn unasked(&self, span: Span) -> Option<Span> {
        let Span { mut first, mut last, session } = span;
        let requests = self.in_flight.iter().filter(|request| !request.idle);
        let stretch = |request: &InFlightRequest| Span { last: request.stretch, ..request.span };
        let busy = || requests.clone().map(stretch).filter(|of| of.session == session);
        while let Some(busy) = busy().find(|busy| busy.first <= first && first <= busy.last) {
            first = busy.last.checked_add(1).filter(|next| *next <= last)?;
        }
        for busy in busy().filter(|busy| busy.first > first) {
            last = last.min(busy.first - 1);
        }
        Some(Span { session, first, last })
    }

    /// A request in flight that overlaps a span: the server and what it was asked for.
    pub(super) fn asked_for(&self, span: Span) -> Option<(ServerId, Span)> {
        let overlapping = self.in_flight.iter().filter(|request| request.span.overlaps(&span));
        let request = overlapping.min_by_key(|request| request.idle)?;
        Some((request.server, request.span))
    }

    /// Returns true if this server has a request in flight that overlaps a span.
    pub(super) fn was_asked(&self, id: ServerId, span: Span) -> bool {
        self.in_flight.iter().any(|request| request.server == id && request.span.overlaps(&span))
    }

    /// An answer came that brought `fresh` new messages.
    pub(super) fn answered(&mut self, now: Instant, id: ServerId, span: Span, fresh: u64) {
        let Span { first, last, .. } = span;
        let asked =
            |request: &InFlightRequest| request.server == id && request.span.overlaps(&span);
        let asked = self.in_flight.iter().enumerate().filter(|(_, request)| asked(request));
        // The request whose first message it brings, else any that it overlaps.
        let position = asked.min_by_key(|(_, request)| first > request.span.first);
        let position = position.map(|(position, _)| position);
        let Some(server) = self.servers.iter_mut().find(|server| server.id == id) else { return };
        server.stats.messages_first += fresh;
        server.stats.duplicates += span.count() - fresh;
        server.answered = Some(now);
        server.silent = 0;
        server.rest_until = Instant::ZERO;
        if fresh > 0 {
            server.stats.useful_answers += 1;
            let window = server.stats.window.saturating_add(1);
            server.stats.window = window.min(self.rules.max_in_flight);
        }
        let Some(position) = position else { return };
        let Some(request) = self.in_flight.iter_mut().nth(position) else { return };
        let asked = request.span;
        if request.purpose != Purpose::Again && first <= asked.first {
            server.learn_round_trip(now.since(request.sent), &self.rules);
        }
        if first <= asked.first && !request.is_probe() {
            let carried = last - asked.first + 1;
            server.learn_size(carried, asked.count(), self.rules.max_request);
        }
        if fresh > 0 {
            server.stats.in_flight = server.stats.in_flight.saturating_sub(1);
            self.in_flight.remove(position);
        } else {
            request.idle = true;
        }
    }

    /// Lets those requests that overlap a span ask for nothing any more of which nothing matters: how many.
    pub(super) fn cancel(&mut self, span: Span, matters: impl Fn(Span) -> bool) -> u64 {
        let mut cancelled = 0;
        for request in self.in_flight.iter_mut().filter(|request| request.span.overlaps(&span)) {
            if !request.idle && !request.is_probe() && !matters(request.span) {
                request.idle = true;
                cancelled += 1;
            }
        }
        cancelled
    }

    /// Nothing that was asked of a session matters any more.
    pub(super) fn forget(&mut self, session: Session) {
        let requests = self.in_flight.iter_mut().filter(|request| request.span.session == session);
        requests.for_each(|request| request.idle = true);
    }

    /// Takes out a request that was not answered by now.
    pub(super) fn expire(&mut self, now: Instant) -> Option<TimedOut> {
        let request = self.in_flight.expire(now)?;
        let server = self.servers.iter_mut().find(|server| server.id == request.server);
        let mut answers_others = false;
        if let Some(server) = server {
            server.stats.in_flight = server.stats.in_flight.saturating_sub(1);
            answers_others = server.answered.is_some_and(|answered| answered >= request.sent);
            if !request.idle && !request.is_probe() {
                server.stats.timeouts += 1;
                // Requests that were in flight together are one sign of congestion (RFC 5681 § 3.1).
                if request.sent >= server.halved_at {
                    server.stats.window = (server.stats.window / 2).max(1);
                    server.halved_at = now;
                    let unmeasured = server.stats.round_trip == Duration::ZERO;
                    server.doubled = server.doubled.saturating_add(u32::from(unmeasured));
                }
                if !answers_others && (server.silent == 0 || request.sent >= server.silent_since) {
                    server.silent += 1;
                    server.silent_since = now;
                    let backoff = server.backoff(server.silent, &self.rules, &mut self.jitter);
                    server.rest_until = now + backoff;
                }
            }
        }
        self.rest_silent(now);
        Some((request, answers_others))
    }

    /// The rest of a range that all servers left unanswered.
    pub(super) fn range_backoff(&mut self, id: ServerId, unanswered: u8) -> Duration {
        let Self { servers, jitter, rules, .. } = self;
        let server = servers.iter().find(|server| server.id == id);
        server.map_or(rules.max_backoff, |it| it.backoff(unanswered.into(), rules, jitter))
    }

    /// When the next request times out.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.in_flight.deadline()
    }

    /// Gives silent servers a long rest while another answers, and a short one otherwise.
    fn rest_silent(&mut self, now: Instant) {
        let max_backoff = self.rules.max_backoff;
        let another_answers = self.servers.iter().any(|server| {
            server.silent == 0 && server.answered.is_some_and(|at| at + max_backoff > now)
        });
        if another_answers {
            let since = |server: &&mut Server| server.silent > 0 && server.silent_since == now;
            for server in self.servers.iter_mut().filter(since) {
                server.rest_until = now + max_backoff;
            }
        }
    }
}

/// The bit of a server in a set of servers.
pub(super) const fn bit(id: ServerId) -> u32 {
    1u32.wrapping_shl(id.0 as u32)
}
