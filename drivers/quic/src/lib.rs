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
//! certificate. What of other crates is in the interface is exported here: [`Bytes`], what connections are
//! made with and end by ([`ClientConfig`], [`ConnectError`], [`ConnectionError`]), and all of
//! [`quinn_proto`]. What connections may use is [`Transport`], what an endpoint may is [`Limits`]:
//! `config.endpoint.transport` and `config.endpoint.limits` of a [`Config`].
//!
//! # A server
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
//! # A client
//!
//! It believes the server by the fingerprint that the one above prints, sends it one stream, and waits
//! until all of it has arrived.
//!
//! ```no_run
//! use std::time::Instant;
//!
//! use gapless_core::demux::{AcceptorId, Config as DemuxConfig, Direction, Registrant};
//! use gapless_quic::tagged::{Notice, Opened, PROTOCOL, Streams};
//! use gapless_quic::tls::{self, Keys, Trust};
//! use gapless_quic::{Acceptors, Bytes, ClientConfig, Config, Driver, Event, StreamId, Tagged};
//!
//! struct Send {
//!     left: Bytes,
//!     end: Option<Result<(), String>>,
//! }
//!
//! impl Send {
//!     fn write_more(&mut self, streams: &mut Streams<'_>, stream: StreamId) {
//!         // That the stream or the connection is over is an event of its own.
//!         if streams.endpoint.write(stream, &mut self.left).is_ok() && self.left.is_empty() {
//!             let _ = streams.endpoint.finish(stream);
//!         }
//!     }
//! }
//!
//! impl Acceptors for Send {
//!     fn opened(&mut self, _: &mut Streams<'_>, _: Opened) -> bool {
//!         false
//!     }
//!
//!     fn notice(&mut self, streams: &mut Streams<'_>, notice: Notice) {
//!         let Notice::Event(event) = notice else { return };
//!         match event {
//!             Event::Connected { connection } => {
//!                 let (way, by) = (Direction::Unidirectional, Registrant::Application);
//!                 match streams.open(connection, way, AcceptorId(1), b"logs", by) {
//!                     Ok(stream) => self.write_more(streams, stream),
//!                     Err(error) => self.end = Some(Err(error.to_string())),
//!                 }
//!             }
//!             Event::Writable { stream, .. } => self.write_more(streams, stream),
//!             Event::Finished { .. } => self.end = Some(Ok(())),
//!             Event::Stopped { code, .. } => self.end = Some(Err(format!("refused: {code:#x}"))),
//!             // The connection goes on trying until its handshake takes too long; whoever starts this
//!             // by hand would rather know now.
//!             Event::SendFailed { os_error, .. } => {
//!                 let error = std::io::Error::from_raw_os_error(os_error);
//!                 self.end = Some(Err(error.to_string()));
//!             }
//!             Event::Disconnected { reason, .. } => self.end = Some(Err(reason.to_string())),
//!             _ => {}
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pin = std::env::args().nth(1).ok_or("no fingerprint")?.parse()?;
//! let crypto = tls::client_config(&Trust::Pinned(pin), &[PROTOCOL], None)?;
//! let endpoint = tls::endpoint_config(&Keys::random()?, None);
//! let mut driver = Driver::new(Config::new("[::]:0".parse()?, endpoint))?;
//! let send = Send { left: Bytes::from_static(b"one\ntwo\n"), end: None };
//! let mut tagged = Tagged::new(DemuxConfig::default(), Instant::now(), send)?;
//! let (config, server) = (ClientConfig::new(crypto), "[::1]:4433".parse()?);
//! driver.endpoint().connect(Instant::now(), config, server, "localhost")?;
//! while tagged.acceptors().end.is_none() {
//!     driver.turn(None, &mut tagged)?;
//! }
//! tagged.acceptors().end.take().unwrap_or(Ok(()))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Bytes
//!
//! Data is reported in chunks as they lie in packets, which are copied once out of the socket's buffer, so
//! that a chunk keeps no more alive than its packet; quinn-proto copies what came out of order in many
//! small pieces together, into buffers of many chunks, of which one keeps all alive: so chunks of less than 1
//! KiB are copied once more before they are given to the program. What is written is kept by reference until
//! it is acknowledged. A connection's send buffer follows about twice its congestion window, within bounds
//! ([`Transport`]): [`Endpoint::write`] takes what fits, and [`Event::Writable`] comes back as credit, to the
//! streams in turn.
//!
//! # Limits
//!
//! Connections are bounded in all and by network, handshakes by turn and in number; beyond a number of them
//! addresses have to be validated (Retry). See [`Limits`]. 0-RTT is off.
//!
//! # Memory
//!
//! All connections of an endpoint share [`Limits::max_memory`]. What a peer is promised counts, at what it
//! can make this side hold if it wants to: by pieces out of order, and by packets with little in them. That
//! is no hard bound: a peer that is made for it can let quinn-proto keep several times as much as it is
//! charged with, of streams whose beginning it never sends. Where that matters, allow fewer connections.
//!
//! Windows and numbers of streams are small at first, and double as they are used, as long as a quarter of
//! the memory is left; then nothing grows, and when that quarter is promised, too, clients are refused
//! ([`endpoint::Stats`] counts both). The connections from one address have a quarter of it together
//! ([`Limits::max_memory_per_address`]), and half of it is for addresses that were validated. What was
//! promised counts until the connection is forgotten: a window does not shrink when it is used less, and only
//! a send buffer gives back what it needs no more. What is free goes to connections in the order of their
//! numbers, each as far as there is room: one that wants much may wait as long as others that want little
//! take it first.

#![deny(unsafe_code)]

mod driver;
pub mod endpoint;
mod error;
mod error_queue;
mod handler;
mod outgoing;
mod socket;
pub mod tagged;
pub mod tls;

pub use bytes::Bytes;
pub use driver::{Config, Driver, Turn};
pub use endpoint::{
    ConnectionId, Direction, Endpoint, Event, Limits, Peer, Reason, Refusal, StreamId, Transport,
};
pub use error::Error;
pub use handler::Handler;
pub use quinn_proto;
pub use quinn_proto::{ClientConfig, ConnectError, ConnectionError};
pub use socket::SocketStats;
pub use tagged::{Acceptors, Tagged};
