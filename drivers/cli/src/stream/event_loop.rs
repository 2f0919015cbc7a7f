//! The loop of both commands: one poll for the socket and for the threads of pipes.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gapless_quic::{Acceptors, Config, Driver, Endpoint, Tagged};
use mio::{Events, Poll, Token, Waker};

use crate::failure::Failure;
use crate::io::signals::Signals;

const SOCKET: Token = Token(0);
const SIGNALS: Token = Token(Driver::TOKENS);
/// The longest sleep: so often it is looked whether somebody wants an end.
const TICK: Duration = Duration::from_millis(100);
/// How long what is left may take to be sent in the end.
const FLUSH: Duration = Duration::from_secs(1);

/// A driver and its loop.
pub(super) struct EventLoop {
    poll: Poll,
    events: Events,
    driver: Driver,
    /// Wakes the loop, for threads.
    pub(super) signals: Signals,
}

impl EventLoop {
    /// # Errors
    /// The address cannot be had.
    pub(super) fn new(config: Config) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::io("wait for", "sockets", &error);
        let poll = Poll::new().map_err(failed)?;
        let driver = Driver::with_registry(config, poll.registry(), SOCKET)?;
        let waker = Waker::new(poll.registry(), SIGNALS).map_err(failed)?;
        let signals = Signals::new(waker);
        Ok(Self { poll, events: Events::with_capacity(16), driver, signals })
    }

    /// Waits until there is something to do, not for long, and does what is to be done with the socket; who
    /// has something to do besides.
    ///
    /// # Errors
    /// Waiting or reading fails for good.
    pub(super) fn turn<A: Acceptors>(
        &mut self,
        tagged: &mut Tagged<A>,
    ) -> Result<BTreeSet<u64>, Failure> {
        let timeout = self.driver.timeout(tagged).map_or(TICK, |timeout| timeout.min(TICK));
        self.wait(timeout)?;
        for event in &self.events {
            self.driver.ready(event);
        }
        self.driver.turn(Some(Duration::ZERO), tagged)?;
        Ok(self.signals.take())
    }

    /// Waits for the threads only, not for long.
    ///
    /// # Errors
    /// Waiting fails for good.
    pub(super) fn rest(&mut self) -> Result<(), Failure> {
        self.wait(TICK)?;
        self.signals.take();
        Ok(())
    }

    /// Sends what is left to be sent, as far as that is possible soon.
    pub(super) fn flush<A: Acceptors>(&mut self, tagged: &mut Tagged<A>) {
        let deadline = Instant::now() + FLUSH;
        while self.endpoint().has_work() && Instant::now() < deadline {
            if self.turn(tagged).is_err() {
                return;
            }
        }
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), Failure> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                Err(Failure::io("wait for", "sockets", &error))
            }
            _ => Ok(()),
        }
    }

    /// The connections.
    pub(super) const fn endpoint(&mut self) -> &mut Endpoint {
        self.driver.endpoint()
    }

    /// Where the socket is bound.
    pub(super) const fn address(&self) -> SocketAddr {
        self.driver.address()
    }
}
