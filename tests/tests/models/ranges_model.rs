//! `RangeMap` and `RangeSet` against their naive models, on random calls. `GAPLESS_CASES` says how
//! many cases (2,000 by default).

use arbitrary::{Arbitrary, Unstructured};
use gapless_tests::model::{cases, ranges};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases(2_000)) })]

    #[test]
    fn a_range_map_does_what_64_cells_do(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        ranges::check_map(&ranges::Case::arbitrary(&mut Unstructured::new(&bytes)).unwrap());
    }

    #[test]
    fn a_range_set_does_what_64_cells_do(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        ranges::check_set(&ranges::Case::arbitrary(&mut Unstructured::new(&bytes)).unwrap());
    }
}
