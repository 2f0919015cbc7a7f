//! MoldUDP64 1.00: views over the Downstream Packet and the Request Packet, and writers for both.
//!
//! One check proves a packet's header and blocks; iteration after it cannot fail. Nothing here
//! allocates, panics, or knows of any packet but the one at hand. All integers are big-endian and
//! unsigned.
//!
//! ```text
//! session: 10 bytes | sequence: u64 | count: u16 | count × (length: u16, payload: length bytes)
//! ```

use core::iter::FusedIterator;

use crate::Session;
use crate::display::display;

/// Bytes of the header of every packet, and of a whole request.
pub const HEADER_LEN: usize = 20;
/// Bytes of the length in front of each message.
pub const LENGTH_LEN: usize = 2;
/// The count that says heartbeat (MoldUDP64 1.00, Heartbeats).
pub const HEARTBEAT: u16 = 0;
/// The count that says end of session (MoldUDP64 1.00, End of Session). In a request it says 65,535
/// messages, like any other number.
pub const END_OF_SESSION: u16 = 0xFFFF;
/// The most messages that one packet can hold: one more would say end of session.
pub const MAX_COUNT: u16 = 0xFFFE;
/// The largest UDP payload over IPv4.
pub const MAX_DATAGRAM: usize = 65_507;
/// The largest message that fits a packet of [`MAX_DATAGRAM`] bytes.
pub const MAX_MESSAGE: usize = MAX_DATAGRAM - HEADER_LEN - LENGTH_LEN;

const SEQUENCE_AT: usize = Session::LEN;
const COUNT_AT: usize = SEQUENCE_AT + size_of::<u64>();

/// Why a datagram is no packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Malformed {
    /// Shorter than the header, or a request that is longer.
    #[error("{len} bytes where the header takes 20")]
    Header {
        /// Bytes there were.
        len: usize,
    },
    /// A block, or its length, reaches past the end of the datagram.
    #[error("block {block} of {count} reaches past the end of the datagram")]
    Block {
        /// Index of the first block that is not whole.
        block: u16,
        /// Blocks promised by the header.
        count: u16,
    },
    /// Sequence numbers start at 1.
    #[error("sequence number 0")]
    SequenceZero,
    /// The last message's number would be past 2^64-1, the last that there is.
    #[error("{count} messages from {sequence} pass the last sequence number")]
    SequenceOverflow {
        /// Number of the first message.
        sequence: u64,
        /// Messages promised by the header.
        count: u16,
    },
    /// A request for no messages.
    #[error("a request for no messages")]
    CountZero,
}

/// The 20 bytes at the head of a downstream packet (MoldUDP64 1.00, Downstream Packet), which are
/// also the whole of a request.
///
/// Any 20 bytes are a header; [`Packet`] and [`Request`] check whether one makes sense.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Header {
    /// The session.
    pub session: Session,
    /// Number of the first message; in heartbeats and ends the next number to expect.
    pub sequence: u64,
    /// Messages, or [`HEARTBEAT`], or [`END_OF_SESSION`].
    pub count: u16,
}

impl Header {
    /// Reads the first 20 bytes, and nothing behind them.
    #[inline]
    #[must_use]
    pub fn read(datagram: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER_LEN] = datagram.first_chunk()?;
        let (session, rest) = header.split_first_chunk::<10>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let count = rest.first_chunk::<2>()?;
        Some(Self {
            session: Session::new(*session),
            sequence: u64::from_be_bytes(*sequence),
            count: u16::from_be_bytes(*count),
        })
    }

    /// Writes the 20 bytes.
    #[inline]
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..SEQUENCE_AT].copy_from_slice(self.session.as_bytes());
        bytes[SEQUENCE_AT..COUNT_AT].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[COUNT_AT..].copy_from_slice(&self.count.to_be_bytes());
        bytes
    }

    /// The kind of downstream packet that the count says this is.
    #[inline]
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.count {
            HEARTBEAT => Kind::Heartbeat,
            END_OF_SESSION => Kind::EndOfSession,
            _ => Kind::Data,
        }
    }

    /// How many messages follow: 0 in heartbeats and ends, else 1 to [`MAX_COUNT`].
    #[inline]
    #[must_use]
    pub const fn messages(&self) -> u16 {
        match self.count {
            END_OF_SESSION => 0,
            count => count,
        }
    }

    /// The number to expect after this packet; `None` when it would be past 2^64-1.
    #[inline]
    #[must_use]
    pub const fn next(&self) -> Option<u64> {
        self.sequence.checked_add(self.messages() as u64)
    }
}

/// The three kinds of downstream packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Kind {
    /// 1 to 65,534 messages.
    Data,
    /// None; the sequence number is the next to expect.
    Heartbeat,
    /// None, and none will follow; the sequence number is one past the last.
    EndOfSession,
}

display! {
    Kind { Self::Data => "data", Self::Heartbeat => "heartbeat", Self::EndOfSession => "end of session" }
}

/// A downstream packet whose header and blocks have been checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    header: Header,
    blocks: &'a [u8],
    trailing: usize,
}

impl<'a> Packet<'a> {
    /// Checks a datagram.
    ///
    /// Bytes behind the last block are tolerated and reported by [`Packet::trailing`]; a session may be
    /// any ten bytes. Of several defects the one that stands first in [`Malformed`]'s order of
    /// header, numbers, blocks is reported.
    ///
    /// # Errors
    /// Says what makes it no packet.
    #[inline]
    pub fn new_checked(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let header = Header::read(datagram).ok_or(Malformed::Header { len: datagram.len() })?;
        let body = datagram.get(HEADER_LEN..).unwrap_or_default();
        let count = header.messages();
        if count > 0 {
            check_numbers(header.sequence, count)?;
        } else if header.sequence == 0 {
            return Err(Malformed::SequenceZero);
        } else {
            return Ok(Self { header, blocks: &[], trailing: body.len() });
        }
        match blocks_len(body, count).and_then(|len| body.split_at_checked(len)) {
            Some((blocks, trailing)) => Ok(Self { header, blocks, trailing: trailing.len() }),
            None => Err(first_broken_block(body, count)),
        }
    }

    /// The header.
    #[inline]
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes behind the last block.
    #[inline]
    #[must_use]
    pub const fn trailing(&self) -> usize {
        self.trailing
    }

    /// The messages with their numbers; none in heartbeats and ends.
    #[inline]
    #[must_use]
    pub const fn messages(&self) -> Messages<'a> {
        Messages::new(self.header.sequence, self.header.messages(), self.blocks)
    }
}

/// Walks over message blocks: numbers and payloads.
///
/// Over the blocks of a [`Packet`] it gives exactly `count` messages. Over bytes that nobody checked
/// it gives the complete leading ones, and never reads past the end.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    sequence: u64,
    // Never above 65,535; the machine's own width saves an instruction a message.
    remaining: u32,
    blocks: &'a [u8],
}

impl<'a> Messages<'a> {
    /// `count` messages from number `sequence`, out of `blocks`. Ends early where blocks end early.
    #[inline]
    #[must_use]
    pub const fn new(sequence: u64, count: u16, blocks: &'a [u8]) -> Self {
        Self { sequence, remaining: count as u32, blocks }
    }

    /// The number of the next message, if there is one.
    #[inline]
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// How many messages were not walked over yet; fewer come where blocks end early.
    #[inline]
    #[must_use]
    pub const fn remaining(&self) -> u16 {
        self.remaining as u16
    }

    /// The bytes of what was not walked over yet.
    #[inline]
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.blocks
    }

    /// Walks over the next `count` messages without looking at them, or over all where there are
    /// fewer, and returns the bytes of their blocks. Cheaper than taking them one by one.
    #[inline]
    pub fn pass(&mut self, count: u16) -> &'a [u8] {
        let count = u32::from(count).min(self.remaining);
        match blocks_len(self.blocks, count as u16)
            .and_then(|len| self.blocks.split_at_checked(len))
        {
            Some((passed, rest)) => {
                self.sequence = self.sequence.wrapping_add(u64::from(count));
                self.remaining -= count;
                self.blocks = rest;
                passed
            }
            None => self.pass_what_is_whole(),
        }
    }

    #[cold]
    fn pass_what_is_whole(&mut self) -> &'a [u8] {
        let all = self.blocks;
        self.by_ref().for_each(drop);
        self.remaining = 0;
        &all[..all.len() - self.blocks.len()]
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = (u64, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        let (message, rest) = split_block(self.blocks)?;
        let sequence = self.sequence;
        // Only the number after the last message of a session can wrap, and it is never given.
        self.sequence = sequence.wrapping_add(1);
        self.blocks = rest;
        Some((sequence, message))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(usize::from(self.remaining())))
    }
}

impl FusedIterator for Messages<'_> {}

/// The first message of `blocks`, and what lies behind it.
#[inline]
fn split_block(blocks: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = blocks.split_first_chunk::<LENGTH_LEN>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// How many bytes the first `count` blocks take; `None` when they are not all there.
///
/// This is the check of [`Packet::new_checked`] without the packet, for a loop that has looked at
/// the header already.
#[inline]
#[must_use]
pub fn blocks_len(blocks: &[u8], count: u16) -> Option<usize> {
    // Runs for each message of a feed, and compares once a block: that a payload ends within the
    // bytes is seen when the next length is read, and after the last block. The compiler knows then
    // that both bytes of a length are there, and drops its own checks.
    let Some(last_length) = blocks.len().checked_sub(LENGTH_LEN) else {
        return (count == 0).then_some(0);
    };
    let mut at = 0;
    for _ in 0..count {
        if at > last_length {
            return None;
        }
        at += LENGTH_LEN + usize::from(u16::from_be_bytes([blocks[at], blocks[at + 1]]));
    }
    (at <= blocks.len()).then_some(at)
}

/// Checks that each of `count` messages has a number.
#[inline]
fn check_numbers(sequence: u64, count: u16) -> Result<(), Malformed> {
    if sequence == 0 {
        return Err(Malformed::SequenceZero);
    }
    match sequence.checked_add(u64::from(count.saturating_sub(1))) {
        Some(_last) => Ok(()),
        None => Err(Malformed::SequenceOverflow { sequence, count }),
    }
}

/// Tells which of `count` blocks is the first that is not whole.
#[cold]
fn first_broken_block(blocks: &[u8], count: u16) -> Malformed {
    let mut rest = blocks;
    let mut block = 0;
    while let Some((_, behind)) = split_block(rest) {
        rest = behind;
        block += 1;
    }
    Malformed::Block { block, count }
}

/// A request for `count` messages from `sequence` on (MoldUDP64 1.00, Request Packet).
///
/// The same 20 bytes as a header without blocks: only the direction distinguishes them, so never take
/// both from one socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// The session asked for.
    pub session: Session,
    /// First wanted message, from 1.
    pub sequence: u64,
    /// How many are wanted, from 1; 65,535 has no special meaning.
    pub count: u16,
}

impl Request {
    /// Reads a request: exactly 20 bytes.
    ///
    /// # Errors
    /// Another length, number 0, no messages wanted, or some past the last number there is.
    pub fn new_checked(datagram: &[u8]) -> Result<Self, Malformed> {
        let len = datagram.len();
        let header = Header::read(datagram).filter(|_| len == HEADER_LEN);
        let Header { session, sequence, count } = header.ok_or(Malformed::Header { len })?;
        check_numbers(sequence, count)?;
        if count == 0 {
            return Err(Malformed::CountZero);
        }
        Ok(Self { session, sequence, count })
    }

    /// Writes the 20 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let Self { session, sequence, count } = *self;
        Header { session, sequence, count }.to_bytes()
    }
}

/// Writes a data packet into a buffer, message by message.
///
/// The bytes written are a heartbeat as long as nothing was pushed, and a packet of as many messages
/// as were pushed after that. Heartbeats and ends are written with [`Header::to_bytes`].
#[derive(Debug)]
pub struct PacketWriter<'a> {
    buffer: &'a mut [u8],
    len: usize,
    header: Header,
}

impl<'a> PacketWriter<'a> {
    /// An empty packet whose first message will be number `sequence`, from 1. `None` when the buffer
    /// has no room for a header.
    #[must_use]
    pub fn new(buffer: &'a mut [u8], session: Session, sequence: u64) -> Option<Self> {
        let header = Header { session, sequence, count: 0 };
        buffer.first_chunk_mut::<HEADER_LEN>()?.copy_from_slice(&header.to_bytes());
        Some(Self { buffer, len: HEADER_LEN, header })
    }

    /// Appends a message; `false`, and nothing changed, when the buffer has no room for it, the packet
    /// has [`MAX_COUNT`] messages, or the numbers are used up.
    #[must_use]
    pub fn push(&mut self, message: &[u8]) -> bool {
        if self.header.count == MAX_COUNT || self.header.next().is_none() {
            return false;
        }
        let Ok(length) = u16::try_from(message.len()) else { return false };
        let end = self.len + LENGTH_LEN + message.len();
        let Some(room) = self.buffer.get_mut(self.len..end) else { return false };
        room[..LENGTH_LEN].copy_from_slice(&length.to_be_bytes());
        room[LENGTH_LEN..].copy_from_slice(message);
        self.len = end;
        self.header.count += 1;
        self.buffer[..HEADER_LEN].copy_from_slice(&self.header.to_bytes());
        true
    }

    /// The packet so far, header included.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

#[cfg(test)]
mod tests;
