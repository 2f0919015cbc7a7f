//! The publishers of tracks: the bytes of the incomplete frames of each are counted together, and some tracks of each can
//! always be had.

use super::config::{Config, MAX_NAME, RESERVED_TRACK};
use super::track::Track;
use crate::storage::charge::{Charged, Measure, charged};
use crate::storage::slab::Slab;
use crate::storage::tree::{Links, Tree, sorted};

#[derive(Default, Debug)]
struct Publisher {
    number: u64,
    by_number: Links,
    /// Tracks that it has, and how many of them in reserved places.
    tracks: u32,
    reserved: u16,
    /// Something is reserved for it.
    has_reserve: bool,
    /// Bytes of frames that are not complete: at most what is allowed.
    unfinished: u32,
}

charged!(Publisher = 32);
sorted!(ByNumber, Publisher, by_number, |publisher| publisher.number);

const _: () = assert!(Track::BYTES + u64::BYTES + MAX_NAME == RESERVED_TRACK);

/// Those that have tracks, and what is reserved.
#[derive(Debug)]
pub(super) struct Publishers {
    places: Slab<Publisher>,
    by_number: Tree<ByNumber>,
    /// For how many publishers something is reserved, and how many tracks of each.
    most: usize,
    tracks: u16,
    /// Those of them that are there, their tracks in reserved places, and bytes of the names of these.
    present: usize,
    reserved: usize,
    reserved_names: usize,
}

/// A publisher's place, and whether a track takes a reserved one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joined {
    pub(super) at: u32,
    pub(super) is_reserved: bool,
}

/// The rest of the reserves: tracks and publishers that are not there, and bytes for names, of which each reserved place
/// counts the longest, whoever takes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reserved {
    pub(super) tracks: usize,
    pub(super) publishers: usize,
    pub(super) names: usize,
}

impl Publishers {
    /// Half of what is reserved for each is for tracks.
    pub(super) fn new(config: &Config) -> Self {
        Self {
            places: Slab::new(),
            by_number: Tree::EMPTY,
            most: config.max_publishers as usize,
            tracks: u16::try_from(config.reserve / 2 / RESERVED_TRACK).unwrap_or(u16::MAX),
            present: 0,
            reserved: 0,
            reserved_names: 0,
        }
    }

    /// Bytes of the table.
    pub(super) const fn bytes(&self, measure: Measure) -> usize {
        self.places.bytes(measure)
    }

    /// Bytes that so many more would be charged.
    pub(super) const fn growth_by(&self, more: usize) -> usize {
        self.places.growth_by(more)
    }

    fn find(&self, number: u64) -> Option<u32> {
        let order = |at| self.places.get(at).map(|known| known.number).cmp(&Some(number));
        self.by_number.find(&self.places, order)
    }

    /// Says of a publisher, known or not, whether something is reserved for it once it has one track more, and whether
    /// that takes a reserved place.
    fn reserves(&self, at: Option<u32>) -> (bool, bool) {
        let known = at.and_then(|at| self.places.get(at));
        let has_reserve = known.is_some_and(|known| known.has_reserve) || self.present < self.most;
        (has_reserve, has_reserve && known.map_or(0, |known| known.reserved) < self.tracks)
    }

    /// The rest of the reserves when there is a track more, of this publisher and with a name of so many bytes; `None`
    /// where nothing ever is. For the publisher of the track itself one place counts.
    pub(super) fn reserved_beside(&self, track: Option<(u64, usize)>) -> Option<Reserved> {
        let places = self.most.saturating_mul(self.tracks.into());
        let mut reserved = Reserved {
            tracks: places.checked_sub(self.reserved).filter(|_| places > 0)?,
            publishers: self.most - self.present + 1,
            names: places.saturating_mul(MAX_NAME).saturating_sub(self.reserved_names),
        };
        if let Some((number, name)) = track {
            let at = self.find(number);
            let (has_reserve, takes_reserved) = self.reserves(at);
            // One for which something is reserved was counted.
            reserved.publishers += usize::from(at.is_none() && !has_reserve);
            if takes_reserved {
                reserved.tracks -= 1;
                reserved.names -= name;
            }
        }
        Some(reserved)
    }

    /// The place of a publisher, with one track more, of a name of so many bytes.
    pub(super) fn join(&mut self, number: u64, name: usize) -> Option<Joined> {
        let known = self.find(number);
        let (has_reserve, is_reserved) = self.reserves(known);
        let at = match known {
            Some(at) => at,
            None => {
                let at = self.places.insert(Publisher { number, ..Publisher::default() })?;
                self.by_number.insert(&mut self.places, at);
                at
            }
        };
        let publisher = self.places.get_mut(at)?;
        publisher.tracks += 1;
        let had_reserve = core::mem::replace(&mut publisher.has_reserve, has_reserve);
        self.present += usize::from(has_reserve && !had_reserve);
        if is_reserved {
            publisher.reserved += 1;
            self.reserved += 1;
            self.reserved_names += name;
        }
        Some(Joined { at, is_reserved })
    }

    /// A publisher has one track less.
    pub(super) fn leave(&mut self, track: &Track) {
        let at = track.publisher;
        let Some(publisher) = self.places.get_mut(at) else { return };
        publisher.tracks -= 1;
        if track.is_reserved {
            publisher.reserved -= 1;
            self.reserved -= 1;
            self.reserved_names -= track.name.len();
        }
        if publisher.tracks == 0 {
            self.present -= usize::from(publisher.has_reserve);
            self.by_number.remove(&mut self.places, at);
            self.places.remove(at);
        }
    }

    /// The bytes of incomplete frames that a publisher has, to be changed.
    pub(super) fn unfinished(&mut self, at: u32) -> Option<&mut u32> {
        self.places.get_mut(at).map(|publisher| &mut publisher.unfinished)
    }
}
