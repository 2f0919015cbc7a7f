//! Replays journals and says what came of them: the same on every target, in every build, under every layout.
//!
//! A line for each journal says whether it verifies, and at which event it differs where not; a line for each machine
//! what a replay gives that only looks on, with its digest, and what the machine is charged in the end. Whoever compares
//! the output of two builds compares every command, and every byte charged.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gapless_core::Machine;
use gapless_core::cache::Cache;
use gapless_core::demux::Demux;
use gapless_core::journal::Replayer;
use gapless_core::journal::replayer::{Error, Fault, Replayed};
use gapless_core::publisher::Publisher;
use gapless_core::receiver::Receiver;
use gapless_core::retransmitter::Retransmitter;
use gapless_core::transmitter::Transmitter;

fn main() -> ExitCode {
    let journals: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if journals.is_empty() {
        eprintln!("usage: gapless-targets JOURNAL...");
        return ExitCode::from(2);
    }
    for path in &journals {
        if let Err(error) = replay(path) {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Replays a journal twice. One that differs is no error; one that cannot be replayed is.
fn replay(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let journal = std::fs::read(path)?;
    let name = path.file_name().unwrap_or_default().display();
    match knowing_all(Replayer::verifying()).replay(&journal[..], &mut ()) {
        Ok(ending) => println!("{name}: verifies, {} bytes, {} torn", ending.bytes, ending.torn),
        Err(Error::At { fault: fault @ Fault::Differs { .. }, .. }) => println!("{name}: {fault}"),
        Err(error) => return Err(error.into()),
    }
    let mut replayer = knowing_all(Replayer::lenient());
    replayer.replay(&journal[..], &mut ())?;
    for machine in replayer.machines() {
        let Replayed { place, events, commands, digest, .. } = machine;
        let charged = charged(&machine).ok_or("a machine of no known kind")?;
        println!(
            "  {place}: {events} events, {commands} commands, digest {digest:08x}, charged {charged}"
        );
    }
    Ok(())
}

fn knowing_all(replayer: Replayer) -> Replayer {
    replayer
        .knowing::<Receiver>()
        .knowing::<Publisher>()
        .knowing::<Transmitter>()
        .knowing::<Retransmitter>()
        .knowing::<Cache>()
        .knowing::<Demux>()
}

fn charged(machine: &Replayed<'_>) -> Option<usize> {
    (machine.machine::<Receiver>().map(Machine::charged))
        .or_else(|| machine.machine::<Publisher>().map(Machine::charged))
        .or_else(|| machine.machine::<Transmitter>().map(Machine::charged))
        .or_else(|| machine.machine::<Retransmitter>().map(Machine::charged))
        .or_else(|| machine.machine::<Cache>().map(Machine::charged))
        .or_else(|| machine.machine::<Demux>().map(Machine::charged))
}
