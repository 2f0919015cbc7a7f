//! UDP datagrams out of a capture, pcap or pcapng, frame by frame.
//!
//! Ethernet with VLAN tags, raw IP, Linux cooked (both versions) and loopback frames are read. What
//! is no whole UDP datagram is skipped and counted; IP fragments are not put together.

use std::collections::BTreeSet;
use std::fmt;
use std::io::BufRead;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use etherparse::{EtherType, NetSlice, SlicedPacket, TransportSlice};
use pcap_parser::pcapng::Block;
use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{Linktype, PcapBlockOwned, PcapError, create_reader};

use crate::failure::Failure;

/// The first size of a reader's buffer; it grows up to [`LARGEST_BLOCK`] where a block needs that.
const BUFFER: usize = 1 << 18;
/// A larger block is taken for a broken file.
const LARGEST_BLOCK: usize = 1 << 26;

/// A UDP datagram of a capture.
#[derive(Debug)]
pub(crate) struct Datagram {
    /// When it was captured, since 1970.
    pub(crate) time: Duration,
    /// Where it went.
    pub(crate) to: SocketAddr,
    /// Its bytes.
    pub(crate) payload: Vec<u8>,
}

impl Default for Datagram {
    fn default() -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self { time: Duration::ZERO, to: nowhere, payload: Vec::new() }
    }
}

/// Frames that gave no datagram, by reason.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// Fragments of larger datagrams.
    pub(crate) fragments: u64,
    /// Frames of which the capture holds only a part.
    pub(crate) truncated: u64,
    /// Frames that carry no UDP.
    pub(crate) other: u64,
    /// Frames of links that cannot be read.
    pub(crate) unknown_link: u64,
    /// Those links.
    pub(crate) links: BTreeSet<i32>,
    /// Whether the file ends in the middle of a frame.
    pub(crate) torn: bool,
}

impl Skipped {
    /// Whether something was skipped that the feed may have needed.
    pub(crate) fn matters(&self) -> bool {
        self.fragments + self.truncated + self.unknown_link > 0 || self.torn
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut reasons = Vec::new();
        let mut list = |count: u64, what: &str| {
            if count > 0 {
                reasons.push(format!("{count} {what}"));
            }
        };
        list(self.fragments, "IP fragments, which are not put together");
        list(self.truncated, "frames captured only in part (capture with a larger snap length)");
        list(self.other, "frames without UDP");
        if self.unknown_link > 0 {
            let links: Vec<String> = self.links.iter().map(ToString::to_string).collect();
            list(self.unknown_link, &format!("frames of link type {}", links.join(", ")));
        }
        if self.torn {
            reasons.push("a last frame that the file holds only in part".into());
        }
        f.write_str(&reasons.join("; "))
    }
}

/// One interface of a pcapng section, or the only one of a pcap file.
#[derive(Clone, Copy)]
struct Interface {
    link: Linktype,
    /// Units of time in a second.
    resolution: u64,
    /// Seconds to add to every time.
    offset: i64,
}

/// Reads a capture.
pub(crate) struct Capture {
    reader: Box<dyn PcapReaderIterator + Send>,
    name: String,
    interfaces: Vec<Interface>,
    skipped: Skipped,
}

impl Capture {
    /// Reads from `input`, which errors call `name`.
    ///
    /// # Errors
    /// It is no capture.
    pub(crate) fn new(input: Box<dyn BufRead + Send>, name: String) -> Result<Self, Failure> {
        let reader = create_reader(BUFFER, input).map_err(|error| {
            Failure::content(format!("{name} is no pcap or pcapng capture ({error})"))
                .advise("for other files see --format")
        })?;
        Ok(Self { reader, name, interfaces: Vec::new(), skipped: Skipped::default() })
    }

    /// The frames that were skipped so far.
    pub(crate) fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// Puts the next datagram into `datagram`; `false` at the end of the capture.
    ///
    /// # Errors
    /// The file cannot be read, or is broken.
    pub(crate) fn next(&mut self, datagram: &mut Datagram) -> Result<bool, Failure> {
        loop {
            let offset = self.reader.consumed();
            let (length, found) = match self.reader.next() {
                Ok((length, block)) => {
                    let frame = frame(&block, &mut self.interfaces);
                    (length, frame.is_some_and(|frame| frame.read(datagram, &mut self.skipped)))
                }
                Err(PcapError::Eof) => return Ok(false),
                Err(PcapError::UnexpectedEof) => {
                    self.skipped.torn = true;
                    return Ok(false);
                }
                Err(PcapError::Incomplete(_)) => {
                    self.refill(offset)?;
                    continue;
                }
                Err(PcapError::BufferTooSmall) => {
                    let room = self.reader.data().len().max(BUFFER) * 2;
                    if room > LARGEST_BLOCK || !self.reader.grow(room) {
                        return Err(self.broken(offset, "a block is too large"));
                    }
                    self.refill(offset)?;
                    continue;
                }
                Err(error) => {
                    let what = error.to_string();
                    return Err(self.broken(offset, &what));
                }
            };
            self.reader.consume(length);
            if found {
                return Ok(true);
            }
        }
    }

    fn refill(&mut self, offset: usize) -> Result<(), Failure> {
        match self.reader.refill() {
            Ok(()) => Ok(()),
            Err(error) => {
                let what = error.to_string();
                Err(self.broken(offset, &what))
            }
        }
    }

    fn broken(&self, offset: usize, what: &str) -> Failure {
        Failure::content(format!("{} is broken at offset {offset}: {what}", self.name))
            .advise("`capinfos` or `tshark -r` may say more; `editcap` can cut the part before")
    }
}

/// One captured frame.
struct Frame<'a> {
    time: Duration,
    link: Linktype,
    bytes: &'a [u8],
    /// Bytes of the frame that the capture left out.
    left_out: bool,
}

/// The frame in a block, if there is one. Notes what the block says of interfaces.
fn frame<'a>(block: &'a PcapBlockOwned<'a>, interfaces: &mut Vec<Interface>) -> Option<Frame<'a>> {
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let resolution =
                if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
            interfaces.push(Interface { link: header.network, resolution, offset: 0 });
            None
        }
        PcapBlockOwned::Legacy(block) => {
            let interface = interfaces.first()?;
            let fraction = interface.nanos(u64::from(block.ts_usec));
            Some(Frame {
                time: Duration::from_secs(block.ts_sec.into()) + fraction,
                link: interface.link,
                bytes: block.data.get(..block.caplen as usize)?,
                left_out: block.caplen < block.origlen,
            })
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            interfaces.clear();
            None
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(description)) => {
            interfaces.push(Interface {
                link: description.linktype,
                resolution: description.ts_resolution().unwrap_or(1_000_000),
                offset: description.ts_offset(),
            });
            None
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(block)) => {
            let interface = interfaces.get(block.if_id as usize)?;
            let ticks = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
            Some(Frame {
                time: interface.time(ticks),
                link: interface.link,
                bytes: block.packet_data(),
                left_out: block.caplen < block.origlen,
            })
        }
        PcapBlockOwned::NG(Block::SimplePacket(block)) => {
            let interface = interfaces.first()?;
            let bytes = block.packet_data();
            Some(Frame {
                time: Duration::ZERO,
                link: interface.link,
                bytes,
                left_out: bytes.len() < block.origlen as usize,
            })
        }
        PcapBlockOwned::NG(_) => None,
    }
}

impl Interface {
    fn time(&self, ticks: u64) -> Duration {
        let seconds = (ticks / self.resolution).saturating_add_signed(self.offset);
        Duration::from_secs(seconds) + self.nanos(ticks % self.resolution)
    }

    /// A fraction of a second.
    fn nanos(&self, ticks: u64) -> Duration {
        let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(self.resolution);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Frame<'_> {
    /// Takes the datagram out of the frame; `false`, and counted, where there is none.
    fn read(&self, datagram: &mut Datagram, skipped: &mut Skipped) -> bool {
        let unread = match self.slice() {
            Ok(Some(packet)) => match udp(&packet) {
                Some((to, payload)) => {
                    datagram.time = self.time;
                    datagram.to = to;
                    datagram.payload.clear();
                    datagram.payload.extend_from_slice(payload);
                    return true;
                }
                None if packet.is_ip_payload_fragmented() => &mut skipped.fragments,
                None if self.left_out => &mut skipped.truncated,
                None => &mut skipped.other,
            },
            Ok(None) => {
                skipped.links.insert(self.link.0);
                &mut skipped.unknown_link
            }
            Err(NoPacket) if self.left_out => &mut skipped.truncated,
            Err(NoPacket) => &mut skipped.other,
        };
        *unread += 1;
        false
    }

    /// The frame's layers; `None` for a link that cannot be read.
    fn slice(&self) -> Result<Option<SlicedPacket<'_>>, NoPacket> {
        /// Raw IP, by the numbers that BSDs gave it.
        const RAW_BSD: [Linktype; 2] = [Linktype(12), Linktype(14)];
        let bytes = self.bytes;
        let sliced = match self.link {
            Linktype::ETHERNET => SlicedPacket::from_ethernet(bytes),
            Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 => SlicedPacket::from_ip(bytes),
            link if RAW_BSD.contains(&link) => SlicedPacket::from_ip(bytes),
            // The address family in front is in the byte order of whoever captured: IP knows better.
            Linktype::NULL | Linktype::LOOP => {
                SlicedPacket::from_ip(bytes.get(4..).ok_or(NoPacket)?)
            }
            Linktype::LINUX_SLL => cooked(bytes, 14, 16)?,
            Linktype::LINUX_SLL2 => cooked(bytes, 0, 20)?,
            _ => return Ok(None),
        };
        sliced.map(Some).map_err(|_| NoPacket)
    }
}

/// A frame that holds no readable packet.
struct NoPacket;

/// The packet behind a Linux cooked header whose protocol lies at `protocol`.
fn cooked(
    bytes: &[u8],
    protocol: usize,
    header: usize,
) -> Result<Result<SlicedPacket<'_>, etherparse::err::packet::SliceError>, NoPacket> {
    let ether_type = bytes.get(protocol..).and_then(<[u8]>::first_chunk).ok_or(NoPacket)?;
    let payload = bytes.get(header..).ok_or(NoPacket)?;
    Ok(SlicedPacket::from_ether_type(EtherType(u16::from_be_bytes(*ether_type)), payload))
}

/// Destination and payload of a UDP datagram.
fn udp<'a>(packet: &SlicedPacket<'a>) -> Option<(SocketAddr, &'a [u8])> {
    let Some(TransportSlice::Udp(udp)) = &packet.transport else { return None };
    let to: IpAddr = match packet.net.as_ref()? {
        NetSlice::Ipv4(ip) => ip.header().destination_addr().into(),
        NetSlice::Ipv6(ip) => ip.header().destination_addr().into(),
        _ => return None,
    };
    Some((SocketAddr::new(to, udp.destination_port()), udp.payload()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use etherparse::PacketBuilder;
    use std::io::Cursor;

    const PAYLOAD: &[u8] = b"payload";

    fn ip_packet() -> Vec<u8> {
        let mut bytes = Vec::new();
        PacketBuilder::ipv4([10, 0, 0, 1], [239, 1, 1, 1], 1)
            .udp(1000, 5000)
            .write(&mut bytes, PAYLOAD)
            .unwrap();
        bytes
    }

    fn behind(header: &[u8]) -> Vec<u8> {
        [header, &ip_packet()].concat()
    }

    /// A pcap file (little-endian, microseconds) with frames of one link.
    pub(crate) fn pcap(link: u32, frames: &[Vec<u8>]) -> Vec<u8> {
        let mut file = Vec::new();
        for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, link] {
            file.extend(u32::to_le_bytes(word));
        }
        for frame in frames {
            for word in [7, 500_000, frame.len() as u32, frame.len() as u32] {
                file.extend(u32::to_le_bytes(word));
            }
            file.extend(frame);
        }
        file
    }

    fn read(file: Vec<u8>) -> (Vec<Datagram>, Skipped) {
        let mut capture = Capture::new(Box::new(Cursor::new(file)), "x.pcap".into()).unwrap();
        let mut datagrams = Vec::new();
        let mut datagram = Datagram::default();
        while capture.next(&mut datagram).unwrap() {
            datagrams.push(std::mem::take(&mut datagram));
        }
        (datagrams, capture.skipped().clone())
    }

    fn assert_read(file: Vec<u8>) {
        let (datagrams, skipped) = read(file);
        assert_eq!(skipped, Skipped::default());
        let [datagram] = &datagrams[..] else { panic!("{} datagrams", datagrams.len()) };
        assert_eq!(datagram.payload, PAYLOAD);
        assert_eq!(datagram.to, "239.1.1.1:5000".parse().unwrap());
        assert_eq!(datagram.time, Duration::from_millis(7_500));
    }

    #[test]
    fn ethernet_is_read() {
        let ethernet = [&[0; 12][..], &[0x08, 0x00]].concat();
        assert_read(pcap(1, &[behind(&ethernet)]));
    }

    #[test]
    fn vlan_tags_are_read() {
        let tagged = [&[0; 12][..], &[0x81, 0, 0, 5, 0x81, 0, 0, 6, 0x08, 0]].concat();
        assert_read(pcap(1, &[behind(&tagged)]));
    }

    #[test]
    fn raw_ip_is_read() {
        for link in [12, 14, 101, 228] {
            assert_read(pcap(link, &[ip_packet()]));
        }
    }

    #[test]
    fn loopback_is_read_in_either_byte_order() {
        assert_read(pcap(0, &[behind(&[2, 0, 0, 0])]));
        assert_read(pcap(0, &[behind(&[0, 0, 0, 2])]));
        assert_read(pcap(108, &[behind(&[0, 0, 0, 2])]));
    }

    #[test]
    fn linux_cooked_frames_are_read() {
        let first = [&[0; 14][..], &[0x08, 0x00]].concat();
        assert_read(pcap(113, &[behind(&first)]));
        let second = [&[0x08, 0x00][..], &[0; 18]].concat();
        assert_read(pcap(276, &[behind(&second)]));
    }

    #[test]
    fn ipv6_is_read() {
        let mut bytes = Vec::new();
        PacketBuilder::ipv6([0; 16], [0xff; 16], 1)
            .udp(1000, 5000)
            .write(&mut bytes, PAYLOAD)
            .unwrap();
        let (datagrams, _) = read(pcap(229, &[bytes]));
        assert_eq!(datagrams[0].payload, PAYLOAD);
        assert!(datagrams[0].to.is_ipv6());
    }

    #[test]
    fn padding_behind_a_short_frame_is_not_payload() {
        let mut frame = behind(&[&[0; 12][..], &[0x08, 0x00]].concat());
        frame.resize(frame.len() + 11, 0);
        assert_read(pcap(1, &[frame]));
    }

    #[test]
    fn fragments_are_counted_and_skipped() {
        let mut frame = ip_packet();
        frame[6] |= 0x20;
        let (datagrams, skipped) = read(pcap(101, &[frame]));
        assert!(datagrams.is_empty());
        assert_eq!(skipped.fragments, 1);
    }

    #[test]
    fn frames_cut_by_the_snap_length_are_counted_and_skipped() {
        let mut file = pcap(101, &[ip_packet()[..30].to_vec()]);
        file[24 + 12] = 100;
        let (datagrams, skipped) = read(file);
        assert!(datagrams.is_empty());
        assert_eq!(skipped.truncated, 1);
    }

    #[test]
    fn a_link_that_cannot_be_read_is_named() {
        let (_, skipped) = read(pcap(105, &[ip_packet()]));
        assert_eq!(skipped.to_string(), "1 frames of link type 105");
    }

    #[test]
    fn a_torn_end_is_reported_and_what_is_whole_is_read() {
        let mut file = pcap(101, &[ip_packet(), ip_packet()]);
        file.truncate(file.len() - 3);
        let (datagrams, skipped) = read(file);
        assert_eq!(datagrams.len(), 1);
        assert!(skipped.torn);
    }

    #[test]
    fn what_is_no_capture_is_refused_by_name() {
        let no_capture = Box::new(Cursor::new(vec![b'x'; 100]));
        let Err(failure) = Capture::new(no_capture, "x.pcap".into()) else { panic!("taken") };
        assert!(failure.to_string().contains("x.pcap is no pcap or pcapng capture"), "{failure}");
    }

    #[test]
    fn pcapng_is_read_with_the_resolution_of_its_interface() {
        let mut file = Vec::new();
        let mut block = |kind: u32, body: &[u8]| {
            let padded = body.len().next_multiple_of(4);
            let length = (12 + padded) as u32;
            file.extend(kind.to_le_bytes());
            file.extend(length.to_le_bytes());
            file.extend(body);
            file.resize(file.len() + padded - body.len(), 0);
            file.extend(length.to_le_bytes());
        };
        let section = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
        block(0x0a0d_0d0a, &section);
        // Raw IP with if_tsresol 9: nanoseconds.
        block(1, &[101, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        let packet = ip_packet();
        let time = 7_500_000_000_u64;
        let words = [0, (time >> 32) as u32, time as u32, packet.len() as u32, packet.len() as u32];
        let mut enhanced: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        enhanced.extend(&packet);
        block(6, &enhanced);
        assert_read(file);
    }
}
