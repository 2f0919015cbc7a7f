//! Any bytes, read by every view of `wire::mold` and by a naive reader, and written back.

#![no_main]

use gapless_tests::model::mold;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| mold::check(datagram));
