//! The messages that one session holds ahead of a gap: runs of pieces, in sequence.
//!
//! Between two runs something is missing. A piece joins the run before or behind it, so a gap that
//! closes hangs two lists together and copies nothing.

use alloc::collections::VecDeque;
use bytes::Bytes;

use super::event::Batch;
use super::event::Origin;
use super::store::{End, Extent, List, Payload, Place, Store};
use crate::storage::charge::{Measure, charged};
use crate::storage::ranges::Range;
use crate::wire::mold::Messages;

/// How many pieces are looked through for a number.
const SEARCHED: usize = 64;

/// Pieces that lie together in sequence.
type Run = Range<List>;
charged!(Run = 24);

/// The runs in ascending order.
#[derive(Debug)]
pub(super) struct Held {
    runs: VecDeque<Run>,
    most: usize,
    /// The place at which messages that came again were compared last: what comes next is most often compared next.
    compared: Option<Place>,
}

impl Held {
    /// With room for `most` runs: one more than there can be ranges missing.
    pub(super) fn with_capacity(most: usize) -> Self {
        Self { runs: VecDeque::with_capacity(most), most, compared: None }
    }

    /// The bytes of so many runs.
    pub(super) const fn table_bytes(runs: usize, measure: Measure) -> usize {
        measure.of::<Run>(runs)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Number of the first message of the piece that lies furthest out.
    pub(super) fn furthest(&self, store: &Store) -> Option<u64> {
        self.runs.back().and_then(|run| store.back(&run.value)).map(|piece| piece.first)
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
        let index = self.runs.partition_point(|run| run.last < first);
        let joins = |run: &Run| run.last.checked_add(1) == Some(first);
        if let Some(run) = index.checked_sub(1).and_then(|before| self.runs.get_mut(before))
            && joins(run)
        {
            store.keep(payload, extent, leaving, &mut run.value, End::Back)?;
            run.last = last;
            self.join(store, index - 1);
        } else if let Some(run) = self.runs.get_mut(index)
            && last.checked_add(1) == Some(run.first)
        {
            store.keep(payload, extent, leaving, &mut run.value, End::Front)?;
            run.first = first;
        } else {
            if self.runs.len() == self.most {
                return None;
            }
            let mut pieces = List::default();
            store.keep(payload, extent, leaving, &mut pieces, End::Back)?;
            self.runs.insert(index, Run { first, last, value: pieces });
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
        let index = self.runs.partition_point(|run| run.last < first);
        for run in self.runs.range(index..) {
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
        let run = self.runs.front_mut().filter(|run| run.first == next)?;
        let batch = store.pop_front(&mut run.value)?.batch;
        if run.value.is_empty() {
            self.runs.pop_front();
        } else {
            run.first = batch.last() + 1;
        }
        Some(batch)
    }

    /// The lowest number that is held.
    pub(super) fn first(&self) -> Option<u64> {
        self.runs.front().map(|run| run.first)
    }

    /// The highest number that is held.
    pub(super) fn last(&self) -> Option<u64> {
        self.runs.back().map(|run| run.last)
    }

    /// Drops the piece that lies furthest out, and returns the number of its first message.
    pub(super) fn drop_furthest(&mut self, store: &mut Store) -> Option<u64> {
        let run = self.runs.back_mut()?;
        let first = store.pop_back(&mut run.value)?.batch.first;
        if run.value.is_empty() {
            self.runs.pop_back();
        } else {
            run.last = first - 1;
        }
        Some(first)
    }

    /// Drops every message up to `last`.
    pub(super) fn skip(&mut self, store: &mut Store, last: u64) {
        while let Some(run) = self.runs.front_mut().filter(|run| run.first <= last) {
            store.skip(&mut run.value, last);
            if run.last <= last {
                self.runs.pop_front();
            } else {
                run.first = last + 1;
            }
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self, store: &mut Store) {
        while let Some(mut run) = self.runs.pop_front() {
            store.clear(&mut run.value);
        }
    }

    /// Hangs the run behind `index` on to it when nothing lies between.
    fn join(&mut self, store: &mut Store, index: usize) {
        let Some((&run, &behind)) = self.runs.get(index).zip(self.runs.get(index + 1)) else {
            return;
        };
        if run.last.checked_add(1) == Some(behind.first) {
            let joined = &mut self.runs[index];
            store.append(&mut joined.value, behind.value);
            joined.last = behind.last;
            self.runs.remove(index + 1);
        }
    }
}
