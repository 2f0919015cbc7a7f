//! Tracks.

use alloc::boxed::Box;

use super::config::Limits;
use super::group::{BySequence, InTrack, Unsealed};
use super::ids::id;
use super::reader::GroupWaiters;
use super::stats::Evictions;
use crate::Instant;
use crate::storage::charge::charged;
use crate::storage::list::{Link, List, linked};
use crate::storage::table::Row;
use crate::storage::tree::{Links, Tree, sorted};

/// How a track is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Life {
    #[default]
    Live,
    /// No group comes behind this one; `None`: there is none at all. `closed`: nor does one before it.
    Finished {
        end: Option<u64>,
        closed: bool,
    },
    Aborted {
        code: u64,
    },
}

/// The order of eviction for the budget: first come groups that a newer one followed, in the order
/// in which they were created; the newest groups of live tracks come behind all of those.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct EvictionKey {
    pub(super) is_newest: bool,
    pub(super) generation: u64,
}

/// One track.
#[derive(Default, Debug)]
pub(super) struct Track {
    pub(super) name: Box<[u8]>,
    pub(super) publisher: u32,
    /// It takes a place that is reserved for its publisher.
    pub(super) is_reserved: bool,
    pub(super) limits: Limits,
    pub(super) life: Life,
    pub(super) by_name: Links,
    pub(super) by_eviction: Links,
    pub(super) by_expiry: Links,
    /// The key of its next eviction, as the order has it; `None` when it is not in there.
    pub(super) eviction_key: Option<EvictionKey>,
    /// When the first of its groups has reached the age that it keeps; [`Instant::MAX`] for never.
    pub(super) expiry: Instant,
    /// Its groups by number, and in the order in which they were created.
    pub(super) groups: Tree<BySequence>,
    pub(super) row: List<InTrack>,
    pub(super) group_count: u32,
    /// The highest number that there was.
    pub(super) newest: Option<u64>,
    /// The group with the highest number that there is.
    pub(super) top: u32,
    /// Behind the highest number that was evicted.
    pub(super) evicted_end: u64,
    /// The records of groups that were evicted, in the order in which they were made, how many there are, and
    /// the place among tracks by that.
    pub(super) past: Row,
    pub(super) past_count: u8,
    pub(super) by_past: Links,
    /// Its groups of which not all complete frames are sealed.
    pub(super) unsealed: List<Unsealed>,
    pub(super) evicted: Evictions,
    pub(super) readers: u32,
    /// Readers that wait for groups of it.
    pub(super) waiters: GroupWaiters,
    /// Evictions are still to be reported; and its neighbours among the tracks of which that is so.
    pub(super) has_evictions: bool,
    pub(super) evicted_from: Link,
}

charged!(Track = 280);

id! {
    /// A track of this cache. Ids are never used again.
    TrackId(Track) = "track"
}

linked!(InEvicted, Track, evicted_from);

impl Track {
    pub(super) const fn is_live(&self) -> bool {
        matches!(self.life, Life::Live)
    }

    /// Returns true if there will be higher numbers.
    pub(super) fn is_expecting(&self) -> bool {
        match self.life {
            Life::Live => true,
            Life::Finished { end, closed } => !closed && end != self.newest,
            Life::Aborted { .. } => false,
        }
    }
}

sorted!(ByName, Track, by_name, |track| &*track.name);
sorted!(ByEviction, Track, by_eviction, |track| track.eviction_key);
sorted!(ByExpiry, Track, by_expiry, |track| track.expiry);
sorted!(ByPast, Track, by_past, |track| track.past_count);
