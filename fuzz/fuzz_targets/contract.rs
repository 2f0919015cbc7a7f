//! Any machine on any events, or on such as fit one another, held to the contract of all machines.

#![no_main]

use gapless_tests::model::contract;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| contract::check(input));
