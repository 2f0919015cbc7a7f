//! How readers wait, for groups and for more of a group, and how they are told.

use core::convert::Infallible;

use super::event::{By, Command, Next};
use super::group::{Group, State, Unfinished};
use super::reader::{Reader, Waits};
use super::track::Life;
use super::{Cache, ReaderId};

impl Cache {
    /// What a reader finds behind the last group that there is.
    pub(super) fn wait_for_group(&mut self, at: u32) -> Next<Infallible> {
        let Some(reader) = self.readers.get(at) else { return Next::Pending };
        let (number, wanted, waits) = (reader.track, reader.wanted, reader.waits);
        let Some(track) = self.tracks.get_mut(number) else { return Next::Pending };
        match track.life {
            Life::Aborted { code } => return Next::TrackAborted { code },
            Life::Finished { closed: true, .. } | Life::Finished { end: None, .. } => {
                return Next::TrackEnd;
            }
            Life::Finished { end: Some(end), .. } if wanted > end => return Next::TrackEnd,
            Life::Live | Life::Finished { .. } => {}
        }
        if waits != Waits::Not {
            return Next::Pending;
        }
        let waits = if wanted <= track.newest.map_or(0, |newest| newest + 1) {
            track.waiting.push(&mut self.readers, at);
            Waits::ForNewest
        } else {
            track.later.insert(&mut self.readers, at);
            Waits::ForLater
        };
        if let Some(reader) = self.readers.get_mut(at) {
            reader.waits = waits;
        }
        Next::Pending
    }

    /// Lets a reader wait for more of its group.
    pub(super) fn wait_for_more(&mut self, at: u32, by: By) -> Next<Infallible> {
        let Some(reader) = self.readers.get_mut(at) else { return Next::Pending };
        if reader.waits == Waits::ForMore(by) || reader.waits == Waits::ForFrame(by) {
            return Next::Pending;
        }
        let (number, frame) = (reader.group, reader.frame);
        self.stop_waiting(at);
        let Some(group) = self.groups.get_mut(number) else { return Next::Pending };
        let is_next = frame <= group.count;
        if let Some(reader) = self.readers.get_mut(at) {
            reader.waits = if is_next { Waits::ForMore(by) } else { Waits::ForFrame(by) };
        }
        group.quick = 0;
        if is_next {
            group.waiting[by as usize].push(&mut self.readers, at);
        } else {
            group.ahead.insert(&mut self.readers, at);
        }
        Next::Pending
    }

    /// The next reader that has something to read.
    pub(super) fn next_ready(&mut self) -> Option<Command> {
        loop {
            let slot = self.ready.pop(&mut self.readers)?;
            let reader = self.readers.get_mut(slot)?;
            // More of the group came, but not as far as this reader's place.
            if let Waits::ForMore(by) = reader.waits
                && let Some(group) = self.groups.find_mut(reader.group())
                && group.state == State::Open
                && !group.has_for(reader, by)
            {
                group.quick = 0;
                group.waiting[by as usize].push(&mut self.readers, slot);
                continue;
            }
            reader.waits = Waits::Not;
            self.stats.woken += 1;
            return self.readers.key(slot).map(ReaderId).map(Command::Readable);
        }
    }

    /// Tells everybody who waits for something of a group: nothing more comes of it.
    pub(super) fn wake_group(&mut self, at: u32) {
        self.wake_waiting(at);
        while let Some(group) = self.groups.get_mut(at)
            && let Some(first) = group.ahead.first(&self.readers)
        {
            group.ahead.remove(&mut self.readers, first);
            self.ready.push(&mut self.readers, first);
            self.context.pend();
        }
    }

    /// Tells those whose frame has come, and lets those whose frame is the next wait for more.
    pub(super) fn wake_reached(&mut self, at: u32) {
        while let Some(group) = self.groups.get_mut(at)
            && let Some(first) = group.ahead.first(&self.readers)
            && let Some(reader) = self.readers.get_mut(first)
            && let Waits::ForFrame(by) = reader.waits
            && reader.frame <= group.count
        {
            let is_here = reader.frame < group.count;
            reader.waits = Waits::ForMore(by);
            group.ahead.remove(&mut self.readers, first);
            if is_here {
                self.ready.push(&mut self.readers, first);
                self.context.pend();
            } else {
                group.waiting[by as usize].push(&mut self.readers, first);
            }
        }
    }

    /// Tells everybody who waits for more of a group.
    pub(super) fn wake_waiting(&mut self, at: u32) {
        let Some(group) = self.groups.get_mut(at) else { return };
        for waiting in core::mem::take(&mut group.waiting) {
            if !waiting.is_empty() {
                self.context.pend();
            }
            self.ready.append(&mut self.readers, waiting);
        }
    }

    /// Takes a reader out of what it waits in.
    pub(super) fn stop_waiting(&mut self, at: u32) {
        let Some(reader) = self.readers.get_mut(at) else { return };
        let waits = core::mem::replace(&mut reader.waits, Waits::Not);
        let (track, group) = (reader.track, reader.group);
        match waits {
            Waits::Not => {}
            Waits::ForMore(by) => {
                if let Some(group) = self.groups.get_mut(group) {
                    group.waiting[by as usize].remove(&mut self.readers, at);
                }
            }
            Waits::ForFrame(_) => {
                if let Some(group) = self.groups.get_mut(group) {
                    group.ahead.remove(&mut self.readers, at);
                }
            }
            Waits::ForNewest => {
                if let Some(track) = self.tracks.get_mut(track) {
                    track.waiting.remove(&mut self.readers, at);
                }
            }
            Waits::ForLater => {
                if let Some(track) = self.tracks.get_mut(track) {
                    track.later.remove(&mut self.readers, at);
                }
            }
        }
    }
}

impl Group {
    /// Whether there is something for a reader that stands in it, open as it is.
    fn has_for(&self, reader: &Reader, by: By) -> bool {
        let is_begun = |frame: Unfinished| {
            frame.written > reader.within
                && match by {
                    By::Frame => false,
                    By::Chunk => true,
                    By::Run => frame.is_parted(),
                }
        };
        reader.frame < self.count
            || reader.frame == self.count && self.unfinished.is_some_and(is_begun)
    }
}
