//! What is told on standard output of streams that went elsewhere, a line each. A thread writes it, so that
//! who does not read it keeps only streams waiting, and not the loop.

use std::io::{self, IsTerminal};

use super::pipes::Signals;
use super::sink::Sink;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::summary;

/// What the thread is called: streams are numbered from 1.
const KEY: u64 = 0;

/// Where reports go.
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
            .then(|| Sink::standard_output(KEY, signals))
            .transpose()
            .map_err(|error| unwritten(&error))?;
        Ok(Self { sink })
    }

    /// Whether there is room for one more.
    pub(super) fn have_room(&mut self) -> bool {
        self.sink.as_mut().is_none_or(Sink::go_on)
    }

    /// One more, for which there is room.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn give(&mut self, text: String, progress: &Progress) -> Result<(), Failure> {
        match &mut self.sink {
            Some(sink) => sink.push(text.into()).map(drop).map_err(|error| unwritten(&error)),
            None => progress.suspended(|| summary::print(&text)),
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
    Failure::io("write to", "standard output", error)
}
