//! Where shared data lies: in a folder `shared` beside the checkout, which not every machine has.

use std::path::{Path, PathBuf};

/// The path of a file below `../shared` as seen from the checkout, such as
/// `data/itch50-sample.bin`; `None`, with a printed word, when it is not there.
///
/// # Panics
/// When it is not there under `GAPLESS_NO_SKIP=1`.
#[must_use]
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared").join(name);
    if path.exists() {
        return Some(path);
    }
    crate::skip::skip(format_args!("no {}", path.display()));
    None
}

/// The messages of a file of u16 big-endian lengths, each followed by so many bytes.
///
/// # Panics
/// When the file ends inside a message.
#[must_use]
pub fn binaryfile(bytes: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let (message, behind) = behind.split_at(usize::from(u16::from_be_bytes(*length)));
        messages.push(message);
        rest = behind;
    }
    assert!(rest.is_empty(), "a stray byte at the end");
    messages
}

/// [`data::shared`](shared), or returns from the test.
#[macro_export]
macro_rules! shared {
    ($name:expr) => {
        match $crate::data::shared($name) {
            Some(path) => path,
            None => return,
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binaryfile_splits_into_its_messages() {
        assert_eq!(binaryfile(b"\x00\x02ab\x00\x00\x00\x01c"), [&b"ab"[..], b"", b"c"]);
    }

    #[test]
    fn the_itch_sample_has_its_12_012_messages() {
        let bytes = std::fs::read(crate::shared!("data/itch50-sample.bin")).unwrap();
        assert_eq!(binaryfile(&bytes).len(), 12_012);
    }
}
