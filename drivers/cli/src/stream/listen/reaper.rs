//! Commands that may be about to end, and those that were killed: when to ask for how they ended.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use gapless_quic::StreamId;

use super::command::Killed;

/// How often a command is asked whether it has ended.
const REAP: Duration = Duration::from_millis(5);
/// The same, of one that has no output and still gets input.
const SELDOM: Duration = Duration::from_millis(100);

/// How soon a command is to be asked whether it has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    Soon,
    Seldom,
}

/// Asks commands whether they have ended.
#[derive(Default)]
pub(super) struct Reaper {
    /// Streams whose command's input or output has ended.
    ending: BTreeSet<StreamId>,
    to_reap: Vec<Killed>,
    at: Option<Instant>,
}

impl Reaper {
    /// A stream's command may end.
    pub(super) fn expect(&mut self, stream: StreamId, ask: Ask, now: Instant) {
        self.ending.insert(stream);
        self.wake(now + if ask == Ask::Soon { REAP } else { SELDOM });
    }

    /// A stream is over.
    pub(super) fn forget(&mut self, stream: StreamId) {
        self.ending.remove(&stream);
    }

    /// A command was killed.
    pub(super) fn reap(&mut self, mut killed: Killed, now: Instant) {
        if !killed.is_gone() {
            self.to_reap.push(killed);
            self.wake(now + REAP);
        }
    }

    /// When there is something to ask.
    pub(super) const fn poll_timeout(&self) -> Option<Instant> {
        self.at
    }

    /// The streams whose commands are to be asked now.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> BTreeSet<StreamId> {
        self.at = None;
        self.to_reap.retain_mut(|killed| !killed.is_gone());
        if !self.to_reap.is_empty() {
            self.wake(now + REAP);
        }
        std::mem::take(&mut self.ending)
    }

    fn wake(&mut self, at: Instant) {
        self.at = Some(self.at.map_or(at, |other| other.min(at)));
    }
}
