//! Datagrams in a few words, for logs and for people who read journals.

use core::fmt;

use super::mold::{Kind, Packet};

/// Prints a downstream packet as what it says, without its messages.
#[derive(Clone, Copy)]
pub struct Brief<'a>(pub &'a [u8]);

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Session;
    use crate::wire::mold::{END_OF_SESSION, HEARTBEAT, Header, PacketWriter};
    use alloc::format;

    #[test]
    fn a_packet_is_told_by_its_numbers() {
        let session = Session::from_name(b"FEED").unwrap();
        let mut buffer = [0; 64];
        let mut writer = PacketWriter::new(&mut buffer, session, 7).unwrap();
        assert!(writer.push(b"one") && writer.push(b"two"));
        let len = writer.len();
        assert_eq!(format!("{:?}", Brief(&buffer[..len])), "FEED 7..=8 (30 bytes)");
        let empty = |count| Header { session, sequence: 9, count }.to_bytes();
        assert_eq!(format!("{:?}", Brief(&empty(HEARTBEAT))), "FEED heartbeat before 9");
        assert_eq!(format!("{:?}", Brief(&empty(END_OF_SESSION))), "FEED end before 9");
        let cut = format!("{:?}", Brief(&buffer[..7]));
        assert_eq!(cut, "no packet (7 bytes where the header takes 20; 7 bytes)");
    }
}
