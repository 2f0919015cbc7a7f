//! The charges of things in tables: literals, so that limits, and all that follows from them, are the same
//! on every target, however a compiler lays things out. Nothing that a machine decides reads what they take.

use bytes::BytesMut;
use core::net::{IpAddr, SocketAddr};

use crate::Instant;

/// A thing that lies in tables.
pub(crate) trait Charged {
    /// Bytes that one is charged: on 64-bit targets what it takes, or a little more.
    const BYTES: usize;
}

/// Implements [`Charged`] by literals, which on 64-bit are held against what the things take.
macro_rules! charged {
    ($($thing:ty = $bytes:literal),+ $(,)?) => {$(
        impl $crate::storage::charge::Charged for $thing {
            const BYTES: usize = $bytes;
        }

        #[cfg(all(test, target_pointer_width = "64"))]
        const _: () = $crate::storage::charge::hold::<$thing>();
    )+};
}
pub(crate) use charged;

/// Fails where a thing takes more than it is charged, or much less.
#[cfg(all(test, target_pointer_width = "64"))]
pub(crate) const fn hold<T: Charged>() {
    let taken = size_of::<T>();
    assert!(taken <= T::BYTES, "it takes more than it is charged");
    assert!(T::BYTES <= taken + taken / 20 + 8, "it is charged much more than it takes");
}

charged! {
    () = 0,
    u64 = 8,
    usize = 8,
    Instant = 8,
    IpAddr = 24,
    SocketAddr = 32,
    BytesMut = 32,
}

impl<A: Charged, B: Charged> Charged for (A, B) {
    const BYTES: usize = A::BYTES + B::BYTES;
}

/// How bytes are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Measure {
    /// As they are charged: the same on every target.
    Charged,
    /// As they are taken here.
    Taken,
}

impl Measure {
    /// The bytes of so many things that lie together.
    #[inline(always)]
    pub(crate) const fn of<T: Charged>(self, count: usize) -> usize {
        let one = match self {
            Self::Charged => T::BYTES,
            Self::Taken => size_of::<T>(),
        };
        count.saturating_mul(one)
    }
}
