//! The calls that a cache must refuse, and why.

use gapless_core::cache::{Event, GroupId, MAX_NAME, Refusal, TrackId};

use super::oracle::{Group, Life, Model, Slot, State};

/// A group has no more indices than these.
const MOST_FRAMES: u64 = u32::MAX as u64 - 1;

impl Model {
    /// Whether an event must be refused, and why.
    pub(super) fn allows(&self, event: &Event<'_>) -> Result<(), Refusal> {
        match *event {
            Event::CreateTrack { name, .. } => {
                if name.is_empty() || name.len() > MAX_NAME {
                    return Err(Refusal::Name(name.len()));
                }
                let known = self.names.get(name).map(|track| self.tracks[track].life);
                if known == Some(Life::Live) { Err(Refusal::NameTaken) } else { Ok(()) }
            }
            Event::FinishTrack { track, end } => {
                let track = self.track(track)?;
                match (track.life, end, track.newest) {
                    (Life::Live, Some(end), Some(newest)) if end < newest => {
                        Err(Refusal::EndsBefore { newest })
                    }
                    (Life::Live, ..) => Ok(()),
                    _ => Err(Refusal::TrackEnded),
                }
            }
            Event::AbortTrack { track, .. } => match self.track(track)?.life {
                Life::Live | Life::Finished { closed: false, .. } => Ok(()),
                _ => Err(Refusal::TrackEnded),
            },
            Event::DropTrack { track } | Event::Seal { track } => self.track(track).map(|_| ()),
            Event::CreateGroup { track, sequence } => self.allows_group(track, sequence, false),
            Event::SkipGroup { track, sequence } => self.allows_group(track, sequence, true),
            Event::AppendGroup { track } => {
                self.allows_group(track, self.track(track)?.next(), false)
            }
            Event::Append { group, frame } => self.allows_frame(group, frame.len() as u64),
            Event::OpenFrame { group, size } => self.allows_frame(group, size),
            Event::Write { group, chunk } => {
                let open = self.writable(group)?.open.as_ref().ok_or(Refusal::NoFrame)?;
                let (len, left) = (chunk.len() as u64, open.size - open.bytes.len() as u64);
                if len > left {
                    return Err(Refusal::PastSize { len, left });
                }
                let publisher = self.tracks[&self.groups[&group].0].publisher;
                let bytes = self.unfinished.get(&publisher).unwrap_or(&0) + len;
                let max = self.config.max_unfinished;
                if len < left && bytes > max {
                    return Err(Refusal::Unfinished { bytes, max });
                }
                Ok(())
            }
            Event::AppendMissing { group, count, .. } => {
                let group = self.complete(group)?;
                if group.next + u64::from(count) > MOST_FRAMES {
                    return Err(Refusal::UsedUp);
                }
                Ok(())
            }
            Event::Put { group, index, frame } => self.allows_put(group, index, frame),
            Event::FinishGroup { group } => self.complete(group).map(|_| ()),
            Event::AbortGroup { group, .. } => match self.group(group)?.state {
                State::Open | State::Finished => Ok(()),
                State::Aborted { code, .. } => Err(Refusal::Aborted(code)),
                State::Skipped => Err(Refusal::Skipped),
            },
            Event::DropGroup { group } => self.group(group).map(|_| ()),
            Event::OpenReader { track, .. } => self.track(track).map(|_| ()),
            Event::CloneReader { reader }
            | Event::CloseReader { reader }
            | Event::Seek { reader, .. } => {
                self.readers.get(&reader).map(|_| ()).ok_or(Refusal::UnknownReader)
            }
            Event::Read { .. } | Event::AppendShared { .. } | Event::WriteShared { .. } => {
                unreachable!("the play judges those itself")
            }
        }
    }

    fn allows_group(&self, track: TrackId, sequence: u64, skips: bool) -> Result<(), Refusal> {
        let track = self.track(track)?;
        match track.life {
            Life::Live => {}
            Life::Finished { end: Some(end), closed: false } => {
                if sequence > end {
                    return Err(Refusal::BeyondEnd { sequence, end });
                }
            }
            _ => return Err(Refusal::TrackEnded),
        }
        let last = track.last_allowed(self.config.window);
        if sequence > last {
            return Err(Refusal::BeyondWindow { sequence, last });
        }
        match track.groups.get(&sequence) {
            Some(group) if skips || group.state != State::Skipped => {
                Err(Refusal::Duplicate(sequence))
            }
            _ => Ok(()),
        }
    }

    /// A group that can be written to.
    fn writable(&self, group: GroupId) -> Result<&Group, Refusal> {
        let group = self.group(group)?;
        match group.state {
            State::Open => Ok(group),
            State::Finished => Err(Refusal::GroupEnded),
            State::Aborted { code, .. } => Err(Refusal::Aborted(code)),
            State::Skipped => Err(Refusal::Skipped),
        }
    }

    /// A group that can be written to, without an incomplete frame.
    fn complete(&self, group: GroupId) -> Result<&Group, Refusal> {
        let group = self.writable(group)?;
        match &group.open {
            Some(open) => Err(Refusal::Short { left: open.size - open.bytes.len() as u64 }),
            None => Ok(group),
        }
    }

    fn allows_frame(&self, group: GroupId, size: u64) -> Result<(), Refusal> {
        let group = self.complete(group)?;
        if size > self.config.max_frame {
            return Err(Refusal::FrameTooLarge { size, max: self.config.max_frame });
        }
        if group.next == MOST_FRAMES {
            return Err(Refusal::UsedUp);
        }
        Ok(())
    }

    fn allows_put(&self, id: GroupId, index: u64, frame: &[u8]) -> Result<(), Refusal> {
        let group = self.group(id)?;
        match group.state {
            State::Open | State::Finished => {}
            State::Aborted { code, .. } => return Err(Refusal::Aborted(code)),
            State::Skipped => return Err(Refusal::Skipped),
        }
        let (next, floor) = (group.next, group.floor);
        if index == next {
            return self.allows_frame(id, frame.len() as u64);
        }
        if index > next {
            return Err(Refusal::NotNext { index, next });
        }
        if index < floor {
            return Err(Refusal::FrameEvicted { index, floor });
        }
        let (size, max) = (frame.len() as u64, self.config.max_frame);
        match group.slot(index) {
            _ if size > max => Err(Refusal::FrameTooLarge { size, max }),
            Some((_, Slot::Held { bytes, .. })) if bytes[..] != *frame => {
                Err(Refusal::Contradiction(index))
            }
            _ => Ok(()),
        }
    }

    /// Counts a refusal.
    pub(super) fn count(&mut self, refusal: Refusal) {
        let stats = &mut self.stats;
        match refusal {
            Refusal::Contradiction(_) => stats.contradictions += 1,
            Refusal::Duplicate(_) => stats.duplicates += 1,
            Refusal::BeyondWindow { .. } | Refusal::BeyondEnd { .. } => stats.beyond += 1,
            Refusal::FrameTooLarge { .. } | Refusal::PastSize { .. } => stats.oversized += 1,
            Refusal::Unfinished { .. } => stats.unfinished += 1,
            Refusal::FrameEvicted { .. } => stats.late += 1,
            Refusal::Full { .. } | Refusal::UsedUp => stats.full += 1,
            _ => {}
        }
    }
}
