//! The events of a cache: tracks, groups and readers that exist.

use alloc::vec::Vec;

use arbitrary::{Result, Unstructured};

use super::Sequence;
use crate::cache::{
    Answer, Cache, Command, Event, GroupId, Limits, Missing, ReaderId, Start, TrackId,
};

/// The most ids of a kind that are remembered; the oldest go.
const MOST: usize = 8;

/// Ids that exist, or did so lately; groups one behind the other, frames of some bytes, chunks that fill the frame that
/// was opened, readers anywhere.
#[derive(Clone, Default, Debug)]
pub struct Tracks {
    tracks: Vec<TrackId>,
    groups: Vec<GroupId>,
    readers: Vec<ReaderId>,
    /// The frame that was opened last, and what it lacks.
    open: Option<(GroupId, u64)>,
}

impl Tracks {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn of_group<'u>(&mut self, u: &mut Unstructured<'u>, track: TrackId) -> Result<Event<'u>> {
        let nth = u.choose_index(self.groups.len())?;
        let group = self.groups[nth];
        if let Some((group, left)) = self.open.take() {
            let len = u.int_in_range(0..=left)?;
            let chunk = u.bytes(len as usize)?;
            let left = left - chunk.len() as u64;
            self.open = Some((group, left)).filter(|_| left > 0);
            return Ok(Event::Write { group, chunk });
        }
        let index = u.int_in_range(0..=15_u64)?;
        let choice = u.int_in_range(0..=31_u8)?;
        if choice <= 3 {
            self.groups.swap_remove(nth);
        }
        Ok(match choice {
            0 => Event::AbortGroup { group, code: index },
            1 => Event::DropGroup { group },
            2..=3 => Event::FinishGroup { group },
            4 => Event::Seal { track },
            5..=6 => Event::AppendMissing { group, count: index, why: Missing::Lost },
            7..=10 => {
                let size = u.int_in_range(1..=100)?;
                self.open = Some((group, size));
                Event::OpenFrame { group, size }
            }
            11..=14 => Event::Put { group, index, frame: u.bytes(index as usize)? },
            _ => {
                let len = u.int_in_range(0..=64)?;
                Event::Append { group, frame: u.bytes(len)? }
            }
        })
    }
}

impl Sequence<Cache> for Tracks {
    fn next<'s, 'u: 's>(&'s mut self, u: &mut Unstructured<'u>) -> Result<Event<'s>> {
        let choice = u.int_in_range(0..=63_u8)?;
        if self.tracks.is_empty() || choice == 0 {
            let name = *u.choose(&[&b"one"[..], b"two", b"three", b"four"])?;
            let limits = if u.ratio(1, 4)? { u.arbitrary()? } else { Limits::default() };
            // Groups are drawn from zero on.
            let limits = Limits { first_group: 0, ..limits };
            return Ok(Event::CreateTrack { name, publisher: choice.into(), limits });
        }
        let nth = u.choose_index(self.tracks.len())?;
        let track = self.tracks[nth];
        if choice >= 24 && !self.groups.is_empty() {
            return self.of_group(u, track);
        }
        if choice >= 12 && !self.readers.is_empty() {
            let reader = *u.choose(&self.readers)?;
            return Ok(match choice {
                12 => Event::CloneReader { reader },
                13 => Event::CloseReader { reader },
                14 => Event::Seek { reader, start: Start::Oldest },
                _ => Event::Read { reader, by: u.arbitrary()? },
            });
        }
        let (group, frame) = (u.int_in_range(0..=15)?, u.int_in_range(0..=15)?);
        if choice == 1 {
            self.tracks.swap_remove(nth);
            let end = None;
            return Ok(if group < 8 {
                Event::FinishTrack { track, end }
            } else {
                Event::DropTrack { track }
            });
        }
        Ok(match choice {
            3 => Event::SkipGroup { track, sequence: group },
            4 => Event::CreateGroup { track, sequence: group },
            5..=6 => Event::OpenReader { track, start: Start::At { group, frame } },
            7 => Event::OpenReader { track, start: Start::Live },
            _ => Event::AppendGroup { track },
        })
    }

    fn note(&mut self, command: &Command) {
        fn remember<T>(ids: &mut Vec<T>, id: T) {
            if ids.len() == MOST {
                ids.remove(0);
            }
            ids.push(id);
        }
        match *command {
            Command::Answer(Answer::Track(track)) => remember(&mut self.tracks, track),
            Command::Answer(Answer::Group(group)) => remember(&mut self.groups, group),
            Command::Answer(Answer::Reader(reader)) => remember(&mut self.readers, reader),
            _ => {}
        }
    }
}
