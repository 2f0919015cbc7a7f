//! `gapless replay`: what was recorded, once more, as fast as it goes.

mod difference;
mod print;
mod report;
mod source;

use std::cell::Cell;
use std::time::Instant;

use gapless_core::cache::Cache;
use gapless_core::demux::Demux;
use gapless_core::journal::replayer::{Ending, Error, Fault, Place, ReplayStep};
use gapless_core::journal::{Damage, Observer, Replayer};
use gapless_core::publisher::Publisher;
use gapless_core::receiver::Receiver;
use gapless_core::retransmitter::Retransmitter;
use gapless_core::transmitter::Transmitter;

use crate::args::Replay;
use crate::failure::{Failure, Outcome};
use crate::io::patience::{Patience, Patient, say};
use crate::io::standard;
use crate::progress::Progress;
use crate::stop::Stop;
use crate::text;
use difference::{Account, Differs};
use print::Printer;
use report::Report;
use source::{Journal, Reader};

/// Replays as the command line says.
///
/// # Errors
/// The journal cannot be read, or is damaged; or what is printed cannot be.
pub(crate) fn run(args: &Replay, stop: &Stop) -> Result<Outcome, Failure> {
    args.check()?;
    let journal = Journal::new(&args.journal)?;
    let mut onlookers = Onlookers {
        printer: args.print.then(|| Printer::new(args, stop)),
        account: (args.verify && !journal.can_be_read_again()).then(Account::of_every_event),
    };
    let mut progress = if args.print { Progress::hidden() } else { journal.progress() };
    let mut replayer = replayer(args.verify);
    let started = Instant::now();
    let read = Cell::new(0);
    let source = Reader::new(&journal, &read, &mut progress, stop)?;
    let result = replayer.replay(source, &mut onlookers);
    let elapsed = started.elapsed();
    progress.clear();
    if let Some(printer) = onlookers.printer {
        printer.finish()?;
    }

    let mut report = Report::new(&replayer, elapsed);
    let outcome = match result {
        // Nothing was compared: a run of which nothing is left must not pass as one that verifies.
        Ok(Ending { bytes: 0, torn }) => {
            let what = format!("journal {}: no whole block is in it", journal.name);
            (report.torn_bytes, report.error) = (torn, Some(what.clone()));
            Err(Failure::content(what).advise("was the program killed before it wrote one?"))
        }
        Ok(Ending { bytes, torn }) => {
            (report.bytes, report.torn_bytes, report.verified) = (bytes, torn, args.verify);
            Ok(Outcome::Complete)
        }
        Err(Error::Source(_)) if stop.is_asked() => {
            (report.bytes, report.interrupted) = (read.get(), true);
            Ok(stop.outcome())
        }
        Err(Error::Source(error)) => return Err(journal.unread(&error)),
        Err(Error::At { offset, fault: Fault::Differs { place, difference } }) => {
            let account = match onlookers.account {
                Some(account) => account,
                None => again(&journal, place, stop)?,
            };
            report.bytes = offset;
            report.difference = Some(Differs::new(place, offset, &difference, account));
            Ok(Outcome::Differs)
        }
        Err(Error::At { offset, fault }) => {
            let what = format!("journal {}: at byte {offset}: {fault}", journal.name);
            (report.bytes, report.error) = (offset, Some(what.clone()));
            let failure = Failure::content(what);
            Err(match (replayer.machines().next(), fault) {
                (Some(_), _) => failure.advise("what comes before was replayed"),
                (None, Fault::Block(Damage::Magic)) => failure
                    .advise("is it a journal? `--journal FILE` of the other commands makes one"),
                (None, _) => failure,
            })
        }
    };
    for complaint in report.complaints(&journal.name) {
        say(complaint);
    }
    let result = if args.json { text::json(&report) } else { report.table() };
    let mut output = Patient::new(standard::Output::Standard, Patience::new(stop));
    match outcome {
        Ok(outcome) => output.conclude(&result, outcome),
        // The report has it.
        Err(failure) => {
            output.conclude(&result, failure.outcome).and(Err(Failure::in_json(failure)))
        }
    }
}

/// A replayer of the machines that this program knows.
fn replayer(verify: bool) -> Replayer<'static> {
    let replayer = if verify { Replayer::verifying() } else { Replayer::lenient() };
    replayer
        .knowing::<Receiver>()
        .knowing::<Publisher>()
        .knowing::<Transmitter>()
        .knowing::<Retransmitter>()
        .knowing::<Cache>()
        .knowing::<Demux>()
}

/// Replays again up to an event that differs, and looks what followed from it: to look at every event
/// the first time would take several times as long.
fn again(journal: &Journal, place: Place, stop: &Stop) -> Result<Account, Failure> {
    let (mut account, mut progress) = (Account::of(place), Progress::hidden());
    let read = Cell::new(0);
    let source = Reader::new(journal, &read, &mut progress, stop)?;
    match replayer(true).replay(source, &mut account) {
        Err(Error::Source(error)) if !stop.is_asked() => Err(journal.unread(&error)),
        _ => Ok(account),
    }
}

/// The observers of a replay.
struct Onlookers<'a> {
    printer: Option<Printer<'a>>,
    account: Option<Account>,
}

impl Observer for Onlookers<'_> {
    fn happens(&mut self, place: Place, step: ReplayStep<'_>) {
        if let Some(printer) = &mut self.printer {
            printer.happens(place, step);
        }
        if let Some(account) = &mut self.account {
            account.happens(place, step);
        }
    }
}
