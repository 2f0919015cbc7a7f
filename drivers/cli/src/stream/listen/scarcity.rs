//! Descriptors, processes and threads: as many as there may be, and what happens when there are none left.

use std::io;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};

/// How soon a stream is tried again that found no descriptor, process or thread.
const AGAIN: Duration = Duration::from_millis(200);
/// How often that is reported at most.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Whether there was no descriptor, process or thread for a stream just now.
#[derive(Default)]
pub(super) struct Scarcity {
    /// Until when no stream begins.
    until: Option<Instant>,
    /// When it was last reported.
    reported_at: Option<Instant>,
}

impl Scarcity {
    /// Whether there was none just now.
    pub(super) fn is_now(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// There may be one again.
    pub(super) const fn clear(&mut self) {
        self.until = None;
    }

    /// Something could not begin: the words to report, now and then, if that is because one is used up.
    ///
    /// # Errors
    /// The error again, if it says something else.
    pub(super) fn note(&mut self, error: io::Error, now: Instant) -> io::Result<Option<String>> {
        let Some(words) = words(&error) else { return Err(error) };
        self.until = Some(now + AGAIN);
        let is_due = |at: Instant| now.saturating_duration_since(at) >= REPORT_EVERY;
        if !self.reported_at.is_none_or(is_due) {
            return Ok(None);
        }
        self.reported_at = Some(now);
        Ok(Some(words))
    }
}

/// Descriptors beside those of streams: the socket, standard streams, and some for a moment.
const OTHERS: u64 = 64;

/// Raises the soft limit of descriptors to what so many are no more than, as far as the hard one lets it.
/// Commands inherit it: it is not raised further than is needed, since some have trouble with a large one.
pub(super) fn raise(needed: u64) {
    let mut limit = getrlimit(Resource::Nofile);
    let needed = limit.maximum.map_or(needed + OTHERS, |most| most.min(needed + OTHERS));
    if limit.current.is_some_and(|current| current < needed) {
        limit.current = Some(needed);
        // With fewer, streams wait, and it is reported why.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// Why there is no descriptor, process or thread, and which limit it is, if that is what an error says.
fn words(error: &io::Error) -> Option<String> {
    let limit = |resource| match getrlimit(resource).current {
        Some(limit) => limit.to_string(),
        None => "unlimited".into(),
    };
    Some(match Errno::from_io_error(error)? {
        Errno::MFILE => {
            let limit = limit(Resource::Nofile);
            format!(
                "this process has as many files and pipes open as it may: raise `ulimit -n`, which is {limit} \
                 (LimitNOFILE= of systemd), or lower --parallel"
            )
        }
        Errno::NFILE => {
            "the system has as many files open as it can: raise the sysctl fs.file-max".into()
        }
        Errno::AGAIN => {
            let limit = limit(Resource::Nproc);
            format!(
                "the system starts no more processes or threads: raise `ulimit -u`, which is {limit} \
                 (LimitNPROC= or TasksMax= of systemd), or lower --parallel"
            )
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_up_is_reported_by_the_limit_to_raise() {
        let reported = |errno: Errno| words(&errno.into());
        for (errno, limit) in [
            (Errno::MFILE, "`ulimit -n`"),
            (Errno::NFILE, "fs.file-max"),
            (Errno::AGAIN, "`ulimit -u`"),
        ] {
            assert!(reported(errno).is_some_and(|words| words.contains(limit)), "{errno}");
        }
        assert_eq!(reported(Errno::NOENT), None);
    }
}
