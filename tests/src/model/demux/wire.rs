//! `wire::tag` against a naive reader, on any bytes: whole, cut anywhere, and written back.

use gapless_core::demux::Tag;
use gapless_core::wire::tag::{
    Length, MAX_PREAMBLE, MAX_TAG, Malformed, RESERVED_PREFIX, is_reserved, read,
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
    let head = read(bytes);
    match (whole, left) {
        (Some(1), _) => assert_eq!(head, Err(Malformed::Empty)),
        (Some(whole), _) => {
            assert_eq!(head, Ok((&bytes[1..whole], &bytes[whole..])));
            is_written_back(&bytes[1..whole], &bytes[..whole]);
        }
        (None, left) => {
            assert_eq!(head, Err(Malformed::Incomplete { lacks: left.unwrap_or(1) }));
        }
    }
    // An incremental reader finds the same, and not earlier.
    let mut have = 0;
    let found = loop {
        match read(&bytes[..have]) {
            Err(Malformed::Incomplete { lacks }) if have < bytes.len() => {
                have = bytes.len().min(have + lacks);
            }
            found => break found,
        }
    };
    let (found, all) = (found.map(|(tag, _)| tag), head.map(|(tag, _)| tag));
    assert_eq!(found, all, "what is read in the smallest steps");
    assert!(whole.is_none_or(|whole| have == whole), "{have} bytes were needed");
    for cut in 0..whole.unwrap_or(bytes.len().min(MAX_PREAMBLE)) {
        let part = read(&bytes[..cut]);
        assert!(matches!(part, Err(Malformed::Incomplete { .. })), "{part:?} at {cut}");
    }
}

fn is_written_back(tag: &[u8], preamble: &[u8]) {
    assert_eq!(Tag::new(tag).expect("a tag that was read").preamble(), preamble);
}

fn writes(tag: &[u8]) {
    if tag.is_empty() || tag.len() > MAX_TAG {
        let refused = Length(tag.len());
        assert_eq!(Tag::new(tag), Err(refused));
    } else {
        let written = Tag::new(tag).expect("a tag");
        assert_eq!(&written[..], tag);
        assert_eq!(read(written.preamble()), Ok((tag, &b""[..])));
        is_written_back(tag, written.preamble());
    }
    let begins = tag.get(..RESERVED_PREFIX.len()) == Some(b"gapless:");
    assert_eq!(is_reserved(tag), begins);
}
