//! Errors of a driver's set-up.

use std::io;
use std::net::SocketAddr;

/// A driver failed for good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A socket cannot be had at this address.
    #[error("cannot {action} on {address}: {source}")]
    Socket {
        /// The step that failed.
        action: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// Waiting for sockets failed.
    #[error("cannot wait for sockets: {0}")]
    Poll(#[source] io::Error),
    /// Reading failed for good.
    #[error("cannot read: {0}")]
    Read(#[source] io::Error),
}
