//! `gapless`: receives, repairs and re-publishes MoldUDP64 feeds; sends and takes tagged streams.
//!
//! The command line is parsed here and handed on; see `demo`, `publish`, `receive`, `replay` and
//! `stream`.

mod address;
mod args;
mod demo;
mod failure;
mod feed;
mod impair;
mod input;
mod journal;
mod output;
mod pace;
mod progress;
mod publish;
mod ranges;
mod receive;
mod replay;
mod resume;
mod stop;
mod stream;
mod summary;
mod tally;
mod tap;
mod values;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;
use gapless_mio::AddressError;

use args::{Cli, Command};
use failure::{Failure, Outcome};
use stop::Stop;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if is_unknown_host(&error) => {
            let _ = error.print();
            return Outcome::Io.into();
        }
        Err(error) => error.exit(),
    };
    let outcome = run(&cli.command).unwrap_or_else(|failure| {
        progress::say(&failure);
        failure.outcome
    });
    let mut listed = cli.command.exit_codes().iter().flat_map(|(codes, _)| codes.iter());
    debug_assert!(listed.any(|code| *code == outcome.code()), "{outcome:?} is not in the help");
    outcome.into()
}

/// Whether the command line makes sense, but names a host that cannot be found.
fn is_unknown_host(error: &clap::Error) -> bool {
    let source = error.source().and_then(<dyn std::error::Error>::downcast_ref);
    matches!(source, Some(AddressError::Unknown { .. }))
}

fn run(command: &Command) -> Result<Outcome, Failure> {
    let stop = Stop::on_signals()?;
    match command {
        Command::Demo(args) => demo::run(args, &stop),
        Command::Publish(args) => publish::run(args, &stop),
        Command::Receive(args) => receive::run(args, &stop),
        Command::Replay(args) => replay::run(args, &stop),
        Command::Stream(args) => stream::run(args, &stop),
    }
}
