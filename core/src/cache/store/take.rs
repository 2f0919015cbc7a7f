//! Reads at a position, which continues behind them.

use core::ops::Range;

use bytes::Bytes;

use super::Store;
use super::find::Lookup;
use crate::cache::event::{Chunk, Frame, FrameState, Next};
use crate::cache::group::{Kind, Piece, Unfinished, frame_at};
use crate::cache::position::Position;
use crate::cache::{GroupId, ReadUnit, Run};
use crate::wire::varint;

/// A chunk, and the shared bytes that it lies in; `None` in a tail.
pub(crate) type ChunkWithin<'a> = (Chunk<&'a [u8]>, Option<&'a Bytes>);

impl Store {
    /// Returns true if a position stands before a small frame in a piece, with nothing to be said before it.
    #[inline]
    pub(crate) fn stands_in_piece(&self, at: &Position) -> bool {
        self.pieces.find(at.piece_key()).is_some_and(|piece| at.stands_in(piece))
    }

    /// Returns true if a position stands before a complete frame in the tail of its group.
    #[inline]
    pub(crate) fn stands_in_tail(&self, at: &Position) -> bool {
        self.groups.find(at.group_key()).is_some_and(|group| {
            let tail = group.sealed..group.count;
            at.base == tail.start && tail.contains(&at.frame) && at.within == 0
        })
    }

    /// Returns true if the frame that a position stands before is complete, in a group that is there.
    pub(crate) fn has_frame(&self, at: &Position) -> bool {
        self.groups.find(at.group_key()).is_some_and(|group| at.frame < group.count)
    }

    /// Reads the frame that a position stands before in a piece: a small one, or a large one in one part.
    #[inline]
    pub(crate) fn frame_in_piece(&self, at: &mut Position) -> Option<Frame<&[u8]>> {
        let piece = self.pieces.get(at.piece)?;
        let (group, index) = (at.wanted, u64::from(at.frame));
        Some(Frame { group, index, bytes: piece.bytes.get(piece.read_frame(at)?)? })
    }

    /// As [`frame_in_piece`](Self::frame_in_piece), as a share.
    #[inline(always)]
    pub(crate) fn share_in_piece(&self, at: &mut Position) -> Option<Frame<Bytes>> {
        let piece = self.pieces.get(at.piece)?;
        let (group, index) = (at.wanted, u64::from(at.frame));
        Some(Frame { group, index, bytes: piece.bytes.slice(piece.read_frame(at)?) })
    }

    /// Reads the frame that was found to come next, in a piece or in the tail.
    pub(crate) fn frame_at(&self, at: &mut Position, lookup: Lookup) -> Option<Frame<&[u8]>> {
        if let Lookup::Tail = lookup { self.frame_in_tail(at) } else { self.frame_in_piece(at) }
    }

    /// Reads the complete frame that a position stands before in a tail.
    #[inline]
    pub(crate) fn frame_in_tail(&self, at: &mut Position) -> Option<Frame<&[u8]>> {
        let (bytes, end) = frame_at(&self.groups.get(at.group)?.tail, at.offset as usize)?;
        let (group, index) = (at.wanted, u64::from(at.frame));
        at.frame += 1;
        at.offset = end as u32;
        Some(Frame { group, index, bytes })
    }

    /// Reads what is left of the piece of small frames that a position stands in, if it does, and nothing is
    /// to be said before, and that are at most `max_bytes`.
    #[inline]
    pub(crate) fn rest_of_piece(&self, at: &mut Position, max_bytes: usize) -> Option<Run> {
        let piece = self.pieces.find(at.piece_key()).filter(|piece| at.stands_in(piece))?;
        // A position of another cache may lie anywhere.
        let start = at.offset.checked_sub(piece.trimmed)? as usize;
        if piece.bytes.len().checked_sub(start)? > max_bytes {
            return None;
        }
        let (group, first, frames) =
            (at.wanted, at.frame.into(), u64::from(piece.end() - at.frame));
        let bytes = if start == 0 { piece.bytes.clone() } else { piece.bytes.slice(start..) };
        at.frame = piece.end();
        at.leave(piece.next());
        Some(Run { group, first, frames, offset: 0, head: None, bytes, checksum: piece.checksum })
    }

    /// Reads a run of the piece that a position stands in: as much as `max_bytes` allow, but a frame, or a byte
    /// of a large one, at least.
    pub(crate) fn run_in_piece(&self, at: &mut Position, max_bytes: usize) -> Option<Run> {
        let piece = self.pieces.get(at.piece)?;
        let (group, first) = (at.wanted, u64::from(at.frame));
        if let Kind::Part { size, .. } = piece.kind {
            let within = at.within;
            let head = (within == 0).then_some(size.into());
            let most = max_bytes.saturating_sub(head.map_or(0, varint::len)).max(1);
            let bytes = piece.bytes.slice_ref(piece.read_part(at, most)?);
            let (frames, offset) = (u64::from(at.within == 0), within.into());
            let checksum = piece.checksum;
            return Some(Run { group, first, frames, offset, head, bytes, checksum });
        }
        if let Some(rest) = self.rest_of_piece(at, max_bytes) {
            return Some(rest);
        }
        let start = at.offset.checked_sub(piece.trimmed)? as usize;
        let (mut frames, mut end) = (0, start);
        while let Some((_, next)) = frame_at(&piece.bytes, end)
            && (frames == 0 || next - start <= max_bytes)
        {
            (frames, end) = (frames + 1, next);
        }
        if frames == 0 {
            return None;
        }
        at.pass_frames(piece, frames, end);
        let bytes = piece.bytes.slice(start..end);
        let (frames, checksum) = (frames.into(), piece.checksum);
        Some(Run { group, first, frames, offset: 0, head: None, bytes, checksum })
    }

    /// Reads a chunk, with what it lies in.
    pub(crate) fn chunk_at(&self, at: &mut Position, lookup: Lookup) -> Option<ChunkWithin<'_>> {
        let (group, index, within) = (at.wanted, u64::from(at.frame), at.within);
        let piece = self.pieces.get(at.piece).filter(|_| matches!(lookup, Lookup::Piece));
        let (bytes, size) = if matches!(lookup, Lookup::Unfinished) {
            let group = self.groups.get(at.group)?;
            let Unfinished { size, written } = group.unfinished?;
            at.within = written;
            let begin = varint::len(size.get().into()) + within as usize;
            (group.tail.get(begin..)?, size.get())
        } else if let Some(piece) = piece
            && let Kind::Part { size, .. } = piece.kind
        {
            (piece.read_part(at, usize::MAX)?, size)
        } else {
            let Frame { bytes, .. } = self.frame_at(at, lookup)?;
            at.within = 0;
            (bytes.get(within as usize..)?, bytes.len() as u32)
        };
        let whole = piece.map(|piece| &piece.bytes);
        Some((Chunk { group, index, size: size.into(), offset: within.into(), bytes }, whole))
    }

    /// The state of an index of a group.
    pub(crate) fn frame(&self, id: GroupId, index: u64) -> Option<FrameState<'_>> {
        let group = self.group(id).ok()?;
        if index >= group.count.into() {
            return Some(FrameState::Pending);
        }
        let index = index as u32;
        if index < group.floor {
            return Some(FrameState::Evicted);
        }
        let mut at = Position {
            group: id.0.slot,
            generation: id.0.generation,
            ..Position::in_track(group.track, group.sequence, index)
        };
        Some(match self.find_within(&mut at, group, ReadUnit::Frame) {
            Lookup::Report(Next::Missing { why, .. }) => FrameState::Missing(why),
            Lookup::Report(Next::Parts { size, .. }) => FrameState::Parts { size },
            lookup => FrameState::Held(self.frame_at(&mut at, lookup)?.bytes),
        })
    }

    /// Compares the frame that is held with these bytes; `None` when none is.
    pub(crate) fn compare(&self, group: GroupId, index: u32, frame: &[u8]) -> Option<bool> {
        match self.frame(group, index.into())? {
            FrameState::Held(held) => Some(held == frame),
            FrameState::Parts { .. } => {
                let pieces = self.group(group).ok()?.pieces;
                let first = pieces.find(&self.pieces, index, 0)?;
                let piece = |at| self.pieces.get(at).filter(|part| part.has(index));
                let mut parts = core::iter::successors(piece(first), |before| piece(before.next()));
                let rest = parts.try_fold(frame, |rest, part| rest.strip_prefix(&*part.bytes));
                Some(rest.is_some_and(<[u8]>::is_empty))
            }
            FrameState::Missing(_) | FrameState::Evicted | FrameState::Pending => None,
        }
    }
}

impl Position {
    /// Goes behind so many frames of a piece, which end at an offset from its first byte.
    #[inline]
    fn pass_frames(&mut self, piece: &Piece, frames: u32, end: usize) {
        self.frame += frames;
        self.offset = end as u32 + piece.trimmed;
        if self.frame == piece.end() {
            self.leave(piece.next());
        }
    }
}

impl Piece {
    /// Goes behind the frame that a position stands before, a small one or a large one in one part; where it
    /// lies.
    #[inline]
    fn read_frame(&self, at: &mut Position) -> Option<Range<usize>> {
        if !matches!(self.kind, Kind::Frames) {
            at.pass(self.next());
            return Some(0..self.bytes.len());
        }
        let (bytes, end) = frame_at(&self.bytes, (at.offset - self.trimmed) as usize)?;
        at.pass_frames(self, 1, end);
        Some(end - bytes.len()..end)
    }

    /// Reads on in a part of a large frame, at most so many bytes of it.
    fn read_part(&self, at: &mut Position, max_bytes: usize) -> Option<&[u8]> {
        let Kind::Part { offset, size } = self.kind else { return None };
        let start = at.within.checked_sub(offset)? as usize;
        let end = self.bytes.len().min(start.saturating_add(max_bytes));
        at.within = offset + end as u32;
        if at.within == size {
            at.pass(self.next());
        } else if end == self.bytes.len() {
            at.piece = self.next();
        }
        self.bytes.get(start..end)
    }
}
