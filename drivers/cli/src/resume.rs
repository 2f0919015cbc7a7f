//! The file that `receive --resume` goes on from: session, next number, and length of the output.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use gapless_core::Session;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::failure::Failure;

/// Where a receiver was when its output was flushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct State {
    /// The session.
    pub(crate) session: Session,
    /// The next number to receive.
    pub(crate) next: u64,
    /// Bytes of the output that go before it.
    pub(crate) output_bytes: u64,
}

/// How a [`State`] is written.
#[derive(Serialize, Deserialize)]
struct Written {
    /// For people; `session_bytes` counts.
    #[serde(default)]
    session: String,
    session_bytes: [u8; Session::LEN],
    next: u64,
    output_bytes: u64,
}

/// A file that keeps a [`State`].
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    kept: Option<State>,
}

impl StateFile {
    /// Reads what is kept, if there is a file.
    ///
    /// # Errors
    /// It cannot be read, or holds something else.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = Self { path: path.to_owned(), kept: None };
                // Better to know now than after an hour of receiving.
                return match file.temporary() {
                    Ok(_) => Ok(file),
                    Err(error) => Err(Failure::file("write", path, &error)
                        .advise("name a file in a folder that may be written")),
                };
            }
            Err(error) => return Err(Failure::file("read", path, &error)),
        };
        let state = match serde_json::from_slice(&text) {
            Ok(Written { next: 0, .. }) => Err("message numbers start at 1".to_owned()),
            Ok(Written { session_bytes, next, output_bytes, .. }) => {
                Ok(State { session: Session::new(session_bytes), next, output_bytes })
            }
            Err(error) => Err(error.to_string()),
        };
        let state = state.map_err(|error| {
            Failure::content(format!("{} keeps no state: {error}", path.display())).advise(
                "name a file that `gapless receive --resume` wrote, or one that is not there",
            )
        })?;
        Ok(Self { path: path.to_owned(), kept: Some(state) })
    }

    /// What is kept.
    pub(crate) fn state(&self) -> Option<State> {
        self.kept
    }

    /// Keeps a state in place of the last one, wholly or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn keep(&mut self, state: State) -> Result<(), Failure> {
        if self.kept == Some(state) {
            return Ok(());
        }
        let State { session, next, output_bytes } = state;
        let session_bytes = *session.as_bytes();
        let written = Written { session: session.to_string(), session_bytes, next, output_bytes };
        self.replace(&written).map_err(|error| Failure::file("write", &self.path, &error))?;
        self.kept = Some(state);
        Ok(())
    }

    /// An empty file beside it, to be put in its place or removed again.
    fn temporary(&self) -> io::Result<NamedTempFile> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        NamedTempFile::new_in(folder)
    }

    fn replace(&self, written: &Written) -> io::Result<()> {
        let mut file = self.temporary()?;
        serde_json::to_writer(&mut file, written)?;
        file.write_all(b"\n")?;
        file.as_file().sync_data()?;
        file.persist(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: State =
        State { session: Session::new(*b"A\xff        "), next: u64::MAX, output_bytes: 7 };

    #[test]
    fn what_is_kept_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        StateFile::open(&path).unwrap().keep(STATE).unwrap();
        assert_eq!(StateFile::open(&path).unwrap().state(), Some(STATE));
    }

    #[test]
    fn without_a_file_nothing_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(StateFile::open(&folder.path().join("state")).unwrap().state(), None);
    }

    #[test]
    fn a_folder_that_is_not_there_is_noticed_before_anything_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let failure = StateFile::open(&folder.path().join("no/state")).unwrap_err().to_string();
        assert!(failure.contains("cannot write") && failure.contains("no/state"), "{failure}");
    }

    #[test]
    fn the_folder_holds_nothing_but_the_state() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = StateFile::open(&folder.path().join("state")).unwrap();
        for next in 1..5 {
            file.keep(State { next, ..STATE }).unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_state_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        for text in [
            "",
            "{}",
            "ITCH 7",
            r#"{"session_bytes":[0,0,0,0,0,0,0,0,0,0],"next":0,"output_bytes":0}"#,
        ] {
            fs::write(&path, text).unwrap();
            let failure = StateFile::open(&path).unwrap_err().to_string();
            assert!(failure.contains("state keeps no state"), "{failure}");
        }
    }
}
