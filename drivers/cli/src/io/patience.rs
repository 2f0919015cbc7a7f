//! Writing to what may take nothing for as long as it likes, a pipe that nobody reads or a terminal that is
//! stopped: it is waited for only as long as nobody wants an end.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fd::AsFd;

use super::blocking::run_blocking;
use super::place::is_named_pipe;
use super::standard::{self, file_of, is_ready};
use crate::failure::{Failure, Outcome};
use crate::stop::Stop;

/// How often it is looked whether somebody wants an end.
const TICK: Duration = Duration::from_millis(50);
/// How long a reader is waited for when somebody wants an end: one who is only slow gets the rest.
const MOMENT: Duration = Duration::from_secs(1);
/// The bytes written at once to a stream that may make its writer wait: a pipe that takes something takes that much.
const AT_ONCE: usize = 4096;

/// How long somebody is waited for.
#[derive(Clone, Debug)]
pub(crate) struct Patience {
    /// Until somebody wants an end.
    pub(crate) stop: Stop,
    /// Until `--max-time` is over.
    pub(crate) until: Option<Instant>,
}

impl Patience {
    /// Until somebody wants an end.
    pub(crate) fn new(stop: &Stop) -> Self {
        Self { stop: stop.clone(), until: None }
    }

    fn is_over(&self) -> bool {
        self.stop.is_asked() || self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Opens `path` to be written to by `work`: a named pipe is waited for until somebody reads it.
    ///
    /// # Errors
    /// The failure of `work`; somebody wants an end first; or it is too late.
    pub(crate) fn open<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        if is_named_pipe(path) {
            say(format_args!("waiting for a reader of {}", path.display()));
        }
        let late = format!("timed out: --max-time is over, and nobody reads {}", path.display());
        let late = self.until.map(|until| (until, Failure::new(Outcome::TimedOut, late)));
        run_blocking(&self.stop, late, work)
    }
}

/// A stream that is written to as long as there is patience.
pub(crate) struct Patient<W> {
    to: W,
    at_once: usize,
    patience: Patience,
    moment: Duration,
    given_up: bool,
    /// Bytes that were offered and are not written yet.
    rest: Vec<u8>,
}

impl<W: Write + AsFd> Patient<W> {
    /// Of a stream.
    pub(crate) fn new(to: W, patience: Patience) -> Self {
        let at_once = if matches!(file_of(&to), Ok(Some(_))) { usize::MAX } else { AT_ONCE };
        Self { to, at_once, patience, moment: MOMENT, given_up: false, rest: Vec::new() }
    }

    /// Why nothing more is written to what errors call `name`, if that is because patience was over.
    pub(crate) fn failure(&self, name: &str) -> Option<Failure> {
        let what = format!("{name} takes no more, and lacks what came last");
        self.given_up.then(|| match self.patience.stop.is_asked() {
            true => self.patience.stop.interrupted(&what),
            false => {
                Failure::new(Outcome::TimedOut, format!("timed out: --max-time is over; {what}"))
            }
        })
    }

    /// Writes as much as the stream takes without a wait: first the rest of earlier offers, and nothing of `text`
    /// while there is any. The rest of `text` precedes the next write.
    ///
    /// # Errors
    /// It cannot be written.
    fn offer(&mut self, text: &[u8]) -> io::Result<()> {
        self.write_rest()?;
        if self.rest.is_empty() && is_ready(&self.to, Duration::ZERO)? {
            self.rest.extend_from_slice(text);
        }
        self.write_rest()
    }

    fn write_rest(&mut self) -> io::Result<()> {
        while !self.rest.is_empty() && is_ready(&self.to, Duration::ZERO)? {
            let written = self.to.write(&self.rest[..self.rest.len().min(self.at_once)])?;
            self.rest.drain(..written);
        }
        Ok(())
    }

    /// Waits until it takes something.
    fn wait(&mut self) -> io::Result<()> {
        let (mut tick, mut over) = (Duration::ZERO, None);
        while self.given_up || !is_ready(&self.to, tick)? {
            let since = self.patience.is_over().then(|| *over.get_or_insert_with(Instant::now));
            if self.given_up || since.is_some_and(|since| since.elapsed() >= self.moment) {
                self.given_up = true;
                return Err(io::Error::new(ErrorKind::TimedOut, "nobody reads it"));
            }
            tick = TICK;
        }
        Ok(())
    }
}

impl Patient<standard::Output> {
    /// Prints a result on standard output.
    ///
    /// # Errors
    /// It cannot be written, or patience is over before somebody reads it.
    pub(crate) fn print(&mut self, text: &str) -> Result<(), Failure> {
        let rest = std::mem::take(&mut self.rest);
        self.write_all(&rest).and_then(|()| self.write_all(text.as_bytes())).map_err(|error| {
            let given_up = self.failure("standard output");
            given_up.unwrap_or_else(|| Failure::standard_output(&error))
        })
    }

    /// Prints a periodic report without a wait. The report is left out while an earlier one is not written whole.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn print_running(&mut self, text: &str) -> Result<(), Failure> {
        self.offer(text.as_bytes()).map_err(|error| Failure::standard_output(&error))
    }

    /// The same of a command that ends so; what it would have ended with otherwise is in its exit code
    /// though nobody reads its result.
    ///
    /// # Errors
    /// As [`print`](Self::print), of a command that is complete.
    pub(crate) fn conclude(&mut self, text: &str, outcome: Outcome) -> Result<Outcome, Failure> {
        match self.print(text) {
            Err(unread) if self.given_up && outcome != Outcome::Complete => {
                say(unread);
                Ok(outcome)
            }
            printed => printed.map(|()| outcome),
        }
    }
}

impl<W: Write + AsFd> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait()?;
        self.to.write(&bytes[..bytes.len().min(self.at_once)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes words to a stream that somebody reads, or drops them after a moment.
///
/// # Errors
/// It cannot be written, or takes nothing.
pub(crate) fn write_words(to: impl Write + AsFd, words: &[u8]) -> io::Result<()> {
    let patience = Patience { stop: Stop::default(), until: Some(Instant::now()) };
    Patient::new(to, patience).write_all(words)
}

/// Says a line on standard error. That nobody can hear it is no reason to end, or to wait.
pub(crate) fn say(line: impl fmt::Display) {
    // At once, so that nobody's words get in between.
    write_errors(format!("{line}\n").as_bytes());
}

/// Writes words to standard error. Once it took nothing for a moment it is not waited for any more, until
/// it takes something again.
pub(crate) fn write_errors(words: &[u8]) {
    static IS_FULL: AtomicBool = AtomicBool::new(false);
    let patience = Patience { stop: Stop::default(), until: Some(Instant::now()) };
    let mut errors = Patient::new(standard::Output::Errors, patience);
    if IS_FULL.load(Ordering::Relaxed) {
        errors.moment = Duration::ZERO;
    }
    // That nobody can hear it is no reason to end.
    let _ = errors.write_all(words);
    IS_FULL.store(errors.given_up, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, pipe};
    use std::os::fd::OwnedFd;
    use std::thread;

    /// A pipe that nobody reads yet.
    fn unread(patience: &Patience) -> (io::PipeReader, Patient<File>) {
        let (read, write) = pipe().unwrap();
        (read, Patient::new(OwnedFd::from(write).into(), patience.clone()))
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_given_up_when_somebody_wants_an_end() {
        let patience = Patience::new(&Stop::default());
        let (_read, mut pipe) = unread(&patience);
        patience.stop.ask();
        assert_eq!(pipe.write_all(&[0; 1 << 20]).unwrap_err().kind(), ErrorKind::TimedOut);
        let failure = pipe.failure("a pipe").unwrap();
        assert!(failure.what().starts_with("interrupted: a pipe takes no more"), "{failure}");
        // At once the next time.
        assert!(pipe.write(b"x").is_err());
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_given_up_when_it_is_too_late() {
        let patience = Patience { until: Some(Instant::now()), ..Patience::new(&Stop::default()) };
        let (_read, mut pipe) = unread(&patience);
        assert!(pipe.write_all(&[0; 1 << 20]).is_err());
        assert_eq!(pipe.failure("a pipe").unwrap().outcome, Outcome::TimedOut);
    }

    #[test]
    fn a_report_that_is_offered_waits_for_nobody_and_is_whole_or_left_out() {
        let (mut read, mut pipe) = unread(&Patience::new(&Stop::default()));
        let report = |number: u8| vec![number; 5_000];
        for number in 0..50 {
            pipe.offer(&report(number)).unwrap();
        }
        // All that there is; then there is room for what is left, and for one more.
        let mut all = vec![0; 1 << 20];
        let taken = read.read(&mut all).unwrap();
        all.truncate(taken);
        pipe.offer(&report(50)).unwrap();
        drop(pipe);
        read.read_to_end(&mut all).unwrap();
        let begun = taken.div_ceil(5_000) as u8;
        let expected: Vec<u8> = (0..begun).chain([50]).flat_map(report).collect();
        assert!(all == expected, "{} bytes of {}", all.len(), expected.len());
    }

    #[test]
    fn a_reader_who_is_slow_gets_everything_though_somebody_wants_an_end() {
        let patience = Patience::new(&Stop::default());
        let (mut read, mut pipe) = unread(&patience);
        patience.stop.ask();
        let reader = thread::spawn(move || {
            thread::sleep(3 * TICK);
            let mut all = Vec::new();
            read.read_to_end(&mut all).unwrap();
            all
        });
        let sent: Vec<u8> = (0..1 << 20).map(|at: u32| at.to_be_bytes()[2]).collect();
        pipe.write_all(&sent).unwrap();
        assert!(pipe.failure("a pipe").is_none());
        drop(pipe);
        assert!(reader.join().unwrap() == sent);
    }
}
