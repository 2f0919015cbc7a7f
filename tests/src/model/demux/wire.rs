//! `wire::tag` against a naive reader, on any bytes: whole, cut anywhere, and written back.

use gapless_core::demux::{Preamble, Tag};
use gapless_core::wire::tag::{
    Head, Length, MAX_PREAMBLE, MAX_TAG, Malformed, RESERVED_PREFIX, is_reserved,
};

/// Reads bytes as the beginning of a stream, and writes them as a tag.
///
/// # Panics
/// The reader or the writer differs from the naive one.
pub fn check(bytes: &[u8]) {
    reads(bytes);
    writes(bytes);
}

/// A naive reader of preambles: it counts down from its first byte.
fn reads(bytes: &[u8]) {
    let mut left = None;
    let mut whole = None;
    for (at, &byte) in bytes.iter().enumerate() {
        left = Some(left.map_or(usize::from(byte), |left: usize| left - 1));
        if left == Some(0) {
            whole = Some(at + 1);
            break;
        }
    }
    let head = Head::new(bytes);
    match (whole, left) {
        (Some(1), _) => assert_eq!(head, Err(Malformed::Empty)),
        (Some(whole), _) => {
            let head = head.expect("a whole preamble");
            assert_eq!((head.tag(), head.payload()), (&bytes[1..whole], &bytes[whole..]));
            assert_eq!(head.preamble_len(), whole);
            is_written_back(head.tag(), &bytes[..whole]);
        }
        (None, left) => {
            assert_eq!(head, Err(Malformed::Incomplete { lacks: left.unwrap_or(1) }));
        }
    }
    // An incremental reader finds the same, and not earlier.
    let mut have = 0;
    let found = loop {
        match Head::new(&bytes[..have]) {
            Err(Malformed::Incomplete { lacks }) if have < bytes.len() => {
                have = bytes.len().min(have + lacks);
            }
            found => break found,
        }
    };
    let tag = |head: Result<Head<'_>, Malformed>| head.map(|head| head.tag().to_vec());
    assert_eq!(tag(found), tag(head), "what is read in the smallest steps");
    assert!(whole.is_none_or(|whole| have == whole), "{have} bytes were needed");
    for cut in 0..whole.unwrap_or(bytes.len().min(MAX_PREAMBLE)) {
        let part = Head::new(&bytes[..cut]);
        assert!(matches!(part, Err(Malformed::Incomplete { .. })), "{part:?} at {cut}");
    }
}

fn is_written_back(tag: &[u8], preamble: &[u8]) {
    assert_eq!(&Preamble::new(tag).expect("a tag that was read")[..], preamble);
}

fn writes(tag: &[u8]) {
    if tag.is_empty() || tag.len() > MAX_TAG {
        let refused = Length(tag.len());
        assert_eq!((Tag::new(tag), Preamble::new(tag)), (Err(refused), Err(refused)));
    } else {
        let preamble = Preamble::new(tag).expect("a tag");
        let head = Head::new(&preamble).expect("a whole preamble");
        assert_eq!((head.tag(), head.payload(), preamble.tag()), (tag, &b""[..], tag));
        assert_eq!(&Tag::new(tag).expect("a tag")[..], tag);
        is_written_back(tag, &preamble);
    }
    let begins = tag.get(..RESERVED_PREFIX.len()) == Some(b"gapless:");
    assert_eq!(is_reserved(tag), begins);
}
