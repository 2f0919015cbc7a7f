//! The table of timers: everything that a receiver waits for, and until when.
//!
//! Each deadline follows from the state of the part that waits, so none is set, stopped or kept here. Requests have
//! a table of their own, since each has a deadline; `Repair` knows when the next of them times out, and when what is
//! missing must be evaluated again. What a timeout brings about is done where any event does it.

use super::line::Lines;
use super::space::Space;
use super::{Phase, Receiver};
use crate::Instant;
use crate::time::earliest;

impl Receiver {
    /// When the next timer ends, if nothing happens before.
    #[inline]
    pub(super) fn deadline(&self) -> Option<Instant> {
        let always = earliest(self.lines.deadline(), self.repair.deadline());
        // Nothing else waits in the steady phase while nothing is missing.
        let is_calm = self.phase == Phase::Steady && self.spaces[0].is_clean();
        debug_assert!(!is_calm || self.event_deadline().is_none());
        if is_calm { always } else { earliest(always, self.event_deadline()) }
    }

    /// When a session is believed, or a timer of a space ends.
    #[cold]
    fn event_deadline(&self) -> Option<Instant> {
        let quiet = self.spaces[0].is_active().then_some(self.config.quiet);
        let pending = self.pending_session.as_ref();
        let pending = pending.and_then(|it| it.deadline(self.config.believe_after, quiet));
        let of_space = |index: usize| self.spaces[index].timers(&self.lines, self.delivers(index));
        of_space(0).into_iter().chain(of_space(1)).chain([pending]).flatten().min()
    }
}

impl Space {
    /// When a jump or an end is believed; and, where its messages are delivered, when it was repaired for long enough
    /// after another session took its place, and when the lowest missing range is given up or emitted as stalled.
    fn timers(&self, lines: &Lines, delivers: bool) -> [Option<Instant>; 4] {
        let (believe_after, quiet) = (self.rules.believe_after, Some(self.rules.quiet));
        let jump = self.jump.as_ref().and_then(|jump| jump.deadline(believe_after, quiet));
        let closing = self.closing().filter(|_| delivers);
        let given_up = if delivers { self.give_up_at(lines) } else { None };
        [jump, self.end_deadline(), closing, given_up]
    }
}
