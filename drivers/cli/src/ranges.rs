//! A growing record of sequence ranges: what a line dropped, what a session lost.
//!
//! Neighbours merge, so memory follows the number of holes and not of messages, and past
//! [`Ranges::LIMIT`] ranges further messages are only counted.

use serde::{Serialize, Serializer};
use std::fmt;

/// Ranges of sequence numbers, both ends included, in ascending order and apart from each other.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub(crate) struct Ranges {
    ranges: Vec<(u64, u64)>,
    messages: u64,
    unlisted: u64,
}

impl Ranges {
    /// The most ranges that are listed: 16 MiB of them.
    const LIMIT: usize = 1 << 20;

    /// Adds `first..=last`. What is in it already is not counted again.
    pub(crate) fn insert(&mut self, first: u64, last: u64) {
        if last < first {
            return;
        }
        // Everything that overlaps or touches the new range melts into it.
        let start = self.ranges.partition_point(|&(_, end)| end < first.saturating_sub(1));
        let end = self.ranges.partition_point(|&(start, _)| start <= last.saturating_add(1));
        let touched = self.ranges.get(start..end).unwrap_or_default();
        let before: u64 = touched.iter().map(length).sum();
        let merged = match (touched.first(), touched.last()) {
            (Some(&(low, _)), Some(&(_, high))) => (first.min(low), last.max(high)),
            _ if self.ranges.len() >= Self::LIMIT => {
                self.unlisted = self.unlisted.saturating_add(length(&(first, last)));
                return;
            }
            _ => (first, last),
        };
        self.messages = self.messages.saturating_add(length(&merged).saturating_sub(before));
        if end == start + 1 {
            self.ranges[start] = merged;
        } else {
            self.ranges.splice(start..end, [merged]);
        }
    }

    /// The ranges.
    pub(crate) fn as_slice(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// How many messages were added, those that are not listed included.
    pub(crate) fn messages(&self) -> u64 {
        self.messages.saturating_add(self.unlisted)
    }

    /// Whether nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages() == 0
    }

    /// The first of them, with the number of messages of all, and how many more there are.
    pub(crate) fn first_few(&self) -> (Self, usize) {
        const SHOWN: usize = 16;
        match self.ranges.len().checked_sub(SHOWN) {
            None | Some(0) => (self.clone(), 0),
            Some(more) => {
                let ranges = self.ranges[..SHOWN].to_vec();
                (Self { ranges, messages: self.messages(), unlisted: 0 }, more)
            }
        }
    }

    /// The first of them in words, and how many more there are.
    pub(crate) fn brief(&self) -> String {
        match self.first_few() {
            (_, 0) => self.to_string(),
            (few, more) => format!("{few}, and {more} more ranges"),
        }
    }

    /// Whether `number` is listed.
    pub(crate) fn contains(&self, number: u64) -> bool {
        let next = self.ranges.partition_point(|&(_, end)| end < number);
        self.ranges.get(next).is_some_and(|&(start, _)| start <= number)
    }
}

fn length(&(first, last): &(u64, u64)) -> u64 {
    (last - first).saturating_add(1)
}

impl Serialize for Ranges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.ranges.serialize(serializer)
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        match self.unlisted {
            0 => Ok(()),
            unlisted => write!(f, ", and {unlisted} more messages"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(list: &[(u64, u64)]) -> Ranges {
        let mut ranges = Ranges::default();
        for &(first, last) in list {
            ranges.insert(first, last);
        }
        ranges
    }

    #[test]
    fn of_many_ranges_the_first_are_named_in_brief() {
        let many: Vec<_> = (1..=20).map(|number| (number * 10, number * 10)).collect();
        assert!(ranges(&many).brief().ends_with("150, 160, and 4 more ranges"));
        assert_eq!(ranges(&many[..2]).brief(), "10, 20");
        let (few, more) = ranges(&many).first_few();
        assert_eq!((few.as_slice().len(), few.messages(), more), (16, 20, 4));
        assert_eq!(ranges(&many[..16]).first_few(), (ranges(&many[..16]), 0));
    }

    #[test]
    fn neighbours_merge() {
        assert_eq!(ranges(&[(1, 3), (4, 6)]).as_slice(), [(1, 6)]);
        assert_eq!(ranges(&[(4, 6), (1, 3)]).as_slice(), [(1, 6)]);
        assert_eq!(ranges(&[(1, 1), (3, 3), (2, 2)]).as_slice(), [(1, 3)]);
    }

    #[test]
    fn ranges_apart_stay_apart_in_order() {
        assert_eq!(ranges(&[(7, 9), (1, 3)]).as_slice(), [(1, 3), (7, 9)]);
    }

    #[test]
    fn what_is_added_twice_counts_once() {
        let ranges = ranges(&[(1, 10), (5, 12), (1, 2), (20, 20)]);
        assert_eq!(ranges.as_slice(), [(1, 12), (20, 20)]);
        assert_eq!(ranges.messages(), 13);
    }

    #[test]
    fn the_last_numbers_there_are_do_not_overflow() {
        let ranges = ranges(&[(u64::MAX, u64::MAX), (1, 1), (u64::MAX - 1, u64::MAX - 1)]);
        assert_eq!(ranges.as_slice(), [(1, 1), (u64::MAX - 1, u64::MAX)]);
    }

    #[test]
    fn it_knows_what_it_contains() {
        let ranges = ranges(&[(5, 7), (10, 10)]);
        let inside: Vec<u64> = (1..12).filter(|&number| ranges.contains(number)).collect();
        assert_eq!(inside, [5, 6, 7, 10]);
    }

    #[test]
    fn it_prints_single_numbers_and_ranges() {
        assert_eq!(ranges(&[(1, 1), (3, 5)]).to_string(), "1, 3-5");
    }

    #[test]
    fn it_is_pairs_in_json() {
        let json = serde_json::to_string(&ranges(&[(1, 1), (3, 5)])).unwrap();
        assert_eq!(json, "[[1,1],[3,5]]");
    }
}
