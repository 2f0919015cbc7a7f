//! How a receiver is written in journals.

use alloc::vec::Vec;
use core::fmt::Debug;

use bytes::Bytes;

use super::Receiver;
use super::config::{AcceptAnswers, Config, Delivery, OnLoss, Start};
use super::event::{Batch, Datagram, LineId, LossReason, Origin, ServerId, SessionEnd, Source};
use super::quota::{Quota, QuotaUnit, QuotaUse};
use crate::journal::{
    Decoder, Digest, Driven, Encoder, Field, Journaled, Malformed, Recorder, Sink, fields,
    newtypes, variants,
};
use crate::wire::brief::Brief;
use crate::wire::mold;
use crate::{Duration, Instant};

impl<S: Sink> Recorder<Receiver, S> {
    /// [`Receiver::receive`], recorded.
    #[inline]
    pub fn receive<'a>(
        &mut self,
        now: Instant,
        source: Source,
        datagram: &'a [u8],
    ) -> Option<Batch<&'a [u8]>> {
        Driven::call(self, now, Call { arrival: now, source, datagram })
    }
}

/// The arguments of [`Receiver::receive_stamped`].
#[derive(Clone, Copy)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Call<'a> {
    /// When the datagram arrived.
    pub arrival: Instant,
    /// Its source.
    pub source: Source,
    /// All of it.
    pub datagram: &'a [u8],
}

impl Debug for Call<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { arrival, source, datagram } = self;
        write!(f, "{source}: {:?}, arrived {arrival:?}", Brief(datagram))
    }
}

impl Journaled for Receiver {
    const NAME: &'static str = "receiver";
    /// Version 2 added [`LossReason`], and makes a `give_up` optional; version 3 digests a [`Batch`] where it lies;
    /// version 4 has quotas, asks in stretches, and at once where the only line reorders nothing.
    const VERSION: u16 = 4;

    type Call<'a> = Call<'a>;
    type Answer<'a> = Option<Batch<&'a [u8]>>;

    #[inline(always)]
    fn call<'a>(&mut self, now: Instant, call: Self::Call<'a>) -> Self::Answer<'a> {
        self.receive_stamped(now, call.arrival, call.source, call.datagram)
    }

    fn is_misuse(_answer: &Self::Answer<'_>) -> bool {
        false
    }
}

newtypes!(LineId, ServerId);
impl<'a> Field<'a> for Call<'a> {
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        if let Source::Line(LineId(line)) = self.source {
            // In one piece, since nearly every datagram comes by a line.
            let [a0, a1, a2, a3, a4, a5, a6, a7] = self.arrival.as_nanos().to_le_bytes();
            out.put(&[a0, a1, a2, a3, a4, a5, a6, a7, 0, line]);
        } else {
            (self.arrival, self.source).encode(out);
        }
        self.datagram.encode(out);
    }

    fn decode(input: &mut Decoder<'a>) -> Result<Self, Malformed> {
        let ((arrival, source), datagram) = Field::decode(input)?;
        Ok(Self { arrival, source, datagram })
    }
}

fields!(Config {
    session,
    follow,
    start,
    delivery,
    on_loss,
    lines,
    servers,
    accept_answers,
    reorder_packets,
    reorder_delay,
    max_reorder_delay,
    line_timeout,
    quotas by since_4,
    used by since_4,
    max_request,
    max_in_flight,
    initial_request_timeout,
    min_request_timeout,
    max_request_timeout,
    max_backoff,
    give_up by give_up,
    max_attempts,
    max_stall,
    max_held_bytes,
    max_held_packets,
    max_gaps,
    max_jump,
    believe_after,
    quiet,
    session_grace,
    probe_after,
    seed,
});
/// The configuration's `give_up`, which has no default before version 2: `None` is written there as the
/// longest duration.
mod give_up {
    use super::{Decoder, Duration, Encoder, Field, Malformed, Receiver};

    const LONGEST: Duration = Duration::from_nanos(u64::MAX);

    pub(super) fn encode(give_up: &Option<Duration>, out: &mut Encoder<'_>) {
        match out.version_of::<Receiver>() {
            0..2 => give_up.unwrap_or(LONGEST).encode(out),
            _ => give_up.encode(out),
        }
    }

    pub(super) fn decode(input: &mut Decoder<'_>) -> Result<Option<Duration>, Malformed> {
        match input.version_of::<Receiver>() {
            0..2 => Duration::decode(input).map(Some),
            _ => Option::decode(input),
        }
    }
}

/// Lists that are not there before version 4.
mod since_4 {
    use super::{Decoder, Encoder, Field, Malformed, Receiver, Vec};

    pub(super) fn encode<'a, T: Field<'a>>(list: &Vec<T>, out: &mut Encoder<'_>) {
        if out.version_of::<Receiver>() >= 4 {
            list.encode(out);
        }
    }

    pub(super) fn decode<'a, T: Field<'a>>(input: &mut Decoder<'a>) -> Result<Vec<T>, Malformed> {
        match input.version_of::<Receiver>() {
            0..4 => Ok(Vec::new()),
            _ => Vec::decode(input),
        }
    }
}

fields!(Quota { unit, most, window });
fields!(QuotaUse { server, unit, window, count, age });
variants!("unit of a quota", QuotaUnit { 0 => Requests, 1 => Messages });

variants!("reason of a loss" since 2 of Receiver or LossReason::GivenUp, LossReason {
    0 => GivenUp, 1 => Unanswered, 2 => Stalled,
    3 => SessionLeft, 4 => NobodyToAsk, 5 => ClaimedOnly, 6 => Quota,
});

variants!("start", Start { 0 => At(number), 1 => Live });
variants!("delivery", Delivery { 0 => Ordered, 1 => Arrival });
variants!("conduct on loss", OnLoss { 0 => Skip, 1 => Halt });
variants!("choice of answers", AcceptAnswers { 0 => Configured, 1 => Any });
fields!(Datagram { source, bytes, pinned, arrival });
fields!(mold::Request { session, sequence, count });
variants!("source", Source { 0 => Line(line), 1 => LineFrom(line, from), 2 => Peer(from) });
variants!("origin", Origin { 0 => Line(line), 1 => Server(server), 2 => Unknown });
variants!("end of a session", SessionEnd { 0 => Ended, 1 => Superseded });

fields!(Batch<Bytes> { session, first, count, bytes, offset, arrival, origin, repaired } or digest since 3 of Receiver);
fields!(Batch<&'a [u8]> { session, first, count, bytes, offset, arrival, origin, repaired } or digest since 3 of Receiver);

/// What stands for a batch where it is only digested: the value of a [`Digest`] of its bytes, where they lie, and of
/// the rest in one piece.
#[inline]
fn digest<B: AsRef<[u8]>>(batch: &Batch<B>) -> u32 {
    let Batch { session, first, count, ref bytes, offset, arrival, origin, repaired } = *batch;
    let (kind, number) = match origin {
        Origin::Line(LineId(number)) => (0, number),
        Origin::Server(ServerId(number)) => (1, number),
        Origin::Unknown => (2, 0),
    };
    let [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9] = *session.as_bytes();
    let [n0, n1] = count.to_le_bytes();
    let front = [s0, s1, s2, s3, s4, s5, s6, s7];
    let source = [s8, s9, n0, n1, kind, number, repaired.into(), 0];
    let numbers = [first, bytes.as_ref().len() as u64, offset as u64, arrival.as_nanos()];
    let [first, len, offset, arrival] = numbers.map(u64::to_le_bytes);
    let mut digest = Digest::of(bytes.as_ref());
    digest.update([front, source, first, len, offset, arrival].as_flattened());
    digest.value()
}
