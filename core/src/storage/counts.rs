//! Sorted keys that are counted: a key is there as long as it was added more often than taken away.

use super::charge::{Charged, Measure};
use super::slab::Slab;
use super::tree::{Links, Tree, sorted};

/// A key, and how often it is there.
#[derive(Default, Debug)]
pub(crate) struct Count<K> {
    key: K,
    count: usize,
    links: Links,
}

sorted!(ByKey, Count<K>, links, |count| count.key, for K);

/// Keys and how often each is there. Its memory stays: what was counted once is counted again without an
/// allocation.
#[derive(Debug)]
pub(crate) struct Counts<K> {
    counts: Slab<Count<Option<K>>>,
    sorted: Tree<ByKey>,
}

impl<K> Default for Counts<K> {
    fn default() -> Self {
        Self { counts: Slab::keeping(), sorted: Tree::EMPTY }
    }
}

impl<K> Counts<K>
where
    Count<Option<K>>: Charged,
{
    /// The most bytes that so many keys are charged.
    pub(crate) const fn most(keys: usize) -> usize {
        Slab::<Count<Option<K>>>::most(keys)
    }

    /// Its bytes.
    pub(crate) const fn bytes(&self, measure: Measure) -> usize {
        self.counts.bytes(measure)
    }
}

impl<K: Ord + Copy> Counts<K> {
    /// The place of the first key at or behind one, and what is there.
    fn entry(&self, key: K) -> Option<(u32, &Count<Option<K>>)> {
        let known = |at| self.counts.get(at).and_then(|count| count.key);
        let at = self.sorted.at_or_after(&self.counts, |at| known(at).cmp(&Some(key)))?;
        Some((at, self.counts.get(at)?))
    }

    fn find(&self, key: K) -> Option<(u32, &Count<Option<K>>)> {
        self.entry(key).filter(|(_, count)| count.key == Some(key))
    }

    /// The number of times that a key is there.
    pub(crate) fn of(&self, key: K) -> usize {
        self.find(key).map_or(0, |(_, count)| count.count)
    }

    /// The first key at or behind one.
    pub(crate) fn at_or_after(&self, key: K) -> Option<K> {
        self.entry(key)?.1.key
    }

    /// Adds a key once more; it is lost when 2^32-2 others are there.
    pub(crate) fn add(&mut self, key: K) {
        let at = self.find(key).map(|(at, _)| at).or_else(|| {
            let at = self.counts.insert(Count { key: Some(key), ..Count::default() })?;
            self.sorted.insert(&mut self.counts, at);
            Some(at)
        });
        if let Some(count) = at.and_then(|at| self.counts.get_mut(at)) {
            count.count += 1;
        }
    }

    /// Takes a key away once, if it is there.
    pub(crate) fn take(&mut self, key: K) {
        let Some((at, _)) = self.find(key) else { return };
        let Some(count) = self.counts.get_mut(at) else { return };
        count.count -= 1;
        if count.count == 0 {
            self.sorted.remove(&mut self.counts, at);
            self.counts.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::charge::charged;
    use alloc::collections::BTreeMap;

    charged!(Count<Option<u64>> = 40);

    #[test]
    fn it_agrees_with_a_map_of_numbers() {
        let (mut counts, mut model) = (Counts::default(), BTreeMap::new());
        let mut random = 1_u64;
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let key = (random >> 33) % 200;
            if random >> 62 == 0 {
                counts.add(key);
                *model.entry(key).or_insert(0) += 1;
            } else {
                counts.take(key);
                if let Some(count) = model.get_mut(&key) {
                    *count -= 1;
                }
                model.retain(|_, count| *count > 0);
            }
            assert_eq!(counts.of(key), model.get(&key).copied().unwrap_or(0));
            let next = model.range(key..).next().map(|(&key, _)| key);
            assert_eq!(counts.at_or_after(key), next);
        }
        assert!(counts.bytes(Measure::Charged) <= Counts::<u64>::most(200));
    }
}
