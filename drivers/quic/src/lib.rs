//! QUIC for the machines of [`gapless_core`]: quinn-proto's endpoint and connections on mio sockets, without
//! an async runtime and without a thread of its own.

#![deny(unsafe_code)]

mod driver;
pub mod endpoint;
mod error;
mod socket;
pub mod tagged;
pub mod tls;

pub use driver::{Config, Driver, Turn};
pub use endpoint::{
    ConnectionId, Direction, Endpoint, Event, Handler, Limits, Peer, Reason, Refusal, StreamId,
    Transport,
};
pub use error::Error;
pub use socket::SocketStats;
pub use tagged::{Acceptors, Tagged};
