//! A receiver in a plain blocking loop over one `std::net::UdpSocket`, which the feed comes in on and
//! requests leave from. The read timeout is the time until the receiver wants to be called.
//!
//! ```console
//! $ cargo run -p gapless-tests --example blocking_loop
//! received 10000 of 10000 messages: 1252 repaired, 0 lost, 0 wrong, session ended
//! ```

mod shared;

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant as SystemTime};

use gapless_core::receiver::{Command, Config, LineId, Receiver, ServerId, Source};
use gapless_core::{Instant, Machine};
use shared::{Consumer, Feed, PATIENCE};

/// The longest that a read waits, so that the loop looks whether to go on.
const TICK: Duration = Duration::from_millis(100);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let feed = Feed::start(socket.local_addr()?)?;
    let mut receiver = Receiver::new(Config {
        lines: vec![LineId(0)],
        servers: vec![(ServerId(0), feed.requests)],
        ..Config::default()
    })?;

    // The core reads no clock: its time counts from an origin of the driver's choice.
    let origin = SystemTime::now();
    let now = || Instant::from_nanos(origin.elapsed().as_nanos() as u64);
    let mut consumer = Consumer::default();
    let mut datagram = vec![0; 65_536];
    while !consumer.has_ended() && origin.elapsed() < PATIENCE {
        let wait = receiver.poll_timeout().map_or(TICK, |at| at.since(now()));
        match read(&socket, wait, &mut datagram)? {
            Some((len, from)) => {
                // Answers come to this socket too: the sender's address tells them from the line.
                let source = Source::LineFrom(LineId(0), from);
                // The next messages in order come back at once, where they lie: nothing is copied.
                if let Some(batch) = receiver.receive(now(), source, &datagram[..len]) {
                    consumer.batch(&batch);
                }
            }
            // Time passes for the receiver only when nothing waits to be read: a program that was
            // held up must not give up what lies in its socket. Calling too early does no harm.
            None => receiver.handle_timeout(now())?,
        }
        drain(&mut receiver, &socket, &mut consumer);
    }
    Ok(consumer.verdict())
}

/// The next datagram, if one comes in time.
fn read(
    socket: &UdpSocket,
    wait: Duration,
    datagram: &mut [u8],
) -> io::Result<Option<(usize, SocketAddr)>> {
    // A timeout of zero would wait for ever.
    socket.set_read_timeout(Some(wait.clamp(Duration::from_micros(1), TICK)))?;
    match socket.recv_from(datagram) {
        Ok(read) => Ok(Some(read)),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(None),
            // Nobody listens where a request went. The receiver asks again, or elsewhere.
            ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(error),
        },
    }
}

/// Takes the receiver's commands until there are none, as must be after every event.
fn drain(receiver: &mut Receiver, socket: &UdpSocket, consumer: &mut Consumer) {
    while let Some(command) = receiver.poll_command() {
        match command {
            // Messages that had waited for a gap to close.
            Command::Batch(batch) => consumer.batch(&batch),
            Command::Request { to, request, .. } => {
                // A request that is not sent is like one that is lost on the way: it is repeated.
                if let Err(error) = socket.send_to(&request.to_bytes(), to) {
                    eprintln!("a request to {to} was not sent: {error}");
                }
            }
            notice => consumer.notice(&notice),
        }
    }
}
