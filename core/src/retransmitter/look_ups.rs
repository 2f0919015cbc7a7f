//! Look-ups under way in the archive, and who waits for them.
//!
//! Requesters of the same range share one look-up. Both tables are bounded and allocated at
//! construction.

use core::net::SocketAddr;

use super::{Config, LookUpId};
use crate::storage::charge::{Measure, charged};
use crate::storage::in_flight::{InFlight, Sharers};
use crate::wire::mold::Request;
use crate::{Duration, Instant};

#[derive(Debug)]
struct LookUp {
    id: LookUpId,
    wanted: Request,
}

charged!(LookUp = 32, LookUpId = 8);

/// The outcome of a request for the archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Admission {
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
    in_flight: InFlight<LookUp>,
    waiting: Sharers<LookUpId, SocketAddr>,
    timeout: Duration,
    next_id: u64,
}

impl LookUps {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            in_flight: InFlight::new(config.max_look_ups),
            waiting: Sharers::new(config.max_waiting),
            timeout: config.look_up_timeout,
            next_id: 0,
        }
    }

    /// The bytes of so many look-ups and requesters.
    pub(super) const fn bytes(max_look_ups: usize, max_waiting: usize, measure: Measure) -> usize {
        let waiting = Sharers::<LookUpId, SocketAddr>::bytes(max_waiting, measure);
        InFlight::<LookUp>::bytes(max_look_ups, measure).saturating_add(waiting)
    }

    pub(super) const fn memory(&self, measure: Measure) -> usize {
        self.in_flight.memory(measure) + self.waiting.memory(measure)
    }

    /// How many requesters wait.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Someone wants what only the archive has.
    pub(super) fn request(&mut self, now: Instant, wanted: Request, to: SocketAddr) -> Admission {
        let same = self.in_flight.iter().find(|look_up| look_up.wanted == wanted);
        let known = same.map(|look_up| look_up.id);
        if known.is_some_and(|id| self.waiting.contains(id, to)) {
            return Admission::Again;
        }
        if self.waiting.is_full() || (known.is_none() && self.in_flight.is_full()) {
            return Admission::Full;
        }
        let id = known.unwrap_or(LookUpId(self.next_id));
        self.waiting.push(id, to);
        if known.is_some() {
            return Admission::Shared;
        }
        self.next_id += 1;
        self.in_flight.push(now + self.timeout, LookUp { id, wanted });
        Admission::New(id)
    }

    /// A look-up is answered: what was wanted. Those who wait for it still do.
    pub(super) fn answered(&mut self, id: LookUpId) -> Option<Request> {
        let position = self.in_flight.iter().position(|look_up| look_up.id == id)?;
        self.in_flight.remove(position).map(|look_up| look_up.wanted)
    }

    /// The next who waits for a look-up, and does so no longer.
    pub(super) fn next_waiting(&mut self, id: LookUpId) -> Option<SocketAddr> {
        self.waiting.pop(id)
    }

    /// Nobody waits for a look-up any longer: how many did.
    pub(super) fn dismiss(&mut self, id: LookUpId) -> u64 {
        self.waiting.remove_all(id)
    }

    /// Gives up what is overdue: how many waited for it.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let mut dismissed = 0;
        while let Some(overdue) = self.deadline().and_then(|_| self.in_flight.expire(now)) {
            dismissed += self.dismiss(overdue.id);
        }
        dismissed
    }

    /// When the next look-up is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.in_flight.deadline().filter(|&deadline| deadline != Instant::MAX)
    }
}
