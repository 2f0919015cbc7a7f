//! From a feed to a track: what a [`Receiver`](crate::receiver::Receiver) says becomes frames of
//! groups in a [`Cache`], always the same frame for the same message, whoever receives it.
//!
//! Message `n` of a session is frame `(n-1) mod K` of group `(n-1) div K`, and each session has a track
//! of its own ([`Config::track_name`]). So the groups of two relays of one feed differ by what each
//! has, and by nothing else, and a reader may go on at another relay, or after a restart.
//!
//! | what the receiver says | what the track gets |
//! |---|---|
//! | a message, the next one | a frame that is held |
//! | messages are lost | frames that are [`Lost`](crate::cache::Missing::Lost) |
//! | it goes on further ahead: it was advanced, or made anew | frames that are [`Absent`](crate::cache::Missing::Absent) |
//! | the session begins within a group | the frames before are absent |
//! | a live start, of which the group cannot be had whole | nothing before the next group ([`Grouping::start_live`]) |
//! | nothing of a group is there | no group: its number is skipped |
//! | a message again, or at last | what is missing becomes held; what is held is compared and stays |
//! | the session ends | the last group and the track are finished |
//!
//! With [`Delivery::Arrival`](crate::receiver::Delivery::Arrival) what is behind an open gap is published before the gap is
//! settled: the gap's frames are absent until they come. A quick reader gets them reported as
//! absent, and that report is final, so whoever wants readers to see repairs lets the receiver deliver in order.
//!
//! # Steps
//!
//! A [`Grouping`] is a part of whoever owns receiver and cache, and not a [`Machine`](crate::Machine): it
//! holds no payload, waits for nothing and has no time of its own. An input becomes [`Steps`], which whoever
//! made them keeps and takes one by one with [`Grouping::step`]: on the stack in a loop, or one for each
//! command that a composite is asked for. Each is bounded, and says what it did:
//!
//! * a message is one step, and a range that is missing one for each group that it is appended to: of
//!   whole groups that are missing, however many, there is nothing to do and to say;
//! * a step makes a handful of calls of the cache at most. The results of them wait in the cache, whose
//!   commands may be drained between steps, or after the last: they are no part of a step.
//!
//! A message that is not stepped is not published: those of steps that are dropped count as passed over. It is a
//! function of what the receiver said and the cache answered, and both of those can be recorded
//! ([`Driven`]).
//!
//! # Limits
//!
//! * No jump within a session may leave the cache's [`window`](crate::cache::Config::window): a group
//!   that does is refused, and each of its messages is [`Step::Unpublished`]. Wherever a session begins,
//!   its track begins there.
//! * Of two sessions the state is kept, as a receiver speaks of two at most. When a third begins, the
//!   one that ended and was not taken up since is left, else the one that was started or taken up
//!   first.
//! * It takes its configuration, one name and a few hundred bytes, and allocates only when it is made.
//!
//! ```
//! use gapless_core::cache::{self, Cache};
//! use gapless_core::grouping::{Config, Grouping};
//! use gapless_core::receiver::Command;
//! use gapless_core::{Instant, Machine, Session};
//!
//! let mut cache = Cache::new(cache::Config::new(1 << 20)).unwrap();
//! let mut grouping = Grouping::new(Config::new("itch")).unwrap();
//! let session = Session::from_name(b"MONDAY").unwrap();
//! let started = Command::SessionStarted { session, next: 1 };
//! let mut steps = grouping.command(started)?;
//! while let Some(step) = grouping.step(Instant::ZERO, &mut cache, &mut steps) {
//!     println!("{step:?}");
//!     while let Some(command) = cache.poll_command() {
//!         println!("{command:?}");
//!     }
//! }
//! assert_eq!(cache.track(b"itch/MONDAY"), grouping.track(session));
//! # Ok::<(), gapless_core::grouping::Error>(())
//! ```

mod config;
mod session;
mod stats;
mod step;
#[cfg(test)]
mod tests;

pub use config::{Config, Error, Info, Mismatch};
pub use stats::Stats;
pub use step::{Step, Steps, Why};

use alloc::string::String;

use bytes::Bytes;

use crate::cache::{Answer, Cache, CallError, Event, Limits, Missing, TrackId};
use crate::journal::Driven;
use crate::receiver::{Batch, Command};
use crate::{Instant, Session};
use config::MOST_ADDED;
use session::{Place, Publishing, Work};
use step::Input;

/// Publishes a feed into a cache.
#[derive(Debug)]
pub struct Grouping {
    config: Config,
    /// The one first that started, or was taken up, before the other.
    sessions: [Option<Publishing>; 2],
    /// A session that will begin live, and the message that was the next then.
    live: Option<(Session, u64)>,
    /// For a track's name.
    name: String,
    stats: Stats,
}

impl Grouping {
    /// A grouping without sessions.
    ///
    /// # Errors
    /// A value of the configuration leaves its range, or a group would be larger than its limits.
    pub fn new(config: Config) -> Result<Self, Error> {
        config.check()?;
        let name = String::with_capacity(config.feed.len() + MOST_ADDED);
        Ok(Self { config, sessions: [None, None], live: None, name, stats: Stats::default() })
    }

    /// The configuration that it was made from.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Group and index of a message's frame; `None` for message 0, which there is not.
    #[must_use]
    pub fn place(&self, sequence: u64) -> Option<(u64, u64)> {
        let (before, size) = (sequence.checked_sub(1)?, u64::from(self.config.group_size));
        Some((before / size, before % size))
    }

    /// Which message is a frame; `None` when there is none so far out, or in a group.
    #[must_use]
    pub fn sequence(&self, group: u64, index: u64) -> Option<u64> {
        let size = u64::from(self.config.group_size);
        let front = group.checked_mul(size).filter(|_| index < size)?;
        // Numbers are from 1.
        front.checked_add(index)?.checked_add(1)
    }

    /// A session will begin live, where `live` was found to be the next message: returns the number at
    /// which the receiver whose word is published must begin
    /// ([`receiver::Config::resume`](crate::receiver::Config::resume)), at most K-1 before.
    ///
    /// If it turns out, before anything is published, that something before `live` cannot be had, then
    /// publishing begins with the next group. So it does where the receiver begins at `live` all the same,
    /// because there is nobody to ask.
    pub const fn start_live(&mut self, session: Session, live: u64) -> u64 {
        self.live = Some((session, live));
        // The first message of its group, so that this becomes whole.
        let before = live.saturating_sub(1);
        before - before % self.config.group_size as u64 + 1
    }

    /// The track of a session, of the last two.
    #[must_use]
    pub fn track(&self, session: Session) -> Option<TrackId> {
        self.known(session).map(|known| known.track)
    }

    /// The next message of a session, of the last two (2^64-1 stands for 2^64 too).
    #[must_use]
    pub fn next(&self, session: Session) -> Option<u64> {
        self.known(session).map(Publishing::next)
    }

    /// The counts.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The bytes that it takes.
    #[must_use]
    pub const fn memory_used(&self) -> usize {
        size_of::<Self>() + self.config.feed.capacity() + self.name.capacity()
    }

    /// The steps of what a receiver says: batches, losses, and how sessions begin and end; of anything else
    /// there are none.
    ///
    /// # Errors
    /// [`Error::NotStarted`].
    pub fn command(&self, command: Command) -> Result<Steps<Bytes>, Error> {
        match command {
            Command::Batch(batch) => self.batch(batch),
            Command::Lost { session, .. } | Command::SessionEnded { session, .. } => {
                self.steps(session, Input::Command(command))
            }
            _ => Ok(Steps(Input::Command(command))),
        }
    }

    /// The steps of a batch, out of a command or out of
    /// [`Receiver::receive`](crate::receiver::Receiver::receive): one for each message, and for what is missing
    /// before it.
    ///
    /// # Errors
    /// [`Error::NotStarted`].
    pub fn batch<B>(&self, batch: Batch<B>) -> Result<Steps<B>, Error> {
        self.steps(batch.session, Input::Batch(batch))
    }

    /// Leaves every session that did not end; the steps drop their tracks. For a program that stops, or a
    /// receiver that will not go on.
    pub fn leave(&mut self) -> Steps<Bytes> {
        let sessions = core::mem::take(&mut self.sessions);
        Steps(Input::Leave(sessions.map(|left| left.and_then(Publishing::left))))
    }

    /// Takes the next of the steps; `None` when there are no more.
    ///
    /// A session that was left since gets nothing more.
    pub fn step<B: AsRef<[u8]>, C: Driven<Cache>>(
        &mut self,
        now: Instant,
        cache: &mut C,
        steps: &mut Steps<B>,
    ) -> Option<Step> {
        match &mut steps.0 {
            Input::Batch(batch) => {
                let mut work = self.at_work(batch.session, now, cache)?;
                let mut messages = batch.messages();
                let (sequence, message) = messages.next()?;
                let before = work.prepare(sequence);
                if before.is_some() {
                    return before;
                }
                let step = work.take(sequence, message);
                let offset = batch.bytes.as_ref().len() - messages.rest().len();
                let (first, count) = (messages.sequence(), messages.remaining());
                (batch.first, batch.count, batch.offset) = (first, count, offset);
                Some(step)
            }
            Input::Command(Command::Lost { session, first, last, .. }) => {
                let mut work = self.at_work(*session, now, cache)?;
                let before = work.miss(first.saturating_sub(1), Missing::Absent);
                before.or_else(|| work.miss(*last, Missing::Lost))
            }
            Input::Command(Command::SessionEnded { session, next, .. }) => {
                self.at_work(*session, now, cache)?.end(*next)
            }
            &mut Input::Command(Command::SessionStarted { session, next }) => {
                let (opened, left) = self.start(now, cache, session, next);
                steps.0 = Input::Leave([left, None]);
                opened
            }
            Input::Command(_) => None,
            Input::Leave(tracks) => {
                let (session, track) = tracks.iter_mut().find_map(Option::take)?;
                // A track that somebody else dropped is gone too.
                let _ = cache.call(now, Event::DropTrack { track });
                Some(Step::Closed { session, track, next: None })
            }
        }
    }

    fn steps<B>(&self, session: Session, input: Input<B>) -> Result<Steps<B>, Error> {
        self.track(session).map(|_| Steps(input)).ok_or(Error::NotStarted(session))
    }

    /// Opens the track of a session; and the one to drop, where two others are known.
    fn start<C: Driven<Cache>>(
        &mut self,
        now: Instant,
        cache: &mut C,
        session: Session,
        next: u64,
    ) -> (Option<Step>, Option<(Session, TrackId)>) {
        let live = self.live.take_if(|(of, _)| *of == session).map(|(_, live)| live);
        if self.known(session).is_some() {
            // Another receiver goes on with it. Where it begins further ahead, the rest is absent.
            let [older, newer] = &mut self.sessions;
            if older.as_ref().is_some_and(|older| older.session == session) {
                core::mem::swap(older, newer);
            }
            newer.iter_mut().for_each(|taken_up| taken_up.over = false);
            return (None, None);
        }
        self.config.write_name(session, &mut self.name);
        let (first_group, index) = self.place(next).unwrap_or_default();
        let limits = Limits { first_group, ..self.config.limits };
        let (name, publisher) = (self.name.as_bytes(), self.config.publisher);
        let create = Event::CreateTrack { name, publisher, limits };
        let created = cache.call(now, create).map_err(CallError::from).and_then(Answer::result);
        let Ok(Answer::Track(track)) = created else {
            let why = created.map_or_else(Why::from, |_| Why::Gone);
            return (Some(Step::NoTrack { session, why }), None);
        };
        self.stats.sessions += 1;
        let last = next.saturating_sub(1);
        let (place, skipped) = match live {
            Some(_) if index > 0 => {
                (Place::Closed(Why::BeforeStart), u64::from(self.config.group_size) - index)
            }
            _ => (Place::Fresh { absent: index, lost: 0 }, 0),
        };
        let first = last.saturating_add(skipped).saturating_add(1);
        let publishing =
            Publishing { session, track, last, place, live, ended: false, over: false };
        let left = self.remember(publishing).and_then(Publishing::left);
        (Some(Step::Opened { session, track, first }), left)
    }

    /// Keeps the state of a session; of three, one has to go.
    fn remember(&mut self, publishing: Publishing) -> Option<Publishing> {
        let gone = |known: &Option<Publishing>| known.as_ref().is_none_or(|known| known.over);
        let [older, newer] = &mut self.sessions;
        if gone(older) || !gone(newer) {
            core::mem::swap(older, newer);
        }
        newer.replace(publishing)
    }

    fn known(&self, session: Session) -> Option<&Publishing> {
        self.sessions.iter().flatten().find(|known| known.session == session)
    }

    /// A session that is known, and what is at hand to go on with it.
    #[inline]
    fn at_work<'a, C: Driven<Cache>>(
        &'a mut self,
        session: Session,
        now: Instant,
        cache: &'a mut C,
    ) -> Option<Work<'a, C>> {
        let (size, max_message) = (self.config.group_size.into(), self.config.max_message);
        let mut known = self.sessions.iter_mut().flatten();
        let of = known.find(|known| known.session == session)?;
        Some(Work { of, now, cache, stats: &mut self.stats, size, max_message })
    }
}
