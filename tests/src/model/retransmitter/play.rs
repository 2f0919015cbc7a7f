//! A retransmitter beside its model.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::ops::RangeInclusive;
use std::collections::VecDeque;

use bytes::Bytes;
use gapless_core::machine::Undrained;
use gapless_core::retransmitter::{Command, Event, LookUpId, Retransmitter, Stats};
use gapless_core::wire::mold::{LENGTH_LEN, MAX_DATAGRAM, Request};
use gapless_core::{Duration, Instant, Machine, Session};

use super::case::SESSIONS;
use super::runs::Run;
use super::{Case, Fate, Held, LookUp, Model, Op, Wanted, message, packet, place};
use crate::model::memory::{Ledger, check_charged};
use crate::model::recorded::{Played, Tape};

/// Entries of the index that a history of 256 KiB has, and blocks that it has at least.
const SEGMENTS: usize = 256;
const BLOCKS: usize = 3;
const BLOCK: usize = 64 << 10;

pub(super) struct Play {
    retransmitter: Played<Retransmitter>,
    model: Model,
    base: u64,
    ledger: Ledger,
    /// The messages that are held, as they came.
    arrivals: VecDeque<Run>,
    /// How far each session was fed.
    fed: [u64; SESSIONS.len()],
    /// Whether messages left for another reason than that the blocks were full.
    crowded: bool,
    holds: bool,
    /// Whether what is stored is sent on the lines, too.
    sends: bool,
    outside: Vec<(Bytes, Vec<u8>)>,
}

impl Play {
    pub(super) fn new(case: &Case) -> Self {
        let mut ledger = Ledger::new();
        let (config, tape) = (case.config.clone(), Tape::of(case.ops.len()));
        let retransmitter = ledger.during(|| Played::new(config, tape.as_ref()));
        Self {
            retransmitter,
            model: Model::new(case),
            base: case.base,
            ledger,
            arrivals: VecDeque::new(),
            fed: [case.base; SESSIONS.len()],
            crowded: false,
            holds: false,
            sends: false,
            outside: Vec::new(),
        }
    }

    pub(super) fn run(mut self, ops: &[Op]) {
        for op in ops {
            self.step(*op);
            self.check();
        }
        self.step(Op::Hold(false));
        self.check();
        self.retransmitter.replay();
    }

    fn step(&mut self, op: Op) {
        let later = |micros: u32| self.model.now + Duration::from_micros(micros.into());
        match op {
            Op::Feed { session, packets, count } => {
                self.sends = true;
                self.store(session, self.fed[usize::from(session)], packets, count);
                self.sends = false;
            }
            Op::InTurn { packets, count } => {
                for session in (0..SESSIONS.len() as u8).cycle().take(packets as usize * 3) {
                    self.store(session, self.fed[usize::from(session)], 1, count);
                }
            }
            Op::Store { session, first, count } => {
                self.store(session, self.base + u64::from(first), 1, count);
            }
            Op::Strays { session, first, packets } => {
                for stray in 0..u64::from(packets) {
                    self.store(session, self.base + u64::from(first) + 2 * stray, 1, 1);
                }
            }
            Op::StoreNothing(what) => self.store_nothing(what),
            Op::Request { peer, session, first, count } => {
                self.request(peer, session, self.base + u64::from(first), count);
            }
            Op::RequestBack { peer, session, back, count } => {
                let first = self.fed[usize::from(session)].saturating_sub(back.into());
                self.request(peer, session, first, count);
            }
            Op::Nonsense(len) => self.nonsense(len),
            Op::Found { nth, before, count } => self.found(nth, before, count),
            Op::NotFound(nth) => self.not_found(nth),
            Op::Wait(micros) => self.wait(later(micros)),
            Op::Timeout => {
                if let Some(at) = self.retransmitter.poll_timeout() {
                    self.wait(at);
                    assert!(self.retransmitter.poll_timeout().is_none_or(|next| next > at));
                }
            }
            Op::Hold(holds) => {
                self.holds = holds;
                for (bytes, copy) in self.outside.drain(..) {
                    assert_eq!(bytes[..], copy[..], "an answer held outside was written to");
                    self.ledger.during(|| drop(bytes));
                }
            }
        }
    }

    /// Gives an event, and returns what is said to it.
    fn say(&mut self, event: Event<'_>) -> Vec<Command> {
        let now = self.model.now;
        self.ledger.during(|| self.retransmitter.handle(now, event)).unwrap();
        self.check_memory();
        let again = self.retransmitter.handle(now, Event::NotFound { id: LookUpId(u64::MAX) });
        assert_eq!(again, Err(Undrained.into()));
        let mut commands = Vec::new();
        while let Some(command) = self.ledger.during(|| self.retransmitter.poll_command()) {
            commands.push(match command {
                Command::Answer { to, bytes } => Command::Answer { to, bytes: self.take(bytes) },
                look_up => look_up,
            });
        }
        commands
    }

    /// Takes an answer out of the machine's memory, unless it is to be held there.
    fn take(&mut self, bytes: Bytes) -> Bytes {
        let copy = Bytes::copy_from_slice(&bytes);
        if self.holds {
            self.outside.push((bytes, copy.to_vec()));
        } else {
            self.ledger.during(|| drop(bytes));
        }
        copy
    }

    fn wait(&mut self, now: Instant) {
        self.model.time_passes(now);
        self.ledger.during(|| self.retransmitter.handle_timeout(now)).unwrap();
        assert_eq!(self.ledger.during(|| self.retransmitter.poll_command()), None);
    }

    fn check_memory(&self) {
        let used = self.retransmitter.memory_used();
        if self.outside.is_empty() {
            let ledger = self.ledger.without(self.retransmitter.recording_bytes());
            ledger.check(used, Retransmitter::memory_limit(&self.model.config));
        }
        assert!(used <= Retransmitter::memory_limit(&self.model.config));
    }

    fn check(&mut self) {
        self.check_memory();
        let (charged, used) = (self.retransmitter.charged(), self.retransmitter.memory_used());
        check_charged(charged, used, Retransmitter::memory_limit(&self.model.config));
        assert_eq!(self.retransmitter.poll_timeout(), self.model.timeout());
        let stats = *self.retransmitter.stats();
        let waiting: usize = self.model.look_ups.iter().map(|look_up| look_up.waiting.len()).sum();
        let model = &mut self.model.stats;
        model.waiting = waiting as u64;
        // Numbers that depend on the layout of memory are checked where they change.
        model.stored_messages = stats.stored_messages;
        model.stored_again = stats.stored_again;
        model.evicted_messages = stats.evicted_messages;
        model.answers_allocated = stats.answers_allocated;
        assert_eq!(stats, self.model.stats);
        let dropped = stats.malformed
            + stats.sequence_zero
            + stats.count_zero
            + stats.other_session
            + stats.out_of_range
            + stats.declined
            + stats.not_found
            + stats.look_ups_timed_out
            + stats.look_ups_full
            + stats.repeated
            + stats.over_address_rate
            + stats.over_total_rate;
        let all = stats.answered + stats.answered_by_archive + stats.waiting + dropped;
        assert_eq!(stats.requests, all, "each request ends up in one counter");
    }

    /// Stores packets one behind the other.
    fn store(&mut self, session: u8, first: u64, packets: u8, count: u8) {
        let fed = &mut self.fed[usize::from(session)];
        let session = SESSIONS[usize::from(session)];
        let numbers = u64::from(packets) * u64::from(count);
        let Some(last) = first.checked_add(numbers - 1) else { return };
        *fed = (*fed).max(last.saturating_add(1));
        let before = *self.retransmitter.stats();
        let (forgotten, placed) = self.model.stored(session, last);
        for packet_first in (first..=last).step_by(count.into()) {
            let packet = packet(session, packet_first, count.into(), self.model.largest);
            assert!(packet.len() <= MAX_DATAGRAM);
            let event = match self.sends {
                true => Event::Sent { packet: &packet },
                false => Event::Store { packet: &packet },
            };
            assert_eq!(self.say(event), []);
            if self.sends {
                self.model.sent.push((self.model.now, packet.len()));
            }
        }
        if !placed {
            self.model.stats.store_no_session += u64::from(packets);
        }
        let stats = self.retransmitter.stats();
        let stored = stats.stored_messages - before.stored_messages;
        let again = stats.stored_again - before.stored_again;
        assert_eq!(stored + again, if placed { numbers } else { 0 });
        if let Some(forgotten) = forgotten {
            self.model.stats.evicted_sessions += 1;
            self.arrivals.retain(|run| run.session != forgotten);
            self.crowded = true;
        }
        if placed {
            self.look(session, first..=last, &before);
            let newest = last - (u64::from(count) - 1);
            let held = self.model.held.of(session);
            assert!(again > 0 || held.covers(newest, last), "the newest packet is held");
        }
    }

    /// Sees what is held after `numbers` were stored, when the counters were `before`, and whether
    /// that may be so.
    fn look(&mut self, session: Session, numbers: RangeInclusive<u64>, before: &Stats) {
        let mut held = Held::default();
        for known in &self.model.sessions {
            for (first, last) in self.retransmitter.ranges(known.session) {
                held.0[place(known.session)].add(first, last);
            }
        }
        let stats = *self.retransmitter.stats();
        let stored = stats.stored_messages - before.stored_messages;
        assert_eq!(held.count(), stats.stored_messages - stats.evicted_messages);
        let pieces: usize = held.0.iter().map(|of| of.ranges().len()).sum();
        assert!(pieces <= SEGMENTS, "more pieces than the index has room for");

        let (first, last) = numbers.into_inner();
        let stretch = Run { session, first, last };
        let evicted = stats.evicted_messages > before.evicted_messages;
        let mut known = self.model.held.clone();
        if evicted {
            self.check_young(&held, stretch);
            known = self.forget_evicted(&held, stretch, stored);
        }
        for (first, last) in held.of(session).within(first, last) {
            for (first, last) in known.of(session).missing_within(first, last) {
                self.arrived(Run { session, first, last });
            }
        }
        let arrived: u64 = self.arrivals.iter().map(Run::count).sum();
        assert_eq!(arrived, held.count(), "held, but never stored");
        self.model.held = held;
        if evicted {
            self.check_room();
        }
    }

    /// Some have left while `stored` messages of `stretch` were stored: those that came first. What is
    /// left of those that are older than that is returned.
    fn forget_evicted(&mut self, held: &Held, stretch: Run, stored: u64) -> Held {
        let mut staying = Held::default();
        let (mut known, mut nothing_left) = (0, [true; SESSIONS.len()]);
        for run in &self.arrivals {
            known += run.inside(&stretch).map_or(0, |inside| inside.count());
            let nothing_left = &mut nothing_left[place(run.session)];
            for other in run.outside(&stretch) {
                let mut left = other.held(held);
                // The first run of a session of which something is left may have lost its front.
                let in_order = match (left.next(), left.next()) {
                    (None, _) => *nothing_left,
                    (Some(left), None) => {
                        left.last == other.last && (std::mem::take(nothing_left) || left == other)
                    }
                    (Some(_), Some(_)) => false,
                };
                assert!(in_order, "what came first goes first");
            }
        }
        // Some may have left and come anew meanwhile: those that came first of what was held.
        let mut anew = (known + stored).saturating_sub(stretch.count());
        let mut left = Vec::new();
        for run in std::mem::take(&mut self.arrivals) {
            left.extend(run.outside(&stretch).flat_map(|other| other.held(held)));
            for mut inside in run.inside(&stretch).iter().flat_map(|inside| inside.held(held)) {
                let moves = anew.min(inside.count());
                anew -= moves;
                if moves < inside.count() {
                    inside.first += moves;
                    left.push(inside);
                }
            }
            left.sort_by_key(|run| run.first);
            for run in left.drain(..) {
                staying.0[place(run.session)].add(run.first, run.last);
                self.arrived(run);
            }
        }
        staying
    }

    /// Notes that messages came behind all others.
    fn arrived(&mut self, run: Run) {
        match self.arrivals.back_mut() {
            Some(before) if before.is_followed_by(&run) => before.last = run.last,
            _ => self.arrivals.push_back(run),
        }
    }

    /// Some have left while `stretch` was stored: none before as much as half of the blocks take came
    /// after it.
    fn check_young(&self, held: &Held, stretch: Run) {
        if self.crowded || self.is_crowded() {
            return;
        }
        let young = BLOCKS / 2 * (BLOCK - self.largest()) - self.extents();
        let mut left = young.saturating_sub(self.bytes(&stretch));
        for run in self.arrivals.iter().rev() {
            let mut of_run = *run;
            while left < self.bytes(&of_run) {
                if of_run.first == of_run.last {
                    return;
                }
                of_run.first += 1;
            }
            left -= self.bytes(&of_run);
            for other in of_run.outside(&stretch) {
                assert!(other.held(held).eq([other]), "{other:?} left too early");
            }
            if of_run != *run {
                return;
            }
        }
    }

    /// Some have left: there was no room for more.
    fn check_room(&mut self) {
        self.crowded |= self.is_crowded();
        let bytes: usize = self.arrivals.iter().map(|run| self.bytes(run)).sum();
        // Of each extent its end may be free, and of those that were left for a younger block more.
        let extents = self.extents() * BLOCKS.div_ceil(2);
        let ends = (BLOCKS - 1) * BLOCK.div_ceil(self.extent()) * self.largest();
        let full = ((BLOCKS - 1) * BLOCK).saturating_sub(extents + ends);
        let runs = self.arrivals.len();
        assert!(self.crowded || bytes >= full, "only {bytes} bytes are left in {runs} runs");
    }

    /// Whether the index is nearly full.
    fn is_crowded(&self) -> bool {
        let mut last = [None; SESSIONS.len()];
        let mut segments = BLOCKS * BLOCK.div_ceil(self.extent()) + 2;
        for run in &self.arrivals {
            let before: Option<Run> = last[place(run.session)].replace(*run);
            segments += usize::from(!before.is_some_and(|before| before.is_followed_by(run)));
        }
        let messages: u64 = self.arrivals.iter().map(Run::count).sum();
        segments + messages as usize / 256 >= SEGMENTS / 2
    }

    /// Bytes of the largest message, with its length.
    fn largest(&self) -> usize {
        LENGTH_LEN + self.model.largest
    }

    fn bytes(&self, run: &Run) -> usize {
        let len = |at| LENGTH_LEN + message(run.session, at, self.model.largest).0;
        (run.first..=run.last).map(len).sum()
    }

    /// Bytes of the extents of all sessions.
    fn extents(&self) -> usize {
        self.model.config.max_sessions * self.extent()
    }

    /// Bytes of a block that one session fills at once.
    fn extent(&self) -> usize {
        BLOCKS * BLOCK / (8 * self.model.config.max_sessions)
    }

    fn store_nothing(&mut self, what: u8) {
        let heartbeat = packet(SESSIONS[2], 9, 0, 0);
        let large = [0; MAX_DATAGRAM + 1];
        let bytes = match what {
            0 => &heartbeat[..],
            1 => &heartbeat[..19],
            _ => &large[..],
        };
        self.model.stats.store_malformed += u64::from(what == 1);
        self.model.stats.store_too_large += u64::from(what == 2);
        assert_eq!(self.say(Event::Store { packet: bytes }), []);
    }

    fn request(&mut self, peer: u8, session: u8, first: u64, count: u16) {
        let from = address(peer);
        let session = SESSIONS[usize::from(session)];
        let request = Request { session, sequence: first, count }.to_bytes();
        let wanted = Wanted { session, first, count };
        let stats = &mut self.model.stats;
        stats.requests += 1;
        let mut fate = Fate::Silence;
        if first == 0 {
            stats.sequence_zero += 1;
        } else if count == 0 {
            stats.count_zero += 1;
        } else if first.checked_add(u64::from(count) - 1).is_none() {
            stats.out_of_range += 1;
        } else {
            fate = self.model.on_request(from, wanted);
        }
        let expected = match fate {
            Fate::Answered(messages) => {
                let bytes = self.model.packet(wanted, messages).into();
                vec![Command::Answer { to: from, bytes }]
            }
            Fate::LookUp(id, Wanted { session, first, count }) => {
                vec![Command::LookUp { id, session, first, count }]
            }
            Fate::Silence => vec![],
        };
        assert_eq!(self.say(Event::Request { from, datagram: &request }), expected);
    }

    fn nonsense(&mut self, len: u8) {
        self.model.stats.requests += 1;
        match len {
            20 => self.model.stats.sequence_zero += 1,
            _ => self.model.stats.malformed += 1,
        }
        let (from, datagram) = (address(0), vec![0; len.into()]);
        assert_eq!(self.say(Event::Request { from, datagram: &datagram }), []);
    }

    fn found(&mut self, nth: u8, before: u8, count: u8) {
        let unknown = || Wanted { session: SESSIONS[0], first: 1, count: 1 };
        let look_up = self.model.look_ups.get(usize::from(nth)).cloned();
        let wanted = look_up.as_ref().map_or_else(unknown, |look_up| look_up.wanted);
        let first = wanted.first.saturating_sub(before.into()).max(1);
        let Some(last) = first.checked_add(u64::from(count) - 1) else { return };
        let packet = packet(wanted.session, first, count.into(), self.model.largest);
        let Some(LookUp { id, waiting, .. }) = look_up else {
            self.model.stats.look_ups_unknown += 1;
            let id = LookUpId(u64::MAX);
            assert_eq!(self.say(Event::Found { id, packet: &packet }), []);
            return;
        };
        self.model.look_ups.remove(nth.into());
        let fitting = self.model.fitting(wanted, last);
        let mut expected = Vec::new();
        if fitting == 0 {
            self.model.stats.look_ups_malformed += 1;
            self.model.stats.not_found += waiting.len() as u64;
        } else {
            for to in waiting {
                if !self.model.admits(to) {
                    continue;
                }
                self.model.answered(to, wanted, fitting);
                self.model.stats.answered_by_archive += 1;
                let bytes = self.model.packet(wanted, fitting).into();
                expected.push(Command::Answer { to, bytes });
            }
        }
        assert_eq!(self.say(Event::Found { id, packet: &packet }), expected);
    }

    fn not_found(&mut self, nth: u8) {
        let mut id = LookUpId(u64::MAX);
        if usize::from(nth) < self.model.look_ups.len() {
            let look_up = self.model.look_ups.remove(nth.into());
            self.model.stats.not_found += look_up.waiting.len() as u64;
            id = look_up.id;
        } else {
            self.model.stats.look_ups_unknown += 1;
        }
        assert_eq!(self.say(Event::NotFound { id }), []);
    }
}

/// Peers 0 and 1 share an address, of which peer 1 uses the IPv6 form; peer 2 is on this machine.
fn address(peer: u8) -> SocketAddr {
    if peer == 2 {
        return (Ipv4Addr::LOCALHOST, 4002).into();
    }
    let ip = Ipv4Addr::new(192, 0, 2, peer.max(1));
    let ip = if peer == 1 { IpAddr::from(ip.to_ipv6_mapped()) } else { IpAddr::from(ip) };
    SocketAddr::new(ip, 4000 + u16::from(peer))
}
