//! What a cache takes and gives.

use bytes::Bytes;
use core::fmt;

use super::config::{Limits, Refusal};
use super::group::{GroupId, Missing};
use super::reader::{ReadUnit, ReaderId};
use super::run::Run;
use super::track::TrackId;

/// Where a reader begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

/// What a cache takes: each is a call of [`Cache`](super::Cache) too, which says what it does.
#[derive(Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// [`create_track`](super::Cache::create_track).
    CreateTrack {
        /// 1 to [`MAX_NAME`](super::MAX_NAME) bytes.
        name: &'a [u8],
        /// Whose unfinished bytes are counted together.
        publisher: u64,
        /// What the track may keep.
        limits: Limits,
    },
    /// [`finish_track`](super::Cache::finish_track).
    FinishTrack {
        /// The track.
        track: TrackId,
        /// Its last group; `None` for the newest.
        end: Option<u64>,
    },
    /// [`abort_track`](super::Cache::abort_track).
    AbortTrack {
        /// The track.
        track: TrackId,
        /// Why, for readers.
        code: u64,
    },
    /// [`drop_track`](super::Cache::drop_track).
    DropTrack {
        /// The track.
        track: TrackId,
    },
    /// [`create_group`](super::Cache::create_group).
    CreateGroup {
        /// The track.
        track: TrackId,
        /// The group's number.
        sequence: u64,
    },
    /// [`append_group`](super::Cache::append_group).
    AppendGroup {
        /// The track.
        track: TrackId,
    },
    /// [`skip_group`](super::Cache::skip_group).
    SkipGroup {
        /// The track.
        track: TrackId,
        /// The group's number.
        sequence: u64,
    },
    /// [`append`](super::Cache::append).
    Append {
        /// The group.
        group: GroupId,
        /// The whole frame.
        frame: &'a [u8],
    },
    /// [`append_shared`](super::Cache::append_shared).
    AppendShared {
        /// The group.
        group: GroupId,
        /// The whole frame.
        frame: Bytes,
        /// How many bytes of memory `frame` keeps alive.
        pinned: usize,
    },
    /// [`open_frame`](super::Cache::open_frame).
    OpenFrame {
        /// The group.
        group: GroupId,
        /// The frame's size in bytes.
        size: u64,
    },
    /// [`write`](super::Cache::write).
    Write {
        /// The group.
        group: GroupId,
        /// The next bytes of its open frame.
        chunk: &'a [u8],
    },
    /// [`write_shared`](super::Cache::write_shared).
    WriteShared {
        /// The group.
        group: GroupId,
        /// The next bytes of its open frame.
        chunk: Bytes,
        /// How many bytes of memory `chunk` keeps alive.
        pinned: usize,
    },
    /// [`append_missing`](super::Cache::append_missing).
    AppendMissing {
        /// The group.
        group: GroupId,
        /// How many frames.
        count: u32,
        /// Why they are missing.
        why: Missing,
    },
    /// [`put`](super::Cache::put).
    Put {
        /// The group.
        group: GroupId,
        /// The frame's index.
        index: u64,
        /// The whole frame.
        frame: &'a [u8],
    },
    /// [`finish_group`](super::Cache::finish_group).
    FinishGroup {
        /// The group.
        group: GroupId,
    },
    /// [`abort_group`](super::Cache::abort_group).
    AbortGroup {
        /// The group.
        group: GroupId,
        /// Why, for readers.
        code: u64,
    },
    /// [`drop_group`](super::Cache::drop_group).
    DropGroup {
        /// The group.
        group: GroupId,
    },
    /// [`open_reader`](super::Cache::open_reader).
    OpenReader {
        /// The track.
        track: TrackId,
        /// Where it begins.
        start: Start,
    },
    /// [`clone_reader`](super::Cache::clone_reader).
    CloneReader {
        /// The reader.
        reader: ReaderId,
    },
    /// [`close_reader`](super::Cache::close_reader).
    CloseReader {
        /// The reader.
        reader: ReaderId,
    },
    /// [`seek`](super::Cache::seek).
    Seek {
        /// The reader.
        reader: ReaderId,
        /// Where it goes on.
        start: Start,
    },
    /// [`seal`](super::Cache::seal).
    Seal {
        /// The track.
        track: TrackId,
    },
    /// One step of a reader.
    Read {
        /// The reader.
        reader: ReaderId,
        /// What it takes.
        by: ReadUnit,
    },
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateTrack { name, publisher, limits } => f
                .debug_struct("CreateTrack")
                .field("name", &Name(name))
                .field("publisher", publisher)
                .field("limits", limits)
                .finish(),
            Self::FinishTrack { track, end } => write!(f, "FinishTrack {track:?} with {end:?}"),
            Self::AbortTrack { track, code } => write!(f, "AbortTrack {track:?} with {code:#x}"),
            Self::DropTrack { track } => write!(f, "DropTrack {track:?}"),
            Self::CreateGroup { track, sequence } => {
                write!(f, "CreateGroup {sequence} in {track:?}")
            }
            Self::AppendGroup { track } => write!(f, "AppendGroup in {track:?}"),
            Self::SkipGroup { track, sequence } => write!(f, "SkipGroup {sequence} in {track:?}"),
            Self::Append { group, frame } => {
                write!(f, "Append {} bytes to {group:?}", frame.len())
            }
            Self::AppendShared { group, frame, pinned } => {
                write!(f, "AppendShared {} bytes of {pinned} to {group:?}", frame.len())
            }
            Self::OpenFrame { group, size } => write!(f, "OpenFrame of {size} bytes in {group:?}"),
            Self::Write { group, chunk } => write!(f, "Write {} bytes to {group:?}", chunk.len()),
            Self::WriteShared { group, chunk, pinned } => {
                write!(f, "WriteShared {} bytes of {pinned} to {group:?}", chunk.len())
            }
            Self::AppendMissing { group, count, why } => {
                write!(f, "AppendMissing {count} {why:?} to {group:?}")
            }
            Self::Put { group, index, frame } => {
                write!(f, "Put {} bytes as frame {index} into {group:?}", frame.len())
            }
            Self::FinishGroup { group } => write!(f, "FinishGroup {group:?}"),
            Self::AbortGroup { group, code } => write!(f, "AbortGroup {group:?} with {code:#x}"),
            Self::DropGroup { group } => write!(f, "DropGroup {group:?}"),
            Self::OpenReader { track, start } => write!(f, "OpenReader of {track:?} at {start:?}"),
            Self::CloneReader { reader } => write!(f, "CloneReader {reader:?}"),
            Self::CloseReader { reader } => write!(f, "CloseReader {reader:?}"),
            Self::Seek { reader, start } => write!(f, "Seek {reader:?} to {start:?}"),
            Self::Seal { track } => write!(f, "Seal {track:?}"),
            Self::Read { reader, by } => write!(f, "Read {reader:?} by {by:?}"),
        }
    }
}

/// A track's name, readably.
struct Name<'a>(&'a [u8]);

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// What a cache reports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// What the event of [`handle`](crate::Machine::handle) gave; the first command after it.
    Answer(Answer),
    /// A reader that found nothing more has something to read. Told once, until it has found nothing
    /// again.
    Readable(ReaderId),
    /// The cache let groups or frames of a track go. Told once for an event, however many they were.
    Evicted {
        /// The track.
        track: TrackId,
        /// The group with the lowest number that is left and its first frame; `None` when none is left.
        floor: Option<(u64, u64)>,
    },
    /// The cache aborted a group, because the budget cannot hold one of its frames.
    Aborted {
        /// The track.
        track: TrackId,
        /// The group's number.
        group: u64,
        /// [`TOO_LARGE`](super::TOO_LARGE).
        code: u64,
    },
}

/// What an event or a call gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It was done.
    Done,
    /// A track was created.
    Track(TrackId),
    /// A group was created.
    Group(GroupId),
    /// A reader was opened.
    Reader(ReaderId),
    /// What became of a frame that was put.
    Put(Put),
    /// What a reader read by frames.
    Frame(Next<Frame<Bytes>>),
    /// What a reader read by chunks.
    Chunk(Next<Chunk<Bytes>>),
    /// What a reader read by runs.
    Run(Next<Run>),
    /// It was refused, for a reason that is not the embedding program's
    /// ([`Refusal::is_from_outside`]); or, from a call, for any reason.
    Refused(Refusal),
}

/// What became of a frame that was put at an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    /// It is the group's new last frame.
    Appended,
    /// It was missing, and is held now: the one change that is allowed.
    Filled,
    /// The same bytes were held already.
    Duplicate,
}

/// What there is under an index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

/// What comes next for a reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
        /// What is still there, where it goes on: group and frame. `None`: nothing yet.
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

    /// What is held, if it is that.
    pub fn held(self) -> Option<T> {
        match self {
            Self::Held(held) => Some(held),
            _ => None,
        }
    }
}

/// A whole frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Frame<B> {
    /// The group's number.
    pub group: u64,
    /// Its index in the group, from 0.
    pub index: u64,
    /// Its payload, which may be empty.
    pub bytes: B,
}

/// A part of a frame, perhaps all of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chunk<B> {
    /// The group's number.
    pub group: u64,
    /// The frame's index in the group.
    pub index: u64,
    /// The frame's size in bytes.
    pub size: u64,
    /// Where in the frame these bytes lie.
    pub offset: u64,
    /// The bytes: not empty, unless the frame is.
    pub bytes: B,
}

impl<B> Chunk<B> {
    /// The same chunk with its bytes made into something else.
    pub fn map<C>(self, make: impl FnOnce(B) -> C) -> Chunk<C> {
        let Self { group, index, size, offset, bytes } = self;
        Chunk { group, index, size, offset, bytes: make(bytes) }
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
