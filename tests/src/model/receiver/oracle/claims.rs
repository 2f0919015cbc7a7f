//! Claims and proofs: when a claim may be withdrawn or lost, and that nothing waits
//! for ever without a timeout.

use gapless_core::receiver::LossReason;
use gapless_core::{Duration, Instant, Session};

use super::Oracle;
use crate::model::numbers::Numbers;
use crate::model::receiver::case::World;
use crate::model::receiver::trace::Said;
use crate::model::receiver::track::missing;

/// How many numbers ahead the silence of all lines confirms.
const NEAR: u64 = 1_024;

impl Oracle {
    /// How long what is missing is waited for.
    pub(super) fn give_up(&self) -> Duration {
        let is_alone = self.lines.len() < 2 && self.servers.is_empty();
        let default = if is_alone { self.config.max_reorder_delay } else { Duration::from_secs(5) };
        self.config.give_up.unwrap_or(default)
    }

    /// How long nothing must contradict a claim, and all lines be silent.
    pub(super) fn patience(&self) -> Duration {
        self.give_up().max(self.config.line_timeout.min(Duration::from_secs(3)))
    }

    /// When any line last brought anything.
    pub(super) fn last_heard(&self) -> Instant {
        self.lines.values().map(|line| line.anything).max().unwrap_or_default()
    }

    /// A claimed range is gone again, with the gaps that reach there.
    pub(super) fn on_withdrawn(&mut self, session: Session, first: u64, last: u64) {
        let track = self.tracks.get_mut(&session).expect("a session that was heard of");
        assert!(first <= last && last <= track.evidence, "{first}..={last} was never claimed");
        assert!(!track.settled.intersects(first, last), "{first}..={last} is settled");
        assert!(!track.held.intersects(first, last), "{first}..={last} is held");
        track.gaps.retain(|gap| gap.first < first);
        for gap in track.gaps.iter_mut().filter(|gap| gap.last >= first) {
            (gap.last, gap.shortened) = (first - 1, true);
        }
        // The sender of the claim confirms nothing else either.
        track.gaps.iter_mut().for_each(|gap| gap.confirmed = 0);
        track.highest_known = track.highest_known.min(first - 1);
    }

    /// Numbers that data confirms, and those that it does not, are lost by rules of their own.
    pub(super) fn check_reason(
        &self,
        session: Session,
        (first, last): (u64, u64),
        why: LossReason,
    ) {
        let track = &self.tracks[&session];
        let claimed_only = why == LossReason::ClaimedOnly;
        let delivered = track.delivered.last().filter(|delivered| *delivered > first);
        assert!(!claimed_only || delivered.is_none(), "{first}..={last} {why}, with {delivered:?}");
        let given = track.given.last().filter(|given| *given >= last);
        let is_spoken_of = claimed_only || why == LossReason::SessionLeft || given.is_some();
        assert!(is_spoken_of, "{first}..={last} {why}, and no data speaks of it");
    }

    /// All lines are silent, and what is stalled is neither here nor given up.
    pub(super) fn on_stalled(&mut self, session: Session, first: u64, last: u64) {
        let track = &self.tracks[&session];
        let start = track.start.expect("a session that was started");
        assert_eq!(track.settled.first_missing(start), Some(first), "what is lowest is stalled");
        assert!(!track.settled.intersects(first, last) && !track.held.intersects(first, last));
        assert!(last <= track.evidence, "{first}..={last} is stalled, which nothing speaks of");
        let silent = self.lines.values().map(|line| self.now.since(line.packet)).min();
        assert!(silent.is_none_or(|silent| silent >= self.patience()), "stalled, not silent");
    }

    /// After a timeout nothing waits that silence settles; and whatever waits has a timeout.
    pub(super) fn check_silence(&self, timed_out: bool, said: &Said) {
        let Some(track) = self.current.map(|session| &self.tracks[&session]) else { return };
        if self.halted.is_some() {
            return;
        }
        let heard = self.last_heard().max(self.useful).max(self.moved);
        let silent = self.now.since(heard) >= self.patience();
        for gap in track.gaps.iter().filter(|gap| !gap.cut && !gap.lost) {
            let waits = missing(gap, &Numbers::default(), &track.settled);
            assert!(waits.is_none() || said.timeout.is_some(), "{gap:?} waits without a timeout");
            let near = track.start.is_some_and(|start| gap.last - start < NEAR);
            let is_old = self.now.since(gap.opened) >= self.patience();
            if timed_out && silent && is_old && near && gap.last < track.brought {
                let exact = self.world == World::Impatient;
                assert!(waits.is_none() || !exact, "{gap:?} waits, and all lines are silent");
            }
        }
    }
}
