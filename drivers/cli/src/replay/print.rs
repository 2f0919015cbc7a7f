//! `--print`: what happens, line by line.

use std::io::{self, BufWriter, Write};
use std::ops::RangeInclusive;

use gapless_core::journal::Observer;
use gapless_core::journal::replayer::{Place, ReplayStep};

use crate::args::Replay;
use crate::failure::Failure;
use crate::io::patience::{Patience, Patient};
use crate::io::standard;
use crate::stop::Stop;

/// Prints what happens within some events of each machine.
pub(super) struct Printer<'a> {
    events: RangeInclusive<u64>,
    output: BufWriter<Patient<standard::Output>>,
    unwritten: fn(&io::Error) -> Failure,
    failure: Option<io::Error>,
    /// Asked for when nobody reads any more.
    stop: &'a Stop,
}

impl<'a> Printer<'a> {
    /// On standard output, or on standard error where the other has a JSON object.
    pub(super) fn new(args: &Replay, stop: &'a Stop) -> Self {
        let (output, unwritten): (_, fn(&io::Error) -> Failure) = match args.json {
            true => (standard::Output::Errors, Failure::standard_error),
            false => (standard::Output::Standard, Failure::standard_output),
        };
        let output = Patient::new(output, Patience::new(stop));
        let events = args.from..=args.to.unwrap_or(u64::MAX);
        Self { events, output: BufWriter::new(output), unwritten, failure: None, stop }
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// It cannot be written, or nobody reads it when somebody wants an end.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let written = self.failure.map_or_else(|| self.output.flush(), Err);
        written.map_err(|error| match (error.kind(), self.stop.signal()) {
            (io::ErrorKind::TimedOut, Some(_)) => {
                self.stop.interrupted("nobody reads what is printed")
            }
            _ => (self.unwritten)(&error),
        })
    }

    fn write(&mut self, place: Place, step: ReplayStep<'_>) -> io::Result<()> {
        let Place { machine, name, event, now } = place;
        let out = &mut self.output;
        if matches!(step, ReplayStep::EventDigest { .. }) {
            return Ok(());
        }
        write!(out, "{now} {name} {machine} #{event} ")?;
        match step {
            ReplayStep::Made => writeln!(out, "made"),
            ReplayStep::Event(event) => writeln!(out, "event {event:?}"),
            ReplayStep::Timeout => writeln!(out, "timeout"),
            ReplayStep::Call(call) => writeln!(out, "call {call:?}"),
            ReplayStep::Answer(answer) => writeln!(out, "  returns {answer:?}"),
            ReplayStep::Command(command) => writeln!(out, "  command {command:?}"),
            ReplayStep::Recorded(command) => writeln!(out, "  recorded instead {command:?}"),
            ReplayStep::EventDigest { .. } => Ok(()),
        }
    }
}

impl Observer for Printer<'_> {
    fn happens(&mut self, place: Place, step: ReplayStep<'_>) {
        if !self.events.contains(&place.event) || self.failure.is_some() {
            return;
        }
        if let Err(error) = self.write(place, step) {
            self.failure = Some(error);
            self.stop.ask();
        }
    }
}
