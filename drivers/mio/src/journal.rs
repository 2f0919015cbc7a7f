//! Journals in files: where recorders write them, and where a replay reads them from.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gapless_core::journal::{Sink, Source};

/// A file that recorders write their journals to, on any threads: clones share it.
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
    file: File,
    failure: Option<JournalError>,
}

impl JournalFile {
    /// A new file, in place of what is there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, JournalError> {
        let path: Arc<Path> = path.into().into();
        match File::create(&path) {
            Ok(file) => {
                Ok(Self { path, state: Arc::new(Mutex::new(State { file, failure: None })) })
            }
            Err(source) => Err(JournalError { action: "create", path, source: source.into() }),
        }
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
        state.file.write_all(block).map_err(|source| {
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

/// A journal that is read, from a file or whatever else: for
/// [`Replayer::replay`](gapless_core::journal::Replayer::replay).
#[derive(Clone, Debug)]
pub struct JournalReader<R>(pub R);

impl<R: Read> Source for JournalReader<R> {
    type Error = io::Error;

    fn read(&mut self, into: &mut [u8]) -> Result<usize, io::Error> {
        loop {
            match self.0.read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}
