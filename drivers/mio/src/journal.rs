//! Journals in files: where recorders write them. A replay reads them by [`Io`](gapless_core::journal::Io).

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gapless_core::journal::{HEADER_LEN, MAGIC, MAX_PAYLOAD, Sink};

use crate::ExclusiveFile;

/// A file that recorders write their journals to, on any threads: clones share it.
///
/// It is locked while any of them is open, so that two programs do not write one journal. What is no
/// regular file (a named pipe, a device) is written to as it is.
///
/// Each block is one `write`, so the system has it when the recorder's program dies; that it survives
/// the system is not waited for. After the first block that could not be written whole nothing more is,
/// so that what there is stays a journal, with a torn end.
#[derive(Clone, Debug)]
pub struct JournalFile {
    path: Arc<Path>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    target: Target,
    failure: Option<JournalError>,
}

#[derive(Debug)]
enum Target {
    Regular(ExclusiveFile),
    Special(File),
}

impl JournalFile {
    /// A new file.
    ///
    /// # Errors
    /// It exists ([`JournalError::kind`] is [`ErrorKind::AlreadyExists`]), or cannot be made.
    pub fn create_new(path: impl Into<PathBuf>) -> Result<Self, JournalError> {
        Self::of(path.into(), "create", |path| ExclusiveFile::create_new(path))
    }

    /// A file in place of what is there, if something is, from the first block on: until then that stays
    /// as it is.
    ///
    /// # Errors
    /// Another process writes what is there ([`ErrorKind::ResourceBusy`]), or it may not be written.
    pub fn replace(path: impl Into<PathBuf>) -> Result<Self, JournalError> {
        Self::of(path.into(), "replace", |path| ExclusiveFile::replace(path))
    }

    /// The file that is there, gone on with behind its last whole block, or a new one. What follows that
    /// block, of a program that was killed while it wrote, is cut off. Machines that are recorded now take
    /// numbers that none of those before has.
    ///
    /// # Errors
    /// It is no journal, or damaged, so that what follows may be more than one block
    /// ([`ErrorKind::InvalidData`]); another process writes it ([`ErrorKind::ResourceBusy`]); or it may not
    /// be written.
    pub fn append(path: impl Into<PathBuf>) -> Result<Self, JournalError> {
        Self::of(path.into(), "append to", |path| match ExclusiveFile::open(path, true) {
            Ok(mut file) => cut(file.begin()?).map(|()| file),
            Err(error) if error.kind() == ErrorKind::NotFound => ExclusiveFile::create_new(path),
            Err(error) => Err(error),
        })
    }

    fn of(
        path: PathBuf,
        action: &'static str,
        open: impl FnOnce(&Path) -> io::Result<ExclusiveFile>,
    ) -> Result<Self, JournalError> {
        let path: Arc<Path> = path.into();
        let is_special =
            path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
        let target = match is_special {
            true => OpenOptions::new().append(true).open(&path).map(Target::Special),
            false => open(&path).map(Target::Regular),
        };
        match target {
            Ok(target) => {
                Ok(Self { path, state: Arc::new(Mutex::new(State { target, failure: None })) })
            }
            Err(source) => Err(JournalError { action, path, source: source.into() }),
        }
    }
}

/// Cuts a journal behind its last whole block, if what follows can be no more than a part of one.
fn cut(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let (mut whole, mut header) = (0, [0; HEADER_LEN]);
    while length - whole >= HEADER_LEN as u64 {
        file.seek(SeekFrom::Start(whole))?;
        file.read_exact(&mut header)?;
        if header[..4] != MAGIC {
            break;
        }
        let payload = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
        if payload == 0 || payload > MAX_PAYLOAD as u32 {
            return Err(damaged(whole));
        }
        let end = whole + (HEADER_LEN as u64) + u64::from(payload);
        if end > length {
            break;
        }
        whole = end;
    }
    let mut rest = Vec::new();
    file.seek(SeekFrom::Start(whole))?;
    file.take((HEADER_LEN + MAX_PAYLOAD) as u64).read_to_end(&mut rest)?;
    // A torn block begins as a whole one does.
    let begin = rest.len().min(MAGIC.len());
    if rest[..begin] != MAGIC[..begin] {
        return Err(match whole {
            0 => io::Error::new(ErrorKind::InvalidData, "it is no journal"),
            _ => damaged(whole),
        });
    }
    // Whole blocks may follow one whose length is damaged.
    if rest[begin..].windows(MAGIC.len()).any(|part| part == MAGIC) {
        return Err(damaged(whole));
    }
    file.set_len(whole)?;
    file.seek(SeekFrom::Start(whole)).map(drop)
}

fn damaged(at: u64) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("it is damaged at byte {at}"))
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Regular(file) => file.write(bytes),
            Self::Special(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for JournalFile {
    type Error = JournalError;

    fn write(&mut self, block: &[u8]) -> Result<(), JournalError> {
        // Nothing in here panics half-way.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        state.target.write_all(block).map_err(|source| {
            let path = Arc::clone(&self.path);
            let failure = JournalError { action: "write to", path, source: source.into() };
            state.failure = Some(failure.clone());
            failure
        })
    }
}

/// A journal cannot be written.
#[derive(Clone, Debug, thiserror::Error)]
#[error("cannot {action} journal {path}: {source}", path = path.display())]
pub struct JournalError {
    action: &'static str,
    path: Arc<Path>,
    source: Arc<io::Error>,
}

impl JournalError {
    /// Why, as the system says.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.source.kind()
    }
}
