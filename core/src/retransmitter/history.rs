//! What was sent, within a bound: message blocks laid one behind the other into blocks of 64 KiB,
//! and an index that finds a message by session and number.
//!
//! Messages may be stored in any order. What was stored first goes first, a block at a time. The
//! index is allocated at construction, blocks as they are needed; evicted blocks are written again.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::Stats;
use crate::Session;
use crate::wire::mold::{LENGTH_LEN, Messages, Packet};

/// Bytes of a block: one holds the largest message that UDP carries.
const BLOCK: usize = 64 << 10;
/// The most messages that lie between two entries of the index, which is how far a search walks.
const SEGMENT: u16 = 256;
/// Bytes of the whole budget for which the index has one entry, so that it stays at 3% of it.
const BYTES_PER_SEGMENT: usize = 1024;
/// The least that a history can do with: an index and some blocks.
pub(super) const LEAST_BYTES: usize = 256 << 10;
/// The most, so that a block's number has 32 bits.
pub(super) const MOST_BYTES: u64 = 1 << 47;

/// A known session's place in the table of sessions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Slot(u8);

/// A session of which messages are stored, or will be.
#[derive(Debug)]
struct Known {
    session: Session,
    /// Whether it stays, whatever else is stored.
    pinned: bool,
    /// The highest number that exists; 0 before the first.
    newest: u64,
    /// Counts stored packets: when it was stored into last.
    stored_at: u64,
}

/// Consecutive messages that lie together in one block.
#[derive(Clone, Copy, Debug)]
struct Segment {
    first: u64,
    block: u32,
    offset: u16,
    /// Messages after the first.
    more: u8,
    slot: Slot,
}

impl Segment {
    const fn key(&self) -> (Slot, u64) {
        (self.slot, self.first)
    }

    fn count(&self) -> u16 {
        u16::from(self.more) + 1
    }

    const fn last(&self) -> u64 {
        self.first + self.more as u64
    }
}

/// Messages of a few sessions, found by number.
#[derive(Debug)]
pub(super) struct History {
    sessions: Vec<Known>,
    max_sessions: usize,
    max_segments: usize,
    /// By session and number.
    index: VecDeque<Segment>,
    /// The keys of all segments, as they were stored.
    order: VecDeque<(Slot, u64)>,
    /// A circle of blocks; those in use have the numbers `oldest..begun`.
    blocks: Vec<Vec<u8>>,
    oldest: usize,
    begun: usize,
    allocated: usize,
    /// The segment that ends where the next message will be laid.
    tail: Option<(Slot, u64)>,
    packets: u64,
}

impl History {
    /// A history that takes at most `bytes`.
    pub(super) fn new(bytes: usize, max_sessions: usize) -> Self {
        let max_segments = bytes / BYTES_PER_SEGMENT;
        let segment = size_of::<Segment>() + size_of::<(Slot, u64)>();
        let tables = max_segments * segment + max_sessions * size_of::<Known>();
        let blocks = (bytes - tables) / (BLOCK + size_of::<Vec<u8>>());
        let mut empty = Vec::with_capacity(blocks);
        empty.resize_with(blocks, Vec::new);
        Self {
            sessions: Vec::with_capacity(max_sessions),
            max_sessions,
            max_segments,
            index: VecDeque::with_capacity(max_segments),
            order: VecDeque::with_capacity(max_segments),
            blocks: empty,
            oldest: 0,
            begun: 0,
            allocated: 0,
            tail: None,
            packets: 0,
        }
    }

    pub(super) fn memory_used(&self) -> usize {
        self.sessions.capacity() * size_of::<Known>()
            + self.index.capacity() * size_of::<Segment>()
            + self.order.capacity() * size_of::<(Slot, u64)>()
            + self.blocks.capacity() * size_of::<Vec<u8>>()
            + self.allocated * BLOCK
    }

    /// Makes a session known for good, of which messages up to `newest` exist somewhere.
    pub(super) fn pin(&mut self, session: Session, newest: u64) {
        self.sessions.push(Known { session, pinned: true, newest, stored_at: 0 });
    }

    /// The place of a session that is known.
    pub(super) fn slot(&self, session: Session) -> Option<Slot> {
        let at = self.sessions.iter().position(|known| known.session == session)?;
        u8::try_from(at).ok().map(Slot)
    }

    /// The highest number of a session that exists.
    pub(super) fn newest(&self, slot: Slot) -> u64 {
        self.sessions.get(usize::from(slot.0)).map_or(0, |known| known.newest)
    }

    /// The messages from a number on that lie together; `None` when that one is not held.
    pub(super) fn messages_from(&self, slot: Slot, sequence: u64) -> Option<Messages<'_>> {
        let at = self.index.partition_point(|segment| segment.key() <= (slot, sequence));
        let segment = self.index.get(at.checked_sub(1)?)?;
        if segment.slot != slot || segment.last() < sequence {
            return None;
        }
        let block = self.blocks.get(segment.block as usize)?.get(usize::from(segment.offset)..)?;
        let mut messages = Messages::new(segment.first, segment.count(), block);
        messages.pass(u16::try_from(sequence - segment.first).ok()?);
        Some(messages)
    }

    /// How many of `count` numbers from `first` on, which is not held, come before one that is.
    pub(super) fn missing(&self, slot: Slot, first: u64, count: u16) -> u16 {
        let at = self.index.partition_point(|segment| segment.key() <= (slot, first));
        self.gap_before(at, slot, first, count)
    }

    /// The ranges that are held of a session, neighbours joined.
    pub(super) fn ranges(&self, slot: Slot) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut at = self.index.partition_point(|segment| segment.slot < slot);
        core::iter::from_fn(move || {
            let held = |at: usize| self.index.get(at).filter(|segment| segment.slot == slot);
            let Segment { first, .. } = *held(at)?;
            let mut last = held(at)?.last();
            at += 1;
            while let Some(next) = held(at).filter(|next| last.checked_add(1) == Some(next.first)) {
                last = next.last();
                at += 1;
            }
            Some((first, last))
        })
    }

    /// Copies what is new of a packet.
    pub(super) fn store(&mut self, packet: &Packet<'_>, stats: &mut Stats) {
        let header = packet.header();
        let mut left = header.messages();
        if left == 0 {
            return;
        }
        let Some(slot) = self.slot_to_store(header.session, stats) else {
            stats.store_no_session += 1;
            return;
        };
        let mut messages = packet.messages();
        let mut first = header.sequence;
        if let Some(known) = self.sessions.get_mut(usize::from(slot.0)) {
            known.newest = known.newest.max(first + u64::from(left - 1));
            known.stored_at = self.packets;
        }
        self.packets += 1;
        while left > 0 {
            let at = self.index.partition_point(|segment| segment.key() <= (slot, first));
            let before = at.checked_sub(1).and_then(|at| self.index.get(at));
            let held = before
                .filter(|before| before.slot == slot && before.last() >= first)
                .map(|before| before.last() - first + 1);
            let count = match held {
                Some(held) => {
                    let count = u16::try_from(held).map_or(left, |held| held.min(left));
                    stats.stored_again += u64::from(count);
                    messages.pass(count);
                    count
                }
                None => {
                    let count = self.gap_before(at, slot, first, left);
                    self.append(slot, first, count, &mut messages, stats);
                    count
                }
            };
            left -= count;
            first = first.wrapping_add(u64::from(count));
        }
    }

    /// How many of `count` numbers from `first` on come before the segment at `at`.
    fn gap_before(&self, at: usize, slot: Slot, first: u64, count: u16) -> u16 {
        let next = self.index.get(at).filter(|next| next.slot == slot);
        next.map_or(count, |next| {
            u16::try_from(next.first - first).map_or(count, |gap| gap.min(count))
        })
    }

    /// Lays `count` messages of which none is held behind what was stored last.
    fn append(
        &mut self,
        slot: Slot,
        mut first: u64,
        mut count: u16,
        messages: &mut Messages<'_>,
        stats: &mut Stats,
    ) {
        while count > 0 {
            let extended = self.extended(slot, first);
            if extended.is_none() && self.index.len() == self.max_segments {
                self.forget_first(stats);
            }
            let most = extended.map_or(SEGMENT, |at| SEGMENT - self.index[at].count());
            let (block, room) = self.current();
            let (taken, bytes) = front(messages, count.min(most), room);
            if taken == 0 {
                self.begin_block(stats);
                continue;
            }
            let offset = self.blocks[block].len();
            self.blocks[block].extend_from_slice(bytes);
            match extended {
                Some(at) => self.index[at].more += taken as u8,
                None => self.insert(slot, first, taken, block, offset),
            }
            stats.stored_messages += u64::from(taken);
            count -= taken;
            first = first.wrapping_add(u64::from(taken));
        }
    }

    fn insert(&mut self, slot: Slot, first: u64, count: u16, block: usize, offset: usize) {
        let at = self.index.partition_point(|segment| segment.key() < (slot, first));
        let (block, offset, more) = (block as u32, offset as u16, (count - 1) as u8);
        self.index.insert(at, Segment { first, block, offset, more, slot });
        self.order.push_back((slot, first));
        self.tail = Some((slot, first));
    }

    /// Where in the index the segment lies that message `first` lengthens.
    fn extended(&self, slot: Slot, first: u64) -> Option<usize> {
        let at = self.index.binary_search_by_key(&self.tail?, Segment::key).ok()?;
        let segment = self.index[at];
        let follows = segment.slot == slot && segment.last().checked_add(1) == Some(first);
        (follows && segment.count() < SEGMENT).then_some(at)
    }

    /// The block that is being filled, and the room in it.
    fn current(&self) -> (usize, usize) {
        let at = self.begun.wrapping_sub(1) % self.blocks.len();
        let room = if self.begun == self.oldest { 0 } else { BLOCK - self.blocks[at].len() };
        (at, room)
    }

    fn begin_block(&mut self, stats: &mut Stats) {
        if self.begun - self.oldest == self.blocks.len() {
            self.evict(stats);
        }
        let at = self.begun % self.blocks.len();
        if self.blocks[at].capacity() == 0 {
            self.blocks[at].reserve_exact(BLOCK);
            self.allocated += 1;
        }
        self.begun += 1;
        self.tail = None;
    }

    /// Forgets what lies in the oldest block.
    fn evict(&mut self, stats: &mut Stats) {
        let block = self.oldest % self.blocks.len();
        while self.first_stored().is_some_and(|at| self.index[at].block as usize == block) {
            self.forget_first(stats);
        }
        self.blocks[block].clear();
        self.oldest += 1;
    }

    /// Where in the index the segment lies that was stored first.
    fn first_stored(&self) -> Option<usize> {
        self.index.binary_search_by_key(self.order.front()?, Segment::key).ok()
    }

    /// Forgets the segment that was stored first; its bytes stay until their block is evicted.
    fn forget_first(&mut self, stats: &mut Stats) {
        let Some(at) = self.first_stored() else { return };
        stats.evicted_messages += u64::from(self.index[at].count());
        self.index.remove(at);
        self.order.pop_front();
    }

    /// The place of a session, made if need be.
    fn slot_to_store(&mut self, session: Session, stats: &mut Stats) -> Option<Slot> {
        if let Some(slot) = self.slot(session) {
            return Some(slot);
        }
        let known = Known { session, pinned: false, newest: 0, stored_at: self.packets };
        if self.sessions.len() < self.max_sessions {
            self.sessions.push(known);
        } else {
            let others = self.sessions.iter().enumerate().filter(|(_, known)| !known.pinned);
            let (at, _) = others.min_by_key(|(_, known)| known.stored_at)?;
            self.forget(Slot(at as u8), stats);
            self.sessions[at] = known;
        }
        self.slot(session)
    }

    fn forget(&mut self, slot: Slot, stats: &mut Stats) {
        let of_it = self.index.iter().filter(|segment| segment.slot == slot);
        stats.evicted_messages += of_it.map(|segment| u64::from(segment.count())).sum::<u64>();
        stats.evicted_sessions += 1;
        self.index.retain(|segment| segment.slot != slot);
        self.order.retain(|&(of, _)| of != slot);
    }
}

/// Walks over as many messages as are at most `count` and, with their lengths, `room` bytes; says how
/// many, and gives their blocks.
pub(super) fn front<'a>(messages: &mut Messages<'a>, count: u16, room: usize) -> (u16, &'a [u8]) {
    let blocks = messages.rest();
    let (mut taken, mut bytes) = (0, 0);
    for (_, message) in messages.clone().take(count.into()) {
        let end = bytes + LENGTH_LEN + message.len();
        if end > room {
            break;
        }
        (taken, bytes) = (taken + 1, end);
    }
    let (front, rest) = blocks.split_at(bytes);
    let next = messages.sequence().wrapping_add(u64::from(taken));
    *messages = Messages::new(next, messages.remaining() - taken, rest);
    (taken, front)
}
