//! Payload blocks: memory into which what must be retained is copied once.
//!
//! Pieces are laid one behind the other into blocks of one size. A block is used again when all its
//! pieces were released here and dropped outside; until then it is never written to. The owner
//! bounds how many blocks there may be.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

/// Bytes that one block takes beside its payload: the shared counter that slices point to.
const OVERHEAD: usize = 48;

/// The block that a piece lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockId(u32);

#[derive(Debug)]
struct Block {
    /// Its free rest; slices of its front are held in pieces.
    buffer: BytesMut,
    /// Pieces that lie in it and are not released.
    live: u32,
}

/// A pool of blocks of one size.
#[derive(Debug)]
pub(crate) struct Blocks {
    size: usize,
    /// A place for every block that there may be; freed places are empty.
    table: Vec<Option<Block>>,
    /// Places of the table without a block.
    vacant: Vec<u32>,
    /// Blocks whose pieces are all released; the longest idle first.
    idle: VecDeque<u32>,
    /// How many of `idle`, from the front, are back: nothing outside holds a slice of them.
    back: usize,
    /// The block that pieces are being laid into.
    current: Option<u32>,
    allocated: u64,
}

impl Blocks {
    /// What the tables take for each block that there may be.
    pub(crate) const TABLE_BYTES: usize = size_of::<Option<Block>>() + 2 * size_of::<u32>();

    /// A pool of at most `most` blocks of `size` bytes; none is allocated yet.
    pub(crate) fn new(size: usize, most: usize) -> Self {
        let mut vacant = Vec::with_capacity(most);
        vacant.extend((0..u32::try_from(most).unwrap_or(u32::MAX)).rev());
        let mut table = Vec::with_capacity(most);
        table.resize_with(most, || None);
        Self {
            size,
            table,
            vacant,
            idle: VecDeque::with_capacity(most),
            back: 0,
            current: None,
            allocated: 0,
        }
    }

    /// What the tables take, without any block.
    pub(crate) fn table_bytes(&self) -> usize {
        self.table.capacity() * size_of::<Option<Block>>()
            + (self.vacant.capacity() + self.idle.capacity()) * size_of::<u32>()
    }

    /// Bytes of the blocks that there are, lent ones included.
    pub(crate) fn block_bytes(&self) -> usize {
        (self.table.len() - self.vacant.len()) * self.block_cost()
    }

    /// Bytes of the blocks that hold something, or are being filled.
    pub(crate) fn live_bytes(&self) -> usize {
        self.block_bytes() - self.idle.len() * self.block_cost()
    }

    /// Bytes of the blocks that hold something.
    pub(crate) fn occupied_bytes(&self) -> usize {
        let current = self.current.and_then(|id| self.table.get(id as usize)?.as_ref());
        let is_empty = current.is_some_and(|block| block.live == 0);
        self.live_bytes() - if is_empty { self.block_cost() } else { 0 }
    }

    /// What one block takes in all.
    pub(crate) const fn block_cost(&self) -> usize {
        self.size + OVERHEAD
    }

    /// Blocks allocated so far, freed ones included.
    pub(crate) const fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Bytes of blocks whose pieces left by commands and were not seen to come back.
    pub(crate) fn lent(&self) -> usize {
        (self.idle.len() - self.back) * self.block_cost()
    }

    /// Makes sure that the next pieces of together `len` bytes, at most a block's size, find room
    /// in one block. `may_allocate` says whether the owner can afford a further block.
    pub(crate) fn reserve(&mut self, len: usize, may_allocate: bool) -> bool {
        if self.has_room(len) {
            return true;
        }
        if len > self.size {
            return false;
        }
        self.retire();
        self.look();
        if self.back > 0 {
            self.back -= 1;
            self.current = self.idle.pop_front();
            return true;
        }
        if !may_allocate {
            return false;
        }
        if self.vacant.is_empty() && !self.free_idle() {
            return false;
        }
        let Some(id) = self.vacant.pop() else { return false };
        let mut buffer = BytesMut::with_capacity(self.size);
        // Makes the buffer a shared one now, so that laying pieces into it never allocates.
        drop(buffer.split());
        self.table[id as usize] = Some(Block { buffer, live: 0 });
        self.allocated += 1;
        self.current = Some(id);
        true
    }

    /// Whether the block that is being filled has room for so many bytes more.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.current.is_some_and(|id| self.room(id) >= len)
    }

    /// Copies a piece into the block that [`Blocks::reserve`] found room in.
    pub(crate) fn copy(&mut self, piece: &[u8]) -> Option<(BlockId, Bytes)> {
        let id = self.current?;
        let block = self.table.get_mut(id as usize)?.as_mut()?;
        if block.buffer.capacity() < piece.len() {
            return None;
        }
        block.buffer.extend_from_slice(piece);
        block.live += 1;
        Some((BlockId(id), block.buffer.split().freeze()))
    }

    /// Says that a piece is no longer held here; its slice may live on outside.
    pub(crate) fn release(&mut self, id: BlockId) {
        let Some(Some(block)) = self.table.get_mut(id.0 as usize) else { return };
        block.live = block.live.saturating_sub(1);
        if block.live == 0 && self.current != Some(id.0) {
            self.idle.push_back(id.0);
        }
    }

    /// Takes a release back, for one more piece in a block that holds others or was released last; `false`
    /// where it may have been given up since.
    pub(crate) fn retain(&mut self, id: BlockId) -> bool {
        let Some(Some(block)) = self.table.get_mut(id.0 as usize) else { return false };
        if block.live == 0 && self.current != Some(id.0) {
            if self.idle.len() == self.back || self.idle.back() != Some(&id.0) {
                return false;
            }
            self.idle.pop_back();
        }
        block.live += 1;
        true
    }

    /// Gives an idle block's memory up; `false` when none is idle.
    ///
    /// A lent block lives on until the outside drops its slices, but is no longer this pool's.
    pub(crate) fn free_idle(&mut self) -> bool {
        let Some(id) = self.idle.pop_front() else { return false };
        self.back = self.back.saturating_sub(1);
        self.table[id as usize] = None;
        self.vacant.push(id);
        true
    }

    /// Sees which idle blocks came back, from the longest idle on.
    pub(crate) fn look(&mut self) {
        while let Some(&id) = self.idle.get(self.back) {
            let size = self.size;
            let reclaimed = self.table[id as usize].as_mut().is_some_and(|block| {
                block.buffer.clear();
                block.buffer.try_reclaim(size)
            });
            if !reclaimed {
                break;
            }
            self.back += 1;
        }
    }

    fn room(&self, id: u32) -> usize {
        let block = self.table.get(id as usize).and_then(Option::as_ref);
        block.map_or(0, |block| block.buffer.capacity())
    }

    /// Lays nothing more into the current block.
    fn retire(&mut self) {
        let Some(id) = self.current.take() else { return };
        if self.table[id as usize].as_ref().is_some_and(|block| block.live == 0) {
            self.idle.push_back(id);
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
        assert!(blocks.retain(id));
        assert!(!blocks.reserve(64, true));
        assert_eq!(&piece[..], &[7; 64]);
        blocks.release(id);
        assert!(blocks.reserve(64, true), "it is lent, and given up to the outside");
        assert!(!blocks.retain(BlockId(1)));
    }

    #[test]
    fn nothing_is_allocated_that_the_owner_cannot_afford() {
        let mut blocks = Blocks::new(64, 4);
        assert!(!blocks.reserve(10, false));
        assert_eq!(blocks.block_bytes(), 0);
        assert!(!blocks.reserve(65, true));
    }
}
