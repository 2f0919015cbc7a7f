//! `gapless publish`: what can be said, and what makes sense together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use gapless_core::Session;
use gapless_core::wire::mold::MAX_DATAGRAM;
use gapless_mio::Address;

use super::shared::{Journaling, odds};
use crate::address;
use crate::failure::Failure;
use crate::impair::Odds;
use crate::io::place::is_standard;
use crate::values::{self, Probability};

/// The most memory for messages that may be asked for, when nothing is said.
pub(crate) const KEEP: usize = 512 << 20;

pub(super) const EXAMPLES: &str = "\
Examples:
  One line, 20% of its packets lost on purpose:
    gapless publish --input feed.bin --to 127.0.0.1:5000 --requests 127.0.0.1:5002 \\
        --session FEED --loss 20%
  Two multicast lines, 50,000 messages a second, what was lost told as JSON:
    gapless publish --input feed.bin --to 239.1.1.1:5000@eth0 --to 239.1.1.2:5000@eth1 \\
        --requests 10.0.0.1:5002 --session FEED --rate 50000 --json
  A capture, as fast as it was captured:
    gapless publish --input feed.pcap --format pcap --to 127.0.0.1:5000 \\
        --requests 127.0.0.1:5002";

/// `gapless publish`
#[derive(Args, Debug)]
pub(crate) struct Publish {
    /// What to publish; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) input: PathBuf,
    /// What the input is. By default `pcap` for names that end in .pcap, .pcapng or .cap, else
    /// `binaryfile`.
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Of a capture: the flow that went to this address, IP:PORT. By default the one with most
    /// packets.
    #[arg(long, value_name = "ADDR", value_parser = address::captured)]
    pub(crate) flow: Option<SocketAddr>,
    /// A line: where packets go, HOST:PORT, or GROUP:PORT@INTERFACE for multicast. Once for each line.
    /// Of a name with several addresses the first of IPv4 is taken, or else the first.
    #[arg(long, value_name = "ADDR", required = true, value_parser = Address::resolve)]
    pub(crate) to: Vec<Address>,
    /// Where requests are answered, HOST:PORT. Port 0 takes a free one and tells it on standard error.
    #[arg(long, value_name = "ADDR", value_parser = gapless_mio::resolve)]
    pub(crate) requests: SocketAddr,
    /// How many hops packets of the lines may travel: 0 to 255, of which 0 is for groups only and stays on this
    /// machine. By default 1 for groups, and what the system says for other lines.
    #[arg(long, value_name = "HOPS")]
    pub(crate) ttl: Option<u8>,
    /// The receive buffer that requests wait in, in bytes. By default 1048576, as far as the system allows it.
    #[arg(long, value_name = "BYTES", value_parser = values::receive_buffer())]
    pub(crate) receive_buffer: Option<u32>,
    /// The session's name, at most ten bytes. A capture keeps its own sessions.
    #[arg(long, value_name = "NAME", value_parser = values::session)]
    pub(crate) session: Option<Session>,
    /// The number of the first message. A capture keeps its own numbers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) first_sequence: Option<u64>,
    /// How often the input is published, in one session under numbers that go on.
    #[arg(long, value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) repeat: u64,
    /// Messages a second. By default a capture's own timing, and else 500000 in at most 40000
    /// packets.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rate: Option<u64>,
    /// The largest UDP payload, 64 to 65507 bytes. Of a capture only answers are packed anew.
    #[arg(long, value_name = "N", default_value_t = 1472,
          value_parser = clap::value_parser!(u32).range(64..=MAX_DATAGRAM as i64))]
    pub(crate) mtu: u32,
    /// The most memory for messages that may be asked for again, in bytes from 262144 on, whatever the
    /// input: of one without an end, such as standard input, the oldest are forgotten. By default
    /// 536870912, for some 12 million messages of 40 bytes.
    #[arg(long, value_name = "BYTES", default_value_t = KEEP as u64,
          hide_default_value = true, value_parser = clap::value_parser!(u64).range(262_144..=1 << 47))]
    pub(crate) keep: u64,
    /// Bytes a second that one address is answered with, in bursts of 65536; all together have ten times
    /// as much. By default an address of this machine has all that it asks for, any other 3 times what a
    /// line is sent in a second (the most within the last minute or two), and at least 1000000.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) answer_rate: Option<u64>,
    /// The share of packets that each line loses: 0.05 or 5%.
    #[arg(long, value_name = "P", default_value = "0")]
    pub(crate) loss: Probability,
    /// The share of packets that each line delays behind later ones.
    #[arg(long, value_name = "P", default_value = "0")]
    pub(crate) reorder: Probability,
    /// The share of packets that each line sends twice.
    #[arg(long, value_name = "P", default_value = "0")]
    pub(crate) duplicate: Probability,
    /// The share of answers that are lost.
    #[arg(long, value_name = "P", default_value = "0")]
    pub(crate) answer_loss: Probability,
    /// Seeds each line's dice.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How long to stay after the last message, and after each request that comes then and deserves an
    /// answer.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::duration)]
    pub(crate) linger: Duration,
    #[command(flatten)]
    pub(crate) journaling: Journaling,
    /// Print one JSON object for each session instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the table, or with --json an object, every so often as well, as it stands then: with the end
    /// "running". What is due while nobody reads standard output is left out.
    #[arg(long, value_name = "SECONDS", value_parser = values::positive_duration)]
    pub(crate) stats: Option<Duration>,
}

/// The format of an input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// A big-endian u16 length and that many bytes, over and over: what Nasdaq's files use.
    Binaryfile,
    /// MoldUDP64 packets out of a pcap or pcapng capture, in their own sessions and numbers.
    Pcap,
    /// One message a line.
    Lines,
}

impl Publish {
    /// The impairment of the lines.
    pub(crate) fn odds(&self) -> Odds {
        odds(self.loss, self.reorder, self.duplicate)
    }

    /// The format of the input, given or seen by its name.
    pub(crate) fn format(&self) -> Format {
        let by_name = || match self.input.extension().and_then(|extension| extension.to_str()) {
            Some("pcap" | "pcapng" | "cap") => Format::Pcap,
            _ => Format::Binaryfile,
        };
        self.format.unwrap_or_else(by_name)
    }

    /// Checks what clap cannot.
    ///
    /// # Errors
    /// Says what contradicts what, and what to do.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.journaling.check(&[("--input", Some(&self.input))])?;
        if self.requests.ip().is_multicast() {
            return Err(Failure::usage(format!(
                "--requests {}: requests come by unicast, this is a multicast group",
                self.requests
            )));
        }
        if let Some(to) = self.to.iter().find(|to| to.destination().port() == 0) {
            return Err(Failure::usage(format!("--to {to}: nobody can be sent to at port 0"))
                .advise("`gapless receive --line IP:0` tells the port that it took"));
        }
        if let Some(to) = self.to.iter().find(|to| to.destination().ip().is_unspecified()) {
            return Err(Failure::usage(format!("--to {to}: that is no receiver's address"))
                .advise("127.0.0.1 and [::1] are this machine"));
        }
        let capture = self.format() == Format::Pcap;
        if !capture && self.session.is_none() {
            return Err(Failure::usage("a session needs a name").advise("add --session NAME"));
        }
        if !capture && self.flow.is_some() {
            return Err(Failure::usage("--flow chooses a flow of a capture")
                .advise("leave it out, or add --format pcap"));
        }
        if capture && self.first_sequence.is_some() {
            return Err(Failure::usage("--first-sequence: a capture keeps its own numbers")
                .advise("leave it out"));
        }
        if capture && self.repeat > 1 {
            return Err(Failure::usage(
                "--repeat: a capture keeps its own numbers, so that all repeats were duplicates",
            )
            .advise("leave it out"));
        }
        if let (Some(0), Some(line)) =
            (self.ttl, self.to.iter().find(|line| line.interface().is_none()))
        {
            return Err(Failure::usage(format!("--ttl 0: nothing would arrive at {line}"))
                .advise("only groups can stay on this machine; give at least 1"));
        }
        if self.repeat > 1 && is_standard(&self.input) {
            return Err(Failure::usage("--repeat: standard input can be read only once")
                .advise("put it into a file first"));
        }
        Ok(())
    }
}
