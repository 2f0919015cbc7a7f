//! Where received messages are written: a binaryfile, or standard output, one for each session.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use gapless_core::Session;
use gapless_core::receiver::Batch;

use crate::failure::Failure;
use crate::input::is_standard;
use crate::standard;

/// What errors call it.
const STANDARD_OUTPUT: &str = "standard output";

/// A binaryfile that is being written.
pub(crate) struct Output {
    writer: BufWriter<Box<dyn Write + Send>>,
    name: String,
    bytes: u64,
}

impl Output {
    /// A new file in place of what is there, or standard output.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        if is_standard(path) {
            return Ok(Self::new(Box::new(standard::Output), STANDARD_OUTPUT.into(), 0));
        }
        let file = File::create(path).map_err(|error| {
            Failure::file("create", path, &error)
                .advise("name a file in a folder that may be written")
        })?;
        Ok(Self::new(Box::new(file), path.display().to_string(), 0))
    }

    /// The first `bytes` bytes of a file that is there, to be added to; a new one where there is none.
    ///
    /// # Errors
    /// The file is shorter, or cannot be opened.
    pub(crate) fn resume(path: &Path, bytes: u64) -> Result<Self, Failure> {
        // What is no file keeps nothing that could be gone on from: a pipe, /dev/null.
        if is_standard(path) || !path.is_file() {
            return Self::create(path);
        }
        let failed = |error: io::Error| Failure::file("go on writing", path, &error);
        let mut file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        if length < bytes {
            return Err(Failure::content(format!(
                "cannot go on writing {}: it has {length} bytes, and had {bytes} when its state was \
                 kept",
                path.display()
            ))
            .advise("move the file away to begin a new one, or remove the --resume file"));
        }
        // What was written after the state was kept will be received again.
        file.set_len(bytes).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self::new(Box::new(file), path.display().to_string(), bytes))
    }

    fn new(writer: Box<dyn Write + Send>, name: String, bytes: u64) -> Self {
        Self { writer: BufWriter::with_capacity(1 << 18, writer), name, bytes }
    }

    /// Writes the messages of a batch: their blocks are what a binaryfile is made of.
    ///
    /// # Errors
    /// They cannot be written.
    pub(crate) fn write(&mut self, batch: &Batch<&[u8]>) -> Result<(), Failure> {
        let mut messages = batch.messages();
        let blocks = batch.bytes.get(batch.offset..).unwrap_or_default();
        messages.by_ref().for_each(drop);
        let (blocks, _) = blocks.split_at(blocks.len() - messages.rest().len());
        self.bytes += blocks.len() as u64;
        self.writer.write_all(blocks).map_err(|error| self.unwritten(&error))
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(|error| self.unwritten(&error))
    }

    /// How long the output is, what is not yet flushed included.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn unwritten(&self, error: &io::Error) -> Failure {
        match self.name.as_str() {
            STANDARD_OUTPUT => Failure::standard_output(error),
            name => Failure::io("write to", name, error),
        }
    }
}

/// The file of one session among several: `FILE.SESSION`, with bytes of the session that a file name
/// should not hold written as `%XX`.
pub(crate) fn of_session(path: &Path, session: Session) -> PathBuf {
    if is_standard(path) {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    for &byte in session.name() {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) {
            name.push(char::from(byte).to_string());
        } else {
            name.push(format!("%{byte:02X}"));
        }
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use gapless_core::Instant;
    use gapless_core::receiver::{LineId, Origin};

    fn batch(bytes: &[u8], offset: usize, count: u16) -> Batch<&[u8]> {
        Batch {
            session: Session::new(*b"S         "),
            first: 1,
            count,
            bytes,
            offset,
            arrival: Instant::ZERO,
            origin: Origin::Line(LineId(0)),
            repaired: false,
        }
    }

    #[test]
    fn only_the_messages_of_the_batch_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.bin");
        let mut output = Output::create(&path).unwrap();
        output.write(&batch(b"old\0\x01A\0\0\0\x01C", 3, 2)).unwrap();
        output.flush().unwrap();
        assert_eq!(output.bytes(), 5);
        assert_eq!(std::fs::read(path).unwrap(), b"\0\x01A\0\0");
    }

    #[test]
    fn what_was_written_after_the_state_was_kept_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.bin");
        std::fs::write(&path, b"\0\x01A\0\x01B").unwrap();
        let mut output = Output::resume(&path, 3).unwrap();
        output.write(&batch(b"\0\x01C", 0, 1)).unwrap();
        output.flush().unwrap();
        assert_eq!(output.bytes(), 6);
        assert_eq!(std::fs::read(path).unwrap(), b"\0\x01A\0\x01C");
    }

    #[test]
    fn a_file_that_is_too_short_is_not_added_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.bin");
        std::fs::write(&path, b"\0\x01A").unwrap();
        let Err(failure) = Output::resume(&path, 6) else { panic!("added to") };
        assert!(failure.to_string().contains("it has 3 bytes, and had 6"), "{failure}");
    }

    #[test]
    fn each_session_has_a_file_name_of_its_own() {
        let name = |session| of_session(Path::new("out.bin"), Session::new(session));
        assert_eq!(name(*b"ITCH_1    "), Path::new("out.bin.ITCH_1"));
        assert_eq!(name(*b"a/b\xff.     "), Path::new("out.bin.a%2Fb%FF%2E"));
        assert_eq!(of_session(Path::new("-"), Session::new(*b"S         ")), Path::new("-"));
    }
}
