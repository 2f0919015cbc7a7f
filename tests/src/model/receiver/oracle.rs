//! Properties of everything that a receiver emits, whatever it was given. Derived from the
//! rules, not from the code: it keeps no queues and no timers, only what was said and what came.

mod claims;
mod order;

use gapless_core::receiver::{
    Batch, Command, Config, Delivery, Event, LineId, LossReason, OnLoss, Origin, Receiver,
    ServerId, SessionEnd, Source, Start, Stats,
};
use gapless_core::wire::mold;
use gapless_core::{Duration, Instant, Machine, Session};
use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::case::{Case, World};
use super::feed::Feed;
use super::trace::{Said, Step};
use super::track::{Gap, Track, missing};
use crate::model::numbers::Numbers;
use crate::quotas::Rations;
use order::Order;

/// The first messages of a session, which are compared when they come again.
const OPENING: u64 = 64;

#[derive(Debug, Default)]
struct Line {
    up: bool,
    /// When it last brought a packet of the current session, and when anything.
    packet: Instant,
    anything: Instant,
    order: Order,
}

/// Checks what a receiver says.
#[derive(Debug)]
pub(super) struct Oracle {
    world: World,
    /// No limit is ever near.
    is_roomy: bool,
    config: Config,
    now: Instant,
    tracks: BTreeMap<Session, Track>,
    current: Option<Session>,
    /// The session that was started while the current one is still repaired.
    successor: Option<Session>,
    sessions_started: u32,
    /// The number after the loss that delivery stopped at.
    halted: Option<u64>,
    lines: BTreeMap<LineId, Line>,
    /// When a line last came up, or went down, or away.
    lines_changed: Instant,
    servers: BTreeMap<ServerId, SocketAddr>,
    useful: Instant,
    /// When a line last brought what lies in a gap.
    moved: Instant,
    asked: Vec<mold::Request>,
    rations: Rations,
    /// How often each server was asked.
    times_asked: BTreeMap<ServerId, u32>,
    /// Whether a server went, and perhaps what it answered with it.
    has_removed: bool,
    /// Requests to each server since something may have freed its window.
    burst: BTreeMap<ServerId, (Instant, u32)>,
    /// Events that may free the windows of servers.
    windows_freed: u64,
    before: Stats,
    counted: Counted,
}

/// The statistics that the receiver must have counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    delivered: u64,
    lost: u64,
    gaps: u64,
    filled: u64,
    requests: u64,
    requested: u64,
    contradictions: u64,
}

impl Oracle {
    pub(super) fn new(case: &Case) -> Self {
        let config = &case.config;
        Self {
            world: case.world,
            is_roomy: case.is_roomy(),
            config: config.clone(),
            now: Instant::ZERO,
            tracks: BTreeMap::new(),
            current: None,
            successor: None,
            sessions_started: 0,
            halted: None,
            lines: config.lines.iter().map(|line| (*line, Line::default())).collect(),
            lines_changed: Instant::ZERO,
            servers: config.servers.iter().copied().collect(),
            useful: Instant::ZERO,
            moved: Instant::ZERO,
            asked: Vec::new(),
            rations: Rations::new(&config.quotas),
            times_asked: BTreeMap::new(),
            has_removed: false,
            burst: BTreeMap::new(),
            windows_freed: 0,
            before: Stats::default(),
            counted: Counted::default(),
        }
    }

    pub(super) fn address(&self, server: ServerId) -> Option<SocketAddr> {
        self.servers.get(&server).copied()
    }

    pub(super) fn has_ended(&self, session: Session) -> bool {
        self.tracks.get(&session).is_some_and(|track| track.ended)
    }

    /// The number to go on at after a halt.
    pub(super) fn halted_before(&self) -> Option<u64> {
        self.halted
    }

    /// Whether everything from the session's start to `last` was delivered, or lost.
    pub(super) fn is_complete(&self, session: Session, last: Option<u64>) -> bool {
        let Some(track) = self.tracks.get(&session) else { return false };
        match (track.start, last) {
            (Some(start), Some(last)) => start > last || track.settled.covers(start, last),
            (start, None) => start.is_some(),
            (None, Some(_)) => false,
        }
    }

    /// Whether the session was told to start after a number.
    pub(super) fn starts_after(&self, session: Session, number: u64) -> bool {
        self.tracks.get(&session).and_then(|track| track.start).is_some_and(|start| start > number)
    }

    /// Checks what was said to one step.
    pub(super) fn check(
        &mut self,
        feed: &Feed,
        receiver: &Receiver,
        now: Instant,
        step: &Step,
        said: &Said,
    ) {
        self.now = now;
        let stats = receiver.stats();
        if stats.useful_answers > self.before.useful_answers {
            self.useful = now;
        }
        self.take(feed, step, stats);
        self.cut_ended();
        for command in &said.commands {
            self.hear(feed, command);
        }
        for track in self.tracks.values_mut() {
            if let Some((first, last)) = track.arrives.take() {
                track.held.add(first, last);
            }
        }
        self.check_gaps(matches!(step, Step::Timeout { .. }));
        self.check_silence(matches!(step, Step::Timeout { .. }), said);
        self.check_lines(matches!(step, Step::Timeout { .. }));
        self.check_counters(receiver, stats);
        self.check_checkpoint(receiver);
        if matches!(step, Step::Timeout { .. }) {
            assert!(said.timeout.is_none_or(|timeout| timeout > now), "it spins: {said:?}");
        }
        self.before = stats.clone();
    }

    /// Notes what a step brings.
    fn take(&mut self, feed: &Feed, step: &Step, stats: &Stats) {
        if !matches!(step, Step::Timeout { .. }) {
            self.burst.clear();
        }
        if self.is_put_off(stats) {
            for track in self.tracks.values_mut() {
                track.held = Numbers::default();
                track.gaps.iter_mut().for_each(|gap| gap.cut = true);
            }
        }
        match step {
            Step::Datagram { source, bytes, .. } => {
                self.take_datagram(feed, *source, bytes, stats);
            }
            Step::Timeout { .. } => (),
            Step::Change(Event::AddLine(line)) => {
                let anything = self.now;
                self.lines.entry(*line).or_insert(Line { anything, ..Line::default() });
            }
            Step::Change(Event::RemoveLine(line)) => {
                self.lines.remove(line);
                self.lines_changed = self.now;
                // What a candidate holds is taken in later, as the packets of whichever line has the number then.
                for Track { packets, highest_known, .. } in self.tracks.values_mut() {
                    packets.retain(|(of, last)| of != line || last > highest_known);
                }
            }
            Step::Change(Event::AddServer(server, address)) => {
                self.windows_freed += 1;
                self.servers.insert(*server, *address);
            }
            Step::Change(Event::RemoveServer(server)) => {
                self.windows_freed += 1;
                self.has_removed = true;
                self.times_asked.remove(server);
                self.servers.remove(server);
            }
            Step::Change(Event::Advance { next }) => {
                self.windows_freed += 1;
                self.advance(*next);
            }
            Step::Change(Event::Datagram(_)) => unreachable!("datagrams are steps of their own"),
        }
    }

    /// An end that contradicts what was spoken of may be highest_known: then what lies behind it is dropped.
    fn cut_ended(&mut self) {
        for track in self.tracks.values_mut() {
            let Some(end) = track.ends.filter(|end| *end < track.evidence) else { continue };
            track.held = Numbers::default();
            track.gaps.iter_mut().filter(|gap| gap.last > end).for_each(|gap| gap.cut = true);
        }
    }

    /// Whether something was dropped for want of memory.
    fn is_put_off(&self, stats: &Stats) -> bool {
        stats.put_off_for_memory != self.before.put_off_for_memory
            || stats.put_off_for_gaps != self.before.put_off_for_gaps
    }

    fn advance(&mut self, next: u64) {
        self.halted = None;
        if self.sessions_started == 0 {
            self.config.start = Start::At(next);
        }
        let Some(track) = self.current.and_then(|session| self.tracks.get_mut(&session)) else {
            return;
        };
        let start = track.start.unwrap_or(next);
        if start < next {
            track.settled.add(start, next - 1);
            track.highest_known = track.highest_known.max(next - 1);
        }
        for gap in track.gaps.iter_mut().filter(|gap| gap.first < next) {
            gap.cut = true;
        }
        track.gaps.retain(|gap| gap.last >= next);
    }

    fn take_datagram(&mut self, feed: &Feed, source: Source, bytes: &[u8], stats: &Stats) {
        let before = &self.before;
        let dropped = self.is_put_off(stats)
            || stats.claims_withdrawn != before.claims_withdrawn
            || stats.unbelieved != before.unbelieved
            || stats.malformed_answers != before.malformed_answers
            || stats.ends_refused != before.ends_refused;
        let (line, peer) = match source {
            Source::Line(line) => (Some(line), None),
            Source::LineFrom(line, peer) => (Some(line), Some(peer)),
            Source::Peer(peer) => (None, Some(peer)),
        };
        if let Some(line) = line.and_then(|line| self.lines.get_mut(&line)) {
            line.anything = self.now;
        }
        let is_server = peer.is_some_and(|peer| self.servers.values().any(|known| *known == peer));
        let Some((session, first, last)) = spoken_of(bytes) else { return };
        let is_line = line.is_some_and(|line| self.lines.contains_key(&line));
        if !is_line && !is_server && line.is_some() {
            return;
        }
        let is_current = self.current == Some(session) || self.successor == Some(session);
        if let Some(line) = line.and_then(|line| self.lines.get_mut(&line))
            && is_current
            && !is_server
        {
            line.packet = self.now;
            line.order.note(self.now, last);
        }
        let track = self.tracks.entry(session).or_default();
        if first <= last {
            track.given.add(first, last);
            let messages = mold::Packet::new_checked(bytes).expect("a packet").messages();
            let (_, message) = messages.last().expect("as many messages as it counts");
            if message == feed.payload(session, last) {
                track.plain.add(first, last);
            } else {
                track.altered.insert(last, message.to_vec());
                if first < last {
                    track.plain.add(first, last - 1);
                }
            }
        }
        if stats.suspected != before.suspected {
            // Only what begins a session in another way, or goes on behind that, is dropped for it.
            assert!(!track.altered.is_empty(), "{session:?} {first}..={last} is the feed");
            return;
        }
        // An answer that continues the feed is as good as the feed.
        if is_server {
            track.evidence = track.evidence.max(last);
        }
        if line.is_some() && bytes[18..20] == mold::END_OF_SESSION.to_be_bytes() {
            track.ends = Some(track.ends.map_or(last, |end| end.min(last)));
        }
        // A server's packet on a line's socket is the line's where the request that it answers is over.
        if let Some(line) = line.filter(|_| is_line) {
            // Behind the last number there is none: senders name that number itself.
            let is_last = first == u64::MAX && track.highest_known == u64::MAX;
            track.packets.push((line, if is_last { first } else { last }));
        }
        if line.is_some() {
            track.spoken.insert(last.max(1));
            track.evidence = track.evidence.max(last);
            // A candidate that is not believed yet confirms nothing.
            let near = first <= track.highest_known.saturating_add(self.config.max_jump);
            let confirms = near && is_line && !is_server;
            for gap in &mut track.gaps {
                gap.confirmed += u32::from(confirms && gap.last <= last);
                gap.brought += u32::from(confirms && gap.last <= last && first <= last);
            }
        }
        if !is_current || first > track.highest_known.saturating_add(self.config.max_jump) {
            return;
        }
        if is_line && !is_server {
            track.highest_known = track.highest_known.max(last);
        }
        if is_line && track.gaps.iter().any(|gap| gap.first <= last && first <= gap.last) {
            self.moved = self.now;
        }
        if first <= last && (is_line || is_server) && !dropped {
            track.brought = track.brought.max(last.min(track.highest_known));
        }
        // Messages of an answer beyond the live edge need not be kept.
        let kept = last.min(track.highest_known);
        let is_heard = is_line || is_server && line.is_none();
        // Behind an end it may be a candidate.
        let is_behind = track.ends.is_some_and(|end| end < kept);
        if is_heard && !dropped && !is_behind && first <= kept {
            track.arrives = Some((first, kept));
        }
    }

    /// Checks one command against all that is known.
    fn hear(&mut self, feed: &Feed, command: &Command) {
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
    fn is_passed(&self, session: Session, number: u64) -> bool {
        let packets = &self.tracks[&session].packets;
        let has_passed = |line: &LineId| {
            let of_line = packets.iter().filter(|(of, _)| of == line);
            let passed = of_line.skip_while(|(_, last)| *last < number).count();
            passed >= self.config.reorder_packets.into()
        };
        let mut up = self.lines.iter().filter(|(_, line)| line.up).map(|(id, _)| id).peekable();
        up.peek().is_some() && up.all(has_passed)
    }

    /// Everything complete was reported so, and after a timeout nothing waits that should be given up.
    fn check_gaps(&mut self, timed_out: bool) {
        let (now, halted) = (self.now, self.halted.is_some());
        let useful = self.useful.max(self.moved);
        let exact = timed_out && self.world == World::Impatient && !halted;
        let (give_up, believe_after) = (self.give_up(), self.config.believe_after);
        let (patience, heard) = (self.patience(), self.last_heard());
        for track in self.tracks.values_mut() {
            for gap in track.gaps.iter().filter(|gap| !gap.cut && !gap.lost) {
                let is_complete = track.delivered.covers(gap.first, gap.last);
                assert!(!is_complete, "{gap:?} is complete and not filled");
            }
            let Track { gaps, given, settled, brought, .. } = track;
            // Those are not reported as filled; what came of them may have been dropped again.
            let is_over = |gap: &Gap| missing(gap, &Numbers::default(), settled).is_none();
            gaps.retain(|gap| !(gap.cut || gap.lost) || !is_over(gap));
            let is_due = |gap: &&Gap| {
                let since = gap.opened.max(useful);
                let is_old = match (gap.last < *brought, gap.brought > believe_after.into()) {
                    (true, true) => now.since(since) >= give_up,
                    (true, false) => now.since(since) >= patience,
                    (false, _) => now.since(since.max(heard)) >= patience,
                };
                !gap.cut && gap.confirmed > believe_after.into() && is_old
            };
            for gap in gaps.iter().filter(is_due).filter(|_| exact) {
                let waits = missing(gap, given, settled);
                assert_eq!(waits, None, "{gap:?} is not given up at {now:?}, useful {useful:?}");
            }
        }
    }

    fn check_lines(&self, timed_out: bool) {
        for (id, line) in &self.lines {
            let silent = self.now.since(line.anything) >= self.config.line_timeout;
            assert!(!(timed_out && line.up && silent), "{id:?} is not told as down: {line:?}");
        }
    }

    fn check_counters(&self, receiver: &Receiver, stats: &Stats) {
        let counted = Counted {
            delivered: stats.delivered,
            lost: stats.lost,
            gaps: stats.gaps,
            filled: stats.gaps_filled_by_line + stats.gaps_filled_by_request,
            requests: stats.requests,
            requested: stats.requested_messages,
            // A claim that is believed may bring several to one drain, which tells of one.
            contradictions: stats.contradictions.min(self.counted.contradictions),
        };
        assert_eq!(counted, self.counted, "what was said and what was counted");
        for server in self.servers.keys() {
            let server = receiver.server(*server).expect("a server that exists");
            assert!(server.in_flight <= self.config.max_in_flight, "{server:?}");
            assert!((1..=self.config.max_in_flight).contains(&server.window), "{server:?}");
            assert!(server.answer_size >= 1, "{server:?}");
        }
        let waits = self.now.as_nanos() / self.config.min_request_timeout.as_nanos() as u64;
        let windows = (waits + 1 + self.windows_freed) * u64::from(self.config.max_in_flight) * 2;
        let bound = stats.useful_answers + stats.requests_cancelled + windows;
        assert!(stats.requests <= bound, "{} requests where {bound} may be", stats.requests);
    }

    fn check_checkpoint(&self, receiver: &Receiver) {
        for server in self.servers.keys() {
            let stats = receiver.server(*server).expect("a server that is there");
            self.rations.check_left(self.now, *server, &stats);
        }
        let Some(session) = self.current else { return };
        let track = &self.tracks[&session];
        let checkpoint = receiver.checkpoint().expect("a current session has a checkpoint");
        let next = track.settled.first_missing(track.start.unwrap_or(1)).unwrap_or(u64::MAX);
        assert_eq!((checkpoint.session, checkpoint.next), (session, next), "checkpoint");
    }
}

/// The session of a well-formed packet and the numbers `first..=last` that it brings; for heartbeats
/// and ends `last` is the number before theirs, and below `first`.
pub(super) fn spoken_of(bytes: &[u8]) -> Option<(Session, u64, u64)> {
    let (header, mut rest) = bytes.split_at_checked(20)?;
    let session = Session::new(header[..10].try_into().ok()?);
    let first = u64::from_be_bytes(header[10..18].try_into().ok()?);
    let count = u16::from_be_bytes(header[18..].try_into().ok()?);
    if first == 0 {
        return None;
    }
    if count == 0 || count == u16::MAX {
        return Some((session, first, first - 1));
    }
    for _ in 0..count {
        let (length, behind) = rest.split_at_checked(2)?;
        rest = behind.split_at_checked(usize::from(u16::from_be_bytes([length[0], length[1]])))?.1;
    }
    Some((session, first, first.checked_add(u64::from(count) - 1)?))
}
