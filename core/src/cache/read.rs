//! Readers: places in tracks, and what comes next for them.

use bytes::Bytes;

use super::event::{By, Chunk, Frame, Look, Next, Start};
use super::find::Spot;
use super::group::{Group, Kind, Piece, Unfinished, frame_at};
use super::pool::LOOK;
use super::reader::{Reader, Waits};
use super::{Cache, GroupId, ReaderId, Refusal, Run, TrackId};
use crate::storage::slab::NONE;
use crate::wire::varint;

/// The bytes of a chunk.
pub(super) enum Bits<'a> {
    /// In a piece, of which a part can be shared.
    Shared(&'a Bytes, core::ops::Range<usize>),
    /// In a tail.
    Lent(&'a [u8]),
}

impl<'a> Bits<'a> {
    fn as_slice(&self) -> &'a [u8] {
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

impl Cache {
    /// A reader of a track, from a place on. It costs a place in a table, and holds nothing back.
    ///
    /// # Errors
    /// [`Refusal::UnknownTrack`], [`Refusal::Full`].
    pub fn open_reader(&mut self, track: TrackId, start: Start) -> Result<ReaderId, Refusal> {
        self.drained()?;
        self.known(track).ok_or(Refusal::UnknownTrack)?;
        let (group, frame) = self.place_of(track.0.slot, start);
        let mut reader = Reader::new(track.0.slot);
        reader.go(group, frame);
        self.add_reader(reader)
    }

    /// Another reader at the same place, which goes on from there by itself.
    ///
    /// # Errors
    /// [`Refusal::UnknownReader`], [`Refusal::Full`].
    pub fn clone_reader(&mut self, reader: ReaderId) -> Result<ReaderId, Refusal> {
        let at = self.reading(reader)?;
        let Some(reader) = self.readers.get(at) else { return Err(Refusal::UnknownReader) };
        self.add_reader(reader.at_the_same_place())
    }

    fn add_reader(&mut self, reader: Reader) -> Result<ReaderId, Refusal> {
        let (track, generation) = (reader.track, self.next_generation());
        if !self.room_for(NONE, |cache| cache.readers.growth()) {
            return Err(self.full());
        }
        let key = self.readers.insert_as(generation, reader);
        let Some(key) = key else { return Err(self.full()) };
        if let Some(track) = self.tracks.get_mut(track) {
            track.readers += 1;
        }
        Ok(ReaderId(key))
    }

    /// Forgets a reader.
    ///
    /// # Errors
    /// [`Refusal::UnknownReader`].
    pub fn close_reader(&mut self, reader: ReaderId) -> Result<(), Refusal> {
        let at = self.reading(reader)?;
        self.stop_waiting(at);
        let Some(Reader { track, .. }) = self.readers.remove(at) else { return Ok(()) };
        if let Some(track) = self.tracks.get_mut(track) {
            track.readers -= 1;
        }
        self.forget_if_over(track);
        // What it was given has perhaps gone with it.
        self.look(LOOK);
        Ok(())
    }

    /// Moves a reader within its track, out of whatever it waits for or is within.
    ///
    /// # Errors
    /// [`Refusal::UnknownReader`].
    pub fn seek(&mut self, reader: ReaderId, start: Start) -> Result<(), Refusal> {
        let at = self.reading(reader)?;
        self.stop_waiting(at);
        let track = self.readers.get(at).map_or(NONE, |reader| reader.track);
        let (group, frame) = self.place_of(track, start);
        if let Some(reader) = self.readers.get_mut(at) {
            reader.go(group, frame);
        }
        Ok(())
    }

    /// The next frame, whole, borrowed from the cache. One that is not complete is waited for; one that
    /// came in several chunks does not lie together ([`Next::Parts`]).
    ///
    /// # Errors
    /// [`Refusal::Undrained`], [`Refusal::UnknownReader`], [`Refusal::WithinFrame`].
    #[inline]
    pub fn next_frame(&mut self, reader: ReaderId) -> Result<Next<Frame<&[u8]>>, Refusal> {
        self.drained()?;
        let known = self.readers.find_mut(reader.0).ok_or(Refusal::UnknownReader)?;
        // A reader that goes on within a piece.
        if self.pieces.find(known.piece()).is_some_and(|piece| known.stands_in(piece)) {
            let frame = self.pieces.get(known.piece).and_then(|piece| known.read(piece));
            return Ok(frame.map_or(Next::Pending, Next::Held));
        }
        // One that follows what is being written.
        if self.groups.find(known.group()).is_some_and(|group| known.stands_in_tail(group)) {
            let frame = self.groups.get(known.group).and_then(|group| known.read_tail(group));
            return Ok(frame.map_or(Next::Pending, Next::Held));
        }
        self.find_frame(reader.0.slot)
    }

    #[cold]
    fn find_frame(&mut self, at: u32) -> Result<Next<Frame<&[u8]>>, Refusal> {
        Ok(match self.find(at, By::Frame) {
            Spot::Piece => self.take_frame(at).map_or(Next::Pending, Next::Held),
            Spot::Tail => self.take_from_tail(at).map_or(Next::Pending, Next::Held),
            Spot::Unfinished => Next::Pending,
            Spot::Within => return Err(Refusal::WithinFrame),
            Spot::Say(next) => next.map(|never| match never {}),
        })
    }

    /// As [`next_frame`](Self::next_frame), as a share in the cache's own memory: no copy.
    ///
    /// # Errors
    /// As [`next_frame`](Self::next_frame).
    #[inline]
    pub fn next_shared(&mut self, reader: ReaderId) -> Result<Next<Frame<Bytes>>, Refusal> {
        let at = self.reading(reader)?;
        if self.stands_in_frames(at) {
            return Ok(self.share_frame(at).map_or(Next::Pending, Next::Held));
        }
        self.find_shared(at)
    }

    fn find_shared(&mut self, at: u32) -> Result<Next<Frame<Bytes>>, Refusal> {
        Ok(match self.find_sealed(at, By::Frame) {
            Spot::Piece => self.share_frame(at).map_or(Next::Pending, Next::Held),
            Spot::Tail | Spot::Unfinished => Next::Pending,
            Spot::Within => return Err(Refusal::WithinFrame),
            Spot::Say(next) => next.map(|never| match never {}),
        })
    }

    /// What there is of the next frame, or of what is left of it: all, unless it is incomplete, or came in
    /// several chunks.
    ///
    /// # Errors
    /// [`Refusal::Undrained`], [`Refusal::UnknownReader`].
    pub fn next_chunk(&mut self, reader: ReaderId) -> Result<Next<Chunk<&[u8]>>, Refusal> {
        let chunk = self.next_bits(reader)?;
        Ok(chunk.map(|chunk| chunk.map(|bits| bits.as_slice())))
    }

    /// As many frames as lie together from the reader's place on, or as there are of a large one, as one
    /// share in the cache's own memory.
    ///
    /// # Errors
    /// As [`next_frame`](Self::next_frame). A large frame that was begun by chunks can be gone on with.
    pub fn next_run(&mut self, reader: ReaderId) -> Result<Next<Run>, Refusal> {
        let at = self.reading(reader)?;
        let spot = match self.stands_in_frames(at) {
            true => Spot::Piece,
            false => self.find_sealed(at, By::Run),
        };
        Ok(match spot {
            Spot::Piece => self.take_run(at).map_or(Next::Pending, Next::Held),
            Spot::Tail | Spot::Unfinished => Next::Pending,
            Spot::Within => return Err(Refusal::WithinFrame),
            Spot::Say(next) => next.map(|never| match never {}),
        })
    }

    /// What there is under an index of a group; `None` when there is no such group, or no longer.
    #[must_use]
    pub fn frame(&self, group: GroupId, index: u64) -> Option<Look<'_>> {
        let group = self.held(group).ok()?;
        if index >= group.count.into() {
            return Some(Look::Pending);
        }
        let index = index as u32;
        if index < group.floor {
            return Some(Look::Evicted);
        }
        if index >= group.sealed {
            let (payload, _) = frame_at(&group.tail, group.tail_offset(index) as usize)?;
            return Some(Look::Held(payload));
        }
        let piece = self.pieces.get(group.pieces.find(&self.pieces, index, 0)?)?;
        Some(match piece.kind {
            Kind::Missing(why) => Look::Missing(why),
            Kind::Part { size, .. } if piece.bytes.len() == size as usize => {
                Look::Held(&piece.bytes)
            }
            Kind::Part { size, .. } => Look::Parts { size: size.into() },
            Kind::Frames => {
                let offset = (piece.offset_of(index) - piece.trimmed) as usize;
                Look::Held(frame_at(&piece.bytes, offset)?.0)
            }
        })
    }

    /// The place of a reader that may read now.
    #[inline]
    fn reading(&mut self, reader: ReaderId) -> Result<u32, Refusal> {
        self.drained()?;
        self.readers.find(reader.0).map(|_| reader.0.slot).ok_or(Refusal::UnknownReader)
    }

    /// The group and frame that a start means now.
    fn place_of(&self, at: u32, start: Start) -> (u64, u32) {
        let Some(track) = self.tracks.get(at) else { return (0, 0) };
        let edge = track.newest.map_or(0, |newest| newest + 1);
        let top = self.groups.get(track.top);
        match start {
            Start::At { group, frame } => (group, u32::try_from(frame).unwrap_or(u32::MAX)),
            Start::Oldest => {
                let first = track.groups.first(&self.groups).and_then(|at| self.groups.get(at));
                first.map_or((edge, 0), |group| (group.sequence, group.floor))
            }
            Start::Newest => top.map_or((edge, 0), |group| (group.sequence, group.floor)),
            Start::Live => top.map_or((edge, 0), |group| (group.sequence, group.count)),
        }
    }

    /// Whether a reader stands before a small frame in a piece, with nothing to be said before it.
    #[inline]
    fn stands_in_frames(&self, at: u32) -> bool {
        let Some(reader) = self.readers.get(at) else { return false };
        self.pieces.find(reader.piece()).is_some_and(|piece| reader.stands_in(piece))
    }

    /// Reads the small frame that a reader stands before, in a piece; or a large one in one part.
    fn take_frame(&mut self, at: u32) -> Option<Frame<&[u8]>> {
        let reader = self.readers.get_mut(at)?;
        let piece = self.pieces.get(reader.piece)?;
        reader.read(piece)
    }

    /// As [`take_frame`](Self::take_frame).
    #[inline]
    fn share_frame(&mut self, at: u32) -> Option<Frame<Bytes>> {
        let reader = self.readers.get_mut(at)?;
        let piece = self.pieces.get(reader.piece)?;
        if piece.kind != Kind::Frames {
            let Frame { group, index, .. } = reader.read(piece)?;
            return Some(Frame { group, index, bytes: piece.bytes.clone() });
        }
        let start = (reader.offset - piece.trimmed) as usize;
        let Frame { group, index, bytes } = reader.read(piece)?;
        let start = start + varint::len(bytes.len() as u64);
        Some(Frame { group, index, bytes: piece.bytes.slice(start..start + bytes.len()) })
    }

    /// Reads the small frame that a reader stands before, in a tail.
    fn take_from_tail(&mut self, at: u32) -> Option<Frame<&[u8]>> {
        let reader = self.readers.get_mut(at)?;
        self.groups.get(reader.group).and_then(|group| reader.read_tail(group))
    }

    /// Finds what comes next in a piece: of the tail one is made that can be shared.
    fn find_sealed(&mut self, at: u32, by: By) -> Spot {
        match self.find(at, by) {
            Spot::Tail => {
                let group = self.readers.get(at).map_or(NONE, |reader| reader.group);
                self.seal(group);
                self.find(at, by)
            }
            spot => spot,
        }
    }

    /// Reads the rest of the piece that a reader stands in.
    fn take_run(&mut self, at: u32) -> Option<Run> {
        let reader = self.readers.get_mut(at)?;
        let piece = self.pieces.get(reader.piece)?;
        let (group, first) = (reader.wanted, u64::from(reader.frame));
        Some(match piece.kind {
            Kind::Part { offset, size } => {
                let within = core::mem::take(&mut reader.within);
                let bytes = piece.bytes.slice((within - offset) as usize..);
                let read = within + bytes.len() as u32;
                let ends = read == size;
                if ends {
                    reader.pass(piece.next());
                } else {
                    (reader.within, reader.piece) = (read, piece.next());
                }
                let head = (within == 0).then_some(size.into());
                Run { group, first, frames: ends.into(), offset: within.into(), head, bytes }
            }
            _ => {
                let bytes = piece.bytes.slice((reader.offset - piece.trimmed) as usize..);
                let frames = piece.end() - reader.frame;
                reader.frame = piece.end();
                reader.leave(piece.next());
                Run { group, first, frames, offset: 0, head: None, bytes }
            }
        })
    }

    /// The next chunk, with what it lies in.
    pub(super) fn next_bits(&mut self, reader: ReaderId) -> Result<Next<Chunk<Bits<'_>>>, Refusal> {
        let at = self.reading(reader)?;
        let spot = self.find(at, By::Chunk);
        if let Spot::Say(next) = spot {
            return Ok(next.map(|never| match never {}));
        }
        Ok(self.take_chunk(at, spot).map_or(Next::Pending, Next::Held))
    }

    fn take_chunk(&mut self, at: u32, spot: Spot) -> Option<Chunk<Bits<'_>>> {
        let reader = self.readers.get_mut(at)?;
        let held = self.groups.get(reader.group)?;
        let (group, index) = (reader.wanted, u64::from(reader.frame));
        let within = core::mem::take(&mut reader.within);
        let (bits, size) = match spot {
            Spot::Unfinished => {
                let Unfinished { size, written } = held.unfinished?;
                let payload = held.tail.get(varint::len(size.into())..)?;
                reader.within = written;
                (Bits::Lent(payload.get(within as usize..)?), size)
            }
            Spot::Tail => {
                let (payload, end) = frame_at(&held.tail, reader.offset as usize)?;
                reader.frame += 1;
                reader.offset = end as u32;
                (Bits::Lent(payload.get(within as usize..)?), payload.len() as u32)
            }
            _ => {
                let piece = self.pieces.get(reader.piece)?;
                if let Kind::Part { offset, size } = piece.kind {
                    let end = offset + piece.bytes.len() as u32;
                    if end == size {
                        reader.pass(piece.next());
                    } else {
                        (reader.within, reader.piece) = (end, piece.next());
                    }
                    let range = (within - offset) as usize..piece.bytes.len();
                    (Bits::Shared(&piece.bytes, range), size)
                } else {
                    let start = (reader.offset - piece.trimmed) as usize;
                    let (payload, end) = frame_at(&piece.bytes, start)?;
                    reader.frame += 1;
                    reader.offset = end as u32 + piece.trimmed;
                    if reader.frame == piece.end() {
                        reader.leave(piece.next());
                    }
                    let range = end - payload.len() + within as usize..end;
                    (Bits::Shared(&piece.bytes, range), payload.len() as u32)
                }
            }
        };
        let offset = within.into();
        Some(Chunk { group, index, size: size.into(), offset, bytes: bits })
    }
}

impl Reader {
    /// Goes behind the last frame of a piece, to the next piece.
    #[inline]
    pub(super) const fn leave(&mut self, next: u32) {
        (self.piece, self.offset, self.base) = (next, 0, self.frame);
    }

    /// Whether it stands before a small frame of this piece, or what is left there of its group.
    #[inline]
    const fn stands_in(&self, piece: &Piece) -> bool {
        piece.has(self.frame)
            && self.base == piece.base()
            && matches!(piece.kind, Kind::Frames)
            && self.within == 0
    }

    /// Whether it stands before a complete frame in the tail of this group.
    #[inline]
    fn stands_in_tail(&self, group: &Group) -> bool {
        self.base == group.sealed
            && self.frame >= group.sealed
            && self.frame < group.count
            && self.within == 0
            && self.waits == Waits::Not
    }

    /// Reads the frame that it stands before in a piece: a small one, or a large one in one part.
    #[inline]
    fn read<'a>(&mut self, piece: &'a Piece) -> Option<Frame<&'a [u8]>> {
        let (group, index) = (self.wanted, u64::from(self.frame));
        if piece.kind != Kind::Frames {
            self.pass(piece.next());
            return Some(Frame { group, index, bytes: &piece.bytes });
        }
        let (bytes, end) = frame_at(&piece.bytes, (self.offset - piece.trimmed) as usize)?;
        self.frame += 1;
        self.offset = end as u32 + piece.trimmed;
        if self.frame == piece.end() {
            self.leave(piece.next());
        }
        Some(Frame { group, index, bytes })
    }

    /// Reads the frame that it stands before in a tail.
    #[inline]
    fn read_tail<'a>(&mut self, group: &'a Group) -> Option<Frame<&'a [u8]>> {
        let (bytes, end) = frame_at(&group.tail, self.offset as usize)?;
        let (group, index) = (self.wanted, u64::from(self.frame));
        self.frame += 1;
        self.offset = end as u32;
        Some(Frame { group, index, bytes })
    }

    /// Goes behind a frame in a part of its own, or its last part.
    const fn pass(&mut self, next: u32) {
        self.frame += 1;
        self.within = 0;
        self.leave(next);
    }
}
