//! What is printed in the end: one JSON object for each session, or a short table.

use std::io::Write;
use std::time::Duration;

use gapless_core::receiver::Stats;
use gapless_mio::LineReport;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::failure::Failure;
use crate::ranges::Ranges;
use crate::standard;
use crate::tally::{Tally, line_name};

/// How receiving ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// The session's sender said that it is over.
    Ended,
    /// Another session took its place.
    Superseded,
    /// A time limit passed.
    TimedOut,
    /// Something was lost, and delivery stopped there.
    Halted,
    /// A signal asked for an end.
    Interrupted,
}

impl End {
    /// In a table.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Ended => "the session ended",
            Self::Superseded => "another session took its place",
            Self::TimedOut => "timed out",
            Self::Halted => "halted behind a loss",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What became of one session that was received.
#[derive(Debug, Serialize)]
pub(crate) struct Received {
    /// `None` when no session came.
    pub(crate) session: Option<String>,
    pub(crate) first_sequence: u64,
    pub(crate) next_sequence: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) lost_ranges: Ranges,
    /// Ranges that were neither delivered nor lost when receiving ended.
    pub(crate) missing_ranges: Ranges,
    pub(crate) gaps: u64,
    pub(crate) gaps_filled_by_line: u64,
    pub(crate) gaps_filled_by_request: u64,
    pub(crate) requests: u64,
    pub(crate) requested_messages: u64,
    pub(crate) repair_micros: Option<RepairTime>,
    pub(crate) lines: Vec<ReceivedLine>,
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

/// What a line did for a session.
#[derive(Clone, Copy, Default, Debug, Serialize)]
pub(crate) struct ReceivedLine {
    pub(crate) packets: u64,
    pub(crate) messages_first: u64,
    pub(crate) duplicates: u64,
    pub(crate) late: u64,
    pub(crate) malformed: u64,
    pub(crate) kernel_drops: u64,
}

/// Counters of a receiver at one moment, for the difference to a later one.
#[derive(Clone, Default, Debug)]
pub(crate) struct Counters {
    requests: u64,
    requested_messages: u64,
    lines: Vec<ReceivedLine>,
}

impl Counters {
    /// The counters now.
    pub(crate) fn new(stats: &Stats, lines: &[LineReport]) -> Self {
        let line = |line: &LineReport| ReceivedLine {
            packets: line.stats.packets,
            messages_first: line.stats.messages_first,
            duplicates: line.stats.duplicates,
            late: line.stats.late,
            malformed: line.stats.malformed,
            kernel_drops: line.kernel_drops,
        };
        Self {
            requests: stats.requests,
            requested_messages: stats.requested_messages,
            lines: lines.iter().map(line).collect(),
        }
    }

    /// What was counted since `before`.
    fn since(&self, before: &Self) -> Self {
        let nothing = ReceivedLine::default();
        let befores = before.lines.iter().chain(std::iter::repeat(&nothing));
        let line = |(now, before): (&ReceivedLine, &ReceivedLine)| ReceivedLine {
            packets: now.packets.saturating_sub(before.packets),
            messages_first: now.messages_first.saturating_sub(before.messages_first),
            duplicates: now.duplicates.saturating_sub(before.duplicates),
            late: now.late.saturating_sub(before.late),
            malformed: now.malformed.saturating_sub(before.malformed),
            kernel_drops: now.kernel_drops.saturating_sub(before.kernel_drops),
        };
        Self {
            requests: self.requests.saturating_sub(before.requests),
            requested_messages: self.requested_messages.saturating_sub(before.requested_messages),
            lines: self.lines.iter().zip(befores).map(line).collect(),
        }
    }
}

impl Received {
    /// A session's summary. `before` is where the counters stood when the last session was summed
    /// up.
    pub(crate) fn new(
        tally: Option<Tally>,
        end: End,
        elapsed: Duration,
        now: &Counters,
        before: &Counters,
    ) -> Self {
        let Counters { requests, requested_messages, lines } = now.since(before);
        let missing_ranges = tally.as_ref().map(Tally::missing).unwrap_or_default();
        let repair_micros = tally.as_ref().and_then(|tally| repair_time(&tally.repair_time));
        let tally = tally.as_ref();
        let count = |of: fn(&Tally) -> u64| tally.map_or(0, of);
        Self {
            session: tally.map(|tally| tally.session.to_string()),
            first_sequence: count(|tally| tally.first),
            next_sequence: count(|tally| tally.next),
            delivered: count(|tally| tally.delivered),
            lost: count(|tally| tally.lost.messages()),
            lost_ranges: tally.map(|tally| tally.lost.clone()).unwrap_or_default(),
            missing_ranges,
            gaps: count(|tally| tally.gaps),
            gaps_filled_by_line: count(|tally| tally.gaps_filled_by_line),
            gaps_filled_by_request: count(|tally| tally.gaps_filled_by_request),
            requests,
            requested_messages,
            repair_micros,
            lines,
            end,
            elapsed_seconds: elapsed.as_secs_f64(),
        }
    }

    /// What somebody has to know if not everything is there; said on standard error.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let session = self.session.as_deref().unwrap_or_default();
        let mut complaints = Vec::new();
        if self.lost > 0 {
            complaints.push(format!(
                "lost: {} messages of session {session}: {}",
                self.lost, self.lost_ranges
            ));
        }
        if !self.missing_ranges.is_empty() {
            complaints.push(format!(
                "missing: {} messages of session {session}: {}",
                self.missing_ranges.messages(),
                self.missing_ranges
            ));
        }
        complaints
    }

    /// A short table.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::default();
        match &self.session {
            Some(session) => table.row("session", session.clone()),
            None => table.row("session", "none came".into()),
        }
        table.row(
            "messages",
            format!(
                "{} delivered, {} lost; from {}, next is {}",
                self.delivered, self.lost, self.first_sequence, self.next_sequence
            ),
        );
        table.row("end", self.end.words().into());
        for (number, line) in self.lines.iter().enumerate() {
            table.row(&format!("line {}", line_name(number)), line.words());
        }
        self.repair_rows(&mut table);
        table.row("speed", speed(self.delivered, self.elapsed_seconds));
        table.finish()
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
            (self.kernel_drops, "dropped by the kernel"),
        ] {
            if count > 0 {
                words.push_str(&format!(", {count} {what}"));
            }
        }
        words
    }
}

/// What became of one session that was published.
#[derive(Debug, Serialize)]
pub(crate) struct Published {
    pub(crate) session: String,
    pub(crate) first_sequence: u64,
    pub(crate) next_sequence: u64,
    pub(crate) messages: u64,
    /// Packets given to the lines, heartbeats and ends included; each once, however many lines.
    pub(crate) packets: u64,
    pub(crate) lines: Vec<PublishedLine>,
    pub(crate) requests: u64,
    pub(crate) answered_messages: u64,
    pub(crate) answers_dropped: u64,
    pub(crate) elapsed_seconds: f64,
}

/// What a line did with a session.
#[derive(Debug, Serialize)]
pub(crate) struct PublishedLine {
    /// Packets sent, duplicates included.
    pub(crate) sent: u64,
    pub(crate) dropped_packets: u64,
    pub(crate) dropped: Ranges,
    /// Packets that the system did not take.
    pub(crate) send_failures: u64,
}

impl PublishedLine {
    /// What it sent and dropped, in words.
    pub(crate) fn words(&self) -> String {
        let thrown = self.sent + self.dropped_packets;
        let share = self.dropped_packets as f64 / thrown.max(1) as f64 * 100.0;
        let mut words = format!(
            "{} packets sent, {} dropped ({share:.2}%) with {} messages",
            self.sent,
            self.dropped_packets,
            self.dropped.messages()
        );
        if self.send_failures > 0 {
            words.push_str(&format!(", {} not taken by the system", self.send_failures));
        }
        words
    }
}

impl Published {
    /// A short table.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::default();
        table.row("session", self.session.clone());
        table.row(
            "messages",
            format!(
                "{} in {} packets; from {}, next is {}",
                self.messages, self.packets, self.first_sequence, self.next_sequence
            ),
        );
        for (number, line) in self.lines.iter().enumerate() {
            table.row(&format!("line {}", line_name(number)), line.words());
        }
        table.row(
            "requests",
            format!("{}, answered with {} messages", self.requests, self.answered_messages),
        );
        table.row("time", format!("{:.2} s", self.elapsed_seconds));
        table.finish()
    }
}

/// Lines of a name and a text.
#[derive(Default)]
pub(crate) struct Table(String);

impl Table {
    /// One more line.
    pub(crate) fn row(&mut self, name: &str, text: String) {
        self.0.push_str(&format!("{name:<12} {text}\n"));
    }

    /// All lines.
    pub(crate) fn finish(self) -> String {
        self.0
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

/// Messages a second.
pub(crate) fn speed(messages: u64, seconds: f64) -> String {
    let each_second = if seconds > 0.0 { messages as f64 / seconds } else { 0.0 };
    format!("{each_second:.0} messages/s over {seconds:.2} s")
}

/// One JSON object on a line of its own.
pub(crate) fn json(object: &impl Serialize) -> String {
    let mut line = serde_json::to_string(object).expect("plain numbers and strings are JSON");
    line.push('\n');
    line
}

/// Writes the result to standard output.
///
/// # Errors
/// Nobody reads it, or it cannot be written.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    standard::Output.write_all(text.as_bytes()).map_err(|error| Failure::standard_output(&error))
}
