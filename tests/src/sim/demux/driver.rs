//! The driver of a demultiplexer in virtual time. It keeps a list of its own of who takes what, and asks
//! of every dispatch and every refusal whether it has a cause.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use gapless_core::demux::{
    AcceptorId, Command, Config, DEADLINE, Demux, Event, FIN_IN_PREAMBLE, NO_ACCEPTOR, Pattern,
    PeerId, RESERVED, Refusal, Registrant, StreamId, TOO_MANY, TOO_MANY_OF_PEER,
};
use gapless_core::journal::Driven;
use gapless_core::{Duration, Instant, Machine};

use super::load::{AcceptorPlan, Sends, Totals};
use crate::model::demux::{End, Fate, Streams, Written, is_reserved, look_up};
use crate::sim::journal::{Journal, Recorder, journal_of, recorder_of};
use crate::sim::path::Chance;
use crate::sim::random::Random;

/// How often bytes of a refused stream are still in flight, and how long.
const IN_FLIGHT: Chance = Chance::percent(25);
const FLIGHT: Duration = Duration::from_millis(5);

/// How pieces of a stream go on coming.
#[derive(Clone, Copy, Debug)]
struct Pace {
    piece: usize,
    every: Duration,
    stops_after: Option<usize>,
    resets: Chance,
    leaves: Chance,
}

/// An action that is planned.
#[derive(Clone, Copy, Debug)]
enum Action {
    Comes(usize),
    Goes(usize),
    Pauses(usize),
    Resumes(usize),
    /// So many bytes of a stream come, and then others.
    Chunk(StreamId, usize, Pace),
    /// So many bytes of a stream are read that came while it was held.
    Unread(StreamId, usize),
    /// Bytes come that were sent before the refusal was heard.
    Stray(StreamId),
}

/// A demultiplexer and everybody around it.
pub(super) struct DemuxDriver {
    demux: Recorder<Demux>,
    config: Config,
    streams: Streams,
    random: Random,
    now: Instant,
    /// By time, and then in the order in which they were thought of.
    queue: BTreeMap<(Instant, u64), Action>,
    thought: u64,
    acceptors: Vec<AcceptorPlan>,
    registered: Vec<(Pattern<'static>, Registrant, usize)>,
    paused: BTreeSet<usize>,
    next_peer: u64,
    /// When the preamble of a stream is overdue.
    due: BTreeMap<StreamId, Instant>,
    overdue: BTreeSet<(Instant, StreamId)>,
    /// Since when streams are held, and pieces that were not read meanwhile.
    held: BTreeMap<StreamId, Instant>,
    unread: BTreeMap<StreamId, Vec<usize>>,
    /// Streams that could not be handed over, which the demultiplexer is still to be told.
    failing: Vec<(StreamId, AcceptorId)>,
    /// Before the last event: streams parked, and streams of its peer that waited.
    before: (usize, usize),
    totals: Totals,
}

impl DemuxDriver {
    pub(super) fn new(config: Config, random: Random) -> Self {
        let journal: Option<(Journal, u16)> = journal_of("demultiplexer").map(|to| (to, 0));
        Self {
            demux: recorder_of(config.clone(), journal.as_ref()),
            config,
            streams: Streams::default(),
            random,
            now: Instant::ZERO,
            queue: BTreeMap::new(),
            thought: 0,
            acceptors: Vec::new(),
            registered: Vec::new(),
            paused: BTreeSet::new(),
            next_peer: 0,
            due: BTreeMap::new(),
            overdue: BTreeSet::new(),
            held: BTreeMap::new(),
            unread: BTreeMap::new(),
            failing: Vec::new(),
            before: (0, 0),
            totals: Totals::default(),
        }
    }

    fn plan(&mut self, at: Instant, happening: Action) {
        self.thought += 1;
        self.queue.insert((at, self.thought), happening);
    }

    pub(super) fn expect_acceptor(&mut self, plan: AcceptorPlan) {
        let index = self.acceptors.len();
        self.plan(plan.there.start, Action::Comes(index));
        if plan.there.end < Instant::MAX {
            self.plan(plan.there.end, Action::Goes(index));
        }
        for pause in &plan.pauses {
            self.plan(pause.start, Action::Pauses(index));
            self.plan(pause.end, Action::Resumes(index));
        }
        self.acceptors.push(plan);
    }

    pub(super) fn expect_peers(&mut self, sends: &Sends) {
        for _ in 0..sends.peers {
            let peer = PeerId(self.next_peer);
            self.next_peer += 1;
            let within = sends.opens.end.since(sends.opens.start);
            let opens = sends.opens.start + self.random.span(Duration::ZERO..=within);
            for number in 0..u64::from(sends.streams) {
                let stream = StreamId { peer, number: number * 4 + 2 * (number % 2) };
                self.expect_stream(opens, stream, sends);
            }
        }
    }

    fn expect_stream(&mut self, opens: Instant, stream: StreamId, sends: &Sends) {
        let tag = self.random.one_of(&sends.tags).as_bytes();
        let len = self.random.within(0..=sends.payload as u64);
        let payload: Vec<_> = (0..len).map(|at| (at * 13 + stream.peer.0) as u8).collect();
        let written = Written::new(tag, &payload);
        let Sends { pieces: piece, every, stops_after, resets, leaves, .. } = *sends;
        let pace = Pace { piece, every, stops_after, resets, leaves };
        let first = sends.first.unwrap_or(1 + tag.len() + piece);
        self.streams.open(stream, written);
        self.plan(opens, Action::Chunk(stream, first, pace));
    }

    /// Lets everything happen, and judges all streams in the end.
    pub(super) fn run(mut self) -> Totals {
        loop {
            let next = self.queue.first_key_value().map(|(&(at, _), _)| at);
            match self.demux.machine().poll_timeout() {
                Some(at) if next.is_none_or(|next| at <= next) => self.time_is_up(at),
                _ => {
                    let Some(((at, _), happening)) = self.queue.pop_first() else { break };
                    self.now = at;
                    self.happens(happening);
                }
            }
            self.nothing_is_overdue();
        }
        self.streams.judge_all();
        let demux = self.demux.machine();
        assert_eq!((demux.pending(), demux.held(), demux.held_bytes()), (0, 0, 0));
        for (id, stream) in self.streams.iter() {
            let is_left = stream.fate() == Fate::Held || self.due.contains_key(&id);
            assert!(!is_left, "{id:?} is left: {stream:?}");
            let has_ended = matches!(stream.fate(), Fate::Dispatched(_)) && stream.is_over();
            self.totals.ended += u64::from(has_ended);
        }
        self.totals.stats = *demux.stats();
        self.totals
    }

    fn happens(&mut self, happening: Action) {
        match happening {
            Action::Comes(index) => self.comes(index),
            Action::Goes(index) => {
                self.registered.retain(|&(.., acceptor)| acceptor != index);
                self.paused.remove(&index);
                self.handle(Event::AcceptorGone { acceptor: AcceptorId(index as u64) });
            }
            Action::Pauses(index) => {
                if self.registered.iter().any(|&(.., acceptor)| acceptor == index) {
                    self.paused.insert(index);
                }
                self.handle(Event::Pause { acceptor: AcceptorId(index as u64) });
            }
            Action::Resumes(index) => {
                self.paused.remove(&index);
                self.handle(Event::Resume { acceptor: AcceptorId(index as u64) });
            }
            Action::Chunk(stream, len, pace) => self.chunk(stream, len, pace),
            Action::Unread(stream, len) => self.comes_in(stream, len),
            Action::Stray(stream) => {
                let offset = self.streams.get(stream).came().max(1) as u64;
                let stray = self.demux.machine().stats().stray;
                let bytes = Bytes::from_static(b"\x01a and more");
                let pinned = bytes.len();
                self.handle(Event::Data { stream, offset, bytes, pinned, fin: false });
                assert_eq!(self.demux.machine().stats().stray, stray + 1, "{stream:?} is back");
            }
        }
    }

    fn comes(&mut self, index: usize) {
        let (acceptor, by) = (AcceptorId(index as u64), self.acceptors[index].by);
        for pattern in self.acceptors[index].takes.clone() {
            let known = self.registered.iter().find(|&&(known, ..)| known == pattern);
            let expected = match known {
                _ if by == Registrant::Application && is_reserved(pattern.bytes()) => {
                    Err(Refusal::Reserved)
                }
                Some(&(.., owner)) if owner != index => {
                    Err(Refusal::Conflict { held_by: AcceptorId(owner as u64) })
                }
                Some(_) => Ok(()),
                None => {
                    self.registered.push((pattern, by, index));
                    Ok(())
                }
            };
            assert_eq!(self.call(Event::Register { acceptor, pattern, by }), expected);
        }
    }

    /// A chunk of a stream comes, and the next is on its way.
    fn chunk(&mut self, id: StreamId, len: usize, pace: Pace) {
        let stream = self.streams.get(id);
        if !stream.is_open() {
            return;
        }
        let unread = self.unread.get(&id).map_or(0, |pieces| pieces.iter().sum::<usize>());
        let sent = stream.came() + unread;
        if pace.stops_after.is_some_and(|after| sent >= after) {
            return;
        }
        let is_last = sent + len >= stream.written().len();
        if stream.fate() == Fate::Held {
            self.unread.entry(id).or_default().push(len);
        } else {
            self.comes_in(id, len);
        }
        if self.random.happens(pace.resets) {
            self.leaves(id);
            self.streams.end(id, End::Reset);
            self.handle(Event::Reset { stream: id, code: 7 });
        } else if self.random.happens(pace.leaves) {
            let peer = id.peer;
            let all = self.streams.iter().map(|(id, _)| id).filter(|id| id.peer == peer);
            all.collect::<Vec<_>>().into_iter().for_each(|id| self.leaves(id));
            self.streams.end_all_of(peer);
            self.handle(Event::PeerGone { peer });
        } else if !is_last {
            self.plan(self.now + pace.every, Action::Chunk(id, pace.piece, pace));
        }
    }

    /// Bytes that are read go to the demultiplexer, or to whom it gave the stream.
    fn comes_in(&mut self, id: StreamId, len: usize) {
        let Some(came) = self.streams.come(id, len, true) else { return };
        let (offset, fin) = (came.offset as u64, came.fin);
        let bytes = Bytes::copy_from_slice(came.bytes);
        let stream = self.streams.get(id);
        let is_whole = stream.written().preamble_len().is_some_and(|len| stream.came() >= len);
        if offset == 0 && !bytes.is_empty() && !is_whole && !fin {
            let due = self.now + self.config.preamble_timeout;
            self.due.insert(id, due);
            self.overdue.insert((due, id));
        }
        let tag = stream.written().tag().to_vec();
        if is_whole {
            self.leaves(id);
        }
        let is_for =
            self.takes(&tag).filter(|acceptor| is_whole && !self.paused.contains(acceptor));
        let pinned = bytes.len();
        self.handle(Event::Data { stream: id, offset, bytes, pinned, fin });
        let stream = self.streams.get(id);
        if is_for.is_some() {
            assert_eq!(stream.tag(), tag, "{id:?} is not dispatched at once: {:?}", stream.fate());
        }
        if let Fate::Refused(_) = stream.fate() {
            self.leaves(id);
        }
        self.streams.judge(id);
    }

    /// A stream's preamble is not waited for any more.
    fn leaves(&mut self, id: StreamId) {
        if let Some(due) = self.due.remove(&id) {
            self.overdue.remove(&(due, id));
        }
    }

    fn nothing_is_overdue(&self) {
        if let Some((due, id)) = self.overdue.first() {
            assert!(*due >= self.now, "{id:?} was overdue at {due:?}, and it is {:?}", self.now);
        }
    }

    /// The acceptor of a tag.
    fn takes(&self, tag: &[u8]) -> Option<usize> {
        let registered = self.registered.iter().map(|&(pattern, by, _)| (pattern, by));
        look_up(registered, tag).map(|at| self.registered[at].2)
    }

    fn time_is_up(&mut self, at: Instant) {
        assert!(at >= self.now, "{at:?} is over, and it is {:?}", self.now);
        self.now = at;
        self.before = (usize::MAX, usize::MAX);
        self.demux.handle_timeout(at).expect("a drained demultiplexer");
        self.drain();
        let timeout = self.demux.machine().poll_timeout();
        assert!(timeout.is_none_or(|next| next > at), "it spins: {timeout:?}");
    }

    /// An event that cannot be refused.
    fn handle(&mut self, event: Event<'_>) {
        let shown = format!("{event:?}");
        self.call(event).unwrap_or_else(|refusal| panic!("{shown}: {refusal}"));
    }

    fn call(&mut self, event: Event<'_>) -> Result<(), Refusal> {
        let demux = self.demux.machine();
        let peer = if let Event::Data { stream, .. } = &event { Some(stream.peer) } else { None };
        self.before = (demux.pending(), peer.map_or(0, |peer| demux.waiting_of(peer)));
        let answer = self.demux.call(self.now, event).expect("a driver that keeps the rules");
        self.drain();
        answer
    }

    /// Does what the demultiplexer says, and then tells of what could not be done.
    fn drain(&mut self) {
        while let Some(command) = self.demux.poll_command() {
            self.execute(&command);
        }
        let (demux, totals) = (self.demux.machine(), &mut self.totals);
        let (pending, held, used) = (demux.pending(), demux.held(), demux.memory_used());
        assert!(pending <= self.config.max_pending, "{pending} streams are parked");
        assert!(held <= self.config.max_held, "{held} streams are held");
        assert!(demux.held_bytes() <= self.config.max_held_bytes);
        assert!(used <= Demux::memory_limit(&self.config), "{used} bytes are used");
        totals.most_pending = totals.most_pending.max(pending);
        totals.most_held = totals.most_held.max(held);
        totals.most_bytes = totals.most_bytes.max(used);
        while let Some((stream, acceptor)) = self.failing.pop() {
            let tag = self.streams.get(stream).tag().to_vec();
            self.handle(Event::HandOffFailed { stream, acceptor, tag: &tag });
            assert_eq!(self.streams.get(stream).fate(), Fate::Refused(NO_ACCEPTOR));
        }
    }

    fn execute(&mut self, command: &Command) {
        match *command {
            Command::Dispatch { stream, acceptor, ref tag } => {
                let index = self.takes(tag);
                assert_eq!(index.map(|index| AcceptorId(index as u64)), Some(acceptor));
                let index = index.unwrap_or_default();
                assert!(!self.paused.contains(&index), "{acceptor:?} pauses");
                if self.random.happens(self.acceptors[index].fails) {
                    self.failing.push((stream, acceptor));
                }
            }
            Command::Hold { stream } => {
                _ = self.held.insert(stream, self.now);
            }
            Command::Refuse { stream, code } => self.has_a_cause(stream, code),
            _ => {}
        }
        self.streams.execute(command);
        match *command {
            Command::Dispatch { stream, .. } | Command::Refuse { stream, .. } => {
                self.held.remove(&stream);
                self.leaves(stream);
                self.goes_on(stream, command);
            }
            _ => {}
        }
    }

    /// The rest of a stream is read now, or is still in flight when it is refused.
    fn goes_on(&mut self, stream: StreamId, command: &Command) {
        let unread = self.unread.remove(&stream).unwrap_or_default();
        if let Command::Refuse { .. } = command {
            if self.random.happens(IN_FLIGHT) {
                self.plan(self.now + FLIGHT, Action::Stray(stream));
            }
            return;
        }
        // Behind the data that follows the opening.
        for len in unread {
            self.plan(self.now, Action::Unread(stream, len));
        }
    }

    /// Holds a refusal against what the driver knows itself.
    fn has_a_cause(&self, id: StreamId, code: u64) {
        let stream = self.streams.get(id);
        let preamble = stream.written().preamble_len();
        let is_whole = preamble.is_some_and(|preamble| stream.came() >= preamble);
        let taker = self.takes(stream.written().tag());
        let reserved = is_reserved(stream.written().tag());
        let (pending, of_peer) = self.before;
        let has_cause = match code {
            DEADLINE => !is_whole && self.due.get(&id) == Some(&self.now),
            NO_ACCEPTOR if matches!(stream.fate(), Fate::Dispatched(_)) => true,
            NO_ACCEPTOR => {
                let hold = self.config.hold;
                let since = self.held.get(&id).copied().unwrap_or(self.now);
                let is_over = hold.is_zero() || since + hold <= self.now;
                is_whole && taker.is_none() && !reserved && is_over
            }
            TOO_MANY if !is_whole => pending == self.config.max_pending,
            TOO_MANY => match taker {
                Some(taker) => self.paused.contains(&taker),
                None => !self.config.hold.is_zero(),
            },
            TOO_MANY_OF_PEER => of_peer == self.config.max_pending_per_peer,
            RESERVED => is_whole && taker.is_none() && reserved,
            FIN_IN_PREAMBLE => !is_whole,
            _ => false,
        };
        assert!(has_cause, "{id:?} is refused with {code:#x} at {:?}: {stream:?}", self.now);
    }
}
