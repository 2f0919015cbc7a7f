//! Hostile journals, read by a `Replayer` that knows every machine, its memory counted.

#![no_main]

use gapless_tests::alloc::Counting;
use gapless_tests::model::journal;
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fuzz_target!(|input: &[u8]| journal::check(input));
