//! The command line: what can be said, and what makes sense together.

mod demo;
mod exit_codes;
mod publish;
mod receive;
mod replay;
mod shared;
mod stream;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use anstream::{AutoStream, ColorChoice};
use clap::{Parser, Subcommand};
use gapless_mio::AddressError;

use exit_codes::after_help;

use crate::exit::{self, Form};
use crate::failure::{Failure, Outcome};
use crate::io::patience::write_errors;
use crate::io::place::is_standard_output;
use crate::io::standard;

pub(crate) use demo::Demo;
pub(crate) use publish::{Format, KEEP, Publish};
pub(crate) use receive::{AcceptAnswers, Delivery, OnLoss, OnRegress, OutputFormat, Receive};
pub(crate) use replay::Replay;
pub(crate) use shared::Journaling;
pub(crate) use stream::{Listen, Send, Stream};

const EXAMPLES: &str = "\
Examples:
  gapless demo
  gapless publish --input feed.bin --to 127.0.0.1:5000 --requests 127.0.0.1:5002 --session FEED
  gapless receive --line 127.0.0.1:5000 --requests 127.0.0.1:5002 --output copy.bin
  gapless stream listen --listen 127.0.0.1:4433 --tag logs --output inbox";

/// Receives, repairs and re-publishes MoldUDP64 feeds; sends and takes tagged streams.
#[derive(Parser, Debug)]
#[command(name = "gapless", version, about, after_help = after_help(EXAMPLES, exit_codes::ALL))]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Prints what clap says instead of a parsed command line: help, the version, or an error.
///
/// # Errors
/// The help cannot be written.
pub(crate) fn print(instead: &clap::Error) -> Result<Outcome, Failure> {
    let plain = || instead.render().to_string();
    let text = |choice| match choice {
        ColorChoice::Never => plain(),
        _ => instead.render().ansi().to_string(),
    };
    if instead.use_stderr() {
        let text = text(AutoStream::choice(&io::stderr()));
        // The exit code says it too.
        write_errors(text.as_bytes());
        let failure = match unknown_host(instead) {
            Some(unknown) => Failure::new(Outcome::Io, unknown.to_string()),
            None => Failure::usage(what(&plain())),
        };
        exit::report_object(&failure, form_of(std::env::args_os()));
        return Ok(failure.outcome);
    }
    standard::check_output()?;
    standard::print(&text(AutoStream::choice(&io::stdout())))?;
    Ok(Outcome::Complete)
}

/// The error of a command line that makes sense, but names a host that cannot be found.
fn unknown_host(error: &clap::Error) -> Option<&AddressError> {
    let source = error.source().and_then(<dyn Error>::downcast_ref);
    source.filter(|error| matches!(error, AddressError::Unknown { .. }))
}

/// The error in clap's words, without a word on what to do.
fn what(error: &str) -> &str {
    let what = error.split("\n\n").next().unwrap_or_default().trim_end();
    what.strip_prefix("error: ").unwrap_or(what)
}

/// How a command is to report its end that was not parsed.
fn form_of(arguments: impl Iterator<Item = OsString>) -> Form {
    let words: Vec<OsString> = arguments.skip(1).take_while(|word| word != "--").collect();
    let is_there = |flag: &str| words.iter().any(|word| word == flag);
    // Both `--flag value` and `--flag=value`.
    let value = |flag: &str| {
        let behind = words.iter().position(|word| word == flag).and_then(|at| words.get(at + 1));
        let within =
            words.iter().find_map(|word| word.to_str()?.strip_prefix(flag)?.strip_prefix('='));
        behind.map(Path::new).or(within.map(Path::new))
    };
    let command = words.get(..2).unwrap_or_default();
    let aside = if command == ["stream", "send"] {
        !is_there("--unidirectional") && value("--answer").is_none_or(is_standard_output)
    } else if command == ["stream", "listen"] {
        value("--output").is_none() && value("--exec").is_none()
    } else {
        value("--output").is_some_and(is_standard_output)
    };
    Form::new(is_there("--json"), aside)
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Publish a feed on two bad lines over loopback, receive it complete, and show how.
    #[command(after_help = after_help(demo::EXAMPLES, exit_codes::DEMO))]
    Demo(Demo),
    /// Publish a file as a feed, and answer requests for what was missed.
    ///
    /// After the last message the end of the session is told over and over, and requests are
    /// answered, until nobody asked for --linger. When a signal comes before the end of the input, no end
    /// of the session is sent: receivers wait for it to go on.
    #[command(after_help = after_help(publish::EXAMPLES, exit_codes::PUBLISH))]
    Publish(Publish),
    /// Receive a feed, have what is missing sent again, and write it in order.
    #[command(after_help = after_help(receive::EXAMPLES, exit_codes::RECEIVE))]
    Receive(Receive),
    /// Replay a journal: give the machines again what they were given when it was recorded.
    ///
    /// No socket is opened and no time is waited for. In the end it is told what each machine counted.
    /// A journal that ends within a block, as it does when its program was killed, is replayed as far as
    /// it is whole.
    #[command(after_help = after_help(replay::EXAMPLES, exit_codes::REPLAY))]
    Replay(Replay),
    /// Send and take streams over QUIC that find their owner by a tag.
    #[command(subcommand, after_help = "Each has exit codes of its own: see their help.")]
    Stream(Stream),
}

impl Command {
    /// How the command reports its end.
    pub(crate) fn form(&self) -> Form {
        match self {
            Self::Demo(args) => Form::new(args.json, false),
            Self::Publish(args) => Form::new(args.json, false),
            Self::Receive(args) => Form::new(args.json, args.to_standard_output()),
            Self::Replay(args) => Form::new(args.json, false),
            Self::Stream(Stream::Listen(args)) => Form::new(args.json, args.to_standard_output()),
            Self::Stream(Stream::Send(args)) => Form::new(args.json, args.to_standard_output()),
        }
    }

    /// The codes that it may end with.
    pub(crate) const fn exit_codes(&self) -> exit_codes::ExitCodes {
        match self {
            Self::Demo(_) => exit_codes::DEMO,
            Self::Publish(_) => exit_codes::PUBLISH,
            Self::Receive(_) => exit_codes::RECEIVE,
            Self::Replay(_) => exit_codes::REPLAY,
            Self::Stream(Stream::Listen(_)) => exit_codes::LISTEN,
            Self::Stream(Stream::Send(_)) => exit_codes::SEND,
        }
    }
}
