//! `wire::mold` against its naive reader, on datagrams that are packets, nearly packets, or noise.
//! `GAPLESS_CASES` says how many of each (2,000 by default).

use gapless_core::Session;
use gapless_core::wire::mold::{END_OF_SESSION, HEADER_LEN, Header, MAX_COUNT};
use gapless_tests::model::{cases, mold};
use proptest::collection::vec;
use proptest::prelude::*;

fn sequence() -> impl Strategy<Value = u64> {
    prop_oneof![0..3_u64, any::<u64>(), u64::MAX - 20..=u64::MAX]
}

/// A header's 20 bytes, with a count that mostly is `blocks`.
fn header(blocks: usize) -> impl Strategy<Value = [u8; HEADER_LEN]> {
    let count = prop_oneof![
        6 => Just(blocks as u16),
        1 => 0..=blocks as u16 + 1,
        1 => prop_oneof![Just(0), Just(MAX_COUNT), Just(END_OF_SESSION), any::<u16>()],
    ];
    (any::<[u8; 10]>(), sequence(), count).prop_map(|(session, sequence, count)| {
        Header { session: Session::new(session), sequence, count }.to_bytes()
    })
}

/// Message blocks, now and then with a length that says more or less than is there.
fn blocks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let length_error = prop_oneof![20 => Just(0), 1 => 1..=u16::MAX];
    vec((vec(any::<u8>(), 0..40), length_error), 0..20).prop_map(|messages| {
        let block = |(message, error): (Vec<u8>, u16)| {
            let length = (message.len() as u16).wrapping_add(error);
            [&length.to_be_bytes()[..], &message].concat()
        };
        messages.into_iter().map(block).collect()
    })
}

/// How a packet is changed in its length: mostly not, else cut or followed by something.
fn resized(packet: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let len = packet.len();
    prop_oneof![
        2 => Just(packet.clone()),
        1 => (0..=len).prop_map({
            let packet = packet.clone();
            move |len| packet[..len].to_vec()
        }),
        1 => vec(any::<u8>(), 1..50).prop_map(move |behind| [&packet[..], &behind].concat()),
    ]
}

fn near_packet() -> impl Strategy<Value = Vec<u8>> {
    blocks()
        .prop_flat_map(|blocks| (header(blocks.len()), Just(blocks.concat())))
        .prop_map(|(header, body)| [&header[..], &body].concat())
        .prop_flat_map(resized)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(2_000)))]

    #[test]
    fn packets_and_what_is_nearly_one_are_read_as_a_naive_reader_reads_them(
        datagram in near_packet(),
    ) {
        mold::check(&datagram);
    }

    #[test]
    fn noise_is_read_as_a_naive_reader_reads_it(datagram in vec(any::<u8>(), 0..200)) {
        mold::check(&datagram);
    }

    #[test]
    fn twenty_bytes_are_read_as_a_naive_reader_reads_them(datagram in header(5)) {
        mold::check(&datagram);
    }
}
