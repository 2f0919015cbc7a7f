//! A naive reader of MoldUDP64 datagrams, byte after byte, for `wire::mold` to agree with.

use std::collections::VecDeque;

use gapless_core::Session;
use gapless_core::wire::mold::{
    HEADER_LEN, Header, Kind, MAX_COUNT, Malformed, Messages, Packet, PacketWriter, Request,
};

/// Numbers that a header can carry go up to this one; sums of them do not fit 64 bits.
const LAST_NUMBER: u128 = u64::MAX as u128;

/// The blocks that a naive reader finds behind a header: complete leading blocks, and what comes after them.
struct Found {
    header: Header,
    messages: Vec<(u64, Vec<u8>)>,
    behind: usize,
}

/// Reads a header and as many of `wanted` blocks as are whole; `None` below 20 bytes.
fn read(datagram: &[u8], wanted: impl Fn(u16) -> u16) -> Option<Found> {
    let mut bytes: VecDeque<u8> = datagram.iter().copied().collect();
    let mut take = |count: usize| -> Option<Vec<u8>> {
        (count <= bytes.len()).then(|| bytes.drain(..count).collect())
    };
    let number = |bytes: Vec<u8>| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));

    if datagram.len() < HEADER_LEN {
        return None;
    }
    let session = Session::new(take(10)?.try_into().ok()?);
    let sequence = number(take(8)?);
    let count = number(take(2)?) as u16;
    let mut messages = Vec::new();
    let mut behind = datagram.len() - HEADER_LEN;
    for index in 0..wanted(count) {
        let Some(length) = take(2).map(number) else { break };
        let Some(message) = take(length as usize) else { break };
        behind -= 2 + message.len();
        messages.push((sequence.wrapping_add(u64::from(index)), message));
    }
    Some(Found { header: Header { session, sequence, count }, messages, behind })
}

/// Reads any bytes with every view and writes back what they gave.
///
/// # Panics
/// When a view disagrees with the naive reader, or what was written with what was read.
pub fn check(datagram: &[u8]) {
    check_packet(datagram);
    check_request(datagram);
}

fn check_packet(datagram: &[u8]) {
    let Some(found) = read(datagram, |count| if count > MAX_COUNT { 0 } else { count }) else {
        let short = Malformed::Header { len: datagram.len() };
        assert_eq!(Packet::new_checked(datagram), Err(short));
        assert_eq!(Header::read(datagram), None);
        return;
    };
    let Header { session, sequence, count } = found.header;
    let promised = if count > MAX_COUNT { 0 } else { count };
    assert_eq!(Header::read(datagram), Some(found.header));
    check_walk(&found, promised, &datagram[HEADER_LEN..]);

    let past_the_last = u128::from(sequence) + u128::from(promised) > LAST_NUMBER + 1;
    let broken = found.messages.len() < usize::from(promised);
    let packet = match Packet::new_checked(datagram) {
        parsed if sequence == 0 => return assert_eq!(parsed, Err(Malformed::SequenceZero)),
        parsed if past_the_last => {
            return assert_eq!(parsed, Err(Malformed::SequenceOverflow { sequence, count }));
        }
        parsed if broken => {
            let block = found.messages.len() as u16;
            return assert_eq!(parsed, Err(Malformed::Block { block, count }));
        }
        parsed => parsed.expect("a packet"),
    };

    assert_eq!(*packet.header(), found.header);
    assert_eq!(packet.trailing(), found.behind);
    assert_eq!(packet.header().messages(), promised);
    let next = u128::from(sequence) + u128::from(promised);
    assert_eq!(packet.header().next().map(u128::from), Some(next).filter(|n| *n <= LAST_NUMBER));
    check_walk(&found, promised, packet.messages().rest());

    let kind = packet.header().kind();
    let packet_len = datagram.len() - found.behind;
    let mut buffer = vec![0xAA; packet_len];
    if kind == Kind::Data {
        let mut writer = PacketWriter::new(&mut buffer, session, sequence).expect("room");
        assert!(packet.messages().all(|(_, message)| writer.push(message)));
        assert_eq!(writer.as_bytes().len(), packet_len);
        assert_eq!(Header::read(writer.as_bytes()).map(|header| header.count), Some(count));
    } else {
        buffer.copy_from_slice(&packet.header().to_bytes());
    }
    assert_eq!(buffer, datagram[..packet_len]);
}

/// Walks over `blocks` one by one, and passes over some of them in every way.
fn check_walk(found: &Found, promised: u16, blocks: &[u8]) {
    let sequence = found.header.sequence;
    let messages = || Messages::new(sequence, promised, blocks);
    let expected = || found.messages.iter().map(|(number, message)| (*number, message.as_slice()));
    assert!(messages().eq(expected()));
    assert!(messages().size_hint().1.is_some_and(|most| most >= found.messages.len()));

    let whole = found.messages.len() as u16;
    for count in [0, 1, 2, whole / 2, whole.saturating_sub(1), whole, whole + 1, u16::MAX] {
        let mut rest = messages();
        let passed = rest.pass(count);
        let len: usize =
            expected().take(usize::from(count)).map(|(_, message)| 2 + message.len()).sum();
        assert_eq!(passed, &blocks[..len], "passing {count}");
        assert_eq!(rest.rest(), &blocks[len..], "passing {count}");
        assert!(rest.eq(expected().skip(usize::from(count))), "passing {count}");
        assert_eq!(messages().nth(usize::from(count)), expected().nth(usize::from(count)));
    }
}

fn check_request(datagram: &[u8]) {
    let parsed = Request::new_checked(datagram);
    let Some(Found { header, .. }) = read(datagram, |_| 0).filter(|_| datagram.len() == HEADER_LEN)
    else {
        return assert_eq!(parsed, Err(Malformed::Header { len: datagram.len() }));
    };
    let Header { session, sequence, count } = header;
    if sequence == 0 {
        assert_eq!(parsed, Err(Malformed::SequenceZero));
    } else if count == 0 {
        assert_eq!(parsed, Err(Malformed::CountZero));
    } else if u128::from(sequence) + u128::from(count) > LAST_NUMBER + 1 {
        assert_eq!(parsed, Err(Malformed::SequenceOverflow { sequence, count }));
    } else {
        let request = Request { session, sequence, count };
        assert_eq!(parsed, Ok(request));
        assert_eq!(request.to_bytes(), datagram);
    }
}
