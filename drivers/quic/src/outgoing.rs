//! The datagram to be sent next, kept while the kernel has no room for it: it was counted as sent already by
//! the connection that made it, and goes before anything else does.

use quinn_proto::Transmit;

/// Writes that a round makes at most.
const WRITES: usize = 64;

/// A batch of datagrams, or none.
#[derive(Default)]
pub(crate) struct Outgoing {
    buffer: Vec<u8>,
    held: Option<Transmit>,
}

impl Outgoing {
    /// Whether there was no room for the last one.
    pub(crate) const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Writes what is held and then what `next` puts into an empty buffer, until that is nothing, or `write`
    /// says that there is no room, or a round is over.
    pub(crate) fn send(
        &mut self,
        mut next: impl FnMut(&mut Vec<u8>) -> Option<Transmit>,
        mut write: impl FnMut(&Transmit, &[u8]) -> bool,
    ) {
        for _ in 0..WRITES {
            let transmit = match self.held.take() {
                Some(transmit) => transmit,
                None => {
                    self.buffer.clear();
                    let Some(transmit) = next(&mut self.buffer) else { return };
                    transmit
                }
            };
            if !write(&transmit, &self.buffer[..transmit.size]) {
                self.held = Some(transmit);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    /// Gives batches of these bytes, each of them three times.
    fn batches(
        bytes: impl IntoIterator<Item = u8>,
    ) -> impl FnMut(&mut Vec<u8>) -> Option<Transmit> {
        let mut bytes = bytes.into_iter();
        move |buffer| {
            assert!(buffer.is_empty(), "what was sent is still there");
            buffer.extend([bytes.next()?; 3]);
            let destination = SocketAddr::from((Ipv4Addr::LOCALHOST, buffer[0].into()));
            Some(Transmit { destination, ecn: None, size: 3, segment_size: None, src_ip: None })
        }
    }

    /// Sends as long as there is room for so many; the first byte of each, in order.
    fn send(
        outgoing: &mut Outgoing,
        next: impl FnMut(&mut Vec<u8>) -> Option<Transmit>,
        mut room: usize,
    ) -> Vec<u8> {
        let mut sent = Vec::new();
        outgoing.send(next, |transmit, bytes| {
            assert_eq!(bytes, [bytes[0]; 3]);
            assert_eq!(transmit.destination.port(), u16::from(bytes[0]));
            let has_room = room > 0;
            if has_room {
                room -= 1;
                sent.push(bytes[0]);
            }
            has_room
        });
        sent
    }

    #[test]
    fn what_there_is_no_room_for_goes_first_when_there_is_some_and_once() {
        let mut outgoing = Outgoing::default();
        let mut next = batches(1..=4);
        assert_eq!(send(&mut outgoing, &mut next, 2), [1, 2]);
        assert!(outgoing.is_held());
        assert_eq!(send(&mut outgoing, &mut next, 9), [3, 4]);
        assert!(!outgoing.is_held());
        assert_eq!(send(&mut outgoing, &mut next, 9), []);
    }

    #[test]
    fn while_there_is_no_room_nothing_more_is_asked_for() {
        let mut outgoing = Outgoing::default();
        assert_eq!(send(&mut outgoing, batches(7..=7), 0), []);
        for _ in 0..3 {
            let asked = |_: &mut Vec<u8>| panic!("one is held");
            assert_eq!(send(&mut outgoing, asked, 0), []);
            assert!(outgoing.is_held());
        }
        assert_eq!(send(&mut outgoing, batches([]), 9), [7]);
    }

    #[test]
    fn a_round_is_bounded_and_the_next_goes_on() {
        let mut outgoing = Outgoing::default();
        let mut next = batches(0..=200);
        assert_eq!(send(&mut outgoing, &mut next, 999).len(), WRITES);
        assert!(!outgoing.is_held());
        assert_eq!(send(&mut outgoing, &mut next, 1), [WRITES as u8]);
    }
}
