//! Commands: each against everything that came, and everything that was emitted before it.

use gapless_core::receiver::{
    Batch, Command, Config, Delivery, LineId, LossReason, OnLoss, Origin, ServerId, SessionEnd,
    Start,
};
use gapless_core::wire::mold;
use gapless_core::{Duration, Instant, Session};
use std::net::SocketAddr;

use super::{OPENING, Oracle};
use crate::model::receiver::case::World;
use crate::model::receiver::feed::Feed;
use crate::model::receiver::track::{Gap, Track};

impl Oracle {
    /// Checks one command against all that is known.
    pub(super) fn hear(&mut self, feed: &Feed, command: &Command) {
        match command {
            Command::Batch(message) => self.on_message(feed, message),
            Command::Request { server, to, request } => self.on_request(*server, *to, request),
            Command::SessionStarted { session, next } => self.on_started(*session, *next),
            Command::SessionEnded { session, next, reason } => {
                self.on_ended(feed, *session, *next, *reason);
            }
            Command::GapOpened { session, first, last } => {
                self.on_gap(*session, *first, *last);
            }
            Command::GapFilled { session, first, last, by_lines, by_answers, after } => {
                let by = by_lines + by_answers;
                self.on_filled(*session, (*first, *last), by, *after);
            }
            Command::Lost { session, first, last, reason } => {
                self.on_lost(*session, *first, *last, *reason);
            }
            Command::Halted { session, next } => {
                assert_eq!(self.config.on_loss, OnLoss::Halt);
                let lost = &self.tracks[session].lost;
                let is_last = *next == u64::MAX && lost.covers(*next, *next);
                assert!(is_last || lost.covers(next - 1, next - 1), "{command:?} after no loss");
                self.halted = Some(*next);
            }
            Command::LineUp(line) => {
                let line = self.lines.get_mut(line).expect("a line that exists");
                assert!(!line.up && line.anything == self.now, "{command:?}: {line:?}");
                line.up = true;
                line.order.begin(self.now);
                self.lines_changed = self.now;
            }
            Command::LineDown(id) => {
                let line = self.lines.get_mut(id).expect("a line that exists");
                let silent = self.now.since(line.packet) >= self.config.line_timeout;
                assert!(line.up && silent, "{command:?} at {:?}: {line:?}", self.now);
                line.up = false;
                self.lines_changed = self.now;
            }
            Command::Withdrawn { session, first, last } => {
                self.on_withdrawn(*session, *first, *last);
            }
            Command::Stalled { session, first, last } => self.on_stalled(*session, *first, *last),
            Command::SequenceRegressed { line, highest, seen, .. } => {
                assert!(seen <= highest && self.lines.contains_key(line), "{command:?}");
            }
            Command::Contradiction { session, sequence, .. } => {
                let track = self.tracks.get(session).expect("a session that was heard of");
                assert!(track.start.is_some() && !track.ended, "{command:?}");
                let (number, altered) = (*sequence, track.altered.contains_key(sequence));
                let is_opening = number - track.start.expect("a start") < OPENING;
                let is_known = is_opening || !track.settled.covers(number, number);
                assert!(is_known && altered && track.plain.covers(number, number), "{command:?}");
                self.counted.contradictions += 1;
            }
        }
    }

    /// The session that is delivered: the current one, and without order its successor too.
    fn open(&mut self, session: Session) -> &mut Track {
        let ordered = self.config.delivery == Delivery::Ordered;
        let is_next = !ordered && self.successor == Some(session);
        assert!(is_next || self.current == Some(session), "{session} is not delivered");
        self.tracks.get_mut(&session).expect("a session that was started")
    }

    fn on_message(&mut self, feed: &Feed, message: &Batch<bytes::Bytes>) {
        assert_eq!(self.halted, None, "{message:?} while halted");
        let ordered = self.config.delivery == Delivery::Ordered;
        let now = self.now;
        let sequence = message.first;
        let track = self.open(message.session);
        let start = track.start.expect("a session that was started");
        assert!(sequence >= start, "{message:?} before the start {start}");
        assert!(!track.lost.covers(sequence, sequence), "{message:?} was reported as lost");
        assert!(!track.settled.covers(sequence, sequence), "{message:?} twice, or advanced over");
        assert!(track.given.covers(sequence, sequence), "{message:?} out of nothing");
        if ordered {
            let next = track.settled.first_missing(start);
            assert_eq!(next, Some(sequence), "{message:?} out of order");
        }
        track.highest_known = track.highest_known.max(sequence);
        track.delivered.add(sequence, sequence);
        track.settled.add(sequence, sequence);
        let payload = feed.payload(message.session, sequence);
        let altered = track.altered.get(&sequence).is_some_and(|altered| *altered == message.bytes);
        assert!(altered || message.bytes == payload, "{message:?} is another message");
        let repaired = message.repaired || !matches!(message.origin, Origin::Server(_));
        assert!(repaired && message.arrival <= now, "{message:?}");
        self.counted.delivered += 1;
    }

    fn on_request(&mut self, server: ServerId, to: SocketAddr, request: &mold::Request) {
        assert_eq!(self.servers.get(&server), Some(&to), "{request:?} to nobody");
        assert!((1..=self.config.max_request.min(mold::MAX_COUNT)).contains(&request.count));
        let first = request.sequence;
        let last =
            first.checked_add(u64::from(request.count) - 1).expect("no number past the last");
        let track = self.tracks.get(&request.session).expect("a session that was heard of");
        assert!(!track.ended, "{request:?} after the end");
        assert!(!track.settled.intersects(first, last), "{request:?} for what is settled");
        let arrives = track.arrives.is_some_and(|(a, b)| a <= last && first <= b);
        let held = arrives || track.held.intersects(first, last);
        assert!(!held, "{request:?} for what is held");
        // The next message is requested when all is silent, and those that a candidate brought, to confirm
        // it. Behind an end that is believed no further one, and no heartbeat, is.
        let is_behind = first > track.highest_known || track.ends.is_some_and(|end| first > end);
        let is_probe = is_behind || first == last && track.spoken.contains(&first);
        let within = |gap: &Gap| gap.cut || gap.first <= first && last <= gap.last;
        assert!(is_probe || track.gaps.iter().any(within), "{request:?} outside {:?}", track.gaps);
        assert!(is_probe || !self.is_early(request.session, first, last), "{request:?} too early");
        let burst = self.burst.entry(server).or_insert((self.now, 0));
        if self.now.since(burst.0) >= self.config.min_request_timeout {
            *burst = (self.now, 0);
        }
        burst.1 += 1;
        assert!(burst.1 <= self.config.max_in_flight.into(), "more requests than the window");
        self.asked.push(*request);
        self.rations.ask(self.now, server, request.count);
        *self.times_asked.entry(server).or_default() += 1;
        self.counted.requests += 1;
        self.counted.requested += u64::from(request.count);
    }

    fn on_started(&mut self, session: Session, next: u64) {
        assert_eq!(self.successor, None, "more than two sessions");
        assert!(self.current.is_none() || self.config.follow, "a session inside a session");
        self.sessions_started += 1;
        if self.sessions_started > 1 {
            assert!(self.config.follow, "another session without follow");
            assert_eq!(next, 1, "a session that is followed begins at 1");
        } else {
            if let Start::At(start) = self.config.start {
                assert_eq!(next, start);
            }
            assert!(self.config.session.is_none_or(|pinned| pinned == session), "not as pinned");
        }
        let track = self.tracks.entry(session).or_default();
        assert_eq!(track.start, None, "a session starts once");
        track.start = Some(next);
        track.highest_known = track.highest_known.max(next - 1);
        match self.current {
            None => self.current = Some(session),
            Some(_) => self.successor = Some(session),
        }
        self.windows_freed += 1;
    }

    fn on_ended(&mut self, feed: &Feed, session: Session, next: u64, reason: SessionEnd) {
        let (world, follow) = (self.world, self.config.follow);
        let track = self.open(session);
        let start = track.start.expect("a session that was started");
        let unsettled = track.settled.first_missing(start);
        assert!(unsettled.is_none_or(|number| number >= next), "ended before {unsettled:?}");
        assert!(reason == SessionEnd::Ended || follow, "superseded without follow");
        if world != World::Hostile {
            let end = feed.next(0);
            // A start, or an advance, past the end moves the end.
            assert!(next == end || next == track.highest_known + 1, "ended at {next}, not {end}");
            assert!(next >= end, "ended at {next}, not {end}");
            assert_eq!(reason, SessionEnd::Ended);
        }
        track.ended = true;
        track.gaps.clear();
        assert_eq!(self.current, Some(session), "ended before the one before it");
        self.current = self.successor.take();
        self.windows_freed += 1;
    }

    fn on_gap(&mut self, session: Session, first: u64, last: u64) {
        let opened = self.now;
        let track = self.tracks.get_mut(&session).expect("a session that was heard of");
        assert!(!track.ended && first <= last);
        assert!(track.start.is_none_or(|start| first >= start), "a gap before the start");
        assert!(last <= track.evidence, "a gap {first}..={last} that nothing speaks of");
        assert!(!track.settled.intersects(first, last), "a gap in what is settled");
        assert!(!track.held.intersects(first, last), "a gap {first}..={last} in what is held");
        // An evicted range is opened again.
        for gap in track.gaps.iter_mut().filter(|gap| gap.cut && gap.last >= first) {
            gap.last = first - 1;
        }
        track.gaps.retain(|gap| gap.first <= gap.last);
        let overlaps = |gap: &&Gap| !gap.cut && gap.first <= last && first <= gap.last;
        assert_eq!(track.gaps.iter().find(overlaps).map(|gap| gap.first), None, "a gap twice");
        track.highest_known = track.highest_known.max(last);
        let cut = track.ends.is_some_and(|end| end < last);
        let (lost, shortened) = (false, false);
        let (confirmed, brought) = (1, 0);
        let gap = Gap { first, last, opened, confirmed, brought, lost, shortened, cut };
        track.gaps.push(gap);
        self.counted.gaps += 1;
    }

    fn on_filled(&mut self, session: Session, range: (u64, u64), by: u64, after: Duration) {
        let (first, last) = range;
        let now = self.now;
        let track = self.tracks.get_mut(&session).expect("a session that was heard of");
        let found = track
            .gaps
            .iter()
            .position(|gap| gap.first == first && (gap.last == last || gap.cut && gap.last > last));
        let gap = track.gaps.remove(found.expect("only what was opened is filled"));
        assert!(!gap.lost, "{gap:?} is filled, though some of it was lost");
        if !gap.cut {
            let open = now.since(gap.opened);
            assert!(after == open || gap.shortened && after < open, "{gap:?} after {after:?}");
            assert!(
                track.given.covers(first, last),
                "{gap:?} is filled, though something is missing"
            );
            let count = last - first + 1;
            assert!(by == count || gap.shortened && by > count, "{by} filled {gap:?}");
        }
        self.counted.filled += 1;
    }

    fn on_lost(&mut self, session: Session, first: u64, last: u64, reason: LossReason) {
        let is_stuck = reason == LossReason::NobodyToAsk;
        let is_patient = self.world == World::Patient && !is_stuck;
        assert!(!is_patient, "lost {first}..={last} with patience");
        assert!(!is_stuck || !self.is_roomy, "lost {first}..={last} where there is room");
        let times_asked = |server| self.times_asked.get(server).copied().unwrap_or(0);
        let asked_in_vain = self.servers.keys().all(|server| times_asked(server) >= 2);
        let (has_removed, has_servers) = (self.has_removed, !self.servers.is_empty());
        let is_hostile = self.world == World::Hostile;
        let is_passed = self.is_passed(session, last);
        let (now, useful) = (self.now, self.useful);
        let give_up = self.give_up();
        let Config { max_stall, max_attempts, follow, .. } = self.config;
        let is_replaced = follow && self.tracks.len() > 1;
        let asked = |request: &&mold::Request| {
            request.session == session
                && request.sequence <= last
                && first <= request.sequence + u64::from(request.count - 1)
        };
        let is_rationed = !self.servers.is_empty()
            && self.servers.keys().all(|server| self.rations.may_hold_back(now, *server));
        let attempts = self.asked.iter().filter(asked).count();
        let since_useful = if self.world == World::Hostile { Instant::ZERO } else { useful };
        let patience = self.patience();
        self.check_reason(session, (first, last), reason);
        let track = self.open(session);
        assert!(track.start.is_some_and(|start| start <= first) && first <= last);
        assert!(!track.settled.intersects(first, last), "lost {first}..={last} is settled already");
        assert!(!track.held.intersects(first, last), "lost {first}..={last} is held");
        for gap in track.gaps.iter_mut().filter(|gap| gap.first <= last && first <= gap.last) {
            gap.lost = true;
            let is_given_up = now.since(gap.opened.max(since_useful)) >= give_up;
            let is_stalled = max_stall.is_some_and(|stall| now.since(gap.opened) >= stall);
            let may = match reason {
                LossReason::GivenUp => is_given_up,
                LossReason::Stalled => is_stalled,
                LossReason::Quota => is_rationed && (is_given_up || is_stalled || is_replaced),
                LossReason::Unanswered => attempts >= max_attempts.into(),
                LossReason::SessionLeft => is_replaced,
                LossReason::NobodyToAsk => {
                    let lately = useful > Instant::ZERO && useful + give_up >= gap.opened;
                    let is_answered = has_servers && !has_removed && lately;
                    asked_in_vain && is_passed && (is_hostile || !is_answered)
                }
                LossReason::ClaimedOnly => {
                    is_replaced || now.since(gap.opened.max(since_useful)) >= patience
                }
            };
            assert!(
                may || gap.cut,
                "{first}..={last} of {gap:?} lost too early at {now:?}, useful {useful:?}: {reason}"
            );
        }
        track.lost.add(first, last);
        track.settled.add(first, last);
        self.counted.lost = self.counted.lost.saturating_add((last - first).saturating_add(1));
    }

    /// Whether every line that is up brought `reorder_packets`, of any kind, from the first that passed a number on;
    /// a candidate's came before what they passed was reported, and an evicted range's before it was refetched.
    pub(super) fn is_passed(&self, session: Session, number: u64) -> bool {
        let packets = &self.tracks[&session].packets;
        let has_passed = |line: &LineId| {
            let of_line = packets.iter().filter(|(of, _)| of == line);
            let passed = of_line.skip_while(|(_, last)| *last < number).count();
            passed >= self.config.reorder_packets.into()
        };
        let mut up = self.lines.iter().filter(|(_, line)| line.up).map(|(id, _)| id).peekable();
        up.peek().is_some() && up.all(has_passed)
    }
}
