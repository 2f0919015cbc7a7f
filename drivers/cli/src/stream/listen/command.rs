//! A command that a stream is given to: its standard input is the stream, its standard output the answer.

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command as Builder, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::io::ahead::{self, Ahead, Next};
use crate::io::input::Late;
use crate::io::signals::Signals;
use crate::io::writer::Writer;
use crate::stream::tags;

/// A running command.
pub(super) struct Command {
    child: Child,
    status: Option<ExitStatus>,
    /// Its standard input.
    pub(super) input: Writer,
    /// Its standard output, as long as somebody wants it and it has more.
    answer: Option<Ahead<Bytes, io::Error>>,
    /// The bytes of the answer that were read and found no room in the stream.
    unsent: Bytes,
    /// One more of it is held by each block of the answer that the peer has not acknowledged.
    unacknowledged: Arc<()>,
    /// Whether the peer wants no answer.
    is_unwanted: bool,
}

/// A block of an answer, as long as the transport keeps it.
struct Unacknowledged {
    bytes: Bytes,
    _held: Arc<()>,
}

impl AsRef<[u8]> for Unacknowledged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// How far a command's answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// There may be more.
    Open,
    /// All of it was sent, or nobody wants it.
    Over,
}

impl Command {
    /// Starts it, in a process group of its own.
    ///
    /// # Errors
    /// There is no process, or no thread, to be had; then nothing was started.
    pub(super) fn start(
        line: &OsStr,
        tag: &[u8],
        peer: SocketAddr,
        is_answered: bool,
        key: u64,
        signals: &Signals,
    ) -> io::Result<Self> {
        let mut builder = Builder::new("sh");
        builder
            .arg("-c")
            .arg(line)
            .env("GAPLESS_TAG", tags::written(tag))
            .env("GAPLESS_TAG_HEX", tags::hex(tag))
            .env("GAPLESS_PEER", peer.to_string())
            .stdin(Stdio::piped())
            .stdout(if is_answered { Stdio::piped() } else { Stdio::null() })
            .process_group(0);
        // The threads come first: were there none, a command that runs already would take the end of its input
        // for that of the stream.
        let (give_input, input) = sync_channel::<ChildStdin>(1);
        let open = move || input.recv().map_err(|_| io::ErrorKind::BrokenPipe.into());
        let input = Writer::new(open, 0, key, signals.clone())?;
        let (give_output, output) = sync_channel::<ChildStdout>(1);
        let output = Late::new(move || output.recv().map_err(|_| io::ErrorKind::BrokenPipe.into()));
        let raised = signals.clone();
        let answer = is_answered.then(|| ahead::bytes(output, move || raised.raise(key)));
        let answer = answer.transpose()?;
        let mut child = builder.spawn()?;
        if let Some(stdin) = child.stdin.take() {
            let _ = give_input.send(stdin);
        }
        if let Some(stdout) = child.stdout.take() {
            let _ = give_output.send(stdout);
        }
        let (unsent, unacknowledged) = (Bytes::new(), Arc::default());
        Ok(Self { child, status: None, input, answer, unsent, unacknowledged, is_unwanted: false })
    }

    /// Sends of the answer what there is. `write` takes the front of what it is given, and fails when
    /// nobody wants more.
    pub(super) fn answer<E>(
        &mut self,
        mut write: impl FnMut(&mut Bytes) -> Result<usize, E>,
    ) -> Answer {
        while let Some(reader) = &mut self.answer {
            if self.unsent.is_empty() {
                match reader.next() {
                    Ok(Next::Item(bytes)) => {
                        let _held = Arc::clone(&self.unacknowledged);
                        self.unsent = Bytes::from_owner(Unacknowledged { bytes, _held });
                    }
                    Ok(Next::NotYet) => return Answer::Open,
                    Ok(Next::End) | Err(_) => self.answer = None,
                }
            } else if write(&mut self.unsent).is_err() {
                self.unanswered();
            } else if !self.unsent.is_empty() {
                return Answer::Open;
            }
        }
        Answer::Over
    }

    /// Nobody wants more of the answer.
    pub(super) fn unanswered(&mut self) {
        self.answer = None;
        self.unsent = Bytes::new();
        self.is_unwanted = true;
    }

    /// Whether the peer's transport has all of the answer that was read so far, or it wants none.
    pub(super) fn is_answer_acknowledged(&self) -> bool {
        self.is_unwanted || Arc::strong_count(&self.unacknowledged) == 1
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The system does not say.
    pub(super) fn status(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    /// Ends it and those that it started, unless it was asked how it ended. Whether it is gone is to be asked
    /// for.
    pub(super) fn kill(mut self) -> Killed {
        // The processes that it started outlive it. Only until somebody asks how it ended is its number, and so its
        // group's, surely nobody else's.
        if self.status.is_none() {
            kill(&mut self.child);
        }
        Killed(self.child)
    }
}

/// A command that was killed.
pub(super) struct Killed(Child);

impl Killed {
    /// Whether nothing is left of it.
    pub(super) fn is_gone(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

/// Ends a process and its group.
fn kill(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // It may have ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
}
