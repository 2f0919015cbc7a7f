//! MoldUDP64: the downstream packet (§1 of the wire digest), the request packet (§2), and writers.
//!
//! One check proves a packet's header and blocks; iteration after it cannot fail. All integers are
//! big-endian and unsigned.

use crate::Session;

/// Bytes of the header of every packet, and of a whole request.
pub const HEADER_LEN: usize = 20;
/// Bytes of the length in front of each message.
pub const LENGTH_LEN: usize = 2;
/// The count that says heartbeat.
pub const HEARTBEAT: u16 = 0;
/// The count that says end of session.
pub const END_OF_SESSION: u16 = 0xFFFF;
/// The most messages that one packet can hold, and that one request can ask for.
pub const MAX_COUNT: u16 = 0xFFFE;
/// The largest UDP payload over IPv4.
pub const MAX_DATAGRAM: usize = 65_507;
/// The largest message that fits a packet of [`MAX_DATAGRAM`] bytes.
pub const MAX_MESSAGE: usize = MAX_DATAGRAM - HEADER_LEN - LENGTH_LEN;

/// Why a datagram is no packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// Shorter than the header, or a request of other than 20 bytes.
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
    /// The last message's number would be past 2^64-1.
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

/// The header of a downstream packet, or of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
        bytes[..10].copy_from_slice(self.session.as_bytes());
        bytes[10..18].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[18..].copy_from_slice(&self.count.to_be_bytes());
        bytes
    }

    /// What kind of downstream packet the count says this is.
    #[inline]
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.count {
            HEARTBEAT => Kind::Heartbeat,
            END_OF_SESSION => Kind::EndOfSession,
            _ => Kind::Data,
        }
    }
}

/// The three kinds of downstream packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// 1 to 65,534 messages.
    Data,
    /// None; the sequence number is the next to expect.
    Heartbeat,
    /// None, and none will follow; the sequence number is one past the last.
    EndOfSession,
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
    /// Bytes behind the last block are tolerated and told by [`Packet::trailing`].
    ///
    /// # Errors
    /// Says what makes it no packet.
    #[inline]
    pub fn new_checked(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let header = Header::read(datagram).ok_or(Malformed::Header { len: datagram.len() })?;
        Self::with_header(header, datagram)
    }

    /// Checks the rest of a datagram whose header has been read.
    ///
    /// # Errors
    /// As [`Packet::new_checked`].
    #[inline]
    pub fn with_header(header: Header, datagram: &'a [u8]) -> Result<Self, Malformed> {
        let Header { sequence, count, .. } = header;
        if sequence == 0 {
            return Err(Malformed::SequenceZero);
        }
        let body = datagram.get(HEADER_LEN..).unwrap_or_default();
        let mut rest = body;
        if header.kind() == Kind::Data {
            if sequence.checked_add(u64::from(count) - 1).is_none() {
                return Err(Malformed::SequenceOverflow { sequence, count });
            }
            for block in 0..count {
                rest = split_block(rest).ok_or(Malformed::Block { block, count })?.1;
            }
        }
        Ok(Self { header, blocks: &body[..body.len() - rest.len()], trailing: rest.len() })
    }

    /// The header.
    #[inline]
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The message blocks, without header and trailing bytes.
    #[inline]
    #[must_use]
    pub const fn blocks(&self) -> &'a [u8] {
        self.blocks
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
        let count = match self.header.kind() {
            Kind::Data => self.header.count,
            _ => 0,
        };
        Messages::new(self.header.sequence, count, self.blocks)
    }
}

/// Walks over checked message blocks: numbers and payloads.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    sequence: u64,
    remaining: u16,
    blocks: &'a [u8],
}

impl<'a> Messages<'a> {
    /// `count` messages from number `sequence`, out of `blocks`. Ends early where blocks end early.
    #[inline]
    #[must_use]
    pub const fn new(sequence: u64, count: u16, blocks: &'a [u8]) -> Self {
        Self { sequence, remaining: count, blocks }
    }

    /// The bytes of what was not walked over yet.
    #[inline]
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.blocks
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = (u64, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.remaining = self.remaining.checked_sub(1)?;
        let (message, rest) = split_block(self.blocks)?;
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.blocks = rest;
        Some((sequence, message))
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(usize::from(self.remaining)))
    }
}

/// The first message of `blocks`, and what lies behind it.
#[inline]
fn split_block(blocks: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = blocks.split_first_chunk::<LENGTH_LEN>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// A request for `count` messages from `sequence` on (§2 of the wire digest).
///
/// The same 20 bytes as a header with no blocks: only the direction tells them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// The session asked for.
    pub session: Session,
    /// First wanted message, from 1.
    pub sequence: u64,
    /// How many are wanted, from 1.
    pub count: u16,
}

impl Request {
    /// Reads a request: exactly 20 bytes.
    ///
    /// # Errors
    /// Another length, number 0, or no messages wanted.
    pub fn new_checked(datagram: &[u8]) -> Result<Self, Malformed> {
        let malformed = Malformed::Header { len: datagram.len() };
        let header = match datagram.len() {
            HEADER_LEN => Header::read(datagram).ok_or(malformed)?,
            _ => return Err(malformed),
        };
        match header {
            Header { sequence: 0, .. } => Err(Malformed::SequenceZero),
            Header { count: 0, .. } => Err(Malformed::CountZero),
            Header { session, sequence, count } => Ok(Self { session, sequence, count }),
        }
    }

    /// Writes the 20 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let Self { session, sequence, count } = *self;
        Header { session, sequence, count }.to_bytes()
    }
}

/// Writes a data packet into a buffer, message by message.
#[derive(Debug)]
pub struct PacketWriter<'a> {
    buffer: &'a mut [u8],
    len: usize,
    count: u16,
}

impl<'a> PacketWriter<'a> {
    /// An empty packet whose first message will be number `sequence`. `None` when the buffer has no
    /// room for a header.
    #[must_use]
    pub fn new(buffer: &'a mut [u8], session: Session, sequence: u64) -> Option<Self> {
        let header = Header { session, sequence, count: 0 };
        buffer.first_chunk_mut::<HEADER_LEN>()?.copy_from_slice(&header.to_bytes());
        Some(Self { buffer, len: HEADER_LEN, count: 0 })
    }

    /// Appends a message; `false`, and nothing changed, when it does not fit.
    #[must_use]
    pub fn push(&mut self, message: &[u8]) -> bool {
        let Ok(length) = u16::try_from(message.len()) else { return false };
        let end = self.len + LENGTH_LEN + message.len();
        let Some(room) = self.buffer.get_mut(self.len..end) else { return false };
        if self.count == MAX_COUNT {
            return false;
        }
        room[..LENGTH_LEN].copy_from_slice(&length.to_be_bytes());
        room[LENGTH_LEN..].copy_from_slice(message);
        self.len = end;
        self.count += 1;
        self.buffer[18..HEADER_LEN].copy_from_slice(&self.count.to_be_bytes());
        true
    }

    /// Messages so far.
    #[must_use]
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// Bytes so far, header included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "the header is always there")]
    pub const fn len(&self) -> usize {
        self.len
    }
}
