//! Pieces of packets that a receiver holds, and the memory that they lie in.
//!
//! A piece is a run of consecutive messages out of one datagram. Pieces live in a slab and hang on
//! lists; their bytes are the datagram's own or were copied into a block, whichever keeps less
//! alive. Both the slab and the bytes are bounded; who must go when they are full, the owner says.

use bytes::Bytes;

use super::event::{Batch, Origin};
use crate::storage::blocks::{BlockId, Blocks, OVERHEAD};
use crate::storage::list::Link;
use crate::storage::slab::NONE;
use crate::storage::table::{InRow, Row, Table};
use crate::wire::mold::{LENGTH_LEN, MAX_DATAGRAM, Messages};
use crate::{Instant, Session};

/// Bytes of a block: any datagram's messages fit.
pub(super) const BLOCK_LEN: usize = 1 << 16;
const _: () = assert!(MAX_DATAGRAM <= BLOCK_LEN);

/// Consecutive messages out of one datagram.
#[derive(Debug)]
pub(super) struct Piece {
    /// Number of the first message.
    pub(super) first: u64,
    /// Number of the last message.
    pub(super) last: u64,
    /// The line or server that brought it.
    pub(super) origin: Origin,
    /// When its datagram arrived.
    pub(super) arrival: Instant,
    /// Whether it fills a gap.
    pub(super) repaired: bool,
    bytes: Bytes,
    offset: usize,
    backing: Backing,
    link: Link,
}

impl Default for Piece {
    /// The piece of a free place.
    fn default() -> Self {
        Self {
            first: 0,
            last: 0,
            origin: Origin::Unknown,
            arrival: Instant::ZERO,
            repaired: false,
            bytes: Bytes::new(),
            offset: 0,
            backing: Backing::Shared(0),
            link: Link::default(),
        }
    }
}

impl InRow for Piece {
    fn link(&self) -> Link {
        self.link
    }

    fn set_link(&mut self, link: Link) {
        self.link = link;
    }
}

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
    /// How many messages.
    pub(super) const fn count(&self) -> u64 {
        self.last - self.first + 1
    }

    /// Its messages.
    pub(super) fn messages(&self) -> Messages<'_> {
        let blocks = self.bytes.get(self.offset..).unwrap_or_default();
        Messages::new(self.first, self.count() as u16, blocks)
    }

    /// Where its messages lie in its bytes.
    pub(super) const fn extent(&self) -> Extent {
        let Self { first, last, offset, origin, arrival, repaired, .. } = *self;
        Extent { first, last, offset, end: self.bytes.len(), origin, arrival, repaired }
    }

    /// Its bytes, once it is off its list.
    pub(super) fn into_payload(self) -> Payload<'static> {
        match self.backing {
            Backing::Shared(pinned) | Backing::Leaving(pinned) => {
                Payload::Owned(self.bytes, pinned)
            }
            Backing::Pooled(block) => Payload::Released(self.bytes, block),
        }
    }

    /// The piece as it is delivered.
    fn into_batch(self, session: Session) -> Batch<Bytes> {
        self.extent().batch(session, self.bytes)
    }
}

/// A datagram's bytes as they came in.
#[derive(Debug)]
pub(super) enum Payload<'a> {
    /// Lent for the time of a call.
    Borrowed(&'a [u8]),
    /// Ours to keep, with how many bytes of memory that keeps alive.
    Owned(Bytes, usize),
    /// Out of a block of our own that has been released just now.
    Released(Bytes, BlockId),
}

impl<'a> Payload<'a> {
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

    /// The same bytes once more, for a datagram that comes apart into several pieces.
    pub(super) fn share(&self) -> Self {
        match self {
            Self::Borrowed(bytes) => Self::Borrowed(bytes),
            Self::Owned(bytes, pinned) => Self::Owned(bytes.clone(), *pinned),
            Self::Released(bytes, block) => Self::Released(bytes.clone(), *block),
        }
    }

    /// Whether holding `len` bytes of it means copying them.
    fn is_copied(&self, len: usize) -> bool {
        match self {
            Self::Borrowed(_) | Self::Released(..) => true,
            Self::Owned(_, pinned) => *pinned > len.saturating_mul(2),
        }
    }
}

/// Where new messages lie in a datagram, and what is known of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) first: u64,
    pub(super) last: u64,
    /// Where the first message's length lies.
    pub(super) offset: usize,
    /// Where the last message ends.
    pub(super) end: usize,
    pub(super) origin: Origin,
    pub(super) arrival: Instant,
    pub(super) repaired: bool,
}

impl Extent {
    /// The messages as they are delivered, in `bytes`.
    pub(super) const fn batch<B>(&self, session: Session, bytes: B) -> Batch<B> {
        let Self { first, last, offset, origin, arrival, repaired, .. } = *self;
        let count = (last - first + 1) as u16;
        Batch { session, first, count, bytes, offset, arrival, origin, repaired }
    }
}

/// Pieces in an order that the owner chose.
pub(super) type List = Row;

/// Where a piece lies: good until one is taken off its list.
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
    blocks: Blocks,
    referenced: usize,
    /// As a driver says of each piece, so the sum may be more than there is memory.
    leaving: u64,
    max_bytes: usize,
    copied: u64,
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
    pub(super) const fn table_bytes(max_bytes: usize, max_pieces: usize) -> usize {
        let blocks = Blocks::table_bytes(Self::most_blocks(max_bytes));
        Table::<Piece>::bytes(max_pieces).saturating_add(blocks)
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

    pub(super) fn lent(&self) -> usize {
        self.blocks.lent()
    }

    pub(super) fn blocks_allocated(&self) -> u64 {
        self.blocks.allocated()
    }

    pub(super) fn copied(&self) -> u64 {
        self.copied
    }

    /// Whether a quarter of both limits is free.
    pub(super) fn has_room(&self) -> bool {
        let idle_counts_not = self.blocks.live_bytes() + self.referenced;
        self.pieces.len() <= self.pieces.most() / 4 * 3 && idle_counts_not <= self.max_bytes / 4 * 3
    }

    /// Whether the next datagram may find no room: less than a sixteenth of a limit is free, or than the
    /// largest datagram takes.
    pub(super) fn is_full(&self) -> bool {
        let bytes = self.blocks.occupied_bytes() + self.referenced;
        let has_free = |more| bytes.checked_add(more).is_some_and(|bytes| bytes <= self.max_bytes);
        let spare = (self.max_bytes / 16).min(self.blocks.block_cost());
        let is_copyable = self.blocks.has_room(spare) || has_free(self.blocks.block_cost());
        let spare_pieces = (self.pieces.most() / 16).max(1);
        self.pieces.len() + spare_pieces > self.pieces.most() || !has_free(spare) || !is_copyable
    }

    /// Whether `pieces` more pieces, of together `len` bytes of this payload, can be kept; `leaving` ones
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

    /// Keeps the bytes of `extent`, for which room was reserved, at an end of a list.
    ///
    /// # Errors
    /// There is no room after all: the payload comes back.
    pub(super) fn keep<'a>(
        &mut self,
        payload: Payload<'a>,
        extent: &Extent,
        leaving: bool,
        list: &mut List,
        end: End,
    ) -> Result<(), Payload<'a>> {
        if self.pieces.is_full() {
            return Err(payload);
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
                let copy = messages.filter(|_| reserved).and_then(|it| self.blocks.copy(it));
                let Some((block, bytes)) = copy else { return Err(payload) };
                self.copied += 1;
                (bytes, 0, Backing::Pooled(block))
            }
        };
        match backing {
            Backing::Shared(pinned) => self.referenced += pinned,
            Backing::Leaving(pinned) => self.leaving += pinned as u64,
            Backing::Pooled(_) => {}
        }
        let Extent { first, last, origin, arrival, repaired, .. } = *extent;
        let link = Link::default();
        let piece = Piece { first, last, origin, arrival, repaired, bytes, offset, backing, link };
        if let Some(id) = self.pieces.insert(piece) {
            let before = if end == End::Back { list.last() } else { NONE };
            list.insert_after(&mut self.pieces, before, id);
        }
        Ok(())
    }

    /// Gives the first piece of a list out.
    pub(super) fn deliver(&mut self, list: &mut List, session: Session) -> Option<Batch<Bytes>> {
        self.pop_front(list).map(|piece| piece.into_batch(session))
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

    /// The first piece of a list.
    pub(super) fn front(&self, list: &List) -> Option<&Piece> {
        self.pieces.get(list.first())
    }

    /// The last piece of a list.
    pub(super) fn back(&self, list: &List) -> Option<&Piece> {
        self.pieces.get(list.last())
    }

    /// Drops every piece of a list.
    pub(super) fn clear(&mut self, list: &mut List) {
        while self.pop_front(list).is_some() {}
    }

    /// Hangs all of `tail` behind `list`.
    pub(super) fn append(&mut self, list: &mut List, tail: List) {
        list.append(&mut self.pieces, tail);
    }

    /// Where the piece with a number hangs on a list of consecutive ones, which has it: looked for among so
    /// many from `hint` on, then from the nearer end.
    pub(super) fn find(
        &self,
        list: &List,
        hint: Option<Place>,
        number: u64,
        most: usize,
    ) -> Option<Place> {
        let next = |id: &u32, back: bool| {
            let Link { previous, next } = self.pieces.get(*id)?.link;
            Some(if back { previous } else { next })
        };
        let has = |id: &u32| {
            let piece = self.pieces.get(*id);
            piece.is_some_and(|piece| (piece.first..=piece.last).contains(&number))
        };
        let find = |from: u32, back: bool| {
            core::iter::successors(Some(from), |id| next(id, back)).take(most).find(has)
        };
        let hinted =
            hint.filter(|hint| hint.taken == self.taken).and_then(|hint| find(hint.id, false));
        let (first, last) = (self.front(list)?.first, self.back(list)?.last);
        let is_near_back = last - number < number - first;
        let id = hinted.or_else(|| match is_near_back {
            true => find(list.last(), true),
            false => find(list.first(), false),
        });
        id.map(|id| Place { id, taken: self.taken })
    }

    /// The piece at a place that was found since pieces were last taken off lists.
    pub(super) fn at(&self, place: Place) -> Option<&Piece> {
        self.pieces.get(place.id).filter(|_| place.taken == self.taken)
    }

    /// The place behind one on its list, if there is one.
    pub(super) fn after(&self, place: Place) -> Option<Place> {
        let id = self.at(place)?.link.next;
        (id != NONE).then_some(Place { id, ..place })
    }

    /// Drops the messages before `first` from the piece at the front of a list, which holds `first`.
    pub(super) fn trim_front(&mut self, list: &List, first: u64) {
        let Some(piece) = self.pieces.get_mut(list.first()) else { return };
        let mut messages = Messages::new(
            piece.first,
            piece.count() as u16,
            piece.bytes.get(piece.offset..).unwrap_or_default(),
        );
        while piece.first < first {
            let Some((_, message)) = messages.next() else { return };
            piece.offset += LENGTH_LEN + message.len();
            piece.first += 1;
        }
    }

    /// The pieces of a list.
    pub(super) fn iter(&self, list: &List) -> impl Iterator<Item = &Piece> {
        core::iter::successors(self.front(list), |piece| self.pieces.get(piece.link.next))
    }

    /// Drops every message before `first` from a list in no order.
    pub(super) fn skip_to(&mut self, list: &mut List, first: u64) {
        let mut rest = core::mem::take(list);
        while let Some(piece) = self.front(&rest) {
            if piece.last < first {
                self.pop_front(&mut rest);
                continue;
            }
            if piece.first < first {
                self.trim_front(&rest, first);
            }
            if let Some(id) = rest.pop(&mut self.pieces) {
                list.push(&mut self.pieces, id);
            }
        }
    }

    /// Sees which lent blocks came back.
    pub(super) fn reclaim(&mut self) {
        self.blocks.reclaim();
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
