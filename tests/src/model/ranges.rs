//! Naive models of `RangeMap` and `RangeSet`: one cell for each of 64 numbers, which lie at the
//! start, in the middle, or at the very end of all numbers.

use arbitrary::{Arbitrary, Result, Unstructured};
use gapless_core::ranges::{Full, Range, RangeMap, RangeSet};

/// How many numbers the models know.
const NUMBERS: u64 = 64;

/// One call; numbers are counted from the base of a [`Case`].
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// `RangeMap::push_back` above all others, or `RangeSet::insert_merging` anywhere.
    PushBack(u8, u8),
    /// `RangeMap::insert` where nothing is yet, or `RangeSet::insert_merging` anywhere.
    Insert(u8, u8),
    /// `remove`.
    Remove(u8, u8),
    /// `truncate_from` (maps only).
    TruncateFrom(u8),
    /// `pop_first` (maps only).
    PopFirst,
    /// `clear` (maps only).
    Clear,
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let first = u.int_in_range(0..=NUMBERS as u8 - 1)?;
        let last = if u.ratio(1, 4)? {
            u.int_in_range(first..=NUMBERS as u8 - 1)?
        } else {
            u.int_in_range(first..=(first + 5).min(NUMBERS as u8 - 1))?
        };
        Ok(match u.int_in_range(0..=40)? {
            0 => Self::Clear,
            1..=2 => Self::TruncateFrom(first),
            3..=5 => Self::PopFirst,
            6..=20 => Self::Remove(first, last),
            21..=25 => Self::PushBack(first, last),
            _ => Self::Insert(first, last),
        })
    }
}

/// A random case: where the 64 numbers lie, how many ranges fit, and the calls.
#[derive(Clone, Debug)]
pub struct Case {
    base: u64,
    capacity: usize,
    ops: Vec<Op>,
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let base = *u.choose(&[0, 1 << 40, u64::MAX - (NUMBERS - 1)])?;
        let capacity = *u.choose(&[0, 1, 2, 3, 5, 8, 40])?;
        // Not a `Vec` by `arbitrary`, which would end at every second byte of random input.
        let ops = std::iter::from_fn(|| (!u.is_empty()).then(|| Op::arbitrary(u)));
        Ok(Self { base, capacity, ops: ops.collect::<Result<_>>()? })
    }
}

/// The value of each number. Ranges are the runs of equal cells.
type Cells = [Option<u32>; NUMBERS as usize];

fn runs(cells: &Cells, base: u64) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for (sequence, cell) in (base..=base + (NUMBERS - 1)).zip(cells) {
        match (runs.last_mut(), cell) {
            (Some(run), Some(value)) if run.value == *value && run.last + 1 == sequence => {
                run.last = sequence;
            }
            (_, Some(value)) => runs.push(Range { first: sequence, last: sequence, value: *value }),
            (_, None) => (),
        }
    }
    runs
}

/// Plays a case on a `RangeMap`. Values are numbers of calls, so that no two ranges are alike.
///
/// # Panics
/// The map differs from the model.
pub fn check_map(case: &Case) {
    let mut map = RangeMap::with_capacity(case.capacity);
    let memory = map.memory_used();
    let mut cells: Cells = [None; NUMBERS as usize];
    for (number, op) in case.ops.iter().enumerate() {
        let before = cells;
        let value = number as u32;
        let mut removed = Vec::new();
        let result = match *op {
            Op::PushBack(first, last)
                if cells[usize::from(first)..].iter().all(Option::is_none) =>
            {
                fill(&mut cells, first, last, Some(value));
                let (first, last) = numbers(case.base, first, last);
                map.push_back(Range { first, last, value })
            }
            Op::Insert(first, last) if is_free(&cells, first, last) => {
                fill(&mut cells, first, last, Some(value));
                let (first, last) = numbers(case.base, first, last);
                map.insert(first, last, value)
            }
            Op::PushBack(..) | Op::Insert(..) => continue,
            Op::Remove(first, last) => {
                fill(&mut cells, first, last, None);
                let (first, last) = numbers(case.base, first, last);
                map.remove(first, last, |range| removed.push(range))
            }
            Op::TruncateFrom(first) => {
                fill(&mut cells, first, NUMBERS as u8 - 1, None);
                map.truncate_from(case.base + u64::from(first), |range| removed.push(range));
                Ok(())
            }
            Op::PopFirst => {
                if let Some(lowest) = runs(&cells, case.base).first() {
                    cells
                        .iter_mut()
                        .filter(|cell| **cell == Some(lowest.value))
                        .take(lowest.len() as usize)
                        .for_each(|cell| *cell = None);
                }
                removed.extend(map.pop_first());
                Ok(())
            }
            Op::Clear => {
                removed.extend(map.iter().copied());
                map.clear();
                cells = [None; NUMBERS as usize];
                Ok(())
            }
        };
        if runs(&cells, case.base).len() > case.capacity {
            assert_eq!(result, Err(Full { capacity: case.capacity }));
            assert_eq!(removed, [], "what is refused removes nothing");
            cells = before;
        } else {
            assert_eq!(result, Ok(()));
            assert_eq!(removed, taken_out(&before, &cells, case.base));
        }
        check(&map, &cells, case);
        assert_eq!(map.memory_used(), memory);
    }
}

/// Plays a case on a `RangeSet`.
///
/// # Panics
/// The set differs from the model.
pub fn check_set(case: &Case) {
    let mut set = RangeSet::with_capacity(case.capacity);
    let mut cells: Cells = [None; NUMBERS as usize];
    for op in &case.ops {
        let before = cells;
        let result = match *op {
            Op::PushBack(first, last) | Op::Insert(first, last) => {
                fill(&mut cells, first, last, Some(0));
                let (first, last) = numbers(case.base, first, last);
                set.insert_merging(first, last)
            }
            Op::Remove(first, last) => {
                fill(&mut cells, first, last, None);
                let (first, last) = numbers(case.base, first, last);
                set.remove(first, last, |_| ())
            }
            Op::TruncateFrom(_) | Op::PopFirst | Op::Clear => continue,
        };
        if runs(&cells, case.base).len() > case.capacity {
            assert_eq!(result, Err(Full { capacity: case.capacity }));
            cells = before;
        } else {
            assert_eq!(result, Ok(()));
        }
        let bounds = |range: &Range<u32>| (range.first, range.last);
        let expected: Vec<_> = runs(&cells, case.base).iter().map(bounds).collect();
        let found: Vec<_> = set.iter().map(|range| (range.first, range.last)).collect();
        assert_eq!(found, expected);
    }
}

/// Compares every question that a map answers.
fn check(map: &RangeMap<u32>, cells: &Cells, case: &Case) {
    let expected = runs(cells, case.base);
    assert_eq!(map.iter().copied().collect::<Vec<_>>(), expected);
    assert_eq!(map.len(), expected.len());
    assert_eq!(map.is_empty(), expected.is_empty());
    assert_eq!(map.is_full(), expected.len() == case.capacity);
    assert_eq!(map.first(), expected.first());
    assert_eq!(map.last_range(), expected.last());
    assert_eq!(map.count_numbers(), cells.iter().flatten().count() as u128);
    for (sequence, cell) in (case.base..=case.base + (NUMBERS - 1)).zip(cells) {
        let index = expected.iter().take_while(|range| range.last < sequence).count();
        assert_eq!(map.find(sequence), if cell.is_some() { Ok(index) } else { Err(index) });
        assert_eq!(map.contains(sequence), cell.is_some());
        assert_eq!(map.get(index), expected.get(index));
    }
}

/// The runs of what was there before and is not there any more.
fn taken_out(before: &Cells, after: &Cells, base: u64) -> Vec<Range<u32>> {
    let mut gone = *before;
    gone.iter_mut()
        .zip(after)
        .filter(|(_, after)| after.is_some())
        .for_each(|(cell, _)| *cell = None);
    runs(&gone, base)
}

fn is_free(cells: &Cells, first: u8, last: u8) -> bool {
    cells[usize::from(first)..=usize::from(last)].iter().all(Option::is_none)
}

fn fill(cells: &mut Cells, first: u8, last: u8, value: Option<u32>) {
    cells[usize::from(first)..=usize::from(last)].fill(value);
}

fn numbers(base: u64, first: u8, last: u8) -> (u64, u64) {
    (base + u64::from(first), base + u64::from(last))
}
