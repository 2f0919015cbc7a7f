//! The groups that were evicted last, of all tracks: number and length of each that had ended, so that a
//! reader that has read all of one is told its end, not an eviction.
//!
//! The records lie in one ring that is allocated at construction: an eviction allocates nothing.

use alloc::vec::Vec;

use super::group::{Group, State};

/// How many evicted groups a track remembers.
const MOST_OF_TRACK: u32 = 64;
/// Bytes of the budget for which there is one record, so that they take 1/64 of it.
const BYTES_PER_GROUP: usize = 1024;
/// Stands for the length of a group that was skipped; no group has so many frames.
const SKIPPED: u32 = u32::MAX;

/// How a group ended that was evicted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// Behind so many frames.
    Frames(u32),
    /// There was nothing under its number.
    Skipped,
}

/// One evicted group.
#[derive(Clone, Copy, Debug)]
struct PastGroup {
    sequence: u64,
    frames: u32,
    /// How many records before this one lies the one before it of the same track; 0 for none.
    back: u32,
}

/// The record of a track that was made last: its number, counted from 1; 0 for none.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct LastPast(u64);

/// The groups that were evicted last.
#[derive(Debug)]
pub(super) struct Past {
    groups: Vec<PastGroup>,
    most: usize,
    /// How many records were ever made.
    made: u64,
}

impl Past {
    /// Records for a cache that takes at most so many bytes.
    pub(super) fn new(max_bytes: usize) -> Self {
        let most = max_bytes / BYTES_PER_GROUP;
        Self { groups: Vec::with_capacity(most), most, made: 0 }
    }

    /// Bytes allocated.
    pub(super) const fn bytes(&self) -> usize {
        self.groups.capacity() * size_of::<PastGroup>()
    }

    /// Records that a group is evicted, if it has ended.
    pub(super) fn add(&mut self, last: &mut LastPast, group: &Group) {
        let frames = match group.state {
            State::Finished | State::Aborted { finished: true, .. } => group.count,
            State::Skipped => SKIPPED,
            State::Open | State::Aborted { finished: false, .. } => return,
        };
        self.made += 1;
        let back = match last.0 {
            0 => 0,
            last => u32::try_from(self.made - last).unwrap_or(0),
        };
        *last = LastPast(self.made);
        let record = PastGroup { sequence: group.sequence, frames, back };
        if self.groups.len() < self.most {
            self.groups.push(record);
        } else {
            let at = self.place(self.made);
            self.groups[at] = record;
        }
    }

    /// How the group of a number ended that was evicted last under it, of the track with this last record.
    pub(super) fn find(&self, last: LastPast, sequence: u64) -> Option<End> {
        let LastPast(mut number) = last;
        for _ in 0..MOST_OF_TRACK {
            if number == 0 || self.made - number >= self.most as u64 {
                break;
            }
            let group = self.groups.get(self.place(number))?;
            if group.sequence == sequence {
                return Some(match group.frames {
                    SKIPPED => End::Skipped,
                    frames => End::Frames(frames),
                });
            }
            if group.back == 0 {
                break;
            }
            number = number.checked_sub(group.back.into())?;
        }
        None
    }

    /// Where a record lies.
    const fn place(&self, number: u64) -> usize {
        ((number - 1) % self.most as u64) as usize
    }
}
