//! A receiver as a task of a `tokio` current-thread runtime: it waits for the line, for answers and
//! for the receiver's timer, all at once.
//!
//! ```console
//! $ cargo run -p gapless-tests --example tokio_loop
//! received 10000 of 10000 messages: 1252 repaired, 0 lost, 0 wrong, session ended
//! ```

mod shared;

use std::error::Error;
use std::process::ExitCode;

use gapless_core::receiver::{Command, Config, LineId, Receiver, ServerId, Source};
use gapless_core::{Instant, Machine};
use shared::{Consumer, Feed, PATIENCE};
use tokio::net::UdpSocket;
use tokio::time;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let line = UdpSocket::bind("127.0.0.1:0").await?;
    let requests = UdpSocket::bind("127.0.0.1:0").await?;
    let feed = Feed::start(line.local_addr()?)?;
    let receiver = Receiver::new(Config {
        lines: vec![LineId(0)],
        servers: vec![(ServerId(0), feed.requests)],
        ..Config::default()
    })?;

    let mut consumer = Consumer::default();
    match time::timeout(PATIENCE, receive(receiver, &line, &requests, &mut consumer)).await {
        Ok(result) => result?,
        Err(_) => eprintln!("not ended after {PATIENCE:?}"),
    }
    Ok(consumer.verdict())
}

async fn receive(
    mut receiver: Receiver,
    line: &UdpSocket,
    requests: &UdpSocket,
    consumer: &mut Consumer,
) -> Result<(), Box<dyn Error>> {
    let origin = time::Instant::now();
    let now = || Instant::from_nanos(origin.elapsed().as_nanos() as u64);
    let mut from_line = vec![0; 65_536];
    let mut answer = vec![0; 65_536];
    while !consumer.has_ended() {
        let timeout = receiver.poll_timeout().unwrap_or(Instant::MAX).since(Instant::ZERO);
        let timer = origin.checked_add(timeout).unwrap_or(origin + PATIENCE);
        let batch = tokio::select! {
            // In this order: the timer runs out only when nothing waits to be read, so that a program
            // that was held up gives up nothing that lies in its sockets.
            biased;
            read = requests.recv_from(&mut answer) => {
                let (len, from) = read?;
                receiver.receive(now(), Source::Peer(from), &answer[..len])
            }
            len = line.recv(&mut from_line) => {
                receiver.receive(now(), Source::Line(LineId(0)), &from_line[..len?])
            }
            () = time::sleep_until(timer) => {
                receiver.handle_timeout(now())?;
                None
            }
        };
        if let Some(batch) = batch {
            consumer.batch(&batch);
        }
        drain(&mut receiver, requests, consumer);
    }
    Ok(())
}

/// Takes the receiver's commands until there are none, as must be after every event.
fn drain(receiver: &mut Receiver, requests: &UdpSocket, consumer: &mut Consumer) {
    while let Some(command) = receiver.poll_command() {
        match command {
            // Messages that had waited for a gap to close.
            Command::Batch(batch) => consumer.batch(&batch),
            Command::Request { to, request, .. } => {
                // Nothing waits here: a request that is not sent is repeated, like one that is lost.
                if let Err(error) = requests.try_send_to(&request.to_bytes(), to) {
                    eprintln!("a request to {to} was not sent: {error}");
                }
            }
            notice => consumer.notice(&notice),
        }
    }
}
