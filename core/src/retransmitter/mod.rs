//! The re-request server of a MoldUDP64 feed.
//!
//! A [`Retransmitter`] remembers what was sent, within limits, and answers requests for it, one packet
//! for each. Messages that it does not remember it may have looked up in an archive. It never answers faster
//! than it may, and addresses beyond this machine hardly faster than the feed itself: so it is of little
//! use to those who want others flooded.

mod answer;
mod config;
mod event;
mod history;
mod journal;
mod limits;
mod look_ups;
mod segments;
mod stats;
#[cfg(test)]
pub(crate) mod tests;

pub use config::{Config, Error, Remote};
pub use event::{Command, Event, LookUpId};
pub use stats::Stats;

use core::net::SocketAddr;

use smallvec::SmallVec;

use answer::{Answer, Answers};
use history::History;
use limits::{Limits, Over};
use look_ups::{Admission, LookUps};
use segments::Slot;

use crate::machine::Context;
use crate::stats_and_context;
use crate::storage::blocks::cost;
use crate::storage::charge::Measure;
use crate::storage::ring::Ring;
use crate::wire::mold::{MAX_COUNT, MAX_DATAGRAM, Malformed, Packet, Request};
use crate::{Instant, Machine, Session};

/// Work that an event left for the outside.
#[derive(Debug)]
enum Pending {
    LookUp(LookUpId, Request),
    Answer(SocketAddr, Answer),
    /// The archive's finding, for each who waits for it.
    Found(LookUpId, Answer),
}

/// Answers requests out of a bounded history, and never faster than it may.
#[derive(Debug)]
pub struct Retransmitter {
    archive: bool,
    context: Context,
    history: History,
    answers: Answers,
    limits: Limits,
    look_ups: LookUps,
    pending: SmallVec<[Pending; 1]>,
    stats: Stats,
}

impl Retransmitter {
    /// The ranges `first..=last` of a session that the history holds, in ascending order.
    pub fn ranges(&self, session: Session) -> impl Iterator<Item = (u64, u64)> + '_ {
        let slot = self.history.slot(session);
        slot.into_iter().flat_map(|slot| self.history.ranges(slot))
    }

    fn request(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.stats.requests += 1;
        let request = match Request::new_checked(datagram) {
            Ok(request) => request,
            Err(Malformed::SequenceZero) => return self.stats.sequence_zero += 1,
            Err(Malformed::CountZero) => return self.stats.count_zero += 1,
            Err(Malformed::SequenceOverflow { .. }) => return self.stats.out_of_range += 1,
            Err(_) => return self.stats.malformed += 1,
        };
        let Some(slot) = self.history.slot(request.session) else {
            return self.stats.other_session += 1;
        };
        if request.sequence > self.history.newest(slot) {
            return self.stats.out_of_range += 1;
        }
        if !self.admit(from) {
            return;
        }
        let wanted = Request { count: request.count.min(MAX_COUNT), ..request };
        let history = &self.history;
        match self.answers.build(wanted, |next| history.messages_from(slot, next)) {
            Some(answer) => {
                self.stats.answered += 1;
                self.stats.answers_allocated += u64::from(answer.allocated > 0);
                self.pending.push(Pending::Answer(from, answer));
            }
            None => self.look_up(from, slot, wanted),
        }
    }

    /// Counts an answer against the rates.
    fn answer(&mut self, to: SocketAddr, answer: Answer) -> Command {
        let evicts = self.limits.charge(self.context.now(), to.ip(), answer.bytes.len());
        self.stats.evicted_addresses += u64::from(evicts);
        self.stats.answered_messages += u64::from(answer.count);
        self.stats.answered_bytes += answer.bytes.len() as u64;
        Command::Answer { to, bytes: answer.bytes }
    }

    /// Returns true if a request may be answered now; counted when not.
    fn admit(&mut self, from: SocketAddr) -> bool {
        match self.limits.admit(self.context.now(), from.ip()) {
            Ok(()) => return true,
            Err(Over::Address) => self.stats.over_address_rate += 1,
            Err(Over::Total) => self.stats.over_total_rate += 1,
        }
        false
    }

    /// The history does not hold the first wanted message.
    fn look_up(&mut self, from: SocketAddr, slot: Slot, wanted: Request) {
        if !self.archive {
            return self.stats.declined += 1;
        }
        let count = self.history.missing(slot, wanted.sequence, wanted.count);
        let wanted = Request { count, ..wanted };
        match self.look_ups.request(self.context.now(), wanted, from) {
            Admission::New(id) => {
                self.stats.look_ups += 1;
                self.pending.push(Pending::LookUp(id, wanted));
            }
            Admission::Shared => {}
            Admission::Again => self.stats.repeated += 1,
            Admission::Full => self.stats.look_ups_full += 1,
        }
    }

    fn store(&mut self, packet: &[u8]) {
        if packet.len() > MAX_DATAGRAM {
            return self.stats.store_too_large += 1;
        }
        match Packet::new_checked(packet) {
            Ok(packet) => self.history.store(&packet, &mut self.stats),
            Err(_) => self.stats.store_malformed += 1,
        }
    }

    fn found(&mut self, id: LookUpId, packet: &[u8]) {
        let Some(wanted) = self.look_ups.answered(id) else {
            return self.stats.look_ups_unknown += 1;
        };
        let packet = Packet::new_checked(packet).ok();
        let answer =
            packet.filter(|packet| packet.header().session == wanted.session).and_then(|packet| {
                self.answers.build(wanted, |next| {
                    let mut messages = packet.messages();
                    let skipped = u16::try_from(next.checked_sub(messages.sequence())?).ok()?;
                    messages.pass(skipped);
                    (messages.remaining() > 0).then_some(messages)
                })
            });
        match answer {
            Some(answer) => {
                self.stats.answers_allocated += u64::from(answer.allocated > 0);
                self.pending.push(Pending::Found(id, answer));
            }
            None => {
                self.stats.look_ups_malformed += 1;
                self.stats.not_found += self.look_ups.dismiss(id);
            }
        }
    }

    fn not_found(&mut self, id: LookUpId) {
        match self.look_ups.answered(id) {
            Some(_) => self.stats.not_found += self.look_ups.dismiss(id),
            None => self.stats.look_ups_unknown += 1,
        }
    }

    fn memory(&self, measure: Measure) -> usize {
        self.history.memory(measure)
            + self.answers.memory(measure)
            + self.limits.memory(measure)
            + self.look_ups.memory(measure)
    }

    fn expire_look_ups(&mut self) {
        self.stats.look_ups_timed_out += self.look_ups.expire(self.context.now());
    }
}

impl Machine for Retransmitter {
    type Config = Config;
    type Event<'a> = Event<'a>;
    type Command = Command;
    type Stats = Stats;
    type Error = Error;

    fn new(config: Config) -> Result<Self, Error> {
        config.check()?;
        let mut history = History::new(config.history_bytes, config.max_sessions);
        if let Some(session) = config.session {
            history.pin(session, config.sent_before);
        }
        Ok(Self {
            archive: config.archive,
            context: Context::default(),
            history,
            answers: Answers::new(config.ring, config.mtu),
            limits: Limits::new(&config),
            look_ups: LookUps::new(&config),
            pending: SmallVec::new(),
            stats: Stats::default(),
        })
    }

    fn apply(&mut self, now: Instant, event: Event<'_>) -> Result<(), Error> {
        self.context.event(now);
        self.expire_look_ups();
        match event {
            Event::Request { from, datagram } => self.request(from, datagram),
            Event::Store { packet } => self.store(packet),
            Event::Sent { packet } => {
                self.limits.sent(self.context.now(), packet.len());
                self.store(packet);
            }
            Event::Found { id, packet } => self.found(id, packet),
            Event::NotFound { id } => self.not_found(id),
        }
        self.stats.waiting = self.look_ups.waiting() as u64;
        Ok(())
    }

    fn next_command(&mut self) -> Option<Command> {
        while !self.pending.is_empty() {
            match self.pending.remove(0) {
                Pending::LookUp(id, Request { session, sequence: first, count }) => {
                    return Some(Command::LookUp { id, session, first, count });
                }
                Pending::Answer(to, answer) => return Some(self.answer(to, answer)),
                Pending::Found(id, answer) => {
                    let Some(to) = self.look_ups.next_waiting(id) else { continue };
                    self.stats.waiting -= 1;
                    self.pending.insert(0, Pending::Found(id, answer.clone()));
                    if self.admit(to) {
                        self.stats.answered_by_archive += 1;
                        return Some(self.answer(to, answer));
                    }
                }
            }
        }
        self.pending.shrink_to_fit();
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.look_ups.deadline()
    }

    fn expire(&mut self, now: Instant) {
        self.context.timeout(now);
        self.expire_look_ups();
        self.stats.waiting = self.look_ups.waiting() as u64;
    }

    fn memory_limit(config: &Config) -> usize {
        let measure = Measure::Charged;
        config
            .history_bytes
            .saturating_add(Ring::bytes(config.ring, config.mtu, measure))
            .saturating_add(cost(MAX_DATAGRAM))
            .saturating_add(Limits::bytes(config.max_addresses, measure))
            .saturating_add(LookUps::bytes(config.max_look_ups, config.max_waiting, measure))
    }

    stats_and_context!();

    fn charged(&self) -> usize {
        self.memory(Measure::Charged)
    }

    fn memory_used(&self) -> usize {
        let allocated = |pending: &Pending| match pending {
            Pending::LookUp(..) => 0,
            Pending::Answer(_, answer) | Pending::Found(_, answer) => answer.allocated,
        };
        let many = if self.pending.spilled() { self.pending.capacity() } else { 0 };
        many * size_of::<Pending>()
            + self.pending.iter().map(allocated).sum::<usize>()
            + self.memory(Measure::Taken)
    }

    fn lent(&self) -> usize {
        self.answers.lent()
    }
}
