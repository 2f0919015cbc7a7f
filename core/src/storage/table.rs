//! A bounded number of places for things of one kind, all of them allocated at construction, and rows that the
//! things hang in: one each, or that of the free places.

use alloc::vec::Vec;

use super::charge::{Charged, Measure, charged};
use super::list::{Link, Linked, List};
use super::slab::NONE;

/// A thing of a table: it has a place for its neighbours in a row.
pub(crate) trait InRow: Default {
    fn link(&self) -> Link;
    fn set_link(&mut self, link: Link);
}

/// Implements [`InRow`] for a thing that has a place for its `next` neighbour, or for both.
macro_rules! in_row {
    ($thing:ty { $($side:ident),+ }) => {
        impl $crate::storage::table::InRow for $thing {
            fn link(&self) -> $crate::storage::list::Link {
                let mut link = $crate::storage::list::Link::default();
                $(link.$side = self.$side;)+
                link
            }

            fn set_link(&mut self, link: $crate::storage::list::Link) {
                $(self.$side = link.$side;)+
            }
        }
    };
}
pub(crate) use in_row;

/// The rows of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OfTable {}

/// Things of a table in a row: only its ends.
pub(crate) type Row = List<OfTable>;
charged!(Row = 8);

/// The places, found by number. One that became free last is used first.
#[derive(Debug)]
pub(crate) struct Table<T> {
    places: Vec<T>,
    /// The first free place: a row of its own, of which only `next` is kept.
    free: u32,
    used: usize,
    most: usize,
}

impl<T: InRow> Linked<OfTable> for Table<T> {
    fn link(&self, at: u32) -> Link {
        self.get(at).map(T::link).unwrap_or_default()
    }

    fn set_link(&mut self, at: u32, link: Link) {
        if let Some(thing) = self.get_mut(at) {
            thing.set_link(link);
        }
    }
}

impl<T: Charged> Table<T> {
    /// The bytes of so many places.
    pub(crate) const fn bytes(most: usize, measure: Measure) -> usize {
        measure.of::<T>(most)
    }

    /// Its bytes.
    pub(crate) const fn memory(&self, measure: Measure) -> usize {
        Self::bytes(self.most, measure)
    }
}

impl<T: InRow> Table<T> {
    /// With `most` places.
    pub(crate) fn new(most: usize) -> Self {
        Self { places: Vec::with_capacity(most), free: NONE, used: 0, most }
    }

    /// How many places there are, and how many of them are in use.
    pub(crate) const fn most(&self) -> usize {
        self.most
    }

    pub(crate) const fn len(&self) -> usize {
        self.used
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.used >= self.most
    }

    #[inline]
    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        self.places.get(at as usize)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.places.get_mut(at as usize)
    }

    /// Puts a thing into a free place; `None` when there is none.
    pub(crate) fn insert(&mut self, thing: T) -> Option<u32> {
        if self.is_full() {
            return None;
        }
        self.used += 1;
        let at = self.free;
        if let Some(place) = self.places.get_mut(at as usize) {
            self.free = place.link().next;
            *place = thing;
            return Some(at);
        }
        self.places.push(thing);
        u32::try_from(self.places.len() - 1).ok()
    }

    /// Takes a thing that is in no row out of its place, which is free then.
    pub(crate) fn remove(&mut self, at: u32) -> Option<T> {
        let place = self.places.get_mut(at as usize)?;
        let thing = core::mem::take(place);
        place.set_link(Link { previous: NONE, next: self.free });
        self.free = at;
        self.used -= 1;
        Some(thing)
    }

    /// Frees every place; no row is good any more.
    pub(crate) fn clear(&mut self) {
        self.places.clear();
        self.free = NONE;
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default, Debug)]
    struct Thing(u8, Link);

    impl InRow for Thing {
        fn link(&self) -> Link {
            self.1
        }

        fn set_link(&mut self, link: Link) {
            self.1 = link;
        }
    }

    #[test]
    fn a_full_table_refuses_a_thing_until_a_place_is_free() {
        let mut table = Table::new(2);
        let mut row = Row::default();
        for name in [1, 2] {
            let at = table.insert(Thing(name, Link::default())).unwrap();
            row.push(&mut table, at);
        }
        assert!(table.is_full() && table.insert(Thing::default()).is_none());
        let first = row.pop(&mut table).unwrap();
        assert_eq!(table.remove(first).unwrap().0, 1);
        assert_eq!(table.insert(Thing(3, Link::default())), Some(first));
        row.push(&mut table, first);
        assert_eq!((row.pop(&mut table), row.pop(&mut table)), (Some(1), Some(0)));
        assert_eq!(table.len(), 2);
        table.clear();
        assert_eq!(table.len(), 0);
    }
}
