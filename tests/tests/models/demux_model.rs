//! The `Demux` and its wire format against their naive models, on random cases. `GAPLESS_CASES` says how
//! many of each (300 by default).

use arbitrary::{Arbitrary, Unstructured};
use gapless_core::demux::{
    AcceptorId, Config, Demux, Event, Pattern, PeerId, Registrant, StreamId,
};
use gapless_core::{Instant, Machine};
use gapless_tests::model::demux::{Fate, Streams, Written};
use gapless_tests::model::{cases, demux};
use proptest::prelude::*;

/// A case made of up to so many bytes: the more of them, the more happens.
fn a_case(bytes: usize) -> impl Strategy<Value = demux::Case> {
    prop::collection::vec(any::<u8>(), 0..bytes).prop_map(|bytes| {
        demux::Case::arbitrary(&mut Unstructured::new(&bytes)).expect("any bytes make a case")
    })
}

/// More pieces than any stream is cut into.
const MAX_CHUNKS: usize = 100_000;

/// Gives a stream in pieces of these lengths, again and again, while its acceptor pauses from one piece to
/// another; what the acceptor was told of it in the end.
fn cut(written: &Written, tag: &[u8], pieces: &[usize], pauses: [usize; 2]) -> Streams {
    let mut demux = Demux::new(Config::default()).unwrap();
    let mut streams = Streams::default();
    let (acceptor, now) = (AcceptorId(1), Instant::ZERO);
    let stream = StreamId { peer: PeerId(1), number: 0 };
    streams.open(stream, written.clone());
    demux.register(now, acceptor, Pattern::Exact(tag), Registrant::Application).unwrap();
    for (index, &most) in pieces.iter().cycle().take(MAX_CHUNKS).enumerate() {
        let pause = [Event::Pause { acceptor }, Event::Resume { acceptor }];
        for (_, event) in pauses.iter().zip(pause).filter(|(at, _)| **at == index) {
            demux.handle(now, event).unwrap();
        }
        if let Some(came) = streams.come(stream, most, true) {
            let (offset, fin) = (came.offset as u64, came.fin);
            let bytes = bytes::Bytes::copy_from_slice(came.bytes);
            let pinned = bytes.len();
            demux.data(now, stream, offset, bytes, pinned, fin).unwrap();
        }
        while let Some(command) = demux.poll_command() {
            streams.execute(&command);
        }
        streams.judge(stream);
        if index >= pauses[1] && streams.get(stream).is_over() {
            break;
        }
    }
    streams
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases(300)) })]

    #[test]
    fn a_demultiplexer_does_what_its_model_does(case in a_case(300)) {
        demux::check(&case);
    }

    #[test]
    fn a_demultiplexer_does_what_its_model_does_for_long(case in a_case(2_000)) {
        demux::check(&case);
    }

    #[test]
    fn every_fragmentation_gives_the_acceptor_one_opening_and_the_exact_payload_with_its_end(
        tag in prop::collection::vec(any::<u8>(), 1..=255),
        payload in prop::collection::vec(any::<u8>(), 0..600),
        mut pieces in prop::collection::vec(prop_oneof![0_usize..3, 0_usize..40, 0_usize..1000], 1..20),
        pause in 0_usize..30,
        lasts in 1_usize..30,
    ) {
        prop_assume!(!tag.starts_with(b"gapless:"));
        pieces.push(1);
        let streams = cut(&Written::new(&tag, &payload), &tag, &pieces, [pause, pause + lasts]);
        let (_, stream) = streams.iter().next().unwrap();
        prop_assert_eq!(stream.fate(), Fate::Dispatched(AcceptorId(1)));
        prop_assert_eq!((stream.tag(), stream.payload()), (&tag[..], &payload[..]));
    }

    #[test]
    fn preambles_are_read_and_written_as_a_naive_reader_does(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        demux::check_wire(&bytes);
    }
}
