//! A `Publisher` against its two machines run by hand, on any sequence of events.

#![no_main]

use gapless_tests::model::publisher::{self, Case};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: Case| publisher::check(&case));
