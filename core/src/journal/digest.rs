//! A hash for checksums and digests: fast in portable safe code, the same everywhere, no defence
//! against anybody who wants two inputs to have one hash.

use core::fmt;

const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// A hash that grows with what it is given.
///
/// 64 bits of state `h`, 0x9E3779B97F4A7C15 at first. A word `w` of eight bytes, little-endian, makes
/// `m = (h ^ w) * 0x9E3779B97F4A7C15` and then `m ^ (m >> 32)` of it, modulo 2^64: one-to-one both in
/// `h` and in `w`, so inputs that differ in one word never come to the same state. A piece is taken as
/// its whole words, then one more word of the bytes that are left, with their number in its highest
/// byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// Of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(FACTOR)
    }

    /// Of one piece.
    pub(crate) fn of(piece: &[u8]) -> Self {
        let mut digest = Self::new();
        digest.update(piece);
        digest
    }

    /// Takes a piece. Where one ends and the next begins makes a difference, but not between seven bytes
    /// that something follows and the same with a byte 7 in between: who needs that counts the pieces.
    #[inline]
    pub fn update(&mut self, piece: &[u8]) {
        let (words, rest) = piece.as_chunks();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let last = match piece.last_chunk() {
            Some(end) => u64::from_le_bytes(*end).unbounded_shr(64 - 8 * rest.len() as u32),
            None => match (rest.first_chunk(), rest.last_chunk()) {
                // From four bytes on, two words of four overlap.
                (Some(low), Some(high)) => {
                    let [low, high] = [low, high].map(|four| u64::from(u32::from_le_bytes(*four)));
                    low | high << (8 * (rest.len() - 4))
                }
                _ => rest.iter().rev().fold(0, |last, byte| last << 8 | u64::from(*byte)),
            },
        };
        self.word(last | (rest.len() as u64) << 56);
    }

    #[inline]
    const fn word(&mut self, word: u64) {
        let mixed = (self.0 ^ word).wrapping_mul(FACTOR);
        self.0 = mixed ^ mixed >> 32;
    }

    /// The 32 bits that journals hold: the upper half of `h * 0x9E3779B97F4A7C15`.
    #[inline]
    #[must_use]
    pub const fn value(self) -> u32 {
        (self.0.wrapping_mul(FACTOR) >> 32) as u32
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({:08x})", self.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    fn of(pieces: &[&[u8]]) -> Digest {
        let mut digest = Digest::new();
        pieces.iter().for_each(|piece| digest.update(piece));
        digest
    }

    #[test]
    fn its_values_are_fixed_for_ever() {
        let known = [of(&[]), of(&[b""]), of(&[b"gapless"]), of(&[b"gapless journal"])];
        let values = known.map(Digest::value);
        assert_eq!(values, [0xdf44_2d22, 0x352c_d683, 0xe705_227a, 0x806a_1030]);
    }

    #[test]
    fn where_pieces_end_makes_a_difference() {
        let ways = [of(&[b"abcd"]), of(&[b"ab", b"cd"]), of(&[b"abcd", b""]), of(&[b"abcd\0"])];
        let values: BTreeSet<u32> = ways.map(Digest::value).into();
        assert_eq!(values.len(), ways.len());
    }

    #[test]
    fn every_flipped_bit_shows() {
        let bytes: [u8; 61] = core::array::from_fn(|index| index as u8);
        let mut seen = BTreeSet::from([of(&[&bytes]).value()]);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(seen.insert(of(&[&flipped]).value()), "bit {bit}");
        }
    }
}
