//! A simulated exchange: publishes what happens in its market, answers requests, and keeps the book
//! that missed nothing.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use bytes::Bytes;
use gapless_core::publisher::{Command, Config, Event, Publisher};
use gapless_core::retransmitter;
use gapless_core::{Duration, Instant, Machine, Session, transmitter};
use gapless_tests::sim::{Node, Outbox, Random};

use crate::book::Book;

/// How many messages it publishes before its session ends.
pub(crate) const MESSAGES: u32 = 2000;
/// Time from one message to the next.
const INTERVAL: Duration = Duration::from_micros(50);

/// Where it is asked, and where its packets go, in the simulated network.
pub(crate) const EXCHANGE: SocketAddr = address(1);
pub(crate) const LINE: SocketAddr = address(2);

/// An address of the simulated network.
pub(crate) const fn address(port: u16) -> SocketAddr {
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
}

/// A node of the simulated network.
pub(crate) struct Exchange {
    publisher: Publisher,
    /// The book that is right.
    pub(crate) book: Book,
    random: Random,
    published: u32,
    next: Instant,
}

impl Exchange {
    pub(crate) fn new(random: Random) -> Self {
        let session = Session::new(*b"TRADINGDAY");
        // Without delay every message is a packet of its own.
        let transmitter = transmitter::Config {
            flush_delay: Duration::ZERO,
            ..transmitter::Config::new(session)
        };
        let config = Config { transmitter: Some(transmitter), ..Config::new(session) };
        let publisher = Publisher::new(config).expect("every value is in its range");
        Self { publisher, book: Book::default(), random, published: 0, next: Instant::ZERO }
    }

    /// Publishes the next message, or the end.
    fn trade(&mut self, now: Instant) {
        let Self { publisher, book, random, published, next } = self;
        let result = if *published == MESSAGES {
            *next = Instant::MAX;
            publisher.handle(now, Event::Transmit(transmitter::Event::End))
        } else {
            *next = now + INTERVAL;
            *published += 1;
            let message = book.next_message(*published, || random.any());
            book.apply(&message);
            publisher.handle(now, Event::Transmit(transmitter::Event::Message(&message)))
        };
        result.expect("it was drained and has room");
    }

    fn drain(&mut self, out: &mut Outbox) {
        while let Some(command) = self.publisher.poll_command() {
            match command {
                Command::Send { bytes } => out.send(EXCHANGE, LINE, bytes),
                Command::Retransmit(retransmitter::Command::Answer { to, bytes }) => {
                    out.send(EXCHANGE, to, bytes)
                }
                Command::Retransmit(retransmitter::Command::LookUp { .. }) => {
                    unreachable!("no archive is configured")
                }
            }
        }
    }
}

impl Node for Exchange {
    fn arrive(
        &mut self,
        now: Instant,
        _at: SocketAddr,
        from: SocketAddr,
        datagram: &Bytes,
        out: &mut Outbox,
    ) {
        self.publisher
            .handle(now, Event::Retransmit(retransmitter::Event::Request { from, datagram }))
            .expect("it was drained");
        self.drain(out);
    }

    fn wake(&mut self, now: Instant, out: &mut Outbox) {
        if self.next <= now {
            self.trade(now);
        } else {
            self.publisher.handle_timeout(now).expect("it was drained");
        }
        self.drain(out);
    }

    fn next_wake(&self) -> Option<Instant> {
        self.publisher.poll_timeout().into_iter().chain([self.next]).min()
    }
}
