//! From a feed to a track: what a receiver delivers becomes frames, the same ones on every relay of the feed.
//!
//! One packet is lost on the way and nobody can be asked: its place is there all the same, and says so.
//!
//! `cargo run -p gapless-core --example grouping`

use core::error::Error;

use gapless_core::cache::{self, Cache, Next, Start};
use gapless_core::grouping::{self, Grouping, Step};
use gapless_core::receiver::{self, Command, Datagram, Event, LineId, Receiver, Source};
use gapless_core::transmitter::{self, Transmitter};
use gapless_core::{Instant, Machine, Session};

const LINE: LineId = LineId(0);

fn main() -> Result<(), Box<dyn Error>> {
    let session = Session::from_name(b"MONDAY").ok_or("a name of up to ten bytes")?;
    let mut relay = Relay::new(session)?;
    let mut transmitter = Transmitter::new(transmitter::Config::new(session))?;
    for number in 1..=20 {
        let now = Instant::from_millis(number);
        let message = format!("message {number}");
        transmitter.handle(now, transmitter::Event::Message(message.as_bytes()))?;
        while transmitter.poll_command().is_some() {}
        transmitter.handle(now, transmitter::Event::Flush)?;
        while let Some(transmitter::Command::Packet { bytes, .. }) = transmitter.poll_command() {
            let lost = number == 11;
            if !lost {
                let (source, pinned) = (Source::Line(LINE), bytes.len());
                let datagram = Datagram { source, bytes, pinned, arrival: now };
                relay.receiver.handle(now, Event::Datagram(datagram))?;
                relay.publish(now)?;
            }
        }
    }
    // Nobody can be asked for message 11: after 20 ms it is lost.
    let now = Instant::from_millis(100);
    relay.receiver.handle_timeout(now)?;
    relay.publish(now)?;

    let track = relay.grouping.track(session).ok_or("its track")?;
    let reader = relay.cache.open_reader(track, Start::Oldest)?;
    loop {
        match relay.cache.next_frame(reader)? {
            Next::Held(frame) => {
                let (group, index) = (frame.group, frame.index);
                let sequence = relay.grouping.sequence(group, index);
                println!("group {group} frame {index}: {}", frame.bytes.escape_ascii());
                assert!(sequence.is_some_and(|sequence| sequence <= 20));
            }
            Next::Missing { group, first, count, why } => {
                println!("group {group} frame {first}: {count} {why}");
            }
            Next::GroupEnd { group, frames } => println!("group {group} had {frames} frames"),
            Next::Pending => break,
            other => println!("{other:?}"),
        }
    }
    Ok(())
}

/// A receiver, and a cache that has what it delivers.
struct Relay {
    receiver: Receiver,
    grouping: Grouping,
    cache: Cache,
}

impl Relay {
    fn new(session: Session) -> Result<Self, Box<dyn Error>> {
        let config =
            receiver::Config { session: Some(session), lines: vec![LINE], ..Default::default() };
        // Groups of eight messages, so that there are some to see; 512 is the default.
        let groups = grouping::Config { group_size: 8, ..grouping::Config::new("itch") };
        let mut relay = Self {
            receiver: Receiver::new(config)?,
            grouping: Grouping::new(groups)?,
            cache: Cache::new(cache::Config::new(1 << 20))?,
        };
        relay.publish(Instant::ZERO)?;
        Ok(relay)
    }

    /// Drains the receiver into the cache.
    fn publish(&mut self, now: Instant) -> Result<(), Box<dyn Error>> {
        while let Some(command) = self.receiver.poll_command() {
            if let Command::Lost { first, last, reason, .. } = &command {
                println!("lost: {first} to {last}, {reason}");
            }
            let mut steps = self.grouping.command(command)?;
            while let Some(step) = self.grouping.step(now, &mut self.cache, &mut steps) {
                if let Step::Opened { first, .. } = step {
                    println!("its track begins with message {first}");
                }
            }
            // Nobody waits for the cache here: its commands would wake readers.
            while self.cache.poll_command().is_some() {}
        }
        Ok(())
    }
}
