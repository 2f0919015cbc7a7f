//! The files that `receive` writes messages to: none, one, or one for each session. Names of sessions come
//! from the network, so a file of theirs never takes the place of anything, nor is a link followed.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use gapless_core::Session;
use gapless_core::receiver::Batch;
use gapless_mio::ExclusiveFile;

use super::output::{Identity, Output};
use super::resume::State;
use crate::args::{OutputFormat, Receive};
use crate::failure::Failure;
use crate::io::patience::Patience;
use crate::io::place::{Place, check_folder, exists, folder, in_use, uncreated};
use crate::progress::Progress;
use crate::statistics::Consumer;

/// Files of one session at most.
const MOST_OF_SESSION: u32 = 10_000;

/// Where messages go.
pub(crate) struct Files {
    path: Option<PathBuf>,
    place: Place,
    each_session: bool,
    force: bool,
    format: OutputFormat,
    /// Where an earlier run came to.
    state: Option<State>,
    /// The file that it wrote, if it is there.
    resumed: Option<ExclusiveFile>,
    /// The file of all sessions, or those of sessions that have not ended: the last messages of one
    /// may come after the next has begun.
    outputs: Vec<(Option<Session>, Output)>,
    progress: Progress,
}

impl Files {
    /// Sees that there is something that may be written to. Nothing is changed.
    ///
    /// # Errors
    /// A file is there that is not to be touched, or nothing can be made there.
    pub(crate) fn prepare(
        args: &Receive,
        state: Option<&State>,
        progress: &Progress,
    ) -> Result<Self, Failure> {
        let mut files = Self {
            path: args.output.clone(),
            place: args.output.as_deref().map_or(Ok(Place::Free), Place::of)?,
            each_session: false,
            force: args.journaling.force,
            format: args.format,
            state: state.cloned(),
            resumed: None,
            outputs: Vec::new(),
            progress: progress.clone(),
        };
        let Some(path) = &args.output else { return Ok(files) };
        files.each_session = args.follow && matches!(files.place, Place::Free | Place::Taken);
        if files.each_session {
            check_folder(path)?;
        }
        files.resumed = match (state, files.each_session) {
            (Some(state), true) => files.resumed_of_session(path, state)?,
            (Some(state), false) if files.place == Place::Taken => files.resumed(path, state)?,
            (_, true) => None,
            (_, false) => Place::check("--output", path, files.force).map(|_| None)?,
        };
        Ok(files)
    }

    /// Opens what is there to be written to as it is. Files are made when their session begins.
    ///
    /// # Errors
    /// It cannot be opened, or patience is over first.
    pub(crate) fn open(&mut self, patience: &Patience) -> Result<(), Failure> {
        let Some(path) = &self.path else { return Ok(()) };
        let output = match self.place {
            Place::Standard => Output::standard(self.format, patience),
            Place::Special => Output::special(path, self.format, patience)?,
            Place::Free | Place::Taken => return Ok(()),
        };
        self.outputs.push((None, output));
        Ok(())
    }

    /// The file that is there, if it is the one that the state goes with; `None` if it is to be replaced.
    fn resumed(&self, path: &Path, state: &State) -> Result<Option<ExclusiveFile>, Failure> {
        let file = ExclusiveFile::open(path, true).map_err(|error| match error.kind() {
            ErrorKind::ResourceBusy => in_use("--output", path),
            _ => Failure::file("go on writing", path, &error),
        })?;
        let checked = match &state.output {
            None => {
                Err("names no output: it was kept without --output, or by an older gapless".into())
            }
            Some(identity) => identity
                .check(&file, state.output_bytes, self.format)
                .map_err(|why| format!("does not go with it: it {why}")),
        };
        match checked {
            Ok(()) => Ok(Some(file)),
            Err(_) if self.force => Ok(None),
            Err(why) => Err(Failure::content(format!(
                "--output {} exists, and the --resume file {why}",
                path.display()
            ))
            .advise(format!(
                "move the output away: a new one begins with message {}; or name the right one",
                state.next
            ))),
        }
    }

    /// The same with a file for each session: another file than the one that the state goes with is left
    /// alone.
    fn resumed_of_session(
        &self,
        path: &Path,
        state: &State,
    ) -> Result<Option<ExclusiveFile>, Failure> {
        // Its last part may be a link by now: that is for the system to refuse.
        let first = of_session(path, state.session, 1);
        let (Ok(folder), Some(name)) = (folder(path).canonicalize(), first.file_name()) else {
            return Ok(None);
        };
        let is_ours = |identity: &&Identity| {
            let path = identity.path();
            let other = path.file_name().unwrap_or_default().as_encoded_bytes();
            let rest = other.strip_prefix(name.as_encoded_bytes());
            let is_next = |rest: &[u8]| rest.is_empty() || rest.starts_with(b".");
            path.parent() == Some(&folder) && rest.is_some_and(is_next)
        };
        let Some(identity) = state.output.as_ref().filter(is_ours) else { return Ok(None) };
        match ExclusiveFile::open(identity.path(), false) {
            Ok(file) => {
                let checked = identity.check(&file, state.output_bytes, self.format);
                Ok(checked.is_ok().then_some(file))
            }
            Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                Err(in_use("--output", &identity.path()))
            }
            Err(_) => Ok(None),
        }
    }

    /// Makes the output of a session, or of all, or goes on with it.
    fn make(&mut self, session: Session, path: &Path) -> Result<Output, Failure> {
        let state = self.state.take_if(|state| state.session == session);
        if let Some(file) = state.as_ref().and_then(|_| self.resumed.take()) {
            let bytes = state.map_or(0, |state| state.output_bytes);
            let (output, length) = Output::resume(file, bytes, self.format)?;
            if length > bytes {
                self.progress.report(format_args!(
                    "{} is cut from {length} to {bytes} bytes: what followed is received again",
                    output.name()
                ));
            }
            return Ok(output);
        }
        let file = match (self.each_session, self.force) {
            (true, _) => self.make_of_session(session, path)?,
            (false, true) => {
                ExclusiveFile::replace(path).map_err(|error| uncreated(path, &error))?
            }
            (false, false) => {
                ExclusiveFile::create_new(path).map_err(|error| match error.kind() {
                    ErrorKind::AlreadyExists => exists("--output", path),
                    _ => uncreated(path, &error),
                })?
            }
        };
        let output = Output::begin(file, self.format);
        self.report_beginning(&output, state);
        Ok(output)
    }

    /// A file that was not there, whatever the session's name is.
    fn make_of_session(&self, session: Session, path: &Path) -> Result<ExclusiveFile, Failure> {
        for number in 1..=MOST_OF_SESSION {
            let own = of_session(path, session, number);
            match ExclusiveFile::create_new(&own) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(uncreated(&own, &error)),
                Ok(file) => {
                    if number > 1 {
                        let (first, own) = (of_session(path, session, 1), own.display());
                        self.progress.report(format_args!(
                            "{} exists: session {session} goes to {own}",
                            first.display()
                        ));
                    }
                    return Ok(file);
                }
            }
        }
        let last = of_session(path, session, MOST_OF_SESSION);
        Err(Failure::content(format!(
            "--output {}: the file exists, and all before it",
            last.display()
        ))
        .advise("move files of this session away, or name another --output"))
    }

    /// Says that what was received earlier is elsewhere.
    fn report_beginning(&self, output: &Output, state: Option<State>) {
        if let Some(State { session, next, .. }) = state {
            let name = output.name();
            self.progress
                .report(format_args!("{name} begins anew at message {next} of session {session}"));
        }
    }

    /// The output that messages of a session go to.
    fn of(&mut self, session: Session) -> Option<&mut Output> {
        let goes = |of: &Option<Session>| of.is_none_or(|of| of == session);
        self.outputs.iter_mut().rev().find(|(of, _)| goes(of)).map(|(_, output)| output)
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        for (_, output) in &mut self.outputs {
            output.flush()?;
            if let Some(number) = output.take_broken() {
                self.progress.report(format_args!(
                    "warning: message {number} has line ends of its own: it is not one line of {}, and \
                     others may not be either",
                    output.name()
                ));
            }
        }
        Ok(())
    }

    /// How long the output of a session is, what is not yet flushed included.
    pub(crate) fn bytes(&mut self, session: Session) -> u64 {
        self.of(session).map_or(0, |output| output.bytes())
    }

    /// How long the output of a session is, as it was flushed, and what it is recognised by.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn written(&mut self, session: Session) -> Result<(u64, Option<Identity>), Failure> {
        match self.of(session) {
            Some(output) => Ok((output.bytes(), output.identity()?)),
            None => Ok((0, None)),
        }
    }

    /// Closes the file that a session has to itself, or says that the one of all was not replaced.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn close(&mut self, session: Session) -> Result<(), Failure> {
        let goes = |of: &Option<Session>| of.is_none_or(|of| of == session);
        let Some(at) = self.outputs.iter().position(|(of, _)| goes(of)) else { return Ok(()) };
        let output = &mut self.outputs[at].1;
        output.flush()?;
        if output.is_waiting() {
            let name = output.name();
            self.progress
                .report(format_args!("{name} stays as it was: session {session} has no messages"));
        }
        if self.outputs[at].0.is_some() {
            self.outputs.remove(at);
        }
        Ok(())
    }
}

impl Consumer for Files {
    fn begin(&mut self, session: Session, _next: u64) -> Result<(), Failure> {
        let Some(path) = self.path.clone() else { return Ok(()) };
        if let Some((None, output)) = self.outputs.first() {
            let state = self.state.take_if(|state| state.session == session);
            self.report_beginning(output, state);
            return Ok(());
        }
        let output = self.make(session, &path)?;
        self.outputs.push((self.each_session.then_some(session), output));
        Ok(())
    }

    fn take(&mut self, batch: &Batch<&[u8]>) -> Result<(), Failure> {
        self.of(batch.session).map_or(Ok(()), |output| output.write(batch))
    }
}

/// A file of one session among several: `FILE.SESSION`, with bytes of the session that a file name should
/// not hold written as `%XX`; the second one is `FILE.SESSION.2`.
fn of_session(path: &Path, session: Session, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    for &byte in session.name() {
        if byte.is_ascii_alphanumeric() || b"-_".contains(&byte) {
            name.push(char::from(byte).to_string());
        } else {
            name.push(format!("%{byte:02X}"));
        }
    }
    if number > 1 {
        name.push(format!(".{number}"));
    }
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_session_has_a_file_name_of_its_own() {
        let name =
            |session, number| of_session(Path::new("out.bin"), Session::new(session), number);
        assert_eq!(name(*b"ITCH_1    ", 1), Path::new("out.bin.ITCH_1"));
        assert_eq!(name(*b"ITCH_1    ", 2), Path::new("out.bin.ITCH_1.2"));
        assert_eq!(name(*b"a/b\xff.     ", 1), Path::new("out.bin.a%2Fb%FF%2E"));
        assert_eq!(name(*b"..        ", 1), Path::new("out.bin.%2E%2E"));
    }
}
