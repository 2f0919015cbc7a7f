//! Random events against a `Receiver`, judged by the model's oracle, its memory counted.

#![no_main]

use gapless_tests::alloc::Counting;
use gapless_tests::model::receiver::{Case, play};
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fuzz_target!(|case: Case| play(&case, true));
