//! The counters of a receiver.

use super::event::{Command, LossReason};
use crate::Duration;

/// Counts of a receiver since it was made.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Messages delivered.
    pub delivered: u64,
    /// Messages emitted as lost.
    pub lost: u64,
    /// Those of them that no data and no server spoke of, only heartbeats and ends.
    pub lost_claimed_only: u64,
    /// Those of them that quotas kept from being asked for.
    pub lost_by_quota: u64,
    /// Gaps opened.
    pub gaps: u64,
    /// Gaps of which lines brought every message.
    pub gaps_filled_by_line: u64,
    /// Gaps that are filled, some of it by answers.
    pub gaps_filled_by_request: u64,
    /// Requests sent, the probes among them.
    pub requests: u64,
    /// Messages asked for, each as often as it was asked for.
    pub requested_messages: u64,
    /// Requests that no longer matter because lines filled what was asked, or it was withdrawn.
    pub requests_cancelled: u64,
    /// Requests that were not answered in time.
    pub requests_timed_out: u64,
    /// Answers that brought something new.
    pub useful_answers: u64,
    /// Datagrams from addresses that are no configured server.
    pub unknown_peer: u64,
    /// Datagrams of lines that do not exist.
    pub unknown_line: u64,
    /// Answers in a session that is not received.
    pub foreign_answers: u64,
    /// Answers that are no packet, or have bytes behind their last block.
    pub malformed_answers: u64,
    /// Heartbeats among answers, ends too.
    pub empty_answers: u64,
    /// Packets whose session is not ASCII; they are received all the same.
    pub session_not_ascii: u64,
    /// Packets of sessions that ended before.
    pub ended_session: u64,
    /// Those of them with messages: late copies, or a sender that started over.
    pub ended_session_data: u64,
    /// Those of them that bring what the session did not have, so that its sender started over: other
    /// content of its first messages, or messages behind its end.
    pub ended_session_restarts: u64,
    /// Packets dropped, to be asked for later, because `max_held_bytes` or `max_held_packets` was
    /// reached.
    pub put_off_for_memory: u64,
    /// Packets dropped, to be asked for later, because `max_gaps` was reached.
    pub put_off_for_gaps: u64,
    /// Packets of other content than the session began with, or behind such, that go past all that is
    /// settled: dropped, until a sender that started over can be distinguished from forged packets.
    pub suspected: u64,
    /// Packets that put forward a candidate which was not believed then.
    pub unbelieved: u64,
    /// Claims of heartbeats and ends that were withdrawn because the feed contradicted them, or ended.
    pub claims_withdrawn: u64,
    /// Ends of session that contradicted messages believed to exist, and those revoked by data or
    /// withdrawn.
    pub ends_refused: u64,
    /// Packets that brought a message with other bytes than before: see
    /// [`Command::Contradiction`](super::Command::Contradiction).
    pub contradictions: u64,
    /// Messages copied into blocks of the receiver's own.
    pub copied_packets: u64,
    /// Blocks allocated for that.
    pub blocks_allocated: u64,
}

impl Stats {
    /// Counts what leaves.
    pub(super) fn count(&mut self, command: &Command) {
        match command {
            Command::Batch(batch) => self.delivered += u64::from(batch.count),
            Command::Request { request, .. } => {
                self.requests += 1;
                self.requested_messages += u64::from(request.count);
            }
            Command::GapOpened { .. } => self.gaps += 1,
            Command::GapFilled { by_answers: 0, .. } => self.gaps_filled_by_line += 1,
            Command::GapFilled { .. } => self.gaps_filled_by_request += 1,
            Command::Lost { first, last, reason, .. } => {
                let count = last - first + 1;
                self.lost = self.lost.saturating_add(count);
                let counted = match reason {
                    LossReason::ClaimedOnly => &mut self.lost_claimed_only,
                    LossReason::Quota => &mut self.lost_by_quota,
                    _ => return,
                };
                *counted = counted.saturating_add(count);
            }
            _ => {}
        }
    }
}

/// Counts of a receiver for one line.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LineStats {
    /// It brought a packet within `line_timeout`.
    pub up: bool,
    /// Packets of the received sessions, heartbeats included.
    pub packets: u64,
    /// Messages that it brought first.
    pub messages_first: u64,
    /// Messages that were there already.
    pub duplicates: u64,
    /// Messages that came after they were emitted as lost.
    pub late: u64,
    /// Datagrams that are no packet: dropped whole.
    pub malformed: u64,
    /// Packets with bytes behind their last block: received without them.
    pub trailing: u64,
    /// Packets of other sessions: dropped.
    pub foreign: u64,
    /// How long it is behind the line that brings a message first: smoothed.
    pub lag: Duration,
    /// The longest that it was behind.
    pub max_lag: Duration,
}

/// Counts and measurements of a receiver for one server.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ServerStats {
    /// Requests sent to it.
    pub requests: u64,
    /// Requests that it did not answer in time.
    pub timeouts: u64,
    /// Answers that brought something new.
    pub useful_answers: u64,
    /// Messages that it brought first.
    pub messages_first: u64,
    /// Messages that were there already.
    pub duplicates: u64,
    /// Requests under way.
    pub in_flight: u8,
    /// Requests that may be under way.
    pub window: u8,
    /// How many messages it is asked for at once.
    pub answer_size: u16,
    /// The smoothed round trip; zero before the first.
    pub round_trip: Duration,
    /// Requests that the quotas leave now; `None` where none counts requests.
    pub requests_left: Option<u64>,
    /// Messages that the quotas leave to be asked for now; `None` where none counts messages.
    pub messages_left: Option<u64>,
}
