//! The configuration of a cache, its misuse, and the refusals of its calls.

use crate::Duration;
use crate::limits::{OutOfRange, within};
use crate::machine::Undrained;
use crate::vocabulary;

/// The least budget: a page of every table, and some blocks.
const LEAST_BYTES: usize = 256 << 10;
/// The least that is reserved for a publisher: a track, and as much for its frames.
const LEAST_RESERVE: usize = 2 * RESERVED_TRACK;
/// The charge of a reserved track: its place, and the longest name.
pub(super) const RESERVED_TRACK: usize = 288 + MAX_NAME;
/// The longest name of a track, in bytes.
pub const MAX_NAME: usize = 1024;
/// The largest frame that any configuration allows.
const MOST_FRAME: u64 = u32::MAX as u64;

/// The configuration of a [`Cache`](super::Cache).
///
/// # What is charged
///
/// The budget is charged the same on every target, so that a cache evicts and refuses the same there; what is taken is
/// at most that on 64-bit ([`Machine::charged`](crate::Machine::charged)).
///
/// | what | bytes |
/// |---|---|
/// | a track | 288, and its name |
/// | a group | 184 |
/// | a piece: up to 256 frames or 16 KiB, a part of a large frame, or missing frames that lie together | 112 |
/// | a block of 128, 512, 2048, 8192 or 16,384 bytes, or of the size of its frame | 40 more than it has, and 48 |
/// | a buffer from outside that is kept | 40 more than it pins |
/// | a reader | 80 |
/// | a publisher | 32 |
/// | each 64 of the same of these, which are charged together | 84; of these, as many as a power of two, from 4 |
/// | each KiB of the budget: an evicted group that is remembered | 16 |
/// | each 8 KiB of the budget, 16 to 4096 times: places for blocks that wait | 200 |
///
/// While the table of one kind grows, old and new count.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Bytes that the cache takes for all tracks together, bookkeeping included. From 256 KiB, to a
    /// quarter of the address space; there is no default. It holds after every event. Payload
    /// handed out of its blocks, freed by it, and still held outside is not in it:
    /// [`lent`](crate::Machine::lent) counts that. Of buffers that came from outside and were kept
    /// by reference nothing is the cache's once it has let them go.
    pub max_bytes: usize,
    /// The largest frame, in bytes. 1 to 2^32-1; 32 MiB by default. A larger one is refused before
    /// anything is allocated for it.
    pub max_frame: u64,
    /// How far beyond the newest group that a track had, or beyond [`Limits::first_group`] if that is
    /// higher, the next may be: a number beyond that is refused, so that no single number can use up a
    /// track. Zero: none behind the first. 2^20 by default.
    pub window: u64,
    /// Bytes of frames that are begun and not complete, of one publisher. 1 to 2^32-1; 64 MiB by
    /// default. Declared sizes do not count, only what has come of them.
    pub max_unfinished: u64,
    /// Publishers for which [`reserve`](Self::reserve) is kept, whether they have come or not: the first that have
    /// tracks. Others share what is not reserved. Zero: nothing is reserved. 16 by default.
    pub max_publishers: u32,
    /// Bytes of the budget that nothing of other publishers, and no reader, can keep from one: half of them for tracks,
    /// of which each counts 1312, a longest name included, the other half for frames of all. At least 2624, or zero:
    /// nothing is reserved; and `max_publishers` times as much at most half of `max_bytes`. Nobody is kept from it by
    /// groups: the budget evicts those. A 64th of `max_bytes` by default.
    pub reserve: usize,
}

impl Config {
    /// A budget of so many bytes; frames up to 32 MiB, a window of 2^20 groups, 64 MiB unfinished, and a quarter reserved
    /// for 16 publishers.
    #[must_use]
    pub const fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            max_frame: 32 << 20,
            window: 1 << 20,
            max_unfinished: 64 << 20,
            max_publishers: 16,
            reserve: max_bytes / 64,
        }
    }

    /// The least budget, 256 KiB; frames up to 64 KiB, a window of 64 groups, 128 KiB unfinished, and 8 KiB reserved for
    /// each of four publishers: for tests and fuzzers.
    #[must_use]
    pub const fn small() -> Self {
        Self {
            max_bytes: LEAST_BYTES,
            max_frame: 64 << 10,
            window: 64,
            max_unfinished: 128 << 10,
            max_publishers: 4,
            reserve: 8 << 10,
        }
    }

    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        let most = usize::MAX / 4;
        let range = "256 KiB to a quarter of the address space";
        within("max_bytes", self.max_bytes as u64, LEAST_BYTES as u64..=most as u64, range)?;
        within("max_frame", self.max_frame, 1..=MOST_FRAME, "1 to 2^32-1")?;
        within("max_unfinished", self.max_unfinished, 1..=MOST_FRAME, "1 to 2^32-1")?;
        if self.reserve > 0 {
            within(
                "reserve",
                self.reserve as u64,
                LEAST_RESERVE as u64..=u64::MAX,
                "0, or from 2624",
            )?;
        }
        let reserved = (self.max_publishers as u64).saturating_mul(self.reserve as u64);
        let half = 0..=self.max_bytes as u64 / 2;
        within("max_publishers * reserve", reserved, half, "at most half of max_bytes")
    }
}

/// The limits of one track. Zero means without limit, everywhere: the budget of the cache always rules.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Limits {
    /// How long a group is kept after it was created. The newest group of a live track stays. Zero
    /// by default.
    pub max_age: Duration,
    /// Groups, skipped and aborted ones included. The oldest goes first; the newest of a live track
    /// stays. Zero by default.
    pub max_groups: u32,
    /// Bytes of payload in one group. The excess goes from the group's front; indices stay what they
    /// were. Zero by default.
    pub max_group_bytes: u64,
    /// Frames in one group; as `max_group_bytes`. Zero by default.
    pub max_group_frames: u32,
    /// The number from which its groups are expected to begin: as long as there is no higher one, the
    /// window ([`Config::window`]) counts from here. Zero by default.
    pub first_group: u64,
}

/// How an embedding program can misuse a cache. Nothing was changed by it, and a journal has nothing of it.
///
/// Groups, tracks and readers that are gone were told of before: by [`Evicted`](super::Command::Evicted),
/// [`Aborted`](super::Command::Aborted), or the call that ended them.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Misuse {
    /// A configured value leaves its range.
    #[error(transparent)]
    Config(#[from] OutOfRange),
    /// An event before the commands of the last one were drained.
    #[error(transparent)]
    Undrained(#[from] Undrained),
    /// No such track, or no longer.
    #[error("there is no such track")]
    UnknownTrack,
    /// No such group, or no longer: it was evicted.
    #[error("the group is not in the cache")]
    UnknownGroup,
    /// No such reader, or no longer.
    #[error("there is no such reader")]
    UnknownReader,
    /// A track's name is empty or longer than [`MAX_NAME`].
    #[error("a name of {0} bytes; names have 1 to {MAX_NAME}")]
    Name(usize),
    /// The track was finished, aborted or dropped.
    #[error("the track has ended")]
    TrackEnded,
    /// The group was finished.
    #[error("the group has ended")]
    GroupEnded,
    /// The group was aborted.
    #[error("the group was aborted with code {0:#x}")]
    Aborted(u64),
    /// The group's number stands for nothing: it can only be skipped.
    #[error("the group is skipped")]
    Skipped,
    /// There is no open frame to write to.
    #[error("no frame is open in the group")]
    NoFrame,
    /// The reader has read a part of this frame by chunks, and goes on by chunks.
    #[error("the reader is within a frame: it can be read on by chunks, or left by seek")]
    WithinFrame,
}

vocabulary! {
    "refusal";
    /// Why a call or an event was refused: something outside can be the cause, a publisher or who asks for readers. It is
    /// counted. Nothing else was changed by it but the time; and, of [`Full`](Refusal::Full), what was evicted in vain to
    /// make room.
    #[non_exhaustive]
    #[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
    #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
    pub enum Refusal {
        /// A live track has this name.
        #[error("a track of this name is live")]
        5 => NameTaken,
        /// The track was finished with an earlier last group.
        #[error("group {sequence} is beyond the track's last, {end}")]
        7 => BeyondEnd {
            /// The group's number.
            sequence: u64,
            /// The number of the last.
            end: u64,
        },
        /// A track cannot end before groups that it has.
        #[error("the track has group {newest} already")]
        8 => EndsBefore {
            /// Its newest group.
            newest: u64,
        },
        /// The group exists.
        #[error("group {0} exists")]
        9 => Duplicate(sequence: u64),
        /// The number is too far beyond the newest group ([`Config::window`]).
        #[error("group {sequence} is beyond the window, which ends with {last}")]
        10 => BeyondWindow {
            /// The group's number.
            sequence: u64,
            /// The last number that would be accepted now.
            last: u64,
        },
        /// A frame larger than [`Config::max_frame`].
        #[error("a frame of {size} bytes; the largest has {max}")]
        14 => FrameTooLarge {
            /// Its size.
            size: u64,
            /// The largest allowed.
            max: u64,
        },
        /// More bytes than the open frame has left.
        #[error("{len} bytes for a frame that lacks {left}")]
        15 => PastSize {
            /// Bytes given.
            len: u64,
            /// Bytes that the frame lacks.
            left: u64,
        },
        /// The open frame is not complete.
        #[error("the open frame lacks {left} bytes")]
        16 => Short {
            /// Bytes that it lacks.
            left: u64,
        },
        /// The publisher has too many bytes in incomplete frames ([`Config::max_unfinished`]).
        #[error(
            "the publisher would have {bytes} bytes in incomplete frames; at most {max} are allowed"
        )]
        18 => Unfinished {
            /// The bytes it would have.
            bytes: u64,
            /// The bytes allowed.
            max: u64,
        },
        /// A frame behind one that the group does not have yet.
        #[error("frame {index} where {next} is the next")]
        19 => NotNext {
            /// The frame's index.
            index: u64,
            /// The index of the next.
            next: u64,
        },
        /// The group holds other bytes under this index. A frame that is held is never overwritten.
        #[error("frame {0} is held with other bytes")]
        20 => Contradiction(index: u64),
        /// The frame was evicted: nothing can be compared, and nothing comes back.
        #[error("frame {index} was evicted; {floor} is the first there is")]
        21 => FrameEvicted {
            /// The frame's index.
            index: u64,
            /// The first frame of the group that is in the cache.
            floor: u64,
        },
        /// A group has at most 2^32-2 frames.
        #[error("the group has no indices left")]
        22 => UsedUp,
        /// The budget is used up by what cannot be evicted, tracks and readers, but for what is reserved for
        /// publishers ([`Config::reserve`]).
        #[error("no memory is left beside what is reserved: {used} of {max} bytes are taken")]
        23 => Full {
            /// Bytes taken.
            used: usize,
            /// The budget.
            max: usize,
        },
    }
}

/// Why a call did nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CallError {
    /// The embedding program must not make it.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// It was refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
}
