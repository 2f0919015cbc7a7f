//! A `Demux` against its naive model and a twin, on any sequence of events, its memory counted.

#![no_main]

use gapless_tests::alloc::Counting;
use gapless_tests::model::demux::{self, Case};
use libfuzzer_sys::fuzz_target;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fuzz_target!(|case: Case| demux::check(&case));
