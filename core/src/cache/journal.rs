//! How a cache is written in journals.

use bytes::Bytes;

use super::{
    Answer, By, Cache, Chunk, Command, Config, Event, Frame, GroupId, Limits, Missing, Next, Put,
    ReaderId, Refusal, Run, Start, TrackId,
};
use crate::Instant;
use crate::journal::{Decoder, Encoder, Field, Journaled, Malformed, fields, variants};

impl AsRef<Self> for Cache {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// A direct call is any event, and returns what [`Cache::call`] does: refusals are
/// [`Answer::Refused`].
impl Journaled for Cache {
    const NAME: &'static str = "cache";
    const VERSION: u16 = 1;

    type Call<'a> = Event<'a>;
    type Answer<'a> = Answer;

    fn call<'a>(&mut self, now: Instant, call: Self::Call<'a>) -> Self::Answer<'a> {
        Self::call(self, now, call).unwrap_or_else(Answer::Refused)
    }

    fn memory_limit(config: &Config) -> usize {
        config.max_bytes
    }
}

/// Ids. Stamps begin with 1: zero is that of a vacant place, which no id names.
macro_rules! ids {
    ($($type:ty),*) => {$(
        impl Field<'_> for $type {
            fn encode(&self, out: &mut Encoder<'_>) {
                (self.slot, self.stamp).encode(out);
            }

            fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
                match Field::decode(input)? {
                    (_, 0) => Err(Malformed::Unknown { what: "stamp", value: 0 }),
                    (slot, stamp) => Ok(Self { slot, stamp }),
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
variants!("way to read", By { 0 => Frame, 1 => Chunk, 2 => Run });
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
variants!("fate of a frame", Put { 0 => Appended, 1 => Filled, 2 => Same });
fields!(Frame<Bytes> { group, index, bytes });
fields!(Chunk<Bytes> { group, index, size, offset, bytes });
fields!(Run { group, first, frames, offset, head, bytes });
variants!("refusal", Refusal {
    0 => Undrained,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Duration;
    use crate::journal::written::is_written;

    const TRACK: TrackId = TrackId { slot: 1, stamp: 2 };
    const GROUP: GroupId = GroupId { slot: 3, stamp: 4 };
    const READER: ReaderId = ReaderId { slot: 5, stamp: 6 };
    const BYTES: Bytes = Bytes::from_static(&[0xAB, 0xCD]);

    #[test]
    fn a_cache_s_configuration() {
        let config = Config { max_bytes: 1, max_frame: 2, window: 3, max_unfinished: 4 };
        is_written(&config, "1q 2q 3q 4q");
    }

    #[test]
    fn what_a_cache_takes() {
        let limits = Limits {
            max_age: Duration::from_nanos(1),
            max_groups: 2,
            max_group_bytes: 3,
            max_group_frames: 4,
            first_group: 5,
        };
        let (track, group, reader, frame) = (TRACK, GROUP, READER, &BYTES[..]);
        let create = Event::CreateTrack { name: frame, publisher: 9, limits };
        is_written(&create, "0 B 9q 1q 2d 3q 4d 5q");
        is_written(&Event::FinishTrack { track, end: Some(7) }, "1 1d 2q 1 7q");
        is_written(&Event::AbortTrack { track, code: 7 }, "2 1d 2q 7q");
        is_written(&Event::DropTrack { track }, "3 1d 2q");
        is_written(&Event::CreateGroup { track, sequence: 7 }, "4 1d 2q 7q");
        is_written(&Event::AppendGroup { track }, "5 1d 2q");
        is_written(&Event::SkipGroup { track, sequence: 7 }, "6 1d 2q 7q");
        is_written(&Event::Append { group, frame }, "7 3d 4q B");
        let shared = Event::AppendShared { group, frame: BYTES, pinned: 7 };
        is_written(&shared, "8 3d 4q B 7q");
        is_written(&Event::OpenFrame { group, size: 7 }, "9 3d 4q 7q");
        is_written(&Event::Write { group, chunk: frame }, "10 3d 4q B");
        is_written(&Event::WriteShared { group, chunk: BYTES, pinned: 7 }, "11 3d 4q B 7q");
        let missing = Event::AppendMissing { group, count: 7, why: Missing::Absent };
        is_written(&missing, "12 3d 4q 7d 1");
        is_written(&Event::Put { group, index: 7, frame }, "13 3d 4q 7q B");
        is_written(&Event::FinishGroup { group }, "14 3d 4q");
        is_written(&Event::AbortGroup { group, code: 7 }, "15 3d 4q 7q");
        is_written(&Event::DropGroup { group }, "16 3d 4q");
        let start = Start::At { group: 7, frame: 8 };
        is_written(&Event::OpenReader { track, start }, "17 1d 2q 0 7q 8q");
        is_written(&Event::CloneReader { reader }, "18 5d 6q");
        is_written(&Event::CloseReader { reader }, "19 5d 6q");
        is_written(&Event::Seek { reader, start: Start::Live }, "20 5d 6q 3");
        is_written(&Event::Read { reader, by: By::Run }, "21 5d 6q 2");
    }

    #[test]
    fn what_a_cache_gives() {
        let answer = |answer| Command::Answer(answer);
        is_written(&answer(Answer::Done), "0 0");
        is_written(&answer(Answer::Track(TRACK)), "0 1 1d 2q");
        is_written(&answer(Answer::Group(GROUP)), "0 2 3d 4q");
        is_written(&answer(Answer::Reader(READER)), "0 3 5d 6q");
        is_written(&answer(Answer::Put(Put::Same)), "0 4 2");
        let frame = Frame { group: 1, index: 2, bytes: BYTES };
        is_written(&answer(Answer::Frame(Next::Held(frame))), "0 5 0 1q 2q B");
        let chunk = Chunk { group: 1, index: 2, size: 3, offset: 4, bytes: BYTES };
        is_written(&answer(Answer::Chunk(Next::Held(chunk))), "0 6 0 1q 2q 3q 4q B");
        let run = Run { group: 1, first: 2, frames: 3, offset: 4, head: Some(5), bytes: BYTES };
        is_written(&answer(Answer::Run(Next::Held(run))), "0 7 0 1q 2q 3d 4q 1 5q B");
        is_written(&answer(Answer::Refused(Refusal::Name(7))), "0 8 4 7q");
        is_written(&Command::Readable(READER), "1 5d 6q");
        is_written(&Command::Evicted { track: TRACK, floor: Some((7, 8)) }, "2 1d 2q 1 7q 8q");
        is_written(&Command::Aborted { track: TRACK, group: 7, code: 8 }, "3 1d 2q 7q 8q");
    }

    #[test]
    fn an_id_that_no_cache_gives_is_malformed() {
        let mut written = alloc::vec::Vec::new();
        Event::CloseReader { reader: ReaderId { slot: 1, stamp: 0 } }
            .encode(&mut Encoder::new(&mut written));
        let read = Event::decode(&mut Decoder::new(&written, Cache::VERSION));
        assert!(matches!(read, Err(Malformed::Unknown { what: "stamp", value: 0 })));
    }

    #[test]
    fn what_comes_next() {
        let is_written = |next: &Next<u8>, expected| is_written(next, expected);
        let (group, first, count, why) = (1, 2, 3, Missing::Lost);
        is_written(&Next::Missing { group, first, count, why }, "1 1q 2q 3q 0");
        is_written(&Next::Parts { group, index: 2, size: 3 }, "2 1q 2q 3q");
        is_written(&Next::GroupEnd { group, frames: 2 }, "3 1q 2q");
        is_written(&Next::Skipped { group }, "4 1q");
        is_written(&Next::Aborted { group, code: 2 }, "5 1q 2q");
        is_written(&Next::Evicted { group, frame: 2, next: None }, "6 1q 2q 0");
        is_written(&Next::TrackEnd, "7");
        is_written(&Next::TrackAborted { code: 1 }, "8 1q");
        is_written(&Next::Pending, "9");
    }

    #[test]
    fn why_a_call_is_refused() {
        let refusals: [(Refusal, &str); 25] = [
            (Refusal::Undrained, "0"),
            (Refusal::UnknownTrack, "1"),
            (Refusal::UnknownGroup, "2"),
            (Refusal::UnknownReader, "3"),
            (Refusal::Name(1), "4 1q"),
            (Refusal::NameTaken, "5"),
            (Refusal::TrackEnded, "6"),
            (Refusal::BeyondEnd { sequence: 1, end: 2 }, "7 1q 2q"),
            (Refusal::EndsBefore { newest: 1 }, "8 1q"),
            (Refusal::Duplicate(1), "9 1q"),
            (Refusal::BeyondWindow { sequence: 1, last: 2 }, "10 1q 2q"),
            (Refusal::GroupEnded, "11"),
            (Refusal::Aborted(1), "12 1q"),
            (Refusal::Skipped, "13"),
            (Refusal::FrameTooLarge { size: 1, max: 2 }, "14 1q 2q"),
            (Refusal::PastSize { len: 1, left: 2 }, "15 1q 2q"),
            (Refusal::Short { left: 1 }, "16 1q"),
            (Refusal::NoFrame, "17"),
            (Refusal::Unfinished { bytes: 1, max: 2 }, "18 1q 2q"),
            (Refusal::NotNext { index: 1, next: 2 }, "19 1q 2q"),
            (Refusal::Contradiction(1), "20 1q"),
            (Refusal::FrameEvicted { index: 1, floor: 2 }, "21 1q 2q"),
            (Refusal::UsedUp, "22"),
            (Refusal::Full { used: 1, max: 2 }, "23 1q 2q"),
            (Refusal::WithinFrame, "24"),
        ];
        for (refusal, written) in refusals {
            is_written(&refusal, written);
        }
    }
}
