//! The calls that a cache must refuse, and why.

use gapless_core::cache::{CallError, Event, GroupId, MAX_NAME, Misuse, Refusal, TrackId};

use super::oracle::{Group, Life, Model, Slot, State};

/// A group has no more indices than these.
const MOST_FRAMES: u64 = u32::MAX as u64 - 1;

impl Model {
    /// Whether an event must be refused, and why.
    pub(super) fn allows(&self, event: &Event<'_>) -> Result<(), CallError> {
        match *event {
            Event::CreateTrack { name, .. } => {
                if name.is_empty() || name.len() > MAX_NAME {
                    return Err(Misuse::Name(name.len()).into());
                }
                let known = self.names.get(name).map(|track| self.tracks[track].life);
                if known == Some(Life::Live) { Err(Refusal::NameTaken.into()) } else { Ok(()) }
            }
            Event::FinishTrack { track, end } => {
                let track = self.track(track)?;
                match (track.life, end, track.newest) {
                    (Life::Live, Some(end), Some(newest)) if end < newest => {
                        Err(Refusal::EndsBefore { newest }.into())
                    }
                    (Life::Live, ..) => Ok(()),
                    _ => Err(Misuse::TrackEnded.into()),
                }
            }
            Event::AbortTrack { track, .. } => match self.track(track)?.life {
                Life::Live | Life::Finished { closed: false, .. } => Ok(()),
                _ => Err(Misuse::TrackEnded.into()),
            },
            Event::DropTrack { track }
            | Event::Seal { track }
            | Event::OpenReader { track, .. } => {
                self.track(track)?;
                Ok(())
            }
            Event::CreateGroup { track, sequence } => self.allows_group(track, sequence, false),
            Event::SkipGroup { track, sequence } => self.allows_group(track, sequence, true),
            Event::AppendGroup { track } => {
                self.allows_group(track, self.track(track)?.next(), false)
            }
            Event::Append { group, frame } => self.allows_frame(group, frame.len() as u64),
            Event::OpenFrame { group, size } => self.allows_frame(group, size),
            Event::Write { group, chunk } => {
                let open = self.writable(group)?.open.as_ref().ok_or(Misuse::NoFrame)?;
                let (len, left) = (chunk.len() as u64, open.size - open.bytes.len() as u64);
                if len > left {
                    return Err(Refusal::PastSize { len, left }.into());
                }
                let publisher = self.tracks[&self.groups[&group].0].publisher;
                let bytes = self.unfinished.get(&publisher).unwrap_or(&0) + len;
                let max = self.config.max_unfinished;
                if len < left && bytes > max {
                    return Err(Refusal::Unfinished { bytes, max }.into());
                }
                Ok(())
            }
            Event::AppendMissing { group, count, .. } => {
                let group = self.complete(group)?;
                if count > MOST_FRAMES - group.next {
                    return Err(Refusal::UsedUp.into());
                }
                Ok(())
            }
            Event::Put { group, index, frame } => self.allows_put(group, index, frame),
            Event::FinishGroup { group } => {
                self.complete(group)?;
                Ok(())
            }
            Event::AbortGroup { group, .. } => match self.group(group)?.state {
                State::Open | State::Finished => Ok(()),
                State::Aborted { code, .. } => Err(Misuse::Aborted(code).into()),
                State::Skipped => Err(Misuse::Skipped.into()),
            },
            Event::DropGroup { group } => {
                self.group(group)?;
                Ok(())
            }
            Event::CloneReader { reader }
            | Event::CloseReader { reader }
            | Event::Seek { reader, .. } => {
                self.readers.get(&reader).map(|_| ()).ok_or(Misuse::UnknownReader.into())
            }
            Event::NextFrame { .. }
            | Event::Read { .. }
            | Event::AppendShared { .. }
            | Event::WriteShared { .. } => {
                unreachable!("the play judges those itself")
            }
        }
    }

    fn allows_group(&self, track: TrackId, sequence: u64, skips: bool) -> Result<(), CallError> {
        let track = self.track(track)?;
        match track.life {
            Life::Live => {}
            Life::Finished { end: Some(end), closed: false } => {
                if sequence > end {
                    return Err(Refusal::BeyondEnd { sequence, end }.into());
                }
            }
            _ => return Err(Misuse::TrackEnded.into()),
        }
        let last = track.last_allowed(self.config.window);
        if sequence > last {
            return Err(Refusal::BeyondWindow { sequence, last }.into());
        }
        match track.groups.get(&sequence) {
            Some(group) if skips || group.state != State::Skipped => {
                Err(Refusal::Duplicate(sequence).into())
            }
            _ => Ok(()),
        }
    }

    /// A group that can be written to.
    fn writable(&self, group: GroupId) -> Result<&Group, Misuse> {
        let group = self.group(group)?;
        match group.state {
            State::Open => Ok(group),
            State::Finished => Err(Misuse::GroupEnded),
            State::Aborted { code, .. } => Err(Misuse::Aborted(code)),
            State::Skipped => Err(Misuse::Skipped),
        }
    }

    /// A group that can be written to, without an incomplete frame.
    fn complete(&self, group: GroupId) -> Result<&Group, CallError> {
        let group = self.writable(group)?;
        match &group.open {
            Some(open) => Err(Refusal::Short { left: open.size - open.bytes.len() as u64 }.into()),
            None => Ok(group),
        }
    }

    fn allows_frame(&self, group: GroupId, size: u64) -> Result<(), CallError> {
        let group = self.complete(group)?;
        if size > self.config.max_frame {
            return Err(Refusal::FrameTooLarge { size, max: self.config.max_frame }.into());
        }
        if group.next == MOST_FRAMES {
            return Err(Refusal::UsedUp.into());
        }
        Ok(())
    }

    fn allows_put(&self, id: GroupId, index: u64, frame: &[u8]) -> Result<(), CallError> {
        let group = self.group(id)?;
        match group.state {
            State::Open | State::Finished => {}
            State::Aborted { code, .. } => return Err(Misuse::Aborted(code).into()),
            State::Skipped => return Err(Misuse::Skipped.into()),
        }
        let (next, floor) = (group.next, group.floor);
        if index == next {
            return self.allows_frame(id, frame.len() as u64);
        }
        if index > next {
            return Err(Refusal::NotNext { index, next }.into());
        }
        if index < floor {
            return Err(Refusal::FrameEvicted { index, floor }.into());
        }
        let (size, max) = (frame.len() as u64, self.config.max_frame);
        match group.slot(index) {
            _ if size > max => Err(Refusal::FrameTooLarge { size, max }.into()),
            Some((_, Slot::Held { bytes, .. })) if bytes[..] != *frame => {
                Err(Refusal::Contradiction(index).into())
            }
            _ => Ok(()),
        }
    }

    /// Counts a refusal.
    pub(super) fn count(&mut self, refusal: Refusal) {
        let stats = &mut self.stats;
        match refusal {
            Refusal::Contradiction(_) => stats.contradictions += 1,
            Refusal::Duplicate(_) | Refusal::NameTaken => stats.duplicates += 1,
            Refusal::BeyondWindow { .. }
            | Refusal::BeyondEnd { .. }
            | Refusal::EndsBefore { .. }
            | Refusal::NotNext { .. } => stats.beyond += 1,
            Refusal::FrameTooLarge { .. } | Refusal::PastSize { .. } => stats.oversized += 1,
            Refusal::Unfinished { .. } | Refusal::Short { .. } => stats.unfinished += 1,
            Refusal::FrameEvicted { .. } => stats.late += 1,
            Refusal::Full { .. } | Refusal::UsedUp => stats.full += 1,
            _ => {}
        }
    }
}
