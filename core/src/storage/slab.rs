//! Places for things of one kind, found by number, in pages: growing never moves what there is, and a
//! page that is empty goes, so that memory follows what is held.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::marker::PhantomData;

use super::charge::{Charged, Measure, charged};
pub(crate) use super::list::NONE;
use super::list::{Link, Linked, List};

/// Places of a page.
const PAGE: usize = 64;

/// A thing of a slab: its place, and its generation, which distinguishes it from what lies there before and after.
pub(crate) type Key<T> = KeyOf<fn() -> T>;

/// A key with its type: that of a function, which can be compared and copied whatever things are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyOf<F> {
    pub(crate) slot: u32,
    pub(crate) generation: u64,
    of: PhantomData<F>,
}

impl<F> KeyOf<F> {
    pub(crate) const fn new(slot: u32, generation: u64) -> Self {
        Self { slot, generation, of: PhantomData }
    }
}

/// A slab whose things have keys. Generations come from its owner, who may share them between slabs; zero
/// is that of a free place.
pub(crate) type Keyed<T> = Slab<T, u64>;

/// The content of a place: the default where it is free.
#[derive(Clone, Copy, Default, Debug)]
struct Entry<T, G> {
    generation: G,
    thing: T,
}

impl<T: Charged, G: Charged> Charged for Entry<T, G> {
    const BYTES: usize = T::BYTES + G::BYTES;
}

type Places<T, G> = Box<[Entry<T, G>; PAGE]>;

impl<T, G> Charged for Option<Places<T, G>> {
    const BYTES: usize = 8;
}

charged!(Page = 76);

/// The occupancy of a page.
#[derive(Debug)]
struct Page {
    /// The free places, as a stack.
    free: [u8; PAGE],
    used: u8,
    /// Neighbours among the pages that have free places, or among those that went.
    link: Link,
}

/// Rows that the tables have for so many pages.
const fn rows(pages: usize) -> usize {
    match pages {
        0 => 0,
        1..4 => 4,
        _ => pages.next_power_of_two(),
    }
}

/// How pages are linked.
#[derive(Debug)]
enum InRow {}

impl Linked<InRow> for Vec<Page> {
    fn link(&self, at: u32) -> Link {
        self[at as usize].link
    }

    fn set_link(&mut self, at: u32, link: Link) {
        self[at as usize].link = link;
    }
}

/// A growing number of places, which have generations in a [`Keyed`] one.
///
/// A place that became free last is used first. One empty page at most is kept, so that what goes
/// and comes in turn allocates nothing; or every page, where that is asked for.
#[derive(Default, Debug)]
pub(crate) struct Slab<T, G = ()> {
    /// The pages; `None` for one that went.
    places: Vec<Option<Places<T, G>>>,
    pages: Vec<Page>,
    /// Rows that both have room for.
    rows: usize,
    /// The pages that have free places, and those that went.
    open: List<InRow>,
    gone: List<InRow>,
    /// Places that are taken.
    used: usize,
    /// Pages that there are, and how many of them are empty.
    present: usize,
    empty: usize,
    /// All empty pages are kept, not one at most.
    keeps: bool,
}

impl<T: Default> Slab<T> {
    /// Puts a thing into a free place; `None` when 2^32-2 are taken.
    pub(crate) fn insert(&mut self, thing: T) -> Option<u32> {
        self.put((), thing)
    }
}

impl<T: Default> Keyed<T> {
    /// Puts a thing of this generation into a free place; `None` when 2^32-2 are taken.
    pub(crate) fn insert_as(&mut self, generation: u64, thing: T) -> Option<Key<T>> {
        Some(Key::new(self.put(generation, thing)?, generation))
    }

    /// The key of what lies in a place.
    #[inline]
    pub(crate) fn key(&self, at: u32) -> Option<Key<T>> {
        Some(Key::new(at, self.entry(at)?.generation))
    }

    #[inline]
    pub(crate) fn find(&self, key: Key<T>) -> Option<&T> {
        let entry = self.entry(key.slot)?;
        (entry.generation == key.generation).then_some(&entry.thing)
    }

    #[inline]
    pub(crate) fn find_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        let entry = self.entry_mut(key.slot)?;
        (entry.generation == key.generation).then_some(&mut entry.thing)
    }
}

impl<T: Charged, G: Charged> Slab<T, G> {
    /// The most bytes that so many places are charged, while their table grows too.
    pub(crate) const fn most(places: usize) -> usize {
        let pages = places.div_ceil(PAGE);
        let (rows, measure) = (rows(pages), Measure::Charged);
        Self::pages(pages, measure).saturating_add(Self::tables(rows + rows / 2, measure))
    }

    /// The bytes of a row of the tables, and of a page.
    const fn row(measure: Measure) -> usize {
        measure.of::<Page>(1) + measure.of::<Option<Places<T, G>>>(1)
    }

    const fn page(measure: Measure) -> usize {
        measure.of::<Entry<T, G>>(PAGE)
    }

    const fn tables(rows: usize, measure: Measure) -> usize {
        rows.saturating_mul(Self::row(measure))
    }

    const fn pages(pages: usize, measure: Measure) -> usize {
        pages.saturating_mul(Self::page(measure))
    }

    /// Bytes of the tables and pages.
    #[inline(always)]
    pub(crate) const fn bytes(&self, measure: Measure) -> usize {
        self.rows * Self::row(measure) + self.present * Self::page(measure)
    }

    /// Bytes that taking one more place would be charged: what the table grows to, while it grows, and a
    /// page.
    pub(crate) const fn growth(&self) -> usize {
        self.growth_by(1)
    }

    /// As [`growth`](Self::growth), for so many places, one taken after the other.
    pub(crate) const fn growth_by(&self, more: usize) -> usize {
        let measure = Measure::Charged;
        let free = self.present * PAGE - self.used;
        if more <= free {
            return 0;
        }
        let pages = (more - free).div_ceil(PAGE);
        let (had, needed) = (self.rows, rows(self.present.saturating_add(pages)));
        let tables = if needed > had {
            // Before the last growth there are half as many.
            let before = if needed > 4 { needed / 2 } else { 0 };
            Self::tables(needed + before - had, measure)
        } else {
            0
        };
        Self::pages(pages, measure).saturating_add(tables)
    }
}

impl<T: Default, G: Copy + Default> Slab<T, G> {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Places whose pages stay: what was taken once is taken again without an allocation.
    pub(crate) fn keeping() -> Self {
        Self { keeps: true, ..Self::default() }
    }

    #[inline]
    fn entry(&self, at: u32) -> Option<&Entry<T, G>> {
        let page = self.places.get(at as usize / PAGE)?.as_ref()?;
        Some(&page[at as usize % PAGE])
    }

    #[inline]
    fn entry_mut(&mut self, at: u32) -> Option<&mut Entry<T, G>> {
        let page = self.places.get_mut(at as usize / PAGE)?.as_mut()?;
        Some(&mut page[at as usize % PAGE])
    }

    #[inline]
    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        self.entry(at).map(|entry| &entry.thing)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.entry_mut(at).map(|entry| &mut entry.thing)
    }

    fn put(&mut self, generation: G, thing: T) -> Option<u32> {
        if self.open.is_empty() {
            self.add_page()?;
        }
        let at = self.open.first();
        let page = self.pages.get_mut(at as usize)?;
        if page.used == 0 {
            self.empty -= 1;
        }
        let place = page.free[PAGE - 1 - usize::from(page.used)];
        page.used += 1;
        self.used += 1;
        if let Some(Some(places)) = self.places.get_mut(at as usize) {
            places[usize::from(place)] = Entry { generation, thing };
        }
        if usize::from(page.used) == PAGE {
            self.open.remove(&mut self.pages, at);
        }
        Some(at * PAGE as u32 + u32::from(place))
    }

    /// Takes a thing out of its place, which is free then.
    pub(crate) fn remove(&mut self, at: u32) -> Option<T> {
        let number = at / PAGE as u32;
        let Entry { thing, .. } = core::mem::take(self.entry_mut(at)?);
        let page = self.pages.get_mut(number as usize)?;
        let was_full = usize::from(page.used) == PAGE;
        page.used -= 1;
        self.used -= 1;
        page.free[PAGE - 1 - usize::from(page.used)] = (at as usize % PAGE) as u8;
        let is_empty = page.used == 0;
        if !was_full {
            self.open.remove(&mut self.pages, number);
        }
        if is_empty && self.empty > 0 && !self.keeps {
            self.present -= 1;
            self.places[number as usize] = None;
            self.gone.push_front(&mut self.pages, number);
        } else {
            self.empty += usize::from(is_empty);
            self.open.push_front(&mut self.pages, number);
        }
        Some(thing)
    }

    fn add_page(&mut self) -> Option<()> {
        let places: Vec<_> = core::iter::repeat_with(Entry::default).take(PAGE).collect();
        let places: Places<T, G> = places.into_boxed_slice().try_into().ok()?;
        let free = core::array::from_fn(|place| (PAGE - 1 - place) as u8);
        let page = Page { free, used: 0, link: Link::default() };
        let number = match self.gone.pop(&mut self.pages) {
            Some(number) => {
                self.pages[number as usize] = page;
                self.places[number as usize] = Some(places);
                number
            }
            None => {
                let number = u32::try_from(self.pages.len()).ok()?;
                // The last number stands for no place.
                number.checked_add(1)?.checked_mul(PAGE as u32)?;
                if self.pages.len() == self.rows {
                    self.rows = rows(self.rows + 1);
                    let more = self.rows - self.pages.len();
                    self.pages.reserve_exact(more);
                    self.places.reserve_exact(more);
                }
                self.pages.push(page);
                self.places.push(Some(places));
                number
            }
        };
        self.present += 1;
        self.empty += 1;
        self.open.push_front(&mut self.pages, number);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_what_taking_places_allocates() {
        let mut slab = Slab::new();
        for taken in 0..1000_u64 {
            for more in 1..=3 {
                let (estimate, before) = (slab.growth_by(more), slab.bytes(Measure::Charged));
                let places: Vec<_> = (0..more).map(|_| slab.insert(7).unwrap()).collect();
                let grown = slab.bytes(Measure::Charged) - before;
                places.into_iter().for_each(|at| assert_eq!(slab.remove(at), Some(7)));
                // While a table grows, the old one is there too.
                assert!(
                    estimate >= grown,
                    "{more} more than {taken}: {grown} bytes, not {estimate}"
                );
                assert_eq!(estimate == 0, grown == 0, "{more} more than {taken}");
            }
            slab.insert(taken).unwrap();
        }
    }

    #[test]
    fn a_key_names_nothing_once_its_thing_went() {
        let mut slab = Keyed::new();
        let old = slab.insert_as(1, 'a').unwrap();
        assert!(slab.key(old.slot) == Some(old) && slab.find(old) == Some(&'a'));
        assert_eq!((slab.remove(old.slot), slab.find(old)), (Some('a'), None));
        let new = slab.insert_as(2, 'b').unwrap();
        assert_eq!(new.slot, old.slot);
        assert_eq!(slab.find(old), None);
        assert_eq!(slab.find_mut(new), Some(&mut 'b'));
    }

    #[test]
    fn things_stay_where_they_were_put() {
        let mut slab = Slab::new();
        let places: Vec<u32> = (1..=1000_u64).map(|thing| slab.insert(thing).unwrap()).collect();
        for (&at, thing) in places.iter().zip(1..) {
            assert_eq!(slab.get(at), Some(&thing));
        }
        assert_eq!(slab.remove(places[500]), Some(501));
        assert_eq!(slab.insert(7), Some(places[500]));
        assert_eq!(slab.get(5000), None);
    }

    #[test]
    fn what_goes_and_comes_in_turn_allocates_nothing() {
        let mut slab = Slab::new();
        let places: Vec<u32> = (0..PAGE as u64).map(|thing| slab.insert(thing).unwrap()).collect();
        let bytes = slab.bytes(Measure::Charged);
        for _ in 0..10 {
            assert_eq!(slab.remove(places[0]), Some(0));
            assert_eq!((slab.insert(0), slab.growth()), (Some(places[0]), 8 * PAGE));
        }
        assert_eq!(slab.bytes(Measure::Charged), bytes);
    }

    #[test]
    fn growth_is_what_the_next_thing_takes_at_most() {
        let mut slab = Slab::new();
        for thing in 0..10_000_u64 {
            let (before, growth) = (slab.bytes(Measure::Charged), slab.growth());
            slab.insert(thing).unwrap();
            assert!(slab.bytes(Measure::Charged) <= before + growth);
        }
    }

    #[test]
    fn a_slab_that_keeps_its_pages_takes_at_most_what_it_says() {
        for most in [1, 64, 65, 256, 257, 1000] {
            let mut slab = Slab::keeping();
            let fill = |slab: &mut Slab<u64>| -> Vec<u32> {
                (0..most as u64).map(|thing| slab.insert(thing).unwrap()).collect()
            };
            let places = fill(&mut slab);
            let bytes = slab.bytes(Measure::Charged);
            assert!(bytes <= Slab::<u64>::most(most), "{bytes} bytes for {most} places");
            places.into_iter().for_each(|at| assert!(slab.remove(at).is_some()));
            assert_eq!((slab.bytes(Measure::Charged), slab.growth_by(1)), (bytes, 0));
            fill(&mut slab);
            assert_eq!(slab.bytes(Measure::Charged), bytes);
        }
    }

    #[test]
    fn empty_pages_go_but_for_one() {
        let mut slab = Slab::new();
        let places: Vec<u32> = (0..1000_u64).map(|thing| slab.insert(thing).unwrap()).collect();
        for &at in &places {
            slab.remove(at);
        }
        assert_eq!((slab.present, slab.empty), (1, 1));
        let again: Vec<u32> = (0..1000_u64).map(|thing| slab.insert(thing).unwrap()).collect();
        assert!(again.iter().zip(0..).all(|(&at, thing)| slab.get(at) == Some(&thing)));
        assert_eq!((slab.present, slab.empty), (1000_usize.div_ceil(PAGE), 0));
    }
}
