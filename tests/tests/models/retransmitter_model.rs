//! `Retransmitter` against its naive model, on random events. `GAPLESS_CASES` says how many cases
//! (100 by default).

use arbitrary::{Arbitrary, Unstructured};
use gapless_tests::model::{cases, retransmitter};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(100)))]

    #[test]
    fn a_retransmitter_does_what_its_model_does(
        bytes in prop::collection::vec(any::<u8>(), 0..768),
    ) {
        retransmitter::check(&retransmitter::Case::arbitrary(&mut Unstructured::new(&bytes)).unwrap());
    }
}
