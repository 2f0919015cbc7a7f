//! The `Cache` against its naive model, on random cases. `GAPLESS_CASES` says how many of each (300
//! by default).

use arbitrary::{Arbitrary, Unstructured};
use gapless_tests::model::{cache, cases};
use proptest::prelude::*;

/// A case made of up to so many bytes: the more of them, the more happens.
fn a_case(bytes: usize) -> impl Strategy<Value = cache::Case> {
    prop::collection::vec(any::<u8>(), 0..bytes).prop_map(|bytes| {
        cache::Case::arbitrary(&mut Unstructured::new(&bytes)).expect("any bytes make a case")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases(300)) })]

    #[test]
    fn a_cache_does_what_its_model_does(case in a_case(300)) {
        cache::check(&case);
    }

    #[test]
    fn a_cache_does_what_its_model_does_for_long(case in a_case(1_000)) {
        cache::check(&case);
    }
}
