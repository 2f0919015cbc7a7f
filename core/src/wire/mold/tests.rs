//! The views' readings of packets, whole and broken, and the writers' bytes.

use super::*;

extern crate alloc;
use alloc::vec;
use alloc::vec::Vec;

const SESSION: Session = Session::new(*b"MOLD000001");

/// A datagram of any header, sensible or not, with these bytes behind it.
fn datagram(sequence: u64, count: u16, body: &[u8]) -> Vec<u8> {
    let header = Header { session: SESSION, sequence, count };
    [&header.to_bytes(), body].concat()
}

fn walked<'a>(messages: Messages<'a>) -> Vec<(u64, &'a [u8])> {
    messages.collect()
}

#[test]
fn a_packet_gives_its_messages_with_their_numbers() {
    let bytes = datagram(10, 3, b"\0\x03one\0\0\0\x05three");
    let packet = Packet::new_checked(&bytes).unwrap();
    assert_eq!(packet.header().kind(), Kind::Data);
    assert_eq!(packet.header().next(), Some(13));
    assert_eq!(packet.trailing(), 0);
    assert_eq!(walked(packet.messages()), [(10, &b"one"[..]), (11, &b""[..]), (12, &b"three"[..])]);
}

#[test]
fn a_header_is_read_as_it_was_written() {
    let header = Header { session: SESSION, sequence: 0x0102_0304_0506_0708, count: 0x090A };
    let bytes = header.to_bytes();
    assert_eq!(&bytes[10..], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(Header::read(&bytes), Some(header));
    assert_eq!(Header::read(&bytes[..19]), None);
}

#[test]
fn heartbeats_and_ends_carry_the_next_number_and_no_messages() {
    for (count, kind) in [(HEARTBEAT, Kind::Heartbeat), (END_OF_SESSION, Kind::EndOfSession)] {
        let bytes = datagram(42, count, b"");
        let packet = Packet::new_checked(&bytes).unwrap();
        assert_eq!(packet.header().kind(), kind);
        assert_eq!(packet.header().messages(), 0);
        assert_eq!(packet.header().next(), Some(42));
        assert_eq!(walked(packet.messages()), []);
    }
}

#[test]
fn an_end_at_the_last_number_does_not_advance_it() {
    let bytes = datagram(u64::MAX, END_OF_SESSION, b"");
    assert_eq!(Packet::new_checked(&bytes).unwrap().header().next(), Some(u64::MAX));
}

#[test]
fn bytes_behind_the_last_block_are_reported_and_no_message() {
    for count in [HEARTBEAT, END_OF_SESSION] {
        let bytes = datagram(1, count, b"\0\x01A");
        let packet = Packet::new_checked(&bytes).unwrap();
        assert_eq!((packet.messages().rest(), packet.trailing()), (&b""[..], 3));
    }
    let bytes = datagram(1, 1, b"\0\x01A\0\x01B");
    let packet = Packet::new_checked(&bytes).unwrap();
    assert_eq!((packet.messages().rest(), packet.trailing()), (&b"\0\x01A"[..], 3));
    assert_eq!(walked(packet.messages()), [(1, &b"A"[..])]);
}

#[test]
fn less_than_a_header_is_no_packet() {
    let bytes = datagram(1, HEARTBEAT, b"");
    for len in 0..HEADER_LEN {
        assert_eq!(Packet::new_checked(&bytes[..len]), Err(Malformed::Header { len }));
    }
}

#[test]
fn the_first_block_that_is_not_whole_is_named() {
    let whole = b"\0\x01A\0\x02BC";
    // The end of the bytes, and which of the two blocks is then cut.
    for (len, block) in [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 1)] {
        assert_eq!(
            Packet::new_checked(&datagram(1, 2, &whole[..len])),
            Err(Malformed::Block { block, count: 2 }),
            "of {len} bytes"
        );
    }
    assert!(Packet::new_checked(&datagram(1, 2, whole)).is_ok());
}

#[test]
fn the_length_of_blocks_is_known_when_all_are_there() {
    let blocks = b"\0\x01A\0\x02BC";
    for (count, len) in [(0, Some(0)), (1, Some(3)), (2, Some(7)), (3, None), (u16::MAX, None)] {
        assert_eq!(blocks_len(blocks, count), len);
    }
    for cut in 0..blocks.len() {
        assert_eq!(blocks_len(&blocks[..cut], 0), Some(0));
        assert_eq!(blocks_len(&blocks[..cut], 2), None);
    }
}

#[test]
fn the_largest_length_field_reaches_past_a_small_datagram() {
    assert_eq!(
        Packet::new_checked(&datagram(1, 2, b"\xff\xff\0\0")),
        Err(Malformed::Block { block: 0, count: 2 })
    );
    assert_eq!(
        Packet::new_checked(&datagram(1, MAX_COUNT, b"\0\0\0\0")),
        Err(Malformed::Block { block: 2, count: MAX_COUNT })
    );
}

#[test]
fn the_most_messages_that_a_count_can_say_are_taken() {
    // More than fits UDP over IPv4; a core does not know what carried its bytes.
    let bytes = datagram(1, MAX_COUNT, &vec![0; 2 * usize::from(MAX_COUNT)]);
    let packet = Packet::new_checked(&bytes).unwrap();
    assert_eq!(packet.messages().count(), usize::from(MAX_COUNT));
    assert_eq!(packet.header().next(), Some(65_535));
}

#[test]
fn sequence_zero_is_malformed_in_every_kind() {
    for count in [HEARTBEAT, 1, END_OF_SESSION] {
        assert_eq!(Packet::new_checked(&datagram(0, count, b"\0\0")), Err(Malformed::SequenceZero));
    }
}

#[test]
fn the_last_number_can_be_used_and_not_passed() {
    let bytes = datagram(u64::MAX, 1, b"\0\x01Z");
    let packet = Packet::new_checked(&bytes).unwrap();
    assert_eq!(packet.header().next(), None);
    assert_eq!(walked(packet.messages()), [(u64::MAX, &b"Z"[..])]);
    assert_eq!(
        Packet::new_checked(&datagram(u64::MAX, 2, b"\0\0\0\0")),
        Err(Malformed::SequenceOverflow { sequence: u64::MAX, count: 2 })
    );
}

#[test]
fn passing_messages_gives_their_blocks_and_goes_on_behind_them() {
    let blocks = b"\0\x01A\0\0\0\x02BC\0\x01D";
    let mut messages = Messages::new(7, 4, blocks);
    assert_eq!(messages.pass(0), b"");
    assert_eq!(messages.pass(2), b"\0\x01A\0\0");
    assert_eq!((messages.sequence(), messages.remaining()), (9, 2));
    assert_eq!(messages.rest(), b"\0\x02BC\0\x01D");
    assert_eq!(messages.next(), Some((9, &b"BC"[..])));
    assert_eq!(messages.pass(u16::MAX), b"\0\x01D");
    assert_eq!(messages.next(), None);
    assert_eq!(messages.pass(1), b"");
}

#[test]
fn skipping_and_taking_one_by_one_agree() {
    let blocks = b"\0\x01A\0\0\0\x02BC\0\x01D";
    let all = walked(Messages::new(7, 4, blocks));
    for n in 0..6 {
        assert_eq!(Messages::new(7, 4, blocks).nth(n), all.get(n).copied());
        assert_eq!(
            Messages::new(7, 4, blocks).skip(n).collect::<Vec<_>>(),
            all.get(n..).unwrap_or_default()
        );
    }
    assert_eq!(Messages::new(7, 4, blocks).nth(usize::MAX), None);
}

#[test]
fn unchecked_blocks_give_what_is_whole_and_end() {
    let cut = b"\0\x01A\0\x05BC";
    let mut messages = Messages::new(1, 9, cut);
    assert_eq!(messages.next(), Some((1, &b"A"[..])));
    assert_eq!(messages.next(), None);
    assert_eq!(messages.next(), None);

    let mut messages = Messages::new(1, 9, cut);
    assert_eq!(messages.pass(2), b"\0\x01A");
    assert_eq!((messages.next(), messages.remaining()), (None, 0));
}

#[test]
fn a_request_is_read_as_it_was_written() {
    for (sequence, count) in [(7, 1), (1, u16::MAX), (u64::MAX, 1)] {
        let request = Request { session: SESSION, sequence, count };
        assert_eq!(Request::new_checked(&request.to_bytes()), Ok(request));
    }
}

#[test]
fn a_request_has_exactly_20_bytes() {
    let bytes = datagram(7, 1, b"\0");
    for len in [0, 19, 21] {
        assert_eq!(Request::new_checked(&bytes[..len]), Err(Malformed::Header { len }));
    }
    assert!(Request::new_checked(&bytes[..20]).is_ok());
}

#[test]
fn a_request_for_numbers_that_do_not_exist_is_malformed() {
    let read = |sequence, count| Request::new_checked(&datagram(sequence, count, b""));
    assert_eq!(read(0, 5), Err(Malformed::SequenceZero));
    assert_eq!(read(1, 0), Err(Malformed::CountZero));
    assert_eq!(
        read(u64::MAX, 2),
        Err(Malformed::SequenceOverflow { sequence: u64::MAX, count: 2 })
    );
}

#[test]
fn what_the_writer_writes_is_what_the_view_reads() {
    let mut buffer = [0xAA; 64];
    let mut writer = PacketWriter::new(&mut buffer, SESSION, 5).unwrap();
    assert!(writer.push(b"one"));
    assert!(writer.push(b""));
    assert_eq!(writer.as_bytes().len(), 27);
    assert_eq!(writer.as_bytes(), datagram(5, 2, b"\0\x03one\0\0"));
    let packet = Packet::new_checked(writer.as_bytes()).unwrap();
    assert_eq!(walked(packet.messages()), [(5, &b"one"[..]), (6, &b""[..])]);
}

#[test]
fn a_writer_without_messages_has_written_a_heartbeat() {
    let mut buffer = [0xAA; HEADER_LEN];
    let writer = PacketWriter::new(&mut buffer, SESSION, 5).unwrap();
    assert_eq!(writer.as_bytes(), datagram(5, HEARTBEAT, b""));
    assert!(PacketWriter::new(&mut [0; HEADER_LEN - 1], SESSION, 5).is_none());
}

#[test]
fn a_message_without_room_is_refused_and_leaves_the_packet_as_it_was() {
    let mut buffer = [0; HEADER_LEN + 5];
    let mut writer = PacketWriter::new(&mut buffer, SESSION, 1).unwrap();
    assert!(!writer.push(b"four"));
    assert_eq!(writer.as_bytes(), datagram(1, 0, b""));
    assert!(writer.push(b"two"));
    assert!(!writer.push(b""));
    assert_eq!(writer.as_bytes(), datagram(1, 1, b"\0\x03two"));
}

#[test]
fn a_message_longer_than_a_length_can_say_is_refused() {
    let mut buffer = vec![0; 70_000];
    let mut writer = PacketWriter::new(&mut buffer, SESSION, 1).unwrap();
    assert!(!writer.push(&[0; 65_536]));
    assert!(writer.push(&[0; 65_535]));
}

#[test]
fn a_writer_never_counts_to_the_end_of_session() {
    let mut buffer = vec![0; 200_000];
    let mut writer = PacketWriter::new(&mut buffer, SESSION, 1).unwrap();
    let taken = (0..70_000).filter(|_| writer.push(b"")).count();
    assert_eq!(taken, usize::from(MAX_COUNT));
    assert_eq!(Header::read(writer.as_bytes()).unwrap().count, MAX_COUNT);
}

#[test]
fn a_writer_gives_no_number_past_the_last() {
    let mut buffer = [0; 64];
    let mut writer = PacketWriter::new(&mut buffer, SESSION, u64::MAX - 1).unwrap();
    assert!(writer.push(b""));
    assert!(writer.push(b""));
    assert!(!writer.push(b""));
    assert!(Packet::new_checked(writer.as_bytes()).is_ok());
}

#[test]
fn the_largest_message_fills_the_largest_datagram() {
    let mut buffer = vec![0; MAX_DATAGRAM];
    let mut writer = PacketWriter::new(&mut buffer, SESSION, 1).unwrap();
    assert!(!writer.push(&[0; MAX_MESSAGE + 1]));
    assert!(writer.push(&[0; MAX_MESSAGE]));
    assert_eq!(writer.as_bytes().len(), MAX_DATAGRAM);
}
