//! How values are written in the last version of an encoding, in which journals are kept; those of a machine
//! are among its own tests. When one of these tests fails, journals are not readable any more: then the
//! machine's version is one more, and what was written in the one before must still be read.

use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

use bytes::Bytes;

use crate::journal::{Encoder, Field};
use crate::{Duration, Instant, Session};

pub(crate) const SESSION: Session = Session::new(*b"0123456789");
pub(crate) const BYTES: Bytes = Bytes::from_static(&[0xAB, 0xCD]);

pub(crate) fn address() -> SocketAddr {
    ([127, 0, 0, 1], 0x0201).into()
}

pub(crate) const fn ns(nanos: u64) -> Duration {
    Duration::from_nanos(nanos)
}

pub(crate) const fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// Checks that a value is written so: a number stands for itself in one byte, with `w`, `d` or `q` behind it
/// in two, four or eight; `S`, `A` and `B` for the session, the address and the byte string.
#[track_caller]
pub(crate) fn assert_encoding<'a>(value: &impl Field<'a>, expected: &str) {
    let mut written = Vec::new();
    value.encode(&mut Encoder::new(&mut written));
    are_bytes(&written, expected);
}

/// Checks that what is digested of a value is this.
#[track_caller]
pub(crate) fn is_digested<'a>(value: &impl Field<'a>, expected: &str) {
    let mut written = Vec::new();
    value.encode(&mut Encoder::new(&mut written).digesting());
    are_bytes(&written, expected);
}

#[track_caller]
fn are_bytes(written: &[u8], expected: &str) {
    let number = |digits: &str, bytes: usize| {
        let number: u64 = digits.parse().expect("a number");
        number.to_le_bytes()[..bytes].to_vec()
    };
    let bytes = |word: &str| match (word, word.split_at(word.len() - 1)) {
        ("S", _) => b"0123456789".to_vec(),
        ("A", _) => vec![4, 127, 0, 0, 1, 1, 2],
        ("B", _) => vec![2, 0, 0, 0, 0xAB, 0xCD],
        (_, (digits, "w")) => number(digits, 2),
        (_, (digits, "d")) => number(digits, 4),
        (_, (digits, "q")) => number(digits, 8),
        _ => number(word, 1),
    };
    let expected: Vec<u8> = expected.split_whitespace().flat_map(bytes).collect();
    assert_eq!(written, expected);
}

#[test]
fn values_that_all_machines_have() {
    assert_encoding(&SESSION, "S");
    assert_encoding(&address(), "A");
    assert_encoding(&BYTES, "B");
    assert_encoding(&(ns(1), at(2)), "1q 2q");
    assert_encoding(&None::<Duration>, "0");
    assert_encoding(&Some(ns(1)), "1 1q");
}
