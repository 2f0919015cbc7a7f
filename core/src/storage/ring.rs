//! A ring of packet blocks: each is opened, written, closed, sent in order, and used again when the
//! outside has dropped what was sent of it.
//!
//! Everything is allocated at construction. A block that is held outside is never written to.

use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

/// Bytes that a shared buffer takes beside its payload: its counter, and where it begins and ends.
pub(crate) const SHARED: usize = 5 * size_of::<usize>();
/// How many blocks one look for returned ones takes back at most.
const LOOK: usize = 64;

/// Blocks of one size in a circle: first those held outside, then those closed, then the open one.
#[derive(Debug)]
pub(crate) struct Ring {
    blocks: Vec<BytesMut>,
    block_len: usize,
    /// The block that was lent longest ago, or would be next.
    oldest: usize,
    lent: usize,
    closed: usize,
    open: bool,
}

impl Ring {
    /// A ring of `blocks` blocks of `block_len` bytes.
    pub(crate) fn new(blocks: usize, block_len: usize) -> Self {
        let block = || {
            let mut block = BytesMut::with_capacity(block_len);
            // Makes it a shared buffer now, so that sending never allocates.
            drop(block.split());
            block
        };
        let mut all = Vec::with_capacity(blocks);
        all.resize_with(blocks, block);
        Self { blocks: all, block_len, oldest: 0, lent: 0, closed: 0, open: false }
    }

    /// How many blocks there are.
    pub(crate) const fn len(&self) -> usize {
        self.blocks.len()
    }

    /// The bytes that a ring of `blocks` blocks of `block_len` bytes takes.
    pub(crate) const fn bytes(blocks: usize, block_len: usize) -> usize {
        blocks.saturating_mul(block_len.saturating_add(size_of::<BytesMut>() + SHARED))
    }

    /// The bytes that it takes.
    pub(crate) const fn memory_used(&self) -> usize {
        Self::bytes(self.len(), self.block_len)
    }

    /// Bytes of blocks that were sent and not seen to come back.
    pub(crate) const fn lent(&self) -> usize {
        self.lent * (self.block_len + SHARED)
    }

    /// Blocks that are closed and not sent.
    pub(crate) const fn closed(&self) -> usize {
        self.closed
    }

    /// Whether a block could be opened, were the open one closed.
    pub(crate) fn has_room(&mut self) -> bool {
        self.look();
        if self.is_full() {
            self.look_behind_the_oldest();
        }
        !self.is_full()
    }

    const fn is_full(&self) -> bool {
        self.lent + self.closed + self.open as usize >= self.len()
    }

    /// The open block: whoever writes to it stays within its capacity.
    pub(crate) fn opened(&mut self) -> Option<&mut BytesMut> {
        let at = self.place(self.lent + self.closed);
        if self.open { self.blocks.get_mut(at) } else { None }
    }

    /// Opens an empty block, when none is open and one is free.
    pub(crate) fn open(&mut self) -> Option<&mut BytesMut> {
        if self.open || !self.has_room() {
            return None;
        }
        self.open = true;
        self.opened()
    }

    /// Closes the open block, which is then the last to be sent.
    pub(crate) fn close(&mut self) {
        self.closed += usize::from(core::mem::take(&mut self.open));
    }

    /// Sends the block that was closed longest ago.
    pub(crate) fn send(&mut self) -> Option<Bytes> {
        self.closed = self.closed.checked_sub(1)?;
        let at = self.place(self.lent);
        self.lent += 1;
        self.blocks.get_mut(at).map(|block| block.split().freeze())
    }

    /// Takes back blocks that nothing outside holds any more, oldest first.
    fn look(&mut self) {
        for _ in 0..LOOK {
            if self.lent == 0 || !self.blocks[self.oldest].try_reclaim(self.block_len) {
                break;
            }
            self.oldest = self.place(1);
            self.lent -= 1;
        }
    }

    /// Takes back every block that nothing outside holds any more, so that one that is held for long
    /// keeps none but itself. What is still held keeps its order, as the youngest of those lent.
    fn look_behind_the_oldest(&mut self) {
        let mut back = self.lent;
        for ahead in (0..self.lent).rev() {
            let at = self.place(ahead);
            if !self.blocks[at].try_reclaim(self.block_len) {
                back -= 1;
                let behind = self.place(back);
                self.blocks.swap(at, behind);
            }
        }
        self.oldest = self.place(back);
        self.lent -= back;
    }

    /// Where the block lies that comes `ahead` blocks after the oldest.
    const fn place(&self, ahead: usize) -> usize {
        (self.oldest + ahead) % self.len()
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(ring.lent(), 8 + SHARED);
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
        assert_eq!((&held[..], ring.lent()), (&[0; 8][..], 4 * (8 + SHARED)));
    }

    #[test]
    fn one_block_serves_for_ever() {
        let mut ring = Ring::new(1, 8);
        let before = ring.memory_used();
        for byte in 0..100 {
            assert!(write(&mut ring, byte));
            assert_eq!(ring.send().unwrap()[..], [byte; 8]);
        }
        assert_eq!(ring.memory_used(), before);
    }
}
