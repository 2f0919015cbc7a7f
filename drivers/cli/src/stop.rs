//! Requests to end: SIGINT (Ctrl-C), SIGTERM and SIGHUP.
//!
//! The first signal asks the program to come to its end, one beyond those that a command
//! [allows](Stop::allow) ends it at once. A signal that was ignored when the program started, as `nohup`
//! and background jobs of scripts have it, stays ignored.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::thread;

use signal_hook::iterator::Signals;

use crate::failure::{Failure, Outcome};
use crate::signal::Signal;

/// Requests to end, shared by all clones.
#[derive(Clone, Default, Debug)]
pub(crate) struct Stop(Arc<Requests>);

#[derive(Default, Debug)]
struct Requests {
    asked: AtomicBool,
    /// The number of the first signal; 0 before one comes.
    first: AtomicI32,
    /// Signals that came.
    count: AtomicU32,
    /// Signals beyond the first that do not end the program at once.
    further: AtomicU32,
}

impl Stop {
    /// Handles those signals that are not ignored already.
    ///
    /// # Errors
    /// The system does not let signals be handled, or has no thread for it.
    pub(crate) fn on_signals() -> Result<Self, Failure> {
        let failed = |error| Failure::io("handle", "signals", &error);
        let stop = Self::default();
        let ignored = ignored();
        let handled = Signal::ALL.map(Signal::number).into_iter();
        let mut signals =
            Signals::new(handled.filter(|number| !is_in(*number, ignored))).map_err(failed)?;
        let asked = stop.clone();
        let watch = move || {
            signals.forever().for_each(|number| {
                if let Some(signal) = asked.take(number) {
                    std::process::exit(signal.code().into());
                }
            });
        };
        thread::Builder::new().name("signals".into()).spawn(watch).map_err(failed)?;
        Ok(stop)
    }

    /// Takes a signal; returns it if it is one too many.
    fn take(&self, number: i32) -> Option<Signal> {
        let signal = Signal::ALL.into_iter().find(|signal| signal.number() == number)?;
        let Requests { asked, first, count, further } = &*self.0;
        // A thread that sees the request finds the signal too.
        let _ = first.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
        let before = count.fetch_add(1, Ordering::Relaxed);
        asked.store(true, Ordering::Release);
        (before > further.load(Ordering::Relaxed)).then_some(signal)
    }

    /// Lets a command be asked `count` times; by default once. The signal behind them ends the program
    /// at once.
    pub(crate) fn allow(&self, count: u32) {
        self.0.further.store(count.saturating_sub(1), Ordering::Relaxed);
    }

    /// Asks for an end, from within the program.
    pub(crate) fn ask(&self) {
        self.0.asked.store(true, Ordering::Release);
    }

    /// Whether an end was asked for, by a signal or from within.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.asked.load(Ordering::Acquire)
    }

    /// How many signals came.
    pub(crate) fn count(&self) -> u32 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// The first signal; `None` if an end was asked for from within, or not at all.
    pub(crate) fn signal(&self) -> Option<Signal> {
        let first = self.0.first.load(Ordering::Relaxed);
        Signal::ALL.into_iter().find(|signal| signal.number() == first)
    }

    /// The end of a command that was asked to end before its work was done; `what` says how far it came.
    pub(crate) fn interrupted(&self, what: &str) -> Failure {
        Failure::new(self.outcome(), format!("interrupted: {what}"))
    }

    /// The outcome of a program that was asked to end before its work was done.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome::Interrupted(self.signal().unwrap_or(Signal::Interrupt))
    }
}

/// The signals that are ignored: bit n - 1 for signal n. None where the system does not say.
fn ignored() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

const fn is_in(number: i32, mask: u64) -> bool {
    mask >> (number - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    #[test]
    fn the_first_signal_names_the_end_and_the_second_one_is_too_many() {
        let stop = Stop::default();
        assert_eq!((stop.is_asked(), stop.signal(), stop.count()), (false, None, 0));
        assert_eq!(stop.take(SIGTERM), None);
        assert_eq!((stop.is_asked(), stop.signal()), (true, Some(Signal::Terminate)));
        assert_eq!(stop.take(SIGINT), Some(Signal::Interrupt));
        assert_eq!((stop.signal(), stop.count()), (Some(Signal::Terminate), 2));
        assert_eq!(stop.outcome().code(), 143);
    }

    #[test]
    fn a_command_may_be_asked_as_often_as_it_allows() {
        let stop = Stop::default();
        stop.allow(2);
        assert_eq!([0; 3].map(|_| stop.take(SIGINT)), [None, None, Some(Signal::Interrupt)]);
    }

    #[test]
    fn an_end_that_is_asked_for_from_within_is_no_signal() {
        let stop = Stop::default();
        stop.ask();
        assert_eq!((stop.is_asked(), stop.signal(), stop.count()), (true, None, 0));
    }

    #[test]
    fn signals_are_distinguished_in_a_mask() {
        let background = 0b110;
        assert_eq!(
            [SIGHUP, SIGINT, SIGTERM].map(|number| is_in(number, background)),
            [false, true, false]
        );
    }
}
