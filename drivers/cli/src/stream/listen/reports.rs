//! The reports of a listener while it runs, a line each: on standard output, of streams that went elsewhere, and
//! on standard error. Threads write it, so that who does not read it keeps only streams waiting, and not the
//! loop.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::ended::Taken;
use crate::args::Listen;
use crate::failure::{Failure, Outcome};
use crate::io::signals::Signals;
use crate::io::sink::Sink;
use crate::io::standard::Output;
use crate::progress::Progress;
use crate::stop::Stop;
use crate::stream::event_loop::EventLoop;

/// The key that the threads raise: those of streams are numbered from 1.
const KEY: u64 = 0;
/// How long somebody who wants an end waits for who does not read what is reported.
const UNREAD: Duration = Duration::from_secs(3);
/// How often the same is reported at most.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// Events that are to be reported.
#[derive(Default)]
pub(super) struct Pending {
    /// Streams that have ended.
    pub(super) ended: VecDeque<Taken>,
    /// Why a client could not connect, the last of them.
    pub(super) unconnected: Option<String>,
    /// Why streams wait though there are turns.
    pub(super) scarce: Option<String>,
    /// How many files that are not whole were removed.
    pub(super) removed_parts: u64,
}

/// Reports what happens, and keeps what went wrong first.
pub(super) struct Reports {
    /// Of streams; `None` where standard output has something else.
    streams: Option<Lines>,
    notes: Lines,
    progress: Progress,
    is_json: bool,
    keep_parts: u16,
    outcome: Outcome,
    /// When a client that could not connect was last reported.
    unconnected_at: Option<Instant>,
    /// How many removed files were reported, and when.
    removed: (u64, Option<Instant>),
}

impl Reports {
    /// As the command line says.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn new(args: &Listen, signals: &Signals) -> Result<Self, Failure> {
        let (output, errors) = (Output::Standard, Output::Errors);
        let is_aside = args.to_standard_output();
        let streams = (!is_aside).then(|| Lines::new(output, signals)).transpose();
        let streams = streams.map_err(|error| Failure::standard_output(&error))?;
        let notes = Lines::new(errors, signals)
            .map_err(|error| Failure::io("write to", "standard error", &error))?;
        Ok(Self {
            streams,
            notes,
            progress: Progress::beside_bytes(None, is_aside),
            is_json: args.json,
            keep_parts: args.keep_parts,
            outcome: Outcome::Complete,
            unconnected_at: None,
            removed: (0, None),
        })
    }

    /// The first thing that went wrong.
    pub(super) const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Something went wrong, perhaps not first.
    pub(super) fn note_outcome(&mut self, outcome: Outcome) {
        if self.outcome == Outcome::Complete {
            self.outcome = outcome;
        }
    }

    /// Whether nobody reads what is reported: no more may come.
    pub(super) fn are_full(&self) -> bool {
        !self.notes.have_room() || self.streams.as_ref().is_some_and(|lines| !lines.have_room())
    }

    /// Reports a line on standard error, if there is room for it. That nobody can read it is no reason to end.
    pub(super) fn note(&mut self, line: impl fmt::Display) {
        if self.notes.have_room() {
            let _ = self.notes.push(format!("{line}\n"), &self.progress);
        }
    }

    /// Reports what is pending, as far as there is room.
    ///
    /// # Errors
    /// Nobody reads standard output any more, or it cannot be written.
    pub(super) fn emit(&mut self, pending: &mut Pending) -> Result<(), Failure> {
        while !self.are_full()
            && let Some(taken) = pending.ended.pop_front()
        {
            self.ended(&taken)?;
        }
        if let Some(why) = pending.unconnected.take()
            && is_due(self.unconnected_at)
        {
            self.unconnected_at = Some(Instant::now());
            self.note(format_args!("a client could not connect: {why}"));
        }
        if let Some(why) = pending.scarce.take() {
            self.note(format_args!("streams wait: {why}"));
        }
        let (reported, at) = self.removed;
        let removed = pending.removed_parts - reported;
        if removed > 0 && is_due(at) {
            self.removed = (pending.removed_parts, Some(Instant::now()));
            let most = self.keep_parts;
            self.note(format_args!("removed {removed} .part: --keep-parts {most}"));
        }
        let _ = self.notes.write_out();
        let written = self.streams.as_mut().map_or(Ok(()), Lines::write_out);
        written.map_err(|error| Failure::standard_output(&error))
    }

    /// Reports a stream that has ended.
    fn ended(&mut self, taken: &Taken) -> Result<(), Failure> {
        self.note_outcome(taken.outcome());
        let is_fine = taken.outcome() == Outcome::Complete;
        let mut note = if is_fine { String::new() } else { taken.line() };
        let report = match self.is_json {
            true => taken.json(),
            false if is_fine => taken.line(),
            false => String::new(),
        };
        match &mut self.streams {
            None => note += &report,
            Some(streams) if !report.is_empty() => {
                let pushed = streams.push(report, &self.progress);
                pushed.map_err(|error| Failure::standard_output(&error))?;
            }
            Some(_) => {}
        }
        if !note.is_empty() {
            self.note(note.trim_end());
        }
        Ok(())
    }

    /// Shows how far it is.
    pub(super) fn show(&mut self, bytes: u64, open: usize) {
        self.progress.show(bytes, || match open {
            1 => "1 stream".into(),
            open => format!("{open} streams"),
        });
    }

    /// Reports all that is left, for as long as it takes, unless somebody wants an end.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub(super) fn finish(
        &mut self,
        event_loop: &mut EventLoop,
        pending: &mut Pending,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let reported = self.finish_streams(event_loop, pending, stop);
        let mut until = None;
        while matches!(self.notes.end(), Ok(false)) && !is_late(&mut until, stop) {
            event_loop.rest()?;
        }
        self.progress.clear();
        reported
    }

    fn finish_streams(
        &mut self,
        event_loop: &mut EventLoop,
        pending: &mut Pending,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let mut until = None;
        loop {
            self.emit(pending)?;
            let ended = self.streams.as_mut().filter(|_| pending.ended.is_empty()).map(Lines::end);
            let ended = ended.unwrap_or(Ok(pending.ended.is_empty()));
            if ended.map_err(|error| Failure::standard_output(&error))? {
                return Ok(());
            }
            if is_late(&mut until, stop) {
                self.note("error: nobody reads standard output: not all is told there");
                self.note_outcome(Outcome::Io);
                return Ok(());
            }
            event_loop.rest()?;
        }
    }
}

/// Whether something may be reported that was last reported then.
fn is_due(at: Option<Instant>) -> bool {
    at.is_none_or(|at| at.elapsed() >= REPORT_EVERY)
}

/// Whether somebody wants an end, and has waited for long enough: `until` then, which is set here.
fn is_late(until: &mut Option<Instant>, stop: &Stop) -> bool {
    let now = Instant::now();
    stop.is_asked() && now >= *until.get_or_insert(now + UNREAD)
}

/// Lines of standard output or standard error.
struct Lines {
    output: Output,
    /// `None` where they go to a terminal, of which the line that changes must make room for them.
    sink: Option<Sink>,
}

impl Lines {
    fn new(output: Output, signals: &Signals) -> io::Result<Self> {
        let is_terminal = match output {
            Output::Standard => io::stdout().is_terminal(),
            Output::Errors => io::stderr().is_terminal(),
        };
        let sink = (!is_terminal).then(|| Sink::standard(output, 0, KEY, signals.clone()));
        Ok(Self { output, sink: sink.transpose()? })
    }

    /// Whether there is room for one more.
    fn have_room(&self) -> bool {
        self.sink.as_ref().is_none_or(Sink::has_room)
    }

    /// One more, with its end, for which there is room.
    fn push(&mut self, line: String, progress: &Progress) -> io::Result<()> {
        match (&mut self.sink, self.output) {
            (Some(sink), _) => sink.push(line.into()).map(drop),
            (None, Output::Standard) => {
                progress.suspended(|| Output::Standard.write_all(line.as_bytes()))
            }
            (None, Output::Errors) => {
                progress.report(line.trim_end());
                Ok(())
            }
        }
    }

    /// Hands on what was given.
    fn write_out(&mut self) -> io::Result<()> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        sink.write_out()?;
        sink.result().unwrap_or(Ok(()))
    }

    /// None are given any more; whether all are written.
    fn end(&mut self) -> io::Result<bool> {
        let Some(sink) = &mut self.sink else { return Ok(true) };
        sink.end()?;
        Ok(sink.result().transpose()?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ended::End;
    use super::*;
    use crate::io::file::Gathered;
    use std::fs::File;
    use std::io::{Read, Seek};

    /// Lines that go to a file.
    fn lines(output: Output, file: &File) -> Lines {
        let sink = Sink::File(Gathered::new(file.try_clone().unwrap()));
        Lines { output, sink: Some(sink) }
    }

    fn written(mut file: File) -> String {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    /// The reports of streams that ended so: on standard output, on standard error, and as the outcome.
    fn reported(is_aside: bool, ends: &[End]) -> (String, String, Outcome) {
        let [streams, notes] = [0; 2].map(|_| tempfile::tempfile().unwrap());
        let mut reports = Reports {
            streams: (!is_aside).then(|| lines(Output::Standard, &streams)),
            notes: lines(Output::Errors, &notes),
            progress: Progress::hidden(),
            is_json: false,
            keep_parts: 7,
            outcome: Outcome::Complete,
            unconnected_at: None,
            removed: (0, None),
        };
        let peer = ([127, 0, 0, 1], 9).into();
        let taken = |end| Taken::new(b"x", peer, 3, end, None, Duration::ZERO);
        let ended = ends.iter().map(taken).collect();
        let mut pending = Pending { ended, removed_parts: 2, ..Pending::default() };
        reports.emit(&mut pending).unwrap();
        // The same is not reported again.
        reports.emit(&mut pending).unwrap();
        (written(streams), written(notes), reports.outcome())
    }

    #[test]
    fn streams_that_are_complete_are_reported_apart_from_others_and_the_first_failure_counts() {
        let ends = [End::Complete, End::TooLong, End::CannotStore(io::ErrorKind::Other.into())];
        let (streams, notes, outcome) = reported(false, &ends);
        assert_eq!(streams, "x from 127.0.0.1:9: 3 bytes in 0.00 s, complete\n");
        let notes: Vec<&str> = notes.lines().collect();
        assert!(notes[0].ends_with("longer than --max-bytes"), "{notes:?}");
        assert!(notes[1].contains("it cannot be written"), "{notes:?}");
        assert_eq!(notes[2..], ["removed 2 .part: --keep-parts 7"]);
        assert_eq!(outcome, Outcome::Lost);
    }

    #[test]
    fn where_standard_output_has_the_streams_all_are_reported_on_standard_error() {
        let (streams, notes, outcome) = reported(true, &[End::Complete, End::Enough]);
        assert_eq!((&*streams, outcome), ("", Outcome::Complete));
        assert!(notes.starts_with("x from 127.0.0.1:9: 3 bytes in 0.00 s, complete\n"), "{notes}");
    }
}
