//! The events of a demultiplexer: acceptors that come and go, and streams that begin with a tag.

use alloc::vec::Vec;

use arbitrary::{Result, Unstructured};

use super::Sequence;
use crate::demux::{AcceptorId, Command, Demux, Event, Pattern, PeerId, Registrant, StreamId};

/// The most streams under way; the oldest is closed.
const MOST: usize = 16;

/// Tags, with their length before them.
const PREAMBLES: [&[u8]; 4] = [b"\x01a", b"\x02ab", b"\x04chat", b"\x09chat/more"];

/// A stream that its peer opened.
#[derive(Clone, Copy, Debug)]
struct Stream {
    id: StreamId,
    preamble: &'static [u8],
    sent: usize,
}

/// Acceptors of a few tags and prefixes; streams of four peers, each with a preamble that is cut anywhere, data that
/// follows on what came before, and an end.
#[derive(Clone, Default, Debug)]
pub struct Streams {
    streams: Vec<Stream>,
    opened: u64,
}

impl Streams {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn data(&mut self, u: &mut Unstructured<'_>, nth: usize) -> Result<Event<'static>> {
        let Stream { id, preamble, sent } = &mut self.streams[nth];
        let rest = preamble.get(*sent..).unwrap_or_default();
        let len = u.int_in_range(0..=rest.len() + 20)?;
        let bytes: Vec<u8> =
            rest.iter().copied().chain(core::iter::repeat(b'.')).take(len).collect();
        let (stream, offset, fin) = (*id, *sent as u64, u.ratio(1, 8)?);
        *sent += len;
        if fin {
            self.streams.swap_remove(nth);
        }
        Ok(Event::Data { stream, offset, pinned: bytes.len(), bytes: bytes.into(), fin })
    }
}

impl Sequence<Demux> for Streams {
    fn next<'s, 'u: 's>(&'s mut self, u: &mut Unstructured<'u>) -> Result<Event<'s>> {
        let acceptor = AcceptorId(u.int_in_range(0..=3)?);
        let tag = &u.choose(&PREAMBLES)?[1..];
        let exact: bool = u.arbitrary()?;
        let pattern = if exact { Pattern::Exact(tag) } else { Pattern::Prefix(tag) };
        let choice = u.int_in_range(0..=63_u8)?;
        match choice {
            0..=5 => Ok(Event::Register { acceptor, pattern, by: Registrant::Application }),
            6 => Ok(Event::Unregister { pattern }),
            7 => Ok(Event::AcceptorGone { acceptor }),
            8..=9 => Ok(Event::Pause { acceptor }),
            10..=11 => Ok(Event::Resume { acceptor }),
            12 => Ok(Event::Take { acceptor }),
            13 => {
                let peer = PeerId(u.int_in_range(0..=3)?);
                self.streams.retain(|stream| stream.id.peer != peer);
                Ok(Event::PeerGone { peer })
            }
            14..=15 if !self.streams.is_empty() => {
                let nth = u.choose_index(self.streams.len())?;
                let stream = self.streams.swap_remove(nth).id;
                let code = choice.into();
                Ok(if exact { Event::Closed { stream } } else { Event::Reset { stream, code } })
            }
            16..=47 if !self.streams.is_empty() => {
                let nth = u.choose_index(self.streams.len())?;
                self.data(u, nth)
            }
            _ if self.streams.len() == MOST => {
                Ok(Event::Closed { stream: self.streams.remove(0).id })
            }
            _ => {
                // Of the client, of both kinds in turn: the numbers of QUIC.
                let (peer, number) = (PeerId(u.int_in_range(0..=3)?), self.opened * 2);
                self.opened += 1;
                let (id, preamble) = (StreamId { peer, number }, *u.choose(&PREAMBLES)?);
                self.streams.push(Stream { id, preamble, sent: 0 });
                self.data(u, self.streams.len() - 1)
            }
        }
    }

    fn note(&mut self, command: &Command) {
        // The machine is done with it.
        if let Command::Dispatch { stream, .. } | Command::Refuse { stream, .. } = command {
            self.streams.retain(|known| known.id != *stream);
        }
    }
}
