//! Pieces of packets that a receiver holds, and the memory that they lie in.
//!
//! A piece is a run of consecutive messages out of one datagram. Pieces live in a slab and hang on
//! lists; their bytes are the datagram's own or were copied into a block, whichever keeps less
//! alive. Both the slab and the bytes are bounded; who must go when they are full, the owner says.

use bytes::Bytes;
use core::iter::successors;

use super::event::{Batch, Origin};
use super::server::Span;
use crate::storage::blocks::{BlockId, Blocks, OVERHEAD};
use crate::storage::charge::{Measure, charged};
use crate::storage::slab::NONE;
use crate::storage::table::{Row, Table, in_row};
use crate::wire::mold::{MAX_DATAGRAM, Messages};
use crate::{Instant, Session};

/// Bytes of a block: any datagram's messages fit.
pub(super) const BLOCK_LEN: usize = 1 << 16;
const _: () = assert!(MAX_DATAGRAM <= BLOCK_LEN);

/// Consecutive messages out of one datagram.
#[derive(Debug)]
pub(super) struct Piece {
    /// The messages as they are delivered.
    pub(super) batch: Batch<Bytes>,
    backing: Backing,
    previous: u32,
    next: u32,
}

in_row!(Piece { previous, next });

impl Default for Piece {
    /// The piece of a free place.
    fn default() -> Self {
        let batch = Batch {
            session: Session::new([b' '; Session::LEN]),
            first: 0,
            count: 1,
            bytes: Bytes::new(),
            offset: 0,
            arrival: Instant::ZERO,
            origin: Origin::Unknown,
            repaired: false,
        };
        Self { batch, backing: Backing::Shared(0), previous: NONE, next: NONE }
    }
}

charged!(Piece = 96);

/// The memory that a piece's bytes keep alive.
#[derive(Clone, Copy, Debug)]
enum Backing {
    /// The outside's buffer, of this many bytes.
    Shared(usize),
    /// The same, but on its way out: it does not count against the limit.
    Leaving(usize),
    /// A block of ours.
    Pooled(BlockId),
}

impl Piece {
    /// The extent of its messages in its bytes.
    pub(super) fn extent(&self) -> Extent {
        let Batch { session, first, count, offset, arrival, origin, repaired, .. } = self.batch;
        let end = offset + self.batch.messages().pass(count).len();
        Extent { session, first, last: self.batch.last(), offset, end, origin, arrival, repaired }
    }

    /// Its bytes, once it is off its list.
    pub(super) fn into_payload(self) -> Payload<'static> {
        match self.backing {
            Backing::Shared(pinned) | Backing::Leaving(pinned) => {
                Payload::Owned(self.batch.bytes, pinned)
            }
            Backing::Pooled(block) => Payload::Released(self.batch.bytes, block),
        }
    }
}

/// A datagram's bytes as they came in; cloned for one that comes apart into several pieces.
#[derive(Clone, Debug)]
pub(super) enum Payload<'a> {
    /// Lent for the time of a call.
    Borrowed(&'a [u8]),
    /// Ours to keep, with how many bytes of memory that keeps alive.
    Owned(Bytes, usize),
    /// Out of a block of our own that has been released just now.
    Released(Bytes, BlockId),
}

impl Payload<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes, _) | Self::Released(bytes, _) => bytes,
        }
    }

    /// Says that pieces will share the bytes: that takes a counter beside them.
    pub(super) fn will_be_shared(&mut self) {
        if let Self::Owned(_, pinned) = self {
            *pinned = pinned.saturating_add(OVERHEAD);
        }
    }

    /// Returns true if holding `len` bytes of it means copying them.
    fn is_copied(&self, len: usize) -> bool {
        match self {
            Self::Borrowed(_) | Self::Released(..) => true,
            Self::Owned(_, pinned) => *pinned > len.saturating_mul(2),
        }
    }
}

/// The extent of new messages in a datagram, and what is known of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) session: Session,
    pub(super) first: u64,
    pub(super) last: u64,
    /// The offset of the first message's length.
    pub(super) offset: usize,
    /// The end of the last message.
    pub(super) end: usize,
    pub(super) origin: Origin,
    pub(super) arrival: Instant,
    pub(super) repaired: bool,
}

impl Extent {
    /// The messages as they are delivered, in `bytes`.
    pub(super) const fn batch<B>(&self, bytes: B) -> Batch<B> {
        let Self { session, first, offset, origin, arrival, repaired, .. } = *self;
        let count = self.count() as u16;
        Batch { session, first, count, bytes, offset, arrival, origin, repaired }
    }

    /// The numbers of the messages.
    pub(super) const fn span(&self) -> Span {
        Span { session: self.session, first: self.first, last: self.last }
    }

    /// The messages, out of the datagram's bytes.
    pub(super) fn messages<'a>(&self, bytes: &'a [u8]) -> Messages<'a> {
        let blocks = bytes.get(self.offset..self.end).unwrap_or_default();
        Messages::new(self.first, self.count() as u16, blocks)
    }

    /// How many messages.
    pub(super) const fn count(&self) -> u64 {
        self.last - self.first + 1
    }
}

/// Pieces in an order that the owner chose.
pub(super) type List = Row;

/// The place of a piece: good until one is taken off its list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    id: u32,
    taken: u64,
}

/// The slab and the blocks.
#[derive(Debug)]
pub(super) struct Store {
    pieces: Table<Piece>,
    /// How many were taken off their lists.
    taken: u64,
    pub(super) blocks: Blocks,
    referenced: usize,
    /// As a driver says of each piece, so the sum may be more than there is memory.
    leaving: u64,
    max_bytes: usize,
    /// Pieces that were copied.
    pub(super) copied: u64,
}

impl Store {
    pub(super) fn new(max_bytes: usize, max_pieces: usize) -> Self {
        let blocks = Blocks::new(BLOCK_LEN, Self::most_blocks(max_bytes));
        Self {
            pieces: Table::new(max_pieces),
            taken: 0,
            blocks,
            referenced: 0,
            leaving: 0,
            max_bytes,
            copied: 0,
        }
    }

    /// The bytes of the tables with these limits.
    pub(super) const fn table_bytes(
        max_bytes: usize,
        max_pieces: usize,
        measure: Measure,
    ) -> usize {
        let blocks = Blocks::table_bytes(Self::most_blocks(max_bytes), measure);
        Table::<Piece>::bytes(max_pieces, measure).saturating_add(blocks)
    }

    const fn most_blocks(max_bytes: usize) -> usize {
        max_bytes / BLOCK_LEN
    }

    /// Bytes that the limit is about: blocks, and buffers of the outside that are kept alive.
    pub(super) fn held_bytes(&self) -> usize {
        self.blocks.block_bytes() + self.referenced
    }

    /// Held bytes, and what is on its way out.
    pub(super) fn payload_bytes(&self) -> usize {
        self.held_bytes().saturating_add(usize::try_from(self.leaving).unwrap_or(usize::MAX))
    }

    /// Returns true if a quarter of both limits is free.
    pub(super) fn has_room(&self) -> bool {
        let idle_counts_not = self.blocks.live_bytes() + self.referenced;
        self.pieces.len() <= self.pieces.most() / 4 * 3 && idle_counts_not <= self.max_bytes / 4 * 3
    }

    /// Returns true if the next datagram may find no room: less than a sixteenth of a limit is free, or than the
    /// largest datagram takes.
    pub(super) fn is_full(&self) -> bool {
        let bytes = self.blocks.occupied_bytes() + self.referenced;
        let has_free = |more| bytes.checked_add(more).is_some_and(|bytes| bytes <= self.max_bytes);
        let spare = (self.max_bytes / 16).min(self.blocks.block_cost());
        let is_copyable = self.blocks.has_room(spare) || has_free(self.blocks.block_cost());
        let spare_pieces = (self.pieces.most() / 16).max(1);
        self.pieces.len() + spare_pieces > self.pieces.most() || !has_free(spare) || !is_copyable
    }

    /// Reserves room for `pieces` more pieces, of together `len` bytes of this payload; `leaving` ones
    /// leave within the drain. `whole` says that it is one piece.
    pub(super) fn reserve(
        &mut self,
        payload: &Payload<'_>,
        len: usize,
        pieces: usize,
        whole: bool,
        leaving: bool,
    ) -> bool {
        if self.pieces.len() + pieces > self.pieces.most() {
            return false;
        }
        match *payload {
            Payload::Owned(..) | Payload::Released(..) if leaving => true,
            Payload::Owned(_, pinned) if whole && !payload.is_copied(len) => self.make_room(pinned),
            // Of a packet that comes apart each piece is judged by itself: a block has room for all.
            _ => self.reserve_block(len),
        }
    }

    /// Gives idle blocks up until so many bytes more can be held. So it makes no difference whether
    /// the outside has dropped what it was given out of them.
    fn make_room(&mut self, len: usize) -> bool {
        while self.held_bytes().checked_add(len).is_none_or(|bytes| bytes > self.max_bytes) {
            if !self.blocks.free_idle() {
                return false;
            }
        }
        true
    }

    fn reserve_block(&mut self, len: usize) -> bool {
        loop {
            let bytes = self.held_bytes().checked_add(self.blocks.block_cost());
            let affordable = bytes.is_some_and(|bytes| bytes <= self.max_bytes);
            if self.blocks.reserve(len, affordable) {
                return true;
            }
            // An idle block that did not come back belongs to the outside.
            if !self.blocks.free_idle() {
                return false;
            }
        }
    }

    /// Keeps the bytes of `extent`, for which room was reserved, at an end of a list; `None` where there is no room
    /// after all.
    pub(super) fn keep(
        &mut self,
        payload: Payload<'_>,
        extent: &Extent,
        leaving: bool,
        list: &mut List,
        end: End,
    ) -> Option<()> {
        if self.pieces.is_full() {
            return None;
        }
        let span = extent.end - extent.offset;
        let copied = payload.is_copied(span);
        // Delivery may be halted before it leaves: a block of ours stays ours until then.
        let retained = match payload {
            Payload::Released(_, block) if leaving => self.blocks.retain(block),
            _ => None,
        };
        let (bytes, offset, backing) = match (payload, retained) {
            (Payload::Owned(bytes, pinned), _) if leaving => {
                (bytes, extent.offset, Backing::Leaving(pinned))
            }
            (Payload::Released(bytes, _), Some(block)) => {
                (bytes, extent.offset, Backing::Pooled(block))
            }
            (Payload::Owned(bytes, pinned), _) if !copied && self.make_room(pinned) => {
                (bytes, extent.offset, Backing::Shared(pinned))
            }
            (payload, _) => {
                let reserved = self.reserve_block(span);
                let messages = payload.bytes().get(extent.offset..extent.end);
                let (block, bytes) = self.blocks.copy(messages.filter(|_| reserved)?)?;
                self.copied += 1;
                (bytes, 0, Backing::Pooled(block))
            }
        };
        match backing {
            Backing::Shared(pinned) => self.referenced += pinned,
            Backing::Leaving(pinned) => self.leaving += pinned as u64,
            Backing::Pooled(_) => {}
        }
        let batch = Extent { offset, ..*extent }.batch(bytes);
        let piece = Piece { batch, backing, previous: NONE, next: NONE };
        let id = self.pieces.insert(piece)?;
        let before = if end == End::Back { list.last() } else { NONE };
        list.insert_after(&mut self.pieces, before, id);
        Some(())
    }

    /// Takes the first piece off a list; what it kept alive no longer counts.
    pub(super) fn pop_front(&mut self, list: &mut List) -> Option<Piece> {
        let id = list.pop(&mut self.pieces)?;
        self.take(id)
    }

    /// Takes the last piece off a list.
    pub(super) fn pop_back(&mut self, list: &mut List) -> Option<Piece> {
        let id = list.last();
        self.pieces.get(id)?;
        list.remove(&mut self.pieces, id);
        self.take(id)
    }

    /// The messages of the first piece of a list.
    pub(super) fn front(&self, list: &List) -> Option<&Batch<Bytes>> {
        self.at(list.first())
    }

    /// The messages of the last piece of a list.
    pub(super) fn back(&self, list: &List) -> Option<&Batch<Bytes>> {
        self.at(list.last())
    }

    fn at(&self, id: u32) -> Option<&Batch<Bytes>> {
        self.pieces.get(id).map(|piece| &piece.batch)
    }

    /// Drops every piece of a list.
    pub(super) fn clear(&mut self, list: &mut List) {
        while self.pop_front(list).is_some() {}
    }

    /// Hangs all of `tail` behind `list`.
    pub(super) fn append(&mut self, list: &mut List, tail: List) {
        list.append(&mut self.pieces, tail);
    }

    /// The pieces of a list of consecutive ones from that with a number on, with their places: it is looked for among
    /// so many from `hint` on, then from the nearer end.
    pub(super) fn find(
        &self,
        list: &List,
        hint: Option<Place>,
        number: u64,
        most: usize,
    ) -> impl Iterator<Item = (Place, &Piece)> {
        let at = |id: u32| Some((Place { id, taken: self.taken }, self.pieces.get(id)?));
        let onward = move |id| successors(at(id), move |(_, piece)| at(piece.next));
        let back = move |id| successors(at(id), move |(_, piece)| at(piece.previous));
        let has = |(_, piece): &(Place, &Piece)| {
            (piece.batch.first..=piece.batch.last()).contains(&number)
        };
        let hint = hint.filter(|hint| hint.taken == self.taken);
        let hinted = hint.and_then(|hint| onward(hint.id).take(most).find(has));
        let found = hinted.or_else(|| {
            let (first, last) = (self.front(list)?.first, self.back(list)?.last());
            match last - number < number - first {
                true => back(list.last()).take(most).find(has),
                false => onward(list.first()).take(most).find(has),
            }
        });
        successors(found, move |(_, piece)| at(piece.next))
    }

    /// Drops the messages before `first` from the piece at the front of a list, which holds `first`.
    fn trim_front(&mut self, list: &List, first: u64) {
        let Some(Piece { batch, .. }) = self.pieces.get_mut(list.first()) else { return };
        let mut messages = batch.messages();
        let passed = messages.pass(first.saturating_sub(batch.first) as u16).len();
        (batch.first, batch.count) = (messages.sequence(), messages.remaining());
        batch.offset += passed;
    }

    /// The pieces of a list.
    pub(super) fn iter(&self, list: &List) -> impl Iterator<Item = &Piece> {
        let next = |piece: &&Piece| self.pieces.get(piece.next);
        successors(self.pieces.get(list.first()), next)
    }

    /// Drops every message up to `last` from a list, which may be in no order.
    pub(super) fn skip(&mut self, list: &mut List, last: u64) {
        let mut rest = core::mem::take(list);
        while let Some(piece) = self.front(&rest) {
            if piece.last() <= last {
                self.pop_front(&mut rest);
                continue;
            }
            self.trim_front(&rest, last + 1);
            if let Some(id) = rest.pop(&mut self.pieces) {
                list.push(&mut self.pieces, id);
            }
        }
    }

    /// Empties the place of a piece that hangs on no list any more.
    fn take(&mut self, id: u32) -> Option<Piece> {
        let piece = self.pieces.remove(id)?;
        self.taken += 1;
        match piece.backing {
            Backing::Shared(pinned) => self.referenced -= pinned,
            Backing::Leaving(pinned) => self.leaving -= pinned as u64,
            Backing::Pooled(block) => self.blocks.release(block),
        }
        Some(piece)
    }
}

/// An end of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Front,
    Back,
}
