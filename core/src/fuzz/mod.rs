#![doc = include_str!("../fuzz.md")]

mod config;
mod feed;
mod play;
mod publication;
mod streams;
mod tracks;
mod values;

use alloc::vec::Vec;

pub use arbitrary::{Arbitrary, Result, Unstructured};
pub use feed::Feed;
pub use play::play;
pub use publication::Publication;
pub use streams::Streams;
pub use tracks::Tracks;

use crate::Machine;

/// Draws the events of a machine, one after the other.
pub trait Sequence<M: Machine> {
    /// Draws the next event.
    ///
    /// # Errors
    /// The input is used up.
    fn next<'s, 'u: 's>(&'s mut self, u: &mut Unstructured<'u>) -> Result<M::Event<'s>>;

    /// Takes note of a command: ids that exist from now on, requests that can be answered. Nothing by default.
    fn note(&mut self, command: &M::Command) {
        let _ = command;
    }
}

/// Events as [`Arbitrary`] draws them, of which none knows of another.
#[derive(Clone, Copy, Default, Debug)]
pub struct Raw;

impl<M: Machine> Sequence<M> for Raw
where
    for<'s> M::Event<'s>: Arbitrary<'s>,
{
    fn next<'s, 'u: 's>(&'s mut self, u: &mut Unstructured<'u>) -> Result<M::Event<'s>> {
        // A value may live shorter than the input that it borrows from: a part of it that shrinks at both ends.
        let input = u.peek_bytes(u.len()).unwrap_or_default();
        let mut rest = Unstructured::new(input);
        let event = Arbitrary::arbitrary(&mut rest);
        let rest = rest.take_rest();
        let start = rest.as_ptr().addr().wrapping_sub(input.as_ptr().addr());
        *u = Unstructured::new(input.get(start..).map_or(&[], |rest_on| &rest_on[..rest.len()]));
        event
    }
}

/// Draws payload, of any length: for fields of types that do not implement [`Arbitrary`], such as
/// [`Bytes`](bytes::Bytes), by `#[arbitrary(with = gapless_core::fuzz::bytes)]`.
///
/// # Errors
/// The input is used up.
pub fn bytes<B: From<Vec<u8>>>(u: &mut Unstructured<'_>) -> Result<B> {
    <&[u8]>::arbitrary(u).map(|bytes| bytes.to_vec().into())
}
