//! `RangeMap` and `RangeSet` against their naive models, on any calls.

#![no_main]

use gapless_tests::model::ranges::{Case, check_map, check_set};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: Case| {
    check_map(&case);
    check_set(&case);
});
