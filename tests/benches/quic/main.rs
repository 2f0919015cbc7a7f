//! The cost of moving bytes over QUIC: `gapless stream`, against a program that does the same with the crate
//! `quinn` on tokio. Ends with a failure when the goal is missed.
//!
//! A listener and a sender, each a process, move a file over loopback: the same certificate, ciphers,
//! congestion control and packet sizes. Counted is the processor time of both, as the system tells it when
//! they end. The two ways take turns, and the median of the rounds' ratios counts. The third part moves
//! bytes between two drivers within this process and tells their system calls.
//!
//! `GAPLESS_BYTES` says how many bytes are moved, 1 GiB by default.

#[cfg(unix)]
mod calls;
#[cfg(unix)]
mod processes;
#[cfg(unix)]
mod quinn;

use std::process::ExitCode;

#[cfg(unix)]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["quinn-listen", identity] => quinn::listen(identity.as_ref()),
        ["quinn-send", identity, address, file] => {
            quinn::send(identity.as_ref(), address.parse().expect("an address"), file.as_ref());
        }
        _ => {
            let bytes = std::env::var("GAPLESS_BYTES").ok();
            let bytes = bytes.map_or(1 << 30, |bytes| bytes.parse().expect("a number of bytes"));
            let reached = processes::print(bytes);
            calls::print(bytes.min(256 << 20));
            return if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
    }
    ExitCode::SUCCESS
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    println!("skipped: what processes cost is asked the way of Unix");
    ExitCode::SUCCESS
}
