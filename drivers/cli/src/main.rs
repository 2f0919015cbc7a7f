//! `gapless`: receives, repairs and re-publishes MoldUDP64 feeds; sends and takes tagged streams.
//!
//! The command line is parsed here and handed on; see `demo`, `publish`, `receive`, `replay` and
//! `stream`.

mod address;
mod advice;
mod args;
mod demo;
mod exit;
mod failure;
mod feed;
mod impair;
mod input;
mod io;
mod journal;
mod pace;
mod progress;
mod publish;
mod ranges;
mod receive;
mod replay;
mod signal;
mod statistics;
mod stop;
mod stream;
mod summary;
mod tap;
mod text;
mod url;
mod values;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use exit::Form;
use failure::{Failure, Outcome};
use stop::Stop;

fn main() -> ExitCode {
    let parsed = Cli::try_parse();
    let form = parsed.as_ref().map_or_else(|_| Form::Words, |cli| cli.command.form());
    let result = match &parsed {
        Ok(cli) => run(&cli.command),
        Err(instead) => args::print(instead),
    };
    let outcome = result.unwrap_or_else(|failure| {
        exit::report(&failure, form);
        failure.outcome
    });
    if let Ok(Cli { command }) = &parsed {
        let mut listed = command.exit_codes().iter().flat_map(|(codes, _)| codes.iter());
        debug_assert!(listed.any(|code| *code == outcome.code()), "{outcome:?} is not in the help");
    }
    outcome.into()
}

fn run(command: &Command) -> Result<Outcome, Failure> {
    io::standard::check_output()?;
    let stop = Stop::on_signals()?;
    match command {
        Command::Demo(args) => demo::run(args, &stop),
        Command::Publish(args) => publish::run(args, &stop),
        Command::Receive(args) => receive::run(args, &stop),
        Command::Replay(args) => replay::run(args, &stop),
        Command::Stream(args) => stream::run(args, &stop),
    }
}
