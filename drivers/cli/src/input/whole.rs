//! A file that is read to its end, and that is not whole if somebody cuts it short meanwhile.

use std::fs::File;
use std::io::{self, Read};

/// A file to read. What is added to it meanwhile is read, too.
pub(crate) struct Whole {
    file: File,
    /// How long it was when it was opened.
    length: u64,
    /// How much of it was read.
    read: u64,
}

impl Whole {
    /// # Errors
    /// The system does not say how long it is.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, length, read: 0 })
    }

    /// How long it was when it was opened.
    pub(crate) const fn length(&self) -> u64 {
        self.length
    }

    /// Its end has come. Files of some file systems (sysfs) are shorter than they say.
    fn check(&self) -> io::Result<()> {
        let Self { file, length, read } = self;
        if read >= length {
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
        self.read += count as u64;
        if count == 0 && !into.is_empty() {
            self.check()?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

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
    fn what_is_added_to_a_file_while_it_is_read_is_read_too() {
        let (mut file, mut whole) = begun();
        file.write_all(b" and after").unwrap();
        let mut rest = Vec::new();
        whole.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"ore and after");
    }
}
