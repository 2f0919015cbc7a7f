//! Gap detection, arbitration between lines, and repair of a MoldUDP64 feed.
//!
//! A [`Receiver`] takes datagrams and gives batches in order, requests for what is missing, and word
//! of what is lost. It holds what arrived ahead of a gap, within limits, and nothing else.
//!
//! | file | what it knows |
//! |---|---|
//! | `input` | what a datagram is: in order, a copy, ahead, an answer, a claim |
//! | `sessions` | when a claim is believed, and how sessions begin, follow each other and end |
//! | `space`, `ingest` | one session: what is settled, held and missing; what a packet brings into it |
//! | `claims` | how far a session reaches, and by whose word |
//! | `candidate` | what is not believed yet, and how many packets stand for it |
//! | `gaps`, `held`, `store` | the missing ranges; the runs ahead of them; their memory |
//! | `repair`, `server` | whom to ask for what, and when |
//! | `quota` | how much each server may still be asked |
//! | `loss` | when what is missing is given up, and by which rule |
//! | `line` | which lines are up, how far they got, how far they lag |
//! | `timers` | everything that is waited for, and until when |
//! | `opening`, `unwanted` | what a session began with; what came that is not wanted |
//!
//! A method of `Space` stands in the file of the rule that it serves.

mod candidate;
mod claims;
mod config;
mod event;
mod gaps;
mod held;
mod ingest;
mod input;
mod journal;
mod line;
mod loss;
mod opening;
mod quota;
mod repair;
mod server;
mod sessions;
mod space;
mod stats;
mod store;
mod timers;
mod unwanted;

#[cfg(test)]
mod tests;

pub use config::{AcceptAnswers, Checkpoint, Config, Delivery, Error, OnLoss, Start};
pub use event::{
    Batch, Command, Datagram, Event, LineId, LossReason, Origin, ServerId, SessionEnd, Source,
};
pub use journal::Call;
pub use quota::{Quota, QuotaUnit, QuotaUse};
pub use stats::{LineStats, ServerStats, Stats};

use candidate::Candidate;
use line::Lines;
use quota::Quotas;
use repair::Repair;
use server::Servers;
use sessions::Over;
use space::{Recent, Space};
use store::{Payload, Store};
use unwanted::Unwanted;

use core::net::SocketAddr;

use crate::machine::Context;
use crate::stats_and_context;
use crate::storage::charge::{Measure, charged};
use crate::{Instant, Machine, Session};

/// Receives one feed from several lines, and repairs it.
///
/// Two ways in: [`Event::Datagram`] with owned bytes, and [`Receiver::receive`] on borrowed ones.
/// Both do the same; only what is delivered at once is borrowed too with the second.
///
/// # Memory
/// Everything but payload is allocated by [`Machine::new`]. Payload held ahead of a gap is bounded by
/// [`Config::max_held_bytes`], charged by what it keeps alive; [`Machine::memory_limit`] is the sum.
/// When a limit is reached, what lies furthest from the next number is dropped and asked for later: nothing
/// is ever lost for want of memory, as long as a server may answer: one that did since the oldest gap
/// opened, or within [`give_up`](field@Config::give_up) before, or that left less than two requests in a row
/// unanswered. Otherwise, once every line that is up has passed that gap, it is lost
/// ([`LossReason::NobodyToAsk`]), and what is held behind it is delivered: so what is lost is what the
/// network lost.
#[derive(Debug)]
pub struct Receiver {
    config: Config,
    /// While a timeout is drained, and only then, is anything given up for its age: a driver that was held up
    /// reads what came meanwhile before it lets the time pass.
    context: Context,
    phase: Phase,
    /// The current session, and the one that follows it.
    spaces: [Space; 2],
    /// A session that is not believed yet: the first one, or the next.
    pending_session: Option<Candidate>,
    /// The last sessions that ended.
    ended: Recent<Over>,
    /// A message of a session that came again with other bytes, to be emitted: the first of this drain.
    contradiction: Option<(Session, Command)>,
    /// Delivery has stopped after a loss.
    halted: Option<Halt>,
    store: Store,
    lines: Lines,
    repair: Repair,
    stats: Stats,
    unwanted: Unwanted,
}

/// Which datagrams the fast path may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Packets in order and copies: nothing else goes on.
    Steady,
    /// None: commands may wait, or something is claimed, contradicted, ending or halted.
    Eventful,
}

/// Delivery of a session stopped, before the number `next` if that is still to be emitted.
#[derive(Clone, Copy, Debug)]
struct Halt {
    session: Session,
    next: Option<u64>,
}

charged!(LineId = 1, ServerId = 4);

impl Config {
    /// The bytes that are allocated at construction.
    fn table_bytes(&self, measure: Measure) -> usize {
        let space = Space::table_bytes(self.max_gaps, self.delivery, measure);
        let (lines, servers, quotas, used) = match measure {
            Measure::Charged => {
                (self.lines.len(), self.servers.len(), self.quotas.len(), self.used.len())
            }
            Measure::Taken => (
                self.lines.capacity(),
                self.servers.capacity(),
                self.quotas.capacity(),
                self.used.capacity(),
            ),
        };
        let tables = [
            Store::table_bytes(self.max_held_bytes, self.max_held_packets, measure),
            if self.follow { space.saturating_mul(2) } else { space },
            Lines::table_bytes(measure),
            Servers::table_bytes(self.max_in_flight, measure),
            Quotas::table_bytes(self.quotas.len(), measure),
            measure.of::<Quota>(quotas),
            measure.of::<QuotaUse>(used),
            measure.of::<LineId>(lines),
            measure.of::<(ServerId, SocketAddr)>(servers),
        ];
        tables.into_iter().fold(0, usize::saturating_add)
    }
}

impl Receiver {
    /// Takes a datagram that is only borrowed, and returns the messages at its front that are next in
    /// order, borrowed too. The messages of it that must be held are copied. Then [`Machine::poll_command`] gives
    /// whatever else there is, if [`Receiver::has_commands`].
    ///
    /// Never refused: before a drain it holds all of the datagram and returns `None`.
    #[inline]
    pub fn receive<'a>(
        &mut self,
        now: Instant,
        source: Source,
        datagram: &'a [u8],
    ) -> Option<Batch<&'a [u8]>> {
        self.receive_stamped(now, now, source, datagram)
    }

    /// [`Receiver::receive`] for a datagram that arrived (by the kernel's clock) at `arrival`.
    #[inline(always)]
    pub fn receive_stamped<'a>(
        &mut self,
        now: Instant,
        arrival: Instant,
        source: Source,
        datagram: &'a [u8],
    ) -> Option<Batch<&'a [u8]>> {
        self.context.advance(now);
        if let Some(batch) = self.fast_path(arrival, source, datagram) {
            return batch;
        }
        let extent = self.slow_path(arrival, source, Payload::Borrowed(datagram));
        extent.map(|extent| extent.batch(datagram))
    }

    /// Returns true if [`Machine::poll_command`] may have something: for loops that take datagrams by
    /// [`Receiver::receive`] and want to skip an empty drain.
    #[inline]
    #[must_use]
    pub const fn has_commands(&self) -> bool {
        self.context.is_draining()
    }

    /// The place where it stands; `None` before a session is believed, and after it ended: then
    /// [`used`](Self::used) is what there is to keep.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let space = &self.spaces[0];
        space.is_active().then(|| Checkpoint {
            session: space.session,
            next: space.next(&self.store),
            used: self.used(),
        })
    }

    /// The use of the quotas, for [`Config::used`](field@Config::used): ages are up to the last event.
    #[must_use]
    pub fn used(&self) -> alloc::vec::Vec<QuotaUse> {
        self.repair.servers.quotas.used(self.context.now())
    }

    /// The counters of a line; `None` when it does not exist.
    #[must_use]
    pub fn line(&self, line: LineId) -> Option<LineStats> {
        self.lines.get(line).map(|line| line.stats)
    }

    /// The counters of a server; `None` when it does not exist.
    #[must_use]
    pub fn server(&self, server: ServerId) -> Option<ServerStats> {
        self.repair.servers.stats(self.context.now(), server)
    }

    /// Sessions that came by lines and are not received, with the packets of each: at most eight, those
    /// that send most, and counts may be higher than they were where there are more. Sessions that ended
    /// before are not among them.
    pub fn foreign_sessions(&self) -> impl Iterator<Item = (Session, u64)> {
        self.unwanted.sessions()
    }

    /// The source of the last answer that no configured server gave.
    #[must_use]
    pub const fn unknown_peer(&self) -> Option<SocketAddr> {
        self.unwanted.address
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Lets time pass: what is over is over before the event is looked at.
    fn pass_time(&mut self) {
        self.store.blocks.reclaim();
        self.lines.expire(self.context.now());
        self.stats.requests_timed_out += self.repair.expire(self.context.now(), &mut self.spaces);
        self.consider_claims();
    }

    /// Everything is drained: notes whether the fast path may take the next datagram.
    fn update_phase(&mut self) {
        let is_steady = self.spaces[0].is_steady()
            && !self.lines.any_contradicts()
            && self.pending_session.is_none()
            && self.halted.is_none();
        self.phase = if is_steady { Phase::Steady } else { Phase::Eventful };
    }

    /// Returns true if the messages of a session leave: delivery has not halted, nor does another session come first.
    fn delivers(&self, index: usize) -> bool {
        self.halted.is_none() && (index == 0 || self.config.delivery == Delivery::Arrival)
    }

    /// When a limit is reached and no server may bring what has been missing longest: the number up to
    /// which every line that is up has passed it.
    fn stuck(&self, index: usize) -> Option<u64> {
        let space = &self.spaces[index];
        let oldest = space.gaps.missing().first().filter(|_| index == 0)?;
        // While only time passes nothing wants room.
        let is_full = !self.context.is_timeout() && (self.store.is_full() || space.gaps.is_full());
        let may_come =
            !is_full || self.repair.servers.may_answer(space.gaps.opened(oldest), space.give_up);
        (!may_come).then(|| self.lines.passed())
    }

    /// The next news or delivery of a session.
    fn poll_space(&mut self, index: usize) -> Option<Command> {
        let Self { spaces, store, config, .. } = self;
        let space = &mut spaces[index];
        if !space.is_active() {
            return None;
        }
        if let Some(next) = space.announce.take() {
            return Some(Command::SessionStarted { session: space.session, next });
        }
        if let Some((first, last)) = space.evidence.withdrawn.take() {
            return Some(Command::Withdrawn { session: space.session, first, last });
        }
        if let Some((_, found)) = self.contradiction.take_if(|(of, _)| *of == space.session) {
            return Some(found);
        }
        if let Some(command) = space.gaps.poll(space.session) {
            return Some(command);
        }
        if index > 0 && config.delivery == Delivery::Ordered {
            return None;
        }
        if let Some(Halt { session, next }) = &mut self.halted {
            return next.take().map(|next| Command::Halted { session: *session, next });
        }
        if let Some(batch) = space.deliver(store) {
            return Some(Command::Batch(batch));
        }
        // Pieces on their way leave before a loss halts delivery: they count against no limit.
        let halts = config.on_loss == OnLoss::Halt && config.delivery == Delivery::Arrival;
        if halts
            && index == 0
            && let Some(command) = self.poll_space(1)
        {
            return Some(command);
        }
        let now = if self.context.is_timeout() { self.context.now() } else { Instant::ZERO };
        let stuck = self.stuck(index);
        let Self { spaces, config, lines, repair, context, .. } = self;
        let space = &mut spaces[index];
        let session = space.session;
        let is_held_back = |number| repair.servers.is_held_back(context.now(), session, number);
        let Some((first, last, reason)) = space.lose(now, stuck, lines, is_held_back) else {
            let (first, last) = space.stall(now, lines)?;
            return Some(Command::Stalled { session, first, last });
        };
        if config.on_loss == OnLoss::Halt {
            self.halted = Some(Halt { session, next: Some(last.saturating_add(1)) });
        }
        Some(Command::Lost { session, first, last, reason })
    }

    /// The next request to send.
    fn poll_request(&mut self) -> Option<Command> {
        let now = self.context.now();
        let Self { spaces, pending_session, lines, repair, store, .. } = self;
        if !repair.wake(now, store) {
            return None;
        }
        let jumps = spaces.iter_mut().filter_map(|space| space.jump.as_mut());
        let request = repair.ask_about(now, jumps.chain(pending_session));
        request.or_else(|| repair.poll(now, spaces, lines, store))
    }

    /// The next command, which is not counted yet.
    fn next_uncounted(&mut self) -> Option<Command> {
        loop {
            let session = self.spaces[0].session;
            let command = self.lines.poll(session).or_else(|| self.poll_space(0));
            let command = command.or_else(|| self.poll_space(1)).or_else(|| self.close_session());
            if command.is_some() {
                return command;
            }
            let now = self.context.now();
            let ends = |space: &Space| space.end_deadline().is_some_and(|at| at <= now);
            if self.spaces.iter().any(ends) {
                // Claims behind an end are settled, and contest it no longer.
                self.consider_claims();
            } else if self.spaces.iter_mut().any(|space| space.refetch(now, &self.store)) {
                self.repair.invalidate();
            } else {
                return self.poll_request();
            }
        }
    }
}

impl Machine for Receiver {
    type Config = Config;
    type Event<'a> = Event;
    type Command = Command;
    type Stats = Stats;
    type Error = Error;

    fn new(mut config: Config) -> Result<Self, Error> {
        config.check()?;
        config.lines.shrink_to_fit();
        config.servers.shrink_to_fit();
        let lines = Lines::new(&config);
        let successor = if config.follow {
            Space::new(&config)
        } else {
            Space::new(&Config { max_gaps: 0, delivery: Delivery::Arrival, ..Config::default() })
        };
        let spaces = [Space::new(&config), successor];
        let store = Store::new(config.max_held_bytes, config.max_held_packets);
        let mut receiver = Self {
            context: Context::default(),
            phase: Phase::Eventful,
            spaces,
            pending_session: None,
            ended: Recent::new(),
            contradiction: None,
            halted: None,
            store,
            lines,
            repair: Repair::new(&config),
            stats: Stats::default(),
            unwanted: Unwanted::default(),
            config,
        };
        receiver.start_known_session();
        Ok(receiver)
    }

    fn apply(&mut self, now: Instant, event: Event) -> Result<(), Error> {
        self.check_event(&event)?;
        match event {
            Event::Datagram(Datagram { source, bytes, pinned, arrival }) => {
                self.context.advance(now);
                let pinned = pinned.min(u32::MAX as usize).max(bytes.len());
                self.slow_path(arrival, source, Payload::Owned(bytes, pinned));
                return Ok(());
            }
            Event::AddLine(line) => self.lines.add(self.context.now().max(now), line),
            Event::RemoveLine(line) => {
                self.lines.remove(line);
                self.spaces.iter_mut().for_each(|space| space.evidence.forget_line(line));
            }
            Event::AddServer(server, address) => self.repair.servers.add(server, address),
            Event::RemoveServer(server) => self.repair.servers.remove(server),
            Event::Advance { next } => self.advance(next),
        }
        let give_up = self.config.give_up(self.lines.iter().count(), self.repair.servers.count());
        self.spaces.iter_mut().for_each(|space| space.give_up = give_up);
        self.repair.invalidate();
        self.context.event(now);
        self.phase = Phase::Eventful;
        self.pass_time();
        Ok(())
    }

    fn next_command(&mut self) -> Option<Command> {
        let command = self.next_uncounted();
        if let Some(command) = &command {
            self.stats.count(command);
        } else {
            self.context.drained();
            self.update_phase();
        }
        command
    }

    fn poll_timeout(&self) -> Option<Instant> {
        // The end of time never comes.
        self.deadline().filter(|at| *at < Instant::MAX)
    }

    fn expire(&mut self, now: Instant) {
        self.context.timeout(now);
        self.phase = Phase::Eventful;
        self.pass_time();
    }

    /// But for the datagram that is being drained.
    fn memory_limit(config: &Config) -> usize {
        config.max_held_bytes.saturating_add(config.table_bytes(Measure::Charged))
    }

    stats_and_context!();

    fn charged(&self) -> usize {
        self.config.table_bytes(Measure::Charged).saturating_add(self.store.held_bytes())
    }

    fn memory_used(&self) -> usize {
        self.config.table_bytes(Measure::Taken).saturating_add(self.store.payload_bytes())
    }

    fn lent(&self) -> usize {
        self.store.blocks.lent()
    }
}
