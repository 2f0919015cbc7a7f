//! One session on its way into its track: how far it is, and what became of the group that it is in.

use crate::cache::{
    Answer, Cache, Command, Event, GroupId, Missing, Put, Refusal, TOO_LARGE, TrackId,
};
use crate::{Instant, Session};

use super::Stats;
use super::told::{Told, Why};
use crate::journal::Driven;

/// What is at hand while something is published.
pub(super) struct Work<'a, C, F> {
    pub(super) now: Instant,
    pub(super) cache: &'a mut C,
    pub(super) told: &'a mut F,
    pub(super) stats: &'a mut Stats,
    /// Messages in a group.
    pub(super) size: u64,
    pub(super) max_message: u16,
    /// Whether the cache had to abort a group.
    pub(super) aborted: bool,
}

impl<C: Driven<Cache>, F: FnMut(Told)> Work<'_, C, F> {
    /// What waited in the cache is told; it may be called then.
    pub(super) fn begin(mut self) -> Self {
        self.drain();
        self
    }

    /// Calls the cache, and hands on what follows from it, so that the next call finds it drained.
    #[inline]
    pub(super) fn call(&mut self, event: Event<'_>) -> Result<Answer, Refusal> {
        let answer = self.cache.call(self.now, event);
        self.drain();
        answer.result()
    }

    #[inline]
    fn drain(&mut self) {
        while let Some(command) = self.cache.poll_command() {
            self.aborted |= matches!(command, Command::Aborted { .. });
            (self.told)(Told::Cache(command));
        }
    }

    fn create_group(&mut self, track: TrackId, sequence: u64) -> Result<GroupId, Refusal> {
        match self.call(Event::CreateGroup { track, sequence })? {
            Answer::Group(group) => {
                self.stats.groups += 1;
                Ok(group)
            }
            _ => Err(Refusal::UnknownGroup),
        }
    }

    fn append_missing(&mut self, group: GroupId, count: u32, why: Missing) -> Result<(), Refusal> {
        if count > 0 {
            self.call(Event::AppendMissing { group, count, why })?;
        }
        Ok(())
    }

    fn append(&mut self, group: GroupId, frame: &[u8]) -> Result<(), Refusal> {
        self.check_size(frame)?;
        self.aborted = false;
        self.call(Event::Append { group, frame })?;
        // Told by a command, as the group was there when the frame came.
        if self.aborted { Err(Refusal::Aborted(TOO_LARGE)) } else { Ok(()) }
    }

    fn check_size(&self, frame: &[u8]) -> Result<(), Refusal> {
        let (size, max) = (frame.len() as u64, u64::from(self.max_message));
        if size > max { Err(Refusal::FrameTooLarge { size, max }) } else { Ok(()) }
    }

    fn unpublished(&mut self, session: Session, sequence: u64, why: Why) {
        match why {
            Why::BeforeStart => self.stats.before_start += 1,
            Why::Refused(_) => self.stats.refused += 1,
        }
        (self.told)(Told::Unpublished { session, sequence, why });
    }
}

/// The group that the next message belongs to.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// It does not exist, because so far nothing of it is there: first so many frames are absent, then
    /// so many lost.
    Fresh { absent: u32, lost: u32 },
    /// It is being written.
    Open(GroupId),
    /// Nothing more of it is published.
    Closed(Why),
}

const FRESH: Place = Place::Fresh { absent: 0, lost: 0 };

/// A session that is being published, or was.
#[derive(Debug)]
pub(super) struct Publishing {
    pub(super) session: Session,
    pub(super) track: TrackId,
    /// Everything up to this message is settled: published, missing, or not published. 0: nothing.
    last: u64,
    /// The last message of the group that the next one belongs to, or the last that there can be.
    full_at: u64,
    place: Place,
    /// Of a live start, until publishing has begun: the message before which nothing may be missing.
    live: Option<u64>,
    pub(super) ended: bool,
    /// Whether its receiver said that it ended, and none has taken it up since: nobody speaks of it any
    /// more.
    pub(super) over: bool,
}

impl Publishing {
    /// A session of which `next` is the first message to come.
    pub(super) const fn new(
        session: Session,
        track: TrackId,
        next: u64,
        live: Option<u64>,
        size: u64,
    ) -> Self {
        let last = next.saturating_sub(1);
        let place = match (last % size, live) {
            (1.., Some(_)) => Place::Closed(Why::BeforeStart),
            // Less than the size of a group, which is a u32.
            (index, _) => Place::Fresh { absent: index as u32, lost: 0 },
        };
        let full_at = full_at(last, size);
        Self { session, track, last, full_at, place, live, ended: false, over: false }
    }

    /// The next message (2^64-1 stands for 2^64 too).
    pub(super) const fn next(&self) -> u64 {
        self.last.saturating_add(1)
    }

    /// The first message that may be published from here on.
    pub(super) const fn publishes_from(&self) -> u64 {
        match self.place {
            Place::Closed(_) => self.full_at.saturating_add(1),
            Place::Fresh { .. } | Place::Open(_) => self.next(),
        }
    }

    /// Takes a message.
    #[inline]
    pub(super) fn take<C: Driven<Cache>, F: FnMut(Told)>(
        &mut self,
        sequence: u64,
        message: &[u8],
        work: &mut Work<'_, C, F>,
    ) {
        if sequence <= self.last {
            return self.take_late(sequence, message, work);
        }
        if self.ended {
            let why = Why::Refused(Refusal::TrackEnded);
            return work.unpublished(self.session, sequence, why);
        }
        // What was neither brought nor given up is not kept here.
        self.miss(sequence - 1, Missing::Absent, work);
        if let Place::Fresh { absent, lost } = self.place {
            self.place = match self.open(absent, lost, work) {
                Ok(group) => Place::Open(group),
                Err(refusal) => Place::Closed(Why::Refused(refusal)),
            };
            self.live = None;
        }
        match self.place {
            Place::Open(group) => match work.append(group, message) {
                Ok(()) => work.stats.published += 1,
                Err(refusal) => {
                    work.unpublished(self.session, sequence, Why::Refused(refusal));
                    self.miss_in(group, 1, Missing::Absent, work);
                }
            },
            Place::Closed(why) => work.unpublished(self.session, sequence, why),
            Place::Fresh { .. } => {}
        }
        self.settle(sequence, work);
    }

    /// Messages up to and with `last` will not come.
    pub(super) fn miss<C: Driven<Cache>, F: FnMut(Told)>(
        &mut self,
        last: u64,
        why: Missing,
        work: &mut Work<'_, C, F>,
    ) {
        while self.last < last && !self.ended {
            let (index, missing) = (self.last % work.size, last - self.last);
            let count = if index == 0 && missing >= work.size {
                // Whole groups, which are not created.
                let groups = missing / work.size;
                work.stats.groups_missing += groups;
                self.live = None;
                groups * work.size
            } else {
                let count = missing.min(work.size - index);
                self.miss_some(count as u32, why, work);
                count
            };
            match why {
                Missing::Lost => work.stats.lost += count,
                Missing::Absent => work.stats.absent += count,
            }
            self.settle(self.last + count, work);
        }
    }

    /// Frames of the group that the next message belongs to will not come.
    fn miss_some<C: Driven<Cache>, F: FnMut(Told)>(
        &mut self,
        count: u32,
        why: Missing,
        work: &mut Work<'_, C, F>,
    ) {
        match &mut self.place {
            Place::Fresh { .. } if self.live.is_some_and(|live| self.last + 1 < live) => {
                self.place = Place::Closed(Why::BeforeStart);
            }
            Place::Fresh { lost, .. } if why == Missing::Lost => *lost += count,
            Place::Fresh { absent, lost } => {
                // One order is enough to remember: of what is lost nothing is kept here either.
                *absent += *lost + count;
                *lost = 0;
            }
            &mut Place::Open(group) => self.miss_in(group, count, why, work),
            Place::Closed(_) => {}
        }
    }

    fn miss_in<C: Driven<Cache>, F: FnMut(Told)>(
        &mut self,
        group: GroupId,
        count: u32,
        why: Missing,
        work: &mut Work<'_, C, F>,
    ) {
        if let Err(refusal) = work.append_missing(group, count, why) {
            give_up(group, work);
            self.place = Place::Closed(Why::Refused(refusal));
        }
    }

    /// Creates the group that the next message belongs to, with what is missing at its front.
    fn open<C: Driven<Cache>, F: FnMut(Told)>(
        &self,
        absent: u32,
        lost: u32,
        work: &mut Work<'_, C, F>,
    ) -> Result<GroupId, Refusal> {
        let group = work.create_group(self.track, self.last / work.size)?;
        let missing = work
            .append_missing(group, absent, Missing::Absent)
            .and_then(|()| work.append_missing(group, lost, Missing::Lost));
        missing.inspect_err(|_| give_up(group, work))?;
        Ok(group)
    }

    /// Everything up to this message is settled. A group that is full is finished.
    #[inline]
    fn settle<C: Driven<Cache>, F: FnMut(Told)>(&mut self, last: u64, work: &mut Work<'_, C, F>) {
        self.last = last;
        if last < self.full_at {
            return;
        }
        self.full_at = full_at(last, work.size);
        match core::mem::replace(&mut self.place, FRESH) {
            Place::Open(group) => finish(group, work),
            Place::Fresh { absent: 0, lost: 0 } | Place::Closed(_) => {}
            Place::Fresh { .. } => work.stats.groups_missing += 1,
        }
        self.live = None;
    }

    /// Takes a message of which the place is behind: it is compared, or fills what is missing.
    #[cold]
    fn take_late<C: Driven<Cache>, F: FnMut(Told)>(
        &mut self,
        sequence: u64,
        message: &[u8],
        work: &mut Work<'_, C, F>,
    ) {
        let put = sequence
            .checked_sub(1)
            .ok_or(Refusal::UnknownGroup)
            .and_then(|before| self.late_group(before / work.size, work))
            .and_then(|group| {
                work.check_size(message)?;
                let index = (sequence - 1) % work.size;
                work.call(Event::Put { group, index, frame: message })
            });
        match put {
            Ok(Answer::Put(Put::Duplicate)) => work.stats.same += 1,
            Ok(_) => work.stats.filled += 1,
            Err(Refusal::Contradiction(_)) => {
                work.stats.contradictions += 1;
                (work.told)(Told::Contradiction { session: self.session, sequence });
            }
            Err(_) => work.stats.late += 1,
        }
    }

    /// The group of a message that comes late. One of which nothing was there until now is created
    /// with all its frames missing; one that was evicted stays away.
    fn late_group<C: Driven<Cache>, F: FnMut(Told)>(
        &mut self,
        sequence: u64,
        work: &mut Work<'_, C, F>,
    ) -> Result<GroupId, Refusal> {
        if let Some(group) = work.cache.machine().group(self.track, sequence) {
            return Ok(group);
        }
        if sequence == self.last / work.size {
            let Place::Fresh { absent, lost } = self.place else {
                return Err(Refusal::UnknownGroup);
            };
            let group = self.open(absent, lost, work)?;
            self.place = Place::Open(group);
            return Ok(group);
        }
        let floor = work.cache.machine().floor(self.track);
        if floor.is_none_or(|(floor, _)| sequence < floor) {
            return Err(Refusal::UnknownGroup);
        }
        let group = work.create_group(self.track, sequence)?;
        // The size of a group is a u32.
        let missing = work.append_missing(group, work.size as u32, Missing::Absent);
        missing.inspect_err(|_| give_up(group, work))?;
        finish(group, work);
        Ok(group)
    }

    /// The session is over: `next` would have been its next message.
    pub(super) fn end<C: Driven<Cache>, F: FnMut(Told)>(
        &mut self,
        next: u64,
        work: &mut Work<'_, C, F>,
    ) {
        self.over = true;
        if self.ended {
            return;
        }
        self.miss(next.saturating_sub(1), Missing::Absent, work);
        if let Place::Open(group) = self.place {
            finish(group, work);
        }
        self.place = Place::Closed(Why::Refused(Refusal::TrackEnded));
        self.ended = true;
        // A track that somebody else ended is over too.
        let _ = work.call(Event::FinishTrack { track: self.track, end: None });
        let (session, track) = (self.session, self.track);
        (work.told)(Told::Closed { session, track, next: Some(self.next()) });
    }

    /// Nobody will say how the session ends.
    pub(super) fn leave<C: Driven<Cache>, F: FnMut(Told)>(self, work: &mut Work<'_, C, F>) {
        if !self.ended {
            let (session, track) = (self.session, self.track);
            let _ = work.call(Event::DropTrack { track });
            (work.told)(Told::Closed { session, track, next: None });
        }
    }
}

/// The last message of the group of which so many messages in all are settled.
const fn full_at(last: u64, size: u64) -> u64 {
    (last - last % size).saturating_add(size)
}

/// A group that is full, or the last of its session. If it was evicted meanwhile, or aborted because it
/// was too large, nothing is left to do.
fn finish<C: Driven<Cache>, F: FnMut(Told)>(group: GroupId, work: &mut Work<'_, C, F>) {
    let _ = work.call(Event::FinishGroup { group });
}

/// A group that the cache cannot go on with: whoever reads it is not left to wait.
fn give_up<C: Driven<Cache>, F: FnMut(Told)>(group: GroupId, work: &mut Work<'_, C, F>) {
    let _ = work.call(Event::DropGroup { group });
}
