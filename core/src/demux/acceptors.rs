//! Who registered for which tags, and who takes a stream of one.

use super::event::{AcceptorId, Pattern, Registrant, Registration};
use super::stats::TagStats;
use super::{Demux, Refusal};
use crate::storage::slab::NONE;
use crate::storage::tree::{Links, sorted};
use crate::wire::tag::{MAX_TAG, is_reserved};

/// Somebody who has registrations.
#[derive(Debug)]
pub(super) struct Acceptor {
    pub(super) id: AcceptorId,
    by_acceptor: Links,
    pub(super) registrations: usize,
    pub(super) is_paused: bool,
    /// Streams that wait for it.
    pub(super) held: usize,
}

impl Default for Acceptor {
    fn default() -> Self {
        Self {
            id: AcceptorId(0),
            by_acceptor: Links::UNTIED,
            registrations: 0,
            is_paused: false,
            held: 0,
        }
    }
}

sorted!(ByAcceptor, Acceptor, by_acceptor, |acceptor| acceptor.id);

/// One registration.
#[derive(Debug)]
pub(super) struct Registered {
    is_prefix: bool,
    bytes: [u8; MAX_TAG],
    len: u8,
    pub(super) by: Registrant,
    /// The place of its acceptor.
    pub(super) acceptor: u32,
    by_pattern: Links,
    by_owner: Links,
    pub(super) stats: TagStats,
}

impl Default for Registered {
    fn default() -> Self {
        Self {
            is_prefix: false,
            bytes: [0; MAX_TAG],
            len: 0,
            by: Registrant::Application,
            acceptor: NONE,
            by_pattern: Links::UNTIED,
            by_owner: Links::UNTIED,
            stats: TagStats::default(),
        }
    }
}

impl Registered {
    fn new(pattern: Pattern<'_>, by: Registrant, acceptor: u32) -> Self {
        let mut new = Self { by, acceptor, ..Self::default() };
        new.is_prefix = matches!(pattern, Pattern::Prefix(_));
        let len = pattern.bytes().len().min(MAX_TAG);
        new.bytes[..len].copy_from_slice(&pattern.bytes()[..len]);
        new.len = len as u8;
        new
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn pattern(&self) -> Pattern<'_> {
        if self.is_prefix { Pattern::Prefix(self.bytes()) } else { Pattern::Exact(self.bytes()) }
    }
}

sorted!(ByPattern, Registered, by_pattern, |registered| registered.pattern());
sorted!(ByOwner, Registered, by_owner, |registered| registered.acceptor);

/// Who takes a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Route {
    /// An acceptor, by the places of its registration and its own.
    To { registered: u32, acceptor: u32 },
    /// The same, but it pauses.
    Paused { registered: u32, acceptor: u32 },
    /// Nobody registered the tag.
    Nobody,
    /// Nobody registered the tag, and it is reserved: nobody is waited for.
    Reserved,
}

impl Demux {
    /// Who takes a stream with this tag now.
    pub(super) fn route(&self, tag: &[u8]) -> Route {
        let Some(registered) = self.look_up(tag) else {
            return if is_reserved(tag) { Route::Reserved } else { Route::Nobody };
        };
        let acceptor = self.registered.get(registered).map_or(NONE, |found| found.acceptor);
        if self.acceptors.get(acceptor).is_some_and(|acceptor| acceptor.is_paused) {
            Route::Paused { registered, acceptor }
        } else {
            Route::To { registered, acceptor }
        }
    }

    /// The registration for a tag: the exact one, or that of the longest prefix.
    pub(super) fn look_up(&self, tag: &[u8]) -> Option<u32> {
        self.find_pattern(Pattern::Exact(tag)).or_else(|| self.longest_prefix(tag))
    }

    fn find_pattern(&self, pattern: Pattern<'_>) -> Option<u32> {
        let known = |at| self.registered.get(at).map(Registered::pattern);
        self.by_pattern.find(&self.registered, |at| known(at).cmp(&Some(pattern)))
    }

    /// The longest prefix of a tag. It is the last in the order of bytes that is not behind the tag, or
    /// what that one and the tag have in common begins with it.
    fn longest_prefix(&self, tag: &[u8]) -> Option<u32> {
        let known = |at| self.registered.get(at).map(Registered::pattern);
        let reserved = is_reserved(tag);
        let mut end = tag.len();
        loop {
            let wanted = Pattern::Prefix(&tag[..end]);
            let before = |at| known(at).cmp(&Some(wanted));
            let at = self.by_pattern.at_or_before(&self.registered, before)?;
            let found = self.registered.get(at).filter(|found| found.is_prefix)?;
            let common = found.bytes().iter().zip(tag).take_while(|(one, other)| one == other);
            let common = common.count();
            let is_prefix = common == found.bytes().len();
            if is_prefix && (!reserved || found.by == Registrant::Protocol) {
                return Some(at);
            }
            // An application's prefix of a reserved tag does not count: a shorter one may.
            end = if is_prefix { common.checked_sub(1)? } else { common };
        }
    }

    pub(super) fn find_acceptor(&self, acceptor: AcceptorId) -> Option<u32> {
        let id = |at| self.acceptors.get(at).map(|acceptor| acceptor.id);
        self.by_acceptor.find(&self.acceptors, |at| id(at).cmp(&Some(acceptor)))
    }

    /// The id of an acceptor, of which the place is known.
    pub(super) fn acceptor_id(&self, at: u32) -> AcceptorId {
        self.acceptors.get(at).map_or(AcceptorId(0), |acceptor| acceptor.id)
    }

    /// Adds a registration; `false` when it was there.
    pub(super) fn add(
        &mut self,
        acceptor: AcceptorId,
        pattern: Pattern<'_>,
        by: Registrant,
    ) -> Result<bool, Refusal> {
        pattern.check()?;
        if by == Registrant::Application && pattern.is_reserved() {
            return Err(Refusal::Reserved);
        }
        if let Some(found) = self.find_pattern(pattern) {
            let owner = self.registered.get(found).map_or(NONE, |found| found.acceptor);
            let held_by = self.acceptor_id(owner);
            return if held_by == acceptor {
                Ok(false)
            } else {
                Err(Refusal::Conflict { held_by })
            };
        }
        let max = self.config.max_registrations;
        if self.registrations == max {
            return Err(Refusal::TooManyRegistrations { max });
        }
        let full = Refusal::TooManyRegistrations { max };
        let owner = match self.find_acceptor(acceptor) {
            Some(owner) => owner,
            None => {
                let new = Acceptor { id: acceptor, ..Acceptor::default() };
                let owner = self.acceptors.insert(new).ok_or(full)?;
                self.by_acceptor.insert(&mut self.acceptors, owner);
                owner
            }
        };
        let new = Registered::new(pattern, by, owner);
        let at = self.registered.insert(new).ok_or(full)?;
        self.by_pattern.insert(&mut self.registered, at);
        self.by_owner.insert(&mut self.registered, at);
        self.registrations += 1;
        if let Some(owner) = self.acceptors.get_mut(owner) {
            owner.registrations += 1;
        }
        Ok(true)
    }

    /// Takes a registration out; the place of its acceptor, which may have none left.
    pub(super) fn remove_pattern(&mut self, pattern: Pattern<'_>) -> Option<u32> {
        let at = self.find_pattern(pattern)?;
        self.remove_registered(at)
    }

    /// Takes all registrations of an acceptor out.
    pub(super) fn remove_all_of(&mut self, owner: u32) {
        let key = |demux: &Self, at| demux.registered.get(at).map(|found| found.acceptor);
        while let Some(at) = self
            .by_owner
            .at_or_after(&self.registered, |at| key(self, at).cmp(&Some(owner)))
            .filter(|&at| key(self, at) == Some(owner))
        {
            self.remove_registered(at);
        }
    }

    fn remove_registered(&mut self, at: u32) -> Option<u32> {
        self.by_pattern.remove(&mut self.registered, at);
        self.by_owner.remove(&mut self.registered, at);
        let owner = self.registered.remove(at)?.acceptor;
        self.registrations -= 1;
        if let Some(owner) = self.acceptors.get_mut(owner) {
            owner.registrations -= 1;
        }
        Some(owner)
    }

    /// Lets an acceptor go that has no registration left, and for which nothing waits.
    pub(super) fn let_go(&mut self, owner: u32) {
        if self.acceptors.get(owner).is_some_and(|owner| owner.registrations == 0) {
            self.by_acceptor.remove(&mut self.acceptors, owner);
            self.acceptors.remove(owner);
        }
    }

    /// Counts something for a registration.
    pub(super) fn count_tag(&mut self, at: u32, count: impl FnOnce(&mut TagStats)) {
        if let Some(registered) = self.registered.get_mut(at) {
            count(&mut registered.stats);
        }
    }

    /// What is registered: exact tags first, then prefixes, each in the order of their bytes.
    pub fn registrations(&self) -> impl Iterator<Item = Registration<'_>> {
        let key = |at| self.registered.get(at).map(Registered::pattern);
        let behind = move |last: &u32| {
            let last = key(*last);
            self.by_pattern.at_or_after(&self.registered, |at| {
                // Behind it, not at it.
                key(at).cmp(&last).then(core::cmp::Ordering::Less)
            })
        };
        core::iter::successors(self.by_pattern.first(&self.registered), behind).filter_map(|at| {
            let found = self.registered.get(at)?;
            Some(Registration {
                pattern: found.pattern(),
                acceptor: self.acceptor_id(found.acceptor),
                by: found.by,
                stats: found.stats,
            })
        })
    }
}
