//! Properties of everything that a receiver emits, whatever it was given. Derived from the
//! rules, not from the code: it keeps no queues and no timers, only what was said and what came.

mod claims;
mod commands;
mod order;

use gapless_core::receiver::{Config, Event, LineId, Receiver, ServerId, Source, Start, Stats};
use gapless_core::wire::mold;
use gapless_core::{Instant, Machine, Session};
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
