//! Plays a case: turns what happens into steps, answers the receiver's requests, and lets the oracle
//! judge every word.

use gapless_core::machine::Undrained;
use gapless_core::receiver::{Command, Config, Error, Event, LineId, Receiver, ServerId, Source};
use gapless_core::wire::mold::{END_OF_SESSION, HEARTBEAT, MAX_DATAGRAM, Packet, Request};
use gapless_core::{Duration, Instant, Machine};
use std::collections::VecDeque;
use std::net::SocketAddr;

use super::case::{Case, Data, From, Kind, Misuse, Op, Place, Shape, World, Wrap, address};
use super::feed::{Feed, IDS, bare};
use super::oracle::{Oracle, spoken_of};
use super::trace::{Ledger, Said, Step};
use super::twins::Twins;
use crate::model::memory::check_charged;
use crate::model::recorded::{Played, Tape};

/// How long an answer takes once loss has stopped.
const ROUND_TRIP: Duration = Duration::from_micros(500);
/// How often lines send heartbeats then.
const HEARTBEATS: Duration = Duration::from_millis(5);
/// How long a case waits for a timeout at the most.
const SOON: Duration = Duration::from_secs(60);
/// From whom answers come that nobody asked.
const UNKNOWN_SENDER: u8 = 77;
/// Steps that the report of a failed case shows.
const SHOWN: usize = 40;
/// How many steps, and bytes of answers, are worth playing until everything has arrived: many tiny
/// answers to a small window, or large ones for which there is hardly room, can take more.
const WORTH_STEPS: u32 = 5_000;
const WORTH_BYTES: usize = 4 << 20;

/// A receiver, all that is around it, and what happened.
pub(super) struct Run<'a> {
    case: &'a Case,
    receiver: Played<Receiver>,
    feed: Feed,
    oracle: Oracle,
    now: Instant,
    /// The last requests, the newest last.
    asked: VecDeque<(ServerId, SocketAddr, Request)>,
    ledger: Ledger,
    watches_memory: bool,
    twins: Twins,
    /// The last steps, with what was said to them.
    steps: VecDeque<(Instant, Step, Said)>,
}

impl<'a> Run<'a> {
    pub(super) fn new(case: &'a Case, watches_memory: bool) -> Self {
        let mut ledger = Ledger::default();
        let (config, tape) = (case.config.clone(), Tape::of(case.ops.len()));
        let receiver = ledger.during(|| Played::new(config, tape.as_ref()));
        let mut feed = Feed::new(case.base, case.large);
        feed.publish(0, case.history.into());
        let oracle = Oracle::new(case);
        let (now, asked) = (Instant::from_millis(1), VecDeque::new());
        let mut run = Self {
            case,
            receiver,
            feed,
            oracle,
            now,
            asked,
            ledger,
            watches_memory,
            twins: Twins::new(case, tape.is_some()),
            steps: VecDeque::new(),
        };
        run.check_memory();
        run.step(Step::Timeout { back: false });
        run
    }

    /// Takes one step, and lets the oracle hear the answer, and the twins confirm it.
    fn step(&mut self, step: Step) {
        if self.steps.len() == SHOWN {
            self.steps.pop_front();
        }
        // Noted first, for a run that fails in the middle of it.
        self.steps.push_back((self.now, step, Said::default()));
        let Some((now, step, said)) = self.steps.back_mut() else { return };
        *said = self.case.way.take(&mut self.receiver, &mut self.ledger, *now, step);
        for command in &said.commands {
            if let Command::Request { server, to, request } = command {
                self.asked.push_back((*server, *to, *request));
            }
        }
        self.check_memory();
        if let Some((now, step, said)) = self.steps.back() {
            self.oracle.check(&self.feed, &self.receiver, *now, step, said);
            self.twins.take(*now, step, said);
        }
    }

    /// The memory rule, and the bound that the configuration states.
    fn check_memory(&self) {
        let used = self.receiver.memory_used();
        let bound = Receiver::memory_limit(self.receiver.config());
        check_charged(self.receiver.charged(), used, bound);
        if self.watches_memory {
            let allocated = self.ledger.allocated() - self.receiver.recording_bytes();
            assert!(allocated <= used, "{allocated} bytes are allocated and {used} reported");
            let most = allocated + allocated / 20 + (16 << 10);
            assert!(used <= most, "{used} bytes are reported and {allocated} allocated");
        }
    }

    pub(super) fn op(&mut self, op: &Op) {
        match op {
            Op::Data(data) => self.data(data),
            Op::Comb { line, teeth, hole } => {
                for _ in 0..*teeth {
                    let (session, line, lost) = (0, *line, *hole);
                    self.data(&Data { session, line, back: 0, count: 1, lost, wrap: Wrap::Exact });
                }
            }
            Op::Orderly { line, packets } => {
                for _ in 0..*packets {
                    self.now += Duration::from_micros(200);
                    let (session, line, wrap) = (0, *line, Wrap::Exact);
                    self.data(&Data { session, line, back: 0, count: 1, lost: 0, wrap });
                }
            }
            Op::Heartbeat { session, line, back } => {
                let session = usize::from(*session);
                let sequence = self.feed.next(session).saturating_sub((*back).into());
                let sequence = sequence.max(self.feed.base(session));
                self.line(*line, Wrap::Exact, bare(IDS[session], sequence, HEARTBEAT));
            }
            Op::End { session, line } => {
                let session = usize::from(*session);
                self.feed.end(session);
                if self.feed.has_ended(session) {
                    let end = bare(IDS[session], self.feed.next(session), END_OF_SESSION);
                    self.line(*line, Wrap::Exact, end);
                }
            }
            Op::Answer { nth, shape, from } => self.answer(*nth, *shape, *from),
            Op::Forged { session, line, place, kind, times } => {
                let bytes = self.forge((*session).into(), *place, *kind);
                (0..*times).for_each(|_| self.line(*line, Wrap::Exact, bytes.clone()));
            }
            Op::Garbage { line, peer, bytes, long } => {
                let bytes: Vec<_> =
                    bytes.iter().copied().cycle().take(if *long { 30 } else { 19 }).collect();
                // Zeros and ones can be a heartbeat or an end of a session that nobody has.
                if spoken_of(&bytes).is_some() && self.case.world != World::Hostile {
                    return;
                }
                match peer {
                    false => self.line(*line, Wrap::Exact, bytes),
                    true => self.datagram(Source::Peer(address(*line)), bytes, 0),
                }
            }
            Op::Advance { by } => {
                let next = self.feed.next(0).saturating_add_signed((*by).into()).max(1);
                self.step(Step::Change(Event::Advance { next }));
            }
            Op::AddLine(line) => self.step(Step::Change(Event::AddLine(LineId(*line)))),
            Op::RemoveLine(line) => self.step(Step::Change(Event::RemoveLine(LineId(*line)))),
            Op::AddServer { server, port } => self.add_server(ServerId(*server), address(*port)),
            Op::RemoveServer(server) => {
                self.step(Step::Change(Event::RemoveServer(ServerId(*server))));
            }
            Op::Wait(wait) => self.now += wait.duration(),
            Op::Timeout => {
                let timeout = self.receiver.poll_timeout().map(|timeout| self.now.max(timeout));
                // Not so far that even the patient give up.
                if let Some(timeout) = timeout.filter(|at| at.since(self.now) < SOON) {
                    self.now = timeout;
                    self.step(Step::Timeout { back: false });
                }
            }
            Op::EarlyTimeout { back } => {
                let now = self.now;
                if *back {
                    // It counts as the newest time that the receiver saw.
                    self.now = self.steps.back().map_or(now, |(newest, ..)| *newest);
                }
                self.step(Step::Timeout { back: *back });
                self.now = now;
            }
            Op::Misuse(misuse) => self.misuse(*misuse),
        }
    }

    /// A refused call changes nothing, the time included: later steps are compared with a receiver
    /// that never saw it.
    fn misuse(&mut self, misuse: Misuse) {
        let later = self.now + Duration::from_secs(3_600);
        let taken = self.case.config.servers.first().map(|_| ServerId(0));
        let taken = taken.and_then(|server| self.oracle.address(server));
        let (event, error) = match (misuse, taken) {
            (Misuse::Line, _) => (Event::AddLine(LineId(32)), Error::Line(LineId(32))),
            (Misuse::Address, Some(address)) => {
                let server = ServerId(0);
                let error = Error::AddressTaken { server, address };
                (Event::AddServer(ServerId(9), address), error)
            }
            (Misuse::Server | Misuse::Address, _) => {
                let server = ServerId(32);
                (Event::AddServer(server, address(99)), Error::Server(server))
            }
            (Misuse::Zero, _) => (Event::Advance { next: 0 }, Error::SequenceZero),
        };
        let before = (self.receiver.stats().clone(), self.receiver.poll_timeout());
        assert_eq!(self.receiver.handle(later, event), Err(error));
        assert_eq!((self.receiver.stats().clone(), self.receiver.poll_timeout()), before);
        assert_eq!(self.receiver.poll_command(), None, "what is refused has no consequences");
    }

    fn add_server(&mut self, server: ServerId, address: SocketAddr) {
        let taken = (0..2).map(ServerId).find(|other| self.oracle.address(*other) == Some(address));
        if taken.is_none_or(|other| other == server) {
            self.step(Step::Change(Event::AddServer(server, address)));
        }
    }

    fn data(&mut self, data: &Data) {
        let session = usize::from(data.session);
        self.feed.publish(session, data.lost.into());
        let first = self.feed.next(session).saturating_sub(data.back.into());
        let new = u64::from(data.count).saturating_sub(data.back.into());
        self.feed.publish(session, new);
        if let Some(packet) = self.feed.packet(session, first, data.count.into()) {
            self.line(data.line, data.wrap, packet);
        }
    }

    fn line(&mut self, line: u8, wrap: Wrap, mut bytes: Vec<u8>) {
        let line = LineId(line);
        let mut source = Source::Line(line);
        let mut pinned = 0;
        match wrap {
            Wrap::Exact => {}
            Wrap::Slice => pinned = 1 << 16,
            Wrap::Padded(by) => {
                let padding = 1 + usize::from(by) % (bytes.len() + 40);
                bytes.resize((bytes.len() + padding).min(MAX_DATAGRAM), b'p');
            }
            Wrap::Truncated => bytes.truncate(bytes.len() - 1),
            Wrap::Altered => alter(&mut bytes),
            Wrap::Shared => source = Source::LineFrom(line, address(UNKNOWN_SENDER)),
        }
        self.datagram(source, bytes, pinned);
    }

    fn datagram(&mut self, source: Source, bytes: Vec<u8>, pinned: usize) {
        let pinned = pinned.max(bytes.len());
        self.step(Step::Datagram { source, bytes, pinned });
    }

    fn answer(&mut self, nth: u8, shape: Shape, from: From) {
        let Some(index) = self.asked.len().checked_sub(1 + usize::from(nth)) else { return };
        let (_, to, request) = self.asked[index];
        let Some(session) = IDS.iter().position(|id| *id == request.session) else { return };
        let (first, count) = (request.sequence, u64::from(request.count).min(40));
        let bytes = match shape {
            Shape::Right | Shape::Truncated => self.feed.packet(session, first, count),
            Shape::Short => self.feed.packet(session, first, count.min(2)),
            Shape::Repacked => self.feed.packet(session, first.saturating_sub(3), count + 6),
            Shape::Late => self.feed.packet(session, first.saturating_add(count / 2), count),
            Shape::Empty => Some(bare(request.session, first, HEARTBEAT)),
            Shape::Foreign => Some(self.feed.forged(IDS[(session + 1) % IDS.len()], first, count)),
        };
        let Some(mut bytes) = bytes else { return };
        if shape == Shape::Truncated {
            bytes.truncate(bytes.len() - 1);
        }
        let source = match from {
            // A packet that a server sends to a line, of a session that nobody asked for, is that line's.
            From::RequestedOnLine
                if shape != Shape::Foreign || self.case.world == World::Hostile =>
            {
                Source::LineFrom(LineId(0), to)
            }
            From::Requested | From::RequestedOnLine => Source::Peer(to),
            From::Other => Source::Peer(address(1)),
            From::Unknown => Source::Peer(address(UNKNOWN_SENDER)),
        };
        self.datagram(source, bytes, 0);
    }

    fn forge(&self, session: usize, place: Place, kind: Kind) -> Vec<u8> {
        let next = self.feed.next(session);
        let sequence = match place {
            Place::Near(by) => next.saturating_add_signed(by.into()),
            Place::Far(by) => next.saturating_add(u64::from(by) << 8),
            Place::Fixed(sequence) => sequence,
            Place::First => 1,
            Place::Last(back) => u64::MAX - u64::from(back),
        };
        match kind {
            Kind::Data(count) => {
                self.feed.forged(IDS[session], sequence.max(1), u64::from(count % 8) + 1)
            }
            Kind::Heartbeat => bare(IDS[session], sequence, HEARTBEAT),
            Kind::End => bare(IDS[session], sequence, END_OF_SESSION),
        }
    }

    /// Loss stops: lines send heartbeats, and every request is answered. Then everything arrives, and
    /// never longer than the rules say goes by without progress. Where that is too much to be played
    /// to its end, it must at least have come nearer.
    pub(super) fn finish(&mut self) {
        if self.case.world != World::Patient {
            return;
        }
        self.step(Step::Change(Event::AddLine(LineId(0))));
        if (0..2).all(|server| self.oracle.address(ServerId(server)).is_none()) {
            self.add_server(ServerId(0), address(0));
        }
        let mut bound = longest_rest(&self.case.config);
        if !self.case.is_roomy() {
            // An answer for which there is no room is one in vain.
            bound += self.case.config.max_request_timeout * 2;
        }
        let mut due: VecDeque<(Instant, SocketAddr, Request)> = VecDeque::new();
        let mut heartbeat = self.now;
        let mut progress = (self.now, 0);
        let (began, delivered) = (self.now, self.receiver.stats().delivered);
        let (mut steps, mut answered) = (0, 0);
        while steps < WORTH_STEPS && answered < WORTH_BYTES {
            if self.is_finished() {
                return;
            }
            steps += 1;
            if let Some(next) = self.oracle.halted_before() {
                self.step(Step::Change(Event::Advance { next }));
            }
            let answer = due.front().map(|(at, ..)| *at);
            let timeout = self.receiver.poll_timeout();
            let next = [answer, timeout].into_iter().flatten().fold(heartbeat, Instant::min);
            self.now = self.now.max(next);
            self.asked.clear();
            if answer == Some(next) {
                let (_, to, request) = due.pop_front().expect("an answer is due");
                let (first, count) = (request.sequence, u64::from(request.count).min(40));
                if let Some(bytes) = self.feed.packet(0, first, count) {
                    answered += bytes.len();
                    self.datagram(Source::Peer(to), bytes, 0);
                }
            } else if timeout == Some(next) {
                self.step(Step::Timeout { back: false });
            } else {
                heartbeat = self.now + HEARTBEATS;
                for line in 0..2 {
                    self.tail(line);
                }
            }
            let at = self.now + ROUND_TRIP;
            due.extend(self.asked.iter().map(|(_, to, request)| (at, *to, *request)));
            let stats = self.receiver.stats();
            let moved = stats.delivered + stats.useful_answers;
            if moved != progress.1 {
                progress = (self.now, moved);
            }
            let rest = self.now.since(progress.0);
            assert!(rest <= bound, "{rest:?} without progress where {bound:?} may be: {stats:?}");
        }
        let stats = self.receiver.stats();
        let nearer = stats.delivered > delivered || self.now.since(began) <= bound;
        assert!(nearer, "repairs without end that repair nothing: {stats:?}");
    }

    /// The packet of a line when there is nothing new: a heartbeat or the end. That the last number there
    /// can be is there only a packet can say.
    fn tail(&mut self, line: u8) {
        let count = if self.feed.has_ended(0) { END_OF_SESSION } else { HEARTBEAT };
        self.line(line, Wrap::Exact, bare(IDS[0], self.feed.next(0), count));
        if self.feed.last(0) == Some(u64::MAX)
            && let Some(packet) = self.feed.packet(0, u64::MAX, 1)
        {
            self.line(line, Wrap::Exact, packet);
        }
    }

    /// Whether everything arrived that was published, and the end was reported if there is one.
    fn is_finished(&self) -> bool {
        let last = self.feed.last(0);
        let ends = self.feed.has_ended(0) && !self.oracle.starts_after(IDS[0], self.feed.next(0));
        self.oracle.is_complete(IDS[0], last) && (!ends || self.oracle.has_ended(IDS[0]))
    }

    /// Replays the recording: it does the same again.
    pub(super) fn replay(&mut self) {
        self.receiver.replay();
    }

    /// Without commands drained, events are refused.
    pub(super) fn check_undrained(&mut self) {
        let step = Step::Change(Event::AddLine(LineId(30)));
        let source = Source::Line(LineId(30));
        self.step(step);
        let bytes = bytes::Bytes::from(bare(IDS[0], 1, HEARTBEAT));
        let pinned = bytes.len();
        let arrival = self.now;
        let datagram = gapless_core::receiver::Datagram { source, bytes, pinned, arrival };
        let event = Event::Datagram(datagram);
        assert_eq!(self.receiver.handle(self.now, event.clone()), Ok(()));
        assert!(self.receiver.has_commands(), "a line is up");
        let before = (self.receiver.stats().clone(), self.receiver.memory_used());
        assert_eq!(self.receiver.handle(self.now, event), Err(Undrained.into()));
        assert_eq!(self.receiver.handle_timeout(self.now), Err(Undrained.into()));
        assert_eq!((self.receiver.stats().clone(), self.receiver.memory_used()), before);
        while self.receiver.poll_command().is_some() {}
        assert_eq!(self.receiver.handle_timeout(self.now), Ok(()));
    }
}

impl Drop for Run<'_> {
    /// A failing run tells its last steps.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (now, step, said) in &self.steps {
                eprintln!("{now:?} {step}\n    {:?}, until {:?}", said.commands, said.timeout);
            }
        }
    }
}

/// Changes the last byte of the last message, if it has one.
fn alter(bytes: &mut [u8]) {
    let packet = Packet::new_checked(bytes).ok();
    let last = packet.and_then(|packet| packet.messages().last()).map(|(_, message)| message.len());
    if let (Some(1..), Some(byte)) = (last, bytes.last_mut()) {
        *byte ^= 1;
    }
}

/// Once loss has stopped: twice the capped backoff (or the request timeout, where that is capped
/// higher) and a round trip, after what is under way has timed out, what may be reordered was waited
/// for, and candidates are believed.
fn longest_rest(config: &Config) -> Duration {
    let believed = config.quiet + HEARTBEATS * u32::from(config.believe_after) * 2;
    let reordered = config.max_reorder_delay;
    let on_its_way = config.max_request_timeout;
    let capped = config.max_backoff.max(config.max_request_timeout);
    capped * 2 + ROUND_TRIP + on_its_way + reordered + believed
}
