//! One session on its way into its track: how far it is, and what became of the group that it is in.

use core::ops::Range;

use crate::cache::{
    Answer, Cache, CallError, Event, GroupId, Missing, Put, Refusal, TOO_LARGE, TrackId,
};
use crate::journal::Driven;
use crate::{Instant, Session};

use super::Stats;
use super::step::{Step, Why};

/// The group that the next message belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// It does not exist, because so far nothing of it is there: first so many frames are absent, then
    /// so many lost.
    Fresh { absent: u64, lost: u64 },
    /// It is being written.
    Open(GroupId),
    /// Nothing more of it is published.
    Closed(Why),
}

/// A session that is being published, or was.
#[derive(Debug)]
pub(super) struct Publishing {
    pub(super) session: Session,
    pub(super) track: TrackId,
    /// Everything up to this message is settled: published, missing, or not published. 0: nothing.
    pub(super) last: u64,
    pub(super) place: Place,
    /// Of a live start, until publishing has begun: the message before which nothing may be missing.
    pub(super) live: Option<u64>,
    pub(super) ended: bool,
    /// Its receiver said that it ended, and none has taken it up since: nobody speaks of it any
    /// more.
    pub(super) over: bool,
}

impl Publishing {
    /// The next message (2^64-1 stands for 2^64 too).
    pub(super) const fn next(&self) -> u64 {
        self.last.saturating_add(1)
    }

    /// The track to drop when nobody will say how the session ends.
    pub(super) fn left(self) -> Option<(Session, TrackId)> {
        (!self.ended).then_some((self.session, self.track))
    }
}

/// The indices of the frames that were appended.
type Appended = Result<Range<u64>, Why>;

/// A session, and what is at hand to take a step of it.
pub(super) struct Work<'a, C> {
    pub(super) of: &'a mut Publishing,
    pub(super) now: Instant,
    pub(super) cache: &'a mut C,
    pub(super) stats: &'a mut Stats,
    /// Messages in a group.
    pub(super) size: u64,
    pub(super) max_message: u16,
}

impl<C: Driven<Cache>> Work<'_, C> {
    /// Takes a step that comes before a message, if one has to: what is missing before it is appended, to
    /// the group before it or to its own.
    #[inline]
    pub(super) fn prepare(&mut self, sequence: u64) -> Option<Step> {
        if sequence <= self.of.last {
            return self.prepare_late(sequence);
        }
        // Messages neither brought nor given up are not kept here.
        let missed = self.miss(sequence - 1, Missing::Absent);
        match self.of.place {
            Place::Fresh { absent, lost } if missed.is_none() && absent + lost > 0 => {
                self.group().ok()?;
                Some(self.appended(self.under_way(), 0..absent + lost))
            }
            _ => missed,
        }
    }

    /// Takes a message that everything is prepared for.
    #[inline]
    pub(super) fn take(&mut self, sequence: u64, message: &[u8]) -> Step {
        if sequence <= self.of.last {
            return self.take_late(sequence, message);
        }
        let number = self.under_way();
        let published = self.group().and_then(|group| {
            let event = Event::Append { group, frame: message };
            let appended = self.check_size(message).and_then(|()| self.append(group, 1, event));
            appended.inspect_err(|_| {
                self.miss_in(group, 1, Missing::Absent);
            })
        });
        if !self.of.ended {
            self.settle(sequence);
        }
        let count = match published {
            Ok(_) => &mut self.stats.published,
            Err(Why::BeforeStart) => &mut self.stats.before_start,
            Err(_) => &mut self.stats.refused,
        };
        *count += 1;
        match published {
            Ok(frames) => self.appended(number, frames),
            Err(why) => Step::Unpublished { session: self.of.session, sequence, why },
        }
    }

    /// Takes the next step of which there is something to say on the way to `last`: messages up to and with
    /// it will not come. Groups that are not there are passed at once, however many they are.
    pub(super) fn miss(&mut self, last: u64, why: Missing) -> Option<Step> {
        let mut step = None;
        while step.is_none() && self.of.last < last && !self.of.ended {
            let (index, missing) = (self.of.last % self.size, last - self.of.last);
            let count = if index == 0 && missing >= self.size {
                // Whole groups, which are not created.
                let groups = missing / self.size;
                self.stats.groups_missing += groups;
                groups * self.size
            } else {
                let count = missing.min(self.size - index);
                step = self.miss_some(count, why);
                count
            };
            match why {
                Missing::Lost => self.stats.lost += count,
                Missing::Absent => self.stats.absent += count,
            }
            self.settle(self.of.last + count);
        }
        step
    }

    /// Passes frames of the group that the next message belongs to.
    fn miss_some(&mut self, count: u64, why: Missing) -> Option<Step> {
        let next = self.of.next();
        match &mut self.of.place {
            Place::Fresh { .. } if self.of.live.is_some_and(|live| next < live) => {
                self.of.place = Place::Closed(Why::BeforeStart);
            }
            Place::Fresh { lost, .. } if why == Missing::Lost => *lost += count,
            Place::Fresh { absent, lost } => {
                // One order is enough to remember: of what is lost nothing is kept here either.
                *absent += *lost + count;
                *lost = 0;
            }
            &mut Place::Open(group) => return Some(self.miss_in(group, count, why)),
            Place::Closed(_) => {}
        }
        None
    }

    fn miss_in(&mut self, group: GroupId, count: u64, why: Missing) -> Step {
        let number = self.under_way();
        match self.append_missing(group, count, why) {
            Ok(frames) => self.appended(number, frames),
            Err(why) => {
                self.give_up(group);
                self.of.place = Place::Closed(why);
                Step::Dropped { track: self.of.track, group: number, why }
            }
        }
    }

    /// The group that the next message belongs to. Where it is not there, it is created.
    fn group(&mut self) -> Result<GroupId, Why> {
        match self.of.place {
            Place::Open(group) => Ok(group),
            Place::Closed(why) => Err(why),
            Place::Fresh { absent, lost } => {
                let created = self.create_group(self.under_way(), absent, lost);
                self.of.place = created.map_or_else(Place::Closed, Place::Open);
                created
            }
        }
    }

    /// Everything up to this message is settled. A group that is full is finished.
    #[inline]
    fn settle(&mut self, last: u64) {
        self.of.last = last;
        if !last.is_multiple_of(self.size) && last < u64::MAX {
            return;
        }
        match core::mem::replace(&mut self.of.place, Place::Fresh { absent: 0, lost: 0 }) {
            Place::Open(group) => self.finish(group),
            Place::Fresh { absent: 0, lost: 0 } | Place::Closed(_) => {}
            Place::Fresh { .. } => self.stats.groups_missing += 1,
        }
        self.of.live = None;
    }

    /// Creates the group of a message that comes late, if nothing of it was there until now, with its
    /// frames missing. One that was evicted stays away.
    #[cold]
    fn prepare_late(&mut self, sequence: u64) -> Option<Step> {
        let (number, under_way) = (sequence.checked_sub(1)? / self.size, self.under_way());
        let cache = self.cache.machine();
        if cache.group(self.of.track, number).is_some() {
            return None;
        }
        let (absent, lost) = match self.of.place {
            Place::Fresh { absent, lost } if number == under_way => (absent, lost),
            _ if number < under_way && number >= cache.floor(self.of.track)?.0 => (self.size, 0),
            _ => return None,
        };
        let group = self.create_group(number, absent, lost).ok()?;
        if number == under_way {
            self.of.place = Place::Open(group);
        } else {
            self.finish(group);
        }
        Some(self.appended(number, 0..absent + lost))
    }

    /// Takes a message of which the place is behind: it is compared, or fills what is missing.
    #[cold]
    fn take_late(&mut self, sequence: u64, message: &[u8]) -> Step {
        let Publishing { session, track, .. } = *self.of;
        // There is no message 0.
        let before = sequence.saturating_sub(1);
        let (number, index) = (before / self.size, before % self.size);
        let group = self.cache.machine().group(track, number).filter(|_| sequence > 0);
        let put = group.ok_or(Why::Gone).and_then(|group| {
            self.check_size(message)?;
            self.call(Event::Put { group, index, frame: message })
        });
        let (count, step) = match put {
            Ok(Answer::Put(Put::Duplicate)) => {
                (&mut self.stats.same, Step::Duplicate { session, sequence })
            }
            Ok(_) => (&mut self.stats.filled, Step::Filled { track, group: number, index }),
            Err(Why::Refused(Refusal::Contradiction(_))) => {
                (&mut self.stats.contradictions, Step::Contradiction { session, sequence })
            }
            Err(_) => (&mut self.stats.late, Step::Late { session, sequence }),
        };
        *count += 1;
        step
    }

    /// Takes the next step towards the end of the session: `next` would have been its next message.
    pub(super) fn end(&mut self, next: u64) -> Option<Step> {
        self.of.over = true;
        let missed = self.miss(next.saturating_sub(1), Missing::Absent);
        if missed.is_some() || self.of.ended {
            return missed;
        }
        self.of.ended = true;
        if let Place::Open(group) = self.of.place {
            self.finish(group);
        }
        self.of.place = Place::Closed(Why::Ended);
        let Publishing { session, track, .. } = *self.of;
        // A track that somebody else ended is over too.
        let _ = self.call(Event::FinishTrack { track, end: None });
        Some(Step::Closed { session, track, next: Some(self.of.next()) })
    }

    /// The number of the group that the next message belongs to.
    const fn under_way(&self) -> u64 {
        self.of.last / self.size
    }

    const fn appended(&self, group: u64, frames: Range<u64>) -> Step {
        Step::Appended { track: self.of.track, group, frames }
    }

    /// Calls the cache; a refusal is an error, as misuse is.
    #[inline]
    fn call(&mut self, event: Event<'_>) -> Result<Answer, Why> {
        Ok(self.cache.call(self.now, event).map_err(CallError::from).and_then(Answer::result)?)
    }

    /// Creates a group, with what is missing at its front: first so many frames absent, then so many lost.
    fn create_group(&mut self, sequence: u64, absent: u64, lost: u64) -> Result<GroupId, Why> {
        let created = self.call(Event::CreateGroup { track: self.of.track, sequence })?;
        let Answer::Group(group) = created else { return Err(Why::Gone) };
        self.stats.groups += 1;
        for (count, why) in [(absent, Missing::Absent), (lost, Missing::Lost)] {
            if count > 0 {
                self.append_missing(group, count, why).inspect_err(|_| self.give_up(group))?;
            }
        }
        Ok(group)
    }

    fn append_missing(&mut self, group: GroupId, count: u64, why: Missing) -> Appended {
        self.append(group, count, Event::AppendMissing { group, count, why })
    }

    /// Appends frames; their indices. The cache does not refuse frames that its budget cannot hold: it
    /// aborts the group, which is as long then as it was.
    #[inline]
    fn append(&mut self, group: GroupId, count: u64, event: Event<'_>) -> Appended {
        let end_of = |cache: &C| Some(cache.machine().frames(group)?.end);
        let first = end_of(self.cache).ok_or(Why::Gone)?;
        self.call(event)?;
        let end = first + count;
        if end_of(self.cache) == Some(end) { Ok(first..end) } else { Err(Why::Aborted(TOO_LARGE)) }
    }

    fn check_size(&self, frame: &[u8]) -> Result<(), Why> {
        let (size, max) = (frame.len() as u64, u64::from(self.max_message));
        if size > max { Err(Refusal::FrameTooLarge { size, max }.into()) } else { Ok(()) }
    }

    /// Finishes a group that is full, or the last of its session. If it was evicted meanwhile, or aborted
    /// because it was too large, nothing is left to do.
    fn finish(&mut self, group: GroupId) {
        let _ = self.call(Event::FinishGroup { group });
    }

    /// Drops a group that the cache cannot go on with: whoever reads it is not left to wait.
    fn give_up(&mut self, group: GroupId) {
        let _ = self.call(Event::DropGroup { group });
    }
}
