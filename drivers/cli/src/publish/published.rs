//! The summary of a session that was published: as a table, or as fields of a JSON object.

use gapless_core::retransmitter::Stats;
use gapless_mio::{SendFailure, SentLine};
use serde::Serialize;

use crate::address::line_name;
use crate::ranges::Ranges;
use crate::summary::End;
use crate::tap::LineBook;
use crate::text::{self, Table};

/// The summary of one session that was published.
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
    /// Answers that the system did not take.
    pub(crate) answer_send_failures: u64,
    /// Why it did not.
    pub(crate) answer_send_errors: Vec<SendError>,
    /// Datagrams that the kernel dropped where requests come in.
    pub(crate) requests_kernel_drops: u64,
    /// Datagrams there that are longer than UDP allows.
    pub(crate) requests_cut: u64,
    /// Reads of requests that failed.
    pub(crate) requests_read_errors: u64,
    pub(crate) unanswered: Unanswered,
    /// Messages that could not be asked for any more, to keep to `--keep`.
    pub(crate) forgotten_messages: u64,
    pub(crate) end: End,
    /// Why the input breaks off; `None` of one that was published whole.
    pub(crate) error: Option<String>,
    pub(crate) elapsed_seconds: f64,
}

/// Requests that were not answered, by reason.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Unanswered {
    /// One address asked for more than it may have.
    pub(crate) over_address_rate: u64,
    /// All addresses together asked for more than they may have.
    pub(crate) over_total_rate: u64,
    /// The first wanted message is not kept.
    pub(crate) not_kept: u64,
    pub(crate) other_session: u64,
    /// For messages that were not sent yet.
    pub(crate) out_of_range: u64,
    pub(crate) malformed: u64,
}

impl Unanswered {
    pub(crate) const fn new(stats: &Stats) -> Self {
        Self {
            over_address_rate: stats.over_address_rate,
            over_total_rate: stats.over_total_rate,
            not_kept: stats.declined,
            other_session: stats.other_session,
            out_of_range: stats.out_of_range,
            malformed: stats.malformed + stats.sequence_zero + stats.count_zero,
        }
    }
}

/// The summary of one session on one line.
#[derive(Debug, Serialize)]
pub(crate) struct PublishedLine {
    /// Packets sent, duplicates included.
    pub(crate) sent: u64,
    pub(crate) dropped_packets: u64,
    pub(crate) dropped: Ranges,
    /// How many more there are than are listed while it goes on.
    pub(crate) dropped_left_out: usize,
    /// How often its interface went away.
    pub(crate) interface_losses: u64,
    /// Packets that the system did not take, of all sessions.
    pub(crate) send_failures: u64,
    /// Why it did not.
    pub(crate) send_errors: Vec<SendError>,
}

/// A reason for which the system did not take packets.
#[derive(Debug, Serialize)]
pub(crate) struct SendError {
    /// In the system's words.
    pub(crate) error: String,
    pub(crate) packets: u64,
}

impl SendError {
    pub(super) fn all(failures: &[SendFailure]) -> Vec<Self> {
        let error = |failure: &SendFailure| Self {
            error: failure.error().to_string(),
            packets: failure.datagrams,
        };
        failures.iter().map(error).collect()
    }

    /// All of them, in words.
    fn words(errors: &[Self]) -> String {
        errors.iter().map(|error| &*error.error).collect::<Vec<_>>().join(", ")
    }
}

impl PublishedLine {
    /// Of one session on a line, and of the line with all of them.
    pub(super) fn new(book: LineBook, line: &SentLine, interface_losses: u64) -> Self {
        Self {
            sent: book.sent,
            dropped_packets: book.dropped_packets,
            dropped: book.dropped,
            dropped_left_out: 0,
            interface_losses,
            send_failures: line.stats.dropped(),
            send_errors: SendError::all(&line.failures),
        }
    }

    /// The packets sent and dropped, in words.
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
            words.push_str(&format!(
                ", {} not taken by the system: {}",
                self.send_failures,
                SendError::words(&self.send_errors)
            ));
        }
        if self.interface_losses > 0 {
            words.push_str(&format!(", {} times without its interface", self.interface_losses));
        }
        words
    }
}

impl Published {
    /// How it stands before the end: what is printed then does not grow with what is dropped.
    pub(super) fn running(mut self) -> Self {
        self.end = End::Running;
        for line in &mut self.lines {
            (line.dropped, line.dropped_left_out) = line.dropped.first_few();
        }
        self
    }

    /// The text that is printed: a table, or JSON.
    pub(super) fn text(&self, json: bool) -> String {
        if json { text::json(self) } else { self.table() }
    }

    /// A short table.
    fn table(&self) -> String {
        let mut table = Table::default();
        table.row("session", self.session.clone());
        table.row(
            "messages",
            format!(
                "{} in {} packets; from {}, next is {}",
                self.messages, self.packets, self.first_sequence, self.next_sequence
            ),
        );
        table.row("end", self.end.words().into());
        for (number, line) in self.lines.iter().enumerate() {
            table.row(&format!("line {}", line_name(number)), line.words());
        }
        table.row("requests", self.requests_in_words());
        if self.forgotten_messages > 0 {
            let forgotten = format!("all but {} messages (--keep)", self.forgotten_messages);
            table.row("kept", forgotten);
        }
        table.row("time", format!("{:.2} s", self.elapsed_seconds));
        table.finish()
    }

    fn requests_in_words(&self) -> String {
        let mut words =
            format!("{}, answered with {} messages", self.requests, self.answered_messages);
        let not = &self.unanswered;
        for (count, why) in [
            (not.over_address_rate, "over the rate of their address"),
            (not.over_total_rate, "over the rate of all"),
            (not.not_kept, "for messages that are not kept"),
            (not.other_session, "of another session"),
            (not.out_of_range, "for messages that were not sent"),
            (not.malformed, "malformed"),
            (self.requests_kernel_drops, "dropped by the kernel"),
            (self.requests_cut, "longer than UDP allows"),
            (self.requests_read_errors, "failed reads"),
        ] {
            if count > 0 {
                words.push_str(&format!(", {count} {why}"));
            }
        }
        if self.answer_send_failures > 0 {
            words.push_str(&format!(
                ", {} answers not taken by the system: {}",
                self.answer_send_failures,
                SendError::words(&self.answer_send_errors)
            ));
        }
        words
    }
}
