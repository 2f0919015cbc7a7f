//! UDP sockets around the machines of [`gapless_core`], on mio: an adaptor between datagrams,
//! commands, timers and the clock. It decides nothing about the protocol.
//!
//! * [`ReceiverDriver`] reads the lines of a feed and the answers to its requests, and delivers to a
//!   [`Sink`].
//! * [`PublisherDriver`] sends a feed on its lines and answers requests.
//! * [`JournalFile`] is where both leave a journal, if they are to (`with_machine`).
//! * [`Address`] says where a line lives: `127.0.0.1:5000`, `239.1.1.1:5000@eth0`. It takes names of hosts
//!   only by [`Address::resolve`], since looking them up takes time.
//!
//! Both drivers have a `turn(timeout)` for people with a loop of their own, a `run` for those
//! without, and can be registered with somebody else's mio loop (`with_registry`).
//!
//! ```no_run
//! use gapless_core::Instant;
//! use gapless_core::receiver::{Batch, Command};
//! use gapless_mio::{ReceiverConfig, ReceiverDriver, Sink};
//!
//! struct Print;
//!
//! impl Sink for Print {
//!     fn batch(&mut self, _now: Instant, batch: Batch<&[u8]>) {
//!         for (number, message) in batch.messages() {
//!             println!("{number}: {} bytes", message.len());
//!         }
//!     }
//!
//!     fn notice(&mut self, now: Instant, notice: Command) {
//!         eprintln!("{now} {notice:?}");
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut driver = ReceiverDriver::new(ReceiverConfig {
//!     lines: vec!["239.1.1.1:5000@eth0".parse()?, "239.1.2.1:5000@eth1".parse()?],
//!     servers: vec!["127.0.0.9:6000".parse()?],
//!     ..ReceiverConfig::default()
//! })?;
//! loop {
//!     driver.turn(None, &mut Print)?;
//! }
//! # }
//! ```
//!
//! # Interfaces that go away
//!
//! Groups are joined, and sent, on interfaces. One that is deleted takes its groups with it, and one that
//! comes back in its place has another index and knows nothing of them. So both drivers look once a second
//! whether the interfaces of their groups are there, and attach to those that came back;
//! `next_interface_event` says so to whoever asks. An interface that is missing at the start is an error.
//!
//! # Reading and writing
//!
//! On Linux one system call (`recvmmsg`, `sendmmsg`) moves up to 64 datagrams, into and out of buffers
//! that are allocated once. quinn-udp does not serve here: its reading switches GRO on, which glues
//! datagrams together under one arrival time, and it reports neither the kernel's arrival times nor
//! its drops; its sending batches only datagrams of one size to one place, which packets of a feed
//! are not, and it forbids fragmentation, which large packets need. So the few calls are made here,
//! in one module, the only one with `unsafe`.
//!
//! A datagram is read into a slot as large as any datagram can be, so none is cut; slots are
//! virtual memory, and one page of each is touched by packets of a usual MTU. The machine takes
//! datagrams where they lie, and what it holds back it copies, so slots are free again at once.

#![deny(unsafe_code)]

mod address;
mod attachment;
mod clock;
mod error;
mod exclusive;
mod inbound;
mod journal;
mod outbox;
mod publisher;
mod readiness;
mod receiver;
mod socket;
mod stats;
mod sys;
mod turn;

pub use address::{Address, AddressError, Interface, resolve};
pub use attachment::InterfaceEvent;
pub use clock::{Arrivals, Clock};
pub use error::Error;
pub use exclusive::ExclusiveFile;
pub use journal::{JournalError, JournalFile};
pub use publisher::{PassThrough, PublisherConfig, PublisherDriver, SentLine, Tap};
pub use receiver::{LineReport, ReceiverConfig, ReceiverDriver, Sink};
pub use stats::{ReadStats, SendFailure, SendStats};
pub use turn::Turn;
