//! A client that sends a stream to whoever took its tag, and reads the answer.
//!
//! The server that it talks to is in the same program, on a thread, so that there is something to see:
//! `cargo run -p gapless-quic --example client`

use std::error::Error;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Instant, SystemTime};

use gapless_core::demux::{AcceptorId, Config as DemuxConfig, Direction, Pattern, Registrant};
use gapless_quic::tagged::{Notice, Opened, PROTOCOL, Streams};
use gapless_quic::tls::{self, ClientAuth, Fingerprint, Identity, Keys, Trust};
use gapless_quic::{Acceptors, Bytes, ClientConfig, Config, Driver, Event, StreamId, Tagged};

const ANYBODY: AcceptorId = AcceptorId(1);
const TAG: &[u8] = b"shout";

fn main() -> Result<(), Box<dyn Error>> {
    let (tell, told) = mpsc::channel();
    // The server runs until the program ends.
    thread::spawn(move || serve(&tell).expect("the server runs"));
    let (server, fingerprint) = told.recv()?;
    println!("the server is {fingerprint} at {server}");

    // The client believes who has this certificate, whatever name it is called by.
    let crypto = tls::client_config(&Trust::Pinned(fingerprint), &[PROTOCOL], None)?;
    let endpoint = tls::endpoint_config(&Keys::random()?, None);
    let mut driver = Driver::new(Config::new("127.0.0.1:0".parse()?, endpoint))?;
    let mut tagged = Tagged::new(DemuxConfig::default(), Instant::now(), Client::default())?;
    driver.endpoint().connect(Instant::now(), ClientConfig::new(crypto), server, "localhost")?;
    while tagged.acceptors().end.is_none() {
        driver.turn(None, &mut tagged)?;
    }
    tagged.acceptors().end.take().unwrap_or(Ok(()))?;
    println!("answered: {}", tagged.acceptors().answer.escape_ascii());
    Ok(())
}

/// Sends one line, and keeps what comes back.
#[derive(Default)]
struct Client {
    left: Bytes,
    answer: Vec<u8>,
    end: Option<Result<(), String>>,
}

impl Client {
    /// Writes as much as the peer takes now; `Writable` says when there is room for more.
    fn write_more(&mut self, streams: &mut Streams<'_>, stream: StreamId) {
        // That the stream or the connection is over is an event of its own.
        if streams.endpoint.write(stream, &mut self.left).is_ok() && self.left.is_empty() {
            let _ = streams.endpoint.finish(stream);
        }
    }
}

impl Acceptors for Client {
    /// A client takes no streams.
    fn opened(&mut self, _: &mut Streams<'_>, _: Opened) -> bool {
        false
    }

    fn notice(&mut self, streams: &mut Streams<'_>, notice: Notice) {
        match notice {
            Notice::Event(Event::Connected { connection }) => {
                let (way, by) = (Direction::Bidirectional, Registrant::Application);
                match streams.open(connection, way, ANYBODY, TAG, by) {
                    Ok(stream) => {
                        self.left = Bytes::from_static(b"hello over there");
                        self.write_more(streams, stream);
                    }
                    Err(error) => self.end = Some(Err(error.to_string())),
                }
            }
            Notice::Event(Event::Writable { stream, .. }) => self.write_more(streams, stream),
            // Nobody took the tag, or whoever did wants no more.
            Notice::Event(Event::Stopped { code, .. }) => {
                self.end = Some(Err(format!("refused: {code:#x}")));
            }
            Notice::Event(Event::Disconnected { reason, .. }) => {
                self.end = Some(Err(reason.to_string()));
            }
            Notice::Data { bytes, fin, .. } => {
                self.answer.extend_from_slice(&bytes);
                if fin {
                    self.end = Some(Ok(()));
                }
            }
            _ => {}
        }
    }
}

/// Answers every stream of the tag, in capitals; tells where it listens, and by which certificate it is known.
fn serve(tell: &mpsc::Sender<(SocketAddr, Fingerprint)>) -> Result<(), Box<dyn Error>> {
    let identity = Identity::self_signed(&["localhost"], SystemTime::now())?;
    let crypto = tls::server_config(&identity, &[PROTOCOL], &ClientAuth::None)?;
    let endpoint = tls::endpoint_config(&Keys::random()?, Some(crypto));
    let mut driver = Driver::new(Config::new("127.0.0.1:0".parse()?, endpoint))?;
    let mut tagged = Tagged::new(DemuxConfig::default(), Instant::now(), Shout)?;
    tagged.with(driver.endpoint(), Instant::now(), |streams, _| {
        streams.register(ANYBODY, Pattern::Exact(TAG), Registrant::Application)
    })?;
    tell.send((driver.address(), identity.fingerprint()))?;
    loop {
        driver.turn(None, &mut tagged)?;
    }
}

struct Shout;

impl Acceptors for Shout {
    fn opened(&mut self, _: &mut Streams<'_>, _: Opened) -> bool {
        true
    }

    fn notice(&mut self, streams: &mut Streams<'_>, notice: Notice) {
        if let Notice::Data { stream, bytes, fin, .. } = notice {
            // Few bytes fit at once; a server of more keeps what is left for `Writable`.
            let mut louder = Bytes::from(bytes.to_ascii_uppercase());
            let _ = streams.endpoint.write(stream, &mut louder);
            if fin {
                let _ = streams.endpoint.finish(stream);
            }
        }
    }
}
