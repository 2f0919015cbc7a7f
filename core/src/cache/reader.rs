//! Readers: places in tracks, and what they wait for.

use super::ids::id;
use super::position::Position;
use crate::storage::list::{Link, linked};
use crate::storage::tree::{Links, sorted};

/// How a frame is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadUnit {
    /// [`next_shared`](super::Cache::next_shared).
    Frame,
    /// [`next_chunk`](super::Cache::next_chunk).
    Chunk,
    /// [`next_run`](super::Cache::next_run).
    Run,
}

/// The event that a reader waits for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Waits {
    /// Nothing: it was not found that there is nothing for it.
    #[default]
    Not,
    /// More of its group behind the last complete frame, or the group's end. It is ready once that came.
    ForMore(ReadUnit),
    /// A frame of its group further on, or the group's end.
    ForFrame(ReadUnit),
    /// The next group of the track, or the track's end. It is ready once that came.
    ForNewest,
    /// A group of the track with its number or a higher one, beyond the next; or the track's end.
    ForLater,
}

/// A position in a track, and what is waited for there.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) position: Position,
    pub(super) waits: Waits,
    link: Link,
    by_wanted: Links,
}

impl Default for Reader {
    fn default() -> Self {
        Self::at(Position::new(0, 0))
    }
}

impl Reader {
    pub(super) fn at(position: Position) -> Self {
        Self { position, waits: Waits::Not, link: Link::default(), by_wanted: Links::default() }
    }

    /// Waits in the row of those that are ready, not in an order any more.
    pub(super) const fn leave_order(&mut self) {
        self.waits = match self.waits {
            Waits::ForFrame(by) => Waits::ForMore(by),
            Waits::ForLater => Waits::ForNewest,
            waits => waits,
        };
    }
}

id! {
    /// A reader of this cache. Ids are never used again.
    ReaderId(Reader) = "reader"
}
linked!(InQueue, Reader, link);
sorted!(ByWanted, Reader, by_wanted, |reader| reader.position.wanted);
// A reader that waits for a frame waits for no group: the links serve both.
sorted!(ByFrame, Reader, by_wanted, |reader| reader.position.frame);
