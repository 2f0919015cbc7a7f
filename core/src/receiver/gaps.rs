//! The gaps of one session: which numbers are missing, since when, and who filled them.
//!
//! A gap is emitted as it was opened and when nothing of it is missing any more. Meanwhile it may come
//! apart: each missing range knows its gap, and how often it was left unanswered.

use super::event::Command;
use crate::storage::charge::{Measure, charged};
use crate::storage::ranges::{Full, Range, RangeMap};
use crate::storage::table::{Row, Table, in_row};
use crate::{Instant, Session};

/// The state of a missing range.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Missing {
    /// The gap that it is of.
    gap: u32,
    /// When its gap opened, or a line last brought a neighbour of it: a line that fills a gap from its front
    /// leaves its own losses behind at that moment, however old the gap is.
    pub(super) since: Instant,
    /// The servers that left it unanswered in this round, a bit each.
    pub(super) tried_servers: u32,
    /// Not asked again before.
    pub(super) retry_at: Instant,
    /// How often a server left it unanswered.
    pub(super) unanswered: u8,
    /// How often of that the server answered other ranges meanwhile; lost at `max_attempts`, and emitted so when
    /// delivery gets there.
    pub(super) attempts: u8,
}

/// A missing range.
pub(super) type MissingRange = Range<Missing>;
charged!(Missing = 32, Gap = 64);

#[derive(Clone, Copy, Default, Debug)]
struct Gap {
    first: u64,
    last: u64,
    opened: Instant,
    closed: Instant,
    missing: u64,
    by_lines: u64,
    by_answers: u64,
    /// Its opening was emitted.
    emitted: bool,
    /// Some of it was lost, evicted or skipped: it is not emitted as filled.
    broken: bool,
    /// It waits to be emitted.
    queued: bool,
    next: u32,
}

// In the row of those that wait to be emitted, which leave it at the front.
in_row!(Gap { next });

/// The gaps of one session.
#[derive(Debug)]
pub(super) struct Gaps {
    missing: RangeMap<Missing>,
    gaps: Table<Gap>,
    /// Those that opened or closed, and wait to be emitted.
    news: Row,
}

impl Gaps {
    /// With room for `most` gaps, and for the pieces into which they come apart.
    pub(super) fn with_capacity(most: usize) -> Self {
        Self {
            missing: RangeMap::with_capacity(Self::most_ranges(most)),
            gaps: Table::new(most),
            news: Row::default(),
        }
    }

    /// How many ranges can be missing when `most` gaps are open.
    pub(super) const fn most_ranges(most: usize) -> usize {
        most.saturating_mul(2)
    }

    /// The bytes of the tables for so many gaps.
    pub(super) const fn table_bytes(most: usize, measure: Measure) -> usize {
        let ranges = RangeMap::<Missing>::bytes(Self::most_ranges(most), measure);
        ranges.saturating_add(Table::<Gap>::bytes(most, measure))
    }

    /// The missing ranges in ascending order.
    pub(super) fn missing(&self) -> &RangeMap<Missing> {
        &self.missing
    }

    /// The first missing range that does not lie before a number.
    pub(super) fn at_or_after(&self, number: u64) -> Option<&MissingRange> {
        self.missing.get(self.missing.at_or_after(number))
    }

    /// Returns true if a gap opened or closed and that was not emitted yet.
    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Returns true if no further gap can be opened.
    pub(super) fn is_full(&self) -> bool {
        self.gaps.is_full() || self.missing.is_full()
    }

    /// When the gap was opened that a range is of.
    pub(super) fn opened(&self, range: &MissingRange) -> Instant {
        self.gaps.get(range.value.gap).map_or(Instant::ZERO, |gap| gap.opened)
    }

    /// Opens a gap above all others.
    pub(super) fn open(&mut self, now: Instant, first: u64, last: u64) -> Result<(), Full> {
        let missing = last - first + 1;
        let gap = Gap { first, last, opened: now, closed: now, missing, ..Gap::default() };
        let room = !self.missing.is_full();
        let Some(id) = room.then(|| self.gaps.insert(gap)).flatten() else {
            return Err(Full);
        };
        enqueue(&mut self.gaps, &mut self.news, id);
        let value = Missing { gap: id, since: now, ..Missing::default() };
        self.missing.insert(first, last, value)
    }

    /// Takes `first..=last` out as filled, by a line or by an answer; `fresh` gets each range that was missing.
    pub(super) fn fill(
        &mut self,
        now: Instant,
        first: u64,
        last: u64,
        by_line: bool,
        mut fresh: impl FnMut(u64, u64),
    ) -> Result<(), Full> {
        let Self { missing, gaps, news } = self;
        let mut is_new = false;
        missing.remove(first, last, |range| {
            is_new = true;
            lessen(gaps, news, &range, |gap| {
                let count = if by_line { &mut gap.by_lines } else { &mut gap.by_answers };
                *count += range.len();
                gap.closed = now;
            });
            fresh(range.first, range.last);
        })?;
        if is_new && by_line {
            for beside in [first.checked_sub(1), last.checked_add(1)].into_iter().flatten() {
                if let Some(beside) = missing.find_mut(beside) {
                    beside.since = now;
                }
            }
        }
        Ok(())
    }

    /// Takes the lowest missing range out as lost or skipped, up to `last` at the most.
    pub(super) fn abandon_first(&mut self, last: u64) -> Option<(u64, u64)> {
        let range = *self.missing.first().filter(|range| range.first <= last)?;
        let last = range.last.min(last);
        let Self { missing, gaps, news } = self;
        // The front of a range goes: no range comes apart, so this cannot be refused.
        let _ = missing.remove(range.first, last, |part| {
            lessen(gaps, news, &part, |gap| gap.broken = true);
        });
        Some((range.first, last))
    }

    /// Takes everything from `first` on out, to be opened again later.
    pub(super) fn evict_from(&mut self, first: u64) {
        let Self { missing, gaps, news } = self;
        // Nothing lies behind: no range comes apart, so this cannot be refused.
        let _ = missing.remove(first, u64::MAX, |range| {
            lessen(gaps, news, &range, |gap| {
                if gap.first < first {
                    gap.last = gap.last.min(first - 1);
                } else {
                    gap.broken = true;
                }
            });
        });
        // The filled part of the last gap may be missing again.
        let straddling = missing.last().map(|range| range.value.gap);
        if let Some(gap) = straddling.and_then(|id| gaps.get_mut(id)) {
            gap.last = gap.last.min(first - 1);
        }
    }

    /// Sets what is known of `first..=last`, which lies within one missing range.
    pub(super) fn mark(&mut self, first: u64, last: u64, value: Missing) -> Result<(), Full> {
        // Up to two pieces are left over beside the marked one.
        if self.missing.len() + 2 > self.missing.capacity() {
            return Err(Full);
        }
        self.missing.remove(first, last, |_| {})?;
        self.missing.insert(first, last, value)
    }

    /// The next command of gaps that opened and closed.
    pub(super) fn poll(&mut self, session: Session) -> Option<Command> {
        while let Some(gap) = self.gaps.get_mut(self.news.first()) {
            let Gap { first, last, .. } = *gap;
            let never_emitted = gap.broken && gap.missing == 0;
            if !(gap.emitted || never_emitted) {
                gap.emitted = true;
                if gap.missing > 0 {
                    self.dequeue();
                }
                return Some(Command::GapOpened { session, first, last });
            }
            let gap = self.dequeue().and_then(|id| self.gaps.remove(id))?;
            if gap.broken {
                continue;
            }
            let Gap { by_lines, by_answers, .. } = gap;
            let after = gap.closed.since(gap.opened);
            return Some(Command::GapFilled { session, first, last, by_lines, by_answers, after });
        }
        None
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.missing.clear();
        self.gaps.clear();
        self.news = Row::default();
    }

    fn dequeue(&mut self) -> Option<u32> {
        let id = self.news.pop(&mut self.gaps)?;
        self.gaps.get_mut(id)?.queued = false;
        Some(id)
    }
}

/// Counts a range that is no longer missing to its gap, which may close.
fn lessen(
    gaps: &mut Table<Gap>,
    news: &mut Row,
    range: &MissingRange,
    note: impl FnOnce(&mut Gap),
) {
    let Some(gap) = gaps.get_mut(range.value.gap) else { return };
    gap.missing -= range.len();
    note(gap);
    if gap.missing == 0 {
        enqueue(gaps, news, range.value.gap);
    }
}

/// Puts a gap at the end of those that wait to be emitted.
fn enqueue(gaps: &mut Table<Gap>, news: &mut Row, id: u32) {
    if let Some(gap) = gaps.get_mut(id).filter(|gap| !gap.queued) {
        gap.queued = true;
        news.push(gaps, id);
    }
}
