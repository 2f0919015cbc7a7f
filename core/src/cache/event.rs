//! The events, commands and answers of a cache.

use bytes::Bytes;
use core::fmt;

use super::config::{CallError, Limits, Refusal};
use super::group::{GroupId, Missing};
use super::reader::ReaderId;
use super::run::Run;
use super::track::TrackId;
use crate::display::display;
use crate::journal::{Decoder, Encoder, Field, Malformed};
use crate::vocabulary;
use crate::wire::brief::BriefMessage;

display!(Missing { Self::Lost => "lost", Self::Absent => "absent" });

/// How a frame is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum ReadUnit {
    /// [`next_shared`](super::Cache::next_shared).
    Frame,
    /// [`next_chunk`](super::Cache::next_chunk).
    Chunk,
    /// [`next_run`](super::Cache::next_run).
    Run,
}

/// The place at which a reader begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Start {
    /// At a frame of a group, which need not exist yet. Numbers that never come are passed over as soon
    /// as a later group exists.
    At {
        /// The group's number.
        group: u64,
        /// The frame's index.
        frame: u64,
    },
    /// At the first frame that is held, in the group with the lowest number.
    Oldest,
    /// At the first frame that is held of the newest group; at what comes first when there is none.
    Newest,
    /// Behind the last frame of the newest group: at the live edge.
    Live,
}

/// A number of frames, in four bytes: a group has fewer.
pub(super) mod narrow {
    use super::{Decoder, Encoder, Field, Malformed};

    pub(crate) fn encode(count: &u64, out: &mut Encoder<'_>) {
        u32::try_from(*count).unwrap_or(u32::MAX).encode(out);
    }

    pub(crate) fn decode(input: &mut Decoder<'_>) -> Result<u64, Malformed> {
        u32::decode(input).map(u64::from)
    }
}

vocabulary! {
    "event of a cache" for super::Cache, Result<Answer, CallError>;
    /// An event of a cache: each is a call of [`Cache`](super::Cache) too, which says what it does.
    #[derive(Clone, PartialEq, Eq)]
    #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
    pub enum Event<'a> {
        /// [`create_track`](super::Cache::create_track).
        0 => CreateTrack {
            /// 1 to [`MAX_NAME`](super::MAX_NAME) bytes.
            name: &'a [u8] as BriefMessage,
            /// The number of the publisher whose unfinished bytes are counted together.
            publisher: u64,
            /// The limits of the track.
            limits: Limits,
        } => |cache, now| cache.create_track(now, name, publisher, limits).map(Answer::Track),
        /// [`finish_track`](super::Cache::finish_track).
        1 => FinishTrack {
            /// The track.
            track: TrackId,
            /// Its last group; `None` for the newest.
            end: Option<u64>,
        } => |cache, _| Answer::done(cache.finish_track(track, end)?),
        /// [`abort_track`](super::Cache::abort_track).
        2 => AbortTrack {
            /// The track.
            track: TrackId,
            /// Why, for readers.
            code: u64,
        } => |cache, _| Answer::done(cache.abort_track(track, code)?),
        /// [`drop_track`](super::Cache::drop_track).
        3 => DropTrack {
            /// The track.
            track: TrackId,
        } => |cache, _| Answer::done(cache.drop_track(track)?),
        /// [`create_group`](super::Cache::create_group).
        4 => CreateGroup {
            /// The track.
            track: TrackId,
            /// The group's number.
            sequence: u64,
        } => |cache, now| cache.create_group(now, track, sequence).map(Answer::Group),
        /// [`append_group`](super::Cache::append_group).
        5 => AppendGroup {
            /// The track.
            track: TrackId,
        } => |cache, now| cache.append_group(now, track).map(Answer::Group),
        /// [`skip_group`](super::Cache::skip_group).
        6 => SkipGroup {
            /// The track.
            track: TrackId,
            /// The group's number.
            sequence: u64,
        } => |cache, now| Answer::done(cache.skip_group(now, track, sequence)?),
        /// [`append`](super::Cache::append).
        7 => Append {
            /// The group.
            group: GroupId,
            /// The whole frame.
            frame: &'a [u8] as BriefMessage,
        } => |cache, _| Answer::done(cache.append(group, frame)?),
        /// [`append_shared`](super::Cache::append_shared).
        8 => AppendShared {
            /// The group.
            group: GroupId,
            /// The whole frame.
            #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::fuzz::bytes))]
            frame: Bytes as BriefMessage,
            /// How many bytes of memory `frame` keeps alive.
            pinned: usize,
        } => |cache, _| Answer::done(cache.append_shared(group, frame, pinned)?),
        /// [`open_frame`](super::Cache::open_frame).
        9 => OpenFrame {
            /// The group.
            group: GroupId,
            /// The frame's size in bytes.
            size: u64,
        } => |cache, _| Answer::done(cache.open_frame(group, size)?),
        /// [`write`](super::Cache::write).
        10 => Write {
            /// The group.
            group: GroupId,
            /// The next bytes of its open frame.
            chunk: &'a [u8] as BriefMessage,
        } => |cache, _| Answer::done(cache.write(group, chunk)?),
        /// [`write_shared`](super::Cache::write_shared).
        11 => WriteShared {
            /// The group.
            group: GroupId,
            /// The next bytes of its open frame.
            #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::fuzz::bytes))]
            chunk: Bytes as BriefMessage,
            /// How many bytes of memory `chunk` keeps alive.
            pinned: usize,
        } => |cache, _| Answer::done(cache.write_shared(group, chunk, pinned)?),
        /// [`append_missing`](super::Cache::append_missing).
        12 => AppendMissing {
            /// The group.
            group: GroupId,
            /// How many frames.
            count by narrow: u64,
            /// Why they are missing.
            why: Missing,
        } => |cache, _| Answer::done(cache.append_missing(group, count, why)?),
        /// [`put`](super::Cache::put).
        13 => Put {
            /// The group.
            group: GroupId,
            /// The frame's index.
            index: u64,
            /// The whole frame.
            frame: &'a [u8] as BriefMessage,
        } => |cache, _| cache.put(group, index, frame).map(Answer::Put),
        /// [`finish_group`](super::Cache::finish_group).
        14 => FinishGroup {
            /// The group.
            group: GroupId,
        } => |cache, _| Answer::done(cache.finish_group(group)?),
        /// [`abort_group`](super::Cache::abort_group).
        15 => AbortGroup {
            /// The group.
            group: GroupId,
            /// Why, for readers.
            code: u64,
        } => |cache, _| Answer::done(cache.abort_group(group, code)?),
        /// [`drop_group`](super::Cache::drop_group).
        16 => DropGroup {
            /// The group.
            group: GroupId,
        } => |cache, _| Answer::done(cache.drop_group(group)?),
        /// [`open_reader`](super::Cache::open_reader).
        17 => OpenReader {
            /// The track.
            track: TrackId,
            /// The place at which it begins.
            start: Start,
        } => |cache, _| cache.open_reader(track, start).map(Answer::Reader),
        /// [`clone_reader`](super::Cache::clone_reader).
        18 => CloneReader {
            /// The reader.
            reader: ReaderId,
        } => |cache, _| cache.clone_reader(reader).map(Answer::Reader),
        /// [`close_reader`](super::Cache::close_reader).
        19 => CloseReader {
            /// The reader.
            reader: ReaderId,
        } => |cache, _| Answer::done(cache.close_reader(reader)?),
        /// [`seek`](super::Cache::seek).
        20 => Seek {
            /// The reader.
            reader: ReaderId,
            /// The place at which it continues.
            start: Start,
        } => |cache, _| Answer::done(cache.seek(reader, start)?),
        /// [`seal`](super::Cache::seal).
        22 => Seal {
            /// The track.
            track: TrackId,
        } => |cache, _| Answer::done(cache.seal(track)?),
        /// [`next_frame`](super::Cache::next_frame), for keeps: a share, or a copy of a frame that is not sealed.
        23 => NextFrame {
            /// The reader.
            reader: ReaderId,
        } => |cache, _| Ok(Answer::Frame(cache.next_frame_kept(reader)?)),
        /// One step of a reader.
        21 => Read {
            /// The reader.
            reader: ReaderId,
            /// The unit that it takes.
            by: ReadUnit,
        } => |cache, _| Ok(cache.read(reader, by)?),
    }
}

vocabulary! {
    "command of a cache";
    /// A report of a cache.
    #[derive(Clone, PartialEq, Eq)]
    #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
    pub enum Command {
        /// The answer to the event of [`handle`](crate::Machine::handle); the first command after it.
        0 => Answer(answer: Answer),
        /// A reader that found nothing more has something to read. Told once, until it has found nothing
        /// again.
        1 => Readable(reader: ReaderId),
        /// The cache let groups or frames of a track go. Told once for an event, however many they were.
        2 => Evicted {
            /// The track.
            track: TrackId,
            /// The group with the lowest number that is left and its first frame; `None` when none is left.
            floor: Option<(u64, u64)>,
        },
        /// The cache aborted a group, because the budget cannot hold one of its frames.
        3 => Aborted {
            /// The track.
            track: TrackId,
            /// The group's number.
            group: u64,
            /// [`TOO_LARGE`](super::TOO_LARGE).
            code: u64,
        },
    }
}

vocabulary! {
    "answer of a cache";
    /// The result of an event or a call.
    #[derive(Clone, PartialEq, Eq)]
    #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
    pub enum Answer {
        /// It was done.
        0 => Done,
        /// A track was created.
        1 => Track(track: TrackId),
        /// A group was created.
        2 => Group(group: GroupId),
        /// A reader was opened.
        3 => Reader(reader: ReaderId),
        /// The result of putting a frame.
        4 => Put(put: Put),
        /// The result of reading by frames.
        5 => Frame(next: Next<Frame<Bytes>>),
        /// The result of reading by chunks.
        6 => Chunk(next: Next<Chunk<Bytes>>),
        /// The result of reading by runs.
        7 => Run(next: Next<Run>),
        /// It was refused.
        8 => Refused(refusal: Refusal),
    }
}

impl Answer {
    /// Of what gives nothing that is recorded.
    fn done<T>(_: T) -> Result<Self, CallError> {
        Ok(Self::Done)
    }

    /// A refusal as an error.
    ///
    /// # Errors
    /// [`Answer::Refused`].
    pub fn result(self) -> Result<Self, CallError> {
        match self {
            Self::Refused(refusal) => Err(refusal.into()),
            answer => Ok(answer),
        }
    }
}

/// The result of putting a frame at an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Put {
    /// It is the group's new last frame.
    Appended,
    /// It was missing, and is held now: the one change that is allowed.
    Filled,
    /// The same bytes were held already.
    Duplicate,
}

/// The state of an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum FrameState<'a> {
    /// A frame with this payload.
    Held(&'a [u8]),
    /// A frame of so many bytes that came in several chunks, and does not lie together.
    Parts {
        /// Its size in bytes.
        size: u64,
    },
    /// A place for a frame, but none.
    Missing(Missing),
    /// It was evicted, or went when its group was aborted.
    Evicted,
    /// It is not complete, or did not begin yet.
    Pending,
}

/// The next thing for a reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Next<T> {
    /// This; the reader stands behind it.
    Held(T),
    /// Frames that are missing; the reader stands behind them.
    Missing {
        /// The group's number.
        group: u64,
        /// The first of them.
        first: u64,
        /// How many.
        count: u64,
        /// Why.
        why: Missing,
    },
    /// The next frame came in several chunks, and does not lie together: it can be read by chunks or
    /// runs. The reader stands where it stood.
    Parts {
        /// The group's number.
        group: u64,
        /// The frame's index.
        index: u64,
        /// Its size in bytes.
        size: u64,
    },
    /// The group is over; the reader goes on with the next.
    GroupEnd {
        /// The group's number.
        group: u64,
        /// How many frames it had, evicted and missing ones included.
        frames: u64,
    },
    /// The group can only be skipped; the reader goes on with the next.
    Skipped {
        /// The group's number.
        group: u64,
    },
    /// The group was aborted before the reader had drained it; it goes on with the next.
    Aborted {
        /// The group's number.
        group: u64,
        /// Why.
        code: u64,
    },
    /// The cache passed the reader: what it would have read is gone. One that has read all of a group that
    /// had ended gets that instead, as long as it is remembered (see [the module](super#memory)). As far as groups came out of order
    /// this is reported of numbers too that never came: those below the highest that was evicted. A reader of
    /// a group that was evicted and created again may be sent to where it stood.
    Evicted {
        /// The group that it stood in, or would have read next.
        group: u64,
        /// The frame.
        frame: u64,
        /// The place where it continues, with what is still there: group and frame. `None`: nothing yet.
        next: Option<(u64, u64)>,
    },
    /// The track is over, and everything of it was read.
    TrackEnd,
    /// The track was aborted, or its producer went away; everything that is left was read.
    TrackAborted {
        /// Why.
        code: u64,
    },
    /// Nothing yet: [`Command::Readable`] follows when there is something.
    Pending,
}

impl<T> Next<T> {
    /// The same, with what is held made into something else.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Next<U> {
        match self {
            Self::Held(held) => Next::Held(make(held)),
            Self::Missing { group, first, count, why } => {
                Next::Missing { group, first, count, why }
            }
            Self::Parts { group, index, size } => Next::Parts { group, index, size },
            Self::GroupEnd { group, frames } => Next::GroupEnd { group, frames },
            Self::Skipped { group } => Next::Skipped { group },
            Self::Aborted { group, code } => Next::Aborted { group, code },
            Self::Evicted { group, frame, next } => Next::Evicted { group, frame, next },
            Self::TrackEnd => Next::TrackEnd,
            Self::TrackAborted { code } => Next::TrackAborted { code },
            Self::Pending => Next::Pending,
        }
    }

    /// The value that is held, if it is that.
    pub fn held(self) -> Option<T> {
        match self {
            Self::Held(held) => Some(held),
            _ => None,
        }
    }
}

/// A whole frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "arbitrary", arbitrary(bound = "B: From<alloc::vec::Vec<u8>>"))]
pub struct Frame<B> {
    /// The group's number.
    pub group: u64,
    /// Its index in the group, from 0.
    pub index: u64,
    /// Its payload, which may be empty.
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::fuzz::bytes))]
    pub bytes: B,
}

/// A part of a frame, perhaps all of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[cfg_attr(feature = "arbitrary", arbitrary(bound = "B: From<alloc::vec::Vec<u8>>"))]
pub struct Chunk<B> {
    /// The group's number.
    pub group: u64,
    /// The frame's index in the group.
    pub index: u64,
    /// The frame's size in bytes.
    pub size: u64,
    /// The offset of these bytes in the frame.
    pub offset: u64,
    /// The bytes: not empty, unless the frame is.
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::fuzz::bytes))]
    pub bytes: B,
}

impl Frame<&[u8]> {
    /// The same frame for keeps.
    pub(super) fn copied(self) -> Frame<Bytes> {
        let Self { group, index, bytes } = self;
        Frame { group, index, bytes: Bytes::copy_from_slice(bytes) }
    }
}

impl<B: AsRef<[u8]>> fmt::Debug for Frame<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let len = self.bytes.as_ref().len();
        write!(f, "frame {} of group {} ({len} bytes)", self.index, self.group)
    }
}

impl<B: AsRef<[u8]>> fmt::Debug for Chunk<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, index, size, offset, bytes } = self;
        let end = offset + bytes.as_ref().len() as u64;
        write!(f, "bytes {offset} to {end} of {size} of frame {index} of group {group}")
    }
}
