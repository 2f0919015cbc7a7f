//! Frames: how they are laid into groups.

use bytes::Bytes;
use core::num::NonZeroU32;

use super::event::Put;
use super::group::{Kind, MOST, PIECE_FRAMES, Piece, Unfinished};
use super::pool::{LARGE, Pool, cost};
use super::{Cache, CallError, GroupId, Missing, Misuse, ReadUnit, Refusal, TrackId};
use crate::storage::charge::Measure;
use crate::storage::slab::NONE;
use crate::wire::varint;

/// The least of a chunk that is kept by reference.
const LEAST_SHARED: usize = 1024;

impl Cache {
    /// Appends a frame, of any size from none on: it is copied. Its index is returned.
    ///
    /// A frame that the budget cannot hold aborts the group
    /// ([`Command::Aborted`](super::Command::Aborted)); the index is the one that it would have had.
    ///
    /// # Errors
    /// [`Misuse::UnknownGroup`], [`Misuse::GroupEnded`], [`Misuse::Aborted`], [`Misuse::Skipped`],
    /// [`Refusal::Short`], [`Refusal::FrameTooLarge`], [`Refusal::UsedUp`].
    #[inline]
    pub fn append(&mut self, group: GroupId, frame: &[u8]) -> Result<u64, CallError> {
        self.begin();
        // A small frame for a group that has room for it.
        if frame.len() <= self.small
            && let Some(known) = self.store.groups.find_mut(group.0)
            && known.fast_appends > 0
            && known.has_bytes(frame.len() + 2)
        {
            known.lay_size(frame.len());
            known.tail.extend_from_slice(frame);
            let index = known.count;
            known.count += 1;
            known.fast_appends -= 1;
            self.stats.frames += 1;
            self.stats.bytes += frame.len() as u64;
            return Ok(index.into());
        }
        self.append_slowly(group, frame)
    }

    #[cold]
    fn append_slowly(&mut self, group: GroupId, frame: &[u8]) -> Result<u64, CallError> {
        let (at, index) = self.appendable(group, frame.len() as u64)?;
        self.append_copy(at, frame);
        Ok(index)
    }

    /// Appends a frame that may be kept by reference, and returns its index: one of more than 4096 bytes is, if it keeps at most
    /// twice its length alive; `pinned` says how many bytes of memory that are.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_shared(
        &mut self,
        group: GroupId,
        frame: Bytes,
        pinned: usize,
    ) -> Result<u64, CallError> {
        self.begin();
        let (at, index) = self.appendable(group, frame.len() as u64)?;
        if frame.len() <= LARGE || pinned > 2 * frame.len() {
            self.append_copy(at, &frame);
            return Ok(index);
        }
        let kind = Kind::Part { offset: 0, size: frame.len() as u32 };
        if self.push_shared(at, kind, frame.clone(), pinned) {
            self.complete(at, frame.len());
        }
        Ok(index)
    }

    /// Begins a frame of `size` bytes, which [`write`](Self::write) brings, and returns its index. Memory is taken as they come;
    /// of up to 4096 bytes at once.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn open_frame(&mut self, group: GroupId, size: u64) -> Result<u64, CallError> {
        self.begin();
        let (at, index) = self.appendable(group, size)?;
        let Some(declared) = NonZeroU32::new(size as u32) else {
            self.append_copy(at, &[]);
            return Ok(index);
        };
        // Whatever goes, and whoever closes, all of it cannot be there at the end.
        if self.store.pool.tables(Measure::Charged).saturating_add(size as usize)
            > self.config.max_bytes
        {
            self.abort_as_too_large(at);
            return Ok(index);
        }
        // So that an incomplete frame is alone in the tail.
        self.store.seal_group(at);
        if size as usize <= LARGE && !self.prepare(at, varint::len(size) + size as usize) {
            return Ok(index);
        }
        if let Some(group) = self.store.groups.get_mut(at) {
            if size as usize <= LARGE {
                group.lay_size(size as usize);
            }
            group.fast_appends = 0;
            group.unfinished = Some(Unfinished { size: declared, written: 0 });
        }
        Ok(index)
    }

    /// Writes the next bytes of the open frame: they are copied. With the last of them it is complete.
    ///
    /// # Errors
    /// [`Misuse::UnknownGroup`], [`Misuse::GroupEnded`], [`Misuse::Aborted`], [`Misuse::Skipped`],
    /// [`Misuse::NoFrame`], [`Refusal::PastSize`], [`Refusal::Unfinished`].
    pub fn write(&mut self, group: GroupId, chunk: &[u8]) -> Result<(), CallError> {
        self.begin();
        let at = self.writable(group, chunk.len())?;
        if !chunk.is_empty() {
            self.write_copy(at, chunk);
        }
        Ok(())
    }

    /// Writes the next bytes of the open frame. Of a frame of more than 4096 bytes they are kept by
    /// reference when they are 1024 or more, and keep at most twice their length alive.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_shared(
        &mut self,
        group: GroupId,
        chunk: Bytes,
        pinned: usize,
    ) -> Result<(), CallError> {
        self.begin();
        let at = self.writable(group, chunk.len())?;
        let frame = self.store.groups.get(at).and_then(|group| group.unfinished);
        match frame.filter(|frame| frame.is_parted()) {
            Some(Unfinished { size, written })
                if chunk.len() >= LEAST_SHARED && pinned <= 2 * chunk.len() =>
            {
                let (kind, len) = (Kind::Part { offset: written, size: size.get() }, chunk.len());
                if self.push_shared(at, kind, chunk, pinned) {
                    self.wrote(at, len);
                }
            }
            _ if chunk.is_empty() => {}
            _ => self.write_copy(at, &chunk),
        }
        Ok(())
    }

    /// Appends places for `count` frames that are missing, and returns the index of the first.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_missing(
        &mut self,
        group: GroupId,
        count: u64,
        why: Missing,
    ) -> Result<u64, CallError> {
        self.begin();
        let (at, index) = self.appendable(group, 0)?;
        if count > u64::from(MOST) - index {
            return Err(self.refuse(Refusal::UsedUp));
        }
        let count = count as u32;
        if count == 0 {
            return Ok(index);
        }
        self.store.seal_group(at);
        let kind = Kind::Missing(why);
        if !self.store.extend_missing(at, kind, count) {
            if !self.room_for(at, |cache| cache.store.piece_growth(1)) {
                self.abort_as_too_large(at);
                return Ok(index);
            }
            self.store.push_piece(at, Piece::new(index as u32, count, kind, Bytes::new()));
        }
        if let Some(group) = self.store.groups.get_mut(at) {
            group.count += count;
            group.sealed = group.count;
        }
        self.stats.missing += u64::from(count);
        self.appended(at);
        Ok(index)
    }

    /// Puts a frame under an index: as the next one; where one is missing; or to be compared with the one
    /// that is held. A group that is finished takes what it lacks too.
    ///
    /// # Errors
    /// As [`append`](Self::append), and [`Refusal::NotNext`], [`Refusal::FrameEvicted`],
    /// [`Refusal::Contradiction`], [`Refusal::Full`].
    pub fn put(&mut self, group: GroupId, index: u64, frame: &[u8]) -> Result<Put, CallError> {
        self.begin();
        let known = self.store.present(group)?;
        let (floor, next) = (u64::from(known.floor), u64::from(known.count));
        if index == next {
            return self.append(group, frame).map(|_| Put::Appended);
        }
        if index > next {
            return Err(self.refuse(Refusal::NotNext { index, next }));
        }
        if index < floor {
            return Err(self.refuse(Refusal::FrameEvicted { index, floor }));
        }
        self.check_size(frame.len() as u64)?;
        let index = index as u32;
        match self.store.compare(group, index, frame) {
            Some(true) => {
                self.stats.same += 1;
                Ok(Put::Duplicate)
            }
            Some(false) => Err(self.refuse(Refusal::Contradiction(index.into()))),
            None => self.fill(group.0.slot, index, frame),
        }
    }

    /// Makes a missing frame held.
    fn fill(&mut self, at: u32, index: u32, frame: &[u8]) -> Result<Put, CallError> {
        let head = if frame.len() > LARGE { 0 } else { varint::len(frame.len() as u64) };
        let size = Pool::size_after(0, head + frame.len());
        // Beside the frame there is what is missing behind it.
        let Some(piece) = self.piece_of(at, index, frame, size, 2) else {
            return Err(self.full());
        };
        self.stats.filled += 1;
        self.stats.frames += 1;
        self.stats.bytes += frame.len() as u64;
        let is_placed = self.store.place(at, piece);
        self.settle();
        if let Some(group) =
            self.store.groups.get_mut(at).filter(|group| is_placed && group.is_limited)
        {
            group.bytes += frame.len() as u64;
            self.limit_frames(at);
        }
        Ok(Put::Filled)
    }

    /// Checks that a group takes one more frame, of this size: its place, and the frame's index.
    fn appendable(&mut self, group: GroupId, size: u64) -> Result<(u32, u64), CallError> {
        let at = self.open_group(group)?;
        self.check_complete(at)?;
        self.check_size(size)?;
        match self.store.group(group)?.count {
            MOST.. => Err(self.refuse(Refusal::UsedUp)),
            index => Ok((at, index.into())),
        }
    }

    fn check_size(&mut self, size: u64) -> Result<(), CallError> {
        let max = self.config.max_frame;
        if size > max { Err(self.refuse(Refusal::FrameTooLarge { size, max })) } else { Ok(()) }
    }

    /// Checks that the open frame of a group takes so many bytes.
    fn writable(&mut self, group: GroupId, len: usize) -> Result<u32, CallError> {
        let at = self.open_group(group)?;
        let group = self.store.group(group)?;
        let Unfinished { size, written } = group.unfinished.ok_or(Misuse::NoFrame)?;
        let (left, len) = (u64::from(size.get() - written), len as u64);
        if len > left {
            return Err(self.refuse(Refusal::PastSize { len, left }));
        }
        let track = group.track;
        let unfinished = self.unfinished(track).map_or(0, |unfinished| u64::from(*unfinished));
        let (bytes, max) = (unfinished + len, self.config.max_unfinished);
        // A chunk that completes a frame leaves nothing unfinished.
        if bytes > max && len < left {
            return Err(self.refuse(Refusal::Unfinished { bytes, max }));
        }
        Ok(at)
    }

    /// Appends a frame by a copy.
    fn append_copy(&mut self, at: u32, frame: &[u8]) {
        if frame.len() > LARGE {
            return self.append_large(at, frame);
        }
        if !self.prepare(at, varint::len(frame.len() as u64) + frame.len()) {
            return;
        }
        if let Some(group) = self.store.groups.get_mut(at) {
            group.lay_size(frame.len());
            group.tail.extend_from_slice(frame);
        }
        self.complete(at, frame.len());
    }

    /// Appends a large frame by a copy into a block of its own.
    fn append_large(&mut self, at: u32, frame: &[u8]) {
        self.store.seal_group(at);
        let index = self.store.groups.get(at).map_or(0, |group| group.count);
        let Some(piece) = self.piece_of(at, index, frame, frame.len(), 1) else {
            return self.abort_as_too_large(at);
        };
        self.store.push_piece(at, piece);
        self.settle();
        self.complete(at, frame.len());
    }

    /// A piece of one frame in a block of its own, of `size` bytes; room is made for that, and for so many
    /// pieces. `None` when there cannot be.
    fn piece_of(
        &mut self,
        at: u32,
        index: u32,
        frame: &[u8],
        size: usize,
        pieces: usize,
    ) -> Option<Piece> {
        let growth =
            |cache: &Self| cache.store.pool.growth(size) + cache.store.piece_growth(pieces);
        let fits = self.can_hold(cost(size)) && self.room_for(at, growth);
        let (block, mut buffer) = fits.then(|| self.block(at, size)).flatten()?;
        let kind = if frame.len() > LARGE {
            Kind::Part { offset: 0, size: frame.len() as u32 }
        } else {
            buffer.extend_from_slice(&varint::Buffer::new(frame.len() as u64));
            Kind::Frames
        };
        buffer.extend_from_slice(frame);
        let bytes = buffer.split().freeze();
        self.store.pool.share(block);
        self.store.pool.retire(block, buffer);
        Some(Piece::new(index, 1, kind, bytes).in_block(block))
    }

    /// Keeps a part of a large frame by reference; `false` when the group had to be aborted.
    fn push_shared(&mut self, at: u32, kind: Kind, bytes: Bytes, pinned: usize) -> bool {
        self.store.seal_group(at);
        let pinned = cost(pinned.max(bytes.len()));
        let fits = self.can_hold(pinned)
            && self.room_for(at, |cache| cache.store.piece_growth(1).saturating_add(pinned));
        if !fits {
            self.abort_as_too_large(at);
            return false;
        }
        // Makes it a shared buffer now, so that reading never allocates.
        drop(bytes.clone());
        let index = self.store.groups.get(at).map_or(0, |group| group.count);
        let mut piece = Piece::new(index, 1, kind, bytes);
        piece.pinned = pinned;
        self.store.push_piece(at, piece);
        self.settle();
        true
    }

    fn write_copy(&mut self, at: u32, chunk: &[u8]) {
        let Some(group) = self.store.groups.get_mut(at) else { return };
        let Some(Unfinished { size, written }) = group.unfinished else { return };
        let size = size.get();
        if size as usize <= LARGE {
            // There was room for all of it from the beginning.
            group.tail.extend_from_slice(chunk);
            return self.wrote(at, chunk.len());
        }
        if chunk.len() == size as usize {
            group.unfinished = None;
            return self.append_large(at, chunk);
        }
        let (mut rest, mut offset) = (chunk, written);
        while !rest.is_empty() {
            if !self.prepare(at, 1) {
                return;
            }
            let Some(group) = self.store.groups.get_mut(at) else { return };
            let room = group.tail.capacity().min(rest.len());
            let (part, after) = rest.split_at(room);
            group.tail.extend_from_slice(part);
            let bytes = group.tail.split().freeze();
            let piece = Piece::new(group.count, 1, Kind::Part { offset, size }, bytes);
            self.store.push_tail(at, piece);
            (rest, offset) = (after, offset + room as u32);
        }
        self.wrote(at, chunk.len());
    }

    /// Says that bytes of the open frame have come.
    fn wrote(&mut self, at: u32, len: usize) {
        let Some(group) = self.store.groups.get_mut(at) else { return };
        let Some(frame) = &mut group.unfinished else { return };
        frame.written += len as u32;
        let (track, size) = (group.track, frame.size.get());
        if frame.written == size {
            group.unfinished = None;
            self.forget_unfinished(track, size - len as u32);
            return self.complete(at, size as usize);
        }
        if let Some(unfinished) = self.unfinished(track) {
            *unfinished += len as u32;
        }
        self.readers.wake_by(&mut self.store, at, ReadUnit::Chunk);
        // A part of a large frame can go into a run; of a small one the frame has to be whole.
        if size as usize > LARGE {
            self.readers.wake_by(&mut self.store, at, ReadUnit::Run);
        }
        self.pend_ready();
    }

    /// Counts one more complete frame.
    fn complete(&mut self, at: u32, len: usize) {
        let Some(group) = self.store.groups.get_mut(at) else { return };
        group.count += 1;
        if group.is_limited {
            group.bytes += len as u64;
        }
        if len > LARGE {
            group.sealed += 1;
        } else if group.count - group.sealed == 1
            && let Some(track) = self.store.tracks.get_mut(group.track)
        {
            track.unsealed.push(&mut self.store.groups, at);
        }
        self.stats.frames += 1;
        self.stats.bytes += len as u64;
        self.appended(at);
    }

    /// Keeps the limits of a group that has more, and wakes its readers.
    fn appended(&mut self, at: u32) {
        let Some(group) = self.store.groups.get(at) else { return };
        if group.is_limited {
            self.limit_frames(at);
        }
        self.readers.wake_reached(&mut self.store, at);
        self.pend_ready();
    }

    /// Makes room for so many bytes in the tail of a group; when there cannot be, the group is aborted.
    fn prepare(&mut self, at: u32, len: usize) -> bool {
        let Some(group) = self.store.groups.get(at) else { return false };
        if group.has_room(len) {
            return true;
        }
        if group.count - group.sealed >= PIECE_FRAMES || !group.has_bytes(len) {
            self.store.seal_group(at);
        }
        let is_ready = self.reserve(at, len).is_some();
        if !is_ready {
            self.abort_as_too_large(at);
        }
        is_ready
    }

    /// A place for the piece that the tail will be, and a block with room for so many bytes; what is in the
    /// tail was sealed when it lacked that.
    fn reserve(&mut self, at: u32, len: usize) -> Option<()> {
        if self.store.groups.get(at)?.tail_piece == NONE {
            self.room_for(at, |cache| cache.store.piece_growth(1)).then_some(())?;
            self.store.keep_place(at)?;
        }
        let group = self.store.groups.get(at)?;
        if !group.has_bytes(len) {
            let size = Pool::size_after(group.block_size as usize, len);
            self.retire_block(at);
            let (block, buffer) = self.block(at, size)?;
            let group = self.store.groups.get_mut(at)?;
            (group.tail, group.tail_block, group.block_size) = (buffer, block, size as u16);
        }
        Some(())
    }

    /// Lets positions and readers read by shares what was appended to groups of a track: once for all that was
    /// appended since the last time is enough.
    ///
    /// # Errors
    /// [`Misuse::UnknownTrack`].
    pub fn seal(&mut self, track: TrackId) -> Result<(), Misuse> {
        self.begin();
        self.store.track(track)?;
        while let Some(track) = self.store.tracks.get(track.0.slot)
            && !track.unsealed.is_empty()
        {
            self.store.seal_group(track.unsealed.first());
        }
        Ok(())
    }

    /// Lays nothing more into the block of a group's tail.
    fn retire_block(&mut self, at: u32) {
        let Some(group) = self.store.groups.get_mut(at) else { return };
        let (rest, block) = (core::mem::take(&mut group.tail), group.tail_block);
        group.tail_block = NONE;
        group.fast_appends = 0;
        if block != NONE {
            self.store.pool.retire(block, rest);
            self.compact(at, block);
        }
    }

    /// Lays the pieces of a group that lie in this block together in another one, where they are many for
    /// few frames. Room is made for that, but no frame of this group goes for it, and no newest group: then they
    /// stay as they are.
    fn compact(&mut self, at: u32, block: u32) {
        let Some((from, bytes)) = self.store.scattered(at, block) else { return };
        let size = Pool::size_after(0, bytes);
        if !self.room_of_superseded(at, |cache| cache.store.pool.growth(size)) {
            return;
        }
        let Some((to, buffer)) = self.block(at, size) else { return };
        self.store.lay_together(at, from, to, buffer);
        self.settle();
    }

    /// Gives up what a group keeps for frames to come; its tail is empty.
    pub(super) fn retire_tail(&mut self, at: u32) {
        self.retire_block(at);
        self.store.drop_place(at);
    }
}
