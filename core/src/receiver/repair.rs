//! Whom to ask for what, and when.
//!
//! A gap is due when every line that is up has passed it, or after the reordering delay. Of what is
//! due the lowest is asked for first, by as many requests as the servers' windows allow.

use super::event::{Command, ServerId};
use super::server::{Purpose, Servers, Span, TimedOut, bit};
use super::space::Space;
use super::{Delivery, Receiver};
use crate::time::earliest;
use crate::wire::mold::Request;
use crate::{Duration, Instant};

/// What is known between two looks at what is missing.
#[derive(Debug, Default)]
pub(super) struct Repair {
    /// Something changed: what is missing must be looked at.
    stale: bool,
    /// Otherwise not before.
    deadline: Option<Instant>,
    /// Nothing further out is asked for until there is room.
    starved: bool,
    /// The lowest range was asked for last, again or of a silent server. The servers may lack just
    /// that, so the next request is for another.
    insisted: bool,
    /// The first time that was seen, and the earliest time of the next probe for a tail.
    since: Option<Instant>,
    probe_at: Instant,
    /// The session that is being left was asked for its tail, and nobody answered.
    tail_known: bool,
}

impl Repair {
    pub(super) fn invalidate(&mut self) {
        self.stale = true;
    }

    /// A session is being left: the end of it must be asked for.
    pub(super) fn probe_tail(&mut self) {
        self.tail_known = false;
        self.probe_at = Instant::ZERO;
        self.stale = true;
    }

    /// Whether nothing more will be learnt about the tail of the session that is being left.
    pub(super) fn tail_is_known(&self, servers: &Servers) -> bool {
        self.tail_known || servers.is_empty()
    }
}

/// What is to be done about a session's missing ranges.
enum Found {
    /// Ask this server for this.
    Ask(ServerId, Span, Purpose),
    /// Every server has as many requests as it may have.
    Busy,
    /// Nothing to ask for before this time.
    Nothing(Option<Instant>),
}

impl Receiver {
    /// Takes note of what every line passed.
    pub(super) fn note_passed(&mut self, index: usize) {
        let space = &mut self.spaces[index];
        if index > 0 || space.gaps.is_empty() {
            return;
        }
        let passed = self.lines.passed();
        if passed > space.due {
            let (Ok(at) | Err(at)) = space.gaps.missing().find(space.due + 1);
            let next = space.gaps.missing().get(at);
            self.repair.stale |= next.is_some_and(|range| range.first <= passed);
            space.due = passed;
        }
    }

    /// Nothing of these requests matters any more where lines filled the gap.
    pub(super) fn cancel_requests(&mut self, index: usize, first: u64, last: u64) {
        let Space { gaps, session, .. } = &self.spaces[index];
        let matters = |span: Span| match gaps.missing().find(span.first) {
            Ok(_) => true,
            Err(next) => gaps.missing().get(next).is_some_and(|range| range.first <= span.last),
        };
        let filled = Span { session: *session, first, last };
        self.stats.requests_cancelled += self.servers.cancel(filled, matters);
    }

    /// Deals with the requests that were not answered by now.
    pub(super) fn expire_requests(&mut self) {
        self.repair.since.get_or_insert(self.context.now());
        while let Some(TimedOut { request, answers_others }) =
            self.servers.expire(self.context.now())
        {
            self.repair.stale = true;
            self.stats.requests_timed_out += u64::from(!request.idle);
            if request.is_probe() {
                self.repair.probe_at = self.context.now() + self.config.probe_after;
                self.repair.tail_known |= self.spaces[0].session == request.span.session;
            } else if !request.idle
                && let Some(index) = self.space_of(request.span.session)
            {
                self.mark_unanswered(index, request.server, request.span, answers_others);
            }
        }
    }

    /// Notes on what is still missing of a span that a server left it unanswered.
    fn mark_unanswered(
        &mut self,
        index: usize,
        server: ServerId,
        Span { first, last, .. }: Span,
        answers_others: bool,
    ) {
        let mut from = first;
        loop {
            let space = &self.spaces[index];
            let (Ok(at) | Err(at)) = space.gaps.missing().find(from);
            let range = space.gaps.missing().get(at).copied();
            let Some(range) = range.filter(|range| range.first <= last) else { return };
            let part = (range.first.max(from), range.last.min(last));
            let mut value = range.value;
            value.tried_servers |= bit(server);
            value.retry_at = self.context.now();
            value.unanswered = value.unanswered.saturating_add(1);
            if answers_others && space.is_proved(part.1) {
                value.attempts = value.attempts.saturating_add(1);
                value.lost |= value.attempts >= self.config.max_attempts;
            }
            if !self.servers.any_untried(self.context.now(), value.tried_servers) {
                value.tried_servers = 0;
                let backoff = self.servers.range_backoff(server, value.unanswered);
                value.retry_at = self.context.now() + backoff;
            }
            // Without room for the note the range is asked for again as if for the first time.
            let _ = self.spaces[index].gaps.mark(part.0, part.1, value);
            let Some(next) = part.1.checked_add(1).filter(|next| *next <= last) else { return };
            from = next;
        }
    }

    /// The next request to send.
    pub(super) fn poll_request(&mut self) -> Option<Command> {
        let now = self.context.now();
        if self.repair.starved && self.store.has_room() {
            self.repair.starved = false;
            self.repair.stale = true;
        }
        let rests = self.repair.deadline.is_none_or(|deadline| deadline > now);
        if self.servers.is_empty() || (!self.repair.stale && rests) {
            return None;
        }
        if let Some(request) = self.ask_about_claims() {
            return Some(request);
        }
        let mut deadline = None;
        for index in 0..2 {
            match self.find_missing(index) {
                Found::Ask(server, span, purpose) => return self.ask(server, span, purpose),
                Found::Busy => {
                    deadline = earliest(deadline, self.servers.rest_deadline(now));
                    break;
                }
                Found::Nothing(at) => deadline = earliest(deadline, at),
            }
        }
        match self.tail_probe_at() {
            Some(at) if at <= now => {
                if let Some(request) = self.ask_for_tail() {
                    return Some(request);
                }
                deadline = earliest(deadline, self.servers.rest_deadline(now));
            }
            at => deadline = earliest(deadline, at),
        }
        self.repair.stale = false;
        self.repair.deadline = deadline;
        None
    }

    /// When what is missing must be looked at again if nothing happens before.
    pub(super) fn repair_deadline(&self) -> Option<Instant> {
        self.repair.deadline.filter(|_| !self.servers.is_empty())
    }

    /// The lowest missing range that may be asked for now, and whom.
    fn find_missing(&mut self, index: usize) -> Found {
        let (now, delay) = (self.context.now(), self.reorder_delay());
        let Self { spaces, servers, store, config, .. } = self;
        let space = &mut spaces[index];
        if !space.active {
            return Found::Nothing(None);
        }
        let mut wait = space.pass_delay(now, delay);
        let ordered = config.delivery == Delivery::Ordered;
        let reach = if ordered && !store.has_room() { space.held.furthest(store) } else { None };
        let mut other: Option<(u8, Found)> = None;
        let mut others = 0;
        for range in space.gaps.missing() {
            if range.first > space.due {
                break;
            }
            if reach.is_some_and(|reach| range.first > reach) {
                self.repair.starved = true;
                break;
            }
            let value = range.value;
            if value.lost {
                continue;
            }
            if value.retry_at > now {
                wait = earliest(wait, Some(value.retry_at));
                continue;
            }
            let missing = Span { session: space.session, first: range.first, last: range.last };
            let Some(unasked) = servers.unasked(missing) else { continue };
            let untried = servers.choose(now, value.tried_servers);
            let Some(server) = untried.or_else(|| servers.choose(now, 0)) else {
                return Found::Busy;
            };
            let first_time = value.retry_at == Instant::ZERO;
            let purpose = if first_time { Purpose::First } else { Purpose::Again };
            let ask = Found::Ask(server, unasked, purpose);
            if !self.repair.insisted {
                self.repair.insisted = value.unanswered > 0 || servers.is_silent(server);
                return ask;
            }
            // Of those that were asked for least often any, or a stretch that nobody has would be
            // walked through from its end.
            let least = other.as_ref().map_or(u8::MAX, |(least, _)| *least);
            others = if value.unanswered < least {
                1
            } else {
                others + u64::from(value.unanswered == least)
            };
            if value.unanswered < least || (value.unanswered == least && servers.one_in(others)) {
                other = Some((value.unanswered, ask));
            }
        }
        if let Some((_, Found::Ask(server, span, purpose))) = other {
            self.repair.insisted = false;
            let first = servers.anywhere(server, span.first, span.last);
            return Found::Ask(server, Span { first, ..span }, purpose);
        }
        Found::Nothing(wait)
    }

    fn ask(&mut self, server: ServerId, span: Span, purpose: Purpose) -> Option<Command> {
        let (to, span) = self.servers.request(self.context.now(), server, span, purpose)?;
        let count = span.count() as u16;
        self.stats.requests += 1;
        self.stats.requested_messages += u64::from(count);
        let request = Request { session: span.session, sequence: span.first, count };
        Some(Command::Request { server, to, request })
    }

    /// Asks a server for a message that a claim says exists: its answer is believed at once.
    fn ask_about_claims(&mut self) -> Option<Command> {
        let server = self.servers.choose(self.context.now(), 0)?;
        let jumps = self.spaces.iter_mut().filter_map(|space| space.jump.as_mut());
        let claim = jumps.chain(self.pending_session.as_mut()).find(|claim| !claim.probed)?;
        claim.probed = true;
        let number = claim.high.max(1);
        let span = Span { session: claim.session, first: number, last: number };
        self.ask(server, span, Purpose::Probe)
    }

    /// When a server is to be asked for what comes next: all lines are silent, or the session is
    /// being left.
    fn tail_probe_at(&self) -> Option<Instant> {
        let space = &self.spaces[0];
        let nothing_comes = space.evidence.end().is_some() || space.highest_known == u64::MAX;
        if !space.active || nothing_comes || self.servers.is_probing(space.session) {
            return None;
        }
        if space.closing.is_some() {
            return (!self.repair.tail_known).then_some(self.repair.probe_at);
        }
        let last_packet = self.lines.last_packet_at().max(self.repair.since)?;
        Some(self.repair.probe_at.max(last_packet + self.config.probe_after))
    }

    fn ask_for_tail(&mut self) -> Option<Command> {
        let server = self.servers.choose(self.context.now(), 0)?;
        let space = &self.spaces[0];
        let span = Span { session: space.session, first: space.highest_known + 1, last: u64::MAX };
        self.ask(server, span, Purpose::Probe)
    }

    /// How long a gap waits for the other lines: the configured delay, or twice the measured lag
    /// where that is more.
    fn reorder_delay(&self) -> Duration {
        let lag = self.lines.lag().saturating_mul(2);
        lag.max(self.config.reorder_delay).min(self.config.max_reorder_delay)
    }
}

impl Space {
    /// Makes due what has waited for `delay`; returns when the next gap will have.
    fn pass_delay(&mut self, now: Instant, delay: Duration) -> Option<Instant> {
        loop {
            let above = self.due.checked_add(1)?;
            let (Ok(at) | Err(at)) = self.gaps.missing().find(above);
            let range = self.gaps.missing().get(at)?;
            let due_at = self.gaps.opened(range) + delay;
            if due_at > now {
                return Some(due_at);
            }
            self.due = range.last;
        }
    }
}
