//! Where received messages are written: a binaryfile or lines, in a file of their own, or in what is written
//! to as it is (standard output, a pipe, a device).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use gapless_core::journal::Digest;
use gapless_core::receiver::Batch;
use gapless_mio::ExclusiveFile;
use serde::{Deserialize, Serialize};

use crate::args::OutputFormat;
use crate::failure::Failure;
use crate::io::patience::{Patience, Patient};
use crate::io::place::resolved;
use crate::io::standard;

/// Bytes at the end of an output that it is recognised by.
const TAIL: u64 = 4096;

/// An output that is being written.
pub(crate) struct Output {
    writer: BufWriter<Target>,
    name: String,
    bytes: u64,
    format: OutputFormat,
    /// The first message that takes several lines, once it is asked for.
    broken: Option<u64>,
    is_broken_known: bool,
}

enum Target {
    Standard(Patient<standard::Output>),
    Special(Patient<File>),
    Regular(ExclusiveFile),
}

/// The marks by which an output is recognised when it is continued.
///
/// The path and the last bytes say that it is the output; a copy passes too. Only the file itself, by its
/// number, may be longer than it was when its state was kept, and is cut: whatever another one has
/// behind that is not ours.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Without links.
    path: Name,
    /// Within the file system; 0 where files have no numbers.
    inode: u64,
    /// The digest of the last bytes before its end, 4096 at most.
    tail: u32,
    lines: bool,
}

/// A path as it is kept: as text, or by its bytes if it is none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Name {
    Text(String),
    Bytes(Vec<u8>),
}

impl Name {
    /// Of a path, without links.
    fn of(path: &Path) -> Self {
        let path = resolved(path).unwrap_or_else(|| path.to_owned());
        match path.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Bytes(path.as_os_str().as_encoded_bytes().to_vec()),
        }
    }

    fn path(&self) -> PathBuf {
        match self {
            Self::Text(text) => text.into(),
            Self::Bytes(bytes) => OsStr::from_bytes(bytes).into(),
        }
    }
}

impl Output {
    /// Standard output.
    pub(crate) fn standard(format: OutputFormat, patience: &Patience) -> Self {
        let output = Patient::new(standard::Output::Standard, patience.clone());
        Self::new(Target::Standard(output), "standard output".into(), 0, format)
    }

    /// A pipe or a device, which is written to as it is: a named pipe is waited for until somebody reads it.
    ///
    /// # Errors
    /// It cannot be opened, or patience is over first.
    pub(crate) fn special(
        path: &Path,
        format: OutputFormat,
        patience: &Patience,
    ) -> Result<Self, Failure> {
        let own = path.to_owned();
        let file = patience.open(path, move || {
            let opened = File::options().append(true).open(&own);
            opened.map_err(|error| Failure::file("write to", &own, &error))
        })?;
        let file = Patient::new(file, patience.clone());
        Ok(Self::new(Target::Special(file), path.display().to_string(), 0, format))
    }

    /// A file that has nothing yet.
    pub(crate) fn begin(file: ExclusiveFile, format: OutputFormat) -> Self {
        let name = file.path().display().to_string();
        Self::new(Target::Regular(file), name, 0, format)
    }

    /// The first `bytes` bytes of a file that has them, to be added to; and how long it was.
    ///
    /// # Errors
    /// It cannot be cut there.
    pub(crate) fn resume(
        mut file: ExclusiveFile,
        bytes: u64,
        format: OutputFormat,
    ) -> Result<(Self, u64), Failure> {
        let name = file.path().display().to_string();
        let cut = |file: &mut File| {
            let length = file.metadata()?.len();
            if length > bytes {
                file.set_len(bytes)?;
            }
            file.seek(SeekFrom::Start(bytes)).map(|_| length)
        };
        let length = file.begin().and_then(cut);
        let length = length.map_err(|error| Failure::io("go on writing", &name, &error))?;
        Ok((Self::new(Target::Regular(file), name, bytes, format), length))
    }

    fn new(target: Target, name: String, bytes: u64, format: OutputFormat) -> Self {
        let writer = BufWriter::with_capacity(1 << 18, target);
        Self { writer, name, bytes, format, broken: None, is_broken_known: false }
    }

    /// Its name in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Writes the messages of a batch: their blocks are what a binaryfile is made of.
    ///
    /// # Errors
    /// They cannot be written.
    pub(crate) fn write(&mut self, batch: &Batch<&[u8]>) -> Result<(), Failure> {
        let written = match self.format {
            OutputFormat::Binaryfile => self.write_blocks(batch),
            OutputFormat::Lines => self.write_lines(batch),
        };
        written.map_err(|error| self.unwritten(&error))
    }

    fn write_blocks(&mut self, batch: &Batch<&[u8]>) -> io::Result<()> {
        let mut messages = batch.messages();
        let blocks = batch.bytes.get(batch.offset..).unwrap_or_default();
        messages.by_ref().for_each(drop);
        let (blocks, _) = blocks.split_at(blocks.len() - messages.rest().len());
        self.bytes += blocks.len() as u64;
        self.writer.write_all(blocks)
    }

    fn write_lines(&mut self, batch: &Batch<&[u8]>) -> io::Result<()> {
        for (number, message) in batch.messages() {
            self.bytes += message.len() as u64 + 1;
            self.writer.write_all(message)?;
            self.writer.write_all(b"\n")?;
            // A carriage return at its end would be taken for a part of the line's end.
            if !self.is_broken_known && (message.contains(&b'\n') || message.ends_with(b"\r")) {
                self.broken = Some(number);
                self.is_broken_known = true;
            }
        }
        Ok(())
    }

    /// The first message that is not one line of the output, once.
    pub(crate) fn take_broken(&mut self) -> Option<u64> {
        self.broken.take()
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(|error| self.unwritten(&error))
    }

    /// Whether it is to take the place of a file that is still there, since no byte came.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.writer.get_ref(), Target::Regular(file) if file.file().is_none())
    }

    /// How long the output is, what is not yet flushed included.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its identity, as far as it was flushed; `None` of an output that cannot be continued.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, Failure> {
        match self.writer.get_ref() {
            Target::Regular(file) => {
                Identity::new(file, self.bytes, self.format).map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => Failure::content(format!(
                        "{} is shorter than what was written: somebody cut it",
                        self.name
                    )),
                    _ => Failure::io("read", &self.name, &error),
                })
            }
            Target::Standard(_) | Target::Special(_) => Ok(None),
        }
    }

    fn unwritten(&self, error: &io::Error) -> Failure {
        let (given_up, failure) = match self.writer.get_ref() {
            Target::Standard(output) => {
                (output.failure(&self.name), Failure::standard_output(error))
            }
            Target::Special(file) => {
                (file.failure(&self.name), Failure::io("write to", &self.name, error))
            }
            Target::Regular(_) => (None, Failure::io("write to", &self.name, error)),
        };
        given_up.unwrap_or(failure)
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(output) => output.write(bytes),
            Self::Special(file) => file.write(bytes),
            Self::Regular(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Identity {
    /// Of a file, up to `bytes`; `None` before it is in its place.
    fn new(file: &ExclusiveFile, bytes: u64, format: OutputFormat) -> io::Result<Option<Self>> {
        let Some(handle) = file.file() else { return Ok(None) };
        Ok(Some(Self {
            path: Name::of(file.path()),
            inode: handle.metadata()?.ino(),
            tail: tail(handle, bytes)?,
            lines: format == OutputFormat::Lines,
        }))
    }

    /// Where it was.
    pub(crate) fn path(&self) -> PathBuf {
        self.path.path()
    }

    /// Checks that this is the file, that it goes on at `bytes` in this format, and may be cut there.
    ///
    /// # Errors
    /// Why not, in words that follow "it".
    pub(crate) fn check(
        &self,
        file: &ExclusiveFile,
        bytes: u64,
        format: OutputFormat,
    ) -> Result<(), String> {
        let Some(handle) = file.file() else { return Err("is not there".into()) };
        if Name::of(file.path()) != self.path {
            return Err(format!("is not {}", self.path().display()));
        }
        if self.lines != (format == OutputFormat::Lines) {
            return Err("was written in another --format".into());
        }
        let read = || {
            let length = handle.metadata()?.len();
            let same = length >= bytes && tail(handle, bytes)? == self.tail;
            io::Result::Ok((length, same, handle.metadata()?.ino()))
        };
        match read() {
            Err(error) => Err(format!("cannot be read: {error}")),
            Ok((length, ..)) if length < bytes => {
                Err(format!("has {length} bytes, and had {bytes} when the state was kept"))
            }
            Ok((_, false, _)) => Err("has other content".into()),
            // Nothing says whose they are.
            Ok((length, ..)) if bytes == 0 && length > 0 => {
                Err(format!("has {length} bytes, and had none when the state was kept"))
            }
            Ok((length, true, inode)) if length > bytes && inode != self.inode => Err(format!(
                "is another file, or a copy, with {} bytes behind those that it had when the state was \
                 kept",
                length - bytes
            )),
            Ok(_) => Ok(()),
        }
    }
}

/// The digest of the last of the first `bytes` bytes. The file is written to behind its end afterwards.
fn tail(mut file: &File, bytes: u64) -> io::Result<u32> {
    let mut last = vec![0; bytes.min(TAIL) as usize];
    file.seek(SeekFrom::Start(bytes - last.len() as u64))?;
    file.read_exact(&mut last)?;
    file.seek(SeekFrom::End(0))?;
    let mut digest = Digest::new();
    digest.update(&last);
    Ok(digest.value())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gapless_core::receiver::{LineId, Origin};
    use gapless_core::{Instant, Session};

    const BINARYFILE: OutputFormat = OutputFormat::Binaryfile;

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

    fn output(path: &Path, format: OutputFormat) -> Output {
        Output::begin(ExclusiveFile::create_new(path).unwrap(), format)
    }

    #[test]
    fn only_the_messages_of_the_batch_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.bin");
        let mut output = output(&path, BINARYFILE);
        output.write(&batch(b"old\0\x01A\0\0\0\x01C", 3, 2)).unwrap();
        output.flush().unwrap();
        assert_eq!(output.bytes(), 5);
        assert_eq!(std::fs::read(path).unwrap(), b"\0\x01A\0\0");
    }

    #[test]
    fn a_message_that_takes_several_lines_is_named_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.txt");
        let mut output = output(&path, OutputFormat::Lines);
        output.write(&batch(b"\0\x01A\0\0\0\x03B\nC\0\x02D\r", 0, 4)).unwrap();
        output.flush().unwrap();
        assert_eq!(output.bytes(), 10);
        assert_eq!([output.take_broken(), output.take_broken()], [Some(3), None]);
        assert_eq!(std::fs::read(path).unwrap(), b"A\n\nB\nC\nD\r\n");
    }

    /// An output of three bytes, and its identity.
    fn written(path: &Path) -> Identity {
        let mut output = output(path, BINARYFILE);
        output.write(&batch(b"\0\x01A", 0, 1)).unwrap();
        output.flush().unwrap();
        output.identity().unwrap().unwrap()
    }

    fn check(identity: &Identity, path: &Path, bytes: u64) -> Result<(), String> {
        identity.check(&ExclusiveFile::open(path, true).unwrap(), bytes, BINARYFILE)
    }

    #[test]
    fn what_was_written_after_the_state_was_kept_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.bin");
        let identity = written(&path);
        File::options().append(true).open(&path).unwrap().write_all(b"\0\x01B").unwrap();
        check(&identity, &path, 3).unwrap();
        let file = ExclusiveFile::open(&path, true).unwrap();
        let (mut output, length) = Output::resume(file, 3, BINARYFILE).unwrap();
        output.write(&batch(b"\0\x01C", 0, 1)).unwrap();
        output.flush().unwrap();
        assert_eq!((length, output.bytes()), (6, 6));
        assert_eq!(std::fs::read(path).unwrap(), b"\0\x01A\0\x01C");
    }

    #[test]
    fn a_file_that_somebody_cut_is_not_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.bin");
        let mut output = output(&path, BINARYFILE);
        output.write(&batch(b"\0\x01A", 0, 1)).unwrap();
        output.flush().unwrap();
        File::options().write(true).open(&path).unwrap().set_len(1).unwrap();
        let failure = output.identity().unwrap_err().to_string();
        assert!(failure.contains("somebody cut it"), "{failure}");
    }

    #[test]
    fn a_file_that_had_no_bytes_is_not_recognised_once_it_has_some() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.bin");
        let identity = output(&path, BINARYFILE).identity().unwrap().unwrap();
        assert_eq!(check(&identity, &path, 0), Ok(()));
        // In place: it has the same number.
        std::fs::write(&path, "work").unwrap();
        let why = check(&identity, &path, 0).unwrap_err();
        assert_eq!(why, "has 4 bytes, and had none when the state was kept");
    }

    #[test]
    fn a_file_whose_name_is_no_text_is_recognised_by_its_bytes() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        let [path, other] =
            [b"out\xFF", b"out\xFE"].map(|name| folder.path().join(OsStr::from_bytes(name)));
        let identity = written(&path);
        let kept = serde_json::to_string(&identity).unwrap();
        let identity: Identity = serde_json::from_str(&kept).unwrap();
        assert_eq!(identity.path(), path.canonicalize().unwrap());
        assert_eq!(check(&identity, &path, 3), Ok(()));
        std::fs::rename(&path, &other).unwrap();
        assert!(check(&identity, &other, 3).unwrap_err().starts_with("is not"));
    }

    #[test]
    fn a_file_is_recognised_by_what_it_ends_with() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["out.bin", "other.bin"].map(|name| folder.path().join(name));
        let identity = written(&path);
        // As long as it is there, no other file has its number.
        std::fs::rename(&path, folder.path().join("kept")).unwrap();
        let copy = |content: &[u8]| {
            std::fs::write(&other, content).unwrap();
            std::fs::rename(&other, &path).unwrap();
            check(&identity, &path, 3)
        };
        assert_eq!(copy(b"\0\x01A"), Ok(()));
        assert_eq!(copy(b"\0\x01B"), Err("has other content".into()));
        assert!(copy(b"\0\x01").unwrap_err().starts_with("has 2 bytes, and had 3"));
        assert!(copy(b"\0\x01A\0\0").unwrap_err().contains("2 bytes behind"));
        std::fs::write(&other, b"\0\x01A").unwrap();
        assert!(check(&identity, &other, 3).unwrap_err().ends_with("out.bin"));
        let file = ExclusiveFile::open(&path, true).unwrap();
        assert!(identity.check(&file, 3, OutputFormat::Lines).unwrap_err().contains("--format"));
    }
}
