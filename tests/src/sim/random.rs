//! The one source of chance in a simulation: a small generator with a seed (SplitMix64, by Steele,
//! Lea and Flood).

use std::ops::RangeInclusive;

use gapless_core::Duration;

use super::path::Chance;

/// A seeded generator of random numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The generator of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number within bounds, both included.
    ///
    /// # Panics
    /// When there is none.
    pub fn within(&mut self, bounds: RangeInclusive<u64>) -> u64 {
        let (first, last) = bounds.into_inner();
        assert!(first <= last, "nothing lies within {first}..={last}");
        match (last - first).checked_add(1) {
            Some(width) => first + self.any() % width,
            None => self.any(),
        }
    }

    /// A time span within bounds, both included.
    pub fn span(&mut self, bounds: RangeInclusive<Duration>) -> Duration {
        let nanos = |span: &Duration| u64::try_from(span.as_nanos()).expect("less than 584 years");
        Duration::from_nanos(self.within(nanos(bounds.start())..=nanos(bounds.end())))
    }

    /// Whether something of this chance happens.
    pub fn happens(&mut self, chance: Chance) -> bool {
        self.within(1..=1_000_000) <= u64::from(chance.per_million())
    }

    /// One of them.
    ///
    /// # Panics
    /// When there is none.
    pub fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.any() % choices.len() as u64).expect("an index")].clone()
    }

    /// A generator that goes on independently of this one.
    pub const fn fork(&mut self) -> Self {
        Self(self.any())
    }
}

/// Spreads the bits of a number over all 64.
pub(super) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
