//! Things in a row: a doubly linked list whose links lie in the things, so that nothing is allocated, and
//! adding at the end, taking out, and hanging one row behind another cost O(1).

use core::marker::PhantomData;

/// No place.
pub(crate) const NONE: u32 = u32::MAX;

/// A thing's neighbours in one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) previous: u32,
    pub(crate) next: u32,
}

impl Default for Link {
    /// The link of a thing alone.
    fn default() -> Self {
        Self { previous: NONE, next: NONE }
    }
}

/// A collection of things that are linked in one way, `By`. They need not keep `previous` where they only leave
/// at the front.
pub(crate) trait Linked<By> {
    fn link(&self, at: u32) -> Link;
    fn set_link(&mut self, at: u32, link: Link);
}

/// Implements [`Linked`] for the things of a slab.
macro_rules! linked {
    ($by:ident, $thing:ty, $link:ident) => {
        /// A way to link.
        #[derive(Clone, Copy, Debug)]
        pub(super) enum $by {}

        impl<G: Copy + Default> $crate::storage::list::Linked<$by>
            for $crate::storage::slab::Slab<$thing, G>
        {
            fn link(&self, at: u32) -> $crate::storage::list::Link {
                self.get(at).map(|thing| thing.$link).unwrap_or_default()
            }

            fn set_link(&mut self, at: u32, link: $crate::storage::list::Link) {
                if let Some(thing) = self.get_mut(at) {
                    thing.$link = link;
                }
            }
        }
    };
}
pub(crate) use linked;

/// A row: only its ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List<By> {
    first: u32,
    last: u32,
    by: PhantomData<By>,
}

impl<By> Default for List<By> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<By> List<By> {
    pub(crate) const EMPTY: Self = Self { first: NONE, last: NONE, by: PhantomData };

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// The place of the first thing, or `NONE`.
    #[inline]
    pub(crate) const fn first(&self) -> u32 {
        self.first
    }

    /// The place of the last thing, or `NONE`.
    #[inline]
    pub(crate) const fn last(&self) -> u32 {
        self.last
    }

    /// Returns true if a thing that is in some row of this kind may be in this one: it is, unless it stands between
    /// others, whose row makes no difference to taking it out.
    pub(crate) fn may_have(&self, things: &impl Linked<By>, at: u32) -> bool {
        let Link { previous, next } = things.link(at);
        (previous != NONE || self.first == at) && (next != NONE || self.last == at)
    }

    /// Hangs a thing that is in no row of this kind behind the others.
    pub(crate) fn push(&mut self, things: &mut impl Linked<By>, at: u32) {
        self.insert_after(things, self.last, at);
    }

    /// Hangs a thing that is in no row of this kind before the others.
    pub(crate) fn push_front(&mut self, things: &mut impl Linked<By>, at: u32) {
        self.insert_after(things, NONE, at);
    }

    /// Hangs a thing behind another one of the row, or before all for `NONE`.
    pub(crate) fn insert_after(&mut self, things: &mut impl Linked<By>, previous: u32, at: u32) {
        let next = if previous == NONE { self.first } else { things.link(previous).next };
        things.set_link(at, Link { previous, next });
        self.set_next(things, previous, at);
        self.set_previous(things, next, at);
    }

    /// Takes out the first thing.
    pub(crate) fn pop(&mut self, things: &mut impl Linked<By>) -> Option<u32> {
        let first = self.first;
        (first != NONE).then(|| {
            self.remove(things, first);
            first
        })
    }

    /// Takes out a thing that is in this row.
    pub(crate) fn remove(&mut self, things: &mut impl Linked<By>, at: u32) {
        let Link { previous, next } = things.link(at);
        self.join(things, previous, next);
    }

    /// Hangs all of `other` behind this.
    pub(crate) fn append(&mut self, things: &mut impl Linked<By>, other: Self) {
        if !other.is_empty() {
            self.join(things, self.last, other.first);
            self.last = other.last;
        }
    }

    /// Makes two things neighbours, or one that is beside `NONE` an end.
    fn join(&mut self, things: &mut impl Linked<By>, previous: u32, next: u32) {
        self.set_next(things, previous, next);
        self.set_previous(things, next, previous);
    }

    /// Says what comes behind a thing, or first.
    fn set_next(&mut self, things: &mut impl Linked<By>, at: u32, next: u32) {
        if at == NONE {
            self.first = next;
        } else {
            let link = things.link(at);
            things.set_link(at, Link { next, ..link });
        }
    }

    /// Says what comes before a thing, or last.
    fn set_previous(&mut self, things: &mut impl Linked<By>, at: u32, previous: u32) {
        if at == NONE {
            self.last = previous;
        } else {
            let link = things.link(at);
            things.set_link(at, Link { previous, ..link });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;
    use alloc::vec::Vec;

    struct Row;

    impl Linked<Row> for Vec<Link> {
        fn link(&self, at: u32) -> Link {
            self[at as usize]
        }

        fn set_link(&mut self, at: u32, link: Link) {
            self[at as usize] = link;
        }
    }

    fn agree(list: &List<Row>, things: &[Link], model: &VecDeque<u32>) {
        let ends = [list.first(), list.last()];
        assert_eq!(ends, [model.front(), model.back()].map(|end| end.copied().unwrap_or(NONE)));
        assert_eq!(list.is_empty(), model.is_empty());
        let (mut previous, mut at) = (NONE, list.first());
        for &expected in model {
            assert_eq!((at, things[at as usize].previous), (expected, previous));
            (previous, at) = (at, things[at as usize].next);
        }
        assert_eq!(at, NONE);
    }

    #[test]
    fn two_rows_agree_with_two_queues() {
        const THINGS: u32 = 40;
        let mut things: Vec<Link> = (0..THINGS).map(|_| Link::default()).collect();
        let mut lists = [List::default(), List::default()];
        let mut models = [VecDeque::new(), VecDeque::new()];
        let mut random = 1_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (which, at) = ((random >> 33) as usize % 2, (random >> 40) as u32 % THINGS);
            let taken = models.iter().any(|model| model.contains(&at));
            let (list, model) = (&mut lists[which], &mut models[which]);
            match random >> 60 {
                0..=3 => assert_eq!(list.pop(&mut things), model.pop_front()),
                4 if random >> 56 & 7 == 0 => {
                    let [one, other] = &mut lists;
                    one.append(&mut things, core::mem::take(other));
                    let [one, other] = &mut models;
                    one.append(other);
                }
                _ if taken => {
                    for (list, model) in lists.iter_mut().zip(&mut models) {
                        if let Some(place) = model.iter().position(|&other| other == at) {
                            list.remove(&mut things, at);
                            model.remove(place);
                        }
                    }
                }
                5..=8 => {
                    let place = model.len() / 2;
                    let before = place.checked_sub(1).map_or(NONE, |before| model[before]);
                    list.insert_after(&mut things, before, at);
                    model.insert(place, at);
                }
                _ => {
                    list.push(&mut things, at);
                    model.push_back(at);
                }
            }
            for (list, model) in lists.iter().zip(&models) {
                agree(list, &things, model);
            }
        }
    }
}
