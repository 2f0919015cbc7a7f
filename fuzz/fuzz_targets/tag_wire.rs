//! Any bytes, read as the head of a stream by `wire::tag` and by a naive reader, and written as a tag.

#![no_main]

use gapless_tests::model::demux;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| demux::check_wire(bytes));
