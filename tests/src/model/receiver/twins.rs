//! Receivers beside the one that is judged, which are given the same and must say the same.

use gapless_core::Instant;
use gapless_core::receiver::{Command, Event, Receiver};
use gapless_core::wire::mold;

use super::case::Case;
use super::oracle::spoken_of;
use super::trace::{Ledger, Said, Step, Way};
use crate::model::recorded::Played;

/// One receiver that takes each step the same way, and one that takes it the other way.
#[derive(Debug)]
pub(super) struct Twins {
    way: Way,
    /// A journal, where there is one, says as much.
    same: Option<Played<Receiver>>,
    /// While both ways must deliver the same. Where memory is short they differ, for calls copy what
    /// events keep by reference; where a timeout was missed, which calls that have nothing else to do
    /// leave alone; and after a broken copy, which calls take for one that was heard.
    other: Option<Played<Receiver>>,
    /// The commands of the judged receiver after the latest step.
    timeout: Option<Instant>,
    /// Copies end there at the highest.
    reached: u64,
}

impl Twins {
    pub(super) fn new(case: &Case, is_recorded: bool) -> Self {
        let receiver = || Played::plain(case.config.clone());
        let other = case.is_roomy().then(receiver);
        Self {
            way: case.way,
            same: (!is_recorded).then(receiver),
            other,
            timeout: None,
            reached: 0,
        }
    }

    /// Takes a step to which the judged receiver said `said`.
    pub(super) fn take(&mut self, now: Instant, step: &Step, said: &Said) {
        if let Some(receiver) = &mut self.same {
            let again = self.way.take(receiver, &mut Ledger::default(), now, step);
            assert_eq!(again, *said, "said again at {now:?} to {step}");
        }
        let is_missed = self.timeout.is_some_and(|timeout| timeout <= now);
        if is_missed && matches!(step, Step::Datagram { .. }) || self.is_broken_copy(step) {
            self.other = None;
        }
        self.timeout = said.timeout;
        for command in &said.commands {
            match command {
                Command::Batch(batch) => self.reached = self.reached.max(batch.last()),
                Command::Lost { last, .. } => self.reached = self.reached.max(*last),
                _ => {}
            }
        }
        if let Some(receiver) = &mut self.other {
            let other = self.way.other().take(receiver, &mut Ledger::default(), now, step);
            let (one, other) = (batches_first(said), batches_first(&other));
            let mut both = (0..one.len().max(other.len())).map(|at| (one.get(at), other.get(at)));
            let differs = both.find(|(one, other)| one != other);
            assert_eq!(differs, None, "by {:?} and the other way, at {now:?} {step}", self.way);
        }
    }
}

impl Twins {
    /// Whether a datagram may be a copy by its header, and is none; notes what there are copies of.
    fn is_broken_copy(&mut self, step: &Step) -> bool {
        match step {
            Step::Change(Event::Advance { next }) => self.reached = self.reached.max(*next - 1),
            Step::Datagram { bytes, .. } => {
                let Some(header) = mold::Header::read(bytes) else { return false };
                let last = header.sequence.saturating_add(u64::from(header.messages()));
                return spoken_of(bytes).is_none() && last <= self.reached.saturating_add(1);
            }
            _ => {}
        }
        false
    }
}

/// Deliveries, and everything else, are the same in the same order; which of both comes first to one
/// datagram is not. Calls take a copy for one without walking over it, so a broken one keeps its line
/// up.
fn batches_first(said: &Said) -> Vec<&Command> {
    let is_batch = |command: &&Command| matches!(command, Command::Batch(_));
    let is_line = |command: &&Command| matches!(command, Command::LineUp(_) | Command::LineDown(_));
    let others = said.commands.iter().filter(|command| !is_batch(command) && !is_line(command));
    said.commands.iter().filter(is_batch).chain(others).collect()
}
