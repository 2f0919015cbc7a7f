//! How a receiver is written in journals.

use core::fmt::Debug;

use bytes::Bytes;

use super::Receiver;
use super::config::{AcceptAnswers, Config, Delivery, OnLoss, Start};
use super::event::{Batch, Datagram, LineId, LossReason, Origin, ServerId, SessionEnd, Source};
use crate::journal::{
    Decoder, Driven, Encoder, Field, Journaled, Malformed, Recorder, Sink, fields, newtypes,
    variants,
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
    /// Version 2 added [`LossReason`], and makes a `give_up` optional; version 3 digests a [`Batch`] by where it lies.
    const VERSION: u16 = 3;

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
fields!(Call<'a> { arrival, source, datagram });
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

/// The datagram of a batch, or what was retained of it.
mod payload {
    use super::{Decoder, Encoder, Field, Malformed, Receiver};

    pub(super) fn encode(payload: &[u8], out: &mut Encoder<'_>) {
        out.payload::<Receiver>(payload, 3);
    }

    pub(super) fn decode<'a, B: Field<'a>>(input: &mut Decoder<'a>) -> Result<B, Malformed> {
        B::decode(input)
    }
}

variants!("reason of a loss" since 2 of Receiver or LossReason::GivenUp, LossReason {
    0 => GivenUp, 1 => Unanswered, 2 => Stalled,
    3 => SessionLeft, 4 => NobodyToAsk, 5 => ClaimedOnly,
});

variants!("start", Start { 0 => At(number), 1 => Live });
variants!("delivery", Delivery { 0 => Ordered, 1 => Arrival });
variants!("conduct on loss", OnLoss { 0 => Skip, 1 => Halt });
variants!("choice of answers", AcceptAnswers { 0 => Configured, 1 => Any });
fields!(Datagram { source, bytes, pinned, arrival });
fields!(mold::Request { session, sequence, count });
variants!("source", Source { 0 => Line(line), 1 => LineFrom(line, from), 2 => Peer(from) });
variants!("origin", Origin { 0 => Line(line), 1 => Server(server), 2 => Unknown });
fields!(Batch<Bytes> { session, first, count, bytes by payload, offset, arrival, origin, repaired });
fields!(Batch<&'a [u8]> { session, first, count, bytes by payload, offset, arrival, origin, repaired });
variants!("end of a session", SessionEnd { 0 => Ended, 1 => Superseded });
