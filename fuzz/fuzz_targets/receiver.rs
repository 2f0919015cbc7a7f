//! Random events against a `Receiver`, judged by the model's oracle.

#![no_main]

use gapless_tests::model::receiver::{Case, play};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|case: Case| play(&case, false));
