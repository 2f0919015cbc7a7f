//! Readers, positions that the cache keeps; and reading at those that it does not.

use bytes::Bytes;

use super::event::{Answer, Chunk, Frame, FrameState, Next, Start};
use super::pool::RECLAIMED;
use super::position::Position;
use super::reader::Reader;
use super::store::find::{Lookup, held};
use super::store::take::ChunkWithin;
use super::{Cache, CallError, GroupId, Misuse, ReadUnit, ReaderId, Run, TrackId};
use crate::storage::slab::NONE;

impl Cache {
    /// The position that a start means now; `None` without such a track.
    #[must_use]
    pub fn position(&self, track: TrackId, start: Start) -> Option<Position> {
        self.store.track(track).ok()?;
        Some(self.store.position(track.0.slot, start))
    }

    /// As many sealed frames as lie together from a position on, or as there are of a large one, as one share
    /// in the cache's own memory of at most `max_bytes`; but a frame, or a byte of a large one, at least. The
    /// position goes on behind them, or behind what is said instead.
    ///
    /// It changes nothing in the cache, waits for nothing, and is not recorded. Appended frames are sealed by
    /// [`seal`](Self::seal), or by its group's end; until then there is nothing yet.
    ///
    /// # Errors
    /// [`Misuse::UnknownTrack`]; [`Misuse::WithinFrame`] at an offset that the frame does not have, or within
    /// one of up to 4096 bytes.
    #[inline]
    pub fn run_at(
        &self,
        track: TrackId,
        position: &mut Position,
        max_bytes: usize,
    ) -> Result<Next<Run>, Misuse> {
        self.store.track(track)?;
        if position.track == track.0.slot
            && let Some(run) = self.store.rest_of_piece(position, max_bytes)
        {
            return Ok(Next::Held(run));
        }
        self.find_run_at(track, position, max_bytes)
    }

    fn find_run_at(
        &self,
        track: TrackId,
        position: &mut Position,
        max_bytes: usize,
    ) -> Result<Next<Run>, Misuse> {
        let group = GroupId(position.group_key());
        let is_gone = position.group != NONE && self.store.group(group).is_err();
        if position.track != track.0.slot || is_gone {
            let Position { wanted, frame, within, .. } = *position;
            *position = Position { within, ..Position::in_track(track.0.slot, wanted, frame) };
        }
        let lookup = self.store.find(position, ReadUnit::Run);
        lookup.read(|| self.store.run_in_piece(position, max_bytes))
    }

    /// A reader of a track, from a place on. It costs a place in a table, and holds nothing back.
    ///
    /// # Errors
    /// [`Misuse::UnknownTrack`], [`Refusal::Full`](super::Refusal::Full).
    pub fn open_reader(&mut self, track: TrackId, start: Start) -> Result<ReaderId, CallError> {
        self.begin();
        self.store.track(track)?;
        // The room that it needs may evict what it would have begun with.
        self.add_reader(|cache| cache.store.position(track.0.slot, start))
    }

    /// Another reader at the same place, which goes on from there by itself.
    ///
    /// # Errors
    /// [`Misuse::UnknownReader`], [`Refusal::Full`](super::Refusal::Full).
    pub fn clone_reader(&mut self, reader: ReaderId) -> Result<ReaderId, CallError> {
        let position = self.reading(reader)?.position;
        self.add_reader(|_| position)
    }

    fn add_reader(&mut self, at: impl FnOnce(&Self) -> Position) -> Result<ReaderId, CallError> {
        self.admit(|cache| cache.readers.growth())?;
        let generation = self.next_generation();
        let position = at(self);
        let reader = self.readers.add(generation, position).ok_or_else(|| self.full())?;
        if let Some(track) = self.store.tracks.get_mut(position.track) {
            track.readers += 1;
        }
        Ok(reader)
    }

    /// Forgets a reader.
    ///
    /// # Errors
    /// [`Misuse::UnknownReader`].
    pub fn close_reader(&mut self, reader: ReaderId) -> Result<(), Misuse> {
        let track = self.reading(reader)?.position.track;
        self.readers.remove(&mut self.store, reader);
        if let Some(track) = self.store.tracks.get_mut(track) {
            track.readers -= 1;
        }
        self.forget_if_over(track);
        // The block of what it was given may be free with it.
        self.reclaim(RECLAIMED);
        Ok(())
    }

    /// Moves a reader within its track, out of whatever it waits for or is within.
    ///
    /// # Errors
    /// [`Misuse::UnknownReader`].
    pub fn seek(&mut self, reader: ReaderId, start: Start) -> Result<(), Misuse> {
        let track = self.reading(reader)?.position.track;
        let position = self.store.position(track, start);
        self.readers.stop_waiting(&mut self.store, reader.0.slot);
        self.readers.find_mut(reader)?.position = position;
        Ok(())
    }

    /// The next frame, whole, borrowed from the cache. One that is not complete is waited for; one that
    /// came in several chunks does not lie together ([`Next::Parts`]).
    ///
    /// # Errors
    /// [`Misuse::UnknownReader`], [`Misuse::WithinFrame`].
    #[inline]
    pub fn next_frame(&mut self, reader: ReaderId) -> Result<Next<Frame<&[u8]>>, Misuse> {
        self.begin();
        let known = self.readers.find_mut(reader)?;
        if self.store.stands_in_piece(&known.position) {
            return Ok(held(self.store.frame_in_piece(&mut known.position)));
        }
        // One that follows what is being written.
        if !known.is_waiting() && self.store.stands_in_tail(&known.position) {
            return Ok(held(self.store.frame_in_tail(&mut known.position)));
        }
        self.find_frame(reader)
    }

    #[cold]
    fn find_frame(&mut self, reader: ReaderId) -> Result<Next<Frame<&[u8]>>, Misuse> {
        let lookup = self.readers.find(&mut self.store, reader, ReadUnit::Frame);
        let known = self.readers.find_mut(reader)?;
        lookup.read(|| self.store.frame_at(&mut known.position, lookup))
    }

    /// As [`next_frame`](Self::next_frame), for keeps: a share where it can be shared as it lies, or else a copy.
    pub(super) fn next_frame_kept(
        &mut self,
        reader: ReaderId,
    ) -> Result<Next<Frame<Bytes>>, Misuse> {
        self.begin();
        let lookup = self.readers.find(&mut self.store, reader, ReadUnit::Frame);
        let known = self.readers.find_mut(reader)?;
        lookup.read(|| match lookup {
            Lookup::Tail => self.store.frame_in_tail(&mut known.position).map(Frame::copied),
            _ => self.store.share_in_piece(&mut known.position),
        })
    }

    /// As [`next_frame`](Self::next_frame), as a share in the cache's own memory: no copy.
    ///
    /// # Errors
    /// As [`next_frame`](Self::next_frame).
    #[inline]
    pub fn next_shared(&mut self, reader: ReaderId) -> Result<Next<Frame<Bytes>>, Misuse> {
        self.begin();
        let known = self.readers.find_mut(reader)?;
        if self.store.stands_in_piece(&known.position) {
            return Ok(held(self.store.share_in_piece(&mut known.position)));
        }
        self.find_shared(reader)
    }

    #[inline(never)]
    fn find_shared(&mut self, reader: ReaderId) -> Result<Next<Frame<Bytes>>, Misuse> {
        let lookup = self.find_sealed(reader, ReadUnit::Frame);
        let known = self.readers.find_mut(reader)?;
        lookup.read(|| self.store.share_in_piece(&mut known.position))
    }

    /// The bytes there are of the next frame, or of the rest of it: all, unless it is incomplete, or came in
    /// several chunks.
    ///
    /// # Errors
    /// [`Misuse::UnknownReader`].
    pub fn next_chunk(&mut self, reader: ReaderId) -> Result<Next<Chunk<&[u8]>>, Misuse> {
        Ok(self.next_chunk_within(reader)?.map(|(chunk, _)| chunk))
    }

    /// The next chunk, with what it lies in.
    fn next_chunk_within(&mut self, reader: ReaderId) -> Result<Next<ChunkWithin<'_>>, Misuse> {
        self.reading(reader)?;
        let lookup = self.readers.find(&mut self.store, reader, ReadUnit::Chunk);
        let known = self.readers.find_mut(reader)?;
        lookup.read(|| self.store.chunk_at(&mut known.position, lookup))
    }

    /// As many frames as lie together from the reader's place on, or as there are of a large one, as one
    /// share in the cache's own memory.
    ///
    /// # Errors
    /// As [`next_frame`](Self::next_frame). A large frame that was begun by chunks can be gone on with.
    #[inline]
    pub fn next_run(&mut self, reader: ReaderId) -> Result<Next<Run>, Misuse> {
        self.begin();
        let known = self.readers.find_mut(reader)?;
        if let Some(run) = self.store.rest_of_piece(&mut known.position, usize::MAX) {
            return Ok(Next::Held(run));
        }
        let lookup = self.find_sealed(reader, ReadUnit::Run);
        let known = self.readers.find_mut(reader)?;
        lookup.read(|| self.store.run_in_piece(&mut known.position, usize::MAX))
    }

    /// One step of a reader.
    pub(super) fn read(&mut self, reader: ReaderId, by: ReadUnit) -> Result<Answer, Misuse> {
        Ok(match by {
            ReadUnit::Frame => Answer::Frame(self.next_shared(reader)?),
            ReadUnit::Run => Answer::Run(self.next_run(reader)?),
            ReadUnit::Chunk => {
                let next = self.next_chunk_within(reader)?;
                Answer::Chunk(next.map(|(Chunk { group, index, size, offset, bytes }, whole)| {
                    let copy = || Bytes::copy_from_slice(bytes);
                    let bytes = whole.map_or_else(copy, |whole| whole.slice_ref(bytes));
                    Chunk { group, index, size, offset, bytes }
                }))
            }
        })
    }

    /// The state of an index of a group; `None` when there is no such group, or no longer.
    #[must_use]
    pub fn frame(&self, group: GroupId, index: u64) -> Option<FrameState<'_>> {
        self.store.frame(group, index)
    }

    /// A reader that may read now.
    #[inline]
    fn reading(&mut self, reader: ReaderId) -> Result<&mut Reader, Misuse> {
        self.begin();
        self.readers.find_mut(reader)
    }

    /// Brings a reader to what comes next in a piece: of the tail one is made that can be shared.
    fn find_sealed(&mut self, reader: ReaderId, by: ReadUnit) -> Lookup {
        let lookup = self.readers.find(&mut self.store, reader, by);
        if let (Lookup::Tail, Ok(known)) = (lookup, self.readers.find_mut(reader)) {
            self.store.seal_group(known.position.group);
            return self.readers.find(&mut self.store, reader, by);
        }
        lookup
    }
}
