//! The messages that one session holds ahead of a gap: runs of pieces, in sequence.
//!
//! Between two runs something is missing. A piece joins the run before or behind it, so a gap that
//! closes hangs two lists together and copies nothing.

use bytes::Bytes;

use super::event::Batch;
use super::event::Origin;
use super::store::{End, Extent, List, Payload, Place, Store};
use crate::storage::charge::Measure;
use crate::storage::ranges::RangeMap;
use crate::wire::mold::Messages;

/// How many pieces are looked through for a number.
const SEARCHED: usize = 64;

/// The runs.
#[derive(Debug)]
pub(super) struct Held {
    /// Pieces that lie together in sequence.
    runs: RangeMap<List>,
    /// The place at which messages that came again were compared last: what comes next is most often compared next.
    compared: Option<Place>,
}

impl Held {
    /// With room for `runs` runs: one more than there can be ranges missing.
    pub(super) fn with_capacity(runs: usize) -> Self {
        Self { runs: RangeMap::with_capacity(runs), compared: None }
    }

    /// The bytes of so many runs.
    pub(super) const fn table_bytes(runs: usize, measure: Measure) -> usize {
        RangeMap::<List>::bytes(runs, measure)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Number of the first message of the piece that lies furthest out.
    pub(super) fn furthest(&self, store: &Store) -> Option<u64> {
        self.runs.last().and_then(|run| store.back(&run.value)).map(|piece| piece.first)
    }

    /// Holds a piece that overlaps nothing held; `None` where there is no room for it.
    pub(super) fn insert(
        &mut self,
        store: &mut Store,
        payload: Payload<'_>,
        extent: &Extent,
        leaving: bool,
    ) -> Option<()> {
        let Extent { first, last, .. } = *extent;
        let behind = self.runs.at_or_after(first);
        let before = self.runs.place_before(behind);
        let joined = self.runs.get(behind).filter(|run| last.checked_add(1) == Some(run.first));
        let joined = joined.map(|run| run.last);
        if let Some(run) = self.runs.get_mut(before)
            && run.last.checked_add(1) == Some(first)
        {
            store.keep(payload, extent, leaving, &mut run.value, End::Back)?;
            run.last = joined.unwrap_or(last);
            if joined.is_some()
                && let Some(behind) = self.runs.take(behind)
                && let Some(run) = self.runs.get_mut(before)
            {
                store.append(&mut run.value, behind.value);
            }
        } else if joined.is_some()
            && let Some(run) = self.runs.get_mut(behind)
        {
            store.keep(payload, extent, leaving, &mut run.value, End::Front)?;
            run.first = first;
        } else {
            if self.runs.is_full() {
                return None;
            }
            let mut pieces = List::default();
            store.keep(payload, extent, leaving, &mut pieces, End::Back)?;
            self.runs.insert(first, last, pieces).ok()?;
        }
        Some(())
    }

    /// Compares messages with what is held of them: the number of the first that is held with other bytes,
    /// and who brought those. Where a long run would have to be searched nothing is compared.
    pub(super) fn contradiction(
        &mut self,
        store: &Store,
        mut messages: Messages<'_>,
    ) -> Option<(u64, Origin)> {
        let first = messages.sequence();
        for run in self.runs.ranges_from(first) {
            let from = messages.sequence().max(run.first);
            messages.pass(u16::try_from(from - messages.sequence()).unwrap_or(u16::MAX));
            if messages.remaining() == 0 {
                return None;
            }
            for (place, piece) in store.find(&run.value, self.compared, from, SEARCHED) {
                self.compared = Some(place);
                let mut held = piece.batch.messages();
                held.pass((messages.sequence() - piece.batch.first) as u16);
                while held.remaining() > 0 {
                    let (number, message) = messages.next()?;
                    if held.next().is_none_or(|(_, held)| held != message) {
                        return Some((number, piece.batch.origin));
                    }
                }
            }
        }
        None
    }

    /// Gives out the piece that starts at `next`.
    pub(super) fn deliver(&mut self, store: &mut Store, next: u64) -> Option<Batch<Bytes>> {
        let front = self.runs.first_place();
        let run = self.runs.get_mut(front).filter(|run| run.first == next)?;
        let batch = store.pop_front(&mut run.value)?.batch;
        if run.value.is_empty() {
            self.runs.take(front);
        } else {
            run.first = batch.last() + 1;
        }
        Some(batch)
    }

    /// The lowest number that is held.
    pub(super) fn first(&self) -> Option<u64> {
        self.runs.first().map(|run| run.first)
    }

    /// The highest number that is held.
    pub(super) fn last(&self) -> Option<u64> {
        self.runs.last().map(|run| run.last)
    }

    /// Drops the piece that lies furthest out, and returns the number of its first message.
    pub(super) fn drop_furthest(&mut self, store: &mut Store) -> Option<u64> {
        let back = self.runs.last_place();
        let run = self.runs.get_mut(back)?;
        let first = store.pop_back(&mut run.value)?.batch.first;
        if run.value.is_empty() {
            self.runs.take(back);
        } else {
            run.last = first - 1;
        }
        Some(first)
    }

    /// Drops every message up to `last`.
    pub(super) fn skip(&mut self, store: &mut Store, last: u64) {
        loop {
            let front = self.runs.first_place();
            let Some(run) = self.runs.get_mut(front).filter(|run| run.first <= last) else {
                return;
            };
            store.skip(&mut run.value, last);
            if run.last <= last {
                self.runs.take(front);
            } else {
                run.first = last + 1;
            }
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self, store: &mut Store) {
        while let Some(mut run) = self.runs.take(self.runs.first_place()) {
            store.clear(&mut run.value);
        }
    }
}
