//! Every event as a call.

use super::event::{Answer, Event};
use super::{Cache, CallError, Misuse, ReadUnit, ReaderId};
use crate::Instant;

impl Cache {
    /// Makes the call that an event stands for; what it gave.
    ///
    /// Chunks of a frame of up to 4096 bytes that is not complete are copied; everything else that is
    /// read is shared.
    ///
    /// # Errors
    /// Misuse. A refusal is an answer.
    pub fn call(&mut self, now: Instant, event: Event<'_>) -> Result<Answer, Misuse> {
        let answer = match event.dispatch(self, now) {
            Ok(answer) => answer,
            Err(CallError::Refused(refusal)) => Answer::Refused(refusal),
            Err(CallError::Misuse(misuse)) => return Err(misuse),
        };
        self.context.advance(now);
        Ok(answer)
    }

    /// One step of a reader.
    pub(super) fn read(&mut self, reader: ReaderId, by: ReadUnit) -> Result<Answer, Misuse> {
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
