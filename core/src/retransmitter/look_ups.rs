//! Look-ups under way in the archive, and who waits for them.
//!
//! Requesters of the same range share one look-up. Both tables are bounded and allocated at
//! construction.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::answer::Wanted;
use super::{Config, LookUpId};
use crate::{Duration, Instant};

#[derive(Debug)]
struct LookUp {
    id: LookUpId,
    wanted: Wanted,
    deadline: Instant,
}

/// What became of a request for the archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// It needs this look-up.
    New(LookUpId),
    /// It waits with others.
    Shared,
    /// It waits already.
    Again,
    /// As many as allowed are under way, or wait.
    Full,
}

/// The look-ups.
#[derive(Debug)]
pub(super) struct LookUps {
    /// The oldest first, so the one with the earliest deadline.
    under_way: VecDeque<LookUp>,
    max_look_ups: usize,
    waiting: Vec<(LookUpId, SocketAddr)>,
    max_waiting: usize,
    timeout: Duration,
    next_id: u64,
}

impl LookUps {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            under_way: VecDeque::with_capacity(config.max_look_ups),
            max_look_ups: config.max_look_ups,
            waiting: Vec::with_capacity(config.max_waiting),
            max_waiting: config.max_waiting,
            timeout: config.look_up_timeout,
            next_id: 0,
        }
    }

    /// The bytes that so many look-ups and requesters take.
    pub(super) const fn bytes(max_look_ups: usize, max_waiting: usize) -> usize {
        let waiting = max_waiting.saturating_mul(size_of::<(LookUpId, SocketAddr)>());
        max_look_ups.saturating_mul(size_of::<LookUp>()).saturating_add(waiting)
    }

    pub(super) fn memory_used(&self) -> usize {
        Self::bytes(self.under_way.capacity(), self.waiting.capacity())
    }

    /// How many requesters wait.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Someone wants what only the archive has.
    pub(super) fn ask(&mut self, now: Instant, wanted: Wanted, to: SocketAddr) -> Asked {
        let same = self.under_way.iter().find(|look_up| look_up.wanted == wanted);
        let known = same.map(|look_up| look_up.id);
        if known.is_some_and(|id| self.waiting.contains(&(id, to))) {
            return Asked::Again;
        }
        let full = known.is_none() && self.under_way.len() == self.max_look_ups;
        if full || self.waiting.len() == self.max_waiting {
            return Asked::Full;
        }
        let id = known.unwrap_or(LookUpId(self.next_id));
        self.waiting.push((id, to));
        if known.is_some() {
            return Asked::Shared;
        }
        self.next_id += 1;
        self.under_way.push_back(LookUp { id, wanted, deadline: now + self.timeout });
        Asked::New(id)
    }

    /// A look-up is answered: what was wanted. Those who wait for it still do.
    pub(super) fn answered(&mut self, id: LookUpId) -> Option<Wanted> {
        let at = self.under_way.iter().position(|look_up| look_up.id == id)?;
        self.under_way.remove(at).map(|look_up| look_up.wanted)
    }

    /// The next who waits for a look-up, and does so no longer.
    pub(super) fn next_waiting(&mut self, id: LookUpId) -> Option<SocketAddr> {
        let at = self.waiting.iter().position(|&(of, _)| of == id)?;
        Some(self.waiting.remove(at).1)
    }

    /// Nobody waits for a look-up any longer: how many did.
    pub(super) fn dismiss(&mut self, id: LookUpId) -> u64 {
        let before = self.waiting.len();
        self.waiting.retain(|&(of, _)| of != id);
        (before - self.waiting.len()) as u64
    }

    /// Gives up what is overdue: how many waited for it.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let mut dismissed = 0;
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            let overdue = self.under_way.pop_front();
            dismissed += overdue.map_or(0, |look_up| self.dismiss(look_up.id));
        }
        dismissed
    }

    /// When the next look-up is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadline = self.under_way.front().map(|look_up| look_up.deadline);
        deadline.filter(|&deadline| deadline != Instant::FAR)
    }
}
