//! The handler of the events of an [`Endpoint`].

use std::time::Instant;

use crate::endpoint::{Endpoint, Event};

/// Takes what happens, and answers it by the endpoint's methods.
pub trait Handler {
    /// Something happened; `now` is the time to give to methods that want one.
    fn event(&mut self, endpoint: &mut Endpoint, now: Instant, event: Event);

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called, if nothing happens before. Never,
    /// unless a handler has timers of its own.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Lets time pass.
    fn handle_timeout(&mut self, _endpoint: &mut Endpoint, _now: Instant) {}
}
