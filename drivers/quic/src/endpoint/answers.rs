//! Answers to those that have no connection (Retry, refusals, version negotiation, stateless resets)
//! that wait to be sent. In a flood most are dropped, and connections send in between.

use std::collections::VecDeque;

use quinn_proto::Transmit;

/// Answers that wait at most.
const MOST: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: VecDeque<(Transmit, Vec<u8>)>,
    /// Whether the last datagram that was sent was one.
    was_last: bool,
}

impl Answers {
    /// Whether another one would be kept: none need be made otherwise.
    pub(super) fn have_room(&self) -> bool {
        self.waiting.len() < MOST
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Keeps an answer, if there is room.
    pub(super) fn push(&mut self, transmit: Transmit, mut bytes: Vec<u8>) {
        if self.have_room() {
            bytes.truncate(transmit.size);
            self.waiting.push_back((transmit, bytes));
        }
    }

    /// The next one, unless it is a connection's turn.
    pub(super) fn next_in_turn(&mut self, buffer: &mut Vec<u8>) -> Option<Transmit> {
        if std::mem::take(&mut self.was_last) {
            return None;
        }
        self.next(buffer)
    }

    /// The next one, written behind what `buffer` holds.
    pub(super) fn next(&mut self, buffer: &mut Vec<u8>) -> Option<Transmit> {
        let (transmit, bytes) = self.waiting.pop_front()?;
        buffer.extend_from_slice(&bytes);
        self.was_last = true;
        Some(transmit)
    }
}
