//! The publishers of tracks: the bytes of the incomplete frames of each are counted together.

use crate::storage::charge::{Measure, charged};
use crate::storage::slab::Slab;
use crate::storage::tree::{Links, Tree, sorted};

#[derive(Default, Debug)]
struct Publisher {
    number: u64,
    by_number: Links,
    /// Tracks that it has.
    tracks: u32,
    /// Bytes of frames that are not complete.
    unfinished: u64,
}

charged!(Publisher = 32);
sorted!(ByNumber, Publisher, by_number, |publisher| publisher.number);

/// Those that have tracks.
#[derive(Default, Debug)]
pub(super) struct Publishers {
    places: Slab<Publisher>,
    by_number: Tree<ByNumber>,
}

impl Publishers {
    /// Bytes of the table.
    pub(super) const fn bytes(&self, measure: Measure) -> usize {
        self.places.bytes(measure)
    }

    /// Bytes that one more would be charged.
    pub(super) fn growth(&self) -> usize {
        self.places.growth()
    }

    /// The place of a publisher, with one track more.
    pub(super) fn join(&mut self, number: u64) -> Option<u32> {
        let order = |at| self.places.get(at).map(|known| known.number).cmp(&Some(number));
        let at = match self.by_number.find(&self.places, order) {
            Some(at) => at,
            None => {
                let at = self.places.insert(Publisher { number, ..Publisher::default() })?;
                self.by_number.insert(&mut self.places, at);
                at
            }
        };
        self.places.get_mut(at)?.tracks += 1;
        Some(at)
    }

    /// A publisher has one track less.
    pub(super) fn leave(&mut self, at: u32) {
        let Some(publisher) = self.places.get_mut(at) else { return };
        publisher.tracks -= 1;
        if publisher.tracks == 0 {
            self.by_number.remove(&mut self.places, at);
            self.places.remove(at);
        }
    }

    /// The bytes of incomplete frames that a publisher has, to be changed.
    pub(super) fn unfinished(&mut self, at: u32) -> Option<&mut u64> {
        self.places.get_mut(at).map(|publisher| &mut publisher.unfinished)
    }
}
