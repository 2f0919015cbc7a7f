//! How a cache is written in journals.

use bytes::Bytes;

use super::{
    Answer, Cache, Chunk, Command, Config, Event, Frame, GroupId, Limits, Missing, Next, Put,
    ReadUnit, ReaderId, Refusal, Run, Start, TrackId,
};
use crate::Instant;
use crate::journal::{Decoder, Encoder, Field, Journaled, Malformed, fields, variants};
use crate::storage::slab::Key;

/// A direct call is any event, and returns what [`Cache::call`] does: refusals are
/// [`Answer::Refused`].
impl Journaled for Cache {
    const NAME: &'static str = "cache";
    /// Version 2 added [`Event::Seal`].
    const VERSION: u16 = 2;

    type Call<'a> = Event<'a>;
    type Answer<'a> = Answer;

    fn call<'a>(&mut self, now: Instant, call: Self::Call<'a>) -> Self::Answer<'a> {
        Self::call(self, now, call).unwrap_or_else(Answer::Refused)
    }
}

/// Ids. Generations begin with 1: zero is that of a free place, which no id names.
macro_rules! ids {
    ($($type:ty),*) => {$(
        impl Field<'_> for $type {
            fn encode(&self, out: &mut Encoder<'_>) {
                (self.0.slot, self.0.generation).encode(out);
            }

            fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
                match Field::decode(input)? {
                    (_, 0) => Err(Malformed::Unknown { what: "stamp", value: 0 }),
                    (slot, generation) => Ok(Self(Key::new(slot, generation))),
                }
            }
        }
    )*};
}

fields!(Config { max_bytes, max_frame, window, max_unfinished });
fields!(Limits { max_age, max_groups, max_group_bytes, max_group_frames, first_group });
ids!(TrackId, GroupId, ReaderId);
variants!("place to start", Start { 0 => At { group, frame }, 1 => Oldest, 2 => Newest, 3 => Live });
variants!("reason to be missing", Missing { 0 => Lost, 1 => Absent });
variants!("unit of reading", ReadUnit { 0 => Frame, 1 => Chunk, 2 => Run });
variants!("event of a cache", Event<'a> {
    0 => CreateTrack { name, publisher, limits },
    1 => FinishTrack { track, end },
    2 => AbortTrack { track, code },
    3 => DropTrack { track },
    4 => CreateGroup { track, sequence },
    5 => AppendGroup { track },
    6 => SkipGroup { track, sequence },
    7 => Append { group, frame },
    8 => AppendShared { group, frame, pinned },
    9 => OpenFrame { group, size },
    10 => Write { group, chunk },
    11 => WriteShared { group, chunk, pinned },
    12 => AppendMissing { group, count, why },
    13 => Put { group, index, frame },
    14 => FinishGroup { group },
    15 => AbortGroup { group, code },
    16 => DropGroup { group },
    17 => OpenReader { track, start },
    18 => CloneReader { reader },
    19 => CloseReader { reader },
    20 => Seek { reader, start },
    21 => Read { reader, by },
    22 => Seal { track },
});
variants!("command of a cache", Command {
    0 => Answer(answer),
    1 => Readable(reader),
    2 => Evicted { track, floor },
    3 => Aborted { track, group, code },
});
variants!("answer of a cache", Answer {
    0 => Done,
    1 => Track(track),
    2 => Group(group),
    3 => Reader(reader),
    4 => Put(put),
    5 => Frame(next),
    6 => Chunk(next),
    7 => Run(next),
    8 => Refused(refusal),
});
variants!("fate of a frame", Put { 0 => Appended, 1 => Filled, 2 => Duplicate });
fields!(Frame<Bytes> { group, index, bytes });
fields!(Chunk<Bytes> { group, index, size, offset, bytes });
fields!(Run { group, first, frames, offset, head, bytes });
variants!("refusal", Refusal {
    // 0 was a refusal of calls before a drain.
    1 => UnknownTrack,
    2 => UnknownGroup,
    3 => UnknownReader,
    4 => Name(len),
    5 => NameTaken,
    6 => TrackEnded,
    7 => BeyondEnd { sequence, end },
    8 => EndsBefore { newest },
    9 => Duplicate(sequence),
    10 => BeyondWindow { sequence, last },
    11 => GroupEnded,
    12 => Aborted(code),
    13 => Skipped,
    14 => FrameTooLarge { size, max },
    15 => PastSize { len, left },
    16 => Short { left },
    17 => NoFrame,
    18 => Unfinished { bytes, max },
    19 => NotNext { index, next },
    20 => Contradiction(index),
    21 => FrameEvicted { index, floor },
    22 => UsedUp,
    23 => Full { used, max },
    24 => WithinFrame,
});

impl<'a, T: Field<'a>> Field<'a> for Next<T> {
    fn encode(&self, out: &mut Encoder<'_>) {
        match self {
            Self::Held(held) => {
                out.put(&[0]);
                held.encode(out);
            }
            Self::Missing { group, first, count, why } => {
                out.put(&[1]);
                (*group, *first).encode(out);
                (*count, *why).encode(out);
            }
            Self::Parts { group, index, size } => {
                out.put(&[2]);
                (*group, *index).encode(out);
                size.encode(out);
            }
            Self::GroupEnd { group, frames } => {
                out.put(&[3]);
                (*group, *frames).encode(out);
            }
            Self::Skipped { group } => {
                out.put(&[4]);
                group.encode(out);
            }
            Self::Aborted { group, code } => {
                out.put(&[5]);
                (*group, *code).encode(out);
            }
            Self::Evicted { group, frame, next } => {
                out.put(&[6]);
                (*group, *frame).encode(out);
                next.encode(out);
            }
            Self::TrackEnd => out.put(&[7]),
            Self::TrackAborted { code } => {
                out.put(&[8]);
                code.encode(out);
            }
            Self::Pending => out.put(&[9]),
        }
    }

    fn decode(input: &mut Decoder<'a>) -> Result<Self, Malformed> {
        Ok(match u8::decode(input)? {
            0 => Self::Held(T::decode(input)?),
            1 => {
                let (group, first) = Field::decode(input)?;
                let (count, why) = Field::decode(input)?;
                Self::Missing { group, first, count, why }
            }
            2 => {
                let (group, index) = Field::decode(input)?;
                Self::Parts { group, index, size: u64::decode(input)? }
            }
            3 => {
                let (group, frames) = Field::decode(input)?;
                Self::GroupEnd { group, frames }
            }
            4 => Self::Skipped { group: u64::decode(input)? },
            5 => {
                let (group, code) = Field::decode(input)?;
                Self::Aborted { group, code }
            }
            6 => {
                let (group, frame) = Field::decode(input)?;
                Self::Evicted { group, frame, next: Field::decode(input)? }
            }
            7 => Self::TrackEnd,
            8 => Self::TrackAborted { code: u64::decode(input)? },
            9 => Self::Pending,
            other => {
                return Err(Malformed::Unknown { what: "reading", value: other.into() });
            }
        })
    }
}
