//! QUIC for the machines of [`gapless_core`]: quinn-proto's endpoint and connections over one mio socket,
//! without an async runtime and without a thread of its own.
//!
//! * [`Endpoint`] makes one sans-IO machine of quinn-proto's endpoint and connections: datagrams and time
//!   in, [`Event`]s and datagrams out. It runs on sockets, and on a simulated network in virtual time.
//! * [`Driver`] is the socket and the clock around it, with a [`turn`](Driver::turn) for people with a loop
//!   of their own, a [`run`](Driver::run) for those without, and
//!   [`with_registry`](Driver::with_registry) to share somebody's mio poll.
//! * [`Tagged`] puts the core's demultiplexer between both: streams find who registered for the tag at
//!   their head ([`Acceptors`]).
//! * [`tls`] is who we are and whom we believe.
//!
//! Clients and servers are one type: an endpoint connects, and is connected to if it was given a
//! certificate.
//!
//! ```no_run
//! use std::time::{Instant, SystemTime};
//!
//! use gapless_core::demux::{AcceptorId, Config as DemuxConfig, Pattern, Registrant};
//! use gapless_quic::tagged::{Notice, Opened, PROTOCOL, Streams};
//! use gapless_quic::tls::{self, ClientAuth, Identity};
//! use gapless_quic::{Acceptors, Config, Driver, Tagged};
//!
//! struct Print;
//!
//! impl Acceptors for Print {
//!     fn opened(&mut self, streams: &mut Streams<'_>, opened: Opened) -> bool {
//!         let peer = streams.endpoint.peer(opened.stream.connection);
//!         println!("{} of {:?}", opened.stream, peer.map(|peer| peer.address));
//!         true
//!     }
//!
//!     fn notice(&mut self, _: &mut Streams<'_>, notice: Notice) {
//!         if let Notice::Data { stream, bytes, fin, .. } = notice {
//!             println!("{stream}: {} bytes{}", bytes.len(), if fin { ", the last" } else { "" });
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Identity::kept_in("identity".as_ref(), &["localhost"], SystemTime::now())?;
//! println!("{}", identity.fingerprint());
//! let crypto = tls::server_config(&identity, &[PROTOCOL], &ClientAuth::None)?;
//! let endpoint = tls::endpoint_config(&identity.keys("[::]:4433"), Some(crypto));
//! let mut driver = Driver::new(Config::new("[::]:4433".parse()?, endpoint))?;
//! let mut tagged = Tagged::new(DemuxConfig::default(), Instant::now(), Print)?;
//! tagged.with(driver.endpoint(), Instant::now(), |streams, _| {
//!     streams.register(AcceptorId(1), Pattern::Exact(b"logs"), Registrant::Application)
//! })?;
//! loop {
//!     driver.turn(None, &mut tagged)?;
//! }
//! # }
//! ```
//!
//! # Bytes
//!
//! What comes is told in chunks as they lie in packets, which are copied once out of the socket's buffer, so
//! that a chunk keeps no more alive than its packet; quinn-proto copies what came out of order in many
//! small pieces together, into what a stream's window holds at most. What is written is kept by reference until it is
//! acknowledged. A connection's send buffer follows about twice its congestion window, within bounds
//! ([`Transport`]): [`Endpoint::write`] takes what fits, and [`Event::Writable`] comes back as credit, to
//! the streams in turn.
//!
//! # Limits
//!
//! Connections are bounded in all and by network, handshakes by turn and in number; beyond a number of them
//! addresses have to be validated (Retry). See [`Limits`]. 0-RTT is off.

#![deny(unsafe_code)]

mod driver;
pub mod endpoint;
mod error;
mod outgoing;
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
