//! The cost of a packet over a socket: `gapless-mio` with a receiver, against a bare batched loop
//! that only walks over the blocks. Ends with a failure when the goal is missed.
//!
//! A round fills a socket's receive buffer, stops sending, and times the draining; the two take
//! turns, and the median of the rounds' ratios counts, so that a busy machine disturbs both alike.

#[cfg(target_os = "linux")]
mod bare;
#[cfg(target_os = "linux")]
mod drain;
#[path = "../shared/feed.rs"]
mod feed;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    drain::table()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    println!("skipped: one system call for many datagrams is Linux's");
    ExitCode::SUCCESS
}
