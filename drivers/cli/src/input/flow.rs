//! Finds the feed in a capture: which flow it is, and which of its messages are found elsewhere.
//!
//! A capture is read as often as it takes and never held: what is kept is, per flow and session,
//! the ranges of numbers seen.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Seek};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gapless_core::Session;
use gapless_core::wire::mold::{Kind, Packet};

use super::open;
use super::pcap::{Capture, Datagram, Skipped};
use crate::failure::Failure;
use crate::io::blocking::run_blocking;
use crate::io::place::{is_pipe, name};
use crate::ranges::Ranges;
use crate::stop::Stop;

/// A capture that can be read again: a file, or a copy of standard input or of another pipe.
pub(crate) struct Recording {
    /// Its name in errors.
    pub(crate) name: String,
    path: PathBuf,
    /// The copy of a pipe, which has no name: it is gone with the program, however that ends.
    copy: Option<File>,
}

impl Recording {
    /// A capture file; standard input and pipes are copied to a temporary file.
    ///
    /// # Errors
    /// It cannot be copied, or somebody wants an end first.
    pub(crate) fn new(path: &Path, stop: &Stop) -> Result<Self, Failure> {
        if !is_pipe(path) {
            return Ok(Self { name: name(path), path: path.to_owned(), copy: None });
        }
        let from = path.to_owned();
        let copy = run_blocking(stop, None, move || {
            let mut input = open(&from)?;
            let failed = |error| {
                let doing = format!("copy {} to", name(&from));
                Failure::io(&doing, "a temporary file", &error)
            };
            let mut copy = tempfile::tempfile().map_err(failed)?;
            std::io::copy(&mut input, &mut copy).map_err(failed)?;
            Ok(copy)
        })?;
        Ok(Self { name: name(path), path: path.to_owned(), copy: Some(copy) })
    }

    /// Begins to read; nobody else may be reading any more.
    ///
    /// # Errors
    /// It cannot be opened, or is no capture.
    pub(crate) fn read(&self) -> Result<Capture, Failure> {
        let Some(copy) = &self.copy else {
            return Capture::new(open(&self.path)?, self.name.clone());
        };
        let again = copy.try_clone().and_then(|mut copy| copy.rewind().map(|()| copy));
        let again = again.map_err(|error| Failure::io("read", &self.name, &error))?;
        Capture::new(Box::new(BufReader::with_capacity(1 << 18, again)), self.name.clone())
    }
}

/// The packets that went to one address.
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
        let numbers = self.sessions.entry(header.session).or_default();
        if header.kind() == Kind::Data {
            let last = header.sequence + (u64::from(header.count) - 1);
            numbers.insert(header.sequence, last);
        }
    }

    /// Whether a packet holds messages of a session of this flow that did not go this way.
    fn lacks(&self, packet: &Packet<'_>) -> bool {
        let numbers = self.sessions.get(&packet.header().session);
        numbers.is_some_and(|seen| packet.messages().any(|(number, _)| !seen.contains(number)))
    }

    /// How many messages there are.
    pub(crate) fn messages(&self) -> u64 {
        self.sessions.values().map(Ranges::messages).sum()
    }
}

/// The MoldUDP64 flows of a capture.
pub(crate) struct Survey {
    flows: BTreeMap<SocketAddr, Flow>,
    /// The frames of the capture that are no datagrams.
    pub(crate) skipped: Skipped,
}

impl Survey {
    /// Reads a capture from beginning to end.
    ///
    /// # Errors
    /// It cannot be read, or somebody wants an end first.
    pub(crate) fn new(recording: &Recording, stop: &Stop) -> Result<Self, Failure> {
        let mut capture = recording.read()?;
        let mut flows = BTreeMap::<SocketAddr, Flow>::new();
        let mut datagram = Datagram::default();
        while !stop.is_asked() && capture.next(&mut datagram)? {
            if let Ok(packet) = Packet::new_checked(&datagram.payload) {
                flows.entry(datagram.to).or_default().count(&packet);
            }
        }
        if stop.is_asked() {
            return Err(stop.interrupted("nothing was published"));
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

/// Gives `take` every packet that did not go to `to` and holds messages that the flow to there lacks:
/// answers to requests, and what only another line brought. Ends early when somebody wants an end.
///
/// # Errors
/// The capture cannot be read, or `take` fails.
pub(crate) fn elsewhere(
    recording: &Recording,
    to: SocketAddr,
    flow: &Flow,
    stop: &Stop,
    mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut capture = recording.read()?;
    let mut datagram = Datagram::default();
    while !stop.is_asked() && capture.next(&mut datagram)? {
        let payload = &datagram.payload;
        let elsewhere = datagram.to != to;
        if elsewhere && Packet::new_checked(payload).is_ok_and(|packet| flow.lacks(&packet)) {
            take(payload)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::pcap::tests::pcap;
    use etherparse::PacketBuilder;
    use gapless_core::wire::mold::Header;
    use std::io::Write;
    use std::net::IpAddr;

    const FEED: &str = "127.0.0.1:5000";
    const ELSEWHERE: &str = "127.0.0.2:6000";

    /// A frame of raw IP to `to` with `count` empty messages from `sequence` on.
    fn frame(to: &str, session: &[u8; 10], sequence: u64, count: u16) -> Vec<u8> {
        let to: SocketAddr = to.parse().unwrap();
        let IpAddr::V4(ip) = to.ip() else { panic!() };
        let header = Header { session: Session::new(*session), sequence, count };
        let mut payload = header.to_bytes().to_vec();
        payload.resize(payload.len() + 2 * usize::from(count), 0);
        let mut bytes = Vec::new();
        PacketBuilder::ipv4([127, 0, 0, 9], ip.octets(), 1)
            .udp(1, to.port())
            .write(&mut bytes, &payload)
            .unwrap();
        bytes
    }

    /// Three packets of a feed that lacks message 4, and what went elsewhere.
    fn recording(elsewhere: &[Vec<u8>]) -> Recording {
        let session = b"FEED      ";
        let feed = [(1, 2), (3, 1), (5, 2)];
        let feed = feed.map(|(sequence, count)| frame(FEED, session, sequence, count));
        let mut copy = tempfile::tempfile().unwrap();
        copy.write_all(&pcap(101, &[elsewhere, &feed].concat())).unwrap();
        Recording { name: "x.pcap".into(), path: "-".into(), copy: Some(copy) }
    }

    fn chosen(recording: &Recording, wanted: Option<&str>) -> Result<(SocketAddr, Flow), Failure> {
        let wanted = wanted.map(|wanted| wanted.parse().unwrap());
        Survey::new(recording, &Stop::default()).unwrap().choose("x.pcap", wanted)
    }

    /// The first numbers of the packets that are found elsewhere.
    fn found(recording: &Recording) -> Vec<u64> {
        let (to, flow) = chosen(recording, Some(FEED)).unwrap();
        let mut found = Vec::new();
        elsewhere(recording, to, &flow, &Stop::default(), |packet| {
            found.push(Packet::new_checked(packet).unwrap().header().sequence);
            Ok(())
        })
        .unwrap();
        found
    }

    #[test]
    fn the_flow_with_most_packets_is_chosen_unless_one_is_named() {
        let recording = recording(&[frame(ELSEWHERE, b"FEED      ", 4, 1)]);
        let (to, flow) = chosen(&recording, None).unwrap();
        assert_eq!(to, FEED.parse().unwrap());
        assert_eq!((flow.packets, flow.messages()), (3, 5));
        let (to, flow) = chosen(&recording, Some(ELSEWHERE)).unwrap();
        assert_eq!(to, ELSEWHERE.parse().unwrap());
        assert_eq!((flow.packets, flow.messages()), (1, 1));
    }

    #[test]
    fn a_flow_that_is_not_there_is_refused_and_those_that_are_there_are_listed() {
        let Err(failure) = chosen(&recording(&[]), Some("127.0.0.3:1")) else { panic!("chosen") };
        assert!(
            failure.to_string().contains("127.0.0.1:5000 (3 packets, 5 messages)"),
            "{failure}"
        );
    }

    #[test]
    fn a_signal_while_a_capture_is_looked_through_is_no_error_of_the_capture() {
        let stop = Stop::default();
        stop.ask();
        let Err(failure) = Survey::new(&recording(&[]), &stop) else { panic!("surveyed") };
        assert_eq!(failure.outcome.code(), 130);
    }

    #[test]
    fn only_what_the_flow_lacks_is_found_elsewhere() {
        let session = b"FEED      ";
        let other = [(4, 1), (2, 1), (6, 2)];
        let other = other.map(|(sequence, count)| frame(ELSEWHERE, session, sequence, count));
        assert_eq!(found(&recording(&other)), [4, 6]);
    }

    #[test]
    fn sessions_of_other_feeds_are_not_found() {
        assert!(found(&recording(&[frame(ELSEWHERE, b"OTHER     ", 4, 1)])).is_empty());
    }

    #[test]
    fn a_capture_without_a_feed_has_nothing_to_publish() {
        let mut copy = tempfile::tempfile().unwrap();
        copy.write_all(&pcap(101, &[])).unwrap();
        let empty = Recording { name: "x.pcap".into(), path: "-".into(), copy: Some(copy) };
        let Err(failure) = chosen(&empty, None) else { panic!("chosen") };
        assert!(failure.to_string().contains("x.pcap has nothing to publish"), "{failure}");
    }
}
