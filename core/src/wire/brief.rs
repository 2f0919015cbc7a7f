//! Datagrams and messages in a few words, for logs and for people who read journals.

use core::fmt;

use super::mold::{Kind, Packet, Request};
use crate::Session;

/// Prints a downstream packet as what it says, without its messages.
#[derive(Clone, Copy)]
pub(crate) struct Brief<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.len();
        let packet = match Packet::new_checked(self.0) {
            Ok(packet) => packet,
            Err(malformed) => return write!(f, "no packet ({malformed}; {bytes} bytes)"),
        };
        let header = packet.header();
        let (session, first) = (header.session, header.sequence);
        match header.kind() {
            Kind::Data => {
                let last = first + (u64::from(header.messages()) - 1);
                write!(f, "{session} {first}..={last} ({bytes} bytes)")
            }
            Kind::Heartbeat => write!(f, "{session} heartbeat before {first}"),
            Kind::EndOfSession => write!(f, "{session} end before {first}"),
        }
    }
}

/// Prints the numbers of some messages; any numbers, for who reads journals may read nonsense.
#[derive(Clone, Copy)]
pub(crate) struct Numbers {
    /// The session.
    pub(crate) session: Session,
    /// The first number.
    pub(crate) first: u64,
    /// How many.
    pub(crate) count: u16,
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, first, count } = self;
        let last = count.checked_sub(1).and_then(|more| first.checked_add(more.into()));
        match last {
            Some(last) => write!(f, "{session} {first}..={last}"),
            None => write!(f, "{session} {count} messages from {first}"),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session, sequence: first, count } = *self;
        f.debug_tuple("Request").field(&Numbers { session, first, count }).finish()
    }
}

/// Prints a datagram that should be a request.
#[derive(Clone, Copy)]
pub(crate) struct BriefRequest<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for BriefRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Request::new_checked(self.0) {
            Ok(request) => request.fmt(f),
            Err(malformed) => write!(f, "no request ({malformed}; {} bytes)", self.0.len()),
        }
    }
}

/// Prints a message as its length and how it begins.
#[derive(Clone, Copy)]
pub(crate) struct BriefMessage<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for BriefMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// How many bytes are shown.
        const SHOWN: usize = 16;
        let begins = &self.0[..self.0.len().min(SHOWN)];
        let more = if self.0.len() > SHOWN { "…" } else { "" };
        write!(f, "{} bytes \"{}{more}\"", self.0.len(), begins.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::mold::{END_OF_SESSION, HEARTBEAT, Header, PacketWriter};
    use alloc::format;

    #[test]
    fn a_packet_is_shown_by_its_numbers() {
        let session = Session::from_name(b"FEED").unwrap();
        let mut buffer = [0; 64];
        let mut writer = PacketWriter::new(&mut buffer, session, 7).unwrap();
        assert!(writer.push(b"one") && writer.push(b"two"));
        let len = writer.as_bytes().len();
        assert_eq!(format!("{:?}", Brief(&buffer[..len])), "FEED 7..=8 (30 bytes)");
        let empty = |count| Header { session, sequence: 9, count }.to_bytes();
        assert_eq!(format!("{:?}", Brief(&empty(HEARTBEAT))), "FEED heartbeat before 9");
        assert_eq!(format!("{:?}", Brief(&empty(END_OF_SESSION))), "FEED end before 9");
        let cut = format!("{:?}", Brief(&buffer[..7]));
        assert_eq!(cut, "no packet (7 bytes where the header takes 20; 7 bytes)");
    }

    #[test]
    fn a_request_is_shown_by_what_it_asks_for() {
        let session = Session::from_name(b"FEED").unwrap();
        let request = |sequence, count| Request { session, sequence, count };
        assert_eq!(format!("{:?}", request(7, 2)), "Request(FEED 7..=8)");
        assert_eq!(format!("{:?}", request(7, 0)), "Request(FEED 0 messages from 7)");
        assert_eq!(
            format!("{:?}", request(u64::MAX, 1)),
            format!("Request(FEED {0}..={0})", u64::MAX)
        );
        assert_eq!(format!("{:?}", BriefRequest(&request(7, 2).to_bytes())), "Request(FEED 7..=8)");
        let none = format!("{:?}", BriefRequest(b"short"));
        assert_eq!(none, "no request (5 bytes where the header takes 20; 5 bytes)");
    }

    #[test]
    fn a_message_is_shown_by_its_length_and_its_beginning() {
        assert_eq!(format!("{:?}", BriefMessage(b"A\0\"")), r#"3 bytes "A\x00\"""#);
        let long = format!("{:?}", BriefMessage(&[b'x'; 40]));
        assert_eq!(long, format!("40 bytes \"{}…\"", "x".repeat(16)));
    }
}
