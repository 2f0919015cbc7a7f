//! One session's sequence space: what is settled, held, missing, and only known to exist.
//!
//! ```text
//! 1 ........ settled ........ tracked ........ highest_known
//!  delivered         held or          evicted, to be
//!  or lost           missing          fetched again
//! ```
//!
//! Positions are the last number of what they name, so that 2^64-1 is a number like any other.

use bytes::Bytes;
use smallvec::SmallVec;

use super::candidate::Candidate;
use super::claims::Evidence;
use super::config::{Config, Delivery};
use super::event::Batch;
use super::gaps::{Gaps, MissingRange};
use super::held::Held;
use super::opening::Opening;
use super::store::{List, Store};
use crate::storage::charge::Measure;
use crate::{Duration, Instant, Session};

/// So many of the last things that happened are remembered.
const REMEMBERED: usize = 8;

/// The last things of a kind that happened.
pub(super) type Recent<T> = SmallVec<[T; REMEMBERED]>;

/// Remembers the last thing that happened, in place of the oldest.
pub(super) fn remember<T>(recent: &mut Recent<T>, last: T) {
    if recent.len() == REMEMBERED {
        recent.remove(0);
    }
    recent.push(last);
}

/// The relation of a space to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reception {
    /// It has none.
    Absent,
    /// It is that of the lines.
    Received,
    /// Another session took its place: it is repaired until then.
    Left { until: Instant },
}

/// One session's sequence space.
#[derive(Debug)]
pub(super) struct Space {
    /// The configuration, without its lines and servers.
    pub(super) rules: Config,
    reception: Reception,
    pub(super) session: Session,
    pub(super) settled: u64,
    pub(super) tracked: u64,
    pub(super) highest_known: u64,
    pub(super) evidence: Evidence,
    pub(super) gaps: Gaps,
    pub(super) held: Held,
    /// Pieces to deliver that are in no order ([`Delivery::Arrival`]).
    pub(super) ready: List,
    /// Ranges that begin up to here may be asked for.
    pub(super) ask_up_to: u64,
    pub(super) jump: Option<Candidate>,
    /// When an answer last brought something new.
    pub(super) last_useful: Instant,
    /// [`Config::give_up`], or its default for the lines and servers that there are.
    pub(super) give_up: Duration,
    /// The start waits to be emitted, with the first number that is wanted.
    pub(super) announce: Option<u64>,
    /// The ranges that were lost last, to distinguish late messages from duplicates.
    pub(super) lost: Recent<(u64, u64)>,
    pub(super) opening: Opening,
    /// Copies of messages up to here are looked at: of the opening, or remembered as lost.
    pub(super) looked_at: u64,
}

impl Space {
    pub(super) fn new(config: &Config) -> Self {
        let Config { delivery, max_gaps, .. } = *config;
        Self {
            rules: config.rules(),
            reception: Reception::Absent,
            session: Session::new([b' '; Session::LEN]),
            settled: 0,
            tracked: 0,
            highest_known: 0,
            evidence: Evidence::new(0),
            gaps: Gaps::with_capacity(max_gaps),
            held: Held::with_capacity(Self::most_runs(max_gaps, delivery)),
            ready: List::default(),
            ask_up_to: 0,
            jump: None,
            last_useful: Instant::ZERO,
            give_up: config.give_up(config.lines.len(), config.servers.len()),
            announce: None,
            lost: Recent::new(),
            opening: Opening::new(1),
            looked_at: 0,
        }
    }

    /// The bytes of the tables with so many gaps.
    pub(super) const fn table_bytes(
        max_gaps: usize,
        delivery: Delivery,
        measure: Measure,
    ) -> usize {
        let runs = Self::most_runs(max_gaps, delivery);
        Gaps::table_bytes(max_gaps, measure).saturating_add(Held::table_bytes(runs, measure))
    }

    /// One more than there can be ranges missing, where what lies ahead of them is held.
    const fn most_runs(max_gaps: usize, delivery: Delivery) -> usize {
        match delivery {
            Delivery::Ordered => Gaps::most_ranges(max_gaps).saturating_add(1),
            Delivery::Arrival => 0,
        }
    }

    /// Begins a session of which everything up to `settled` is not wanted.
    pub(super) fn start(&mut self, session: Session, settled: u64) {
        self.reception = Reception::Received;
        self.announce = Some(settled.saturating_add(1));
        self.session = session;
        self.opening = Opening::new(settled.saturating_add(1));
        self.looked_at = self.opening.last();
        self.settled = settled;
        self.tracked = settled;
        self.highest_known = settled;
        self.ask_up_to = settled;
        self.evidence = Evidence::new(settled);
        self.last_useful = Instant::ZERO;
    }

    /// Forgets the session.
    pub(super) fn stop(&mut self, store: &mut Store) {
        self.reception = Reception::Absent;
        self.announce = None;
        self.gaps.clear();
        self.held.clear(store);
        store.clear(&mut self.ready);
        if let Some(mut jump) = self.jump.take() {
            store.clear(&mut jump.pieces);
        }
        self.evidence = Evidence::new(0);
        self.lost.clear();
    }

    /// Returns true if there is a session.
    #[inline]
    pub(super) fn is_active(&self) -> bool {
        self.reception != Reception::Absent
    }

    /// Another session takes its place: it is repaired until then.
    pub(super) const fn leave(&mut self, until: Instant) {
        self.reception = Reception::Left { until };
    }

    /// Until when it is repaired, if another session took its place.
    pub(super) const fn closing(&self) -> Option<Instant> {
        if let Reception::Left { until } = self.reception { Some(until) } else { None }
    }

    /// Returns true if this session is the one it has, and is being received.
    pub(super) fn receives(&self, session: Session) -> bool {
        self.is_active() && self.session == session
    }

    /// Returns true if nothing but its next messages, and copies of older ones, are expected.
    pub(super) fn is_steady(&self) -> bool {
        self.is_active()
            && self.session.is_ascii()
            && self.jump.is_none()
            && self.closing().is_none()
            && self.evidence.has_no_end()
            && self.settled >= self.opening.last()
    }

    /// Returns true if nothing is missing, held or evicted.
    #[inline]
    pub(super) const fn is_clean(&self) -> bool {
        self.settled == self.highest_known
    }

    /// The next number to deliver; 2^64-1 stands for 2^64 too.
    pub(super) fn next(&self, store: &Store) -> u64 {
        let waits = store.iter(&self.ready).map(|piece| piece.batch.first).min();
        let next = self.settled.saturating_add(1);
        waits.map_or(next, |first| first.min(next))
    }

    /// Returns true if pieces wait to be delivered in this drain.
    pub(super) fn has_waiting(&self) -> bool {
        !self.ready.is_empty() || self.held.first().is_some_and(|first| first - 1 == self.settled)
    }

    /// Returns true if its start, what was withdrawn, or a gap waits to be emitted.
    pub(super) fn has_news(&self) -> bool {
        self.announce.is_some() || self.evidence.withdrawn.is_some() || self.gaps.has_news()
    }

    /// How many of `first..=last` are remembered as lost.
    pub(super) fn count_lost(&self, first: u64, last: u64) -> u64 {
        let overlap = |&(a, b): &(u64, u64)| {
            let (low, high) = (a.max(first), b.min(last));
            if low <= high { high - low + 1 } else { 0 }
        };
        self.lost.iter().map(overlap).sum()
    }

    /// Drops what is held behind `last`, to be fetched again.
    pub(super) fn evict_behind(&mut self, last: u64, store: &mut Store) {
        let mut behind = last + 1;
        while self.held.last().is_some_and(|held| held > last) {
            let Some(first) = self.held.drop_furthest(store) else { break };
            behind = behind.min(first);
        }
        self.evict_from(behind);
    }

    /// Tracks nothing from `first` on, where nothing is held.
    pub(super) fn evict_from(&mut self, first: u64) {
        self.opening.forget(first);
        self.gaps.evict_from(first);
        self.tracked = first - 1;
        self.ask_up_to = self.ask_up_to.min(self.tracked);
    }

    /// Tracks what was evicted, to fetch it again, when there is room.
    pub(super) fn refetch(&mut self, now: Instant, store: &Store) -> bool {
        let wanted = self.is_active() && self.tracked < self.highest_known;
        if !wanted || self.gaps.is_full() || !(self.held.is_empty() || store.has_room()) {
            return false;
        }
        let opened = self.gaps.open(now, self.tracked + 1, self.highest_known).is_ok();
        if opened {
            self.tracked = self.highest_known;
        }
        opened
    }

    /// Gives out the next piece in order, or the next piece at all.
    pub(super) fn deliver(&mut self, store: &mut Store) -> Option<Batch<Bytes>> {
        match self.rules.delivery {
            Delivery::Arrival => Some(store.pop_front(&mut self.ready)?.batch),
            Delivery::Ordered => {
                let next = self.settled.checked_add(1)?;
                let batch = self.held.deliver(store, next)?;
                self.settled = batch.last();
                Some(batch)
            }
        }
    }

    /// Since when a range is missing and no answer was useful.
    pub(super) fn open_since(&self, range: &MissingRange) -> Instant {
        range.value.since.max(self.last_useful)
    }

    /// Drops everything up to `settled` that is not delivered, as no longer wanted.
    pub(super) fn skip(&mut self, store: &mut Store, settled: u64) {
        store.skip(&mut self.ready, settled);
        if settled <= self.settled {
            return;
        }
        while self.gaps.abandon_first(settled).is_some() {}
        self.held.skip(store, settled);
        self.settled = settled;
        self.tracked = self.tracked.max(settled);
        self.highest_known = self.highest_known.max(settled);
        self.evidence.assert(settled);
        if self.held.is_empty() {
            self.settle();
        }
    }

    /// Finds the position up to which nothing is missing: everything there has been delivered.
    pub(super) fn settle(&mut self) {
        let missing = self.gaps.missing().first();
        self.settled = missing.map_or(self.tracked, |range| range.first - 1);
    }
}
