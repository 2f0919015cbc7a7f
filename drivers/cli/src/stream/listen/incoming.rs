//! One stream that was taken, from its first byte to its end: what is done with what comes of it, and when nothing
//! more of it is read.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use gapless_core::demux::Tag;
use gapless_quic::{Endpoint, Refusal, StreamId};

use super::admission::Idle;
use super::command::Answer;
use super::ended::End;
use super::queue::Client;
use super::reaper::Ask;
use super::target::Target;
use crate::stream::codes;

/// A stream that was taken and has not ended.
pub(super) struct Incoming {
    pub(super) stream: StreamId,
    /// The key that its threads raise.
    pub(super) key: u64,
    pub(super) tag: Tag,
    pub(super) peer: SocketAddr,
    pub(super) client: Client,
    pub(super) is_bidirectional: bool,
    pub(super) begun: Instant,
    /// When its turn came.
    pub(super) turn: Option<Instant>,
    pub(super) progress: Moved,
    /// Whether nothing of it is read now.
    pub(super) is_paused: bool,
    /// Bytes that came.
    pub(super) bytes: u64,
    /// Whether all of it came.
    pub(super) is_whole: bool,
    pub(super) target: Target,
}

/// How much of a stream its client has given and taken lately.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moved {
    /// When it was enough, or nothing could be given or taken.
    since: Instant,
    /// Bytes since then.
    bytes: u64,
}

impl Moved {
    /// Bytes that are enough: who gives one at a time keeps others waiting as who gives none.
    const ENOUGH: u64 = 64 << 10;

    /// From now on its client is waited for.
    pub(super) const fn from(now: Instant) -> Self {
        Self { since: now, bytes: 0 }
    }

    /// Its client gave or took so many bytes.
    pub(super) fn by(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes as u64;
        if self.bytes >= Self::ENOUGH {
            *self = Self::from(now);
        }
    }
}

/// The next step of a stream.
#[derive(Debug)]
pub(super) enum Step {
    /// Nothing.
    Idle,
    /// It goes on; and its command is to be asked whether it has ended.
    Continue(Option<Ask>),
    /// It has ended.
    End(End),
    /// It has ended, and no other can begin: standard output takes nothing more.
    StdoutClosed(io::Error),
}

impl Incoming {
    /// Its times, if it has its turn and its client lets it wait.
    pub(super) fn idle(&self) -> Option<Idle> {
        let is_read = !self.is_whole && !self.is_paused;
        let is_idle = match &self.target {
            Target::Waiting(_) | Target::Output(_, Some(_)) => false,
            Target::Part(_) | Target::Output(_, None) => is_read,
            Target::Command(command) => is_read || !command.is_answer_acknowledged(),
        };
        let Self { key, client, turn, progress, .. } = *self;
        is_idle.then_some(Idle { key, client, turn: turn?, since: progress.since })
    }

    /// Its turn has come: what came of it before.
    pub(super) fn begin(&mut self, target: Target, now: Instant) -> Bytes {
        (self.turn, self.progress) = (Some(now), Moved::from(now));
        match std::mem::replace(&mut self.target, target) {
            Target::Waiting(first) => first,
            _ => Bytes::new(),
        }
    }

    /// Lets what comes of it wait.
    pub(super) fn pause(&mut self, endpoint: &mut Endpoint) {
        self.is_paused = true;
        // One that is over needs nothing more read, here and below.
        let _ = endpoint.pause(self.stream);
    }

    /// Takes what comes of it again.
    pub(super) fn resume(&mut self, endpoint: &mut Endpoint, now: Instant) {
        if std::mem::take(&mut self.is_paused) {
            self.progress = Moved::from(now);
        }
        let _ = endpoint.resume(self.stream);
    }

    /// Does what can be done where its bytes go to a pipe or a command.
    pub(super) fn advance(&mut self, endpoint: &mut Endpoint, now: Instant) -> Step {
        let (has_room, ask) = match &mut self.target {
            Target::Waiting(_) | Target::Part(_) => return Step::Idle,
            Target::Output(sink, broken_off) => match sink.result() {
                Some(Err(error)) => return Step::StdoutClosed(error),
                Some(Ok(())) if self.is_whole || broken_off.is_some() => {
                    return Step::End(broken_off.take().unwrap_or(End::Complete));
                }
                _ => (sink.has_room(), None),
            },
            Target::Command(_) => match self.advance_command(endpoint, now) {
                Ok(went) => went,
                Err(end) => return Step::End(end),
            },
        };
        match has_room {
            true => self.resume(endpoint, now),
            false => self.pause(endpoint),
        }
        Step::Continue(ask)
    }

    /// Sends of its command's answer what there is: whether the command has room for more, and when to ask whether it has ended.
    ///
    /// # Errors
    /// How it ended.
    fn advance_command(
        &mut self,
        endpoint: &mut Endpoint,
        now: Instant,
    ) -> Result<(bool, Option<Ask>), End> {
        let Self { stream, progress, is_whole, is_bidirectional, target, .. } = self;
        let Target::Command(command) = target else { return Ok((false, None)) };
        let answer = command.answer(|bytes| {
            let written = endpoint.write(*stream, bytes)?;
            progress.by(written, now);
            Ok::<usize, Refusal>(written)
        });
        let fed = command.input.result();
        let is_fed = fed.is_some();
        let has_enough = matches!(fed, Some(Err(_))) && !*is_whole;
        if has_enough && *is_bidirectional {
            // It reads no more: what comes would be for nobody. Whether that is well its answer says.
            let _ = endpoint.stop(*stream, codes::ENOUGH);
        }
        let has_room = command.input.has_room() && !has_enough;
        // As long as somebody holds its output it is not asked how it ended.
        if answer == Answer::Open {
            return Ok((has_room, None));
        }
        match command.status().map_err(End::CannotStore)? {
            // A reset would overtake the answer.
            Some(status) if !status.success() && !command.is_answer_acknowledged() => {
                Ok((has_room, Some(Ask::Soon)))
            }
            Some(status) => Err(match (status.success(), *is_whole) {
                (false, _) => End::CommandFailed(status),
                (true, true) => End::Complete,
                (true, false) => End::Enough,
            }),
            None => Ok((has_room, Some(if is_fed { Ask::Soon } else { Ask::Seldom }))),
        }
    }

    /// Nobody wants the answer to it; whether there was to be one.
    pub(super) fn unanswered(&mut self) -> bool {
        let Target::Command(command) = &mut self.target else { return false };
        command.unanswered();
        true
    }

    /// How it ends, for this reason or an earlier one, unless it has to wait for what is being written to standard
    /// output: the next one must not begin in the middle of that.
    pub(super) fn close(&mut self, endpoint: &mut Endpoint, end: End) -> Option<End> {
        let Target::Output(sink, broken_off) = &mut self.target else { return Some(end) };
        if !end.is_broken_off() {
            return Some(end);
        }
        if broken_off.is_none() && sink.end().is_ok() && sink.result().is_none() {
            end.send(endpoint, self.stream);
            *broken_off = Some(end);
            return None;
        }
        // The first cause is the one to report.
        match broken_off {
            Some(_) if sink.result().is_none() => None,
            first => Some(first.take().unwrap_or(end)),
        }
    }
}
