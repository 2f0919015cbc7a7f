//! Finds the feed in a capture: which flow it is, and which of its messages are found elsewhere.
//!
//! A capture is read as often as it takes and never held: what is kept is, per flow and session,
//! the ranges of numbers seen.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gapless_core::Session;
use gapless_core::wire::mold::{Kind, Packet};
use tempfile::NamedTempFile;

use super::pcap::{Capture, Datagram, Skipped};
use super::{is_standard, name, open};
use crate::failure::Failure;
use crate::ranges::Ranges;

/// A capture that can be read again: a file, or a copy of standard input.
pub(crate) struct Recording {
    /// What errors call it.
    pub(crate) name: String,
    path: PathBuf,
    /// Holds the copy of standard input, and removes it in the end.
    _copy: Option<NamedTempFile>,
}

impl Recording {
    /// A capture file; standard input is copied to a temporary file.
    ///
    /// # Errors
    /// Standard input cannot be copied.
    pub(crate) fn new(path: &Path) -> Result<Self, Failure> {
        if !is_standard(path) {
            return Ok(Self { name: name(path), path: path.to_owned(), _copy: None });
        }
        let mut input = open(path)?;
        let failed = |error| Failure::io("copy standard input to", "a temporary file", &error);
        let mut copy = NamedTempFile::new().map_err(failed)?;
        std::io::copy(&mut input, &mut copy).map_err(failed)?;
        Ok(Self { name: name(path), path: copy.path().to_owned(), _copy: Some(copy) })
    }

    /// Begins to read.
    ///
    /// # Errors
    /// It cannot be opened, or is no capture.
    pub(crate) fn read(&self) -> Result<Capture, Failure> {
        Capture::new(open(&self.path)?, self.name.clone())
    }
}

/// What went to one address.
#[derive(Default, Debug)]
pub(crate) struct Flow {
    /// MoldUDP64 packets, heartbeats and ends included.
    pub(crate) packets: u64,
    /// Numbers of the messages, by session.
    pub(crate) sessions: BTreeMap<Session, Ranges>,
}

impl Flow {
    fn count(&mut self, packet: &Packet<'_>) {
        self.packets += 1;
        let header = packet.header();
        if header.kind() == Kind::Data {
            let last = header.sequence + (u64::from(header.count) - 1);
            self.sessions.entry(header.session).or_default().insert(header.sequence, last);
        }
    }

    /// Whether every message of a packet went this way.
    fn has(&self, packet: &Packet<'_>) -> bool {
        let numbers = self.sessions.get(&packet.header().session);
        packet.messages().all(|(number, _)| numbers.is_some_and(|seen| seen.contains(number)))
    }

    /// How many messages there are.
    pub(crate) fn messages(&self) -> u64 {
        self.sessions.values().map(Ranges::messages).sum()
    }
}

/// The MoldUDP64 flows of a capture.
pub(crate) struct Survey {
    flows: BTreeMap<SocketAddr, Flow>,
    /// What of the capture is no datagram.
    pub(crate) skipped: Skipped,
}

impl Survey {
    /// Reads a capture from beginning to end.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn new(recording: &Recording) -> Result<Self, Failure> {
        let mut capture = recording.read()?;
        let mut flows = BTreeMap::<SocketAddr, Flow>::new();
        let mut datagram = Datagram::default();
        while capture.next(&mut datagram)? {
            if let Ok(packet) = Packet::new_checked(&datagram.payload) {
                flows.entry(datagram.to).or_default().count(&packet);
            }
        }
        Ok(Self { flows, skipped: capture.skipped().clone() })
    }

    /// Takes the flow that went to `wanted`, or the one with most packets.
    ///
    /// # Errors
    /// There is no such flow, or none at all.
    pub(crate) fn choose(
        mut self,
        name: &str,
        wanted: Option<SocketAddr>,
    ) -> Result<(SocketAddr, Flow), Failure> {
        let chosen = match wanted {
            Some(wanted) => Some(wanted),
            // Of equals the lower address, so that the choice never varies.
            None => self.flows.iter().rev().max_by_key(|(_, flow)| flow.packets).map(|(to, _)| *to),
        };
        let Some(chosen) = chosen else {
            let skipped = match self.skipped.to_string() {
                skipped if skipped.is_empty() => "it holds no MoldUDP64 packet".to_owned(),
                skipped => format!("it holds no MoldUDP64 packet; skipped were {skipped}"),
            };
            return Err(Failure::content(format!("{name} has nothing to publish: {skipped}")));
        };
        match self.flows.remove(&chosen) {
            Some(flow) => Ok((chosen, flow)),
            None => Err(Failure::usage(format!("--flow {chosen}: nothing in {name} went there"))
                .advise(self.listed())),
        }
    }

    fn listed(&self) -> String {
        let mut flows: Vec<_> = self.flows.iter().collect();
        flows.sort_by_key(|(_, flow)| std::cmp::Reverse(flow.packets));
        let listed: Vec<String> = flows
            .iter()
            .take(8)
            .map(|(to, flow)| {
                format!("{to} ({} packets, {} messages)", flow.packets, flow.messages())
            })
            .collect();
        format!("the flows with most packets are: {}", listed.join(", "))
    }
}

/// Gives `take` every packet that did not go to `flow` and holds messages that the flow lacks:
/// answers to requests, and what only another line brought.
///
/// # Errors
/// The capture cannot be read, or `take` fails.
pub(crate) fn elsewhere(
    recording: &Recording,
    to: SocketAddr,
    flow: &Flow,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut capture = recording.read()?;
    let mut datagram = Datagram::default();
    while capture.next(&mut datagram)? {
        let payload = &datagram.payload;
        let lacking = datagram.to != to
            && Packet::new_checked(payload)
                .is_ok_and(|packet| packet.header().kind() == Kind::Data && !flow.has(&packet));
        if lacking {
            take(payload)?;
        }
    }
    Ok(())
}
