//! `gapless`: receives, repairs and re-publishes MoldUDP64 feeds; sends and takes tagged streams.
//!
//! The command line is parsed here and handed on; see `demo`, `publish`, `receive`, `replay` and
//! `stream`.

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

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use failure::{Failure, Outcome};
use stop::Stop;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli.command) {
        Ok(outcome) => outcome.into(),
        Err(failure) => {
            progress::say(&failure);
            failure.outcome.into()
        }
    }
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
