//! A ring of packet blocks: each is opened, written, closed, sent in order, and used again when the
//! outside has dropped what was sent of it.
//!
//! Everything is allocated at construction. A block that is held outside is never written to.

use alloc::collections::VecDeque;
use bytes::{Bytes, BytesMut};

use super::blocks::{Pool, allocate, cost};
use super::charge::Measure;

/// How many blocks are reclaimed at once at most, while others are free.
const RECLAIMED_AT_ONCE: usize = 64;

/// Blocks of one size: those that can be opened or are held outside, the open one, and those closed.
#[derive(Debug)]
pub(crate) struct Ring {
    blocks: usize,
    block_len: usize,
    pool: Pool,
    open: Option<BytesMut>,
    /// The one closed longest ago in front.
    closed: VecDeque<BytesMut>,
}

impl Ring {
    /// A ring of `blocks` blocks of `block_len` bytes.
    pub(crate) fn new(blocks: usize, block_len: usize) -> Self {
        let mut pool = Pool::new(block_len, blocks);
        for _ in 0..blocks {
            pool.put(allocate(block_len));
        }
        pool.reclaim_all();
        Self { blocks, block_len, pool, open: None, closed: VecDeque::with_capacity(blocks) }
    }

    /// The bytes of a ring of `blocks` blocks of `block_len` bytes.
    pub(crate) const fn bytes(blocks: usize, block_len: usize, measure: Measure) -> usize {
        let places = Pool::places(blocks, measure).saturating_mul(2);
        blocks.saturating_mul(cost(block_len)).saturating_add(places)
    }

    /// Its bytes.
    pub(crate) const fn memory(&self, measure: Measure) -> usize {
        Self::bytes(self.blocks, self.block_len, measure)
    }

    /// Bytes of blocks that were sent and not seen to come back.
    pub(crate) fn lent(&self) -> usize {
        self.pool.lent()
    }

    /// Blocks that are closed and not sent.
    pub(crate) fn closed(&self) -> usize {
        self.closed.len()
    }

    /// Returns true if a block could be opened, were the open one closed.
    pub(crate) fn has_room(&mut self) -> bool {
        self.pool.reclaim(RECLAIMED_AT_ONCE);
        if !self.pool.has_free() {
            self.pool.reclaim_all();
        }
        self.pool.has_free()
    }

    /// The open block: whoever writes to it stays within its capacity.
    pub(crate) const fn opened(&mut self) -> Option<&mut BytesMut> {
        self.open.as_mut()
    }

    /// Opens an empty block, when none is open and one is free.
    pub(crate) fn open(&mut self) -> Option<&mut BytesMut> {
        if self.open.is_some() || !self.has_room() {
            return None;
        }
        self.open = self.pool.take();
        self.opened()
    }

    /// Closes the open block, which is then the last to be sent.
    pub(crate) fn close(&mut self) {
        self.closed.extend(self.open.take());
    }

    /// Sends the block that was closed longest ago.
    pub(crate) fn send(&mut self) -> Option<Bytes> {
        let mut block = self.closed.pop_front()?;
        let sent = block.split().freeze();
        self.pool.put(block);
        Some(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::super::blocks::OVERHEAD;
    use super::*;

    fn write(ring: &mut Ring, byte: u8) -> bool {
        let Some(block) = ring.open() else { return false };
        block.extend_from_slice(&[byte; 8]);
        ring.close();
        true
    }

    #[test]
    fn blocks_leave_in_the_order_they_were_closed_in() {
        let mut ring = Ring::new(3, 8);
        for byte in 1..=3 {
            assert!(write(&mut ring, byte));
        }
        assert!(!write(&mut ring, 4));
        for byte in 1..=3 {
            assert_eq!(ring.send().unwrap()[..], [byte; 8]);
        }
        assert_eq!(ring.send(), None);
    }

    #[test]
    fn a_block_held_outside_is_never_written_to_and_comes_back_when_dropped() {
        let mut ring = Ring::new(2, 8);
        assert!(write(&mut ring, 1));
        let held = ring.send().unwrap();
        let copy = held.clone();
        assert!(write(&mut ring, 2));
        assert_eq!(ring.lent(), 8 + OVERHEAD);
        assert!(!write(&mut ring, 3));
        drop(held);
        assert!(!write(&mut ring, 3));
        assert_eq!(copy[..], [1; 8]);
        drop(copy);
        assert!(write(&mut ring, 3));
        assert_eq!(ring.lent(), 0);
    }

    #[test]
    fn a_block_held_for_ever_keeps_none_but_itself() {
        let mut ring = Ring::new(4, 8);
        assert!(write(&mut ring, 0));
        let first = ring.send().unwrap();
        let mut third = None;
        for byte in 1..100 {
            assert!(write(&mut ring, byte), "{byte}");
            let sent = ring.send().unwrap();
            assert_eq!(sent[..], [byte; 8]);
            if byte == 2 {
                third = Some(sent);
            }
        }
        assert_eq!((&first[..], &third.unwrap()[..]), (&[0; 8][..], &[2; 8][..]));
    }

    #[test]
    fn blocks_that_wait_keep_their_order_when_others_come_back_out_of_order() {
        let mut ring = Ring::new(4, 8);
        assert!(write(&mut ring, 0) && write(&mut ring, 1));
        let held = ring.send().unwrap();
        drop(ring.send().unwrap());
        assert!((2..=4).all(|byte| write(&mut ring, byte)));
        assert!(!write(&mut ring, 5));
        for byte in 2..=4 {
            assert_eq!(ring.send().unwrap()[..], [byte; 8]);
        }
        assert_eq!((&held[..], ring.lent()), (&[0; 8][..], 4 * (8 + OVERHEAD)));
    }

    #[test]
    fn one_block_serves_for_ever() {
        let mut ring = Ring::new(1, 8);
        let before = ring.memory(Measure::Charged);
        for byte in 0..100 {
            assert!(write(&mut ring, byte));
            assert_eq!(ring.send().unwrap()[..], [byte; 8]);
        }
        assert_eq!(ring.memory(Measure::Charged), before);
    }
}
