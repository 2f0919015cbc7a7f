//! Requests in flight: each until its deadline or until its owner removes it; who shares an answer; and how
//! long to wait after silence. The owner knows what a request is and what answers it.

use alloc::vec::Vec;

use super::charge::{Charged, Measure};
use crate::time::earliest;
use crate::{Duration, Instant};

/// A bounded table of requests, allocated at construction.
#[derive(Debug)]
pub(crate) struct InFlight<T> {
    requests: Vec<(Instant, T)>,
    /// No request expires before.
    earliest: Option<Instant>,
    most: usize,
}

impl<T: Charged> InFlight<T> {
    /// The bytes of a table of so many requests.
    pub(crate) const fn bytes(most: usize, measure: Measure) -> usize {
        measure.of::<(Instant, T)>(most)
    }

    /// A table of at most so many requests.
    pub(crate) fn new(most: usize) -> Self {
        Self { requests: Vec::with_capacity(most), earliest: None, most }
    }

    /// Its bytes.
    pub(crate) const fn memory(&self, measure: Measure) -> usize {
        Self::bytes(self.most, measure)
    }

    /// Returns true if no further request can be added.
    pub(crate) const fn is_full(&self) -> bool {
        self.requests.len() >= self.most
    }

    /// The requests, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.requests.iter().map(|(_, request)| request)
    }

    /// The requests, in the same order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.requests.iter_mut().map(|(_, request)| request)
    }

    /// Adds a request, for which there is room.
    pub(crate) fn push(&mut self, deadline: Instant, request: T) {
        self.requests.push((deadline, request));
        self.earliest = earliest(self.earliest, Some(deadline));
    }

    /// Removes the request at a position of [`iter`](Self::iter).
    pub(crate) fn remove(&mut self, position: usize) -> Option<T> {
        self.requests.get(position)?;
        let (_, removed) = self.requests.swap_remove(position);
        self.find_earliest();
        Some(removed)
    }

    /// Removes those requests that `keeps` denies.
    pub(crate) fn retain(&mut self, keeps: impl Fn(&T) -> bool) {
        self.requests.retain(|(_, request)| keeps(request));
        self.find_earliest();
    }

    /// Removes a request whose deadline has come.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<T> {
        self.earliest.filter(|earliest| *earliest <= now)?;
        let position = self.requests.iter().position(|(deadline, _)| *deadline <= now);
        if position.is_none() {
            self.find_earliest();
        }
        Some(self.requests.swap_remove(position?).1)
    }

    /// When the next request expires.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.earliest
    }

    fn find_earliest(&mut self) {
        self.earliest = self.requests.iter().map(|(deadline, _)| *deadline).min();
    }
}

/// Those who wait for the answers to requests, in the order in which they came: a bounded table, allocated
/// at construction.
#[derive(Debug)]
pub(crate) struct Sharers<Id, Who> {
    waiting: Vec<(Id, Who)>,
    most: usize,
}

impl<Id: PartialEq + Charged, Who: PartialEq + Charged> Sharers<Id, Who> {
    /// The bytes of a table of so many sharers.
    pub(crate) const fn bytes(most: usize, measure: Measure) -> usize {
        measure.of::<(Id, Who)>(most)
    }

    /// A table of at most so many sharers.
    pub(crate) fn new(most: usize) -> Self {
        Self { waiting: Vec::with_capacity(most), most }
    }

    /// Its bytes.
    pub(crate) const fn memory(&self, measure: Measure) -> usize {
        Self::bytes(self.most, measure)
    }

    /// How many wait, for all requests together.
    pub(crate) const fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns true if nobody else can wait.
    pub(crate) const fn is_full(&self) -> bool {
        self.waiting.len() >= self.most
    }

    /// Returns true if somebody waits for a request.
    pub(crate) fn contains(&self, id: Id, who: Who) -> bool {
        self.waiting.contains(&(id, who))
    }

    /// Adds somebody, for whom there is room.
    pub(crate) fn push(&mut self, id: Id, who: Who) {
        self.waiting.push((id, who));
    }

    /// The next who waits for a request, and does so no longer.
    pub(crate) fn pop(&mut self, id: Id) -> Option<Who> {
        let at = self.waiting.iter().position(|(of, _)| *of == id)?;
        Some(self.waiting.remove(at).1)
    }

    /// Removes all who wait for a request: how many did.
    pub(crate) fn remove_all(&mut self, id: Id) -> u64 {
        let before = self.waiting.len();
        self.waiting.retain(|(of, _)| *of != id);
        (before - self.waiting.len()) as u64
    }
}

/// A time that silence doubled so many times, up to `most`.
pub(crate) fn backoff(time: Duration, doublings: u32, most: Duration) -> Duration {
    time.saturating_mul(1 << doublings.min(16)).min(most)
}

/// Spreads what would otherwise happen at the same time everywhere (splitmix64, seeded).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jitter(pub(crate) u64);

impl Jitter {
    /// The next number.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Between half of a duration and all of it.
    pub(crate) fn shorten(&mut self, duration: Duration) -> Duration {
        let part = self.next() >> 54;
        let half = duration / 2;
        half + half.saturating_mul(part as u32) / 1023
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_expire_at_their_deadline() {
        let at = Instant::from_millis;
        let mut requests = InFlight::new(2);
        for (deadline, name) in [(20, 1_u64), (10, 2)] {
            requests.push(at(deadline), name);
        }
        assert!(requests.is_full());
        assert_eq!((requests.deadline(), requests.expire(at(9))), (Some(at(10)), None));
        assert_eq!((requests.expire(at(10)), requests.expire(at(10))), (Some(2), None));
        assert_eq!(requests.deadline(), Some(at(20)));
        assert_eq!((requests.remove(0), requests.remove(0)), (Some(1), None));
        assert_eq!(requests.deadline(), None);
    }

    #[test]
    fn those_who_share_an_answer_get_it_in_the_order_in_which_they_came() {
        let mut sharers = Sharers::new(4);
        for (id, who) in [(1_u64, 10_u64), (2, 11), (1, 12), (1, 13)] {
            sharers.push(id, who);
        }
        assert!(sharers.is_full() && sharers.contains(2, 11) && !sharers.contains(2, 14));
        assert_eq!([sharers.pop(1), sharers.pop(2), sharers.pop(2)], [Some(10), Some(11), None]);
        assert_eq!((sharers.remove_all(1), sharers.len()), (2, 0));
    }

    #[test]
    fn silence_doubles_a_time_up_to_the_most() {
        let waits = [0, 1, 3, 99]
            .map(|times| backoff(Duration::from_millis(10), times, Duration::from_secs(1)));
        let millis: alloc::vec::Vec<_> = waits.iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [10, 20, 80, 1000]);
    }
}
