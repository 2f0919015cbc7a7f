//! Files: one that is read to its end, and is not whole if somebody cuts it short meanwhile, and one that is
//! written many chunks at a time.

use std::fs::File;
use std::io::{self, IoSlice, Read, Seek, Write};

use bytes::Bytes;

/// The end of the name of a file that is not whole.
pub(crate) const PART: &str = ".part";
/// Chunks that one system call writes.
pub(crate) const SLICES: usize = 64;

/// A file to read. What is added to it meanwhile is read, too.
pub(crate) struct Whole {
    file: File,
    /// How long it was when it was opened.
    length: u64,
    /// How far it is read.
    position: u64,
}

impl Whole {
    /// From where it stands: others may have read the beginning of standard input.
    ///
    /// # Errors
    /// The system does not say how long it is.
    pub(crate) fn new(mut file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        // Some special files are regular ones that stand nowhere.
        let position = file.stream_position().unwrap_or(0);
        Ok(Self { file, length, position })
    }

    /// How much of it is still to be read, as long as nobody adds to it.
    pub(crate) const fn left(&self) -> u64 {
        self.length.saturating_sub(self.position)
    }

    /// Its end has come. Files of some file systems (sysfs) are shorter than they say.
    fn check(&self) -> io::Result<()> {
        let Self { file, length, position } = self;
        if position >= length {
            return Ok(());
        }
        match file.metadata()?.len() {
            now if now >= *length => Ok(()),
            now => Err(io::Error::other(format!(
                "it had {length} bytes and was cut to {now} while it was read"
            ))),
        }
    }
}

impl Read for Whole {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        self.position += count as u64;
        if count == 0 && !into.is_empty() {
            self.check()?;
        }
        Ok(count)
    }
}

/// A file that is written to many chunks at a time.
pub(crate) struct Gathered {
    file: File,
    chunks: Vec<Bytes>,
}

impl Gathered {
    pub(crate) fn new(file: File) -> Self {
        Self { file, chunks: Vec::with_capacity(SLICES) }
    }

    /// Adds to it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn push(&mut self, bytes: Bytes) -> io::Result<()> {
        self.chunks.push(bytes);
        if self.chunks.len() < SLICES { Ok(()) } else { self.write_out() }
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// It cannot be written; then it is dropped.
    pub(crate) fn write_out(&mut self) -> io::Result<()> {
        let result = write_all(&mut self.file, &self.chunks);
        self.chunks.clear();
        result
    }
}

/// Writes all of the chunks, many at a time.
pub(crate) fn write_all(sink: &mut impl Write, chunks: &[Bytes]) -> io::Result<()> {
    for chunks in chunks.chunks(SLICES) {
        let mut slices: [IoSlice<'_>; SLICES] = [IoSlice::new(&[]); SLICES];
        for (slice, chunk) in slices.iter_mut().zip(chunks) {
            *slice = IoSlice::new(chunk);
        }
        let mut left = &mut slices[..chunks.len()];
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match sink.write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => IoSlice::advance_slices(&mut left, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of six bytes of which three were read.
    fn begun() -> (tempfile::NamedTempFile, Whole) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"before").unwrap();
        let mut whole = Whole::new(file.reopen().unwrap()).unwrap();
        whole.read_exact(&mut [0; 3]).unwrap();
        (file, whole)
    }

    #[test]
    fn a_file_that_is_cut_short_while_it_is_read_is_an_error() {
        let (file, mut whole) = begun();
        file.as_file().set_len(4).unwrap();
        let error = whole.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), "it had 6 bytes and was cut to 4 while it was read");
    }

    #[test]
    fn a_file_is_whole_from_where_it_stands() {
        let (file, whole) = begun();
        let mut rest = Whole::new(whole.file.try_clone().unwrap()).unwrap();
        assert_eq!((whole.left(), rest.left()), (3, 3));
        let mut bytes = Vec::new();
        rest.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"ore");
        file.as_file().set_len(4).unwrap();
        assert_eq!(rest.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn what_is_added_to_a_file_while_it_is_read_is_read_too() {
        let (mut file, mut whole) = begun();
        file.write_all(b" and after").unwrap();
        let mut rest = Vec::new();
        whole.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"ore and after");
    }
}
