//! The law of equal groups: of two caches of one feed, what both hold is the same.

use std::collections::BTreeMap;

use gapless_core::Session;
use gapless_core::cache::{Cache, FrameState};
use gapless_core::grouping::Info;

use crate::sim::program::message;

/// Everything that a cache holds of a feed: of each track, by its name, each group's frames; `None` is
/// a frame that is missing.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Holdings {
    /// The meaning of its numbers.
    pub info: Option<Info>,
    /// By track, group and index.
    pub frames: BTreeMap<(String, u64, u64), Option<Vec<u8>>>,
}

impl Holdings {
    /// Adds a track.
    pub(super) fn add(&mut self, cache: &Cache, name: &str) {
        let Some(track) = cache.track(name.as_bytes()) else { return };
        let (Some((floor, _)), Some(newest)) = (cache.floor(track), cache.newest(track)) else {
            return;
        };
        for sequence in floor..=newest {
            let Some(group) = cache.group(track, sequence) else { continue };
            for index in cache.frames(group).into_iter().flatten() {
                let held = match cache.frame(group, index) {
                    Some(FrameState::Held(bytes)) => Some(bytes.to_vec()),
                    Some(FrameState::Missing(_)) => None,
                    other => panic!("{other:?} at frame {index} of group {sequence}"),
                };
                self.frames.insert((name.to_owned(), sequence, index), held);
            }
        }
    }

    /// How many frames are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.frames.values().flatten().count()
    }

    /// Checks that what is held of a track is what was sent.
    ///
    /// # Panics
    /// When something else is held.
    pub(super) fn assert_sent(&self, name: &str, session: Session, group_size: u32) {
        let of_track = self.frames.iter().filter(|((track, ..), _)| track == name);
        for ((_, group, index), held) in of_track {
            assert!(*index < u64::from(group_size), "frame {index} of group {group}");
            let sequence = group * u64::from(group_size) + index + 1;
            if let Some(held) = held {
                let same = **held == *message(session, sequence);
                assert!(same, "message {sequence} is held as something else");
            }
        }
    }

    /// Checks that what both hold is the same, and returns how many frames both hold.
    ///
    /// # Panics
    /// When it is not.
    pub fn assert_agrees(&self, other: &Self) -> usize {
        if let (Some(ours), Some(theirs)) = (&self.info, &other.info) {
            ours.agrees_with(theirs).unwrap_or_else(|mismatch| panic!("{mismatch}"));
        }
        let mut both = 0;
        for (place, ours) in &self.frames {
            if let (Some(ours), Some(Some(theirs))) = (ours, other.frames.get(place)) {
                assert_eq!(ours, theirs, "two relays hold different messages at {place:?}");
                both += 1;
            }
        }
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(index: u64, held: Option<&[u8]>) -> Holdings {
        let place = ("feed/MONDAY".to_owned(), 0, index);
        Holdings { info: None, frames: [(place, held.map(<[u8]>::to_vec))].into() }
    }

    #[test]
    fn what_only_one_of_two_holds_is_no_difference() {
        assert_eq!(holds(1, Some(b"one")).assert_agrees(&holds(2, Some(b"two"))), 0);
        assert_eq!(holds(1, Some(b"one")).assert_agrees(&holds(1, None)), 0);
        assert_eq!(holds(1, Some(b"one")).assert_agrees(&holds(1, Some(b"one"))), 1);
    }

    #[test]
    #[should_panic(expected = "different messages")]
    fn one_place_with_two_messages_is_noticed() {
        holds(1, Some(b"one")).assert_agrees(&holds(1, Some(b"two")));
    }
}
