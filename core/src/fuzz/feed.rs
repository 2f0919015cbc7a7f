//! The events of a receiver: a feed over lines that lose, double and reorder, and servers that answer.

use alloc::vec::Vec;
use core::net::SocketAddr;

use arbitrary::{Result, Unstructured};

use super::Sequence;
use super::values::packet;
use crate::receiver::{Command, Config, Datagram, Event, LineId, Receiver, Source, Start};
use crate::wire::mold::{END_OF_SESSION, HEARTBEAT, Header, Request};
use crate::{Instant, Session};

/// Requests that can still be answered.
const MOST_ASKED: usize = 16;
/// How far packets go back behind the newest.
const MOST_BACK: u64 = 16;

/// Packets that lines and servers of a configuration bring of one session. Every packet is well-formed and every message is
/// what [`Feed::message`] says, so nothing that a receiver delivers may be anything else; lines lose, double, reorder
/// and say what comes next, and servers answer what they are asked, late or not at all.
#[derive(Clone, Debug)]
pub struct Feed {
    session: Session,
    first: u64,
    next: u64,
    lines: Vec<LineId>,
    asked: Vec<(SocketAddr, Request)>,
}

impl Feed {
    /// The session that the configuration names, or one of some name, from the number at which it starts.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let first = if let Start::At(first) = config.start { first } else { 1 };
        // As far from the last number as packets of it need.
        let first = first.min(u64::MAX / 2);
        let session = config.session.unwrap_or(Session::new(*b"FUZZED    "));
        let mut lines = config.lines.clone();
        if lines.is_empty() {
            lines.push(LineId(0));
        }
        Self { session, first, next: first, lines, asked: Vec::new() }
    }

    /// The message of this number.
    #[must_use]
    pub const fn message(number: u64) -> [u8; 8] {
        number.to_be_bytes()
    }

    fn packet(&self, first: u64, count: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let messages: Vec<_> = (first..first + count).map(Self::message).collect();
        packet(self.session, first, messages.iter().map(|message| &message[..]), &mut bytes);
        bytes
    }

    fn bare(&self, count: u16) -> Vec<u8> {
        Header { session: self.session, sequence: self.next, count }.to_bytes().to_vec()
    }
}

impl Sequence<Receiver> for Feed {
    fn next<'s, 'u: 's>(&'s mut self, u: &mut Unstructured<'u>) -> Result<Event> {
        let line = *u.choose(&self.lines)?;
        let mut source = Source::Line(line);
        let bytes = match u.int_in_range(0..=31_u8)? {
            0 => return Ok(Event::RemoveLine(line)),
            1 => return Ok(Event::AddLine(line)),
            2 => {
                let next = (self.next - u.int_in_range(0..=MOST_BACK)?.min(self.next - 1)).max(1);
                return Ok(Event::Advance { next });
            }
            3 => self.bare(END_OF_SESSION),
            4..=5 => self.bare(HEARTBEAT),
            6..=11 if !self.asked.is_empty() => {
                let nth = u.choose_index(self.asked.len())?;
                let (server, request) = self.asked.swap_remove(nth);
                source = Source::Peer(server);
                let there = self.next.saturating_sub(request.sequence);
                let count = u64::from(request.count).min(there).min(MOST_BACK);
                self.packet(request.sequence, count.max(1))
            }
            12..=17 => {
                let back = u.int_in_range(0..=MOST_BACK)?.min(self.next - self.first);
                let count = u.int_in_range(1..=4_u64)?;
                self.next = self.next.max(self.next - back + count);
                self.packet(self.next - back.max(count), count)
            }
            _ => {
                // Some are lost on all lines.
                let lost = u.int_in_range(0..=7_u64)?.saturating_sub(4);
                let (first, count) = (self.next + lost, u.int_in_range(1..=4_u64)?);
                self.next = first + count;
                self.packet(first, count)
            }
        };
        let (pinned, arrival) = (bytes.len(), Instant::ZERO);
        Ok(Event::Datagram(Datagram { source, bytes: bytes.into(), pinned, arrival }))
    }

    fn note(&mut self, command: &Command) {
        if let Command::Request { to, request, .. } = command
            && request.session == self.session
            && self.asked.len() < MOST_ASKED
        {
            self.asked.push((*to, *request));
        }
    }
}
