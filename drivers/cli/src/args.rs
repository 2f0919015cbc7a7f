//! The command line: what can be said, and what makes sense together.

mod stream;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use gapless_core::Session;
use gapless_core::wire::mold::MAX_DATAGRAM;
use gapless_mio::Address;

use crate::failure::Failure;
use crate::impair::Odds;
use crate::input::is_standard;
use crate::values::{self, Begin, Probability};

pub(crate) use stream::{Listen, Send, Stream};

const EXIT_CODES: &str = "\
Exit codes:
  0  complete: nothing is missing
  1  something was lost; standard error names the ranges
  2  the command line makes no sense
  3  timed out (--timeout, --max-time)
  4  a file or a socket failed";

const ALL_EXIT_CODES: &str = "\
Exit codes:
  0  complete: nothing is missing
  1  something was lost; or a replay differs from what was recorded
  2  the command line makes no sense
  3  timed out
  4  a file or a socket failed; or a journal is damaged, or empty
  5 to 9  of streams: see `gapless stream --help`";

const EXAMPLES: &str = "\
Examples:
  gapless demo
  gapless publish --input feed.bin --to 127.0.0.1:5000 --requests 127.0.0.1:5002 --session FEED
  gapless receive --line 127.0.0.1:5000 --requests 127.0.0.1:5002 --output copy.bin
  gapless stream listen --listen 127.0.0.1:4433 --tag logs --output inbox";

const DEMO_EXAMPLES: &str = "\
Examples:
  gapless demo
  gapless demo --input feed.bin --loss 5% --reorder 5% --duplicate 5% --seed 7
  gapless demo --journal demo.journal && gapless replay demo.journal --verify";

const PUBLISH_EXAMPLES: &str = "\
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

const RECEIVE_EXAMPLES: &str = "\
Examples:
  A feed from its first message, repaired by requests:
    gapless receive --line 127.0.0.1:5000 --requests 127.0.0.1:5002 --output copy.bin
  Two multicast lines, each session to a file of its own, for as long as it takes:
    gapless receive --line 239.1.1.1:5000@eth0 --line 239.1.1.2:5000@eth1 \\
        --requests 10.0.0.1:5002 --follow --output feed.bin
  Goes on where the last run ended:
    gapless receive --line 127.0.0.1:5000 --requests 127.0.0.1:5002 --output copy.bin \\
        --resume feed.state
  Everything that happens recorded, to be replayed later:
    gapless receive --line 127.0.0.1:5000 --requests 127.0.0.1:5002 --journal feed.journal";

const REPLAY_EXAMPLES: &str = "\
Examples:
  Does this program still do what was recorded?
    gapless replay feed.journal --verify
  What happened around event 1200 of each machine:
    gapless replay feed.journal --print --from 1190 --to 1210";

const REPLAY_EXIT_CODES: &str = "\
Exit codes:
  0  replayed; with --verify, everything was as recorded
  1  with --verify: a machine did something else than was recorded
  2  the command line makes no sense
  4  the journal cannot be read, is damaged (the message says where), or holds nothing";

/// Receives, repairs and re-publishes MoldUDP64 feeds; sends and takes tagged streams.
#[derive(Parser, Debug)]
#[command(name = "gapless", version, about, after_help = format!("{EXAMPLES}\n\n{ALL_EXIT_CODES}"))]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Publish a feed on two bad lines over loopback, receive it complete, and show how.
    #[command(after_help = format!("{DEMO_EXAMPLES}\n\n{EXIT_CODES}"))]
    Demo(Demo),
    /// Publish a file as a feed, and answer requests for what was missed.
    ///
    /// After the last message the end of the session is told over and over, and requests are
    /// answered, until nobody asked for --linger.
    #[command(after_help = format!("{PUBLISH_EXAMPLES}\n\n{EXIT_CODES}"))]
    Publish(Publish),
    /// Receive a feed, have what is missing sent again, and write it in order.
    #[command(after_help = format!("{RECEIVE_EXAMPLES}\n\n{EXIT_CODES}"))]
    Receive(Receive),
    /// Replay a journal: give the machines again what they were given when it was recorded.
    ///
    /// No socket is opened and no time is waited for. In the end it is told what each machine counted.
    /// A journal that ends within a block, as it does when its program was killed, is replayed as far as
    /// it is whole.
    #[command(after_help = format!("{REPLAY_EXAMPLES}\n\n{REPLAY_EXIT_CODES}"))]
    Replay(Replay),
    /// Send and take streams over QUIC that find their owner by a tag.
    #[command(subcommand, after_help = stream::EXIT_CODES)]
    Stream(Stream),
}

/// `--journal`, of every command that runs machines.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Journaling {
    /// Record everything that the machines are given in this file, in place of what is there, for
    /// `gapless replay`. A program that is killed loses the last second of it.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Record what the machines did too, not only a digest of it: a larger journal, from which
    /// `gapless replay --verify` shows what was done instead.
    #[arg(long, requires = "journal")]
    pub(crate) journal_commands: bool,
}

/// `gapless demo`
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Publish the messages of this binaryfile (u16 big-endian length + message, over and over)
    /// instead of a feed made on the spot.
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// How many messages: of the feed made on the spot (by default 200000), or at most of FILE.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) messages: Option<u64>,
    /// The share of packets that each line loses: 0.05 or 5%.
    #[arg(long, value_name = "P", default_value = "1%")]
    pub(crate) loss: Probability,
    /// The share of packets that each line delays behind later ones.
    #[arg(long, value_name = "P", default_value = "1%")]
    pub(crate) reorder: Probability,
    /// The share of packets that each line sends twice.
    #[arg(long, value_name = "P", default_value = "1%")]
    pub(crate) duplicate: Probability,
    /// Seeds the feed and each line's dice.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) journaling: Journaling,
    /// Print one JSON object instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
}

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
    #[arg(long, value_name = "ADDR")]
    pub(crate) flow: Option<SocketAddr>,
    /// A line: where packets go, IP:PORT, or GROUP:PORT@INTERFACE for multicast. Once for each line.
    #[arg(long, value_name = "ADDR", required = true)]
    pub(crate) to: Vec<Address>,
    /// Where requests are answered, IP:PORT. Port 0 takes a free one and tells it on standard error.
    #[arg(long, value_name = "ADDR")]
    pub(crate) requests: SocketAddr,
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
    /// How long to stay after the last message, and after each request that comes then.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::duration)]
    pub(crate) linger: Duration,
    #[command(flatten)]
    pub(crate) journaling: Journaling,
    /// Print one JSON object for each session instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What an input is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// A big-endian u16 length and that many bytes, over and over: what Nasdaq's files use.
    Binaryfile,
    /// MoldUDP64 packets out of a pcap or pcapng capture, in their own sessions and numbers.
    Pcap,
    /// One message a line.
    Lines,
}

/// `gapless receive`
#[derive(Args, Debug)]
pub(crate) struct Receive {
    /// A line: IP:PORT, or GROUP:PORT@INTERFACE for multicast. Once for each line. Port 0 takes a
    /// free one and tells it on standard error.
    #[arg(long, value_name = "ADDR", required = true)]
    pub(crate) line: Vec<Address>,
    /// A server to ask for what is missing, IP:PORT. Once for each server.
    #[arg(long, value_name = "ADDR")]
    pub(crate) requests: Vec<SocketAddr>,
    /// The session to receive. By default the first that comes.
    #[arg(long, value_name = "NAME", value_parser = values::session)]
    pub(crate) session: Option<Session>,
    /// Where to begin: a message number (above 1 only with --session), `start`, or `live`. By
    /// default `start` with --requests, else `live`.
    #[arg(long, value_name = "N|start|live")]
    pub(crate) from: Option<Begin>,
    /// Go on with the sessions that follow. Ends by --timeout, --max-time or Ctrl-C.
    #[arg(long)]
    pub(crate) follow: bool,
    /// Where messages are written, as a binaryfile (u16 big-endian length + message, over and
    /// over); `-` is standard output. With --follow each session goes to FILE.SESSION.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// In sequence, or as they arrive: then the output is in the order of arrival too.
    #[arg(long, value_enum, default_value_t = Delivery::Ordered)]
    pub(crate) delivery: Delivery,
    /// Stop, with exit code 3, when nothing came for so long. By default never.
    #[arg(long, value_name = "SECONDS", value_parser = values::positive_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Stop, with exit code 3, after so long in all. By default never.
    #[arg(long, value_name = "SECONDS", value_parser = values::positive_duration)]
    pub(crate) max_time: Option<Duration>,
    /// When what is missing counts as lost, after it was missed and after the last useful answer.
    /// By default 5 with --requests, else 1.
    #[arg(long, value_name = "SECONDS", value_parser = values::positive_duration)]
    pub(crate) give_up: Option<Duration>,
    /// What happens after a loss: go on behind it, or end there, with exit code 1.
    #[arg(long, value_enum, default_value_t = OnLoss::Skip)]
    pub(crate) on_loss: OnLoss,
    /// Keeps session and next number in this file, and goes on from there when it exists. The output
    /// is appended to then.
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) journaling: Journaling,
    /// Print one JSON object for each session instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `gapless replay`
#[derive(Args, Debug)]
pub(crate) struct Replay {
    /// The journal; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub(crate) journal: PathBuf,
    /// Compare what the machines do with what was recorded, and end at the first difference: with the
    /// event, the digests and the commands.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Print what happens, one line for each event and each command, each machine's in their order;
    /// with --json on standard error.
    #[arg(long)]
    pub(crate) print: bool,
    /// Print from this event on; events are counted from 1, for each machine.
    #[arg(
        long,
        value_name = "N",
        requires = "print",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) from: u64,
    /// Print up to this event.
    #[arg(long, value_name = "N", requires = "print")]
    pub(crate) to: Option<u64>,
    /// Print one JSON object instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// In which order messages are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Delivery {
    /// In sequence.
    Ordered,
    /// As they arrive.
    Arrival,
}

/// What happens after a loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum OnLoss {
    /// Go on behind it.
    Skip,
    /// End there.
    Halt,
}

impl Journaling {
    /// Checks that the journal is a file, and not one of the `others`.
    ///
    /// # Errors
    /// Says what contradicts what, and what to do.
    fn check(&self, others: &[(&str, Option<&Path>)]) -> Result<(), Failure> {
        let Some(journal) = &self.journal else { return Ok(()) };
        if is_standard(journal) {
            return Err(Failure::usage("--journal -: a journal is kept in a file"));
        }
        let same =
            |other: &Option<&Path>| other.is_some_and(|other| names_one_file(journal, other));
        match others.iter().find(|(_, other)| same(other)) {
            Some((name, _)) => Err(Failure::usage(format!("{name} and --journal name one file"))
                .advise("give each a file of its own")),
            None => Ok(()),
        }
    }
}

/// Whether two paths name one file, that is there or would be made.
fn names_one_file(one: &Path, other: &Path) -> bool {
    let resolved = |path: &Path| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        path.canonicalize().ok().or_else(|| {
            let folder = parent.unwrap_or(Path::new(".")).canonicalize().ok()?;
            Some(folder.join(path.file_name()?))
        })
    };
    one == other || resolved(one).is_some_and(|one| resolved(other) == Some(one))
}

impl Replay {
    /// Checks what clap cannot.
    ///
    /// # Errors
    /// Says what contradicts what, and what to do.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.to {
            Some(to) if to < self.from => Err(Failure::usage(format!(
                "--from {} --to {to}: no event lies between them",
                self.from
            ))
            .advise("exchange them")),
            _ => Ok(()),
        }
    }
}

impl Demo {
    /// Checks what clap cannot.
    ///
    /// # Errors
    /// Says what contradicts what, and what to do.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.journaling.check(&[("--input", self.input.as_deref())])
    }

    /// What happens to the lines.
    pub(crate) fn odds(&self) -> Odds {
        odds(self.loss, self.reorder, self.duplicate)
    }
}

impl Publish {
    /// What happens to the lines.
    pub(crate) fn odds(&self) -> Odds {
        odds(self.loss, self.reorder, self.duplicate)
    }

    /// What the input is, said or seen by its name.
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
        if self.repeat > 1 && is_standard(&self.input) {
            return Err(Failure::usage("--repeat: standard input can be read only once")
                .advise("put it into a file first"));
        }
        Ok(())
    }
}

impl Receive {
    /// Where to begin, said or by default.
    pub(crate) fn begin(&self) -> Begin {
        let default = if self.requests.is_empty() { Begin::Live } else { Begin::Start };
        self.from.unwrap_or(default)
    }

    /// When what is missing counts as lost, said or by default: nobody can be asked without servers,
    /// and only another line can help.
    pub(crate) fn give_up(&self) -> Duration {
        let default = if self.requests.is_empty() { 1 } else { 5 };
        self.give_up.unwrap_or(Duration::from_secs(default))
    }

    /// Whether messages go to standard output.
    pub(crate) fn to_standard_output(&self) -> bool {
        self.output.as_deref().is_some_and(is_standard)
    }

    /// Checks what clap cannot.
    ///
    /// # Errors
    /// Says what contradicts what, and what to do.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let (output, resume) = (self.output.as_deref(), self.resume.as_deref());
        self.journaling.check(&[("--output", output), ("--resume", resume)])?;
        if let (Some(Begin::Number(number @ 2..)), None) = (self.from, self.session) {
            return Err(Failure::usage(format!(
                "--from {number} is a number of some session, and none is named"
            ))
            .advise("add --session NAME, or begin at `start` or `live`"));
        }
        for server in &self.requests {
            if server.ip().is_multicast() || server.port() == 0 {
                return Err(Failure::usage(format!(
                    "--requests {server}: a server has an IP address and a port of its own"
                )));
            }
        }
        if let Some(server) = twice(&self.requests) {
            return Err(Failure::usage(format!("--requests {server} is given twice")));
        }
        if self.resume.is_some() && self.delivery == Delivery::Arrival {
            return Err(Failure::usage(
                "--resume with --delivery arrival: what came ahead of a gap would come again",
            )
            .advise("use --delivery ordered"));
        }
        if self.resume.as_deref().is_some_and(is_standard) {
            return Err(Failure::usage("--resume -: a state is kept in a file"));
        }
        if let (Some(output), Some(resume)) = (output, resume)
            && names_one_file(output, resume)
        {
            return Err(Failure::usage("--output and --resume name one file")
                .advise("give each a file of its own"));
        }
        Ok(())
    }
}

fn odds(loss: Probability, reorder: Probability, duplicate: Probability) -> Odds {
    Odds { loss: loss.get(), reorder: reorder.get(), duplicate: duplicate.get() }
}

fn twice(addresses: &[SocketAddr]) -> Option<&SocketAddr> {
    addresses
        .iter()
        .enumerate()
        .find(|(at, address)| addresses[..*at].contains(address))
        .map(|(_, address)| address)
}
