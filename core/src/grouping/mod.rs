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
//! settled: the gap's frames are absent until they come. Readers that are quick are told so and are not
//! told otherwise later, so whoever wants them to see repairs lets the receiver deliver in order.
//!
//! # No machine
//!
//! A [`Grouping`] is a part of whoever owns receiver and cache, and not a
//! [`Machine`](crate::Machine): it holds no payload, waits for nothing and has nothing to say later. What
//! a call has to tell, the cache's commands among it, it tells while it works. It is a function of what
//! the receiver said and the cache answered, and both of those can be recorded ([`Driven`]).
//!
//! # Limits
//!
//! * No jump within a session may leave the cache's [`window`](crate::cache::Config::window): a group
//!   that does is refused, and its messages are told as [`Told::Unpublished`]. Wherever a session begins,
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
//! grouping.command(Instant::ZERO, &mut cache, &started, &mut |told| println!("{told:?}"))?;
//! assert_eq!(cache.track(b"itch/MONDAY"), grouping.track(session));
//! # Ok::<(), gapless_core::grouping::Error>(())
//! ```

mod config;
mod session;
mod stats;
#[cfg(test)]
mod tests;
mod told;

pub use config::{Config, Error, Info, Mismatch};
pub use stats::Stats;
pub use told::{Told, Why};

use alloc::string::String;

use crate::cache::Cache;
use crate::cache::{Answer, Event, Limits, Missing, Refusal, TrackId};
use crate::journal::Driven;
use crate::receiver::{Batch, Command};
use crate::{Instant, Session};
use session::{Publishing, Work};

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
        let name = String::with_capacity(config.longest_name());
        Ok(Self { config, sessions: [None, None], live: None, name, stats: Stats::default() })
    }

    /// What it was made from.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Group and index of a message's frame; `None` for message 0, which there is not.
    #[must_use]
    pub const fn place(&self, sequence: u64) -> Option<(u64, u32)> {
        let size = self.config.group_size as u64;
        match sequence.checked_sub(1) {
            Some(before) => Some((before / size, (before % size) as u32)),
            None => None,
        }
    }

    /// Which message is a frame; `None` when there is none so far out, or in a group.
    #[must_use]
    pub const fn sequence(&self, group: u64, index: u32) -> Option<u64> {
        let size = self.config.group_size as u64;
        if index as u64 >= size {
            return None;
        }
        // Numbers are from 1.
        let Some(front) = group.checked_mul(size) else { return None };
        match front.checked_add(index as u64) {
            Some(before) => before.checked_add(1),
            None => None,
        }
    }

    /// The first message of the group that a message belongs to: where a receiver must begin, for the
    /// group to become whole.
    #[must_use]
    pub const fn boundary(&self, sequence: u64) -> u64 {
        let before = sequence.saturating_sub(1);
        before - before % self.config.group_size as u64 + 1
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
        self.boundary(live)
    }

    /// The track of a session, of the last two.
    #[must_use]
    pub fn track(&self, session: Session) -> Option<TrackId> {
        self.sessions().find(|known| known.session == session).map(|known| known.track)
    }

    /// The next message of a session, of the last two (2^64-1 stands for 2^64 too).
    #[must_use]
    pub fn next(&self, session: Session) -> Option<u64> {
        self.sessions().find(|known| known.session == session).map(Publishing::next)
    }

    /// What was counted.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The bytes that it takes.
    #[must_use]
    pub const fn memory_used(&self) -> usize {
        size_of::<Self>() + self.config.feed.capacity() + self.name.capacity()
    }

    /// Takes what a receiver says: batches, losses, and how sessions begin and end; nothing else
    /// concerns it.
    ///
    /// What the cache wants done meanwhile is told as [`Told::Cache`], what was waiting in it before
    /// as well: afterwards it is drained.
    ///
    /// # Errors
    /// [`Error::NotStarted`], or [`Error::NoTrack`] where a session begins: it can be told to begin
    /// again. Nothing was published then.
    pub fn command<C: Driven<Cache>>(
        &mut self,
        now: Instant,
        cache: &mut C,
        command: &Command,
        told: &mut impl FnMut(Told),
    ) -> Result<(), Error> {
        match *command {
            Command::Batch(ref batch) => self.batch(now, cache, batch, told),
            Command::Lost { session, last, first, .. } => {
                let (publishing, mut work) = self.at_work(session, now, cache, told)?;
                publishing.miss(first.saturating_sub(1), Missing::Absent, &mut work);
                publishing.miss(last, Missing::Lost, &mut work);
                Ok(())
            }
            Command::SessionStarted { session, next } => {
                self.start(now, cache, session, next, told)
            }
            Command::SessionEnded { session, next, .. } => {
                let (publishing, mut work) = self.at_work(session, now, cache, told)?;
                publishing.end(next, &mut work);
                Ok(())
            }
            Command::Request { .. }
            | Command::GapOpened { .. }
            | Command::GapFilled { .. }
            | Command::Halted { .. }
            | Command::LineUp(_)
            | Command::LineDown(_)
            | Command::SequenceRegressed { .. }
            | Command::Stalled { .. }
            | Command::Withdrawn { .. }
            | Command::Contradiction { .. } => Ok(()),
        }
    }

    /// Takes a batch, out of a command or out of [`Receiver::receive`](crate::receiver::Receiver::receive).
    ///
    /// # Errors
    /// [`Error::NotStarted`].
    pub fn batch<B: AsRef<[u8]>, C: Driven<Cache>>(
        &mut self,
        now: Instant,
        cache: &mut C,
        batch: &Batch<B>,
        told: &mut impl FnMut(Told),
    ) -> Result<(), Error> {
        let (publishing, mut work) = self.at_work(batch.session, now, cache, told)?;
        for (sequence, message) in batch.messages() {
            publishing.take(sequence, message, &mut work);
        }
        Ok(())
    }

    /// Leaves every session that did not end: its track is dropped. For a program that stops, or a
    /// receiver that will not go on.
    pub fn leave<C: Driven<Cache>>(
        &mut self,
        now: Instant,
        cache: &mut C,
        told: &mut impl FnMut(Told),
    ) {
        for publishing in core::mem::take(&mut self.sessions).into_iter().flatten() {
            publishing.leave(&mut self.work(now, cache, told));
        }
    }

    fn start<C: Driven<Cache>>(
        &mut self,
        now: Instant,
        cache: &mut C,
        session: Session,
        next: u64,
        told: &mut impl FnMut(Told),
    ) -> Result<(), Error> {
        let live = self.live.take_if(|(of, _)| *of == session).map(|(_, live)| live);
        let is =
            |known: &Option<Publishing>| known.as_ref().is_some_and(|of| of.session == session);
        if let Some(known) = self.sessions.iter().position(is) {
            // Another receiver goes on with it. Where it begins further ahead, the rest is absent.
            if let Some(publishing) = &mut self.sessions[known] {
                publishing.over = false;
            }
            if known == 0 {
                self.sessions.swap(0, 1);
            }
            return Ok(());
        }
        let mut name = core::mem::take(&mut self.name);
        self.config.write_name(session, &mut name);
        let (first_group, _) = self.place(next).unwrap_or_default();
        let limits = Limits { first_group, ..self.config.limits };
        let publisher = self.config.publisher;
        let mut work = self.work(now, cache, told);
        let created = work.call(Event::CreateTrack { name: name.as_bytes(), publisher, limits });
        let size = work.size;
        self.name = name;
        let track = match created {
            Ok(Answer::Track(track)) => track,
            Ok(_) => return Err(Error::NoTrack(Refusal::UnknownTrack)),
            Err(refusal) => return Err(Error::NoTrack(refusal)),
        };
        self.stats.sessions += 1;
        let publishing = Publishing::new(session, track, next, live, size);
        told(Told::Opened { session, track, first: publishing.publishes_from() });
        if let Some(left) = self.remember(publishing) {
            left.leave(&mut self.work(now, cache, told));
        }
        Ok(())
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

    fn sessions(&self) -> impl Iterator<Item = &Publishing> {
        self.sessions.iter().flatten()
    }

    /// A session that is known, and what is at hand to go on with it; what waited in the cache is told.
    fn at_work<'a, C: Driven<Cache>, F: FnMut(Told)>(
        &'a mut self,
        session: Session,
        now: Instant,
        cache: &'a mut C,
        told: &'a mut F,
    ) -> Result<(&'a mut Publishing, Work<'a, C, F>), Error> {
        let (size, max_message) = (self.config.group_size.into(), self.config.max_message);
        let mut known = self.sessions.iter_mut().flatten();
        let publishing =
            known.find(|known| known.session == session).ok_or(Error::NotStarted(session))?;
        let stats = &mut self.stats;
        let work = Work { now, cache, told, stats, size, max_message, aborted: false };
        Ok((publishing, work.begin()))
    }

    fn work<'a, C: Driven<Cache>, F: FnMut(Told)>(
        &'a mut self,
        now: Instant,
        cache: &'a mut C,
        told: &'a mut F,
    ) -> Work<'a, C, F> {
        let (size, max_message) = (self.config.group_size.into(), self.config.max_message);
        let stats = &mut self.stats;
        Work { now, cache, told, stats, size, max_message, aborted: false }.begin()
    }
}
