//! Which sockets have something: a mio poll of the driver's own, or the registry of somebody else's
//! loop. mio reports edges, so readiness is remembered until a read finds less than it asked for.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::{Events, Poll, Registry, Token};

use crate::socket::Socket;
use crate::sys;

/// Sockets are registered with tokens that count from `first`.
pub(crate) struct Readiness {
    own: Option<(Poll, Events)>,
    registry: Registry,
    first: usize,
}

impl Readiness {
    /// Somebody else's loop, with tokens from the one given, or else a poll of the driver's own.
    pub(crate) fn new(shared: Option<(&Registry, Token)>) -> io::Result<Self> {
        if let Some((registry, Token(first))) = shared {
            return Ok(Self { own: None, registry: registry.try_clone()?, first });
        }
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        Ok(Self { own: Some((poll, Events::with_capacity(64))), registry, first: 0 })
    }

    pub(crate) fn register(&self, socket: &Socket, index: usize) -> io::Result<()> {
        socket.register(&self.registry, Token(self.first.saturating_add(index)))
    }

    pub(crate) fn deregister(&self, socket: &Socket) -> io::Result<()> {
        socket.deregister(&self.registry)
    }

    /// The index that a token was made from; `None` for a token below the first.
    pub(crate) fn index(&self, token: Token) -> Option<usize> {
        token.0.checked_sub(self.first)
    }

    /// Waits, at most `timeout`, and yields the indices that are ready. Never waits in somebody
    /// else's loop.
    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        mut ready: impl FnMut(usize),
    ) -> io::Result<()> {
        let Some((poll, events)) = &mut self.own else { return Ok(()) };
        // mio rounds up to milliseconds, which is as long as many a repair takes.
        let waited = match timeout {
            Some(time) if !time.is_zero() => sys::wait_readable(poll.as_raw_fd(), time).map(|_| ()),
            _ => Ok(()),
        };
        let timeout = timeout.map(|_| Duration::ZERO);
        match waited.and_then(|()| poll.poll(events, timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &*events {
            ready(event.token().0);
        }
        Ok(())
    }
}

/// The shorter of two timeouts, where `None` is for ever.
pub(crate) fn shorter(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
