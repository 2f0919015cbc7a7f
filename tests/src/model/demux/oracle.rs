//! A naive demultiplexer: lists that are gone through from the front, without any economy. It foretells
//! every answer and every command, and keeps the same counts.

use std::collections::BTreeSet;

use bytes::Bytes;
use gapless_core::demux::{
    AcceptorId, Command, Config, DEADLINE, Event, FIN_IN_PREAMBLE, Misuse, NO_ACCEPTOR, Pattern,
    PeerId, RESERVED, Refusal, Registrant, Stats, StreamId, TOO_MANY, TOO_MANY_OF_PEER, Tag,
    TagStats,
};
use gapless_core::wire::tag::Length;
use gapless_core::{Duration, Instant};

use super::case::Tags;

/// Payload that is copied where it is held.
const SMALL: usize = 4096;
/// The bytes that sharing a buffer takes beside it.
const SHARED_OVERHEAD: usize = 5 * size_of::<usize>();

/// A registration.
#[derive(Clone, Debug)]
pub(super) struct Registered {
    pub(super) tags: Tags,
    pub(super) acceptor: AcceptorId,
    pub(super) by: Registrant,
    pub(super) stats: TagStats,
}

/// A stream whose preamble is not whole.
#[derive(Clone, Debug)]
struct Parked {
    stream: StreamId,
    bytes: Vec<u8>,
    since: Instant,
}

/// The acceptor that a held stream waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waits {
    Unclaimed,
    For(AcceptorId),
}

/// A stream whose preamble is whole.
#[derive(Clone, Debug)]
struct Held {
    stream: StreamId,
    tag: Vec<u8>,
    rest: Bytes,
    fin: bool,
    cost: usize,
    since: Instant,
    /// `None` while it looks for its next place.
    waits: Option<Waits>,
}

/// The route of a tag; a registration by its index.
#[derive(Clone, Copy, Debug)]
enum Route {
    To(usize),
    Paused(usize),
    Nobody,
    Reserved,
}

/// The answer and the commands to an event, or to time that passed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) answer: Result<Result<(), Refusal>, Misuse>,
    pub(super) commands: Vec<Command>,
}

/// The model.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) config: Config,
    pub(super) now: Instant,
    pub(super) registered: Vec<Registered>,
    paused: BTreeSet<AcceptorId>,
    /// In the order in which they came.
    parked: Vec<Parked>,
    /// In the order in which their preambles were whole.
    held: Vec<Held>,
    pub(super) stats: Stats,
    commands: Vec<Command>,
}

pub(crate) fn is_reserved(tag: &[u8]) -> bool {
    tag.starts_with(b"gapless:")
}

/// Which of these registrations is for a tag: the exact one, or that of the longest prefix.
pub(crate) fn look_up<'p>(
    registered: impl Iterator<Item = (Pattern<'p>, Registrant)>,
    tag: &[u8],
) -> Option<usize> {
    let takes = |pattern: Pattern<'_>, by: Registrant| match pattern {
        Pattern::Exact(exact) => exact == tag,
        Pattern::Prefix(prefix) => {
            tag.starts_with(prefix) && (by == Registrant::Protocol || !is_reserved(tag))
        }
    };
    let taking = registered.enumerate().filter(|&(_, (pattern, by))| takes(pattern, by));
    let rank = |pattern: Pattern<'_>| (matches!(pattern, Pattern::Exact(_)), pattern.bytes().len());
    taking.max_by_key(|&(_, (pattern, _))| rank(pattern)).map(|(at, _)| at)
}

impl Model {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            now: Instant::ZERO,
            registered: Vec::new(),
            paused: BTreeSet::new(),
            parked: Vec::new(),
            held: Vec::new(),
            stats: Stats::default(),
            commands: Vec::new(),
        }
    }

    pub(super) fn pending(&self) -> usize {
        self.parked.len()
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    pub(super) fn held_for(&self, acceptor: AcceptorId) -> usize {
        self.held.iter().filter(|held| held.waits == Some(Waits::For(acceptor))).count()
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held.iter().map(|held| held.cost).sum()
    }

    pub(super) fn is_paused(&self, acceptor: AcceptorId) -> bool {
        self.paused.contains(&acceptor)
    }

    pub(super) fn waiting_of(&self, peer: PeerId) -> usize {
        let parked = self.parked.iter().map(|parked| parked.stream);
        let held = self.held.iter().map(|held| held.stream);
        parked.chain(held).filter(|stream| stream.peer == peer).count()
    }

    /// When something is overdue next.
    pub(super) fn timeout(&self) -> Option<Instant> {
        let parked = self.parked.iter().map(|parked| parked.since + self.config.preamble_timeout);
        let unclaimed = self.held.iter().filter(|held| held.waits == Some(Waits::Unclaimed));
        parked.chain(unclaimed.map(|held| held.since + self.config.hold)).min()
    }

    /// Time passes, and the machine is told.
    pub(super) fn time_passes(&mut self, now: Instant) -> Vec<Command> {
        self.now = self.now.max(now);
        let (now, patience, hold) = (self.now, self.config.preamble_timeout, self.config.hold);
        let parked = self.parked.extract_if(.., |parked| parked.since + patience <= now);
        let overdue: Vec<_> = parked.map(|parked| parked.stream).collect();
        let is_over =
            |held: &Held| held.waits == Some(Waits::Unclaimed) && held.since + hold <= now;
        let held = self.held.extract_if(.., |held| is_over(held));
        let unclaimed: Vec<_> = held.map(|held| held.stream).collect();
        overdue.into_iter().for_each(|stream| self.refuse(stream, DEADLINE));
        unclaimed.into_iter().for_each(|stream| self.refuse(stream, NO_ACCEPTOR));
        std::mem::take(&mut self.commands)
    }

    /// Takes an event.
    pub(super) fn take(&mut self, now: Instant, event: &Event<'_>) -> Said {
        let before = self.now;
        self.now = self.now.max(now);
        let answer = self.answer(event);
        match answer {
            Ok(answer) => self.stats.refusals += u64::from(answer.is_err()),
            Err(_) => self.now = before,
        }
        Said { answer, commands: std::mem::take(&mut self.commands) }
    }

    fn answer(&mut self, event: &Event<'_>) -> Result<Result<(), Refusal>, Misuse> {
        match *event {
            Event::Register { acceptor, pattern, by } => {
                return Ok(self.register(acceptor, pattern, by));
            }
            Event::Unregister { pattern } => {
                self.unregister_where(|registered| registered.tags.pattern() == pattern);
            }
            Event::AcceptorGone { acceptor } => {
                self.unregister_where(|registered| registered.acceptor == acceptor);
            }
            Event::Pause { acceptor } => {
                if self.registered.iter().any(|registered| registered.acceptor == acceptor) {
                    self.paused.insert(acceptor);
                }
            }
            Event::Resume { acceptor } => {
                self.paused.remove(&acceptor);
                self.reevaluate();
            }
            Event::Take { acceptor } => {
                let waits = Some(Waits::For(acceptor));
                if let Some(first) = self.held.iter().position(|held| held.waits == waits) {
                    let held = self.held.remove(first);
                    let at = self.look_up(&held.tag).expect("it waits for who is registered");
                    self.dispatch(at, held.stream, &held.tag, held.rest, held.fin);
                }
            }
            Event::Data { stream, offset, ref bytes, pinned, fin } => {
                self.data(stream, offset, bytes, pinned, fin)?;
            }
            Event::Reset { stream, .. } => {
                self.stats.forgotten.reset += self.forget(|waiting| waiting == stream);
            }
            Event::Closed { stream } => {
                self.stats.forgotten.closed += self.forget(|waiting| waiting == stream);
            }
            Event::PeerGone { peer } => {
                self.stats.forgotten.peer_gone += self.forget(|waiting| waiting.peer == peer);
            }
            Event::HandOffFailed { stream, acceptor, tag } => {
                let parked = self.parked.iter().any(|parked| parked.stream == stream);
                if parked || self.held.iter().any(|held| held.stream == stream) {
                    return Err(Misuse::NotDispatched);
                }
                self.stats.hand_off_failed += 1;
                if let Some(at) = self.look_up(tag) {
                    self.registered[at].stats.failed += 1;
                }
                self.commands.push(Command::Closed { stream, acceptor });
                self.commands.push(Command::Refuse { stream, code: NO_ACCEPTOR });
            }
            Event::Open { stream, tag, by } => {
                let tag = match Tag::new(tag) {
                    Err(length) => return Ok(Err(length.into())),
                    Ok(_) if by == Registrant::Application && is_reserved(tag) => {
                        return Ok(Err(Refusal::Reserved));
                    }
                    Ok(tag) => tag,
                };
                self.stats.opened += 1;
                self.commands.push(Command::Write { stream, tag });
            }
        }
        Ok(Ok(()))
    }

    fn register(
        &mut self,
        acceptor: AcceptorId,
        pattern: Pattern<'_>,
        by: Registrant,
    ) -> Result<(), Refusal> {
        let shortest = usize::from(matches!(pattern, Pattern::Exact(_)));
        let len = pattern.bytes().len();
        if !(shortest..=255).contains(&len) {
            return Err(Length(len).into());
        }
        if by == Registrant::Application && is_reserved(pattern.bytes()) {
            return Err(Refusal::Reserved);
        }
        let known = self.registered.iter().find(|known| known.tags.pattern() == pattern);
        match known.map(|known| known.acceptor) {
            Some(held_by) if held_by == acceptor => return Ok(()),
            Some(held_by) => return Err(Refusal::Conflict { held_by }),
            None => {}
        }
        let max = self.config.max_registrations;
        if self.registered.len() == max {
            return Err(Refusal::TooManyRegistrations { max });
        }
        let (tags, stats) = (Tags::of(pattern), TagStats::default());
        self.registered.push(Registered { tags, acceptor, by, stats });
        self.reevaluate();
        Ok(())
    }

    fn unregister_where(&mut self, gone: impl Fn(&Registered) -> bool) {
        self.registered.retain(|registered| !gone(registered));
        let is_there =
            |acceptor| self.registered.iter().any(|registered| registered.acceptor == acceptor);
        self.paused.retain(|&acceptor| is_there(acceptor));
        self.reevaluate();
    }

    /// The registration for a tag.
    fn look_up(&self, tag: &[u8]) -> Option<usize> {
        look_up(self.registered.iter().map(|known| (known.tags.pattern(), known.by)), tag)
    }

    fn route(&self, tag: &[u8]) -> Route {
        match self.look_up(tag) {
            Some(at) if self.paused.contains(&self.registered[at].acceptor) => Route::Paused(at),
            Some(at) => Route::To(at),
            None if is_reserved(tag) => Route::Reserved,
            None => Route::Nobody,
        }
    }

    fn data(
        &mut self,
        stream: StreamId,
        offset: u64,
        bytes: &Bytes,
        pinned: usize,
        fin: bool,
    ) -> Result<(), Misuse> {
        if self.held.iter().any(|held| held.stream == stream) {
            return Err(Misuse::Held);
        }
        let parked = self.parked.iter().position(|parked| parked.stream == stream);
        let so_far = parked.map_or(&[][..], |at| &self.parked[at].bytes);
        let expected = so_far.len() as u64;
        if parked.is_some() && offset != expected {
            return Err(Misuse::OutOfOrder { offset, expected });
        }
        if offset != expected {
            self.stats.stray += 1;
            return Ok(());
        }
        let all = [so_far, bytes].concat();
        let whole = all.first().map_or(1, |&length| 1 + usize::from(length));
        if all.first() == Some(&0) {
            self.refuse(stream, NO_ACCEPTOR);
        } else if all.len() < whole && fin {
            self.parked.retain(|parked| parked.stream != stream);
            self.refuse(stream, FIN_IN_PREAMBLE);
        } else if all.len() < whole {
            match parked {
                Some(at) => self.parked[at].bytes = all,
                None if all.is_empty() => {}
                None => self.park(stream, all),
            }
        } else {
            self.parked.retain(|parked| parked.stream != stream);
            let rest = Bytes::copy_from_slice(&all[whole..]);
            self.go(stream, &all[1..whole], rest, pinned, fin);
        }
        Ok(())
    }

    fn park(&mut self, stream: StreamId, bytes: Vec<u8>) {
        if self.waiting_of(stream.peer) >= self.config.max_pending_per_peer {
            self.refuse(stream, TOO_MANY_OF_PEER);
        } else if self.parked.len() >= self.config.max_pending {
            self.refuse(stream, TOO_MANY);
        } else {
            self.stats.parked += 1;
            self.parked.push(Parked { stream, bytes, since: self.now });
        }
    }

    /// A stream whose preamble is whole goes to whom it is for, or waits.
    fn go(&mut self, stream: StreamId, tag: &[u8], rest: Bytes, pinned: usize, fin: bool) {
        let (at, waits) = match self.route(tag) {
            Route::To(at) => return self.dispatch(at, stream, tag, rest, fin),
            Route::Reserved => return self.refuse(stream, RESERVED),
            Route::Nobody if self.config.hold == Duration::ZERO => {
                return self.refuse(stream, NO_ACCEPTOR);
            }
            Route::Nobody => (None, Waits::Unclaimed),
            Route::Paused(at) => (Some(at), Waits::For(self.registered[at].acceptor)),
        };
        let is_copied = rest.len() <= SMALL || pinned > 2 * rest.len();
        let cost = if is_copied { rest.len() } else { pinned + SHARED_OVERHEAD };
        let has_place = self.held.len() < self.config.max_held
            && self.held_bytes() + cost <= self.config.max_held_bytes
            && self.has_place_with(waits);
        let refusal = if self.waiting_of(stream.peer) >= self.config.max_pending_per_peer {
            Some(TOO_MANY_OF_PEER)
        } else if !has_place {
            Some(TOO_MANY)
        } else {
            None
        };
        let stats = at.map(|at| &mut self.registered[at].stats);
        if let Some(code) = refusal {
            stats.into_iter().for_each(|stats| stats.refused += 1);
            return self.refuse(stream, code);
        }
        stats.into_iter().for_each(|stats| stats.held += 1);
        self.stats.held += 1;
        self.stats.payloads_copied += u64::from(is_copied && !rest.is_empty());
        let (tag, since, waits) = (tag.to_vec(), self.now, Some(waits));
        self.held.push(Held { stream, tag, rest, fin, cost, since, waits });
        self.commands.push(Command::Hold { stream });
    }

    fn has_place_with(&self, waits: Waits) -> bool {
        let held = self.held.iter().filter(|held| held.waits == Some(waits)).count();
        held < self.config.max_held_per_acceptor
    }

    /// The acceptor that a held stream is to wait for, if it is to wait.
    fn wanted(&self, held: &Held) -> Option<Waits> {
        match self.route(&held.tag) {
            Route::Paused(at) => Some(Waits::For(self.registered[at].acceptor)),
            // An unclaimed stream stays held until a timeout says otherwise.
            Route::Nobody if held.waits == Some(Waits::Unclaimed) => Some(Waits::Unclaimed),
            Route::Nobody if held.since + self.config.hold > self.now => Some(Waits::Unclaimed),
            _ => None,
        }
    }

    /// Every held stream for which something changed leaves its place and looks for the next, in order;
    /// those that find none go on, or are refused.
    fn reevaluate(&mut self) {
        for at in 0..self.held.len() {
            if self.wanted(&self.held[at]) != self.held[at].waits {
                self.held[at].waits = None;
            }
        }
        for at in 0..self.held.len() {
            if self.held[at].waits.is_none() {
                let wanted = self.wanted(&self.held[at]);
                self.held[at].waits = wanted.filter(|&waits| self.has_place_with(waits));
            }
        }
        let leaving: Vec<_> = self.held.extract_if(.., |held| held.waits.is_none()).collect();
        for held in leaving {
            let code = match (self.route(&held.tag), self.wanted(&held)) {
                (Route::To(at), _) => {
                    self.dispatch(at, held.stream, &held.tag, held.rest, held.fin);
                    continue;
                }
                (Route::Reserved, _) => RESERVED,
                (Route::Paused(at), _) => {
                    self.registered[at].stats.refused += 1;
                    TOO_MANY
                }
                (Route::Nobody, Some(_)) => TOO_MANY,
                (Route::Nobody, None) => NO_ACCEPTOR,
            };
            self.refuse(held.stream, code);
        }
    }

    fn dispatch(&mut self, at: usize, stream: StreamId, tag: &[u8], bytes: Bytes, fin: bool) {
        let Registered { acceptor, stats, .. } = &mut self.registered[at];
        stats.dispatched += 1;
        self.stats.dispatched += 1;
        let (acceptor, tag) = (*acceptor, Tag::new(tag).expect("a tag of a preamble"));
        self.commands.push(Command::Dispatch { stream, acceptor, tag });
        if fin || !bytes.is_empty() {
            self.commands.push(Command::Data { stream, acceptor, bytes, fin });
        }
    }

    fn refuse(&mut self, stream: StreamId, code: u64) {
        let refused = &mut self.stats.refused;
        *match code {
            NO_ACCEPTOR => &mut refused.no_acceptor,
            DEADLINE => &mut refused.deadline,
            TOO_MANY => &mut refused.too_many,
            TOO_MANY_OF_PEER => &mut refused.too_many_of_peer,
            RESERVED => &mut refused.reserved,
            _ => &mut refused.fin_in_preamble,
        } += 1;
        self.commands.push(Command::Refuse { stream, code });
    }

    /// Forgets streams; how many.
    fn forget(&mut self, which: impl Fn(StreamId) -> bool) -> u64 {
        let parked = self.parked.extract_if(.., |parked| which(parked.stream)).count();
        let held = self.held.extract_if(.., |held| which(held.stream)).count();
        (parked + held) as u64
    }
}
