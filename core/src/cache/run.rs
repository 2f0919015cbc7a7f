//! Runs: frames of one group that lie together, as they go on the wire.

use bytes::Bytes;
use core::fmt;

use crate::wire::varint;

/// A stretch of a group as both `gapless/1` and moq-lite-04 (§4, frame) send it: of each frame its size
/// as a varint, then its payload. First [`head`](Run::head), then [`bytes`](Run::bytes).
///
/// One reference count for all its frames, and no copy: the bytes are the cache's own.
#[derive(Clone)]
pub struct Run {
    /// The group's number.
    pub group: u64,
    /// The index of the frame that it begins with, or goes on within.
    pub first: u64,
    /// How many frames end in it: of a part of a large frame none, unless it is the last.
    pub frames: u32,
    /// Bytes of the first frame's payload that came before it: zero unless it goes on within a frame.
    pub offset: u64,
    /// The size of a frame that does not carry it in `bytes`: a large one, whose first part this is.
    pub(super) head: Option<u64>,
    /// The stretch, but for the head.
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
    #[must_use]
    pub fn iter(&self) -> Frames<'_> {
        let whole = match self.head {
            Some(size) => self.bytes.len() as u64 == size,
            None => self.offset == 0,
        };
        Frames {
            next: self.first,
            left: if whole { self.frames } else { 0 },
            headless: self.head.is_some(),
            rest: &self.bytes,
        }
    }
}

impl<'a> IntoIterator for &'a Run {
    type Item = (u64, &'a [u8]);
    type IntoIter = Frames<'a>;

    fn into_iter(self) -> Frames<'a> {
        self.iter()
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

/// The frames of a [`Run`]: index and payload.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    next: u64,
    left: u32,
    /// The one frame comes without its size.
    headless: bool,
    rest: &'a [u8],
}

impl<'a> Iterator for Frames<'a> {
    type Item = (u64, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let payload = if self.headless {
            core::mem::take(&mut self.rest)
        } else {
            let (size, head) = varint::read(self.rest)?;
            let end = head + usize::try_from(size).ok()?;
            let payload = self.rest.get(head..end)?;
            self.rest = &self.rest[end..];
            payload
        };
        let index = self.next;
        self.next += 1;
        Some((index, payload))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left as usize))
    }
}
