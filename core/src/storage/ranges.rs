//! A bounded map of sequence ranges: the memory of the gap machinery.
//!
//! [`RangeMap`] keeps disjoint ranges of numbers in ascending order, each with a value. Ranges are
//! inclusive, so that `u64::MAX` is a number like any other and nothing overflows. Memory is allocated
//! once, at construction; what does not fit is refused and changes nothing.

use core::cmp::Ordering;
use core::iter::successors;

use super::charge::{Charged, Measure};
use super::list::Link;
use super::slab::NONE;
use super::table::{InRow, Row, Table};
use super::tree::{Links, Tree, sorted};

/// The numbers `first..=last`, and a value for all of them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Range<T> {
    /// The first number.
    pub(crate) first: u64,
    /// The last number, not below the first.
    pub(crate) last: u64,
    /// The value that is kept about them.
    pub(crate) value: T,
}

impl<T> Range<T> {
    /// How many numbers the range has, from 1; `u64::MAX` stands for 2^64 too.
    #[inline]
    pub(crate) const fn len(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

/// There would be more ranges than there is room for. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Full;

/// A range, its neighbours, and its place in the tree.
#[derive(Clone, Copy, Default, Debug)]
struct Entry<T> {
    range: Range<T>,
    link: Link,
    links: Links,
}

impl<T: Charged> Charged for Entry<T> {
    const BYTES: usize = (T::BYTES + 36).next_multiple_of(8);
}

#[cfg(all(test, target_pointer_width = "64"))]
const _: () = super::charge::hold::<Entry<u64>>();

impl<T: Default> InRow for Entry<T> {
    fn link(&self) -> Link {
        self.link
    }

    fn set_link(&mut self, link: Link) {
        self.link = link;
    }
}

sorted!([T: Default] ByNumber, Table<Entry<T>>, links, |entry| entry.range.first);

/// Disjoint ranges in ascending order, each with a value, never more than its capacity.
///
/// Neighbours are not merged: what was put in as two ranges stays two ranges. Look-ups, putting in and
/// taking out take O(log n); look-ups at either end, and steps from a range to its neighbours, O(1). Nothing is
/// allocated after construction.
///
/// A place is good until its range is taken out; [`NONE`] is that of no range.
#[derive(Debug)]
pub(crate) struct RangeMap<T> {
    entries: Table<Entry<T>>,
    sorted: Tree<ByNumber>,
    /// In ascending order.
    row: Row,
}

impl<T: Charged> RangeMap<T> {
    /// The bytes of a map with room for `capacity` ranges.
    pub(crate) const fn bytes(capacity: usize, measure: Measure) -> usize {
        Table::<Entry<T>>::bytes(capacity, measure)
    }
}

impl<T: Copy + Default> RangeMap<T> {
    /// An empty map with room for `capacity` ranges, which it allocates here and now.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { entries: Table::new(capacity), sorted: Tree::EMPTY, row: Row::EMPTY }
    }

    /// How many ranges there is room for.
    #[inline]
    pub(crate) const fn capacity(&self) -> usize {
        self.entries.most()
    }

    /// How many ranges there are.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if there are no ranges.
    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.row.is_empty()
    }

    /// Returns true if there is no room for one more range.
    #[inline]
    pub(crate) const fn is_full(&self) -> bool {
        self.entries.is_full()
    }

    /// The range at a place.
    #[inline]
    pub(crate) fn get(&self, place: u32) -> Option<&Range<T>> {
        self.entries.get(place).map(|entry| &entry.range)
    }

    /// The range at a place, of which the numbers stay between those of its neighbours.
    #[inline]
    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut Range<T>> {
        self.entries.get_mut(place).map(|entry| &mut entry.range)
    }

    /// The lowest range.
    #[inline]
    pub(crate) fn first(&self) -> Option<&Range<T>> {
        self.get(self.row.first())
    }

    /// The highest range.
    #[inline]
    pub(crate) fn last(&self) -> Option<&Range<T>> {
        self.get(self.row.last())
    }

    /// The place of the lowest range.
    pub(crate) const fn first_place(&self) -> u32 {
        self.row.first()
    }

    /// The place of the highest range.
    pub(crate) const fn last_place(&self) -> u32 {
        self.row.last()
    }

    /// The place of the range before that at a place, or of the highest for [`NONE`].
    pub(crate) fn place_before(&self, place: u32) -> u32 {
        self.entries.get(place).map_or(self.row.last(), |entry| entry.link.previous)
    }

    /// The ranges in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Range<T>> {
        self.ranges_at(self.row.first())
    }

    /// The ranges in descending order.
    pub(crate) fn iter_back(&self) -> impl Iterator<Item = &Range<T>> {
        let previous = |entry: &&Entry<T>| self.entries.get(entry.link.previous);
        successors(self.entries.get(self.row.last()), previous).map(|entry| &entry.range)
    }

    /// The ranges that do not lie wholly before a number, in ascending order.
    pub(crate) fn ranges_from(&self, number: u64) -> impl Iterator<Item = &Range<T>> {
        self.ranges_at(self.at_or_after(number))
    }

    fn ranges_at(&self, place: u32) -> impl Iterator<Item = &Range<T>> {
        let next = |entry: &&Entry<T>| self.entries.get(entry.link.next);
        successors(self.entries.get(place), next).map(|entry| &entry.range)
    }

    /// The place of the first range that does not lie wholly before a number.
    pub(crate) fn at_or_after(&self, number: u64) -> u32 {
        let lies_before = |range: Option<&Range<T>>| range.is_none_or(|range| range.last < number);
        if lies_before(self.last()) {
            return NONE;
        }
        if !lies_before(self.first()) {
            return self.row.first();
        }
        let order = |place| match lies_before(self.get(place)) {
            true => Ordering::Less,
            false => Ordering::Greater,
        };
        self.sorted.at_or_after(&self.entries, order).unwrap_or(NONE)
    }

    /// The range that holds a number.
    pub(crate) fn find(&self, number: u64) -> Option<&Range<T>> {
        self.get(self.at_or_after(number)).filter(|range| range.first <= number)
    }

    /// The value of the range that holds a number.
    pub(crate) fn find_mut(&mut self, number: u64) -> Option<&mut T> {
        let place = self.at_or_after(number);
        self.get_mut(place).filter(|range| range.first <= number).map(|range| &mut range.value)
    }

    /// Puts in `first..=last`, none of which is there yet. It is not merged with its neighbours.
    pub(crate) fn insert(&mut self, first: u64, last: u64, value: T) -> Result<(), Full> {
        debug_assert!(first <= last);
        let behind = self.at_or_after(first);
        debug_assert!(self.get(behind).is_none_or(|next| last < next.first));
        self.insert_after(self.place_before(behind), Range { first, last, value })
    }

    fn insert_after(&mut self, previous: u32, range: Range<T>) -> Result<(), Full> {
        let place = self.entries.insert(Entry { range, ..Entry::default() }).ok_or(Full)?;
        self.row.insert_after(&mut self.entries, previous, place);
        self.sorted.insert(&mut self.entries, place);
        Ok(())
    }

    /// Takes out the range at a place.
    pub(crate) fn take(&mut self, place: u32) -> Option<Range<T>> {
        self.entries.get(place)?;
        self.row.remove(&mut self.entries, place);
        self.sorted.remove(&mut self.entries, place);
        self.entries.remove(place).map(|entry| entry.range)
    }

    /// Takes every number of `first..=last` out. `removed` is given what was there of it, range by
    /// range in ascending order. A range of which the middle is taken out becomes two ranges with
    /// the same value; where there is no room for both, nothing has changed, and `removed` was not called.
    pub(crate) fn remove(
        &mut self,
        first: u64,
        last: u64,
        mut removed: impl FnMut(Range<T>),
    ) -> Result<(), Full> {
        debug_assert!(first <= last);
        let mut place = self.at_or_after(first);
        let Some(&cut) = self.get(place) else { return Ok(()) };
        if cut.first < first {
            if cut.last > last {
                self.insert_after(place, Range { first: last + 1, ..cut })?;
            }
            if let Some(range) = self.get_mut(place) {
                range.last = first - 1;
            }
            removed(Range { first, last: cut.last.min(last), ..cut });
            place = self.place_behind(place);
        }
        while let Some(&range) = self.get(place).filter(|range| range.last <= last) {
            let behind = self.place_behind(place);
            self.take(place);
            removed(range);
            place = behind;
        }
        if let Some(range) = self.get_mut(place).filter(|range| range.first <= last) {
            let cut = *range;
            range.first = last + 1;
            removed(Range { last, ..cut });
        }
        Ok(())
    }

    fn place_behind(&self, place: u32) -> u32 {
        self.entries.get(place).map_or(NONE, |entry| entry.link.next)
    }

    /// Takes everything out.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        (self.sorted, self.row) = (Tree::EMPTY, Row::EMPTY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn map(ranges: &[(u64, u64, char)], capacity: usize) -> RangeMap<char> {
        let mut map = RangeMap::with_capacity(capacity);
        for &(first, last, value) in ranges {
            map.insert(first, last, value).unwrap();
        }
        map
    }

    fn listed(map: &RangeMap<char>) -> Vec<(u64, u64, char)> {
        map.iter().map(|range| (range.first, range.last, range.value)).collect()
    }

    fn take(map: &mut RangeMap<char>, first: u64, last: u64) -> Vec<(u64, u64, char)> {
        let mut removed = Vec::new();
        map.remove(first, last, |range| removed.push((range.first, range.last, range.value)))
            .unwrap();
        removed
    }

    #[test]
    fn a_number_is_found_in_its_range_or_before_the_next_one() {
        let map = map(&[(2, 3, 'a'), (5, 5, 'b'), (8, 9, 'c')], 3);
        let found = |number| map.find(number).map(|range| range.value);
        let behind = |number| map.ranges_from(number).next().map(|range| range.value);
        assert_eq!([1, 3, 4, 5].map(found), [None, Some('a'), None, Some('b')]);
        assert_eq!([7, 8, 10].map(found), [None, Some('c'), None]);
        assert_eq!([1, 3, 4, 5].map(behind), [Some('a'), Some('a'), Some('b'), Some('b')]);
        assert_eq!([7, 8, 10].map(behind), [Some('c'), Some('c'), None]);
    }

    #[test]
    fn ranges_side_by_side_in_a_map_stay_apart() {
        let mut map = map(&[(1, 3, 'a'), (4, 6, 'b')], 4);
        map.insert(7, 9, 'b').unwrap();
        assert_eq!(listed(&map), [(1, 3, 'a'), (4, 6, 'b'), (7, 9, 'b')]);
    }

    #[test]
    fn a_range_is_inserted_between_others() {
        let mut map = map(&[(1, 1, 'a'), (9, 9, 'c')], 3);
        map.insert(4, 6, 'b').unwrap();
        assert_eq!(listed(&map), [(1, 1, 'a'), (4, 6, 'b'), (9, 9, 'c')]);
    }

    #[test]
    fn a_value_can_be_changed_in_place() {
        let mut map = map(&[(1, 1, 'a'), (9, 9, 'b')], 2);
        *map.find_mut(9).unwrap() = 'z';
        assert_eq!(listed(&map), [(1, 1, 'a'), (9, 9, 'z')]);
        assert_eq!(map.find_mut(2), None);
    }

    #[test]
    fn removing_the_middle_leaves_both_sides_with_their_value() {
        let mut map = map(&[(10, 20, 'a')], 2);
        assert_eq!(take(&mut map, 12, 13), [(12, 13, 'a')]);
        assert_eq!(listed(&map), [(10, 11, 'a'), (14, 20, 'a')]);
    }

    #[test]
    fn removing_across_ranges_reports_each_piece_in_order() {
        let mut map = map(&[(1, 4, 'a'), (6, 6, 'b'), (7, 8, 'c'), (10, 14, 'd')], 4);
        assert_eq!(take(&mut map, 3, 11), [(3, 4, 'a'), (6, 6, 'b'), (7, 8, 'c'), (10, 11, 'd')]);
        assert_eq!(listed(&map), [(1, 2, 'a'), (12, 14, 'd')]);
    }

    #[test]
    fn removing_what_is_not_there_changes_nothing() {
        let mut map = map(&[(5, 6, 'a'), (10, 11, 'b')], 2);
        assert_eq!(take(&mut map, 7, 9), []);
        assert_eq!(take(&mut map, 12, u64::MAX), []);
        assert_eq!(take(&mut map, 0, 4), []);
        assert_eq!(listed(&map), [(5, 6, 'a'), (10, 11, 'b')]);
    }

    #[test]
    fn a_split_that_finds_no_room_is_refused_and_changes_nothing() {
        let mut map = map(&[(1, 3, 'a'), (5, 9, 'b')], 2);
        let refused = map.remove(7, 7, |_| panic!("nothing is removed"));
        assert_eq!(refused, Err(Full));
        assert_eq!(listed(&map), [(1, 3, 'a'), (5, 9, 'b')]);
        assert_eq!(take(&mut map, 8, 9), [(8, 9, 'b')], "a cut needs no room");
    }

    #[test]
    fn a_full_map_refuses_another_range() {
        let mut map = map(&[(1, 3, 'a'), (9, 9, 'b')], 2);
        assert!(map.is_full());
        assert_eq!(map.insert(5, 6, 'c'), Err(Full));
        assert_eq!(map.insert(20, 20, 'd'), Err(Full));
        assert_eq!(listed(&map), [(1, 3, 'a'), (9, 9, 'b')]);
    }

    #[test]
    fn truncating_cuts_a_range_and_drops_what_lies_behind_it() {
        let mut map = map(&[(1, 4, 'a'), (6, 6, 'b')], 2);
        let mut removed = Vec::new();
        let mut note = |range: Range<char>| removed.push((range.first, range.last, range.value));
        map.remove(3, u64::MAX, &mut note).unwrap();
        assert_eq!(removed, [(3, 4, 'a'), (6, 6, 'b')]);
        assert_eq!(listed(&map), [(1, 2, 'a')]);
        map.remove(0, u64::MAX, |_| ()).unwrap();
        assert!(map.is_empty());
    }

    #[test]
    fn the_first_and_the_last_number_are_numbers_like_any_other() {
        let mut map = map(&[(0, u64::MAX, 'a')], 2);
        assert_eq!(map.first().unwrap().len(), u64::MAX);
        assert!(map.find(0).is_some() && map.find(u64::MAX).is_some());
        assert_eq!(take(&mut map, u64::MAX, u64::MAX), [(u64::MAX, u64::MAX, 'a')]);
        assert_eq!(take(&mut map, 0, 0), [(0, 0, 'a')]);
        assert_eq!(listed(&map), [(1, u64::MAX - 1, 'a')]);
        map.insert(u64::MAX, u64::MAX, 'b').unwrap();
        assert_eq!(map.find(u64::MAX).map(|range| range.value), Some('b'));
        assert_eq!(take(&mut map, 0, u64::MAX).len(), 2);
        assert!(map.is_empty());
    }

    #[test]
    fn a_map_of_no_room_is_always_full() {
        let mut map = map(&[], 0);
        assert!(map.is_full() && map.is_empty());
        assert_eq!(map.insert(1, 1, 'a'), Err(Full));
    }

    #[test]
    fn nothing_is_allocated_after_construction() {
        let mut map = RangeMap::<u64>::with_capacity(100);
        assert_eq!(map.entries.memory(Measure::Taken), RangeMap::<u64>::bytes(100, Measure::Taken));
        for first in 0..100 {
            map.insert(first * 2, first * 2, 0).unwrap();
        }
        assert_eq!(map.entries.memory(Measure::Taken), RangeMap::<u64>::bytes(100, Measure::Taken));
    }

    /// The owner of each of 64 numbers. Ranges are the runs of equal cells.
    type Cells = [Option<u32>; 64];

    fn runs(cells: &Cells, base: u64) -> Vec<Range<u32>> {
        let mut runs: Vec<Range<u32>> = Vec::new();
        for (at, cell) in (0..).zip(cells) {
            let Some(value) = *cell else { continue };
            match runs.last_mut() {
                Some(run) if run.value == value && run.last + 1 == base + at => run.last += 1,
                _ => runs.push(Range { first: base + at, last: base + at, value }),
            }
        }
        runs
    }

    /// Makes a call at random, with a value of its own, on a map and on its cells.
    fn play(map: &mut RangeMap<u32>, cells: &mut Cells, base: u64, random: u64, value: u32) {
        let before = *cells;
        let start = (random >> 58) as usize;
        let most = if random >> 40 & 3 == 0 { 64 } else { 6 };
        let end = (start + (random >> 48) as usize % most).min(63);
        let (first, last) = (base + start as u64, base + end as u64);
        let mut removed = Vec::new();
        let result = match random >> 32 & 0x1F {
            0 => {
                *cells = [None; 64];
                removed.extend(map.iter().copied());
                map.clear();
                Ok(())
            }
            1..=2 => {
                cells[start..].fill(None);
                map.remove(first, u64::MAX, |range| removed.push(range))
            }
            3..=13 => {
                cells[start..=end].fill(None);
                map.remove(first, last, |range| removed.push(range))
            }
            14..=19 if cells[start..].iter().all(Option::is_none) => {
                cells[start..=end].fill(Some(value));
                map.insert(first, last, value)
            }
            20.. if cells[start..=end].iter().all(Option::is_none) => {
                cells[start..=end].fill(Some(value));
                map.insert(first, last, value)
            }
            _ => return,
        };
        if runs(cells, base).len() > map.capacity() {
            assert_eq!(result, Err(Full));
            assert_eq!(removed, [], "what is refused removes nothing");
            *cells = before;
        } else {
            assert_eq!(result, Ok(()));
            let mut gone = before;
            gone.iter_mut()
                .zip(&*cells)
                .filter(|(_, now)| now.is_some())
                .for_each(|(cell, _)| *cell = None);
            assert_eq!(removed, runs(&gone, base));
        }
    }

    #[test]
    fn a_map_does_what_64_cells_do() {
        let mut random = 1_u64;
        let bases = [0, 1 << 40, u64::MAX - 63];
        for (round, base) in (0..3000).zip(bases.into_iter().cycle()) {
            let capacity = [0, 1, 2, 3, 5, 8, 40][round % 7];
            let (mut map, mut cells) = (RangeMap::with_capacity(capacity), [None; 64]);
            for value in 0..60 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                play(&mut map, &mut cells, base, random, value);
                let expected = runs(&cells, base);
                assert_eq!(map.iter().copied().collect::<Vec<_>>(), expected);
                assert_eq!((map.len(), map.is_empty()), (expected.len(), expected.is_empty()));
                assert_eq!(map.is_full(), expected.len() == capacity);
                assert_eq!((map.first(), map.last()), (expected.first(), expected.last()));
                assert!(map.iter_back().eq(expected.iter().rev()));
                for (at, cell) in (0..).zip(&cells) {
                    let index = expected.iter().take_while(|range| range.last < base + at).count();
                    let found = map.find(base + at);
                    assert_eq!(found, expected.get(index).filter(|_| cell.is_some()));
                    assert!(map.ranges_from(base + at).eq(&expected[index..]));
                }
            }
        }
    }
}
