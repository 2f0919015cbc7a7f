//! Every event as a call.

use super::event::{Answer, Event};
use super::{Cache, ReadUnit, ReaderId, Refusal};
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
        let answer = event.dispatch(self, now);
        if answer.as_ref().map_or_else(Refusal::is_from_outside, |_| true) {
            self.context.advance(now);
        }
        answer
    }

    /// One step of a reader.
    pub(super) fn read(&mut self, reader: ReaderId, by: ReadUnit) -> Result<Answer, Refusal> {
        Ok(match by {
            ReadUnit::Frame => Answer::Frame(self.next_shared(reader)?),
            ReadUnit::Run => Answer::Run(self.next_run(reader)?),
            ReadUnit::Chunk => {
                let chunk = self.next_chunk_within(reader)?;
                Answer::Chunk(chunk.map(|(chunk, whole)| chunk.share_of(whole)))
            }
        })
    }
}
