//! A bounded set of sequence ranges: the memory of the gap machinery.
//!
//! [`RangeMap`] keeps disjoint ranges of numbers in ascending order, each with a value; [`RangeSet`]
//! is the same without values, and merges neighbours. Ranges are inclusive, so that `u64::MAX` is a
//! number like any other and nothing overflows. Memory is allocated once, at construction; what
//! does not fit is refused and changes nothing.

use alloc::collections::VecDeque;
use alloc::collections::vec_deque;
use core::fmt;

/// The numbers `first..=last`, and a value for all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range<T> {
    /// The first number.
    pub first: u64,
    /// The last number, not below the first.
    pub last: u64,
    /// What is kept about them.
    pub value: T,
}

impl<T> Range<T> {
    /// How many numbers the range has, from 1; `u64::MAX` stands for 2^64 too.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// Never: a range has at least one number.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Whether it holds a number.
    #[inline]
    #[must_use]
    pub const fn contains(&self, sequence: u64) -> bool {
        self.first <= sequence && sequence <= self.last
    }
}

/// There would be more ranges than there is room for. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("all {capacity} ranges are taken")]
pub struct Full {
    /// How many ranges there is room for.
    pub capacity: usize,
}

/// Disjoint ranges in ascending order, each with a value, never more than its capacity.
///
/// Neighbours are not merged: what was put in as two ranges stays two ranges. Look-ups take
/// O(log n), and O(1) at either end. Putting in and taking out moves the ranges of the shorter side:
/// O(1) at either end, O(n) in the middle. Nothing is allocated after construction.
pub struct RangeMap<T: Copy> {
    ranges: VecDeque<Range<T>>,
    capacity: usize,
}

/// Disjoint ranges without values.
pub type RangeSet = RangeMap<()>;

impl<T: Copy> RangeMap<T> {
    /// An empty map with room for `capacity` ranges, which it allocates here and now.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { ranges: VecDeque::with_capacity(capacity), capacity }
    }

    /// How many ranges there is room for.
    #[inline]
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many ranges there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are no ranges.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether there is no room for one more range.
    #[inline]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.ranges.len() >= self.capacity
    }

    /// The bytes allocated, which never change.
    #[must_use]
    pub fn memory_used(&self) -> usize {
        self.ranges.capacity() * size_of::<Range<T>>()
    }

    /// The range at an index, counted from the lowest.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Range<T>> {
        self.ranges.get(index)
    }

    /// The value of the range at an index.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.ranges.get_mut(index).map(|range| &mut range.value)
    }

    /// The lowest range.
    #[inline]
    #[must_use]
    pub fn first(&self) -> Option<&Range<T>> {
        self.ranges.front()
    }

    /// The highest range.
    #[inline]
    #[must_use]
    pub fn last_range(&self) -> Option<&Range<T>> {
        self.ranges.back()
    }

    /// The ranges in ascending order.
    #[inline]
    pub fn iter(&self) -> vec_deque::Iter<'_, Range<T>> {
        self.ranges.iter()
    }

    /// The ranges in ascending order, from an index on; none past the end.
    #[inline]
    pub fn iter_from(&self, index: usize) -> vec_deque::Iter<'_, Range<T>> {
        self.ranges.range(index.min(self.ranges.len())..)
    }

    /// Where a number is: `Ok(index)` of the range that holds it, or `Err(index)` of the first range
    /// after it, which is [`RangeMap::len`] when there is none.
    ///
    /// # Errors
    /// No range holds the number.
    #[inline]
    pub fn find(&self, sequence: u64) -> Result<usize, usize> {
        let index = self.not_before(sequence);
        match self.ranges.get(index) {
            Some(range) if range.first <= sequence => Ok(index),
            _ => Err(index),
        }
    }

    /// Whether a range holds the number.
    #[inline]
    #[must_use]
    pub fn contains(&self, sequence: u64) -> bool {
        self.find(sequence).is_ok()
    }

    /// How many numbers all ranges have together. O(n).
    #[must_use]
    pub fn count_numbers(&self) -> u128 {
        self.ranges.iter().map(|range| u128::from(range.last - range.first) + 1).sum()
    }

    /// Appends a range above all others. It is not merged with its neighbour.
    ///
    /// # Errors
    /// There is no room.
    #[inline]
    pub fn push_back(&mut self, range: Range<T>) -> Result<(), Full> {
        debug_assert!(range.first <= range.last);
        debug_assert!(self.ranges.back().is_none_or(|back| back.last < range.first));
        if self.is_full() {
            return Err(self.full());
        }
        self.ranges.push_back(range);
        Ok(())
    }

    /// Puts in `first..=last`, none of which is there yet. It is not merged with its neighbours.
    ///
    /// # Errors
    /// There is no room.
    pub fn insert(&mut self, first: u64, last: u64, value: T) -> Result<(), Full> {
        debug_assert!(first <= last);
        let index = self.not_before(first);
        debug_assert!(self.ranges.get(index).is_none_or(|next| last < next.first));
        if self.is_full() {
            return Err(self.full());
        }
        self.ranges.insert(index, Range { first, last, value });
        Ok(())
    }

    /// Takes every number of `first..=last` out. `removed` is given what was there of it, range by
    /// range in ascending order. A range of which the middle is taken out becomes two ranges with
    /// the same value.
    ///
    /// # Errors
    /// A range would become two, and there is no room. Nothing has changed then, and `removed` was
    /// not called.
    pub fn remove(
        &mut self,
        first: u64,
        last: u64,
        mut removed: impl FnMut(Range<T>),
    ) -> Result<(), Full> {
        debug_assert!(first <= last);
        let mut start = self.not_before(first);
        let full = self.full();
        let is_full = self.is_full();
        let Some(range) = self.ranges.get_mut(start) else { return Ok(()) };
        if range.first < first {
            let cut = *range;
            if cut.last > last {
                if is_full {
                    return Err(full);
                }
                range.last = first - 1;
                self.ranges.insert(start + 1, Range { first: last + 1, ..cut });
                removed(Range { first, last, ..cut });
                return Ok(());
            }
            range.last = first - 1;
            removed(Range { first, ..cut });
            start += 1;
        }
        self.remove_whole(start, last, &mut removed);
        if let Some(range) = self.ranges.get_mut(start).filter(|range| range.first <= last) {
            let cut = *range;
            range.first = last + 1;
            removed(Range { last, ..cut });
        }
        Ok(())
    }

    /// Takes every number from `first` on out. `removed` is given what was there of them, range by
    /// range in ascending order.
    pub fn truncate_from(&mut self, first: u64, mut removed: impl FnMut(Range<T>)) {
        let mut start = self.not_before(first);
        if let Some(range) = self.ranges.get_mut(start).filter(|range| range.first < first) {
            let cut = *range;
            range.last = first - 1;
            removed(Range { first, ..cut });
            start += 1;
        }
        self.ranges.drain(start..).for_each(removed);
    }

    /// Takes the lowest range out.
    #[inline]
    pub fn pop_first(&mut self) -> Option<Range<T>> {
        self.ranges.pop_front()
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// Index of the first range that does not lie wholly before `sequence`.
    #[inline]
    fn not_before(&self, sequence: u64) -> usize {
        match (self.ranges.front(), self.ranges.back()) {
            (Some(front), _) if sequence <= front.last => 0,
            (_, Some(back)) if sequence <= back.last => {
                self.ranges.partition_point(|range| range.last < sequence)
            }
            _ => self.ranges.len(),
        }
    }

    /// Takes out the ranges from index `start` on that end at or before `last`.
    #[inline]
    fn remove_whole(&mut self, start: usize, last: u64, removed: &mut impl FnMut(Range<T>)) {
        let ends_within = |range: &Range<T>| range.last <= last;
        if !self.ranges.get(start).is_some_and(ends_within) {
            return;
        }
        if self.ranges.get(start + 1).is_some_and(ends_within) {
            let end = self.ranges.partition_point(ends_within);
            self.ranges.drain(start..end).for_each(removed);
        } else if let Some(range) = self.ranges.remove(start) {
            removed(range);
        }
    }

    const fn full(&self) -> Full {
        Full { capacity: self.capacity }
    }
}

impl RangeSet {
    /// Adds `first..=last`, of which some may be there already. Ranges that then overlap or lie
    /// side by side become one.
    ///
    /// # Errors
    /// It touches no range that is there, and there is no room for one more.
    pub fn insert_merging(&mut self, first: u64, last: u64) -> Result<(), Full> {
        debug_assert!(first <= last);
        let start = self.not_before(first.saturating_sub(1));
        let end = self.not_after(last.saturating_add(1));
        if start == end {
            if self.is_full() {
                return Err(self.full());
            }
            self.ranges.insert(start, Range { first, last, value: () });
            return Ok(());
        }
        let highest = self.ranges[end - 1].last.max(last);
        let merged = &mut self.ranges[start];
        merged.first = merged.first.min(first);
        merged.last = highest;
        self.ranges.drain(start + 1..end);
        Ok(())
    }

    /// Index of the first range that lies wholly after `sequence`.
    #[inline]
    fn not_after(&self, sequence: u64) -> usize {
        self.ranges.partition_point(|range| range.first <= sequence)
    }
}

impl<'a, T: Copy> IntoIterator for &'a RangeMap<T> {
    type Item = &'a Range<T>;
    type IntoIter = vec_deque::Iter<'a, Range<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for RangeMap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn map(ranges: &[(u64, u64, char)], capacity: usize) -> RangeMap<char> {
        let mut map = RangeMap::with_capacity(capacity);
        for &(first, last, value) in ranges {
            map.push_back(Range { first, last, value }).unwrap();
        }
        map
    }

    fn set(ranges: &[(u64, u64)], capacity: usize) -> RangeSet {
        let mut set = RangeSet::with_capacity(capacity);
        for &(first, last) in ranges {
            set.insert_merging(first, last).unwrap();
        }
        set
    }

    fn listed(map: &RangeMap<char>) -> Vec<(u64, u64, char)> {
        map.iter().map(|range| (range.first, range.last, range.value)).collect()
    }

    fn bounds(set: &RangeSet) -> Vec<(u64, u64)> {
        set.iter().map(|range| (range.first, range.last)).collect()
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
        assert_eq!(map.find(1), Err(0));
        assert_eq!(map.find(3), Ok(0));
        assert_eq!(map.find(4), Err(1));
        assert_eq!(map.find(5), Ok(1));
        assert_eq!(map.find(7), Err(2));
        assert_eq!(map.find(8), Ok(2));
        assert_eq!(map.find(10), Err(3));
        assert_eq!(map.iter_from(2).map(|range| range.value).collect::<Vec<_>>(), ['c']);
        assert_eq!(map.iter_from(9).count(), 0);
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
        *map.get_mut(1).unwrap() = 'z';
        assert_eq!(listed(&map), [(1, 1, 'a'), (9, 9, 'z')]);
        assert_eq!(map.get_mut(2), None);
    }

    #[test]
    fn removing_the_middle_leaves_both_sides_with_their_value() {
        let mut map = map(&[(10, 20, 'a')], 2);
        assert_eq!(take(&mut map, 12, 13), [(12, 13, 'a')]);
        assert_eq!(listed(&map), [(10, 11, 'a'), (14, 20, 'a')]);
    }

    #[test]
    fn removing_across_ranges_tells_each_piece_in_order() {
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
        assert_eq!(refused, Err(Full { capacity: 2 }));
        assert_eq!(listed(&map), [(1, 3, 'a'), (5, 9, 'b')]);
        assert_eq!(take(&mut map, 8, 9), [(8, 9, 'b')], "a cut needs no room");
    }

    #[test]
    fn a_full_map_refuses_another_range() {
        let mut map = map(&[(1, 3, 'a'), (9, 9, 'b')], 2);
        assert!(map.is_full());
        assert_eq!(map.insert(5, 6, 'c'), Err(Full { capacity: 2 }));
        let above = Range { first: 20, last: 20, value: 'd' };
        assert_eq!(map.push_back(above), Err(Full { capacity: 2 }));
        assert_eq!(listed(&map), [(1, 3, 'a'), (9, 9, 'b')]);
    }

    #[test]
    fn truncating_cuts_a_range_and_drops_what_lies_behind_it() {
        let mut map = map(&[(1, 4, 'a'), (6, 6, 'b')], 2);
        let mut removed = Vec::new();
        map.truncate_from(3, |range| removed.push((range.first, range.last, range.value)));
        assert_eq!(removed, [(3, 4, 'a'), (6, 6, 'b')]);
        assert_eq!(listed(&map), [(1, 2, 'a')]);
        map.truncate_from(0, |_| ());
        assert!(map.is_empty());
    }

    #[test]
    fn the_lowest_range_pops_first() {
        let mut map = map(&[(1, 4, 'a'), (6, 6, 'b')], 2);
        assert_eq!(map.pop_first(), Some(Range { first: 1, last: 4, value: 'a' }));
        assert_eq!(map.first().map(|range| range.value), Some('b'));
        map.clear();
        assert_eq!(map.pop_first(), None);
    }

    #[test]
    fn the_first_and_the_last_number_are_numbers_like_any_other() {
        let mut map = map(&[(0, u64::MAX, 'a')], 2);
        assert_eq!(map.count_numbers(), 1 << 64);
        assert_eq!(map.first().unwrap().len(), u64::MAX);
        assert!(map.contains(0) && map.contains(u64::MAX));
        assert_eq!(take(&mut map, u64::MAX, u64::MAX), [(u64::MAX, u64::MAX, 'a')]);
        assert_eq!(take(&mut map, 0, 0), [(0, 0, 'a')]);
        assert_eq!(listed(&map), [(1, u64::MAX - 1, 'a')]);
        map.push_back(Range { first: u64::MAX, last: u64::MAX, value: 'b' }).unwrap();
        assert_eq!(map.find(u64::MAX), Ok(1));
        assert_eq!(take(&mut map, 0, u64::MAX).len(), 2);
        assert!(map.is_empty());
    }

    #[test]
    fn a_set_merges_what_overlaps_or_lies_side_by_side() {
        let mut set = set(&[(1, 2), (5, 6), (9, 9)], 3);
        set.insert_merging(3, 3).unwrap();
        assert_eq!(bounds(&set), [(1, 3), (5, 6), (9, 9)]);
        set.insert_merging(4, 8).unwrap();
        assert_eq!(bounds(&set), [(1, 9)]);
        set.insert_merging(2, 3).unwrap();
        assert_eq!(bounds(&set), [(1, 9)]);
    }

    #[test]
    fn a_full_set_still_grows_the_ranges_that_it_has() {
        let mut set = set(&[(2, 3), (7, 8)], 2);
        assert_eq!(set.insert_merging(5, 5), Err(Full { capacity: 2 }));
        assert_eq!(bounds(&set), [(2, 3), (7, 8)]);
        set.insert_merging(4, 4).unwrap();
        set.insert_merging(6, 6).unwrap();
        assert_eq!(bounds(&set), [(2, 4), (6, 8)]);
    }

    #[test]
    fn a_set_merges_at_both_ends_of_the_numbers() {
        let mut set = set(&[(0, 0), (u64::MAX, u64::MAX)], 2);
        set.insert_merging(1, 1).unwrap();
        set.insert_merging(u64::MAX - 1, u64::MAX).unwrap();
        assert_eq!(bounds(&set), [(0, 1), (u64::MAX - 1, u64::MAX)]);
        set.insert_merging(0, u64::MAX).unwrap();
        assert_eq!(bounds(&set), [(0, u64::MAX)]);
    }

    #[test]
    fn a_map_of_no_room_is_always_full() {
        let mut set = RangeSet::with_capacity(0);
        assert!(set.is_full() && set.is_empty());
        assert_eq!(set.insert_merging(1, 1), Err(Full { capacity: 0 }));
        assert_eq!(set.memory_used(), 0);
    }

    #[test]
    fn memory_used_is_what_its_ranges_take_from_the_start() {
        let mut map = RangeMap::<u64>::with_capacity(100);
        assert_eq!(map.memory_used(), 100 * 24);
        for first in 0..100 {
            map.insert(first * 2, first * 2, 0).unwrap();
        }
        assert_eq!(map.memory_used(), 100 * 24);
    }
}
