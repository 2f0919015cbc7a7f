//! `Publisher` against its two machines run by hand, on random events. `GAPLESS_CASES` says how many
//! cases (500 by default).

use arbitrary::{Arbitrary, Unstructured};
use gapless_tests::model::{cases, publisher};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(500)))]

    #[test]
    fn a_publisher_says_what_its_machines_say(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        publisher::check(&publisher::Case::arbitrary(&mut Unstructured::new(&bytes)).unwrap());
    }
}
