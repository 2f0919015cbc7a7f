//! The file that `receive --resume` goes on from: session, next number, and what of the output goes before
//! it. It is locked while a receiver keeps it.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use gapless_core::Session;
use gapless_mio::ExclusiveFile;
use serde::{Deserialize, Serialize};

use super::output::Identity;
use super::used::Used;
use crate::failure::Failure;
use crate::io::place::{check_folder, in_use};

/// Where a receiver was when its output was flushed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct State {
    /// The session.
    pub(crate) session: Session,
    /// The next number to receive.
    pub(crate) next: u64,
    /// Bytes of the output that go before it.
    pub(crate) output_bytes: u64,
    /// The output, if it can be gone on with.
    pub(crate) output: Option<Identity>,
    /// Whether a sender started over within the session: what comes now does not go behind the output.
    pub(crate) regressed: bool,
}

/// How a [`State`] is written, and what was used of quotas.
#[derive(Serialize, Deserialize)]
struct Written {
    /// For people; `session_bytes` counts.
    #[serde(default)]
    session: String,
    /// Not there before a session began, when only `used` is kept.
    #[serde(default)]
    session_bytes: Option<[u8; Session::LEN]>,
    #[serde(default)]
    next: u64,
    #[serde(default)]
    output_bytes: u64,
    /// Not in files of older versions.
    #[serde(default)]
    output: Option<Identity>,
    #[serde(default)]
    regressed: bool,
    #[serde(default)]
    used: Vec<Used>,
}

/// A file that keeps a [`State`].
#[derive(Debug)]
pub(crate) struct StateFile {
    /// There until it is dropped.
    file: Option<ExclusiveFile>,
    /// Whether it was made here.
    is_new: bool,
    kept: Option<State>,
    used: Vec<Used>,
}

impl StateFile {
    /// Reads what is kept, or begins a file that keeps nothing yet.
    ///
    /// # Errors
    /// It cannot be read, made or replaced, another process keeps it, or it holds something else.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let path = path.canonicalize().unwrap_or(path.to_owned());
        let mut is_new = false;
        let opened = match ExclusiveFile::open(&path, true) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                is_new = true;
                ExclusiveFile::create_new(&path)
            }
            opened => opened,
        };
        let file = opened.map_err(|error| match error.kind() {
            ErrorKind::ResourceBusy => in_use("--resume", &path),
            _ => Failure::file("write", &path, &error)
                .advise("name a file in a folder that may be written"),
        })?;
        let kept = read(&file).map_err(|error| Failure::file("read", &path, &error))?;
        let mut state_file = Self { file: Some(file), is_new, kept: None, used: Vec::new() };
        // Each state takes the place of the last one.
        check_folder(&path)?;
        if !kept.is_empty() {
            (state_file.kept, state_file.used) = parse(&kept).map_err(|error| {
                Failure::content(format!("{} keeps no state: {error}", path.display())).advise(
                    "name a file that `gapless receive --resume` wrote, or one that is not there",
                )
            })?;
        }
        Ok(state_file)
    }

    /// The state that is kept.
    pub(crate) const fn state(&self) -> Option<&State> {
        self.kept.as_ref()
    }

    /// The use of quotas, as it is kept.
    pub(crate) fn used(&self) -> &[Used] {
        &self.used
    }

    /// Keeps a state in place of the last one, wholly or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn keep(&mut self, state: State) -> Result<(), Failure> {
        if self.kept.as_ref() == Some(&state) {
            return Ok(());
        }
        self.kept = Some(state);
        self.write()
    }

    /// Keeps what was used of quotas, as [`keep`](Self::keep) does a state.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn keep_used(&mut self, used: Vec<Used>) -> Result<(), Failure> {
        self.used = used;
        self.write()
    }

    fn write(&mut self) -> Result<(), Failure> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let kept = self.kept.as_ref();
        let written = Written {
            session: kept.map(|kept| kept.session.to_string()).unwrap_or_default(),
            session_bytes: kept.map(|kept| *kept.session.as_bytes()),
            next: kept.map_or(0, |kept| kept.next),
            output_bytes: kept.map_or(0, |kept| kept.output_bytes),
            output: kept.and_then(|kept| kept.output.clone()),
            regressed: kept.is_some_and(|kept| kept.regressed),
            used: self.used.clone(),
        };
        let replaced =
            serde_json::to_vec(&written).map_err(io::Error::from).and_then(|mut text| {
                text.push(b'\n');
                file.replace_with(&text)
            });
        replaced.map_err(|error| Failure::file("write", file.path(), &error))
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        if let Some(file) =
            self.file.take_if(|_| self.is_new && self.kept.is_none() && self.used.is_empty())
        {
            // An empty file keeps nothing either.
            let _ = file.remove();
        }
    }
}

fn read(file: &ExclusiveFile) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if let Some(mut file) = file.file() {
        io::Seek::rewind(&mut file)?;
        file.read_to_end(&mut text)?;
    }
    Ok(text)
}

fn parse(text: &[u8]) -> Result<(Option<State>, Vec<Used>), String> {
    match serde_json::from_slice(text) {
        Ok(Written { session_bytes: None, used, .. }) if used.is_empty() => {
            Err("there is no session".to_owned())
        }
        Ok(Written { session_bytes: None, used, .. }) => Ok((None, used)),
        Ok(Written { next: 0, .. }) => Err("message numbers start at 1".to_owned()),
        Ok(Written {
            session_bytes: Some(session),
            next,
            output_bytes,
            output,
            regressed,
            used,
            ..
        }) => {
            let session = Session::new(session);
            Ok((Some(State { session, next, output_bytes, output, regressed }), used))
        }
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const STATE: State = State {
        session: Session::new(*b"A\xff        "),
        next: u64::MAX,
        output_bytes: 7,
        output: None,
        regressed: true,
    };

    #[test]
    fn what_is_kept_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        StateFile::open(&path).unwrap().keep(STATE).unwrap();
        assert_eq!(StateFile::open(&path).unwrap().state(), Some(&STATE));
    }

    #[test]
    fn a_file_of_an_older_version_names_no_output_and_no_regression() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let text = r#"{"session":"A","session_bytes":[65,255,32,32,32,32,32,32,32,32],
            "next":18446744073709551615,"output_bytes":7}"#;
        fs::write(&path, text).unwrap();
        let older = State { regressed: false, ..STATE };
        assert_eq!(StateFile::open(&path).unwrap().state(), Some(&older));
    }

    #[test]
    fn a_file_that_keeps_nothing_is_gone_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let file = StateFile::open(&path).unwrap();
        assert!(file.state().is_none() && path.exists());
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn an_empty_file_that_was_there_stays_and_so_does_one_that_was_put_there() {
        let folder = tempfile::tempdir().unwrap();
        let [mine, new] = ["mine", "new"].map(|name| folder.path().join(name));
        fs::write(&mine, "").unwrap();
        drop(StateFile::open(&mine).unwrap());
        let file = StateFile::open(&new).unwrap();
        fs::remove_file(&new).unwrap();
        fs::write(&new, "").unwrap();
        drop(file);
        assert!(mine.exists() && new.exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_that_takes_no_files_is_noticed_though_a_file_is_there() {
        // Nobody makes files there, not even a privileged user.
        let failure =
            StateFile::open(Path::new("/proc/self/oom_score_adj")).unwrap_err().to_string();
        assert!(failure.contains("cannot create /proc/"), "{failure}");
    }

    #[test]
    fn a_file_is_kept_by_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let mut first = StateFile::open(&path).unwrap();
        for next in [1, 2] {
            let failure = StateFile::open(&path).unwrap_err().to_string();
            assert!(failure.contains("another process writes it"), "{failure}");
            first.keep(State { next, ..STATE }).unwrap();
        }
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
    fn what_is_no_state_is_refused_by_name_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        for text in [
            "\n",
            "{}",
            "ITCH 7",
            r#"{"session_bytes":[0,0,0,0,0,0,0,0,0,0],"next":0,"output_bytes":0}"#,
        ] {
            fs::write(&path, text).unwrap();
            let failure = StateFile::open(&path).unwrap_err().to_string();
            assert!(failure.contains("state keeps no state"), "{failure}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
