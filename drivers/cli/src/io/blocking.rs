//! Work that may keep its caller waiting for as long as it likes, looking up a name or reading a file that
//! is a pipe: a thread does it, and it is waited for only as long as nobody wants an end.

use std::io;
use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::stop::Stop;

/// How often it is looked whether somebody wants an end.
const TICK: Duration = Duration::from_millis(100);

/// Does work on a thread. `late` is until when, and what is wrong then. Work that nobody waits for any more goes
/// on until it or the program ends.
///
/// # Errors
/// The failure of the work; somebody wants an end; it is too late; or there is no thread to be had.
pub(crate) fn run_blocking<T: Send + 'static>(
    stop: &Stop,
    late: Option<(Instant, Failure)>,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (done, result) = sync_channel(1);
    let begin = move || {
        // Nobody may want it any more.
        let _ = done.send(work());
    };
    let failed = |error: io::Error| Failure::io("start", "a thread", &error);
    let thread = thread::Builder::new().spawn(begin).map_err(failed)?;
    loop {
        let left = late.as_ref().map(|(at, _)| at.saturating_duration_since(Instant::now()));
        match result.recv_timeout(left.map_or(TICK, |left| left.min(TICK))) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Err(panic) => resume_unwind(panic),
                Ok(()) => return Err(Failure::content("a thread ended without a result")),
            },
            Err(RecvTimeoutError::Timeout) => {}
        }
        if stop.is_asked() {
            return Err(stop.interrupted("nothing was begun"));
        }
        if left.is_some_and(|left| left.is_zero())
            && let Some((_, failure)) = late
        {
            return Err(failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    /// Work that takes until what it comes with is dropped.
    fn endless() -> (Sender<()>, impl FnOnce() -> Result<(), Failure> + Send + 'static) {
        let (end, until) = channel::<()>();
        (end, move || {
            let _ = until.recv();
            Ok(())
        })
    }

    #[test]
    fn what_the_work_says_is_handed_on() {
        let stop = Stop::default();
        assert_eq!(run_blocking(&stop, None, || Ok(7)).unwrap(), 7);
        let failure =
            run_blocking::<()>(&stop, None, || Err(Failure::content("not so"))).unwrap_err();
        assert_eq!(failure.what(), "not so");
    }

    #[test]
    fn somebody_who_wants_an_end_does_not_wait_for_the_work() {
        let stop = Stop::default();
        stop.ask();
        let (_end, work) = endless();
        let failure = run_blocking(&stop, None, work).unwrap_err();
        assert_eq!(failure.what(), "interrupted: nothing was begun");
    }

    #[test]
    fn work_that_takes_too_long_is_given_up() {
        let (_end, work) = endless();
        let late = Some((Instant::now(), Failure::content("too late")));
        assert_eq!(run_blocking(&Stop::default(), late, work).unwrap_err().what(), "too late");
    }

    #[test]
    #[should_panic(expected = "no such thing")]
    fn a_panic_is_not_swallowed() {
        let _ = run_blocking::<()>(&Stop::default(), None, || panic!("no such thing"));
    }
}
