//! Session statistics: the counters of each session that is received, kept while it comes.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use gapless_core::Session;
use gapless_core::receiver::{Batch, Command, LineId, LossReason, Origin, SessionEnd};
use gapless_mio::{InterfaceEvent, Sink};
use hdrhistogram::Histogram;

use crate::address::line_name;
use crate::failure::Failure;
use crate::ranges::Ranges;

/// The receiver of everything that is delivered.
pub(crate) trait Consumer {
    /// A session begins at message `next`.
    ///
    /// # Errors
    /// Ends the program.
    fn begin(&mut self, session: Session, next: u64) -> Result<(), Failure>;

    /// Messages, each once.
    ///
    /// # Errors
    /// Ends the program.
    fn take(&mut self, batch: &Batch<&[u8]>) -> Result<(), Failure>;
}

/// The statistics of one session.
#[derive(Debug)]
pub(crate) struct SessionStats {
    pub(crate) session: Session,
    /// Where it began.
    pub(crate) first: u64,
    /// One past what was delivered or lost; with delivery on arrival, of the highest.
    pub(crate) next: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: Ranges,
    /// The part of it that was not reported yet.
    pub(crate) unsaid: Ranges,
    /// How many messages were lost for which reason.
    pub(crate) lost_by: Vec<(LossReason, u64)>,
    /// How often the sender of a line started over, and how the last time.
    pub(crate) regressions: u64,
    pub(crate) regressed: Option<Regressed>,
    /// How often a claim of heartbeats or ends was withdrawn.
    pub(crate) claims_withdrawn: u64,
    /// How many ranges stalled.
    pub(crate) stalls: u64,
    /// The range that is stalled, and whether that was said.
    stalled: Option<((u64, u64), bool)>,
    /// How often a message came again with other bytes, and which the last time.
    pub(crate) contradictions: u64,
    pub(crate) contradicted: Option<Contradicted>,
    pub(crate) gaps: u64,
    pub(crate) gaps_filled_by_line: u64,
    pub(crate) gaps_filled_by_request: u64,
    /// Open gaps, as far as they are not filled: first numbers to last.
    open: BTreeMap<u64, u64>,
    /// How it ended, if it did.
    pub(crate) end: Option<SessionEnd>,
    /// How long filled gaps were open, in microseconds.
    pub(crate) repair_time: Histogram<u64>,
    pub(crate) started: Instant,
}

impl SessionStats {
    /// The longest repair that is distinguished from longer ones.
    const LONGEST: Duration = Duration::from_secs(3600);

    fn new(session: Session, next: u64) -> Self {
        let longest = Self::LONGEST.as_micros() as u64;
        Self {
            session,
            first: next,
            next,
            delivered: 0,
            lost: Ranges::default(),
            unsaid: Ranges::default(),
            lost_by: Vec::new(),
            regressions: 0,
            regressed: None,
            claims_withdrawn: 0,
            stalls: 0,
            stalled: None,
            contradictions: 0,
            contradicted: None,
            gaps: 0,
            gaps_filled_by_line: 0,
            gaps_filled_by_request: 0,
            open: BTreeMap::new(),
            end: None,
            repair_time: Histogram::new_with_bounds(1, longest, 3)
                .expect("bounds and precision are constants in range"),
            started: Instant::now(),
        }
    }

    /// The missing messages: ranges that are neither delivered nor lost.
    pub(crate) fn missing(&self) -> Ranges {
        let mut missing = Ranges::default();
        for (&first, &last) in &self.open {
            missing.insert(first, last);
        }
        missing
    }

    /// Takes note of messages that are lost.
    fn lose(&mut self, first: u64, last: u64, reason: LossReason) {
        let before = self.lost.messages();
        self.lost.insert(first, last);
        self.unsaid.insert(first, last);
        let count = self.lost.messages() - before;
        match self.lost_by.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, lost)) => *lost += count,
            None => self.lost_by.push((reason, count)),
        }
        self.close(first, last);
    }

    /// Why messages were lost.
    pub(crate) fn reasons(&self) -> String {
        match &self.lost_by[..] {
            [(reason, _)] => reason.to_string(),
            reasons => {
                let each = reasons.iter().map(|(reason, lost)| format!("{lost} {reason}"));
                each.collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// The range that is stalled, unless that was said.
    pub(crate) fn take_stalled(&mut self) -> Option<(u64, u64)> {
        let (range, said) = self.stalled.as_mut().filter(|(_, said)| !said)?;
        *said = true;
        Some(*range)
    }

    /// Takes `first..=last` out of the gaps that are open.
    fn close(&mut self, first: u64, last: u64) {
        while let Some((&open_first, &open_last)) = self.open.range(..=last).next_back() {
            if open_last < first {
                break;
            }
            self.open.remove(&open_first);
            if last < open_last {
                self.open.insert(last + 1, open_last);
            }
            if open_first < first {
                self.open.insert(open_first, first - 1);
                break;
            }
        }
    }
}

/// How the sender of a line started over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Regressed {
    line: LineId,
    highest: u64,
    seen: u64,
}

impl Regressed {
    /// The event, in words.
    pub(crate) fn words(self, session: Session) -> String {
        let Self { line, highest, seen } = self;
        let line = line_name(usize::from(line.0));
        format!(
            "line {line} sends message {seen} of session {session} after {highest}: its sender started \
             over in the same session"
        )
    }
}

/// A message that came with two contents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contradicted {
    sequence: u64,
    held: Option<Origin>,
    dropped: Origin,
}

impl Contradicted {
    /// The event, in words.
    pub(crate) fn words(self, session: Session) -> String {
        let Self { sequence, held, dropped } = self;
        let name = |origin| match origin {
            Origin::Line(line) => format!("line {}", line_name(usize::from(line.0))),
            other => other.to_string(),
        };
        let (held, dropped) = (held.map_or("before".to_owned(), name), name(dropped));
        format!(
            "message {sequence} of session {session} came again with other bytes: those of {held} are \
             kept, those of {dropped} are not"
        )
    }
}

/// The events that end delivery before the session's end.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Stops {
    /// A loss: numbers behind it are not reached.
    pub(crate) on_loss: bool,
    /// A sender that starts over: nothing more is taken from anybody.
    pub(crate) on_regress: bool,
}

/// The driver's sink: keeps a [`SessionStats`] of every session, and hands messages on.
pub(crate) struct Ledger<C> {
    pub(crate) consumer: C,
    /// At most two at once: the one that ends, and the one that follows.
    sessions: VecDeque<SessionStats>,
    /// Delivery stopped behind a loss.
    pub(crate) halted: bool,
    /// A sender started over, and nothing is taken any more.
    pub(crate) stopped: bool,
    stops: Stops,
    /// How often lines went down.
    downs: BTreeMap<LineId, u64>,
    /// How often interfaces of lines went away.
    interface_losses: BTreeMap<LineId, u64>,
    failure: Option<Failure>,
}

impl<C: Consumer> Ledger<C> {
    /// An empty one.
    pub(crate) fn new(consumer: C, stops: Stops) -> Self {
        Self {
            consumer,
            sessions: VecDeque::new(),
            halted: false,
            stopped: false,
            stops,
            downs: BTreeMap::new(),
            interface_losses: BTreeMap::new(),
            failure: None,
        }
    }

    /// The session that is received now: of two, the one that ends.
    pub(crate) fn oldest(&self) -> Option<&SessionStats> {
        self.sessions.front()
    }

    /// Whether that one ended.
    pub(crate) fn oldest_ended(&self) -> bool {
        self.oldest().is_some_and(|stats| stats.end.is_some())
    }

    /// Takes it out.
    pub(crate) fn take_oldest(&mut self) -> Option<SessionStats> {
        self.sessions.pop_front()
    }

    /// Takes out every session.
    pub(crate) fn take_all(&mut self) -> VecDeque<SessionStats> {
        std::mem::take(&mut self.sessions)
    }

    /// The failure that ended the program, if one did.
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// The sessions that are received.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = &SessionStats> {
        self.sessions.iter()
    }

    /// The same, to take what is to be said.
    pub(crate) fn sessions_mut(&mut self) -> impl Iterator<Item = &mut SessionStats> {
        self.sessions.iter_mut()
    }

    /// How often a line went down.
    pub(crate) fn downs(&self, line: LineId) -> u64 {
        self.downs.get(&line).copied().unwrap_or(0)
    }

    /// Takes note of what happened to a line's interface.
    pub(crate) fn note_interface(&mut self, line: LineId, event: InterfaceEvent) {
        if event == InterfaceEvent::Gone {
            *self.interface_losses.entry(line).or_default() += 1;
        }
    }

    /// How often a line's interface went away.
    pub(crate) fn interface_losses(&self, line: LineId) -> u64 {
        self.interface_losses.get(&line).copied().unwrap_or(0)
    }

    fn of(&mut self, session: Session) -> Option<&mut SessionStats> {
        self.sessions.iter_mut().rev().find(|stats| stats.session == session)
    }

    fn note_failure(&mut self, result: Result<(), Failure>) {
        if let Err(failure) = result {
            self.failure.get_or_insert(failure);
        }
    }
}

impl<C: Consumer> Sink for Ledger<C> {
    fn batch(&mut self, _now: gapless_core::Instant, batch: Batch<&[u8]>) {
        if self.failure.is_some() || self.stopped {
            return;
        }
        let result = self.consumer.take(&batch);
        self.note_failure(result);
        if let Some(stats) = self.of(batch.session) {
            stats.delivered += u64::from(batch.count);
            stats.next = stats.next.max(batch.last().saturating_add(1));
            if batch.repaired {
                stats.close(batch.first, batch.last());
            }
        }
    }

    fn notice(&mut self, _now: gapless_core::Instant, notice: Command) {
        if self.stopped {
            return;
        }
        match notice {
            Command::SessionStarted { session, next } => {
                self.sessions.push_back(SessionStats::new(session, next));
                let result = self.consumer.begin(session, next);
                self.note_failure(result);
            }
            Command::SessionEnded { session, next, reason } => {
                let halted = self.halted;
                if let Some(stats) = self.of(session) {
                    stats.end = Some(reason);
                    if !halted {
                        stats.next = stats.next.max(next);
                        // Messages behind the end, that a stranger spoke of, never were.
                        stats.close(next, u64::MAX);
                    }
                }
            }
            Command::GapOpened { session, first, last } => {
                if let Some(stats) = self.of(session) {
                    stats.gaps += 1;
                    stats.open.insert(first, last);
                }
            }
            Command::GapFilled { session, first, last, by_answers, after, .. } => {
                if let Some(stats) = self.of(session) {
                    match by_answers {
                        0 => stats.gaps_filled_by_line += 1,
                        _ => stats.gaps_filled_by_request += 1,
                    }
                    let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
                    stats.repair_time.saturating_record(micros);
                    stats.close(first, last);
                }
            }
            Command::Lost { session, first, last, reason } => {
                let reached = !self.stops.on_loss;
                if let Some(stats) = self.of(session) {
                    stats.lose(first, last, reason);
                    if reached {
                        stats.next = stats.next.max(last.saturating_add(1));
                    }
                }
            }
            Command::Withdrawn { session, first, last } => {
                if let Some(stats) = self.of(session) {
                    stats.claims_withdrawn += 1;
                    stats.close(first, last);
                }
            }
            Command::Stalled { session, first, last } => {
                let range = (first, last);
                if let Some(stats) = self.of(session)
                    && stats.stalled.is_none_or(|(of, _)| of != range)
                {
                    stats.stalls += 1;
                    stats.stalled = Some((range, false));
                }
            }
            Command::Halted { .. } => self.halted = true,
            Command::SequenceRegressed { line, session, highest, seen } => {
                if let Some(stats) = self.of(session) {
                    stats.regressions += 1;
                    stats.regressed = Some(Regressed { line, highest, seen });
                    self.stopped = self.stops.on_regress;
                }
            }
            Command::Contradiction { session, sequence, held, dropped } => {
                if let Some(stats) = self.of(session) {
                    stats.contradictions += 1;
                    stats.contradicted = Some(Contradicted { sequence, held, dropped });
                }
            }
            Command::LineDown(line) => *self.downs.entry(line).or_default() += 1,
            Command::LineUp(_) | Command::Batch(_) | Command::Request { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests;
