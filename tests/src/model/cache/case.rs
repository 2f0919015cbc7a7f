//! Random cases: a configuration, and what happens to tracks, groups, frames, readers and time.
//!
//! Operations name tracks, groups and readers by small numbers, which the play takes for the latest
//! ones, so that most of what bytes draw means something.

use std::fmt;
use std::sync::LazyLock;

use arbitrary::{Arbitrary, Result, Unstructured};
use gapless_core::Duration;
use gapless_core::cache::{Config, Limits, Missing, ReadUnit};

/// The most that happens in a case.
const MOST_OPS: usize = 400;
/// The largest payload.
pub(super) const LARGEST: usize = 1 << 20;
/// Where payloads may begin in the pattern that they are cut from.
const BEGINNINGS: usize = 8_191;

/// The bytes that all payloads are cut from.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..LARGEST + 1 + BEGINNINGS).map(next).collect()
});

/// The `number`th payload; neighbours of it differ, unless they are empty.
pub(super) fn payload(number: u64, len: usize) -> &'static [u8] {
    let begin = (number * 31 % BEGINNINGS as u64) as usize;
    &PATTERN[begin..begin + len]
}

/// Which one of several: counted back from the latest.
pub(super) type Nth = u8;

/// A group's number.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    /// So many are left out behind the newest.
    Ahead(u8),
    /// So many before the newest.
    Back(u8),
    /// So far beyond the last that the window allows, or short of it.
    Window(i8),
    /// Anything.
    Any(u64),
}

/// How a frame is put.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// The payload that is held there; anything where nothing is.
    Same,
    /// Something else.
    Other,
    /// The payload that is held there, and a byte more, or a byte less.
    Resized,
}

/// How a producer ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// It finishes; a track so many groups behind its newest, where it says how many.
    Finish(Option<i8>),
    /// It aborts with a code.
    Abort(u8),
    /// It goes away.
    Drop,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    /// At a group, and a frame.
    At(Number, u8),
    /// At the oldest.
    Oldest,
    /// At the beginning of the newest.
    Newest,
    /// At the live edge.
    Live,
}

/// How bytes come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given {
    /// Borrowed.
    Borrowed,
    /// Shared, in a buffer that is so much longer.
    Shared(u32),
}

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// A track is created under one of a few names.
    CreateTrack { name: u8, publisher: u8, limits: Limits },
    /// A name that no track can have.
    BadName(bool),
    /// A track's producer ends.
    EndTrack(Nth, End),
    /// A group is created; by a clock that is behind, where it says by how many milliseconds.
    CreateGroup(Nth, Number, u8),
    /// The next group is created.
    AppendGroup(Nth),
    /// A group is skipped.
    SkipGroup(Nth, Number),
    /// A whole frame.
    Append(Nth, u32, Given),
    /// Many small frames.
    Burst(Nth, u16, u8),
    /// A frame is declared.
    OpenFrame(Nth, u32),
    /// So many 255ths of what the open frame lacks are written, and so many bytes more.
    Write(Nth, u8, i8, Given),
    /// Frames that are missing.
    AppendMissing(Nth, u32, Missing),
    /// A frame is put so far before the group's next.
    Put(Nth, i16, Content, u32),
    /// A group's producer ends.
    EndGroup(Nth, End),
    /// A reader opens.
    OpenReader(Nth, From),
    /// A reader is cloned.
    CloneReader(Nth),
    /// A reader is closed.
    CloseReader(Nth),
    /// A reader seeks.
    Seek(Nth, From),
    /// A reader reads up to so many times.
    Read(Nth, ReadUnit, u8),
    /// A position is taken in a track, so far within its frame.
    Place(Nth, From, u16),
    /// The frames that were appended to a track are sealed.
    Seal(Nth),
    /// Runs of so many bytes are read at a position, up to so many times.
    RunAt(Nth, u32, u8),
    /// So many milliseconds pass, and the machine is told.
    Wait(u32),
    /// So many milliseconds pass, and the machine is not told.
    Late(u8),
    /// The next timeout comes.
    Timeout,
    /// A timeout that lies in the past.
    Past(u8),
    /// The frames that were read are held from now on, or no longer.
    Hold(bool),
    /// One of the things held is dropped.
    Release(u8),
}

impl<'a> Arbitrary<'a> for Number {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=15)? {
            0..=9 => Self::Ahead(0),
            10..=11 => Self::Ahead(u.int_in_range(0..=4)?),
            12..=13 => Self::Back(u.int_in_range(0..=6)?),
            14 => Self::Window(u.int_in_range(-2..=2)?),
            _ => Self::Any(u.arbitrary()?),
        })
    }
}

impl<'a> Arbitrary<'a> for From {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=9)? {
            0..=3 => Self::Oldest,
            4 => Self::Newest,
            5 => Self::Live,
            6 => Self::At(Number::arbitrary(u)?, u.int_in_range(0..=20)?),
            _ => Self::At(Number::Back(u.int_in_range(0..=4)?), u.int_in_range(0..=2)?),
        })
    }
}

impl<'a> Arbitrary<'a> for Given {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=5)? {
            0..=2 => Self::Borrowed,
            3 => Self::Shared(0),
            4 => Self::Shared(u.int_in_range(0..=2_000)?),
            _ => Self::Shared(u.int_in_range(0..=100_000)?),
        })
    }
}

/// The length of a frame: mostly a few bytes, often near where the cache does otherwise.
fn len(u: &mut Unstructured<'_>) -> Result<u32> {
    Ok(match u.int_in_range(0..=31)? {
        0 => 0,
        1..=12 => u.int_in_range(0..=100)?,
        13..=16 => u.int_in_range(0..=3_000)?,
        17..=19 => *u.choose(&[63, 64, 4_095, 4_096, 4_097])?,
        20..=21 => *u.choose(&[16_381, 16_383, 16_384, 16_385])?,
        22..=26 => u.int_in_range(3_000..=20_000)?,
        27..=29 => u.int_in_range(20_000..=70_000)?,
        30 => u.int_in_range(0..=300_000)?,
        _ => u.int_in_range(0..=LARGEST as u32)?,
    })
}

fn limits(u: &mut Unstructured<'_>) -> Result<Limits> {
    if u.ratio(1, 3)? {
        return Ok(Limits::default());
    }
    Ok(Limits {
        max_age: Duration::from_millis(*u.choose(&[0, 0, 1, 50, 1_000])?),
        max_groups: *u.choose(&[0, 0, 0, 1, 2, 5])?,
        max_group_bytes: *u.choose(&[0, 0, 0, 1, 1_000, 30_000])?,
        max_group_frames: *u.choose(&[0, 0, 0, 1, 3, 300])?,
        first_group: *u.choose(&[0, 0, 0, 3, 1 << 40])?,
    })
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        // Of tracks, groups and readers the latest most often.
        let nth = |u: &mut Unstructured<'a>| {
            if u.ratio(2, 3)? { Ok(0) } else { u.int_in_range(0..=7) }
        };
        let end = |u: &mut Unstructured<'a>| {
            Ok(match u.int_in_range(0..=5)? {
                0..=2 => End::Finish(None),
                3 => End::Finish(Some(u.int_in_range(-1..=3)?)),
                4 => End::Abort(u.arbitrary()?),
                _ => End::Drop,
            })
        };
        let by = |u: &mut Unstructured<'a>| {
            u.choose(&[ReadUnit::Frame, ReadUnit::Chunk, ReadUnit::Run]).copied()
        };
        let why = |u: &mut Unstructured<'a>| u.choose(&[Missing::Lost, Missing::Absent]).copied();
        Ok(match u.int_in_range(0..=119)? {
            0..=2 => Self::CreateTrack {
                name: u.int_in_range(0..=4)?,
                publisher: u.int_in_range(0..=1)?,
                limits: limits(u)?,
            },
            3 => match u.ratio(1, 4)? {
                true => Self::BadName(u.arbitrary()?),
                false => Self::EndTrack(nth(u)?, end(u)?),
            },
            4..=11 => {
                let past = if u.ratio(1, 10)? { u.int_in_range(1..=60)? } else { 0 };
                Self::CreateGroup(nth(u)?, Number::arbitrary(u)?, past)
            }
            12..=15 => Self::AppendGroup(nth(u)?),
            16..=18 => Self::SkipGroup(nth(u)?, Number::arbitrary(u)?),
            19..=46 => Self::Append(nth(u)?, len(u)?, Given::arbitrary(u)?),
            47..=51 => Self::Burst(nth(u)?, u.int_in_range(1..=600)?, u.int_in_range(0..=90)?),
            52..=56 => Self::OpenFrame(nth(u)?, len(u)?),
            57..=64 => {
                let more = if u.ratio(1, 6)? { u.int_in_range(-2..=2)? } else { 0 };
                let part = if u.ratio(1, 3)? { 255 } else { u.arbitrary()? };
                Self::Write(nth(u)?, part, more, Given::arbitrary(u)?)
            }
            65..=68 => match u.ratio(1, 30)? {
                true => Self::AppendMissing(nth(u)?, u.arbitrary()?, why(u)?),
                false => Self::AppendMissing(nth(u)?, u.int_in_range(0..=12)?, why(u)?),
            },
            69..=75 => {
                let content = match u.int_in_range(0..=5)? {
                    0..=3 => Content::Same,
                    4 => Content::Other,
                    _ => Content::Resized,
                };
                let back = match u.int_in_range(0..=7)? {
                    0..=5 => u.int_in_range(-1..=15)?,
                    _ => u.int_in_range(-3..=600)?,
                };
                Self::Put(nth(u)?, back, content, len(u)?)
            }
            76..=80 => Self::EndGroup(nth(u)?, end(u)?),
            81..=85 => Self::OpenReader(nth(u)?, From::arbitrary(u)?),
            86 => Self::CloneReader(nth(u)?),
            87 => Self::CloseReader(nth(u)?),
            88..=89 => Self::Seek(nth(u)?, From::arbitrary(u)?),
            90..=105 => {
                Self::Read(u.int_in_range(0..=7)?, by(u)?, *u.choose(&[1, 1, 2, 5, 50, 255])?)
            }
            106 => {
                let within = if u.ratio(1, 4)? { u.int_in_range(0..=10_000)? } else { 0 };
                Self::Place(nth(u)?, From::arbitrary(u)?, within)
            }
            107 => Self::Seal(nth(u)?),
            108..=109 => {
                let max_bytes = *u.choose(&[0, 1, 100, 5_000, 16_384, u32::MAX])?;
                Self::RunAt(u.int_in_range(0..=3)?, max_bytes, *u.choose(&[1, 2, 5, 50, 255])?)
            }
            110..=111 => Self::Wait(u.int_in_range(0..=60)?),
            112 => Self::Wait(u.int_in_range(0..=2_000)?),
            113 => Self::Late(u.arbitrary()?),
            114..=116 => Self::Timeout,
            117 => Self::Past(u.arbitrary()?),
            118 => Self::Hold(u.arbitrary()?),
            _ => Self::Release(u.arbitrary()?),
        })
    }
}

/// Which way the cache that is judged is driven; a twin takes the same by the methods themselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// By events.
    Events,
    /// By direct calls, as journals know them.
    Calls,
    /// By its methods, frames borrowed; where it is recorded, by calls.
    Methods,
}

/// A configuration, and what happens.
#[derive(Clone)]
pub struct Case {
    pub(super) config: Config,
    pub(super) way: Way,
    pub(super) ops: Vec<Op>,
}

impl fmt::Debug for Case {
    /// A line for each thing that happens, however it is asked for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}, by {:?}", self.config, self.way)?;
        self.ops.iter().try_for_each(|op| writeln!(f, "{op:?}"))
    }
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let max_bytes = *u.choose(&[256 << 10, 256 << 10, 300_000, 512 << 10, 2 << 20])?;
        let (max_publishers, reserve) =
            *u.choose(&[(16, max_bytes / 64), (0, 0), (2, max_bytes / 4), (2, 2624)])?;
        let config = Config {
            max_bytes,
            max_frame: *u.choose(&[1 << 20, 1 << 20, 32 << 20, 10_000])?,
            window: *u.choose(&[1 << 20, 1 << 20, 30, 1, 0])?,
            max_unfinished: *u.choose(&[64 << 20, 64 << 20, 60_000, 1_000])?,
            max_publishers,
            reserve,
        };
        let way = *u.choose(&[Way::Events, Way::Calls, Way::Methods])?;
        let mut ops = vec![
            Op::CreateTrack { name: 0, publisher: 0, limits: limits(u)? },
            Op::OpenReader(0, From::Oldest),
        ];
        // Not a `Vec` by `arbitrary`, which would end at every second byte of random input.
        let more = std::iter::from_fn(|| (!u.is_empty()).then(|| Op::arbitrary(u)));
        ops.extend(more.take(MOST_OPS).collect::<Result<Vec<_>>>()?);
        Ok(Self { config, way, ops })
    }
}
