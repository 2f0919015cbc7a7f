//! Runs: frames of one group that lie together, as they go on the wire.

use bytes::Bytes;
use core::fmt;

use super::group::frame_at;
use crate::wire::varint;

/// A stretch of a group as both `gapless/1` and moq-lite-04 (§4, frame) send it: of each frame its size
/// as a varint, then its payload. First [`head`](Run::head), then [`bytes`](Run::bytes).
///
/// One reference count for all its frames, and no copy: the bytes are the cache's own.
#[derive(Clone)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Run {
    /// The group's number.
    pub group: u64,
    /// The index of the frame that it begins with, or goes on within.
    pub first: u64,
    /// How many frames end in it: of a part of a large frame none, unless it is the last.
    pub frames: u64,
    /// Bytes of the first frame's payload that came before it: zero unless it goes on within a frame.
    pub offset: u64,
    /// The size of a frame that does not carry it in `bytes`: a large one, whose first part this is.
    pub(super) head: Option<u64>,
    /// The stretch, but for the head.
    #[cfg_attr(feature = "arbitrary", arbitrary(with = crate::fuzz::bytes))]
    pub bytes: Bytes,
    /// Of the piece that `bytes` lie in as it was sealed; zero unless checksums are kept.
    pub(super) checksum: u32,
}

/// Equal runs may lie in different pieces.
impl PartialEq for Run {
    fn eq(&self, other: &Self) -> bool {
        let place = |run: &Self| (run.group, run.first, run.frames, run.offset, run.head);
        place(self) == place(other) && self.bytes == other.bytes
    }
}

impl Eq for Run {}

impl Run {
    /// The bytes that go before [`bytes`](Run::bytes): the size of a large frame, or nothing.
    #[must_use]
    pub fn head(&self) -> varint::Buffer {
        self.head.map_or_else(varint::Buffer::default, varint::Buffer::new)
    }

    /// Its bytes on the wire, head included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.head.map_or(0, varint::len) + self.bytes.len()
    }

    /// Returns true if it has no bytes, which no run has that a cache gives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its frames, with their indices, when it holds nothing but whole ones; otherwise none.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let whole = match self.head {
            Some(size) => self.bytes.len() as u64 == size,
            None => self.offset == 0,
        };
        let (frames, mut at) = (if whole { self.frames } else { 0 }, 0);
        (self.first..).zip(0..frames).map_while(move |(index, _)| {
            if self.head.is_some() {
                return Some((index, &*self.bytes));
            }
            let (payload, end) = frame_at(&self.bytes, at)?;
            at = end;
            Some((index, payload))
        })
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, first, frames, offset, .. } = self;
        let len = self.len();
        write!(f, "run of {frames} frames from {first} of group {group} ({len} bytes")?;
        if *offset > 0 { write!(f, ", {offset} bytes into the first)") } else { f.write_str(")") }
    }
}
