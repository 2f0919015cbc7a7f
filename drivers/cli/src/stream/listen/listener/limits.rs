//! Limits of a listener that have to do with time and with what the system has: clients that let others wait,
//! commands that take too long, and descriptors, processes and threads that are used up.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use gapless_quic::StreamId;
use gapless_quic::tagged::Streams;

use super::super::incoming::{End, Target};
use super::super::scarcity;
use super::{Listener, Output};

/// How often limits of time are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How soon a stream is tried again that found no descriptor, process or thread.
const AGAIN: Duration = Duration::from_millis(200);
/// How often that is told at most.
const TOLD: Duration = Duration::from_secs(60);
/// How often the time that a stream may be idle it may have its turn, if its client has too many and another
/// one has none.
const TURN: u32 = 10;

impl Listener {
    /// Ends what takes too long, and lets streams begin that found no descriptor, process or thread. To be called
    /// some times a second.
    pub(in super::super) fn look_at_limits(&mut self, streams: &mut Streams<'_>) {
        let now = streams.now;
        if self.look_at.is_some_and(|at| now < at) {
            return;
        }
        self.look_at = Some(now + LOOK);
        if let Some(limit) = self.settings.exec_timeout {
            self.end_slow_commands(streams, limit);
        }
        while self.are_turns_out()
            && let Some((stream, end)) = self.to_give_way(now)
        {
            self.end(streams.endpoint, stream, end);
            self.scarce_until = None;
            self.next_in_turn(streams);
        }
        self.next_in_turn(streams);
    }

    fn end_slow_commands(&mut self, streams: &mut Streams<'_>, limit: Duration) {
        let is_slow = |turn: Instant| streams.now.saturating_duration_since(turn) >= limit;
        let slow = self.incoming.iter().filter(|(_, incoming)| {
            matches!(incoming.target, Target::Command(_)) && incoming.turn.is_some_and(is_slow)
        });
        let slow: Vec<StreamId> = slow.map(|(stream, _)| *stream).collect();
        for stream in slow {
            self.end(streams.endpoint, stream, End::CommandTooSlow);
        }
    }

    /// Whether streams wait for who has turns.
    fn are_turns_out(&self) -> bool {
        let are_out = self.queue.active() >= self.settings.parallel || self.scarce_until.is_some();
        are_out && self.deaf.is_none() && !self.is_unheard && self.queue.is_wanted()
    }

    /// The stream that is to give its turn to another one, and as what it ends.
    fn to_give_way(&self, now: Instant) -> Option<(StreamId, End)> {
        let idle = self.longest_idle(now).map(|stream| (stream, End::Idle));
        idle.or_else(|| self.longest_of_too_many(now).map(|stream| (stream, End::TurnOver)))
    }

    /// The stream that is waited for and has had its turn for longest, too long, of a client that has too many.
    fn longest_of_too_many(&self, now: Instant) -> Option<StreamId> {
        let limit = self.settings.stream_timeout.saturating_mul(TURN);
        let long = self.incoming.iter().filter_map(|(stream, incoming)| {
            let turn = incoming.turn?;
            (now.saturating_duration_since(turn) >= limit
                && incoming.idle_since().is_some()
                && self.queue.has_too_many(incoming.client))
            .then_some((turn, *stream))
        });
        long.min().map(|(_, stream)| stream)
    }

    /// The stream whose client has let it wait for longest, too long, and should rather give its turn to one that
    /// waits.
    fn longest_idle(&self, now: Instant) -> Option<StreamId> {
        let limit = self.settings.stream_timeout;
        let idle = self.incoming.iter().filter_map(|(stream, incoming)| {
            let since = incoming.idle_since()?;
            (now.saturating_duration_since(since) >= limit).then_some((
                since,
                *stream,
                incoming.client,
            ))
        });
        let mut idle: Vec<_> = idle.collect();
        idle.sort_unstable_by_key(|(since, ..)| *since);
        let mut wanted = BTreeMap::new();
        let found = idle.into_iter().find(|(_, _, client)| {
            *wanted.entry(client.connection).or_insert_with(|| self.queue.is_wanted_of(*client))
        });
        found.map(|(_, stream, _)| stream)
    }

    /// Whether there was no descriptor, process or thread for a stream just now.
    pub(super) fn is_scarce(&mut self, now: Instant) -> bool {
        self.scarce_until = self.scarce_until.filter(|until| now < *until);
        self.scarce_until.is_some()
    }

    /// A stream whose turn came could not begin: it waits on if what it needs is only used up.
    pub(super) fn not_begun(
        &mut self,
        streams: &mut Streams<'_>,
        stream: StreamId,
        error: io::Error,
    ) {
        let Some(incoming) = self.incoming.get(&stream) else { return };
        let (key, client) = (incoming.key, incoming.client);
        self.queue.put_back(key, client);
        if let Some(words) = scarcity::words(&error) {
            self.scarce_until = Some(streams.now + AGAIN);
            let is_due = |told: Instant| streams.now.saturating_duration_since(told) >= TOLD;
            if self.scarce_told.is_none_or(is_due) {
                self.scarce_told = Some(streams.now);
                self.scarce = Some(words);
            }
            return;
        }
        let end = match self.settings.output {
            Output::Command(_) => End::CannotStart(error),
            Output::Standard | Output::Folder(_) => End::CannotStore(error),
        };
        self.end(streams.endpoint, stream, end);
    }
}
