//! How readers wait, for groups and for more of a group, and how they are woken.

use super::event::Command;
use super::find::Lookup;
use super::reader::{InQueue, Reader, Waits};
use super::{Cache, ReadUnit, ReaderId};
use crate::storage::list::List;

impl Cache {
    /// Lets a reader that waits for nothing wait for a group.
    pub(super) fn wait_for_group(&mut self, at: u32) {
        let Some(reader) = self.readers.get_mut(at) else { return };
        let wanted = reader.position.wanted;
        let Some(track) = self.store.tracks.get_mut(reader.position.track) else { return };
        if wanted <= track.newest.map_or(0, |newest| newest + 1) {
            reader.waits = Waits::ForNewest;
            track.waiting.push(&mut self.readers, at);
        } else {
            reader.waits = Waits::ForLater;
            track.later.insert(&mut self.readers, at);
        }
    }

    /// Lets a reader that waits for nothing wait for more of its group.
    pub(super) fn wait_for_more(&mut self, at: u32, by: ReadUnit) {
        let Some(reader) = self.readers.get_mut(at) else { return };
        let Some(group) = self.store.groups.find_mut(reader.position.group_key()) else { return };
        group.fast_appends = 0;
        if reader.position.frame <= group.count {
            reader.waits = Waits::ForMore(by);
            group.waiting[by as usize].push(&mut self.readers, at);
        } else {
            reader.waits = Waits::ForFrame(by);
            group.ahead.insert(&mut self.readers, at);
        }
    }

    /// The next reader that has something to read.
    pub(super) fn next_ready(&mut self) -> Option<Command> {
        loop {
            let slot = self.ready.pop(&mut self.readers)?;
            let reader = self.readers.get_mut(slot)?;
            // More of the group came, but not as far as this reader's place.
            if let Waits::ForMore(by) = reader.waits
                && self.store.find(&mut { reader.position }, by) == Lookup::NoMore
                && let Some(group) = self.store.groups.find_mut(reader.position.group_key())
            {
                group.fast_appends = 0;
                group.waiting[by as usize].push(&mut self.readers, slot);
                continue;
            }
            reader.waits = Waits::Not;
            self.stats.woken += 1;
            return self.readers.key(slot).map(ReaderId).map(Command::Readable);
        }
    }

    /// Wakes everybody who waits for something of a group: nothing more comes of it.
    pub(super) fn wake_group(&mut self, at: u32) {
        self.wake_waiting(at);
        while let Some(group) = self.store.groups.get_mut(at)
            && let Some(first) = group.ahead.first(&self.readers)
        {
            group.ahead.remove(&mut self.readers, first);
            self.wake_one(first);
        }
    }

    /// Wakes those whose frame has come, and lets those whose frame is the next wait for more.
    pub(super) fn wake_reached(&mut self, at: u32) {
        while let Some(group) = self.store.groups.get_mut(at)
            && let Some(first) = group.ahead.first(&self.readers)
            && let Some(reader) = self.readers.get_mut(first)
            && let Waits::ForFrame(by) = reader.waits
            && reader.position.frame <= group.count
        {
            let is_here = reader.position.frame < group.count;
            reader.leave_order();
            group.ahead.remove(&mut self.readers, first);
            if is_here {
                self.wake_one(first);
            } else {
                group.waiting[by as usize].push(&mut self.readers, first);
            }
        }
    }

    /// Wakes everybody who waits for more of a group.
    pub(super) fn wake_waiting(&mut self, at: u32) {
        let Some(group) = self.store.groups.get_mut(at) else { return };
        core::mem::take(&mut group.waiting).into_iter().for_each(|waiting| self.wake(waiting));
    }

    /// Wakes those who wait for more of a group to take it by this unit.
    pub(super) fn wake_by(&mut self, at: u32, by: ReadUnit) {
        let Some(group) = self.store.groups.get_mut(at) else { return };
        let waiting = core::mem::take(&mut group.waiting[by as usize]);
        self.wake(waiting);
    }

    /// Wakes those of a row.
    pub(super) fn wake(&mut self, waiting: List<InQueue>) {
        if !waiting.is_empty() {
            self.context.pend();
        }
        self.ready.append(&mut self.readers, waiting);
    }

    /// Wakes a reader that is in no order any more.
    pub(super) fn wake_one(&mut self, at: u32) {
        self.readers.get_mut(at).into_iter().for_each(Reader::leave_order);
        self.ready.push(&mut self.readers, at);
        self.context.pend();
    }

    /// Takes a reader out of what it waits in, or of those that are ready.
    pub(super) fn stop_waiting(&mut self, at: u32) {
        let Some(reader) = self.readers.get_mut(at) else { return };
        let waits = core::mem::take(&mut reader.waits);
        let group = self.store.groups.find_mut(reader.position.group_key());
        let track = self.store.tracks.get_mut(reader.position.track);
        match (waits, group, track) {
            (Waits::Not, ..) => {}
            (Waits::ForFrame(_), Some(group), _) => group.ahead.remove(&mut self.readers, at),
            (Waits::ForLater, _, Some(track)) => track.later.remove(&mut self.readers, at),
            (Waits::ForMore(by), Some(group), _)
                if group.waiting[by as usize].may_have(&self.readers, at) =>
            {
                group.waiting[by as usize].remove(&mut self.readers, at);
            }
            (Waits::ForNewest, _, Some(track)) if track.waiting.may_have(&self.readers, at) => {
                track.waiting.remove(&mut self.readers, at);
            }
            _ => self.ready.remove(&mut self.readers, at),
        }
    }
}
