//! A plain set of message numbers: the memory of models. It grows as it likes.

/// Disjoint inclusive ranges in ascending order; neighbours are merged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Numbers(Vec<(u64, u64)>);

impl Numbers {
    pub(super) fn add(&mut self, first: u64, last: u64) {
        if self.0.last().is_none_or(|&(_, b)| b.saturating_add(1) < first) {
            return self.0.push((first, last));
        }
        let (mut first, mut last) = (first, last);
        let touches =
            |&(a, b): &(u64, u64)| a.saturating_sub(1) <= last && b.saturating_add(1) >= first;
        let start = self.0.partition_point(|&(_, b)| b.saturating_add(1) < first);
        let touched = self.0[start..].iter().take_while(|range| touches(range)).count();
        if let Some(&(a, _)) = self.0[start..start + touched].first() {
            let (_, b) = self.0[start + touched - 1];
            (first, last) = (first.min(a), last.max(b));
        }
        self.0.splice(start..start + touched, [(first, last)]);
    }

    /// Whether all of `first..=last` is there.
    pub(super) fn covers(&self, first: u64, last: u64) -> bool {
        self.after(first).is_some_and(|(a, b)| a <= first && last <= b)
    }

    /// Whether some of `first..=last` is there.
    pub(super) fn intersects(&self, first: u64, last: u64) -> bool {
        self.after(first).is_some_and(|(a, _)| a <= last)
    }

    /// The first number from `from` on that is not there; `None` when all are, to the last there is.
    pub(super) fn first_missing(&self, from: u64) -> Option<u64> {
        match self.after(from) {
            Some((a, b)) if a <= from => b.checked_add(1),
            _ => Some(from),
        }
    }

    /// The first number from `from` on that is there.
    pub(super) fn first_there(&self, from: u64) -> Option<u64> {
        self.after(from).map(|(a, _)| a.max(from))
    }

    /// The highest number.
    pub(super) fn last(&self) -> Option<u64> {
        self.0.last().map(|&(_, last)| last)
    }

    /// How many numbers there are.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|(a, b)| b - a + 1).sum()
    }

    /// The ranges, in ascending order.
    pub(super) fn ranges(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// The parts of `first..=last` that are there, in ascending order.
    pub(super) fn within(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, u64)> {
        let start = self.0.partition_point(|&(_, b)| b < first);
        let touched = self.0[start..].iter().take_while(move |(a, _)| *a <= last);
        touched.map(move |&(a, b)| (a.max(first), b.min(last)))
    }

    /// The parts of `first..=last` that are not there, in ascending order.
    pub(super) fn missing_within(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, u64)> {
        let mut next = Some(first);
        std::iter::from_fn(move || {
            let first = self.first_missing(next?).filter(|first| *first <= last)?;
            let end = self.first_there(first).map_or(last, |there| last.min(there - 1));
            next = end.checked_add(1);
            Some((first, end))
        })
    }

    /// The first range that does not lie wholly before `number`.
    fn after(&self, number: u64) -> Option<(u64, u64)> {
        self.0.get(self.0.partition_point(|&(_, last)| last < number)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    #[test]
    fn added_ranges_merge_and_answer_what_is_there() {
        let mut numbers = Numbers::default();
        numbers.add(5, 6);
        numbers.add(9, u64::MAX);
        numbers.add(1, 2);
        assert!(numbers.covers(5, 6) && !numbers.covers(2, 5) && !numbers.covers(7, 7));
        assert!(numbers.intersects(3, 5) && !numbers.intersects(3, 4));
        assert_eq!(numbers.first_missing(1), Some(3));
        assert_eq!(numbers.first_missing(9), None);
        assert_eq!((numbers.first_there(3), numbers.first_there(10)), (Some(5), Some(10)));
        assert!(numbers.within(2, 5).eq([(2, 2), (5, 5)]) && numbers.within(7, 8).eq([]));
        assert!(numbers.missing_within(2, 9).eq([(3, 4), (7, 8)]));
        assert!(numbers.missing_within(9, u64::MAX).eq([]));
        numbers.add(3, 8);
        assert!(numbers.covers(1, u64::MAX));
    }
}
