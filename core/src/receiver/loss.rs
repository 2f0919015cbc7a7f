//! When what is missing is given up, and by which rule.

use super::claims::Standing;
use super::config::Delivery;
use super::event::LossReason;
use super::gaps::MissingRange;
use super::line::Lines;
use super::space::{Space, remember};
use crate::{Duration, Instant};

/// Messages that are given up: the first, the last, and why.
type Loss = (u64, u64, LossReason);

impl Space {
    /// When the lowest missing range is given up or emitted as stalled, if nothing happens before.
    pub(super) fn give_up_at(&self, lines: &Lines) -> Option<Instant> {
        self.verdict(lines).map(|(at, _)| at).or_else(|| self.stalled_at(lines))
    }

    /// When the lowest missing range is given up, and by which rule; `None` while too little stands for it.
    fn verdict(&self, lines: &Lines) -> Option<(Instant, LossReason)> {
        let range = self.gaps.missing().first()?;
        if range.value.attempts >= self.rules.max_attempts {
            return Some((Instant::ZERO, LossReason::Unanswered));
        }
        let since = self.open_since(range);
        let aged = match self.standing(range).1 {
            Standing::Proved => Some(self.verdict_by_age(range, self.give_up)),
            Standing::Supported => Some(self.verdict_by_age(range, self.claim_timeout())),
            Standing::ClaimedOnly => {
                let at = self.uncontradicted_at(since);
                let at = self.closing().map_or(at, |closing| closing.min(at));
                return Some((at, LossReason::ClaimedOnly));
            }
            Standing::Near => Some((self.silent_at(since, lines), LossReason::GivenUp)),
            Standing::Unconfirmed => None,
        };
        let closing = self.closing().map(|closing| (closing, LossReason::SessionLeft));
        closing.into_iter().chain(aged).min_by_key(|(at, _)| *at)
    }

    fn verdict_by_age(&self, range: &MissingRange, age: Duration) -> (Instant, LossReason) {
        let quiet = (self.open_since(range) + age, LossReason::GivenUp);
        let stall = |stall| (self.gaps.opened(range) + stall, LossReason::Stalled);
        let stalled = self.rules.max_stall.map(stall);
        stalled.filter(|(at, _)| *at < quiet.0).unwrap_or(quiet)
    }

    /// Gives up the lowest missing numbers, if their time has come and delivery is there. A range up to
    /// `stuck` keeps others from coming in, and nobody can bring it. Quotas may hold back a number.
    pub(super) fn lose(
        &mut self,
        now: Instant,
        stuck: Option<u64>,
        lines: &Lines,
        is_held_back: impl Fn(u64) -> bool,
    ) -> Option<Loss> {
        let first = self.gaps.missing().first()?.first;
        if first - 1 != self.settled {
            return None;
        }
        let due = |space: &Self| {
            let lowest = space.gaps.missing().first()?.last;
            // A range that no data speaks of keeps nothing from coming in.
            let is_stuck = stuck.is_some_and(|stuck| lowest <= stuck.min(space.proved()));
            let due = space.verdict(lines).filter(|(at, _)| *at <= now);
            let by_quota = |reason| match reason {
                LossReason::GivenUp | LossReason::Stalled | LossReason::SessionLeft
                    if is_held_back(space.settled + 1) =>
                {
                    LossReason::Quota
                }
                reason => reason,
            };
            due.map(|(_, reason)| by_quota(reason)).or(is_stuck.then_some(LossReason::NobodyToAsk))
        };
        let reason = due(self)?;
        let mut lost = None;
        while due(self) == Some(reason) {
            let next = self.settled.checked_add(1)?;
            let Some(range) = self.gaps.missing().first().filter(|range| range.first == next)
            else {
                break;
            };
            let (last, _) = self.standing(range);
            let (_, last) = self.gaps.abandon_first(last)?;
            self.settled = last;
            lost = Some(last);
            if reason == LossReason::ClaimedOnly {
                self.evidence.lose_claim(next, last);
            }
        }
        if self.rules.delivery == Delivery::Arrival {
            self.settle();
        }
        let last = lost?;
        remember(&mut self.lost, (first, last));
        self.looked_at = self.looked_at.max(last);
        Some((first, last, reason))
    }
}
