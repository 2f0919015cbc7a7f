//! Values that a derive cannot draw: those that bytes alone do not make valid.

use alloc::vec::Vec;

use arbitrary::{Arbitrary, Error, Result, Unstructured};

use crate::Session;
use crate::cache::Position;
use crate::demux::Tag;
use crate::rate::Rate;
use crate::receiver::Batch;
use crate::wire::mold::{LENGTH_LEN, Messages, Packet, Request};
use crate::wire::varint;

/// Of one to four messages.
impl<'a, B: From<Vec<u8>>> Arbitrary<'a> for Batch<B> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let count = u.int_in_range(1..=4)?;
        let first = u.int_in_range(1..=u64::MAX - u64::from(count))?;
        let mut bytes = Vec::new();
        for _ in 0..count {
            let len = u.int_in_range(0..=40_u8)?;
            bytes.extend_from_slice(&u16::from(len).to_be_bytes());
            bytes.extend_from_slice(u.bytes(len.into())?);
        }
        Ok(Self {
            session: u.arbitrary()?,
            first,
            count,
            bytes: bytes.into(),
            offset: 0,
            arrival: u.arbitrary()?,
            origin: u.arbitrary()?,
            repaired: u.arbitrary()?,
        })
    }
}

/// Out of bytes that are one, which random ones rarely are: [`Feed`](super::Feed) draws packets that are.
impl<'a> Arbitrary<'a> for Packet<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Self::new_checked(u.arbitrary()?).map_err(|_| Error::IncorrectFormat)
    }
}

/// Of any bytes: as many as are whole.
impl<'a> Arbitrary<'a> for Messages<'a> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self::new(u.arbitrary()?, u.arbitrary()?, u.arbitrary()?))
    }
}

/// Of messages that there can be.
impl<'a> Arbitrary<'a> for Request {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let (session, count) = (Session::arbitrary(u)?, u.int_in_range(1..=u16::MAX)?);
        let sequence = u.int_in_range(1..=u64::MAX - u64::from(count))?;
        Ok(Self { session, sequence, count })
    }
}

impl<'a> Arbitrary<'a> for varint::Buffer {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        u.arbitrary().map(Self::new)
    }
}

/// Of up to 255 bytes.
impl<'a> Arbitrary<'a> for Tag {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let len = u.int_in_range(1..=u8::MAX)?;
        Self::new(u.bytes(len.into())?).map_err(|_| Error::IncorrectFormat)
    }
}

impl<'a> Arbitrary<'a> for Position {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self::new(u.arbitrary()?, u.arbitrary()?).with_offset(u.arbitrary()?))
    }
}

/// From one byte a second on.
impl<'a> Arbitrary<'a> for Rate {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self { bytes_per_second: u.int_in_range(1..=u64::MAX)?, burst: u.arbitrary()? })
    }
}

/// A well-formed packet of these messages, from number `first` on.
pub(super) fn packet<'m>(
    session: Session,
    first: u64,
    messages: impl Iterator<Item = &'m [u8]>,
    into: &mut Vec<u8>,
) {
    use crate::wire::mold::Header;
    let mut header = Header { session, sequence: first, count: 0 };
    into.clear();
    into.extend_from_slice(&header.to_bytes());
    for message in messages {
        header.count += 1;
        into.extend_from_slice(&[0; LENGTH_LEN]);
        let at = into.len() - LENGTH_LEN;
        into[at..].copy_from_slice(&(message.len() as u16).to_be_bytes());
        into.extend_from_slice(message);
    }
    let bytes = header.to_bytes();
    into[..bytes.len()].copy_from_slice(&bytes);
}
