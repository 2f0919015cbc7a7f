//! What is read at a position, which goes on behind it.

use bytes::Bytes;

use super::event::{Chunk, Frame, FrameState};
use super::find::Lookup;
use super::group::{Kind, Unfinished, frame_at};
use super::position::Position;
use super::store::Store;
use super::{GroupId, Run};
use crate::wire::varint;

/// The bytes of a chunk.
pub(super) enum ChunkBytes<'a> {
    /// In a piece, of which a part can be shared.
    Shared(&'a Bytes, core::ops::Range<usize>),
    /// In a tail.
    Lent(&'a [u8]),
}

impl<'a> ChunkBytes<'a> {
    pub(super) fn as_slice(&self) -> &'a [u8] {
        match self {
            Self::Shared(bytes, range) => bytes.get(range.clone()).unwrap_or_default(),
            Self::Lent(bytes) => bytes,
        }
    }

    /// The bytes for keeps: shared, unless they belong to a frame of up to 4096 bytes that is not
    /// complete.
    pub(super) fn share(&self) -> Bytes {
        match self {
            Self::Shared(bytes, range) => bytes.slice(range.clone()),
            Self::Lent(bytes) => Bytes::copy_from_slice(bytes),
        }
    }
}

impl Store {
    /// Whether a position stands before a small frame in a piece, with nothing to be said before it.
    #[inline]
    pub(super) fn stands_in_piece(&self, at: &Position) -> bool {
        self.pieces.find(at.piece_key()).is_some_and(|piece| at.stands_in(piece))
    }

    /// Whether a position stands before a complete frame in the tail of its group.
    #[inline]
    pub(super) fn stands_in_tail(&self, at: &Position) -> bool {
        self.groups.find(at.group_key()).is_some_and(|group| at.stands_in_tail(group))
    }

    /// Reads the frame that a position stands before in a piece: a small one, or a large one in one part.
    #[inline]
    pub(super) fn frame_in_piece(&self, at: &mut Position) -> Option<Frame<&[u8]>> {
        let piece = self.pieces.get(at.piece)?;
        let (group, index) = (at.wanted, u64::from(at.frame));
        if piece.kind != Kind::Frames {
            at.pass(piece.next());
            return Some(Frame { group, index, bytes: &piece.bytes });
        }
        let (bytes, end) = frame_at(&piece.bytes, (at.offset - piece.trimmed) as usize)?;
        at.frame += 1;
        at.offset = end as u32 + piece.trimmed;
        if at.frame == piece.end() {
            at.leave(piece.next());
        }
        Some(Frame { group, index, bytes })
    }

    /// As [`frame_in_piece`](Self::frame_in_piece), as a share.
    #[inline]
    pub(super) fn share_in_piece(&self, at: &mut Position) -> Option<Frame<Bytes>> {
        let piece = self.pieces.get(at.piece)?;
        let start = at.offset.wrapping_sub(piece.trimmed) as usize;
        let Frame { group, index, bytes } = self.frame_in_piece(at)?;
        let bytes = if piece.kind == Kind::Frames {
            let start = start + varint::len(bytes.len() as u64);
            piece.bytes.slice(start..start + bytes.len())
        } else {
            piece.bytes.clone()
        };
        Some(Frame { group, index, bytes })
    }

    /// Reads the complete frame that a position stands before in a tail.
    #[inline]
    pub(super) fn frame_in_tail(&self, at: &mut Position) -> Option<Frame<&[u8]>> {
        let (bytes, end) = frame_at(&self.groups.get(at.group)?.tail, at.offset as usize)?;
        let (group, index) = (at.wanted, u64::from(at.frame));
        at.frame += 1;
        at.offset = end as u32;
        Some(Frame { group, index, bytes })
    }

    /// Reads what is left of the piece of small frames that a position stands in, if it does, and nothing is
    /// to be said before, and that are at most `max_bytes`.
    #[inline]
    pub(super) fn rest_of_piece(&self, at: &mut Position, max_bytes: usize) -> Option<Run> {
        let piece = self.pieces.find(at.piece_key()).filter(|piece| at.stands_in(piece))?;
        let start = (at.offset - piece.trimmed) as usize;
        if piece.bytes.len() - start > max_bytes {
            return None;
        }
        let (group, first, frames) = (at.wanted, at.frame.into(), piece.end() - at.frame);
        let bytes = if start == 0 { piece.bytes.clone() } else { piece.bytes.slice(start..) };
        at.frame = piece.end();
        at.leave(piece.next());
        Some(Run { group, first, frames, offset: 0, head: None, bytes, checksum: piece.checksum })
    }

    /// Reads a run of the piece that a position stands in: as much as `max_bytes` allow, but a frame, or a byte
    /// of a large one, at least.
    pub(super) fn run_in_piece(&self, at: &mut Position, max_bytes: usize) -> Option<Run> {
        let piece = self.pieces.get(at.piece)?;
        let (group, first) = (at.wanted, u64::from(at.frame));
        if let Kind::Part { offset, size } = piece.kind {
            let within = core::mem::take(&mut at.within);
            let head = (within == 0).then_some(size.into());
            let start = (within - offset) as usize;
            let most = max_bytes.saturating_sub(head.map_or(0, varint::len)).max(1);
            let end = piece.bytes.len().min(start.saturating_add(most));
            let bytes = piece.bytes.slice(start..end);
            let read = offset + end as u32;
            let ends = read == size;
            if ends {
                at.pass(piece.next());
            } else {
                at.within = read;
                if end == piece.bytes.len() {
                    at.piece = piece.next();
                }
            }
            let (frames, offset) = (ends.into(), within.into());
            return Some(Run {
                group,
                first,
                frames,
                offset,
                head,
                bytes,
                checksum: piece.checksum,
            });
        }
        if let Some(rest) = self.rest_of_piece(at, max_bytes) {
            return Some(rest);
        }
        let start = (at.offset - piece.trimmed) as usize;
        let (mut frames, mut end) = (0, start);
        while let Some((_, next)) = frame_at(&piece.bytes, end)
            && (frames == 0 || next - start <= max_bytes)
        {
            (frames, end) = (frames + 1, next);
        }
        at.frame += frames;
        at.offset = end as u32 + piece.trimmed;
        if at.frame == piece.end() {
            at.leave(piece.next());
        }
        let bytes = piece.bytes.slice(start..end);
        Some(Run { group, first, frames, offset: 0, head: None, bytes, checksum: piece.checksum })
    }

    /// Reads a chunk, with what it lies in.
    pub(super) fn chunk_at(
        &self,
        at: &mut Position,
        lookup: Lookup,
    ) -> Option<Chunk<ChunkBytes<'_>>> {
        let (group, index, within) = (at.wanted, u64::from(at.frame), at.within);
        let start = within as usize;
        let (bytes, size) = match lookup {
            Lookup::Unfinished => {
                let group = self.groups.get(at.group)?;
                let Unfinished { size, written } = group.unfinished?;
                let size = size.get();
                let payload = group.tail.get(varint::len(size.into())..)?;
                at.within = written;
                (ChunkBytes::Lent(payload.get(start..)?), size)
            }
            Lookup::Tail => {
                let Frame { bytes, .. } = self.frame_in_tail(at)?;
                at.within = 0;
                (ChunkBytes::Lent(bytes.get(start..)?), bytes.len() as u32)
            }
            _ => {
                let piece = self.pieces.get(at.piece)?;
                if let Kind::Part { offset, size } = piece.kind {
                    let end = offset + piece.bytes.len() as u32;
                    if end == size {
                        at.pass(piece.next());
                    } else {
                        (at.within, at.piece) = (end, piece.next());
                    }
                    (
                        ChunkBytes::Shared(
                            &piece.bytes,
                            (within - offset) as usize..piece.bytes.len(),
                        ),
                        size,
                    )
                } else {
                    let begin = (at.offset - piece.trimmed) as usize;
                    let Frame { bytes, .. } = self.frame_in_piece(at)?;
                    at.within = 0;
                    let begin = begin + varint::len(bytes.len() as u64);
                    let range = begin + start..begin + bytes.len();
                    (ChunkBytes::Shared(&piece.bytes, range), bytes.len() as u32)
                }
            }
        };
        Some(Chunk { group, index, size: size.into(), offset: within.into(), bytes })
    }

    /// What there is under an index of a group.
    pub(super) fn frame(&self, group: GroupId, index: u64) -> Option<FrameState<'_>> {
        let group = self.group(group).ok()?;
        if index >= group.count.into() {
            return Some(FrameState::Pending);
        }
        let index = index as u32;
        if index < group.floor {
            return Some(FrameState::Evicted);
        }
        if index >= group.sealed {
            let (payload, _) = frame_at(&group.tail, group.tail_offset(index) as usize)?;
            return Some(FrameState::Held(payload));
        }
        let piece = self.pieces.get(group.pieces.find(&self.pieces, index, 0)?)?;
        Some(match piece.kind {
            Kind::Missing(why) => FrameState::Missing(why),
            Kind::Part { size, .. } if piece.bytes.len() == size as usize => {
                FrameState::Held(&piece.bytes)
            }
            Kind::Part { size, .. } => FrameState::Parts { size: size.into() },
            Kind::Frames => {
                let offset = (piece.offset_of(index) - piece.trimmed) as usize;
                FrameState::Held(frame_at(&piece.bytes, offset)?.0)
            }
        })
    }
}
