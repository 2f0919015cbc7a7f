//! A reader: a place in a track, and what it waits for. Groups and tracks carry those that wait for something of
//! them; nothing but [`readers`] looks into that.

pub(super) mod readers;

use super::ReadUnit;
use super::ids::id;
use super::position::Position;
use crate::storage::list::{Link, List, linked};
use crate::storage::tree::{Links, Tree, sorted};

/// The event that a reader waits for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Waits {
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
    waits: Waits,
    link: Link,
    by_wanted: Links,
}

impl Default for Reader {
    fn default() -> Self {
        let (link, by_wanted) = (Link::default(), Links::default());
        Self { position: Position::new(0, 0), waits: Waits::Not, link, by_wanted }
    }
}

impl Reader {
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.waits != Waits::Not
    }

    /// Waits in the row of those that are ready, not in an order any more.
    const fn leave_order(&mut self) {
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

/// The readers that wait for something of one group.
#[derive(Default, Debug)]
pub(super) struct FrameWaiters {
    /// For more of it, by what they take.
    more: [List<InQueue>; 3],
    /// For a frame further on: no append looks at them before theirs is near.
    ahead: Tree<ByFrame>,
}

impl FrameWaiters {
    /// Returns true if a reader waits for the next frame, or for a part of it.
    pub(super) fn want_more(&self) -> bool {
        !self.more.iter().all(List::is_empty)
    }
}

/// The readers that wait for groups of one track.
#[derive(Default, Debug)]
pub(super) struct GroupWaiters {
    next: List<InQueue>,
    /// For groups beyond the next.
    later: Tree<ByWanted>,
}
