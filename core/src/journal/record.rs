//! Records: what blocks hold. Each is a kind, the length of its body, and the body.

use alloc::vec::Vec;

use super::Journaled;
use super::digest::Digest;
use super::field::{Decoder, Encoder, Field, Malformed};
use crate::Instant;

/// The kind of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Machine,
    Event,
    Timeout,
    Call,
    Answer,
    Command,
    EventDigest,
}

impl Kind {
    /// By their numbers, with their names in errors.
    const ALL: [(Self, &'static str); 7] = [
        (Self::Machine, "machine"),
        (Self::Event, "event"),
        (Self::Timeout, "timeout"),
        (Self::Call, "direct call"),
        (Self::Answer, "direct call's answer"),
        (Self::Command, "command"),
        (Self::EventDigest, "digest"),
    ];

    /// The name of a record in errors.
    pub(super) const fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// The commands that followed from an event, digested, as far as they were polled before the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct EventDigest {
    /// How many commands were taken.
    pub(super) commands: u64,
    /// The machine was polled until it had no more.
    pub(super) drained: bool,
    /// Of everything up to here.
    pub(super) digest: u32,
}

crate::fields!(EventDigest { commands, drained, digest });

impl EventDigest {
    /// As it is written.
    #[inline]
    pub(super) fn bytes(&self) -> [u8; 13] {
        let [c0, c1, c2, c3, c4, c5, c6, c7] = self.commands.to_le_bytes();
        let [d0, d1, d2, d3] = self.digest.to_le_bytes();
        [c0, c1, c2, c3, c4, c5, c6, c7, self.drained.into(), d0, d1, d2, d3]
    }
}

/// Takes into a digest what follows the commands of an event: whether they were all, and the next
/// timeout.
#[inline]
pub(super) fn settle(digest: &mut Digest, drained: bool, timeout: Option<Instant>) -> u32 {
    let mut end = [0; 10];
    end[0] = u8::from(drained);
    end[1] = u8::from(timeout.is_some());
    end[2..].copy_from_slice(&timeout.unwrap_or_default().as_nanos().to_le_bytes());
    digest.update(&end);
    digest.value()
}

/// One record, as read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    pub(super) body: &'a [u8],
}

impl<'a> Record<'a> {
    /// The first of these records; the others.
    pub(super) fn split(records: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let mut input = Decoder::new(records, 0);
        let number = u8::decode(&mut input)?;
        let unknown = Malformed::Unknown { what: "kind of record", value: number.into() };
        let (kind, _) = *Kind::ALL.get(usize::from(number)).ok_or(unknown)?;
        let body = <&[u8]>::decode(&mut input)?;
        Ok((Self { kind, body }, input.rest()))
    }
}

/// Appends the record of what a machine is made from.
pub(super) fn append_machine<M: Journaled>(out: &mut Vec<u8>, config: &M::Config) {
    append(out, Kind::Machine, &[], |out| {
        (M::NAME.as_bytes(), M::VERSION).encode(out);
        out.put(&[M::NESTED.len() as u8]);
        for (name, version) in M::NESTED {
            (name.as_bytes(), *version).encode(out);
        }
        config.encode(out);
    });
}

/// Appends a record whose body is `front`, up to sixteen bytes, and what `body` writes.
#[inline]
pub(super) fn append(
    out: &mut Vec<u8>,
    kind: Kind,
    front: &[u8],
    body: impl FnOnce(&mut Encoder<'_>),
) {
    let start = out.len() + 5;
    // What every record of a kind has goes in one piece.
    let mut head = [kind as u8; 21];
    head[5..5 + front.len()].copy_from_slice(front);
    out.extend_from_slice(&head[..5 + front.len()]);
    body(&mut Encoder::new(out));
    // A longer one than a block holds is not kept.
    let length = (out.len() - start) as u32;
    out[start - 4..start].copy_from_slice(&length.to_le_bytes());
}
