//! A watch, on a feed that loses, doubles and reorders.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    // Input that ends early is no case. A panic is a crash here, before anything is written.
    let _ = strangers::check(input, None::<Vec<u8>>);
});
