//! Answers: whole messages from the wanted one on, as many as fit one packet, in recycled blocks.

use bytes::{Bytes, BytesMut};

use super::history::front;
use crate::storage::blocks::cost;
use crate::storage::charge::Measure;
use crate::storage::ring::Ring;
use crate::wire::mold::{HEADER_LEN, Header, MAX_DATAGRAM, Messages, Request};

/// Builds answers.
#[derive(Debug)]
pub(super) struct Answers {
    ring: Ring,
    mtu: usize,
}

/// An answer that was built.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) bytes: Bytes,
    /// Messages in it, from 1.
    pub(super) count: u16,
    /// Bytes allocated for it; 0 for a block of the ring.
    pub(super) allocated: usize,
}

impl Answers {
    pub(super) fn new(blocks: usize, mtu: usize) -> Self {
        Self { ring: Ring::new(blocks, mtu), mtu }
    }

    pub(super) const fn memory(&self, measure: Measure) -> usize {
        self.ring.memory(measure)
    }

    pub(super) fn lent(&self) -> usize {
        self.ring.lent()
    }

    /// An answer to a request for no more messages than a packet can count, out of what `from` gives: messages
    /// that lie together from a number on. `None` when
    /// the first wanted one is not there, or fits no datagram.
    pub(super) fn build<'a>(
        &mut self,
        wanted: Request,
        from: impl Fn(u64) -> Option<Messages<'a>>,
    ) -> Option<Answer> {
        let messages = from(wanted.sequence)?;
        let (_, first) = front(&mut messages.clone(), 1, MAX_DATAGRAM - HEADER_LEN);
        if first.is_empty() {
            return None;
        }
        // A message that does not fit is answered alone: a larger packet has no room for a second.
        let size = self.mtu.max(HEADER_LEN + first.len());
        if size == self.mtu
            && let Some(block) = self.ring.open()
        {
            let count = fill(block, wanted, size, messages, from);
            self.ring.close();
            return self.ring.send().map(|bytes| Answer { bytes, count, allocated: 0 });
        }
        let mut block = BytesMut::with_capacity(size);
        let count = fill(&mut block, wanted, size, messages, from);
        Some(Answer { bytes: block.freeze(), count, allocated: cost(size) })
    }
}

/// Writes a packet of at most `size` bytes that begins with `messages`; says how many it holds.
fn fill<'a>(
    block: &mut BytesMut,
    wanted: Request,
    size: usize,
    messages: Messages<'a>,
    from: impl Fn(u64) -> Option<Messages<'a>>,
) -> u16 {
    let Request { session, sequence, count } = wanted;
    block.extend_from_slice(&[0; HEADER_LEN]);
    let mut held = 0;
    let mut here = Some(messages);
    while let Some(mut messages) = here {
        let left = count - held;
        let (taken, blocks) = front(&mut messages, left, size - block.len());
        block.extend_from_slice(blocks);
        held += taken;
        let is_full = messages.remaining() > 0 || taken == left;
        here = if is_full { None } else { from(messages.sequence()) };
    }
    let header = Header { session, sequence, count: held };
    if let Some(head) = block.first_chunk_mut() {
        *head = header.to_bytes();
    }
    held
}
