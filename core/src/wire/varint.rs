//! Variable-length integers of QUIC (RFC 9000 §16): one, two, four or eight bytes, the first two bits
//! say which; big-endian; up to 2^62-1. The shortest form is written, any is read.

/// The largest number that has such a form.
pub const MAX: u64 = (1 << 62) - 1;

/// How many bytes the shortest form of a number takes: 1, 2, 4 or 8. Numbers beyond [`MAX`] have none,
/// and count as that.
#[inline]
#[must_use]
pub const fn len(value: u64) -> usize {
    match value {
        0..=0x3F => 1,
        0x40..=0x3FFF => 2,
        0x4000..=0x3FFF_FFFF => 4,
        _ => 8,
    }
}

/// The shortest form of a number, without an allocation.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Buffer {
    bytes: [u8; 8],
    len: u8,
}

impl Buffer {
    /// Of a number; of one beyond [`MAX`] it is that of `MAX`.
    #[inline]
    #[must_use]
    pub const fn new(value: u64) -> Self {
        let value = if value > MAX { MAX } else { value };
        let len = len(value);
        let marked = value << (64 - 8 * len) | (len.trailing_zeros() as u64) << 62;
        Self { bytes: marked.to_be_bytes(), len: len as u8 }
    }
}

impl core::ops::Deref for Buffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// The number that these bytes begin with, and how many bytes it takes; `None` when they end within it.
#[inline]
#[must_use]
pub fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let &first = bytes.first()?;
    if first < 0x40 {
        return Some((first.into(), 1));
    }
    if first < 0x80 {
        let two = u16::from_be_bytes([first, *bytes.get(1)?]);
        return Some((u64::from(two & 0x3FFF), 2));
    }
    read_long(bytes)
}

/// As [`read`], of a number in four or eight bytes.
#[cold]
fn read_long(bytes: &[u8]) -> Option<(u64, usize)> {
    let four = u32::from_be_bytes(*bytes.first_chunk()?);
    if four >> 30 == 2 {
        return Some(((four & 0x3FFF_FFFF).into(), 4));
    }
    let eight = u64::from_be_bytes(*bytes.first_chunk()?);
    Some((eight & MAX, 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 9000 appendix A.1.
    #[test]
    fn the_examples_of_the_specification_are_read() {
        let long = [0xC2, 0x19, 0x7C, 0x5E, 0xFF, 0x14, 0xE8, 0x8C];
        assert_eq!(read(&long), Some((151_288_809_941_952_652, 8)));
        assert_eq!(read(&[0x9D, 0x7F, 0x3E, 0x7D]), Some((494_878_333, 4)));
        assert_eq!(read(&[0x7B, 0xBD]), Some((15_293, 2)));
        assert_eq!(read(&[0x25]), Some((37, 1)));
        assert_eq!(read(&[0x40, 0x25]), Some((37, 2)));
    }

    #[test]
    fn every_length_comes_back_and_is_the_shortest() {
        for (value, bytes) in [
            (0, 1),
            (63, 1),
            (64, 2),
            (16_383, 2),
            (16_384, 4),
            ((1 << 30) - 1, 4),
            (1 << 30, 8),
            (MAX, 8),
        ] {
            let written = Buffer::new(value);
            assert_eq!((written.len(), len(value)), (bytes, bytes), "{value}");
            assert_eq!(read(&written), Some((value, bytes)));
            for cut in 0..bytes {
                assert_eq!(read(&written[..cut]), None);
            }
        }
        assert_eq!(*Buffer::new(u64::MAX), *Buffer::new(MAX));
        assert_eq!(*Buffer::default(), []);
    }
}
