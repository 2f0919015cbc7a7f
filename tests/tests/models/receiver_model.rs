//! The `Receiver` against its oracle, on random cases. `GAPLESS_CASES` says how many (2,000 unless
//! told).

use arbitrary::{Arbitrary, Unstructured};
use gapless_tests::model::{cases, receiver};
use proptest::prelude::*;

fn a_case() -> impl Strategy<Value = receiver::Case> {
    prop::collection::vec(any::<u8>(), 0..1_500).prop_map(|bytes| {
        receiver::Case::arbitrary(&mut Unstructured::new(&bytes)).expect("any bytes make a case")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases(2_000)) })]

    #[test]
    fn a_receiver_keeps_every_rule_whatever_happens(case in a_case()) {
        receiver::play(&case, true);
    }
}

#[test]
fn packets_that_came_before_a_start_was_believed_count_as_passing_its_gaps() {
    receiver::play(&receiver::Case::passed_before_the_start(), true);
}

#[test]
fn a_line_that_reorders_nothing_is_asked_about_at_once_until_it_does() {
    receiver::play(&receiver::Case::orderly(), true);
}
