//! The events of a publisher and of a retransmitter: messages, and requesters that ask for what was sent.

use alloc::vec::Vec;
use core::net::SocketAddr;

use arbitrary::{Result, Unstructured};

use super::Sequence;
use super::values::packet;
use crate::Session;
use crate::publisher::{self, Publisher};
use crate::retransmitter::{self, LookUpId, Retransmitter};
use crate::transmitter;
use crate::wire::mold::{Packet, Request};

/// The most look-ups that can be answered.
const MOST_LOOK_UPS: usize = 8;

/// Messages that are sent in one session, and requests of four addresses, of which most ask for what was sent; an
/// archive that answers what is looked up.
///
/// Of a [`Publisher`] the messages are its own; a [`Retransmitter`] is given packets of them.
#[derive(Clone, Debug)]
pub struct Publication {
    session: Session,
    next: u64,
    look_ups: Vec<(LookUpId, u64)>,
    datagram: Vec<u8>,
}

impl Publication {
    /// A session, and the number of its first message.
    #[must_use]
    pub const fn new(session: Session, first: u64) -> Self {
        Self { session, next: first, look_ups: Vec::new(), datagram: Vec::new() }
    }

    /// A packet of some of the messages that there are, in the buffer.
    fn packet(&mut self, u: &mut Unstructured<'_>, first: u64) -> Result<&[u8]> {
        let messages = [&b"one"[..], b"another", b"", b"more"];
        let count = u.int_in_range(1..=messages.len())?;
        let first = first.clamp(1, u64::MAX / 2);
        packet(self.session, first, messages[..count].iter().copied(), &mut self.datagram);
        Ok(&self.datagram)
    }

    fn ask(&mut self, u: &mut Unstructured<'_>) -> Result<retransmitter::Event<'_>> {
        let nth = u.arbitrary::<u8>()?;
        if nth < 64 && !self.look_ups.is_empty() {
            let (id, first) = self.look_ups.swap_remove(usize::from(nth) % self.look_ups.len());
            return Ok(if u.arbitrary()? {
                let packet = self.packet(u, first)?;
                retransmitter::Event::Found { id, packet }
            } else {
                retransmitter::Event::NotFound { id }
            });
        }
        let from = SocketAddr::from(([127, 0, 0, 1], 1_000 + u16::from(nth % 4)));
        let back = u64::from(u.arbitrary::<u8>()?);
        let sequence = self.next.saturating_sub(back).max(1);
        let count = u.int_in_range(1..=64)?;
        let request = Request { session: self.session, sequence, count };
        self.datagram.clear();
        self.datagram.extend_from_slice(&request.to_bytes());
        Ok(retransmitter::Event::Request { from, datagram: &self.datagram })
    }

    fn note(&mut self, command: &retransmitter::Command) {
        if let retransmitter::Command::LookUp { id, first, .. } = command
            && self.look_ups.len() < MOST_LOOK_UPS
        {
            self.look_ups.push((*id, *first));
        }
    }
}

impl Sequence<Publisher> for Publication {
    fn next<'s, 'u: 's>(&'s mut self, u: &mut Unstructured<'u>) -> Result<publisher::Event<'s>> {
        Ok(match u.int_in_range(0..=31_u8)? {
            0 if u.ratio(1, 8)? => transmitter::Event::End.into(),
            0..=3 => transmitter::Event::Flush.into(),
            4..=15 => self.ask(u)?.into(),
            _ => {
                let len = u.int_in_range(0..=40)?;
                transmitter::Event::Message(u.bytes(len)?).into()
            }
        })
    }

    fn note(&mut self, command: &publisher::Command) {
        match command {
            publisher::Command::Send { bytes } => {
                if let Ok(packet) = Packet::new_checked(bytes) {
                    self.next = self.next.max(packet.header().next().unwrap_or(u64::MAX));
                }
            }
            publisher::Command::Retransmit(command) => self.note(command),
        }
    }
}

impl Sequence<Retransmitter> for Publication {
    fn next<'s, 'u: 's>(
        &'s mut self,
        u: &mut Unstructured<'u>,
    ) -> Result<retransmitter::Event<'s>> {
        let (choice, next) = (u.int_in_range(0..=31_u8)?, self.next);
        if choice < 12 {
            return self.ask(u);
        }
        if choice < 16 {
            let back = u64::from(u.arbitrary::<u8>()?);
            let packet = self.packet(u, next.saturating_sub(back))?;
            return Ok(retransmitter::Event::Store { packet });
        }
        self.next = next.saturating_add(u.int_in_range(1..=5)?);
        Ok(retransmitter::Event::Sent { packet: self.packet(u, next)? })
    }

    fn note(&mut self, command: &retransmitter::Command) {
        self.note(command);
    }
}
