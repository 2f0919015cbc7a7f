//! `crash INPUT JOURNAL`: plays what a fuzzer found, and leaves a journal of it. It panics as the target did.

use std::env::args_os;
use std::fs::{File, read};

use gapless_core::journal::Io;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [input, journal] =
        [args_os().nth(1), args_os().nth(2)].map(|name| name.expect("crash INPUT JOURNAL"));
    strangers::check(&read(input)?, Some(Io(File::create(journal)?)))?;
    Ok(())
}
