//! Every event as a call.

use super::event::{Answer, Event};
use super::{Cache, ReadUnit, Refusal};
use crate::Instant;

impl Cache {
    /// Makes the call that an event stands for; what it gave.
    ///
    /// Chunks of a frame of up to 4096 bytes that is not complete are copied; everything else that is
    /// read is shared.
    ///
    /// # Errors
    /// Those of the call.
    pub fn call(&mut self, now: Instant, event: Event<'_>) -> Result<Answer, Refusal> {
        let answer = self.answer_to(now, event);
        if answer.as_ref().map_or_else(Refusal::is_from_outside, |_| true) {
            self.now = self.now.max(now);
        }
        answer
    }

    fn answer_to(&mut self, now: Instant, event: Event<'_>) -> Result<Answer, Refusal> {
        let done = |()| Answer::Done;
        let at_index = |_: u64| Answer::Done;
        match event {
            Event::CreateTrack { name, publisher, limits } => {
                self.create_track(now, name, publisher, limits).map(Answer::Track)
            }
            Event::FinishTrack { track, end } => self.finish_track(track, end).map(done),
            Event::AbortTrack { track, code } => self.abort_track(track, code).map(done),
            Event::DropTrack { track } => self.drop_track(track).map(done),
            Event::CreateGroup { track, sequence } => {
                self.create_group(now, track, sequence).map(Answer::Group)
            }
            Event::AppendGroup { track } => self.append_group(now, track).map(Answer::Group),
            Event::SkipGroup { track, sequence } => self.skip_group(now, track, sequence).map(done),
            Event::Append { group, frame } => self.append(group, frame).map(at_index),
            Event::AppendShared { group, frame, pinned } => {
                self.append_shared(group, frame, pinned).map(at_index)
            }
            Event::OpenFrame { group, size } => self.open_frame(group, size).map(at_index),
            Event::Write { group, chunk } => self.write(group, chunk).map(done),
            Event::WriteShared { group, chunk, pinned } => {
                self.write_shared(group, chunk, pinned).map(done)
            }
            Event::AppendMissing { group, count, why } => {
                self.append_missing(group, count, why).map(at_index)
            }
            Event::Put { group, index, frame } => self.put(group, index, frame).map(Answer::Put),
            Event::FinishGroup { group } => self.finish_group(group).map(done),
            Event::AbortGroup { group, code } => self.abort_group(group, code).map(done),
            Event::DropGroup { group } => self.drop_group(group).map(done),
            Event::OpenReader { track, start } => {
                self.open_reader(track, start).map(Answer::Reader)
            }
            Event::CloneReader { reader } => self.clone_reader(reader).map(Answer::Reader),
            Event::CloseReader { reader } => self.close_reader(reader).map(done),
            Event::Seek { reader, start } => self.seek(reader, start).map(done),
            Event::Seal { track } => self.seal(track).map(done),
            Event::Read { reader, by: ReadUnit::Frame } => {
                self.next_shared(reader).map(Answer::Frame)
            }
            Event::Read { reader, by: ReadUnit::Run } => self.next_run(reader).map(Answer::Run),
            Event::Read { reader, by: ReadUnit::Chunk } => {
                let chunk = self.next_chunk_bytes(reader)?;
                Ok(Answer::Chunk(chunk.map(|chunk| chunk.map(|bytes| bytes.share()))))
            }
        }
    }
}
