//! A group: its pieces in their order, and what is being laid behind them.

use bytes::{Bytes, BytesMut};
use core::num::NonZeroU32;

use super::ids::id;
use super::reader::FrameWaiters;
use crate::Instant;
use crate::storage::charge::charged;
use crate::storage::list::{Link, Linked, List, linked};
use crate::storage::slab::{Keyed, NONE};
use crate::storage::tree::{Links, sorted};
use crate::wire::varint;

/// The most frames of a piece, which is how far a look-up walks.
pub(super) const PIECE_FRAMES: u32 = 256;
/// The most frames of a group: an index behind the last one is still a number.
pub(super) const MOST: u32 = u32::MAX - 1;

/// Why there is a place for a frame, but no frame. An empty payload never means that: it is a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Missing {
    /// Its sender's feed has given it up.
    Lost,
    /// From before the publisher began, or not kept there.
    Absent,
}

/// The content of a piece.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Kind {
    /// Whole frames: of each its size, and its payload.
    #[default]
    Frames,
    /// A part of a large frame's payload: where in it, and the frame's size.
    Part { offset: u32, size: u32 },
    /// Nothing.
    Missing(Missing),
}

/// Some frames of a group that lie together, or a part of a large one.
///
/// The pieces of a group are a list in which each knows the one before it, and one from further back:
/// *jump* pointers that make a skew-binary random-access list of it, so that appending costs O(1), and
/// finding a frame O(log n) from the end. A jump to what was evicted since is recognized by its key, and
/// not taken. Its generation is that of its group.
#[derive(Default, Debug)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    /// The first frame that is still there.
    pub(super) first: u32,
    /// How many, from that.
    pub(super) frames: u32,
    /// Bytes that were trimmed from its front.
    pub(super) trimmed: u32,
    pub(super) kind: Kind,
    /// The block it lies in; `NONE` for a buffer from outside, of which it keeps `pinned` bytes alive.
    pub(super) block: u32,
    pub(super) pinned: usize,
    /// Of what it began with, where checksums are kept.
    pub(super) checksum: u32,
    /// The frame that it began with at first, and where in that: what its place in the order is.
    key: u64,
    pub(super) link: Link,
    jump: u32,
    jump_key: u64,
    /// How many pieces the jump passes, and one.
    jump_len: u32,
}

charged!(Piece = 104, Group = 176);
linked!(InGroup, Piece, link);

impl Piece {
    pub(super) fn new(first: u32, frames: u32, kind: Kind, bytes: Bytes) -> Self {
        let offset = if let Kind::Part { offset, .. } = kind { offset } else { 0 };
        let key = key(first, offset);
        Self { bytes, first, frames, kind, block: NONE, key, jump: NONE, ..Self::default() }
    }

    /// The same, in a block of the pool.
    pub(super) fn in_block(self, block: u32) -> Self {
        Self { block, ..self }
    }

    /// The piece behind it, or `NONE`.
    #[inline]
    pub(super) const fn next(&self) -> u32 {
        self.link.next
    }

    /// Bytes of payload of its frames; of a part, those of the whole frame.
    pub(super) fn payload(&self) -> u64 {
        match self.kind {
            Kind::Part { size, .. } => size.into(),
            Kind::Missing(_) => 0,
            Kind::Frames => {
                let (mut at, mut payload) = (0, 0);
                while let Some((frame, end)) = frame_at(&self.bytes, at) {
                    payload += frame.len() as u64;
                    at = end;
                }
                payload
            }
        }
    }

    /// Behind its last frame.
    pub(super) const fn end(&self) -> u32 {
        self.first + self.frames
    }

    /// Returns true if a frame lies in it, or a part of it.
    #[inline]
    pub(super) const fn has(&self, frame: u32) -> bool {
        frame.wrapping_sub(self.first) < self.frames
    }

    /// Returns true if this byte of a frame lies in it; of whole frames, if the frame does.
    pub(super) fn covers(&self, frame: u32, within: u32) -> bool {
        let has_byte = match self.kind {
            Kind::Part { offset, .. } => {
                within.checked_sub(offset).is_some_and(|at| (at as usize) < self.bytes.len())
            }
            Kind::Frames | Kind::Missing(_) => true,
        };
        has_byte && self.has(frame)
    }

    /// The frame that it began with at first: offsets count from there.
    pub(super) const fn base(&self) -> u32 {
        (self.key >> 32) as u32
    }
}

/// How pieces are ordered: by the frame and where in it they begin.
const fn key(frame: u32, offset: u32) -> u64 {
    (frame as u64) << 32 | offset as u64
}

/// How many bytes so many frames take, each a size and a payload.
pub(super) fn walk(bytes: &[u8], frames: u32) -> usize {
    let mut at = 0;
    for _ in 0..frames {
        at += bytes.get(at..).and_then(varint::read).map_or(0, |(size, head)| head + size as usize);
    }
    at
}

/// The payload of the frame that begins at `at`, and where the next begins.
#[inline]
pub(super) fn frame_at(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(at..)?;
    let (size, head) = varint::read(rest)?;
    let payload = rest.get(head..head + size as usize)?;
    Some((payload, at + head + size as usize))
}

/// How a group is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum State {
    Open,
    Finished,
    /// With a code; its frames are gone. `finished`: readers that had drained it before see its end.
    Aborted {
        code: u64,
        finished: bool,
    },
    #[default]
    Skipped,
}

/// A frame that is not complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unfinished {
    pub(super) size: NonZeroU32,
    pub(super) written: u32,
}

impl Unfinished {
    /// Returns true if it is held in parts, not in the tail.
    pub(super) const fn is_parted(self) -> bool {
        self.size.get() as usize > super::pool::LARGE
    }
}

/// The pieces of a group.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Pieces(List<InGroup>);

impl Pieces {
    /// The place of the first piece, or `NONE`.
    pub(super) const fn first(&self) -> u32 {
        self.0.first()
    }

    /// The place of the last piece, or `NONE`.
    pub(super) const fn last(&self) -> u32 {
        self.0.last()
    }

    /// Hangs a piece behind the others.
    pub(super) fn push(&mut self, pieces: &mut Keyed<Piece>, at: u32) {
        self.insert_after(pieces, self.last(), at);
    }

    /// Hangs a piece behind another one of the list, or before all for `NONE`; those behind it need
    /// [`relink`](Self::relink).
    pub(super) fn insert_after(&mut self, pieces: &mut Keyed<Piece>, before: u32, at: u32) {
        self.0.insert_after(pieces, before, at);
        self.link(pieces, at);
    }

    /// Takes a piece out of the list and its place.
    pub(super) fn take(&mut self, pieces: &mut Keyed<Piece>, at: u32) -> Option<Piece> {
        pieces.get(at)?;
        self.0.remove(pieces, at);
        pieces.remove(at)
    }

    /// Makes the jumps right from a piece on, after a change before the end: O(pieces behind it).
    pub(super) fn relink(&self, pieces: &mut Keyed<Piece>, from: u32) {
        let mut at = from;
        while at != NONE {
            self.link(pieces, at);
            at = pieces.link(at).next;
        }
    }

    /// Makes the jump of a piece over those before it.
    fn link(&self, pieces: &mut Keyed<Piece>, at: u32) {
        let floor = pieces.get(self.first()).map_or(0, |first| first.key);
        let previous = pieces.link(at).previous;
        let (mut jump, mut jump_key, mut jump_len) = (NONE, 0, 0);
        if let Some(before) = pieces.get(previous) {
            (jump, jump_key, jump_len) = (previous, before.key, 1);
            let held = before.jump != NONE && before.jump_key >= floor;
            if let Some(further) = pieces.get(before.jump).filter(|_| held)
                && further.jump_len == before.jump_len
            {
                jump_len = 1 + before.jump_len + further.jump_len;
                (jump, jump_key) = (further.jump, further.jump_key);
            }
        }
        if let Some(piece) = pieces.get_mut(at) {
            (piece.jump, piece.jump_key, piece.jump_len) = (jump, jump_key, jump_len);
        }
    }

    /// The piece in which a frame lies that is in one of them; of a frame in parts the one with this
    /// byte of it.
    pub(super) fn find(&self, pieces: &Keyed<Piece>, frame: u32, within: u32) -> Option<u32> {
        let wanted = key(frame, within);
        let mut at = self.last();
        loop {
            let piece = pieces.get(at)?;
            if piece.key <= wanted {
                return Some(at);
            }
            at = if piece.jump != NONE && piece.jump_key > wanted {
                piece.jump
            } else {
                piece.link.previous
            };
        }
    }
}

sorted!(BySequence, Group, by_sequence, |group| group.sequence);

id! {
    /// A group of this cache. Ids are never used again; one of an evicted group names nothing.
    GroupId(Group) = "group id"
}
linked!(InTrack, Group, link);
linked!(Unsealed, Group, unsealed);
// An aborted group has no frames: the links serve both.
linked!(InAborted, Group, unsealed);

/// One group.
#[derive(Default, Debug)]
pub(super) struct Group {
    pub(super) sequence: u64,
    pub(super) created: Instant,
    pub(super) track: u32,
    pub(super) by_sequence: Links,
    /// Neighbours among the groups of the track, in the order in which they were created.
    pub(super) link: Link,
    /// Neighbours among those groups of the track that have frames behind `sealed`.
    pub(super) unsealed: Link,
    pub(super) state: State,
    /// The track limits its bytes or frames.
    pub(super) is_limited: bool,
    /// Its abortion is still to be reported.
    pub(super) is_unreported: bool,
    pub(super) pieces: Pieces,
    /// The first frame that was not evicted.
    pub(super) floor: u32,
    /// Behind the last complete frame that lies in pieces.
    pub(super) sealed: u32,
    /// Behind the last complete frame.
    pub(super) count: u32,
    /// Bytes of payload that are held.
    pub(super) bytes: u64,
    /// Frames behind `sealed`, then the size and the first bytes of one that is not complete.
    pub(super) tail: BytesMut,
    pub(super) tail_block: u32,
    /// The size of the last block.
    pub(super) block_size: u16,
    /// The place of the piece that the tail will be; there is one whenever the tail is not empty.
    pub(super) tail_piece: u32,
    /// How many frames can be laid into the tail, as far as there is room, with nothing else to be done:
    /// nobody waits, and nothing is limited. Zero when that is not known.
    pub(super) fast_appends: u32,
    pub(super) unfinished: Option<Unfinished>,
    /// Readers that wait for something of it.
    pub(super) waiters: FrameWaiters,
}

impl Group {
    /// How many frames can be appended with nothing to be done but to lay them into the tail.
    pub(super) fn count_fast_appends(&self) -> u32 {
        let plain = self.state == State::Open
            && self.unfinished.is_none()
            && !self.is_limited
            && self.tail_piece != NONE
            && !self.waiters.want_more();
        if plain { (PIECE_FRAMES - (self.count - self.sealed)).min(MOST - self.count) } else { 0 }
    }

    /// Room for so many bytes in the tail.
    #[inline]
    pub(super) fn has_bytes(&self, len: usize) -> bool {
        self.tail.capacity() - self.tail.len() >= len
    }

    /// Room for so many bytes in the tail, and a place for the piece that it will be.
    #[inline]
    pub(super) fn has_room(&self, len: usize) -> bool {
        self.tail_piece != NONE && self.has_bytes(len) && self.count - self.sealed < PIECE_FRAMES
    }

    /// Lays the size of a small frame into the tail, where there is room.
    #[inline]
    pub(super) fn lay_size(&mut self, size: usize) {
        if size < 64 {
            self.tail.extend_from_slice(&[size as u8]);
        } else {
            // Two bytes hold the sizes of all small frames.
            self.tail.extend_from_slice(&(size as u16 | 0x4000).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(first: u32, frames: u32) -> Piece {
        Piece::new(first, frames, Kind::Missing(Missing::Lost), Bytes::new())
    }

    /// How many steps a look-up takes.
    fn steps(list: &Pieces, pieces: &Keyed<Piece>, frame: u32) -> u32 {
        let (mut at, mut steps) = (list.last(), 1);
        while let Some(piece) = pieces.get(at).filter(|piece| piece.key > key(frame, 0)) {
            let jumps = piece.jump != NONE && piece.jump_key > key(frame, 0);
            at = if jumps { piece.jump } else { piece.link.previous };
            steps += 1;
        }
        steps
    }

    #[test]
    fn every_frame_is_found_in_few_steps_while_the_front_goes() {
        let (mut list, mut pieces) = (Pieces::default(), Keyed::new());
        let mut next = 0;
        let mut floor = 0;
        for round in 0..5000_u32 {
            let frames = round % 3 + 1;
            let at = pieces.insert_as(1, piece(next, frames)).unwrap().slot;
            list.push(&mut pieces, at);
            next += frames;
            if round >= 1000 {
                floor += list.take(&mut pieces, list.first()).unwrap().frames;
            }
            if round % 97 == 0 || round > 4990 {
                for frame in floor..next {
                    let found = list.find(&pieces, frame, 0).unwrap();
                    assert!(pieces.get(found).unwrap().has(frame));
                    let taken = steps(&list, &pieces, frame);
                    assert!(taken <= 40, "{taken} steps to frame {frame} of {floor}..{next}");
                }
            }
        }
    }

    #[test]
    fn a_piece_put_in_between_is_found_and_so_are_its_neighbours() {
        let (mut list, mut pieces) = (Pieces::default(), Keyed::new());
        for number in 0..100 {
            let at = pieces.insert_as(1, piece(number * 2, 1)).unwrap().slot;
            list.push(&mut pieces, at);
        }
        for number in (0..100).rev() {
            let before = list.find(&pieces, number * 2, 0).unwrap();
            let at = pieces.insert_as(1, piece(number * 2 + 1, 1)).unwrap().slot;
            list.insert_after(&mut pieces, before, at);
            list.relink(&mut pieces, at);
        }
        for frame in 0..200 {
            let found = list.find(&pieces, frame, 0).unwrap();
            assert_eq!(pieces.get(found).unwrap().first, frame);
            assert!(steps(&list, &pieces, frame) <= 20);
        }
    }
}
