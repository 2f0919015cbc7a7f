//! Whom to ask for what, and when.
//!
//! A gap is due when every line that is up has passed it, or after the reordering delay; at once where the only line
//! reorders nothing. Of what is due the lowest is asked for first, by as many requests as the servers' windows allow.

use super::candidate::Candidate;
use super::config::{Config, Delivery};
use super::event::Command;
use super::line::Lines;
use super::server::{Ask, InFlightRequest, Purpose, Servers, Span, TimedOut, bit};
use super::space::Space;
use super::store::Store;
use crate::time::earliest;
use crate::{Duration, Instant};

/// When another range than the lowest is to be asked for, so many are considered from the lowest on, and as many from
/// any on; all of them if there are no more.
const CONSIDERED: usize = 256;

/// The servers, and what is known between two evaluations of what is missing.
#[derive(Debug)]
pub(super) struct Repair {
    /// The configuration, without its lines and servers.
    rules: Config,
    pub(super) servers: Servers,
    /// When what is missing must be evaluated again: since ever, if something changed.
    evaluate_at: Option<Instant>,
    /// Nothing further out is asked for until there is room.
    starved: bool,
    /// The lowest range was asked for last, again or of a silent server. The servers may lack just
    /// that, so the next request is for another.
    insisted: bool,
    /// The first time that was seen.
    first_seen_at: Option<Instant>,
    /// A claim waits for a server that may be asked.
    claim_waits: bool,
    /// The next probe for a tail is not sent before.
    probe_at: Instant,
    /// The session that is being left was asked for its tail, and nobody answered.
    tail_known: bool,
}

/// The next step for a session's missing ranges.
enum Found {
    Ask(Ask),
    /// Every server has as many requests as it may have.
    Busy,
    /// Nothing to ask for before this time.
    Nothing(Option<Instant>),
}

impl Repair {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            rules: config.rules(),
            servers: Servers::new(config),
            evaluate_at: None,
            starved: false,
            insisted: false,
            first_seen_at: None,
            claim_waits: false,
            probe_at: Instant::ZERO,
            tail_known: false,
        }
    }

    /// Something changed that requests depend on.
    pub(super) const fn invalidate(&mut self) {
        self.evaluate_at = Some(Instant::ZERO);
    }

    /// A session is being left: the end of it must be asked for.
    pub(super) const fn probe_tail(&mut self) {
        self.tail_known = false;
        self.probe_at = Instant::ZERO;
        self.invalidate();
    }

    /// Returns true if nothing more will be learnt about the tail of the session that is being left.
    pub(super) fn tail_is_known(&self) -> bool {
        self.tail_known || self.servers.count() == 0
    }

    /// Makes due what every line that is up passed of the current session.
    pub(super) fn note_passed(&mut self, space: &mut Space, lines: &Lines) {
        if space.gaps.missing().is_empty() {
            return;
        }
        let passed = lines.passed();
        if passed > space.ask_up_to {
            let next = space.gaps.at_or_after(space.ask_up_to + 1);
            if next.is_some_and(|range| range.first <= passed) {
                self.invalidate();
            }
            space.ask_up_to = passed;
        }
    }

    /// Lines filled `first..=last`, or it was withdrawn: cancels the requests of which nothing is missing any
    /// more, and says how many.
    pub(super) fn cancel(&mut self, space: &Space, first: u64, last: u64) -> u64 {
        let matters = |span: Span| {
            space.gaps.at_or_after(span.first).is_some_and(|range| range.first <= span.last)
        };
        self.servers.cancel(Span { session: space.session, first, last }, matters)
    }

    /// Deals with the requests that were not answered by now: how many still mattered.
    pub(super) fn expire(&mut self, now: Instant, spaces: &mut [Space; 2]) -> u64 {
        self.first_seen_at.get_or_insert(now);
        self.servers.quotas.begin(now);
        let mut timed_out = 0;
        while let Some(late) = self.servers.expire(now) {
            let request = late.0;
            self.invalidate();
            timed_out += u64::from(!request.idle);
            let session = request.span.session;
            if request.is_probe() {
                self.probe_at = now + self.rules.probe_after;
                self.tail_known |= spaces[0].session == session;
            } else if !request.idle
                && let Some(space) = spaces.iter_mut().find(|space| space.receives(session))
            {
                self.mark_unanswered(now, space, late);
            }
        }
        timed_out
    }

    /// Notes on what is still missing of a request's span that the server left it unanswered.
    fn mark_unanswered(&mut self, now: Instant, space: &mut Space, late: TimedOut) {
        let (InFlightRequest { server, span, .. }, answers_others) = late;
        let Span { first: mut from, last, .. } = span;
        loop {
            let range = space.gaps.at_or_after(from).filter(|range| range.first <= last);
            let Some(&range) = range else { return };
            let part = (range.first.max(from), range.last.min(last));
            let mut value = range.value;
            value.tried_servers |= bit(server);
            value.retry_at = now;
            value.unanswered = value.unanswered.saturating_add(1);
            if answers_others && space.is_proved(part.1) {
                value.attempts = value.attempts.saturating_add(1);
            }
            if !self.servers.any_untried(now, value.tried_servers) {
                value.tried_servers = 0;
                value.retry_at = now + self.servers.range_backoff(server, value.unanswered);
            }
            // Without room for the note the range is asked for again as if for the first time.
            let _ = space.gaps.mark(part.0, part.1, value);
            let Some(next) = part.1.checked_add(1).filter(|next| *next <= last) else { return };
            from = next;
        }
    }

    /// Returns true if there may be something to ask for now. Ends the starving, where there is room again.
    pub(super) fn wake(&mut self, now: Instant, store: &Store) -> bool {
        if self.starved && store.has_room() {
            self.starved = false;
            self.invalidate();
        }
        self.servers.count() > 0 && self.evaluate_at.is_some_and(|at| at <= now)
    }

    /// The request to a server for a message that one of these claims says exists: its answer is believed at
    /// once.
    pub(super) fn ask_about<'a>(
        &mut self,
        now: Instant,
        mut claims: impl Iterator<Item = &'a mut Candidate>,
    ) -> Option<Command> {
        let claim = claims.find(|claim| !claim.probed);
        self.claim_waits = claim.is_some();
        let claim = claim?;
        let number = claim.span.last.max(1);
        let request = self.probe(now, Span { first: number, last: number, ..claim.span })?;
        claim.probed = true;
        Some(request)
    }

    /// The next request for what is missing.
    pub(super) fn poll(
        &mut self,
        now: Instant,
        spaces: &mut [Space; 2],
        lines: &Lines,
        store: &Store,
    ) -> Option<Command> {
        let mut deadline = self.servers.rest_deadline(now).filter(|_| self.claim_waits);
        for space in spaces.iter_mut().filter(|space| space.is_active()) {
            match self.next_ask(now, space, lines, store) {
                Found::Ask(ask) => return self.servers.request(now, ask),
                Found::Busy => {
                    deadline = earliest(deadline, self.servers.rest_deadline(now));
                    break;
                }
                Found::Nothing(at) => deadline = earliest(deadline, at),
            }
        }
        match self.tail_probe_at(&spaces[0], lines) {
            Some(at) if at <= now => {
                let Space { session, highest_known, .. } = spaces[0];
                let tail = Span { session, first: highest_known + 1, last: u64::MAX };
                if let Some(request) = self.probe(now, tail) {
                    return Some(request);
                }
                deadline = earliest(deadline, self.servers.rest_deadline(now));
            }
            at => deadline = earliest(deadline, at),
        }
        self.evaluate_at = deadline;
        None
    }

    /// When a request times out, or what is missing must be evaluated again, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        earliest(self.servers.deadline(), self.evaluate_at.filter(|_| self.servers.count() > 0))
    }

    /// The lowest missing range that may be asked for now, and whom; every other time another than the lowest.
    fn next_ask(&mut self, now: Instant, space: &mut Space, lines: &Lines, store: &Store) -> Found {
        let mut wait = space.make_due_by_age(now, self.reorder_delay(now, lines));
        let ordered = space.rules.delivery == Delivery::Ordered;
        let reach = if ordered && !store.has_room() { space.held.furthest(store) } else { None };
        let servers = &mut self.servers;
        let mut other: Option<(u8, Ask)> = None;
        let mut others = 0;
        let mut considered = 0;
        let mut ranges = space.gaps.missing().ranges_from(0);
        while let Some(range) = ranges.next() {
            if range.first > space.ask_up_to {
                break;
            }
            if reach.is_some_and(|reach| range.first > reach) {
                self.starved = true;
                break;
            }
            let value = range.value;
            if value.attempts >= self.rules.max_attempts {
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
            let ask = (server, unasked, purpose);
            if !self.insisted {
                self.insisted = value.unanswered > 0 || servers.is_silent(server);
                return Found::Ask(ask);
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
            considered += 1;
            if considered == CONSIDERED && space.gaps.missing().len() > 2 * CONSIDERED {
                let last = reach.map_or(space.ask_up_to, |reach| reach.min(space.ask_up_to));
                let number = servers.anywhere(server, range.last, last.max(range.last));
                ranges = space.gaps.missing().ranges_from(number.max(range.last.saturating_add(1)));
            } else if considered == 2 * CONSIDERED {
                break;
            }
        }
        if let Some((_, (server, span, purpose))) = other {
            self.insisted = false;
            let first = servers.anywhere(server, span.first, span.last);
            return Found::Ask((server, Span { first, ..span }, purpose));
        }
        Found::Nothing(wait)
    }

    /// When a server is to be asked for what comes next: all lines are silent, or the session is
    /// being left.
    fn tail_probe_at(&self, space: &Space, lines: &Lines) -> Option<Instant> {
        let nothing_comes = space.evidence.end.is_some() || space.highest_known == u64::MAX;
        if !space.is_active() || nothing_comes || self.servers.is_probing(space.session) {
            return None;
        }
        if space.closing().is_some() {
            return (!self.tail_known).then_some(self.probe_at);
        }
        let last_packet = lines.last_packet_at().max(self.first_seen_at)?;
        Some(self.probe_at.max(last_packet + self.rules.probe_after))
    }

    /// A request for what may not exist.
    fn probe(&mut self, now: Instant, span: Span) -> Option<Command> {
        let server = self.servers.choose(now, 0)?;
        self.servers.request(now, (server, span, Purpose::Probe))
    }

    /// How long a gap waits for what is late: the configured delay, or twice the measured lag
    /// where that is more. Not at all where nothing is expected to be late, and asking in vain costs nothing.
    fn reorder_delay(&self, now: Instant, lines: &Lines) -> Duration {
        if lines.are_orderly(now) && self.servers.quotas.is_empty() {
            return Duration::ZERO;
        }
        let lag = lines.lag().saturating_mul(2);
        lag.max(self.rules.reorder_delay).min(self.rules.max_reorder_delay)
    }
}

impl Space {
    /// Makes due what has waited for `delay` since its gap opened; returns when the next will have.
    fn make_due_by_age(&mut self, now: Instant, delay: Duration) -> Option<Instant> {
        loop {
            let range = self.gaps.at_or_after(self.ask_up_to.checked_add(1)?)?;
            let due_at = self.gaps.opened(range) + delay;
            if due_at > now {
                return Some(due_at);
            }
            self.ask_up_to = range.last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Session;
    use crate::receiver::ServerId;

    #[test]
    fn a_gap_is_asked_for_after_the_reordering_delay_and_then_of_the_other_server() {
        let at = Instant::from_millis;
        let address = |port| ([127, 0, 0, 1], port).into();
        let servers = alloc::vec![(ServerId(0), address(1)), (ServerId(1), address(2))];
        let config = Config { servers, ..Config::default() };
        let (lines, store) = (Lines::new(&config), Store::new(1 << 17, 16));
        let mut spaces = [Space::new(&config), Space::new(&config)];
        spaces[0].start(Session::new(*b"SESSION001"), 0);
        spaces[0].gaps.open(at(0), 1, 10).unwrap();
        (spaces[0].tracked, spaces[0].highest_known) = (20, 20);

        let mut repair = Repair::new(&config);
        repair.invalidate();
        assert!(repair.wake(at(0), &store));
        assert!(repair.poll(at(0), &mut spaces, &lines, &store).is_none());
        assert_eq!(repair.deadline(), Some(at(2)));
        for (server, now) in [(0, 2), (1, 52)] {
            assert_eq!(repair.expire(at(now), &mut spaces), server.into());
            assert!(repair.wake(at(now), &store));
            let request = repair.poll(at(now), &mut spaces, &lines, &store);
            let Some(Command::Request { server: asked, request, .. }) = request else {
                panic!("{request:?}")
            };
            assert_eq!((asked, request.sequence, request.count), (ServerId(server), 1, 10));
            assert!(repair.poll(at(now), &mut spaces, &lines, &store).is_none());
        }
    }
}
