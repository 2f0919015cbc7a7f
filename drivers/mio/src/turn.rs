//! One pass of a driver through its sockets and its machine.

use std::time::Duration;

/// The longest sleep of a `run` before it asks again whether to stop.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// The result of a turn.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Turn {
    /// Datagrams that were read.
    pub datagrams: usize,
    /// Whether there is more to read: the next turn will not wait.
    pub more: bool,
}
