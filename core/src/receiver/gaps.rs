//! The gaps of one session: which numbers are missing, since when, and who filled them.
//!
//! A gap is told as it was opened and when nothing of it is missing any more. Meanwhile it may come
//! apart: each missing range knows its gap, and how often it was asked for in vain.

use alloc::vec::Vec;

use super::event::Command;
use super::stats::Stats;
use crate::storage::ranges::{Full, Range, RangeMap};
use crate::{Instant, Session};

/// No gap.
const NONE: u32 = u32::MAX;

/// What is known of a missing range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Missing {
    /// The gap that it is of.
    gap: u32,
    /// When its gap opened, or a line last brought a neighbour of it: a line that fills a gap from its front
    /// leaves its own losses behind at that moment, however old the gap is.
    pub(super) since: Instant,
    /// The servers that left it unanswered in this round, a bit each.
    pub(super) tried: u32,
    /// Not asked again before.
    pub(super) retry_at: Instant,
    /// How often a server left it unanswered.
    pub(super) in_vain: u8,
    /// How often of that the server answered other ranges meanwhile.
    pub(super) attempts: u8,
    /// Given up: told as lost when delivery gets there.
    pub(super) lost: bool,
}

/// A missing range.
pub(super) type MissingRange = Range<Missing>;

/// Who brought messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Filler {
    Line,
    Answer,
}

#[derive(Clone, Copy, Debug)]
struct Gap {
    first: u64,
    last: u64,
    opened: Instant,
    closed: Instant,
    missing: u64,
    by_lines: u64,
    by_answers: u64,
    /// Its opening was told.
    told: bool,
    /// Some of it was lost, put off or skipped: it is not told as filled.
    broken: bool,
    /// It waits to be told.
    queued: bool,
    next: u32,
}

/// The gaps of one session.
#[derive(Debug)]
pub(super) struct Gaps {
    missing: RangeMap<Missing>,
    gaps: Vec<Gap>,
    free: u32,
    open: usize,
    head: u32,
    tail: u32,
}

impl Gaps {
    /// With room for `most` gaps, and for the pieces into which they come apart.
    pub(super) fn with_capacity(most: usize) -> Self {
        Self {
            missing: RangeMap::with_capacity(Self::most_ranges(most)),
            gaps: Vec::with_capacity(most),
            free: NONE,
            open: 0,
            head: NONE,
            tail: NONE,
        }
    }

    /// How many ranges can be missing when `most` gaps are open.
    pub(super) const fn most_ranges(most: usize) -> usize {
        2 * most
    }

    pub(super) const fn most_table_bytes(most: usize) -> usize {
        let range = size_of::<crate::storage::ranges::Range<Missing>>();
        most.saturating_mul(2 * range + size_of::<Gap>())
    }

    pub(super) fn table_bytes(&self) -> usize {
        self.missing.memory_used() + self.gaps.capacity() * size_of::<Gap>()
    }

    /// The missing ranges in ascending order.
    pub(super) fn missing(&self) -> &RangeMap<Missing> {
        &self.missing
    }

    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty()
    }

    /// Whether a gap opened or closed that was not told yet.
    pub(super) fn is_untold(&self) -> bool {
        self.head != NONE
    }

    /// Whether no further gap can be opened.
    pub(super) fn is_full(&self) -> bool {
        self.open == self.gaps.capacity() || self.missing.is_full()
    }

    /// When the gap was opened that a range is of.
    pub(super) fn opened(&self, range: &MissingRange) -> Instant {
        self.gaps.get(range.value.gap as usize).map_or(Instant::ZERO, |gap| gap.opened)
    }

    /// Opens a gap above all others.
    pub(super) fn open(&mut self, now: Instant, first: u64, last: u64) -> Result<(), Full> {
        if self.is_full() {
            return Err(Full { capacity: self.gaps.capacity() });
        }
        let gap = Gap {
            first,
            last,
            opened: now,
            closed: now,
            missing: last - first + 1,
            by_lines: 0,
            by_answers: 0,
            told: false,
            broken: false,
            queued: false,
            next: NONE,
        };
        let id = self.free;
        let id = match self.gaps.get_mut(id as usize) {
            Some(place) => {
                self.free = place.next;
                *place = gap;
                id
            }
            None => {
                self.gaps.push(gap);
                (self.gaps.len() - 1) as u32
            }
        };
        self.open += 1;
        self.queue(id);
        let value = Missing {
            gap: id,
            since: now,
            tried: 0,
            retry_at: Instant::ZERO,
            in_vain: 0,
            attempts: 0,
            lost: false,
        };
        self.missing.push_back(Range { first, last, value })
    }

    /// Takes `first..=last` out as filled; `fresh` is told each range that was missing.
    pub(super) fn fill(
        &mut self,
        now: Instant,
        first: u64,
        last: u64,
        by: Filler,
        mut fresh: impl FnMut(u64, u64),
    ) -> Result<(), Full> {
        let Self { missing, gaps, head, tail, .. } = self;
        let mut is_new = false;
        missing.remove(first, last, |range| {
            is_new = true;
            let Some(gap) = gaps.get_mut(range.value.gap as usize) else { return };
            let count = range.last - range.first + 1;
            gap.missing -= count;
            match by {
                Filler::Line => gap.by_lines += count,
                Filler::Answer => gap.by_answers += count,
            }
            gap.closed = now;
            if gap.missing == 0 {
                enqueue(gaps, head, tail, range.value.gap);
            }
            fresh(range.first, range.last);
        })?;
        if is_new && by == Filler::Line {
            for beside in [first.checked_sub(1), last.checked_add(1)].into_iter().flatten() {
                if let Ok(index) = missing.find(beside)
                    && let Some(beside) = missing.get_mut(index)
                {
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
        // The front of a range goes: no range comes apart, so this cannot be refused.
        let _ = self.missing.remove(range.first, last, |_| {});
        self.break_off(range.value.gap, last - range.first + 1);
        Some((range.first, last))
    }

    /// Takes everything from `first` on out, to be opened again later.
    pub(super) fn put_off(&mut self, first: u64) {
        let Self { missing, gaps, head, tail, .. } = self;
        missing.truncate_from(first, |range| {
            let Some(gap) = gaps.get_mut(range.value.gap as usize) else { return };
            gap.missing -= range.last - range.first + 1;
            if gap.first < first {
                gap.last = gap.last.min(first - 1);
            } else {
                gap.broken = true;
            }
            if gap.missing == 0 {
                enqueue(gaps, head, tail, range.value.gap);
            }
        });
        // What was filled of the last gap may be missing again.
        let straddling = missing.last_range().map(|range| range.value.gap);
        if let Some(gap) = straddling.and_then(|id| gaps.get_mut(id as usize)) {
            gap.last = gap.last.min(first - 1);
        }
    }

    /// Sets what is known of `first..=last`, which lies within one missing range.
    pub(super) fn mark(&mut self, first: u64, last: u64, value: Missing) -> Result<(), Full> {
        // Up to two pieces are left over beside the marked one.
        if self.missing.len() + 2 > self.missing.capacity() {
            return Err(Full { capacity: self.missing.capacity() });
        }
        self.missing.remove(first, last, |_| {})?;
        self.missing.insert(first, last, value)
    }

    /// The next thing to tell of gaps that opened and closed.
    pub(super) fn poll(&mut self, session: Session, stats: &mut Stats) -> Option<Command> {
        while let Some(gap) = self.gaps.get_mut(self.head as usize) {
            let Gap { first, last, .. } = *gap;
            let unheard_of = gap.broken && gap.missing == 0;
            if !(gap.told || unheard_of) {
                gap.told = true;
                stats.gaps += 1;
                if gap.missing > 0 {
                    self.dequeue();
                }
                return Some(Command::GapOpened { session, first, last });
            }
            let Gap { by_lines, by_answers, .. } = *gap;
            let (broken, after) = (gap.broken, gap.closed.since(gap.opened));
            let id = self.dequeue();
            self.gaps[id as usize].next = self.free;
            self.free = id;
            self.open -= 1;
            if broken {
                continue;
            }
            match by_answers {
                0 => stats.gaps_filled_by_line += 1,
                _ => stats.gaps_filled_by_request += 1,
            }
            return Some(Command::GapFilled { session, first, last, by_lines, by_answers, after });
        }
        None
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.missing.clear();
        self.gaps.clear();
        self.open = 0;
        self.free = NONE;
        self.head = NONE;
        self.tail = NONE;
    }

    fn break_off(&mut self, id: u32, count: u64) {
        let Some(gap) = self.gaps.get_mut(id as usize) else { return };
        gap.missing -= count;
        gap.broken = true;
        if gap.missing == 0 {
            self.queue(id);
        }
    }

    fn queue(&mut self, id: u32) {
        enqueue(&mut self.gaps, &mut self.head, &mut self.tail, id);
    }

    fn dequeue(&mut self) -> u32 {
        let id = self.head;
        let gap = &mut self.gaps[id as usize];
        gap.queued = false;
        self.head = gap.next;
        if self.head == NONE {
            self.tail = NONE;
        }
        id
    }
}

/// Puts a gap at the end of those that wait to be told.
fn enqueue(gaps: &mut [Gap], head: &mut u32, tail: &mut u32, id: u32) {
    let Some(gap) = gaps.get_mut(id as usize) else { return };
    if gap.queued {
        return;
    }
    gap.queued = true;
    gap.next = NONE;
    match gaps.get_mut(*tail as usize) {
        Some(last) => last.next = id,
        None => *head = id,
    }
    *tail = id;
}
