//! `Transmitter` against its naive model, on random events. `GAPLESS_CASES` says how many cases
//! (1,000 by default).

use arbitrary::{Arbitrary, Unstructured};
use gapless_tests::model::{cases, transmitter};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(1_000)))]

    #[test]
    fn a_transmitter_does_what_its_model_does(bytes in prop::collection::vec(any::<u8>(), 0..1024)) {
        transmitter::check(&transmitter::Case::arbitrary(&mut Unstructured::new(&bytes)).unwrap());
    }
}
