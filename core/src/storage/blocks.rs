//! Blocks of payload: memory that is written once, cut into slices for the outside, and used again when
//! none of them is held any more.
//!
//! A [`Pool`] has the blocks that their owner is done with, and knows which of them are still lent.
//! [`Blocks`] are what must be retained: pieces are copied one behind the other into blocks of one size, and a
//! block goes to the pool when all its pieces are released. The owner bounds how many blocks there may be.

use alloc::collections::VecDeque;
use bytes::{Bytes, BytesMut};

use super::charge::{Measure, charged};
use super::slab::NONE;
use super::table::{Table, in_row};

/// Bytes that a block takes beside its payload, for the counter that its slices share: charged the same on
/// every target.
pub(crate) const OVERHEAD: usize = 40;

/// The bytes that a block with so many of payload takes in all.
pub(crate) const fn cost(size: usize) -> usize {
    size.saturating_add(OVERHEAD)
}

/// A block of which slices are cut without a further allocation.
pub(crate) fn allocate(size: usize) -> BytesMut {
    let mut block = BytesMut::with_capacity(size);
    drop(block.split());
    block
}

/// Empties a block of so many bytes, when no slice of it is held any more.
pub(crate) fn reclaim(block: &mut BytesMut, size: usize) -> bool {
    block.clear();
    block.try_reclaim(size)
}

/// Blocks of one size that wait to be used again; the one that waits longest in front.
#[derive(Debug)]
pub(crate) struct Pool {
    size: usize,
    waiting: VecDeque<BytesMut>,
    /// How many of them, from the front, are reclaimed. The others are lent, as far as was seen.
    reclaimed: usize,
}

impl Pool {
    /// The bytes of places for so many blocks.
    pub(crate) const fn places(most: usize, measure: Measure) -> usize {
        measure.of::<BytesMut>(most)
    }

    /// A pool with places for `most` blocks of `size` bytes.
    pub(crate) fn new(size: usize, most: usize) -> Self {
        Self { size, waiting: VecDeque::with_capacity(most), reclaimed: 0 }
    }

    /// How many blocks wait, lent ones included.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of the blocks that left by commands and were not seen to come back.
    pub(crate) fn lent(&self) -> usize {
        (self.waiting.len() - self.reclaimed) * cost(self.size)
    }

    /// Returns true if a block can be taken.
    pub(crate) const fn has_free(&self) -> bool {
        self.reclaimed > 0
    }

    /// Takes a block that nothing holds.
    pub(crate) fn take(&mut self) -> Option<BytesMut> {
        self.reclaimed = self.reclaimed.checked_sub(1)?;
        self.waiting.pop_front()
    }

    /// Takes a block that may be lent.
    pub(crate) fn put(&mut self, block: BytesMut) {
        self.waiting.push_back(block);
    }

    /// Takes the block back that was put last, unless it was reclaimed since.
    pub(crate) fn take_last(&mut self) -> Option<BytesMut> {
        if self.waiting.len() > self.reclaimed { self.waiting.pop_back() } else { None }
    }

    /// Gives up the block that waits longest; `false` when there is none. One that is lent lives on until the
    /// outside drops its slices.
    pub(crate) fn free_first(&mut self) -> bool {
        self.reclaimed = self.reclaimed.saturating_sub(1);
        self.waiting.pop_front().is_some()
    }

    /// Reclaims at most so many blocks, the one lent longest first, up to the first that is still held.
    pub(crate) fn reclaim(&mut self, most: usize) {
        let lent = self.waiting.iter_mut().skip(self.reclaimed).take(most);
        let returned = lent.map(|block| reclaim(block, self.size));
        self.reclaimed += returned.take_while(|is_free| *is_free).count();
    }

    /// Reclaims every block that nothing outside holds any more, so that one that is held for long keeps none
    /// but itself. Those that are still held keep their order.
    pub(crate) fn reclaim_all(&mut self) {
        let mut first_held = self.waiting.len();
        for at in (self.reclaimed..first_held).rev() {
            if !reclaim(&mut self.waiting[at], self.size) {
                first_held -= 1;
                self.waiting.swap(at, first_held);
            }
        }
        self.reclaimed = first_held;
    }
}

/// The block that a piece lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockId(u32);

/// A block in use.
#[derive(Default, Debug)]
struct Block {
    /// Its free rest; slices of its front are held in pieces.
    rest: BytesMut,
    /// Pieces that lie in it and are not released.
    pieces: u32,
    /// The next free place, where nothing lies here.
    next: u32,
}

in_row!(Block { next });
charged!(Block = 40);

/// Blocks of one size that pieces are copied into.
#[derive(Debug)]
pub(crate) struct Blocks {
    in_use: Table<Block>,
    pool: Pool,
    /// The block that went to the pool last.
    released_last: Option<BlockId>,
    /// The block that pieces are being laid into.
    current: Option<u32>,
    allocated: u64,
}

impl Blocks {
    /// The bytes of the tables for so many blocks.
    pub(crate) const fn table_bytes(most: usize, measure: Measure) -> usize {
        Table::<Block>::bytes(most, measure).saturating_add(Pool::places(most, measure))
    }

    /// At most `most` blocks of `size` bytes; none is allocated yet.
    pub(crate) fn new(size: usize, most: usize) -> Self {
        let (in_use, pool) = (Table::new(most), Pool::new(size, most));
        Self { in_use, pool, released_last: None, current: None, allocated: 0 }
    }

    /// Bytes of the blocks that there are, lent ones included.
    pub(crate) fn block_bytes(&self) -> usize {
        self.live_bytes() + self.pool.len() * self.block_cost()
    }

    /// Bytes of the blocks that hold something, or are being filled.
    pub(crate) fn live_bytes(&self) -> usize {
        self.in_use.len() * self.block_cost()
    }

    /// Bytes of the blocks that hold something.
    pub(crate) fn occupied_bytes(&self) -> usize {
        let is_empty = self.current().is_some_and(|block| block.pieces == 0);
        self.live_bytes() - if is_empty { self.block_cost() } else { 0 }
    }

    /// The bytes that one block takes in all.
    pub(crate) const fn block_cost(&self) -> usize {
        cost(self.pool.size)
    }

    /// Blocks allocated so far, freed ones included.
    pub(crate) const fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Bytes of blocks whose pieces left by commands and were not seen to come back.
    pub(crate) fn lent(&self) -> usize {
        self.pool.lent()
    }

    /// Makes sure that the next pieces of together `len` bytes, at most a block's size, find room
    /// in one block. `may_allocate` says whether the owner can afford a further block.
    pub(crate) fn reserve(&mut self, len: usize, may_allocate: bool) -> bool {
        if self.has_room(len) {
            return true;
        }
        if len > self.pool.size {
            return false;
        }
        self.retire();
        self.reclaim();
        let is_full =
            |blocks: &Self| blocks.in_use.len() + blocks.pool.len() >= blocks.in_use.most();
        let rest = match self.pool.take() {
            Some(block) => block,
            None if !may_allocate || (is_full(self) && !self.free_idle()) => return false,
            None => {
                self.allocated += 1;
                allocate(self.pool.size)
            }
        };
        self.current = self.in_use.insert(Block { rest, pieces: 0, next: NONE });
        self.current.is_some()
    }

    /// Returns true if the block that is being filled has room for so many bytes more.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.current().is_some_and(|block| block.rest.capacity() >= len)
    }

    /// Copies a piece into the block that [`Blocks::reserve`] found room in.
    pub(crate) fn copy(&mut self, piece: &[u8]) -> Option<(BlockId, Bytes)> {
        let id = self.current?;
        let block = self.in_use.get_mut(id)?;
        if block.rest.capacity() < piece.len() {
            return None;
        }
        block.rest.extend_from_slice(piece);
        block.pieces += 1;
        Some((BlockId(id), block.rest.split().freeze()))
    }

    /// Says that a piece is no longer held here; its slice may live on outside.
    pub(crate) fn release(&mut self, id: BlockId) {
        let Some(block) = self.in_use.get_mut(id.0).filter(|block| block.pieces > 0) else {
            return;
        };
        block.pieces -= 1;
        if block.pieces == 0 && self.current != Some(id.0) {
            self.pool_block(id.0);
        }
    }

    /// Takes a release back, for one more piece in a block that holds others or was released last; `None`
    /// where it may have been given up since.
    pub(crate) fn retain(&mut self, id: BlockId) -> Option<BlockId> {
        let is_current = self.current == Some(id.0);
        if let Some(block) = self.in_use.get_mut(id.0)
            && (block.pieces > 0 || is_current)
        {
            block.pieces += 1;
            return Some(id);
        }
        self.released_last.take_if(|last| *last == id)?;
        let rest = self.pool.take_last()?;
        self.in_use.insert(Block { rest, pieces: 1, next: NONE }).map(BlockId)
    }

    /// Gives an idle block's memory up; `false` when none is idle.
    pub(crate) fn free_idle(&mut self) -> bool {
        self.pool.free_first()
    }

    /// Sees which idle blocks came back, from the longest idle on.
    pub(crate) fn reclaim(&mut self) {
        self.pool.reclaim(usize::MAX);
    }

    fn current(&self) -> Option<&Block> {
        self.in_use.get(self.current?)
    }

    fn pool_block(&mut self, id: u32) {
        if let Some(block) = self.in_use.remove(id) {
            self.pool.put(block.rest);
            self.released_last = Some(BlockId(id));
        }
    }

    /// Lays nothing more into the current block.
    fn retire(&mut self) {
        if let Some(id) = self.current.take()
            && self.in_use.get(id).is_some_and(|block| block.pieces == 0)
        {
            self.pool_block(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_one_block_lie_together_and_keep_their_bytes() {
        let mut blocks = Blocks::new(64, 2);
        assert!(blocks.reserve(40, true));
        let (first, a) = blocks.copy(&[1; 20]).unwrap();
        let (second, b) = blocks.copy(&[2; 20]).unwrap();
        assert_eq!((first, &a[..], &b[..]), (second, &[1; 20][..], &[2; 20][..]));
        assert_eq!(blocks.allocated(), 1);
    }

    #[test]
    fn a_block_is_used_again_when_released_and_dropped() {
        let mut blocks = Blocks::new(64, 1);
        for round in 0..10u8 {
            assert!(blocks.reserve(64, true));
            let (id, piece) = blocks.copy(&[round; 64]).unwrap();
            assert_eq!(&piece[..], &[round; 64]);
            drop(piece);
            blocks.release(id);
        }
        assert_eq!(blocks.allocated(), 1);
    }

    #[test]
    fn a_lent_block_is_never_written_to() {
        let mut blocks = Blocks::new(64, 2);
        assert!(blocks.reserve(64, true));
        let (id, lent) = blocks.copy(&[7; 64]).unwrap();
        blocks.release(id);
        assert!(blocks.reserve(64, true));
        let (_, other) = blocks.copy(&[8; 64]).unwrap();
        assert_eq!(blocks.lent(), blocks.block_cost());
        assert_eq!((&lent[..], &other[..]), (&[7; 64][..], &[8; 64][..]));
    }

    #[test]
    fn a_full_pool_gives_lent_blocks_up_to_the_outside() {
        let mut blocks = Blocks::new(64, 1);
        assert!(blocks.reserve(64, true));
        let (id, lent) = blocks.copy(&[7; 64]).unwrap();
        blocks.release(id);
        assert!(blocks.reserve(64, true));
        assert_eq!(blocks.block_bytes(), blocks.block_cost());
        assert_eq!(&lent[..], &[7; 64]);
    }

    #[test]
    fn a_block_that_was_released_last_is_retained_and_given_up_to_nobody() {
        let mut blocks = Blocks::new(64, 1);
        assert!(blocks.reserve(64, true));
        let (id, piece) = blocks.copy(&[7; 64]).unwrap();
        blocks.retire();
        blocks.release(id);
        let id = blocks.retain(id).unwrap();
        assert!(!blocks.reserve(64, true));
        assert_eq!(&piece[..], &[7; 64]);
        blocks.release(id);
        assert!(blocks.reserve(64, true), "it is lent, and given up to the outside");
        assert!(blocks.retain(BlockId(1)).is_none());
    }

    #[test]
    fn nothing_is_allocated_that_the_owner_cannot_afford() {
        let mut blocks = Blocks::new(64, 4);
        assert!(!blocks.reserve(10, false));
        assert_eq!(blocks.block_bytes(), 0);
        assert!(!blocks.reserve(65, true));
    }
}
