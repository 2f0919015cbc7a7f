//! The summary in the end: one JSON object for each session, or a short table.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use gapless_core::Machine;
use gapless_core::receiver::{Receiver, ServerId, Stats};
use gapless_mio::{LineReport, ReceiverDriver};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::address::line_name;
use crate::journal::Recorder;
use crate::ranges::Ranges;
use crate::statistics::{Consumer, Ledger, SessionStats};
use crate::text::{Table, plural, speed};
use crate::watch;

/// How receiving ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// It has not ended yet.
    Running,
    /// The session's sender said that it is over.
    Ended,
    /// Another session took its place.
    Superseded,
    /// A time limit passed.
    TimedOut,
    /// Something was lost, and delivery stopped there.
    Halted,
    /// The sender of a line started over.
    Regressed,
    /// A signal asked for an end.
    Interrupted,
}

impl End {
    /// In a table.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Running => "not yet",
            Self::Ended => "the session ended",
            Self::Superseded => "another session took its place",
            Self::Regressed => "a sender started over",
            Self::TimedOut => "timed out",
            Self::Halted => "halted behind a loss",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The summary of one session that was received.
#[derive(Debug, Serialize)]
pub(crate) struct Received {
    /// `None` when no session came.
    pub(crate) session: Option<String>,
    pub(crate) first_sequence: u64,
    pub(crate) next_sequence: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) lost_ranges: Ranges,
    /// How many more there are than are listed while it goes on.
    pub(crate) lost_ranges_left_out: usize,
    /// How many messages were lost for which reason.
    pub(crate) lost_reasons: BTreeMap<String, u64>,
    /// Claims of heartbeats and ends that the feed contradicted.
    pub(crate) claims_withdrawn: u64,
    /// Ranges that were neither delivered nor lost when receiving ended.
    pub(crate) missing_ranges: Ranges,
    /// How many more there are than are listed while it goes on.
    pub(crate) missing_ranges_left_out: usize,
    /// Ranges that too few packets spoke of, so that they are neither asked for nor lost.
    pub(crate) stalls: u64,
    /// How often the sender of a line started over.
    pub(crate) regressions: u64,
    /// How often a message came again with other bytes than were held of it.
    pub(crate) contradictions: u64,
    pub(crate) gaps: u64,
    pub(crate) gaps_filled_by_line: u64,
    pub(crate) gaps_filled_by_request: u64,
    pub(crate) requests: u64,
    pub(crate) requested_messages: u64,
    pub(crate) repair_micros: Option<RepairTime>,
    pub(crate) lines: Vec<ReceivedLine>,
    pub(crate) servers: Vec<Server>,
    #[serde(flatten)]
    pub(crate) unwanted: Unwanted,
    /// Sessions that came and are not received, with their packets since the start.
    pub(crate) foreign_sessions: Vec<Foreign>,
    pub(crate) end: End,
    pub(crate) elapsed_seconds: f64,
}

/// How long gaps were open until they were filled, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct RepairTime {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) max: u64,
}

/// The share of a line in a session.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub(crate) struct ReceivedLine {
    pub(crate) packets: u64,
    pub(crate) messages_first: u64,
    pub(crate) duplicates: u64,
    pub(crate) late: u64,
    pub(crate) malformed: u64,
    /// Packets with bytes behind their last message, received without them.
    pub(crate) trailing: u64,
    /// Packets of other sessions.
    pub(crate) foreign: u64,
    pub(crate) kernel_drops: u64,
    /// Datagrams longer than UDP allows.
    pub(crate) cut: u64,
    /// Reads that failed.
    pub(crate) read_errors: u64,
    /// How often it went down.
    pub(crate) downs: u64,
    /// How often its interface went away.
    pub(crate) interface_losses: u64,
}

/// The share of a server in a session.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) requests: u64,
    /// Requests that were not answered in time.
    pub(crate) timeouts: u64,
    pub(crate) useful_answers: u64,
    pub(crate) messages_first: u64,
    /// Requests and messages that `--quota` leaves, at the time of the report.
    pub(crate) requests_left: Option<u64>,
    pub(crate) messages_left: Option<u64>,
}

/// Packets that are of no use, and requests that were not sent.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub(crate) struct Unwanted {
    /// Answers from addresses that nobody configured.
    pub(crate) unknown_answers: u64,
    /// Answers in a session that is not received.
    pub(crate) foreign_answers: u64,
    pub(crate) malformed_answers: u64,
    /// Datagrams that the kernel dropped where answers come in.
    pub(crate) answers_kernel_drops: u64,
    /// Datagrams there that are longer than UDP allows.
    pub(crate) answers_cut: u64,
    /// Reads of answers that failed.
    pub(crate) answers_read_errors: u64,
    /// Packets of sessions that ended before.
    pub(crate) ended_session: u64,
    /// Those of them with messages.
    pub(crate) ended_session_data: u64,
    /// Those of them that bring what the session did not have: its sender started over.
    pub(crate) ended_session_restarts: u64,
    /// Packets dropped, to be asked for later, because too much waited for what was missing.
    pub(crate) put_off: u64,
    /// Requests that the system did not send.
    pub(crate) unsent_requests: u64,
}

/// A session that is not received.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Foreign {
    /// All ten bytes, those that are not printable ASCII escaped.
    pub(crate) session: String,
    pub(crate) packets: u64,
}

/// Counters of a receiver at one moment, for the difference to a later one.
#[derive(Clone, Default, Debug)]
pub(crate) struct Counters {
    requests: u64,
    requested_messages: u64,
    lines: Vec<ReceivedLine>,
    servers: Vec<Server>,
    unwanted: Unwanted,
    foreign_sessions: Vec<Foreign>,
}

impl Counters {
    /// The counters now; `servers` are asked.
    pub(crate) fn new<C: Consumer>(
        driver: &mut ReceiverDriver<Recorder<Receiver>>,
        ledger: &Ledger<C>,
        servers: &[SocketAddr],
    ) -> Self {
        let line = |line: &LineReport| ReceivedLine {
            packets: line.stats.packets,
            messages_first: line.stats.messages_first,
            duplicates: line.stats.duplicates,
            late: line.stats.late,
            malformed: line.stats.malformed,
            trailing: line.stats.trailing,
            foreign: line.stats.foreign,
            kernel_drops: line.kernel_drops,
            cut: line.read.cut,
            read_errors: line.read.errors,
            downs: ledger.downs(line.line),
            interface_losses: ledger.interface_losses(line.line),
        };
        let lines = driver.lines().iter().map(line).collect();
        let (dropped, read) = (driver.answers_dropped(), driver.answers_read());
        let (receiver, sent) = (driver.receiver(), driver.requests_sent());
        let server = |(index, &address): (usize, &SocketAddr)| {
            let stats = receiver.server(ServerId(index as u8)).unwrap_or_default();
            Server {
                address,
                requests: stats.requests,
                timeouts: stats.timeouts,
                useful_answers: stats.useful_answers,
                messages_first: stats.messages_first,
                requests_left: stats.requests_left,
                messages_left: stats.messages_left,
            }
        };
        let stats: &Stats = receiver.stats();
        let foreign = |(session, packets)| Foreign { session: watch::escaped(session), packets };
        Self {
            requests: stats.requests,
            requested_messages: stats.requested_messages,
            lines,
            servers: servers.iter().enumerate().map(server).collect(),
            unwanted: Unwanted {
                unknown_answers: stats.unknown_peer,
                foreign_answers: stats.foreign_answers,
                malformed_answers: stats.malformed_answers,
                answers_kernel_drops: dropped,
                answers_cut: read.cut,
                answers_read_errors: read.errors,
                ended_session: stats.ended_session,
                ended_session_data: stats.ended_session_data,
                ended_session_restarts: stats.ended_session_restarts,
                put_off: stats.put_off_for_memory + stats.put_off_for_gaps,
                unsent_requests: sent.dropped(),
            },
            foreign_sessions: receiver.foreign_sessions().map(foreign).collect(),
        }
    }

    /// Packets of senders that started over after the end of their session.
    pub(crate) const fn restarts(&self) -> u64 {
        self.unwanted.ended_session_restarts
    }

    /// The counts since `before`.
    fn since(mut self, before: &Self) -> Self {
        let less = |now: &mut u64, before: u64| *now = now.saturating_sub(before);
        for (now, before) in self.lines.iter_mut().zip(&before.lines) {
            less(&mut now.packets, before.packets);
            less(&mut now.messages_first, before.messages_first);
            less(&mut now.duplicates, before.duplicates);
            less(&mut now.late, before.late);
            less(&mut now.malformed, before.malformed);
            less(&mut now.trailing, before.trailing);
            less(&mut now.foreign, before.foreign);
            less(&mut now.kernel_drops, before.kernel_drops);
            less(&mut now.cut, before.cut);
            less(&mut now.read_errors, before.read_errors);
            less(&mut now.downs, before.downs);
            less(&mut now.interface_losses, before.interface_losses);
        }
        for (now, before) in self.servers.iter_mut().zip(&before.servers) {
            less(&mut now.requests, before.requests);
            less(&mut now.timeouts, before.timeouts);
            less(&mut now.useful_answers, before.useful_answers);
            less(&mut now.messages_first, before.messages_first);
        }
        let (now, before_it) = (&mut self.unwanted, &before.unwanted);
        less(&mut now.unknown_answers, before_it.unknown_answers);
        less(&mut now.foreign_answers, before_it.foreign_answers);
        less(&mut now.malformed_answers, before_it.malformed_answers);
        less(&mut now.answers_kernel_drops, before_it.answers_kernel_drops);
        less(&mut now.answers_cut, before_it.answers_cut);
        less(&mut now.answers_read_errors, before_it.answers_read_errors);
        less(&mut now.ended_session, before_it.ended_session);
        less(&mut now.ended_session_data, before_it.ended_session_data);
        less(&mut now.ended_session_restarts, before_it.ended_session_restarts);
        less(&mut now.put_off, before_it.put_off);
        less(&mut now.unsent_requests, before_it.unsent_requests);
        less(&mut self.requests, before.requests);
        less(&mut self.requested_messages, before.requested_messages);
        self
    }
}

impl Received {
    /// A session's summary. `before` is where the counters stood when the last session was summed
    /// up.
    pub(crate) fn new(
        stats: Option<&SessionStats>,
        end: End,
        elapsed: Duration,
        now: Counters,
        before: &Counters,
    ) -> Self {
        let now = now.since(before);
        // While it goes on, what is printed does not grow with the losses.
        let listed = |ranges: Ranges| match end {
            End::Running => ranges.first_few(),
            _ => (ranges, 0),
        };
        let (lost_ranges, lost_ranges_left_out) =
            listed(stats.map(|stats| stats.lost.clone()).unwrap_or_default());
        let (missing_ranges, missing_ranges_left_out) =
            listed(stats.map(SessionStats::missing).unwrap_or_default());
        let repair_micros = stats.and_then(|stats| repair_time(&stats.repair_time));
        let reasons = stats.iter().flat_map(|stats| &stats.lost_by);
        let count = |of: fn(&SessionStats) -> u64| stats.map_or(0, of);
        Self {
            session: stats.map(|stats| stats.session.to_string()),
            first_sequence: count(|stats| stats.first),
            next_sequence: count(|stats| stats.next),
            delivered: count(|stats| stats.delivered),
            lost: count(|stats| stats.lost.messages()),
            lost_ranges,
            lost_ranges_left_out,
            lost_reasons: reasons.map(|(reason, lost)| (reason.to_string(), *lost)).collect(),
            claims_withdrawn: count(|stats| stats.claims_withdrawn),
            missing_ranges,
            missing_ranges_left_out,
            stalls: count(|stats| stats.stalls),
            regressions: count(|stats| stats.regressions),
            contradictions: count(|stats| stats.contradictions),
            gaps: count(|stats| stats.gaps),
            gaps_filled_by_line: count(|stats| stats.gaps_filled_by_line),
            gaps_filled_by_request: count(|stats| stats.gaps_filled_by_request),
            requests: now.requests,
            requested_messages: now.requested_messages,
            repair_micros,
            lines: now.lines,
            servers: now.servers,
            unwanted: now.unwanted,
            foreign_sessions: now.foreign_sessions,
            end,
            elapsed_seconds: elapsed.as_secs_f64(),
        }
    }

    /// The lines for standard error if not everything is there.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let session = self.session.as_deref().unwrap_or_default();
        let mut complaints = Vec::new();
        if self.lost > 0 {
            complaints.push(format!(
                "lost: {} messages of session {session}: {}",
                self.lost,
                self.lost_ranges.brief()
            ));
        }
        if !self.missing_ranges.is_empty() {
            complaints.push(format!(
                "missing: {} messages of session {session}: {}",
                self.missing_ranges.messages(),
                self.missing_ranges.brief()
            ));
        }
        if self.regressions > 0 {
            complaints.push(format!(
                "regressed: a sender of session {session} started over {}: what came then may be of \
                 another feed",
                plural(self.regressions, "time")
            ));
        }
        if self.unwanted.ended_session_restarts > 0 {
            complaints.push(format!(
                "regressed: a sender started over in a session that had ended: {} not received",
                plural(self.unwanted.ended_session_restarts, "packet")
            ));
        }
        if self.contradictions > 0 {
            complaints.push(format!(
                "contradicted: {} of session {session} came again with other bytes: there are two \
                 senders, or one that started over",
                plural(self.contradictions, "message")
            ));
        }
        if self.end == End::Superseded {
            complaints.push(format!(
                "unknown: session {session} gave way to another without an end: whether anything came \
                 after message {} is not known",
                self.next_sequence.saturating_sub(1)
            ));
        }
        complaints
    }

    /// Whether something of the session is not as it was sent.
    pub(crate) fn lacks(&self) -> bool {
        let is_mixed = self.regressions > 0 || self.contradictions > 0;
        let is_dropped = self.unwanted.ended_session_restarts > 0;
        self.lost > 0 || is_dropped || is_mixed || self.end == End::Superseded
    }

    /// A short table.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::default();
        match &self.session {
            Some(session) => table.row("session", session.clone()),
            None => table.row("session", "none came".into()),
        }
        let reasons = self.lost_reasons.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let reasons = if reasons.is_empty() { reasons } else { format!(" ({reasons})") };
        table.row(
            "messages",
            format!(
                "{} delivered, {} lost{reasons}; from {}, next is {}",
                self.delivered, self.lost, self.first_sequence, self.next_sequence
            ),
        );
        table.row("end", self.end.words().into());
        for (number, line) in self.lines.iter().enumerate() {
            table.row(&format!("line {}", line_name(number)), line.words());
        }
        self.repair_rows(&mut table);
        self.unwanted_rows(&mut table);
        table.row("speed", speed(self.delivered, self.elapsed_seconds));
        table.finish()
    }

    /// The rows for packets of no use, where some came.
    fn unwanted_rows(&self, table: &mut Table) {
        for server in &self.servers {
            let Server { address, requests, timeouts, useful_answers, .. } = server;
            let left = |left: Option<u64>, what| left.map(|left| plural(left, what));
            let left =
                [left(server.requests_left, "request"), left(server.messages_left, "message")];
            let left = left.into_iter().flatten().collect::<Vec<_>>().join(" and ");
            let left = if left.is_empty() { left } else { format!("; {left} left") };
            table.row(
                "server",
                format!(
                    "{address}: {}, {useful_answers} of use; {} not answered in time{left}",
                    plural(*requests, "request"),
                    plural(*timeouts, "request")
                ),
            );
        }
        if self.regressions > 0 {
            table.row(
                "regressed",
                format!("a sender started over {}", plural(self.regressions, "time")),
            );
        }
        if self.stalls > 0 {
            let ranges = plural(self.stalls, "range");
            table.row(
                "stalled",
                format!("{ranges} that too few packets spoke of, while all lines were silent"),
            );
        }
        if self.claims_withdrawn > 0 {
            let claims = plural(self.claims_withdrawn, "claim");
            table.row(
                "withdrawn",
                format!("{claims} of heartbeats or ends that the feed contradicted"),
            );
        }
        if self.contradictions > 0 {
            table.row(
                "contradicted",
                format!("{} came again with other bytes", plural(self.contradictions, "message")),
            );
        }
        let Unwanted { unknown_answers, foreign_answers, malformed_answers, .. } = self.unwanted;
        let Unwanted { answers_kernel_drops, answers_cut, answers_read_errors, .. } = self.unwanted;
        let Unwanted { ended_session_data, ended_session_restarts, .. } = self.unwanted;
        let Unwanted { put_off, unsent_requests, .. } = self.unwanted;
        for (count, what, words) in [
            (unknown_answers, "answer", "from addresses that --requests does not name"),
            (foreign_answers, "answer", "of other sessions"),
            (malformed_answers, "answer", "malformed"),
            (answers_kernel_drops, "datagram", "dropped by the kernel where answers come in"),
            (answers_cut, "datagram", "longer than UDP allows where answers come in"),
            (answers_read_errors, "read", "of answers failed"),
            (ended_session_data, "packet", "with messages of sessions that ended before"),
            (
                ended_session_restarts,
                "packet",
                "of senders that started over after the end of their session",
            ),
            (
                put_off,
                "packet",
                "dropped, and asked for later: too much waited for what was missing",
            ),
            (unsent_requests, "request", "not sent by the system"),
        ] {
            if count > 0 {
                table.row("unwanted", format!("{} {words}", plural(count, what)));
            }
        }
        for Foreign { session, packets } in &self.foreign_sessions {
            table.row("other", format!("session \"{session}\": {}", plural(*packets, "packet")));
        }
    }

    /// How gaps were filled.
    pub(crate) fn repair_rows(&self, table: &mut Table) {
        table.row(
            "gaps",
            format!(
                "{}: {} filled by lines, {} by requests",
                self.gaps, self.gaps_filled_by_line, self.gaps_filled_by_request
            ),
        );
        table
            .row("requests", format!("{} for {} messages", self.requests, self.requested_messages));
        if let Some(RepairTime { p50, p99, max }) = self.repair_micros {
            let [p50, p99, max] = [p50, p99, max].map(millis);
            table.row("repair time", format!("p50 {p50}, p99 {p99}, max {max}"));
        }
    }
}

impl ReceivedLine {
    fn words(&self) -> String {
        let mut words = format!(
            "{} packets, {} messages first, {} duplicates",
            self.packets, self.messages_first, self.duplicates
        );
        for (count, what) in [
            (self.late, "too late"),
            (self.malformed, "malformed"),
            (self.trailing, "with bytes behind their end"),
            (self.foreign, "of other sessions"),
            (self.kernel_drops, "dropped by the kernel"),
            (self.cut, "longer than UDP allows"),
            (self.read_errors, "failed reads"),
            (self.downs, "times down"),
            (self.interface_losses, "times without its interface"),
        ] {
            if count > 0 {
                words.push_str(&format!(", {count} {what}"));
            }
        }
        words
    }
}

/// The quantiles of a histogram of microseconds; `None` of an empty one.
fn repair_time(histogram: &Histogram<u64>) -> Option<RepairTime> {
    (!histogram.is_empty()).then(|| RepairTime {
        p50: histogram.value_at_quantile(0.5),
        p99: histogram.value_at_quantile(0.99),
        max: histogram.max(),
    })
}

fn millis(micros: u64) -> String {
    format!("{:.2} ms", micros as f64 / 1000.0)
}
