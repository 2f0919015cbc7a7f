//! Blocks that frames are copied into: of a few sizes, used again when nothing holds them any more.
//!
//! A block that its group freed while the outside still holds a slice of it is *lent*: it is kept track of
//! until it comes back. Nothing that the cache does depends on whether it has.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::BytesMut;

pub(super) use crate::storage::blocks::cost;
use crate::storage::blocks::{allocate, reclaim};
use crate::storage::charge::{Measure, charged};
use crate::storage::slab::Slab;

/// The sizes of blocks. A group's first is as small as its first frame allows; each further one is of
/// the next size.
const SIZES: [usize; 5] = [128, 512, 2048, 8192, 16_384];
/// The largest frame that is laid into a block among others.
pub(super) const LARGE: usize = 4096;
/// How many lent blocks are tried when a block is needed, when a group or a reader goes, and at timeouts;
/// every other call tries one.
pub(super) const RECLAIMED: usize = 4;
/// Bytes of the budget for which one idle block of each size may be kept.
const BYTES_PER_IDLE: usize = 8192;

/// Which of the sizes one is; `None` for a block of another.
fn number_of(size: usize) -> Option<usize> {
    SIZES.iter().position(|&of| of == size)
}

/// A block in use.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// The rest of it once nothing more is laid into it: it brings the whole back.
    buffer: BytesMut,
    size: usize,
    /// Pieces that lie in it, and one while it is being filled.
    users: u32,
}

charged!(Block = 48);

/// A block that is lent, and its size.
type Lent = (BytesMut, usize);

/// Blocks in use, idle ones and lent ones.
#[derive(Debug)]
pub(super) struct Pool {
    blocks: Slab<Block>,
    idle: [Vec<BytesMut>; SIZES.len()],
    used_bytes: usize,
    lent: VecDeque<Lent>,
    /// Idle blocks of each size, and lent ones, for which there is room in the tables from the beginning.
    most: usize,
    allocated: u64,
}

impl Pool {
    pub(super) fn new(budget: usize) -> Self {
        let most = (budget / BYTES_PER_IDLE).clamp(16, 4096);
        Self {
            blocks: Slab::new(),
            idle: core::array::from_fn(|_| Vec::with_capacity(most)),
            used_bytes: 0,
            lent: VecDeque::with_capacity(most),
            most,
            allocated: 0,
        }
    }

    /// The most bytes of the table for the first blocks.
    pub(super) const fn first_page() -> usize {
        Slab::<Block>::most(1)
    }

    /// Bytes of blocks in use.
    pub(super) const fn used(&self, measure: Measure) -> usize {
        self.blocks.bytes(measure) + self.used_bytes
    }

    /// Bytes of tables that are there from the beginning.
    pub(super) const fn tables(&self, measure: Measure) -> usize {
        measure.of::<BytesMut>(SIZES.len() * self.most) + measure.of::<Lent>(self.most)
    }

    /// Bytes of blocks that wait to be used again.
    pub(super) fn idle(&self) -> usize {
        SIZES.iter().zip(&self.idle).map(|(&size, idle)| idle.len() * cost(size)).sum()
    }

    /// Bytes of blocks that were freed, and are held outside as far as was seen, and of what it takes to
    /// keep so many in sight.
    pub(super) fn lent(&self) -> usize {
        let places = self.lent.capacity().saturating_sub(self.most);
        let bytes: usize = self.lent.iter().map(|&(_, size)| cost(size)).sum();
        bytes + Measure::Taken.of::<Lent>(places)
    }

    pub(super) const fn allocated(&self) -> u64 {
        self.allocated
    }

    /// The size of a block for `needed` bytes, after one of `last` bytes.
    pub(super) fn size_after(last: usize, needed: usize) -> usize {
        let fits = |&&size: &&usize| size >= needed && size > last;
        SIZES.iter().find(fits).copied().unwrap_or_else(|| needed.max(SIZES[SIZES.len() - 1]))
    }

    /// Returns true if a block of this size is idle.
    pub(super) fn has_idle(&self, size: usize) -> bool {
        number_of(size).is_some_and(|of| !self.idle[of].is_empty())
    }

    /// Bytes that a further block of this size is charged in use, its place included.
    pub(super) fn growth(&self, size: usize) -> usize {
        cost(size) + self.blocks.growth()
    }

    /// A block of this size for which there is room: where it lies, and its memory.
    pub(super) fn take(&mut self, size: usize) -> Option<(u32, BytesMut)> {
        let block = Block { buffer: BytesMut::new(), size, users: 1 };
        let at = self.blocks.insert(block)?;
        self.used_bytes += cost(size);
        let Some(buffer) = number_of(size).and_then(|of| self.idle[of].pop()) else {
            self.allocated += 1;
            return Some((at, allocate(size)));
        };
        Some((at, buffer))
    }

    /// Says that a piece lies in a block.
    pub(super) fn share(&mut self, at: u32) {
        if let Some(block) = self.blocks.get_mut(at) {
            block.users += 1;
        }
    }

    /// Says that nothing more is laid into a block; `rest` is what is left of it.
    pub(super) fn retire(&mut self, at: u32, rest: BytesMut) {
        if let Some(block) = self.blocks.get_mut(at) {
            block.buffer = rest;
        }
        self.release(at);
    }

    /// Says that a piece no longer lies in a block.
    pub(super) fn release(&mut self, at: u32) {
        let Some(block) = self.blocks.get_mut(at) else { return };
        block.users -= 1;
        if block.users > 0 {
            return;
        }
        if let Some(Block { buffer, size, .. }) = self.blocks.remove(at) {
            self.used_bytes -= cost(size);
            if let Err(buffer) = self.rest(buffer, size) {
                self.lent.push_back((buffer, size));
            }
        }
    }

    /// Lays a block aside that nothing holds; gives it back when something does.
    fn rest(&mut self, mut buffer: BytesMut, size: usize) -> Result<(), BytesMut> {
        if !reclaim(&mut buffer, size) {
            return Err(buffer);
        }
        if let Some(idle) = number_of(size).map(|of| &mut self.idle[of])
            && idle.len() < self.most
        {
            idle.push(buffer);
        }
        Ok(())
    }

    /// Gives up idle blocks until they take at most so many bytes, large ones first.
    pub(super) fn shrink(&mut self, most: usize) {
        for of in (0..SIZES.len()).rev() {
            while self.idle() > most && self.idle[of].pop().is_some() {}
        }
    }

    /// Returns true if a block is lent, as far as was seen.
    #[inline]
    pub(super) fn is_any_lent(&self) -> bool {
        !self.lent.is_empty()
    }

    /// Reclaims the lent blocks that came back: of so many at most, one after the other.
    pub(super) fn reclaim(&mut self, most: usize) {
        for _ in 0..most.min(self.lent.len()) {
            let Some((buffer, size)) = self.lent.pop_front() else { break };
            if let Err(buffer) = self.rest(buffer, size) {
                self.lent.push_back((buffer, size));
            }
        }
        if self.lent.is_empty() && self.lent.capacity() > self.most {
            self.lent = VecDeque::with_capacity(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills a block, and gives a slice of it out; nothing of it is kept here.
    fn lend(pool: &mut Pool) -> bytes::Bytes {
        let (at, mut buffer) = pool.take(512).unwrap();
        buffer.extend_from_slice(&[7; 512]);
        let slice = buffer.split().freeze();
        pool.retire(at, buffer);
        slice
    }

    #[test]
    fn a_block_is_used_again_when_nothing_holds_it() {
        let mut pool = Pool::new(1 << 20);
        for _ in 0..10 {
            let (at, buffer) = pool.take(128).unwrap();
            pool.retire(at, buffer);
        }
        assert_eq!((pool.allocated(), pool.idle(), pool.lent()), (1, cost(128), 0));
    }

    #[test]
    fn what_is_held_outside_is_counted_and_never_written_to() {
        let mut pool = Pool::new(1 << 20);
        let (one, two) = (lend(&mut pool), lend(&mut pool));
        assert_eq!((pool.lent(), pool.idle()), (2 * cost(512), 0));
        drop(two);
        pool.reclaim(RECLAIMED);
        assert_eq!((pool.lent(), pool.idle()), (cost(512), cost(512)));
        assert_eq!(one, [7; 512][..]);
    }

    #[test]
    fn idle_blocks_are_given_up_for_something_else() {
        let mut pool = Pool::new(1 << 20);
        let taken = [128, 16_384].map(|size| pool.take(size).unwrap());
        for (at, buffer) in taken {
            pool.retire(at, buffer);
        }
        pool.shrink(1000);
        assert_eq!(pool.idle(), cost(128));
        pool.shrink(0);
        assert_eq!(pool.idle(), 0);
    }

    #[test]
    fn each_block_of_a_group_is_larger_than_the_last_up_to_the_largest() {
        let sizes: [usize; 6] = core::array::from_fn({
            let mut last = 0;
            move |_| {
                last = Pool::size_after(last, 65);
                last
            }
        });
        assert_eq!(sizes, [128, 512, 2048, 8192, 16_384, 16_384]);
        assert_eq!(Pool::size_after(0, 3000), 8192);
        assert_eq!(Pool::size_after(0, 20_000), 20_000);
    }
}
