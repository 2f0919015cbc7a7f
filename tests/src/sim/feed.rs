//! The feed's source: sends what the program plans on every line, heartbeats when it is idle, and
//! end-of-session packets.

use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;
use gapless_core::wire::mold::{END_OF_SESSION, HEARTBEAT, Header};
use gapless_core::{Duration, Instant};

use super::program::{Ending, Program, Timetable, packet};
use super::world::{Node, Outbox, State};

/// Time from a packet to the heartbeat that follows it.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);
/// The size that a packet of at most 20 messages fits into.
const MTU: usize = 1400;

/// One line of a feed.
#[derive(Clone, Debug)]
pub struct Line {
    /// Where its packets go.
    pub to: SocketAddr,
    /// When it sends; it is silent before and after.
    pub sends: Range<Instant>,
}

/// A source of a feed.
#[derive(Debug)]
pub struct Feed {
    program: Rc<Program>,
    address: SocketAddr,
    lines: Vec<Line>,
    /// Index of the session under way, and of its next packet.
    session: usize,
    packet: usize,
    last_sent: Instant,
}

impl Feed {
    /// A feed that sends from an address.
    #[must_use]
    pub const fn new(program: Rc<Program>, address: SocketAddr, lines: Vec<Line>) -> Self {
        Self { program, address, lines, session: 0, packet: 0, last_sent: Instant::ZERO }
    }

    fn send(&mut self, now: Instant, bytes: &Bytes, out: &mut Outbox) {
        self.last_sent = now;
        for line in self.lines.iter().filter(|line| line.sends.contains(&now)) {
            out.send(self.address, line.to, bytes.clone());
        }
    }

    /// When the next packet with messages or the next session is due.
    fn next_planned(&self) -> Option<Instant> {
        let timetable = self.program.timetables.get(self.session)?;
        let next_session = self.program.timetables.get(self.session + 1);
        match (timetable.packets.get(self.packet), next_session) {
            (Some(packet), Some(next)) => Some(packet.at.min(next.begins)),
            (Some(packet), None) => Some(packet.at),
            (None, Some(next)) => Some(next.begins),
            (None, None) => None,
        }
    }
}

impl Node for Feed {
    fn arrive(&mut self, _: Instant, _: SocketAddr, _: SocketAddr, _: &Bytes, _: &mut Outbox) {}

    fn wake(&mut self, now: Instant, out: &mut Outbox) {
        let program = Rc::clone(&self.program);
        if program.timetables.get(self.session + 1).is_some_and(|next| next.begins <= now) {
            self.session += 1;
            self.packet = 0;
        }
        let timetable = &program.timetables[self.session];
        let planned = timetable.packets.get(self.packet);
        if planned.is_some_and(|planned| planned.at <= now) {
            // Several where it could not send in time.
            for planned in timetable.packets[self.packet..].iter().take_while(|next| next.at <= now)
            {
                self.packet += 1;
                let bytes = packet(timetable.session, planned.first, planned.count, MTU);
                self.send(now, &bytes, out);
            }
            return;
        }
        let (sequence, count) = match (planned, timetable.ending) {
            (Some(next), _) => (next.first, HEARTBEAT),
            (None, Ending::Announced) => (timetable.end(), END_OF_SESSION),
            (None, Ending::Silent) => (timetable.end(), HEARTBEAT),
        };
        let header = Header { session: timetable.session, sequence, count };
        self.send(now, &Bytes::copy_from_slice(&header.to_bytes()), out);
    }

    fn next_wake(&self) -> Option<Instant> {
        let idle = self.last_sent + HEARTBEAT_INTERVAL;
        Some(self.next_planned().map_or(idle, |planned| planned.min(idle)))
    }

    /// Packets that it would have sent meanwhile are sent late, or never by this way.
    fn restart(&mut self, now: Instant, state: State) {
        let begun = |timetable: &&Timetable| timetable.begins <= now;
        let sessions = self.program.timetables.iter().take_while(begun).count();
        if state == State::Kept || sessions == 0 {
            return;
        }
        if sessions - 1 > self.session {
            (self.session, self.packet) = (sessions - 1, 0);
        }
        let packets = &self.program.timetables[self.session].packets;
        self.packet = self.packet.max(packets.partition_point(|planned| planned.at <= now));
    }
}
