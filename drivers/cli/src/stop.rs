//! Ctrl-C: the first asks the program to come to its end, the second ends it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Failure;

/// What a shell makes of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Whether somebody wants an end.
#[derive(Clone, Default, Debug)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asked for by Ctrl-C, or by SIGTERM or SIGHUP.
    ///
    /// # Errors
    /// The system does not let signals be handled.
    pub(crate) fn on_ctrl_c() -> Result<Self, Failure> {
        let stop = Self::default();
        let asked = stop.clone();
        ctrlc::set_handler(move || {
            if asked.0.swap(true, Ordering::Relaxed) {
                std::process::exit(INTERRUPTED);
            }
        })
        .map_err(|error| Failure::content(format!("cannot handle Ctrl-C: {error}")))?;
        Ok(stop)
    }

    /// Asks for an end.
    pub(crate) fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether an end was asked for.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
