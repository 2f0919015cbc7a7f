//! How a cache is written in journals.

use bytes::Bytes;

use super::event::narrow;
use super::{
    Answer, Cache, Chunk, Config, Event, Frame, Limits, Missing, Misuse, Next, Put, ReadUnit,
    ReaderId, Run, Start,
};
use crate::journal::{
    Decoder, Encoder, Field, Journaled, Malformed, Recorder, Sink, fields, variants,
};
use crate::{Instant, Machine};

impl<S: Sink> Recorder<Cache, S> {
    /// [`Cache::next_frame`], recorded as [`Event::NextFrame`].
    ///
    /// # Errors
    /// As there.
    pub fn next_frame(&mut self, reader: ReaderId) -> Result<Next<Frame<&[u8]>>, Misuse> {
        let now = self.context().now();
        let (cache, begun) = self.begin_call(now, &Event::NextFrame { reader });
        let lent = cache.next_frame(reader).map(|next| (ANSWER_FRAME, next));
        begun.end(&lent, lent.is_err());
        lent.map(|(_, next)| next)
    }
}

/// The number of [`Answer::Frame`].
const ANSWER_FRAME: u8 = 5;

/// A direct call is any event, and returns what [`Cache::call`] does.
impl Journaled for Cache {
    const NAME: &'static str = "cache";
    /// Version 2 added [`Event::Seal`], and digests a [`Run`] by where it lies; version 3 added [`Event::NextFrame`], and
    /// digests frames and chunks by where they lie; version 4 reserves for publishers.
    const VERSION: u16 = 4;

    type Call<'a> = Event<'a>;
    type Answer<'a> = Result<Answer, Misuse>;

    fn call<'a>(&mut self, now: Instant, call: Self::Call<'a>) -> Self::Answer<'a> {
        Self::call(self, now, call)
    }

    fn is_misuse(answer: &Self::Answer<'_>) -> bool {
        answer.is_err()
    }

    fn keep_checksums(&mut self) {
        self.store.keeps_checksums = true;
    }
}

/// Before version 4 nothing was reserved for publishers.
impl Field<'_> for Config {
    fn encode(&self, out: &mut Encoder<'_>) {
        let Self { max_bytes, max_frame, window, max_unfinished, max_publishers, reserve } = *self;
        ((max_bytes, max_frame), (window, max_unfinished)).encode(out);
        if out.version_of::<Cache>() >= 4 {
            (max_publishers, reserve).encode(out);
        }
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let ((max_bytes, max_frame), (window, max_unfinished)) = Field::decode(input)?;
        let (max_publishers, reserve) =
            if input.version_of::<Cache>() >= 4 { Field::decode(input)? } else { (0, 0) };
        Ok(Self { max_bytes, max_frame, window, max_unfinished, max_publishers, reserve })
    }
}

/// Misuse is written as a refusal: journals have such from before it left no trace.
impl<'a, A: Field<'a>> Field<'a> for Result<A, Misuse> {
    fn encode(&self, out: &mut Encoder<'_>) {
        match self {
            Ok(answer) => answer.encode(out),
            Err(misuse) => (8_u8, *misuse).encode(out),
        }
    }

    fn decode(input: &mut Decoder<'a>) -> Result<Self, Malformed> {
        let mut ahead = *input;
        if let Ok((8_u8, misuse)) = Field::decode(&mut ahead) {
            *input = ahead;
            return Ok(Err(misuse));
        }
        A::decode(input).map(Ok)
    }
}

/// Its fields; where it is only digested, from version 2 on, where it lies: eight bytes each for the group, its
/// first frame, the offset within that, the size that goes before (all ones without), and its length; then the
/// checksum of its piece, and how many frames.
impl Field<'_> for Run {
    fn encode(&self, out: &mut Encoder<'_>) {
        let Self { group, first, frames, offset, head, bytes, checksum } = self;
        if out.is_digest() && out.version_of::<Cache>() >= 2 {
            let (head, len) = (head.unwrap_or(u64::MAX), bytes.len() as u64);
            let sum = *frames << 32 | u64::from(*checksum);
            let place = [*group, *first, *offset, head, len, sum].map(u64::to_le_bytes);
            return out.put(place.as_flattened());
        }
        (*group, *first).encode(out);
        narrow::encode(frames, out);
        offset.encode(out);
        head.encode(out);
        bytes.encode(out);
    }

    fn decode(input: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let (group, first) = Field::decode(input)?;
        let (frames, offset) = (narrow::decode(input)?, Field::decode(input)?);
        let (head, bytes) = Field::decode(input)?;
        Ok(Self { group, first, frames, offset, head, bytes, checksum: 0 })
    }
}

/// The payload of a frame or a chunk.
mod payload {
    use super::{Cache, Decoder, Encoder, Field, Malformed};

    pub(super) fn encode(payload: &[u8], out: &mut Encoder<'_>) {
        out.payload::<Cache>(payload, 3);
    }

    pub(super) fn decode<'a, B: Field<'a>>(input: &mut Decoder<'a>) -> Result<B, Malformed> {
        B::decode(input)
    }
}

fields!(Limits { max_age, max_groups, max_group_bytes, max_group_frames, first_group });
variants!("place to start", Start { 0 => At { group, frame }, 1 => Oldest, 2 => Newest, 3 => Live });
variants!("reason to be missing", Missing { 0 => Lost, 1 => Absent });
variants!("unit of reading", ReadUnit { 0 => Frame, 1 => Chunk, 2 => Run });
variants!("fate of a frame", Put { 0 => Appended, 1 => Filled, 2 => Duplicate });
fields!(Frame<Bytes> { group, index, bytes by payload });
fields!(Frame<&'a [u8]> { group, index, bytes by payload });
fields!(Chunk<Bytes> { group, index, size, offset, bytes by payload });
// The numbers of misuse and of refusals are one sequence. 0 was a refusal of calls before a drain.
variants!("misuse", Misuse {
    1 => UnknownTrack,
    2 => UnknownGroup,
    3 => UnknownReader,
    4 => Name(len),
    6 => TrackEnded,
    11 => GroupEnded,
    12 => Aborted(code),
    13 => Skipped,
    17 => NoFrame,
    24 => WithinFrame,
} unwritten { Config, Undrained });
variants!("reading" for T, Next<T> {
    0 => Held(held),
    1 => Missing { group, first, count, why },
    2 => Parts { group, index, size },
    3 => GroupEnd { group, frames },
    4 => Skipped { group },
    5 => Aborted { group, code },
    6 => Evicted { group, frame, next },
    7 => TrackEnd,
    8 => TrackAborted { code },
    9 => Pending,
});
