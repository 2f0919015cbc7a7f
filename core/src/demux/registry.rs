//! The registrations of acceptors for tags, and the acceptors that pause.

use core::cmp::Ordering;

use smallvec::SmallVec;

use super::event::{AcceptorId, Pattern, Refusal, Registrant, Registration};
use super::stats::TagStats;
use crate::storage::charge::{Measure, charged};
use crate::storage::counts::{Count, Counts};
use crate::storage::slab::Slab;
use crate::storage::tree::{Links, Tree, sorted};
use crate::wire::tag::{MAX_TAG, is_reserved, length};

/// One registration.
#[derive(Default, Debug)]
struct Registered {
    is_prefix: bool,
    bytes: SmallVec<[u8; MAX_TAG]>,
    by: Registrant,
    acceptor: AcceptorId,
    by_pattern: Links,
    by_acceptor: Links,
    stats: TagStats,
}

impl Registered {
    fn pattern(&self) -> Pattern<'_> {
        if self.is_prefix { Pattern::Prefix(&self.bytes) } else { Pattern::Exact(&self.bytes) }
    }
}

charged!(Registered = 336, Count<Option<AcceptorId>> = 40);
sorted!(ByPattern, Registered, by_pattern, |registered| registered.pattern());
sorted!(ByAcceptor, Registered, by_acceptor, |registered| registered.acceptor);

/// The registrations, and which of those who have some pause.
#[derive(Default, Debug)]
pub(super) struct Registry {
    registered: Slab<Registered>,
    by_pattern: Tree<ByPattern>,
    by_acceptor: Tree<ByAcceptor>,
    len: usize,
    paused: Counts<AcceptorId>,
}

impl Registry {
    pub(super) fn new() -> Self {
        Self { registered: Slab::keeping(), ..Self::default() }
    }

    /// The most bytes that so many registrations are charged.
    pub(super) const fn most(registrations: usize) -> usize {
        let paused = Counts::<AcceptorId>::most(registrations);
        Slab::<Registered>::most(registrations).saturating_add(paused)
    }

    /// Bytes of the tables.
    pub(super) const fn bytes(&self, measure: Measure) -> usize {
        self.registered.bytes(measure) + self.paused.bytes(measure)
    }

    /// The registration for a tag, by its place: the exact one, or that of the longest prefix.
    pub(super) fn look_up(&self, tag: &[u8]) -> Option<u32> {
        self.find(Pattern::Exact(tag)).or_else(|| self.longest_prefix(tag))
    }

    fn pattern(&self, at: u32) -> Option<Pattern<'_>> {
        self.registered.get(at).map(Registered::pattern)
    }

    fn find(&self, pattern: Pattern<'_>) -> Option<u32> {
        self.by_pattern.find(&self.registered, |at| self.pattern(at).cmp(&Some(pattern)))
    }

    /// The longest prefix of a tag. It is the last in the order of bytes that is not behind the tag, or
    /// what that one and the tag have in common begins with it.
    fn longest_prefix(&self, tag: &[u8]) -> Option<u32> {
        let reserved = is_reserved(tag);
        let mut end = tag.len();
        loop {
            let wanted = Some(Pattern::Prefix(&tag[..end]));
            let before = |at| self.pattern(at).cmp(&wanted);
            let at = self.by_pattern.at_or_before(&self.registered, before)?;
            let found = self.registered.get(at).filter(|found| found.is_prefix)?;
            let common = found.bytes.iter().zip(tag).take_while(|(one, other)| one == other);
            let common = common.count();
            let is_prefix = common == found.bytes.len();
            if is_prefix && (!reserved || found.by == Registrant::Protocol) {
                return Some(at);
            }
            // An application's prefix of a reserved tag does not count: a shorter one may.
            end = if is_prefix { common.checked_sub(1)? } else { common };
        }
    }

    /// The owner of a registration.
    pub(super) fn acceptor(&self, at: u32) -> Option<AcceptorId> {
        self.registered.get(at).map(|found| found.acceptor)
    }

    /// Adds a registration, of at most `max`; `false` when it was there.
    pub(super) fn register(
        &mut self,
        acceptor: AcceptorId,
        pattern: Pattern<'_>,
        by: Registrant,
        max: usize,
    ) -> Result<bool, Refusal> {
        if pattern != Pattern::Prefix(b"") {
            length(pattern.bytes())?;
        }
        if by == Registrant::Application && is_reserved(pattern.bytes()) {
            return Err(Refusal::Reserved);
        }
        match self.find(pattern).and_then(|found| self.acceptor(found)) {
            Some(held_by) if held_by != acceptor => return Err(Refusal::Conflict { held_by }),
            Some(_) => return Ok(false),
            None => {}
        }
        let full = Refusal::TooManyRegistrations { max };
        if self.len == max {
            return Err(full);
        }
        let is_prefix = matches!(pattern, Pattern::Prefix(_));
        let bytes = SmallVec::from_slice(pattern.bytes());
        let new = Registered { is_prefix, bytes, by, acceptor, ..Registered::default() };
        let at = self.registered.insert(new).ok_or(full)?;
        self.by_pattern.insert(&mut self.registered, at);
        self.by_acceptor.insert(&mut self.registered, at);
        self.len += 1;
        Ok(true)
    }

    /// Takes a registration out; whether there was one.
    pub(super) fn unregister(&mut self, pattern: Pattern<'_>) -> bool {
        let found = self.find(pattern);
        found.inspect(|&at| self.remove(at)).is_some()
    }

    /// Takes all registrations of an acceptor out; whether there were any.
    pub(super) fn acceptor_gone(&mut self, acceptor: AcceptorId) -> bool {
        let before = self.len;
        while let Some(at) = self.first_of(acceptor) {
            self.remove(at);
        }
        self.len < before
    }

    fn remove(&mut self, at: u32) {
        self.by_pattern.remove(&mut self.registered, at);
        self.by_acceptor.remove(&mut self.registered, at);
        let Some(Registered { acceptor, .. }) = self.registered.remove(at) else { return };
        self.len -= 1;
        if self.first_of(acceptor).is_none() {
            self.resume(acceptor);
        }
    }

    /// One of the registrations of an acceptor.
    fn first_of(&self, acceptor: AcceptorId) -> Option<u32> {
        self.by_acceptor.find(&self.registered, |at| self.acceptor(at).cmp(&Some(acceptor)))
    }

    /// True while an acceptor pauses.
    pub(super) fn is_paused(&self, acceptor: AcceptorId) -> bool {
        self.paused.of(acceptor) > 0
    }

    /// Lets an acceptor pause that has a registration.
    pub(super) fn pause(&mut self, acceptor: AcceptorId) {
        if !self.is_paused(acceptor) && self.first_of(acceptor).is_some() {
            self.paused.add(acceptor);
        }
    }

    pub(super) fn resume(&mut self, acceptor: AcceptorId) {
        self.paused.take(acceptor);
    }

    /// Counts something for a registration.
    pub(super) fn count(&mut self, at: Option<u32>, count: impl FnOnce(&mut TagStats)) {
        if let Some(registered) = at.and_then(|at| self.registered.get_mut(at)) {
            count(&mut registered.stats);
        }
    }

    /// The registrations: exact tags first, then prefixes, each in the order of their bytes.
    pub(super) fn iter(&self) -> impl Iterator<Item = Registration<'_>> {
        let after = |last: &u32| {
            let last = self.pattern(*last);
            // Behind it, not at it.
            let order = |at| self.pattern(at).cmp(&last).then(Ordering::Less);
            self.by_pattern.at_or_after(&self.registered, order)
        };
        core::iter::successors(self.by_pattern.first(&self.registered), after).filter_map(|at| {
            let found = self.registered.get(at)?;
            let Registered { acceptor, by, stats, .. } = *found;
            Some(Registration { pattern: found.pattern(), acceptor, by, stats })
        })
    }
}
