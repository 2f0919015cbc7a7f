//! Random cases: a configuration, and what happens to registrations, streams and time.
//!
//! Operations name acceptors, peers and streams by small numbers, which the play takes for some that there
//! are, so that most of what bytes draw means something.

use std::fmt;

use arbitrary::{Arbitrary, Result, Unstructured};
use gapless_core::Duration;
use gapless_core::demux::{Config, Pattern, Registrant};

/// The most that happens in a case.
const MOST_OPS: usize = 400;

/// Bytes that are shown as text.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Text(pub(super) Vec<u8>);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            0..=40 => write!(f, "\"{}\"", self.0.escape_ascii()),
            len => write!(f, "\"{}\" to {len} bytes", self.0[..8].escape_ascii()),
        }
    }
}

/// A pattern, owned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Tags {
    Exact(Text),
    Prefix(Text),
}

impl Tags {
    pub(super) fn of(pattern: Pattern<'_>) -> Self {
        match pattern {
            Pattern::Exact(tag) => Self::Exact(Text(tag.to_vec())),
            Pattern::Prefix(prefix) => Self::Prefix(Text(prefix.to_vec())),
        }
    }

    pub(super) fn pattern(&self) -> Pattern<'_> {
        match self {
            Self::Exact(Text(tag)) => Pattern::Exact(tag),
            Self::Prefix(Text(prefix)) => Pattern::Prefix(prefix),
        }
    }
}

/// Which one of several: counted back from the latest.
pub(super) type Nth = u8;

/// How a stream begins.
#[derive(Clone, Debug)]
pub(super) enum Head {
    /// As it should.
    Whole,
    /// It ends when so many 255ths of its preamble were sent.
    Short(u8),
    /// With a length of zero.
    Zero,
}

/// A stream that a peer opens.
#[derive(Clone, Debug)]
pub(super) struct Opens {
    pub(super) peer: u8,
    pub(super) is_unidirectional: bool,
    pub(super) head: Head,
    pub(super) tag: Text,
    /// Bytes of payload.
    pub(super) payload: u32,
}

/// The bytes of a stream in one event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Chunk {
    /// So many bytes.
    Bytes(u16),
    /// All that its preamble lacks, and so many bytes more, or less.
    Preamble(i16),
    /// All that is left, and its end.
    Rest,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Register {
        acceptor: u8,
        tags: Tags,
        by: Registrant,
    },
    Unregister(Tags),
    /// One of the registrations is taken back.
    UnregisterNth(Nth),
    AcceptorGone(u8),
    Pause(u8),
    Resume(u8),
    /// A paused acceptor takes one stream.
    Take(u8),
    /// A stream is opened, and its first piece comes.
    Begin(Opens, Chunk, Spare),
    /// The next piece of a stream comes.
    Send(Nth, Chunk, Spare),
    /// Everything of a stream comes, in pieces of so many bytes; with the last its end, or not yet.
    Cut(Nth, u8, bool),
    /// Nothing comes of a stream, and perhaps its end.
    Empty(Nth, bool),
    /// Bytes at a place where they do not belong, so far from where they would.
    Misplaced(Nth, i16, u8, bool),
    /// Data in flight of a stream that is not read any more comes all the same.
    Stray(Nth, u8),
    Reset(Nth),
    Close(Nth),
    PeerGone(u8),
    /// The driver could not hand over the stream, and says perhaps another tag than it was told; where
    /// the stream was not dispatched, that is misuse.
    HandOffFails(Nth, Option<Text>),
    Open {
        peer: u8,
        tag: Text,
        by: Registrant,
    },
    /// So many milliseconds pass, and the machine is told.
    Wait(u32),
    /// So many milliseconds pass, and the machine is not told.
    Late(u8),
    /// The next timeout comes, so many nanoseconds late, or early.
    Timeout(i8),
    /// The same, but something else comes then.
    Around(i8),
    /// A timeout that lies so many milliseconds in the past.
    Past(u8),
}

/// Bytes by which a buffer is longer than what comes in it.
pub(super) type Spare = u32;

/// A tag of which others are neighbours; `any` says whether it may be one that no stream can have.
fn text(u: &mut Unstructured<'_>, any: bool) -> Result<Text> {
    const KNOWN: [&[u8]; 12] = [
        b"a",
        b"ab",
        b"abc",
        b"b",
        b"gaples",
        b"gapless",
        b"gapless:",
        b"gapless:a",
        b"gapless:ab",
        b"gapless;",
        b"\x00",
        b"\xFF\xFF",
    ];
    Ok(Text(match u.int_in_range(0..=15)? {
        0..=7 => u.choose(&KNOWN)?.to_vec(),
        8..=11 => {
            let len = u.int_in_range(1..=4)?;
            (0..len).map(|_| u.choose(b"ab").copied()).collect::<Result<_>>()?
        }
        12 => vec![b'a'; *u.choose(&[31, 32, 33, 254, 255])?],
        13 => vec![0xFF; u.int_in_range(1..=255)?],
        14 if any => vec![b'a'; *u.choose(&[0, 0, 256, 300])?],
        _ => [&b"gapless:"[..], &vec![b'a'; u.int_in_range(0..=247)?]].concat(),
    }))
}

fn tags(u: &mut Unstructured<'_>) -> Result<Tags> {
    Ok(match u.int_in_range(0..=9)? {
        0..=4 => Tags::Exact(text(u, true)?),
        5 => Tags::Prefix(Text(Vec::new())),
        _ => Tags::Prefix(text(u, true)?),
    })
}

fn by(u: &mut Unstructured<'_>) -> Result<Registrant> {
    u.choose(&[Registrant::Application, Registrant::Application, Registrant::Protocol]).copied()
}

fn opens(u: &mut Unstructured<'_>) -> Result<Opens> {
    Ok(Opens {
        peer: u.int_in_range(0..=4)?,
        is_unidirectional: u.arbitrary()?,
        head: match u.int_in_range(0..=15)? {
            0 => Head::Zero,
            1 => Head::Short(u.arbitrary()?),
            _ => Head::Whole,
        },
        tag: text(u, false)?,
        payload: match u.int_in_range(0..=9)? {
            0..=1 => 0,
            2..=6 => u.int_in_range(1..=60)?,
            7 => *u.choose(&[4_095, 4_096, 4_097, 8_192])?,
            _ => u.int_in_range(0..=20_000)?,
        },
    })
}

fn chunk(u: &mut Unstructured<'_>) -> Result<Chunk> {
    Ok(match u.int_in_range(0..=9)? {
        0..=1 => Chunk::Bytes(1),
        2..=3 => Chunk::Bytes(u.int_in_range(1..=20)?),
        4 => Chunk::Bytes(u.int_in_range(1..=5_000)?),
        5 => Chunk::Preamble(0),
        6 => Chunk::Preamble(-1),
        7 => Chunk::Preamble(u.int_in_range(-2..=10_000)?),
        _ => Chunk::Rest,
    })
}

fn spare(u: &mut Unstructured<'_>) -> Result<Spare> {
    Ok(match u.int_in_range(0..=5)? {
        0..=2 => 0,
        3 => u.int_in_range(0..=100)?,
        4 => u.int_in_range(4_000..=9_000)?,
        _ => u.int_in_range(0..=60_000)?,
    })
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let nth =
            |u: &mut Unstructured<'a>| if u.ratio(1, 2)? { Ok(0) } else { u.int_in_range(0..=9) };
        let acceptor = |u: &mut Unstructured<'a>| u.int_in_range(0..=3);
        Ok(match u.int_in_range(0..=99)? {
            0..=12 => Self::Register { acceptor: acceptor(u)?, tags: tags(u)?, by: by(u)? },
            13 => Self::Unregister(tags(u)?),
            14..=17 => Self::UnregisterNth(u.arbitrary()?),
            18 => Self::AcceptorGone(acceptor(u)?),
            19..=23 => Self::Pause(acceptor(u)?),
            24..=25 => Self::Resume(acceptor(u)?),
            26 => Self::Take(acceptor(u)?),
            27..=54 => Self::Begin(opens(u)?, chunk(u)?, spare(u)?),
            55..=69 => Self::Send(nth(u)?, chunk(u)?, spare(u)?),
            70..=73 => Self::Cut(nth(u)?, u.int_in_range(1..=40)?, u.arbitrary()?),
            74..=75 => Self::Empty(nth(u)?, u.arbitrary()?),
            76..=77 => Self::Misplaced(
                nth(u)?,
                u.int_in_range(-3..=300)?,
                u.int_in_range(0..=9)?,
                u.arbitrary()?,
            ),
            78..=79 => Self::Stray(nth(u)?, u.arbitrary()?),
            80 => Self::Reset(nth(u)?),
            81 => Self::Close(nth(u)?),
            82 => Self::PeerGone(u.int_in_range(0..=4)?),
            83..=84 => Self::HandOffFails(nth(u)?, None),
            85 => Self::HandOffFails(nth(u)?, Some(text(u, true)?)),
            86..=87 => Self::Open { peer: u.int_in_range(0..=4)?, tag: text(u, true)?, by: by(u)? },
            88..=90 => Self::Wait(u.int_in_range(0..=20)?),
            91 => Self::Wait(u.int_in_range(0..=6_000)?),
            92..=93 => Self::Late(u.arbitrary()?),
            94..=96 => Self::Timeout(u.int_in_range(-1..=1)?),
            97..=98 => Self::Around(u.int_in_range(-1..=1)?),
            _ => Self::Past(u.arbitrary()?),
        })
    }
}

/// Which way the demultiplexer that is judged is driven; its twin is driven the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// By events.
    Events,
    /// By direct calls.
    Calls,
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
        let millis = |millis: u64| Duration::from_millis(millis);
        let config = Config {
            max_pending: *u.choose(&[1, 2, 4, 8, 1024])?,
            max_pending_per_peer: *u.choose(&[1, 2, 3, 64])?,
            preamble_timeout: *u.choose(&[
                Duration::from_nanos(1),
                millis(10),
                millis(100),
                millis(5_000),
                Duration::MAX,
            ])?,
            hold: *u.choose(&[
                Duration::ZERO,
                Duration::from_nanos(1),
                millis(20),
                millis(5_000),
                Duration::MAX,
            ])?,
            max_held: *u.choose(&[0, 1, 3, 8, 1024])?,
            max_held_per_acceptor: *u.choose(&[0, 1, 2, 4, 256])?,
            max_held_bytes: *u.choose(&[0, 50, 9_000, 30_000, 4 << 20])?,
            max_registrations: *u.choose(&[1, 3, 8, 1024])?,
        };
        let way = *u.choose(&[Way::Events, Way::Calls])?;
        // Not a `Vec` by `arbitrary`, which would end at every second byte of random input.
        let ops = std::iter::from_fn(|| (!u.is_empty()).then(|| Op::arbitrary(u)));
        let ops = ops.take(MOST_OPS).collect::<Result<Vec<_>>>()?;
        Ok(Self { config, way, ops })
    }
}
