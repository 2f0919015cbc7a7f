//! Shared by the benchmarks: a feed of small messages, and a consumer that looks at each of them.

use std::hint::black_box;

use gapless_core::Session;
use gapless_core::wire::mold::{HEADER_LEN, Messages, PacketWriter};

/// Bytes of each message: an ITCH order with its price.
const MESSAGE: usize = 36;

pub(crate) const SESSION: Session = Session::new(*b"BENCHMARKS");

/// A consumer of the messages: something small that reads each of them.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    pub(crate) messages: u64,
    /// Of numbers, lengths and first bytes.
    pub(crate) sum: u64,
}

impl Tally {
    #[inline(always)]
    pub(crate) fn add(&mut self, messages: Messages<'_>) {
        let Self { messages: mut seen, mut sum } = *self;
        for (sequence, message) in messages {
            let first = message.first().map_or(0, |first| u64::from(*first));
            seen += 1;
            sum = sum.wrapping_add(sequence).wrapping_add(message.len() as u64 + first);
        }
        *self = black_box(Self { messages: seen, sum });
    }
}

/// `packets` datagrams of so many messages each, from number `first` on.
pub(crate) fn feed(first: u64, packets: u64, messages: u16) -> Vec<Vec<u8>> {
    let len = HEADER_LEN + usize::from(messages) * (2 + MESSAGE);
    let packet = |index: u64| {
        let sequence = first + index * u64::from(messages);
        let mut buffer = vec![0; len];
        let mut writer = PacketWriter::new(&mut buffer, SESSION, sequence).unwrap();
        for number in sequence..sequence + u64::from(messages) {
            assert!(writer.push(&[number as u8; MESSAGE]));
        }
        buffer
    };
    (0..packets).map(packet).collect()
}
