//! Blocks: what a journal is written, checked and lost in. Each belongs to one machine, is numbered
//! and carries a checksum, so several machines can share a file and a torn tail costs one block.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::convert::Infallible;

use super::digest::Digest;

/// The version of this format that is written; all from 1 on are read.
pub const VERSION: u16 = 2;
/// How every block begins.
pub const MAGIC: [u8; 4] = *b"GPLJ";
/// Bytes before a block's records.
pub const HEADER_LEN: usize = 20;
/// The most bytes of records that a block holds.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// A block is closed when its records take so many bytes.
pub(super) const FULL: usize = 1 << 16;

/// The destination of a journal.
pub trait Sink {
    /// Why it could not be written.
    type Error;

    /// Takes one whole block, to be written behind those before it.
    ///
    /// # Errors
    /// It was not written, or not whole. Nothing more comes then.
    fn write(&mut self, block: &[u8]) -> Result<(), Self::Error>;
}

/// For short runs: the whole journal in memory.
impl Sink for Vec<u8> {
    type Error = Infallible;

    fn write(&mut self, block: &[u8]) -> Result<(), Infallible> {
        self.extend_from_slice(block);
        Ok(())
    }
}

impl<S: Sink> Sink for &mut S {
    type Error = S::Error;

    fn write(&mut self, block: &[u8]) -> Result<(), S::Error> {
        S::write(self, block)
    }
}

/// For several machines of one thread.
impl<S: Sink> Sink for Rc<RefCell<S>> {
    type Error = S::Error;

    fn write(&mut self, block: &[u8]) -> Result<(), S::Error> {
        self.borrow_mut().write(block)
    }
}

/// The origin of a journal.
pub trait Source {
    /// Why it could not be read.
    type Error;

    /// Reads up to `into.len()` bytes that follow those read before; zero only at the end.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Self::Error>;
}

impl Source for &[u8] {
    type Error = Infallible;

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
        let count = into.len().min(self.len());
        let (front, rest) = self.split_at(count);
        into[..count].copy_from_slice(front);
        *self = rest;
        Ok(count)
    }
}

/// Whatever [`std`] writes or reads, as the destination or the origin of a journal: a file, a socket. With the feature
/// `std`.
///
/// ```no_run
/// # use gapless_core::journal::{Io, Replayer};
/// # use gapless_core::receiver::Receiver;
/// # use std::{fs::File, io::BufReader};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let source = Io(BufReader::new(File::open("feed.journal")?));
/// let mut replayer = Replayer::verifying().knowing::<Receiver>();
/// replayer.replay(source, &mut ())?;
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "std")]
#[derive(Clone, Debug)]
pub struct Io<T>(pub T);

/// Each block is one [`write_all`](std::io::Write::write_all): the system has it, when the program dies.
#[cfg(feature = "std")]
impl<W: std::io::Write> Sink for Io<W> {
    type Error = std::io::Error;

    fn write(&mut self, block: &[u8]) -> std::io::Result<()> {
        self.0.write_all(block)
    }
}

/// A read that is interrupted is tried again.
#[cfg(feature = "std")]
impl<R: std::io::Read> Source for Io<R> {
    type Error = std::io::Error;

    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.0.read(into) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

/// A block that is being filled.
#[derive(Debug)]
pub(super) struct Building {
    /// Header, then records.
    pub(super) bytes: Vec<u8>,
    machine: u16,
    number: u32,
}

impl Building {
    /// Full, and one datagram and its batch more: so nothing is allocated later.
    pub(super) const CAPACITY: usize = HEADER_LEN + FULL * 3 + 1024;

    pub(super) fn new(machine: u16) -> Self {
        let mut bytes = Vec::with_capacity(Self::CAPACITY);
        bytes.resize(HEADER_LEN, 0);
        Self { bytes, machine, number: 0 }
    }

    pub(super) fn payload_len(&self) -> usize {
        self.bytes.len() - HEADER_LEN
    }

    /// Hands the block to the sink, unless it is empty, and begins the next.
    pub(super) fn close<S: Sink>(&mut self, sink: &mut S) -> Result<(), S::Error> {
        if self.payload_len() == 0 {
            return Ok(());
        }
        let (header, payload) = self.bytes.split_at_mut(HEADER_LEN);
        header[..4].copy_from_slice(&MAGIC);
        header[4..6].copy_from_slice(&VERSION.to_le_bytes());
        header[6..8].copy_from_slice(&self.machine.to_le_bytes());
        header[8..12].copy_from_slice(&self.number.to_le_bytes());
        header[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        let checksum = checksum(&header[..16], payload);
        header[16..].copy_from_slice(&checksum.to_le_bytes());
        let written = sink.write(&self.bytes);
        self.number = self.number.wrapping_add(1);
        self.bytes.truncate(HEADER_LEN);
        written
    }
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    let mut digest = Digest::new();
    digest.update(header);
    digest.update(payload);
    digest.value()
}

/// One block, as read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    pub(super) version: u16,
    pub(super) machine: u16,
    pub(super) number: u32,
    /// The offset of its records in the journal.
    pub(super) offset: u64,
    pub(super) records: &'a [u8],
}

/// The faults that a block can have.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// It does not begin as blocks do.
    #[error("no block begins here")]
    Magic,
    /// It is of a later version.
    #[error("a block of format version {0}, this program reads up to {VERSION}")]
    Version(u16),
    /// It claims more than a block can hold, or nothing.
    #[error("a block of {0} bytes; blocks hold 1 to {MAX_PAYLOAD}")]
    Length(u32),
    /// Its checksum is another.
    #[error("a block whose checksum does not fit")]
    Checksum,
}

/// Why there is no further block.
#[derive(Debug)]
pub(super) enum End<E> {
    /// The journal ends here, with so many bytes of a block that is not whole.
    Torn(usize),
    Damaged(Damage),
    Source(E),
}

/// Reads block after block; holds one at a time.
#[derive(Debug)]
pub(super) struct Blocks<R> {
    source: R,
    payload: Vec<u8>,
    /// The offset of the next block.
    pub(super) offset: u64,
}

impl<R: Source> Blocks<R> {
    pub(super) const fn new(source: R) -> Self {
        Self { source, payload: Vec::new(), offset: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Block<'_>, End<R::Error>> {
        let mut header = [0; HEADER_LEN];
        match fill(&mut self.source, &mut header)? {
            HEADER_LEN => {}
            some if header[..some.min(4)] == MAGIC[..some.min(4)] => return Err(End::Torn(some)),
            _ => return Err(End::Damaged(Damage::Magic)),
        }
        let [m0, m1, m2, m3, v0, v1, i0, i1, n0, n1, n2, n3, l0, l1, l2, l3, c0, c1, c2, c3] =
            header;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(End::Damaged(Damage::Magic));
        }
        let version = u16::from_le_bytes([v0, v1]);
        if version == 0 || version > VERSION {
            return Err(End::Damaged(Damage::Version(version)));
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        if length == 0 || length as usize > MAX_PAYLOAD {
            return Err(End::Damaged(Damage::Length(length)));
        }
        self.payload.resize(length as usize, 0);
        let there = fill(&mut self.source, &mut self.payload)?;
        if there < self.payload.len() {
            return Err(End::Torn(HEADER_LEN + there));
        }
        if checksum(&header[..16], &self.payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(End::Damaged(Damage::Checksum));
        }
        let offset = self.offset + HEADER_LEN as u64;
        self.offset = offset + u64::from(length);
        Ok(Block {
            version,
            machine: u16::from_le_bytes([i0, i1]),
            number: u32::from_le_bytes([n0, n1, n2, n3]),
            offset,
            records: &self.payload,
        })
    }
}

/// Reads until `into` is full or the source ends; how much there was.
fn fill<R: Source>(source: &mut R, into: &mut [u8]) -> Result<usize, End<R::Error>> {
    let mut filled = 0;
    while filled < into.len() {
        match source.read(&mut into[filled..]).map_err(End::Source)? {
            0 => break,
            count => filled += count.min(into.len() - filled),
        }
    }
    Ok(filled)
}
