//! The messages that were sent, within a bound: laid into blocks of 64 KiB, and found by session and
//! number through an index.
//!
//! Messages may be stored in any order, and those of several sessions in turn: each session fills an
//! extent of its own. The block begun first is evicted first. The index is allocated at construction,
//! blocks as they are needed; evicted blocks are written again.

use alloc::vec::Vec;

use super::Stats;
use super::segments::{self, MOST_MESSAGES, OfBlock, Segment, Segments, Slot};
use crate::Session;
use crate::storage::charge::{Measure, charged};
use crate::storage::slab::NONE;
use crate::wire::mold::{Messages, Packet};

/// Bytes of a block: one holds the largest message that UDP carries.
const BLOCK: usize = 64 << 10;
/// Bytes of the whole budget for which the index has one entry, so that it stays at 3% of it.
const BYTES_PER_SEGMENT: usize = 1024;
/// The extents of all sessions together are at most one part in so many of all blocks.
const EXTENTS_PART: usize = 8;
/// Bytes of the smallest extent.
const LEAST_EXTENT: usize = BYTES_PER_SEGMENT;
/// The least that a history can do with: an index and some blocks.
pub(super) const LEAST_BYTES: usize = 256 << 10;
/// The most, so that a block's number has 32 bits.
pub(super) const MOST_BYTES: u64 = 1 << 47;

charged!(Block = 32, Known = 64);

/// A session of which messages are stored, or will be.
#[derive(Debug)]
struct Known {
    session: Session,
    /// It stays, whatever else is stored.
    pinned: bool,
    /// The highest number that exists; 0 before the first.
    newest: u64,
    /// Counts stored packets: when it was stored into last.
    stored_at: u64,
    segments: segments::Session,
    /// The place where its next message is laid.
    extent: Extent,
    /// The segment that ends where the next message is laid, if there is one.
    tail: u32,
}

impl Known {
    fn new(session: Session, pinned: bool, newest: u64, stored_at: u64) -> Self {
        let (segments, extent) = (segments::Session::EMPTY, Extent::default());
        Self { session, pinned, newest, stored_at, segments, extent, tail: NONE }
    }
}

/// A free part of a block that one session fills.
#[derive(Clone, Copy, Default, Debug)]
struct Extent {
    /// The block's number, counted from the first ever begun.
    block: u64,
    /// The offset where the next message is laid.
    at: u32,
    end: u32,
}

impl Extent {
    const fn room(&self) -> usize {
        (self.end - self.at) as usize
    }
}

#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    segments: OfBlock,
}

/// Messages of a few sessions, found by number.
#[derive(Debug)]
pub(super) struct History {
    sessions: Vec<Known>,
    max_sessions: usize,
    segments: Segments,
    /// A circle of blocks; those in use have the numbers `oldest..begun`.
    blocks: Vec<Block>,
    oldest: u64,
    begun: u64,
    /// Bytes of the block begun last that belong to an extent.
    laid_out: usize,
    /// Bytes of an extent, unless one message takes more.
    extent: usize,
    packets: u64,
}

impl History {
    /// A history that takes at most `bytes`.
    pub(super) fn new(bytes: usize, max_sessions: usize) -> Self {
        let max_segments = bytes / BYTES_PER_SEGMENT;
        let measure = Measure::Charged;
        let tables = Segments::bytes(max_segments, measure) + measure.of::<Known>(max_sessions);
        let count = (bytes - tables) / (BLOCK + measure.of::<Block>(1));
        let mut blocks = Vec::with_capacity(count);
        blocks.resize_with(count, || Block { bytes: Vec::new(), segments: OfBlock::default() });
        let extent = count.saturating_mul(BLOCK) / (max_sessions * EXTENTS_PART);
        Self {
            sessions: Vec::with_capacity(max_sessions),
            max_sessions,
            segments: Segments::new(max_segments),
            blocks,
            oldest: 0,
            begun: 0,
            laid_out: 0,
            extent: extent.clamp(LEAST_EXTENT, BLOCK),
            packets: 0,
        }
    }

    pub(super) fn memory(&self, measure: Measure) -> usize {
        let allocated = self.begun.min(self.blocks.len() as u64) as usize;
        measure.of::<Known>(self.max_sessions)
            + self.segments.memory(measure)
            + measure.of::<Block>(self.blocks.len())
            + allocated * BLOCK
    }

    /// Makes a session known for good, of which messages up to `newest` exist somewhere.
    pub(super) fn pin(&mut self, session: Session, newest: u64) {
        self.sessions.push(Known::new(session, true, newest, 0));
    }

    /// The place of a session that is known.
    pub(super) fn slot(&self, session: Session) -> Option<Slot> {
        let at = self.sessions.iter().position(|known| known.session == session)?;
        u8::try_from(at).ok().map(Slot)
    }

    /// The highest number of a session that exists.
    pub(super) fn newest(&self, slot: Slot) -> u64 {
        self.known(slot).map_or(0, |known| known.newest)
    }

    fn known(&self, slot: Slot) -> Option<&Known> {
        self.sessions.get(usize::from(slot.0))
    }

    /// The messages from a number on that lie together; `None` when that one is not held.
    pub(super) fn messages_from(&self, slot: Slot, sequence: u64) -> Option<Messages<'_>> {
        let segment = self.holding(slot, sequence)?;
        let block = self.blocks.get(segment.block as usize)?;
        let bytes = block.bytes.get(usize::from(segment.offset)..)?;
        let mut messages = Messages::new(segment.first, segment.count(), bytes);
        messages.pass(u16::try_from(sequence - segment.first).ok()?);
        Some(messages)
    }

    /// The segment that holds a message.
    fn holding(&self, slot: Slot, sequence: u64) -> Option<&Segment> {
        let segment = self.segments.at_or_before(&self.known(slot)?.segments, sequence);
        segment.filter(|segment| segment.last() >= sequence)
    }

    /// How many of `count` numbers from `first` on, which is not held, come before one that is.
    pub(super) fn missing(&self, slot: Slot, first: u64, count: u16) -> u16 {
        let of = self.known(slot);
        let next = of.and_then(|known| self.segments.at_or_after(&known.segments, first));
        next.map_or(count, |next| {
            u16::try_from(next.first - first).map_or(count, |gap| gap.min(count))
        })
    }

    /// The ranges that are held of a session, neighbours joined.
    pub(super) fn ranges(&self, slot: Slot) -> impl Iterator<Item = (u64, u64)> + '_ {
        let held = move |from: u64| self.segments.at_or_after(&self.known(slot)?.segments, from);
        let mut next = held(0);
        core::iter::from_fn(move || {
            let segment = next?;
            let (first, mut last) = (segment.first, segment.last());
            loop {
                next = last.checked_add(1).and_then(held);
                let Some(neighbour) = next.filter(|next| next.first - 1 == last) else {
                    return Some((first, last));
                };
                last = neighbour.last();
            }
        })
    }

    /// Copies what is new of a packet.
    pub(super) fn store(&mut self, packet: &Packet<'_>, stats: &mut Stats) {
        let mut messages = packet.messages();
        let (first, count) = (messages.sequence(), messages.remaining());
        if count == 0 {
            return;
        }
        let Some(slot) = self.slot_to_store(packet.header().session, stats) else {
            stats.store_no_session += 1;
            return;
        };
        let Some(known) = self.sessions.get_mut(usize::from(slot.0)) else { return };
        let newest = known.newest;
        known.newest = newest.max(first + u64::from(count - 1));
        known.stored_at = self.packets;
        self.packets += 1;
        if first > newest {
            // Nothing is held from there on.
            return self.append(slot, count, &mut messages, stats);
        }
        while messages.remaining() > 0 {
            let (first, left) = (messages.sequence(), messages.remaining());
            match self.holding(slot, first) {
                Some(segment) => {
                    let count = (segment.last() - first + 1).min(left.into()) as u16;
                    stats.stored_again += u64::from(count);
                    messages.pass(count);
                }
                None => {
                    let count = self.missing(slot, first, left);
                    self.append(slot, count, &mut messages, stats);
                }
            }
        }
    }

    /// Lays `count` messages of which none is held behind those that the session stored last.
    fn append(
        &mut self,
        slot: Slot,
        mut count: u16,
        messages: &mut Messages<'_>,
        stats: &mut Stats,
    ) {
        while count > 0 {
            let first = messages.sequence();
            let Some(known) = self.sessions.get_mut(usize::from(slot.0)) else { return };
            let tail = self.segments.get(known.tail).filter(|tail| {
                tail.last().checked_add(1) == Some(first) && tail.count() < MOST_MESSAGES
            });
            let (lengthens, held) = (tail.is_some(), tail.map_or(0, Segment::count));
            let block = known.extent.block;
            // Nothing is laid into the older half: no message is evicted before half of the blocks were
            // begun after it.
            let young = (self.blocks.len() as u64).div_ceil(2);
            let open = block >= self.oldest && self.begun - block <= young;
            let room = if open { known.extent.room() } else { 0 };
            let before = messages.clone();
            let (taken, bytes) = front(messages, count.min(MOST_MESSAGES - held), room);
            if taken == 0 {
                self.lay_out(slot, before, stats);
                continue;
            }
            if !lengthens && self.segments.is_full() {
                *messages = before;
                while self.oldest < self.begun && !self.forget_next(stats) {}
                continue;
            }
            let place = place(known.extent.block, &self.blocks);
            let offset = known.extent.at as usize;
            let block = &mut self.blocks[place];
            block.bytes[offset..][..bytes.len()].copy_from_slice(bytes);
            known.extent.at += bytes.len() as u32;
            if let Some(tail) = self.segments.get_mut(known.tail).filter(|_| lengthens) {
                tail.lengthen(taken);
            } else {
                let segment = Segment::new(slot, place as u32, offset as u16, first, taken);
                let Some(at) = self.segments.insert(segment) else { return };
                block.segments.push(&mut self.segments, at);
                known.segments.insert(&mut self.segments, at);
                known.tail = at;
            }
            stats.stored_messages += u64::from(taken);
            count -= taken;
        }
    }

    /// Gives a session an extent that has room for its next message: more of the one it has where
    /// nothing else lies behind that.
    fn lay_out(&mut self, slot: Slot, mut messages: Messages<'_>, stats: &mut Stats) {
        let (_, next) = front(&mut messages, 1, BLOCK);
        let Some(known) = self.sessions.get_mut(usize::from(slot.0)) else { return };
        let free = if self.begun == self.oldest { 0 } else { BLOCK - self.laid_out };
        let newest = self.begun.wrapping_sub(1);
        let Extent { block, end, .. } = known.extent;
        let grows = free > 0 && block == newest && end as usize == self.laid_out;
        let room = if grows { known.extent.room() } else { 0 };
        if next.len() > room + free {
            return self.begin_block(stats);
        }
        let more = self.extent.max(next.len() - room).min(free);
        if !grows {
            let at = self.laid_out as u32;
            known.extent = Extent { block: newest, at, end: at };
            known.tail = NONE;
        }
        known.extent.end += more as u32;
        self.laid_out += more;
    }

    fn begin_block(&mut self, stats: &mut Stats) {
        if self.begun - self.oldest == self.blocks.len() as u64 {
            while self.forget_next(stats) {}
        }
        let at = place(self.begun, &self.blocks);
        self.blocks[at].bytes.resize(BLOCK, 0);
        self.begun += 1;
        self.laid_out = 0;
    }

    /// Forgets the segment of the oldest block that was begun first; its bytes stay until the block is evicted.
    /// `false` where the block has none, and is evicted.
    fn forget_next(&mut self, stats: &mut Stats) -> bool {
        let block = place(self.oldest, &self.blocks);
        let first = self.blocks[block].segments.pop(&mut self.segments);
        let Some((at, segment)) = first.and_then(|at| Some((at, self.segments.get(at)?))) else {
            self.oldest += 1;
            return false;
        };
        if let Some(known) = self.sessions.get_mut(usize::from(segment.slot.0)) {
            stats.evicted_messages += u64::from(segment.count());
            known.segments.remove(&mut self.segments, at);
            if known.tail == at {
                known.tail = NONE;
            }
        }
        self.segments.remove(at);
        true
    }

    /// The place of a session, made if need be.
    fn slot_to_store(&mut self, session: Session, stats: &mut Stats) -> Option<Slot> {
        if let Some(slot) = self.slot(session) {
            return Some(slot);
        }
        let known = Known::new(session, false, 0, self.packets);
        if self.sessions.len() < self.max_sessions {
            self.sessions.push(known);
        } else {
            let others = self.sessions.iter().enumerate().filter(|(_, known)| !known.pinned);
            let (at, _) = others.min_by_key(|(_, known)| known.stored_at)?;
            let mut forgotten = core::mem::replace(&mut self.sessions[at], known);
            stats.evicted_messages += self.segments.forget(&mut forgotten.segments);
            stats.evicted_sessions += 1;
        }
        self.slot(session)
    }
}

/// The place of a number's block in the circle.
const fn place(number: u64, blocks: &[Block]) -> usize {
    (number % blocks.len() as u64) as usize
}

/// Walks over as many messages as are at most `count` and, with their lengths, `room` bytes; says how
/// many, and gives their blocks.
pub(super) fn front<'a>(messages: &mut Messages<'a>, count: u16, room: usize) -> (u16, &'a [u8]) {
    let (blocks, left) = (messages.rest(), messages.remaining());
    let mut ahead = messages.clone();
    while left - messages.remaining() < count
        && ahead.next().is_some()
        && blocks.len() - ahead.rest().len() <= room
    {
        *messages = ahead.clone();
    }
    (left - messages.remaining(), &blocks[..blocks.len() - messages.rest().len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    impl History {
        /// Segments that the index has.
        pub(in crate::retransmitter) fn entries(&self) -> usize {
            self.segments.len()
        }
    }
}
