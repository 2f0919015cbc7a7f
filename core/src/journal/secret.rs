//! Values that a journal must not disclose.

use alloc::vec::Vec;
use core::fmt;

use super::digest::Digest;
use super::field::{Decoder, Encoder, Field, Malformed, written_as};

/// Bytes that are never written, printed or compared: their hash stands for them.
///
/// The hash has 32 bits, so it discloses nothing that matters of a secret that is hard to guess, and two
/// secrets look the same once in 2^32. A machine that takes tickets or keys takes them as this, and
/// decides nothing by the bytes: that is for the outside, which gets the hash again when the journal
/// is replayed.
#[derive(Clone)]
pub struct Secret {
    bytes: Vec<u8>,
    hash: u32,
}

impl Secret {
    /// A secret of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), hash: Digest::of(bytes).value() }
    }

    /// The bytes; none when it comes out of a journal.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.bytes
    }

    /// The hash that stands for it.
    #[must_use]
    pub const fn hash(&self) -> u32 {
        self.hash
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({:08x})", self.hash)
    }
}

written_as! {
    Secret, u32, |secret| secret.hash, |hash| Ok(Self { bytes: Vec::new(), hash });
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn a_secret_is_written_as_its_hash_and_comes_back_equal() {
        let secret = Secret::new(b"correct horse battery staple");
        let mut written = Vec::new();
        secret.encode(&mut Encoder::new(&mut written));
        assert_eq!(written, secret.hash().to_le_bytes());
        let read = Secret::decode(&mut Decoder::new(&written, 1)).unwrap();
        assert_eq!((&read, read.reveal()), (&secret, &b""[..]));
        assert_eq!(format!("{secret:?}"), format!("Secret({:08x})", secret.hash()));
        assert_ne!(secret, Secret::new(b"correct horse battery stable"));
    }
}
