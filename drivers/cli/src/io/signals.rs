//! How threads wake the event loop.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use mio::Waker;

/// Threads that have something for the event loop: they wake it.
#[derive(Clone)]
pub(crate) struct Signals(Arc<(Waker, Mutex<BTreeSet<u64>>)>);

impl Signals {
    pub(crate) fn new(waker: Waker) -> Self {
        Self(Arc::new((waker, Mutex::default())))
    }

    /// Reports to the loop that something happened to `key`.
    pub(crate) fn raise(&self, key: u64) {
        let (waker, raised) = &*self.0;
        let mut raised = raised.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = raised.is_empty();
        if raised.insert(key) && is_first {
            // The loop looks by itself some times a second.
            let _ = waker.wake();
        }
    }

    /// Everybody to whom something happened, once.
    pub(crate) fn take(&self) -> BTreeSet<u64> {
        let raised = &self.0.1;
        std::mem::take(&mut raised.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    pub(crate) fn signals() -> (mio::Poll, Signals) {
        let poll = mio::Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), mio::Token(0)).unwrap();
        (poll, Signals::new(waker))
    }

    /// Waits until the loop hears of `key`.
    pub(crate) fn wait(poll: &mut mio::Poll, signals: &Signals, key: u64) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !signals.take().contains(&key) {
            assert!(Instant::now() < deadline, "nothing was reported of {key}");
            poll.poll(&mut mio::Events::with_capacity(4), Some(Duration::from_millis(100)))
                .unwrap();
        }
    }
}
