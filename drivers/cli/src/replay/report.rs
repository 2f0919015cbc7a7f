//! The report of a replay: how far it came, and what each machine counted.

use std::time::Duration;

use gapless_core::Machine;
use gapless_core::cache::Cache;
use gapless_core::demux::Demux;
use gapless_core::journal::Replayer;
use gapless_core::journal::replayer::Replayed;
use gapless_core::publisher::{self, Publisher};
use gapless_core::receiver::{LineId, Receiver};
use gapless_core::retransmitter::{self, Retransmitter};
use gapless_core::transmitter::{self, Transmitter};
use serde::Serialize;

use super::difference::Differs;
use crate::address::line_name;
use crate::text::Table;

/// A replay.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// How many bytes of the journal were replayed.
    pub(super) bytes: u64,
    /// Bytes behind them, of a block that was not written whole.
    pub(super) torn_bytes: usize,
    /// Whether everything was compared, and nothing differs.
    pub(super) verified: bool,
    pub(super) difference: Option<Differs>,
    /// Whether a signal ended it before the journal's end.
    pub(super) interrupted: bool,
    /// The words for what is wrong with the journal.
    pub(super) error: Option<String>,
    pub(super) machines: Vec<MachineReport>,
    pub(super) elapsed_seconds: f64,
}

/// One machine.
#[derive(Debug, Serialize)]
pub(super) struct MachineReport {
    machine: u16,
    kind: &'static str,
    events: u64,
    commands: u64,
    /// The times of the first and the last event; `null` without events.
    first_seconds: Option<f64>,
    last_seconds: Option<f64>,
    /// Of everything that it gave, in hexadecimal.
    digest: String,
    #[serde(flatten)]
    counted: Counted,
    #[serde(skip)]
    times: String,
}

/// Its counters.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Counted {
    Receiver(Received),
    Publisher(Published),
    Cache(Cached),
    Demux(Dispatched),
    Nothing {},
}

/// The counters of a receiver.
#[derive(Debug, Serialize)]
struct Received {
    /// Where it stands; `null` before the session and after its end.
    session: Option<String>,
    next_sequence: Option<u64>,
    delivered: u64,
    lost: u64,
    gaps: u64,
    gaps_filled_by_line: u64,
    gaps_filled_by_request: u64,
    requests: u64,
    requested_messages: u64,
    requests_timed_out: u64,
    contradictions: u64,
    lines: Vec<Line>,
}

/// Its counters of a line.
#[derive(Debug, Serialize)]
struct Line {
    line: u8,
    packets: u64,
    messages_first: u64,
    duplicates: u64,
    late: u64,
    malformed: u64,
}

/// The counters of a publisher, or of one of its two machines.
#[derive(Default, Debug, Serialize)]
struct Published {
    messages: u64,
    packets: u64,
    heartbeats: u64,
    ends: u64,
    republished: u64,
    republished_messages: u64,
    requests: u64,
    answered: u64,
    answered_messages: u64,
}

/// The counters of a cache.
#[derive(Debug, Serialize)]
struct Cached {
    tracks: u64,
    groups: u64,
    frames: u64,
    bytes: u64,
    missing: u64,
    filled: u64,
    contradictions: u64,
    groups_evicted: u64,
    frames_evicted: u64,
    memory_bytes: usize,
}

/// The counters of a demultiplexer.
#[derive(Debug, Serialize)]
struct Dispatched {
    registrations: usize,
    dispatched: u64,
    opened: u64,
    refused_no_acceptor: u64,
    refused_deadline: u64,
    refused_too_many: u64,
    refused_too_many_of_peer: u64,
    refused_reserved: u64,
    refused_fin_in_preamble: u64,
    forgotten: u64,
    hand_offs_failed: u64,
    parked: u64,
    held: u64,
    stray: u64,
    memory_bytes: usize,
}

impl Report {
    /// Of these machines, so far without the journal.
    pub(super) fn new(replayer: &Replayer<'_>, elapsed: Duration) -> Self {
        Self {
            bytes: 0,
            torn_bytes: 0,
            verified: false,
            difference: None,
            interrupted: false,
            error: None,
            machines: replayer.machines().map(|machine| MachineReport::new(&machine)).collect(),
            elapsed_seconds: elapsed.as_secs_f64(),
        }
    }

    /// The lines for standard error.
    pub(super) fn complaints(&self, journal: &str) -> Vec<String> {
        let mut complaints = Vec::new();
        if self.torn_bytes > 0 {
            complaints.push(format!(
                "torn: journal {journal} ends within a block; its last {} bytes are not replayed",
                self.torn_bytes
            ));
        }
        complaints.extend(self.difference.as_ref().map(Differs::complaint));
        complaints
    }

    /// A short table.
    pub(super) fn table(&self) -> String {
        let mut table = Table::default();
        for machine in &self.machines {
            machine.rows(&mut table);
        }
        let verdict = match (self.verified, &self.difference, &self.error) {
            (_, _, Some(_)) if self.bytes == 0 => "",
            (_, _, Some(_)) => ", damaged behind them",
            (_, Some(_), _) => ", the rest was not replayed: it DIFFERS",
            _ if self.interrupted => ", the rest was not replayed: interrupted",
            (true, _, _) => ", verified: everything as recorded",
            _ => "",
        };
        table.row("journal", format!("{} bytes replayed{verdict}", self.bytes));
        let events: u64 = self.machines.iter().map(|machine| machine.events).sum();
        let each_second = events as f64 / self.elapsed_seconds.max(1e-9);
        let seconds = self.elapsed_seconds;
        table.row("speed", format!("{each_second:.0} events/s over {seconds:.2} s"));
        table.finish()
    }
}

impl MachineReport {
    fn new(replayed: &Replayed<'_>) -> Self {
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        let last = replayed.first.map(|_| replayed.place.now);
        Self {
            machine: replayed.place.machine,
            kind: replayed.place.name,
            events: replayed.events,
            commands: replayed.commands,
            first_seconds: replayed.first.map(|first| seconds(first.as_nanos())),
            last_seconds: last.map(|last| seconds(last.as_nanos())),
            digest: format!("{:08x}", replayed.digest),
            counted: Counted::by(replayed),
            times: match (replayed.first, last) {
                (Some(first), Some(last)) => format!(" from {first:?} to {last:?}"),
                _ => String::new(),
            },
        }
    }

    fn rows(&self, table: &mut Table) {
        let Self { machine, kind, events, commands, digest, times, .. } = self;
        table.row(
            &format!("{kind} {machine}"),
            format!("{events} events{times}, {commands} commands, digest {digest}"),
        );
        match &self.counted {
            Counted::Receiver(received) => received.rows(table),
            Counted::Publisher(published) => published.rows(table),
            Counted::Cache(cached) => cached.rows(table),
            Counted::Demux(dispatched) => dispatched.rows(table),
            Counted::Nothing {} => {}
        }
    }
}

impl Counted {
    fn by(replayed: &Replayed<'_>) -> Self {
        if let Some(receiver) = replayed.machine::<Receiver>() {
            Self::Receiver(Received::by(receiver))
        } else if let Some(publisher) = replayed.machine::<Publisher>() {
            let sent = publisher.transmitter().map(Machine::stats).copied().unwrap_or_default();
            let answered = publisher.retransmitter().stats();
            let publisher::Stats { republished, republished_messages, .. } = *publisher.stats();
            let own = Published::by(&sent, answered);
            Self::Publisher(Published { republished, republished_messages, ..own })
        } else if let Some(transmitter) = replayed.machine::<Transmitter>() {
            Self::Publisher(Published::by(transmitter.stats(), &retransmitter::Stats::default()))
        } else if let Some(retransmitter) = replayed.machine::<Retransmitter>() {
            Self::Publisher(Published::by(&transmitter::Stats::default(), retransmitter.stats()))
        } else if let Some(cache) = replayed.machine::<Cache>() {
            Self::Cache(Cached::by(cache))
        } else if let Some(demux) = replayed.machine::<Demux>() {
            Self::Demux(Dispatched::by(demux))
        } else {
            Self::Nothing {}
        }
    }
}

impl Received {
    fn by(receiver: &Receiver) -> Self {
        let stats = receiver.stats();
        let at = receiver.checkpoint();
        let lines = (0..=LineId::MAX.0).filter_map(|line| {
            receiver.line(LineId(line)).map(|stats| Line {
                line,
                packets: stats.packets,
                messages_first: stats.messages_first,
                duplicates: stats.duplicates,
                late: stats.late,
                malformed: stats.malformed,
            })
        });
        Self {
            session: at.as_ref().map(|at| at.session.to_string()),
            next_sequence: at.map(|at| at.next),
            delivered: stats.delivered,
            lost: stats.lost,
            gaps: stats.gaps,
            gaps_filled_by_line: stats.gaps_filled_by_line,
            gaps_filled_by_request: stats.gaps_filled_by_request,
            requests: stats.requests,
            requested_messages: stats.requested_messages,
            requests_timed_out: stats.requests_timed_out,
            contradictions: stats.contradictions,
            lines: lines.collect(),
        }
    }

    fn rows(&self, table: &mut Table) {
        let stands = match (&self.session, self.next_sequence) {
            (Some(session), Some(next)) => format!("; next is {next} of {session}"),
            _ => String::new(),
        };
        table
            .row("  messages", format!("{} delivered, {} lost{stands}", self.delivered, self.lost));
        for line in &self.lines {
            table.row(
                &format!("  line {}", line_name(line.line.into())),
                format!(
                    "{} packets, {} messages first, {} duplicates, {} too late, {} malformed",
                    line.packets, line.messages_first, line.duplicates, line.late, line.malformed
                ),
            );
        }
        table.row(
            "  gaps",
            format!(
                "{}: {} filled by lines, {} by requests",
                self.gaps, self.gaps_filled_by_line, self.gaps_filled_by_request
            ),
        );
        table.row(
            "  requests",
            format!(
                "{} for {} messages, {} not answered in time",
                self.requests, self.requested_messages, self.requests_timed_out
            ),
        );
        if self.contradictions > 0 {
            table.row("  contradicted", format!("by {} packets", self.contradictions));
        }
    }
}

impl Published {
    fn by(sent: &transmitter::Stats, answered: &retransmitter::Stats) -> Self {
        Self {
            messages: sent.messages,
            packets: sent.packets,
            heartbeats: sent.heartbeats,
            ends: sent.ends,
            republished: 0,
            republished_messages: 0,
            requests: answered.requests,
            answered: answered.answered + answered.answered_by_archive,
            answered_messages: answered.answered_messages,
        }
    }

    fn rows(&self, table: &mut Table) {
        table.row(
            "  messages",
            format!(
                "{} in {} packets, {} heartbeats, {} ends",
                self.messages, self.packets, self.heartbeats, self.ends
            ),
        );
        if self.republished > 0 {
            let Self { republished, republished_messages, .. } = self;
            let words = format!("{republished_messages} messages in {republished} packets");
            table.row("  republished", words);
        }
        table.row(
            "  requests",
            format!(
                "{}, {} answered with {} messages",
                self.requests, self.answered, self.answered_messages
            ),
        );
    }
}

impl Cached {
    fn by(cache: &Cache) -> Self {
        let stats = cache.stats();
        let evicted = stats.evicted;
        Self {
            tracks: stats.tracks,
            groups: stats.groups,
            frames: stats.frames,
            bytes: stats.bytes,
            missing: stats.missing,
            filled: stats.filled,
            contradictions: stats.contradictions,
            groups_evicted: evicted.by_bytes + evicted.by_age + evicted.by_count,
            frames_evicted: evicted.frames,
            memory_bytes: cache.memory_used(),
        }
    }

    fn rows(&self, table: &mut Table) {
        let Self { tracks, groups, frames, bytes, missing, filled, contradictions, .. } = self;
        table.row(
            "  frames",
            format!("{frames} with {bytes} bytes, in {groups} groups of {tracks} tracks"),
        );
        table.row(
            "  missing",
            format!("{missing}, of which {filled} were filled; {contradictions} contradictions"),
        );
        table.row(
            "  evicted",
            format!(
                "{} groups, and {} frames of others; {} bytes are taken",
                self.groups_evicted, self.frames_evicted, self.memory_bytes
            ),
        );
    }
}

impl Dispatched {
    fn by(demux: &Demux) -> Self {
        let stats = demux.stats();
        Self {
            registrations: demux.registrations().count(),
            dispatched: stats.dispatched,
            opened: stats.opened,
            refused_no_acceptor: stats.refused.no_acceptor,
            refused_deadline: stats.refused.deadline,
            refused_too_many: stats.refused.too_many,
            refused_too_many_of_peer: stats.refused.too_many_of_peer,
            refused_reserved: stats.refused.reserved,
            refused_fin_in_preamble: stats.refused.fin_in_preamble,
            forgotten: stats.forgotten.total(),
            hand_offs_failed: stats.hand_off_failed,
            parked: stats.parked,
            held: stats.held,
            stray: stats.stray,
            memory_bytes: demux.memory_used(),
        }
    }

    fn rows(&self, table: &mut Table) {
        let Self { dispatched, opened, hand_offs_failed, registrations, .. } = self;
        table.row(
            "  streams",
            format!(
                "{dispatched} dispatched, {hand_offs_failed} in vain, {opened} opened; \
                 {registrations} registrations"
            ),
        );
        table.row(
            "  refused",
            format!(
                "{} without an acceptor, {} late, {} too many, {} too many of a peer, {} reserved, \
                 {} that ended within the preamble",
                self.refused_no_acceptor,
                self.refused_deadline,
                self.refused_too_many,
                self.refused_too_many_of_peer,
                self.refused_reserved,
                self.refused_fin_in_preamble
            ),
        );
        table.row(
            "  waited",
            format!(
                "{} parked, {} held, of which {} were forgotten; {} bytes are taken",
                self.parked, self.held, self.forgotten, self.memory_bytes
            ),
        );
    }
}
