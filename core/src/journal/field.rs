//! How values are written: integers little-endian, byte strings behind their length, structs field by
//! field, enums behind the number of their variant. Nothing is aligned, nothing is optional.

use alloc::vec::Vec;
use core::convert::Infallible;
use core::net::{SocketAddr, SocketAddrV6};

use bytes::Bytes;

use super::{Digest, Journaled};
use crate::time::nanos;
use crate::{Duration, Instant, Session};

/// A value that journals hold.
///
/// A value that is encoded and decoded again is equal, so far as a machine can see: a [`Bytes`] comes back in
/// a buffer of its own, and a [`Secret`](super::Secret) as its hash.
pub trait Field<'a>: Sized {
    /// Writes it; or, where [`Encoder::is_digest`], what stands for it.
    fn encode(&self, out: &mut Encoder<'_>);

    /// Reads it.
    ///
    /// # Errors
    /// The bytes are no such value.
    fn decode(input: &mut Decoder<'a>) -> Result<Self, Malformed>;
}

/// Bytes that are no value of the kind that was to be read.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Malformed {
    /// They end too early.
    #[error("{wanted} bytes where {left} are left")]
    Short {
        /// How many were needed.
        wanted: usize,
        /// How many there were.
        left: usize,
    },
    /// A number has no meaning there.
    #[error("{value} is no {what}")]
    Unknown {
        /// The name of the value that was to be read.
        what: &'static str,
        /// The value that was found.
        value: u64,
    },
    /// Bytes are left over.
    #[error("{0} bytes left over")]
    Trailing(usize),
}

/// The name of a nested machine, and the version of its encoding.
pub(super) type Nested = (Bytes, u16);

/// The version of a nested machine's encoding, where it is given.
pub(super) fn version_in(nested: &[Nested], name: &str) -> Option<u16> {
    nested.iter().find(|(known, _)| known == name.as_bytes()).map(|(_, version)| *version)
}

/// Writes values behind one another.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    version: u16,
    nested: &'a [Nested],
    is_digest: bool,
}

impl<'a> Encoder<'a> {
    /// Writes behind what there is, in the last version of the machine's encoding.
    #[must_use]
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self::in_version(out, u16::MAX)
    }

    /// Writes in an earlier version: what is compared with a journal in it must be written like it.
    #[must_use]
    pub const fn in_version(out: &'a mut Vec<u8>, version: u16) -> Self {
        Self { out, version, nested: &[], is_digest: false }
    }

    /// Writes what machines within the machine have in versions of their own.
    pub(super) const fn with_nested(self, nested: &'a [Nested]) -> Self {
        Self { nested, ..self }
    }

    /// Writes what is digested of values, not what is recorded of them.
    #[must_use]
    pub const fn digesting(self) -> Self {
        Self { is_digest: true, ..self }
    }

    /// Returns true if the bytes are only digested: then payload that says where it lies may be left out.
    #[must_use]
    pub const fn is_digest(&self) -> bool {
        self.is_digest
    }

    /// The version ([`Journaled::VERSION`]) to write values of this machine in, or a later one: a field that
    /// came with a later one is left out.
    #[must_use]
    pub fn version_of<M: Journaled>(&self) -> u16 {
        version_in(self.nested, M::NAME).unwrap_or(self.version)
    }

    /// Writes payload as a byte string; where it is only digested, from version `since` of this machine's encoding on,
    /// its length in eight bytes and the value of a [`Digest`] of it as one piece: it is hashed where it lies.
    #[inline]
    pub fn payload<M: Journaled>(&mut self, payload: &[u8], since: u16) {
        if self.is_digest && self.version_of::<M>() >= since {
            (payload.len(), Digest::of(payload).value()).encode(self);
        } else {
            payload.encode(self);
        }
    }

    /// Writes bytes as they are, without their length.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}

/// Reads values that lie behind one another.
#[derive(Clone, Copy, Debug)]
pub struct Decoder<'a> {
    bytes: &'a [u8],
    version: u16,
    nested: &'a [Nested],
}

impl<'a> Decoder<'a> {
    /// Reads what was written in this version of the machine's encoding.
    #[must_use]
    pub const fn new(bytes: &'a [u8], version: u16) -> Self {
        Self { bytes, version, nested: &[] }
    }

    /// Reads what machines within the machine have in versions of their own.
    pub(super) const fn with_nested(self, nested: &'a [Nested]) -> Self {
        Self { nested, ..self }
    }

    /// The version ([`Journaled::VERSION`]) in which values of this machine were written: a field that came
    /// with a later one is not there.
    #[must_use]
    pub fn version_of<M: Journaled>(&self) -> u16 {
        version_in(self.nested, M::NAME).unwrap_or(self.version)
    }

    /// The next `count` bytes as they are.
    ///
    /// # Errors
    /// There are fewer.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let short = Malformed::Short { wanted: count, left: self.bytes.len() };
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(short)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// Everything that is left.
    pub(super) const fn rest(self) -> &'a [u8] {
        self.bytes
    }

    /// Checks that everything was read.
    ///
    /// # Errors
    /// Bytes are left over.
    pub const fn finish(self) -> Result<(), Malformed> {
        match self.bytes.len() {
            0 => Ok(()),
            left => Err(Malformed::Trailing(left)),
        }
    }
}

/// Implements [`Field`] for integers.
macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Field<'_> for $type {
            #[inline]
            fn encode(&self, out: &mut Encoder<'_>) {
                out.put(&self.to_le_bytes());
            }

            #[inline]
            fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
                Field::decode(input).map(Self::from_le_bytes)
            }
        }
    )*};
}

integers!(u8, u16, u32, u64);

/// As they are.
impl<const N: usize> Field<'_> for [u8; N] {
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        out.put(self);
    }

    #[inline]
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let short = Malformed::Short { wanted: N, left: input.bytes.len() };
        let (taken, rest) = input.bytes.split_first_chunk().ok_or(short)?;
        input.bytes = rest;
        Ok(*taken)
    }
}

/// Implements [`Field`] for types that are written as another: how they become that, and it becomes them.
macro_rules! written_as {
    ($($(#[$meta:meta])* $type:ty, $other:ty, $to:expr, $from:expr;)*) => {$(
        $(#[$meta])*
        impl Field<'_> for $type {
            #[inline]
            fn encode(&self, out: &mut Encoder<'_>) {
                let written: fn(&$type) -> $other = $to;
                written(self).encode(out);
            }

            #[inline]
            fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
                <$other>::decode(input).and_then($from)
            }
        }
    )*};
}

pub(super) use written_as;

written_as! {
    bool, u8, |yes| u8::from(*yes), |value| match value {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Malformed::Unknown { what: "yes or no", value: other.into() }),
    };
    /// As `u64`, so that journals mean the same everywhere.
    usize, u64, |size| *size as u64, |value| {
        Self::try_from(value).map_err(|_| Malformed::Unknown { what: "size on this target", value })
    };
    /// In nanoseconds; what is longer than 584 years is as long as that.
    Duration, u64, |duration| nanos(*duration), |nanos| Ok(Self::from_nanos(nanos));
    Instant, u64, |instant| instant.as_nanos(), |nanos| Ok(Self::from_nanos(nanos));
    Session, [u8; 10], |session| *session.as_bytes(), |bytes| Ok(Self::new(bytes));
}

/// Its length as `u32`, then the bytes.
///
/// A longer string is cut; no record is as long as that (see [`super`]).
impl<'a> Field<'a> for &'a [u8] {
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        let len = u32::try_from(self.len()).unwrap_or(u32::MAX);
        len.encode(out);
        out.put(&self[..len as usize]);
    }

    #[inline]
    fn decode(input: &mut Decoder<'a>) -> Result<Self, Malformed> {
        let len = u32::decode(input)?;
        input.take(len as usize)
    }
}

impl Field<'_> for Bytes {
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        (&self[..]).encode(out);
    }

    #[inline]
    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        <&[u8]>::decode(input).map(Self::copy_from_slice)
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }

    fn decode(input: &mut Decoder<'a>) -> Result<Self, Malformed> {
        if bool::decode(input)? { T::decode(input).map(Some) } else { Ok(None) }
    }
}

impl<'a, T: Field<'a>> Field<'a> for Vec<T> {
    fn encode(&self, out: &mut Encoder<'_>) {
        (self.len() as u64).encode(out);
        self.iter().for_each(|item| item.encode(out));
    }

    /// Grows as items come: a length that is a lie takes no memory.
    fn decode(input: &mut Decoder<'a>) -> Result<Self, Malformed> {
        let len = u64::decode(input)?;
        if len > input.bytes.len() as u64 {
            return Err(Malformed::Unknown { what: "number of items", value: len });
        }
        let mut items = Self::new();
        for _ in 0..len {
            items.push(T::decode(input)?);
        }
        items.shrink_to_fit();
        Ok(items)
    }
}

impl<'a, A: Field<'a>, B: Field<'a>> Field<'a> for (A, B) {
    fn encode(&self, out: &mut Encoder<'_>) {
        self.0.encode(out);
        self.1.encode(out);
    }

    fn decode(input: &mut Decoder<'a>) -> Result<Self, Malformed> {
        Ok((A::decode(input)?, B::decode(input)?))
    }
}

/// 4 or 6, the address, the port; of IPv6 then flow information and scope.
impl Field<'_> for SocketAddr {
    fn encode(&self, out: &mut Encoder<'_>) {
        match self {
            Self::V4(address) => {
                ((4_u8, address.ip().octets()), address.port()).encode(out);
            }
            Self::V6(address) => {
                ((6_u8, address.ip().octets()), address.port()).encode(out);
                (address.flowinfo(), address.scope_id()).encode(out);
            }
        }
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        match u8::decode(input)? {
            4 => <([u8; 4], u16)>::decode(input).map(Self::from),
            6 => {
                let ((ip, port), (flow, scope)): (([u8; 16], u16), _) = Field::decode(input)?;
                Ok(SocketAddrV6::new(ip.into(), port, flow, scope).into())
            }
            other => Err(Malformed::Unknown { what: "address family", value: other.into() }),
        }
    }
}

impl Field<'_> for () {
    fn encode(&self, _out: &mut Encoder<'_>) {}

    fn decode(_input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Ok(())
    }
}

/// There is none: what a machine without direct calls takes by them.
impl Field<'_> for Infallible {
    fn encode(&self, _out: &mut Encoder<'_>) {
        match *self {}
    }

    fn decode(_input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        Err(Malformed::Unknown { what: "direct call of this machine", value: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::fmt::Debug;
    use core::net::Ipv6Addr;

    fn round_trip<T: for<'a> Field<'a> + PartialEq + Debug>(value: &T) {
        let mut bytes = Vec::new();
        value.encode(&mut Encoder::new(&mut bytes));
        let mut input = Decoder::new(&bytes, 1);
        assert_eq!(T::decode(&mut input).as_ref(), Ok(value));
        assert_eq!(input.finish(), Ok(()));
        for cut in 0..bytes.len() {
            let short = T::decode(&mut Decoder::new(&bytes[..cut], 1));
            assert!(short.is_err(), "{short:?} out of {cut} bytes");
        }
    }

    #[test]
    fn a_size_beyond_the_targets_is_refused() {
        let mut bytes = Vec::new();
        (1_u64 << 40).encode(&mut Encoder::new(&mut bytes));
        let decoded = usize::decode(&mut Decoder::new(&bytes, 1));
        match usize::try_from(1_u64 << 40) {
            Ok(size) => assert_eq!(decoded, Ok(size)),
            Err(_) => {
                assert!(matches!(decoded, Err(Malformed::Unknown { value: 0x100_0000_0000, .. })))
            }
        }
    }

    #[test]
    fn every_kind_of_value_comes_back() {
        round_trip(&(0x12_u8, 0x1234_u16));
        round_trip(&(u32::MAX, u64::MAX - 1));
        round_trip(&(true, usize::MAX));
        round_trip(&(Duration::from_nanos(u64::MAX), Instant::MAX));
        round_trip(&(Session::new(*b"\0\xFFsession "), Some(7_u8)));
        round_trip(&(Bytes::from_static(b"payload"), Bytes::new()));
        round_trip(&alloc::vec![Some(1_u64), None, Some(3)]);
        let v6: SocketAddr = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 9, 5, 3).into();
        round_trip(&(SocketAddr::from(([127, 0, 0, 1], 8000)), v6));
    }

    #[test]
    fn a_length_that_is_a_lie_takes_no_memory() {
        let mut bytes = Vec::new();
        (u64::MAX, 0_u8).encode(&mut Encoder::new(&mut bytes));
        let items = Vec::<u8>::decode(&mut Decoder::new(&bytes, 1));
        assert_eq!(items, Err(Malformed::Unknown { what: "number of items", value: u64::MAX }));
        let long = [0xFF; 8];
        let read = <&[u8]>::decode(&mut Decoder::new(&long, 1));
        assert_eq!(read, Err(Malformed::Short { wanted: u32::MAX as usize, left: 4 }));
    }

    #[test]
    fn numbers_without_a_meaning_are_refused() {
        assert!(bool::decode(&mut Decoder::new(&[2], 1)).is_err());
        assert!(SocketAddr::decode(&mut Decoder::new(&[5; 40], 1)).is_err());
        assert!(Infallible::decode(&mut Decoder::new(&[0; 4], 1)).is_err());
        assert_eq!(Decoder::new(&[0; 3], 1).finish(), Err(Malformed::Trailing(3)));
    }
}
