//! What a listener tells while it runs, a line each: on standard output, of streams that went elsewhere, and
//! on standard error. Threads write it, so that who does not read it keeps only streams waiting, and not the
//! loop.

use std::fmt;
use std::io::{self, IsTerminal};

use crate::failure::Failure;
use crate::io::signals::Signals;
use crate::io::sink::Sink;
use crate::io::standard;
use crate::progress::Progress;

/// What the threads are called: streams are numbered from 1.
const KEY: u64 = 0;

/// What is told on standard output.
pub(super) struct Reports {
    /// `None` where they go to a terminal, of which the line that changes must make room for them; or where
    /// there are none.
    sink: Option<Sink>,
}

impl Reports {
    /// To standard output, if there `are` any.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn new(are: bool, signals: Signals) -> Result<Self, Failure> {
        let sink = (are && !io::stdout().is_terminal())
            .then(|| Sink::standard(standard::Output::Standard, 0, KEY, signals))
            .transpose()
            .map_err(|error| unwritten(&error))?;
        Ok(Self { sink })
    }

    /// Whether there is room for one more.
    pub(super) fn have_room(&self) -> bool {
        self.sink.as_ref().is_none_or(Sink::has_room)
    }

    /// One more, for which there is room.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn give(&mut self, text: String, progress: &Progress) -> Result<(), Failure> {
        match &mut self.sink {
            Some(sink) => sink.push(text.into()).map(drop).map_err(|error| unwritten(&error)),
            None => progress.suspended(|| standard::print(&text)),
        }
    }

    /// Hands on what was given.
    ///
    /// # Errors
    /// Nobody reads it, or it cannot be written.
    pub(super) fn write_out(&mut self) -> Result<(), Failure> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        let result = sink.write_out().and_then(|()| match sink.result() {
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        });
        result.map_err(|error| unwritten(&error))
    }

    /// None are given any more; whether all are written.
    ///
    /// # Errors
    /// As [`write_out`](Self::write_out).
    pub(super) fn end(&mut self) -> Result<bool, Failure> {
        let Some(sink) = &mut self.sink else { return Ok(true) };
        let result = sink.end().and_then(|()| sink.result().transpose());
        result.map(|written| written.is_some()).map_err(|error| unwritten(&error))
    }
}

fn unwritten(error: &io::Error) -> Failure {
    Failure::standard_output(error)
}

/// What is told on standard error. That nobody can hear it is no reason to end.
pub(super) struct Notes {
    /// `None` where they go to a terminal, as in [`Reports`].
    sink: Option<Sink>,
}

impl Notes {
    /// To standard error.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn new(signals: Signals) -> Result<Self, Failure> {
        let sink = (!io::stderr().is_terminal())
            .then(|| Sink::standard(standard::Output::Errors, 0, KEY, signals))
            .transpose()
            .map_err(|error| Failure::io("write to", "standard error", &error))?;
        Ok(Self { sink })
    }

    /// Whether there is room for some more.
    pub(super) fn have_room(&self) -> bool {
        self.sink.as_ref().is_none_or(Sink::has_room)
    }

    /// One more, if there is room for it.
    pub(super) fn tell(&mut self, line: impl fmt::Display, progress: &Progress) {
        if !self.have_room() {
            return;
        }
        match &mut self.sink {
            Some(sink) => drop(sink.push(format!("{line}\n").into())),
            None => progress.tell(line),
        }
    }

    /// Hands on what was told.
    pub(super) fn write_out(&mut self) {
        if let Some(sink) = &mut self.sink {
            let _ = sink.write_out();
        }
    }

    /// Nothing is told any more; whether all is written that can be.
    pub(super) fn end(&mut self) -> bool {
        self.sink.as_mut().is_none_or(|sink| sink.end().is_err() || sink.result().is_some())
    }
}
