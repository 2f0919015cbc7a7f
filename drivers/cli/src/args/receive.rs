//! `gapless receive`: what can be said, and what makes sense together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use gapless_core::Session;
use gapless_core::receiver::Quota;
use gapless_core::wire::mold::MAX_COUNT;
use gapless_mio::Address;

use super::shared::{Journaling, names_one_file};
use crate::address;
use crate::failure::Failure;
use crate::io::place::is_standard;
use crate::io::place::is_standard_output;
use crate::values::{self, Begin};

pub(super) const EXAMPLES: &str = "\
Examples:
  A feed from its first message, repaired by requests:
    gapless receive --line 127.0.0.1:5000 --requests 127.0.0.1:5002 --output copy.bin
  Two multicast lines, each session to a file of its own, for as long as it takes:
    gapless receive --line 239.1.1.1:5000@eth0 --line 239.1.1.2:5000@eth1 \\
        --requests 10.0.0.1:5002 --follow --output feed.bin
  Lines of text, as `publish --format lines` reads them:
    gapless receive --line 127.0.0.1:5000 --requests 127.0.0.1:5002 --format lines --output -
  Goes on where the last run ended:
    gapless receive --line 127.0.0.1:5000 --requests 127.0.0.1:5002 --output copy.bin \\
        --resume feed.state
  Never more requests than a venue allows, also after a restart:
    gapless receive --line 239.1.1.1:5000@eth0 --requests 10.0.0.1:5002 \\
        --quota 100/1h,50000msg/1d --output copy.bin --resume feed.state
  Everything that happens recorded, to be replayed later:
    gapless receive --line 127.0.0.1:5000 --requests 127.0.0.1:5002 --journal feed.journal";

/// `gapless receive`
#[derive(Args, Debug)]
pub(crate) struct Receive {
    /// A line: HOST:PORT, or GROUP:PORT@INTERFACE for multicast. Once for each line. Port 0 takes a
    /// free one and tells it on standard error. Of a name with several addresses the first of IPv4 is taken,
    /// or else the first.
    #[arg(long, value_name = "ADDR", required = true, value_parser = Address::resolve)]
    pub(crate) line: Vec<Address>,
    /// A server to ask for what is missing, HOST:PORT. Once for each server.
    #[arg(long, value_name = "ADDR", value_parser = gapless_mio::resolve)]
    pub(crate) requests: Vec<SocketAddr>,
    /// The most that each server is asked for: requests (100/1h) or messages (50000msg/1d) in any time of that
    /// length; several with commas, at most 4. What must wait longer than --give-up is lost. With --resume what
    /// was used is kept. By default no limit.
    #[arg(
        long, value_name = "N[msg]/TIME", value_delimiter = ',', requires = "requests",
        value_parser = values::quota
    )]
    pub(crate) quota: Vec<Quota>,
    /// The most messages that one request asks for.
    #[arg(
        long, value_name = "N", default_value_t = MAX_COUNT, requires = "requests",
        value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_COUNT))
    )]
    pub(crate) max_request: u16,
    /// The local address that requests are sent from, for servers of its family: IP or IP:PORT. By default
    /// the system chooses.
    #[arg(long, value_name = "ADDR", requires = "requests", value_parser = address::local)]
    pub(crate) source: Option<SocketAddr>,
    /// Whose answers are believed: those of the servers of --requests, or of anybody who sends to where
    /// requests come from, as a server with several addresses may.
    #[arg(long, value_enum, default_value_t = AcceptAnswers::Configured, requires = "requests")]
    pub(crate) accept_answers: AcceptAnswers,
    /// The receive buffer of each line, and of answers, in bytes. By default 8388608, as far as the system
    /// allows it; less than what is given here is told.
    #[arg(long, value_name = "BYTES", value_parser = values::receive_buffer())]
    pub(crate) receive_buffer: Option<u32>,
    /// The session to receive, padded with spaces; \xNN is a byte that cannot be typed. By default the first
    /// that comes.
    #[arg(long, value_name = "NAME", value_parser = values::session)]
    pub(crate) session: Option<Session>,
    /// Where to begin: a message number (above 1 only with --session), `start`, or `live`. By
    /// default `start` with --requests, else `live`.
    #[arg(long, value_name = "N|start|live")]
    pub(crate) from: Option<Begin>,
    /// Go on with the sessions that follow. Ends by --timeout, --max-time or Ctrl-C.
    #[arg(long)]
    pub(crate) follow: bool,
    /// Where messages are written; `-` is standard output. The file is made when the session begins; one
    /// that exists is refused, unless --resume goes on with it or --force replaces it. With --follow each
    /// session goes to FILE.SESSION, and where that exists to FILE.SESSION.2 and so on: --force does not
    /// touch them.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// How messages are written.
    #[arg(long, value_enum, default_value_t = OutputFormat::Binaryfile)]
    pub(crate) format: OutputFormat,
    /// In sequence, or as they arrive: then the output is in the order of arrival too.
    #[arg(long, value_enum, default_value_t = Delivery::Ordered)]
    pub(crate) delivery: Delivery,
    /// Stop, with exit code 3, when nothing of a session came for so long; with --follow, 0 if no session
    /// was under way. By default never.
    #[arg(long, value_name = "SECONDS", value_parser = values::positive_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Stop, with exit code 3, after so long in all; with --follow as --timeout does. By default never.
    #[arg(long, value_name = "SECONDS", value_parser = values::positive_duration)]
    pub(crate) max_time: Option<Duration>,
    /// When what is missing counts as lost, after it was missed and after the last useful answer; 3 at least
    /// while fewer than three packets of data came behind it. By default 5; 0.02 with one line and no
    /// --requests, where nobody else can bring it.
    #[arg(long, value_name = "SECONDS", value_parser = values::positive_duration)]
    pub(crate) give_up: Option<Duration>,
    /// What happens after a loss: go on behind it, or end there, with exit code 1.
    #[arg(long, value_enum, default_value_t = OnLoss::Skip)]
    pub(crate) on_loss: OnLoss,
    /// What happens when a sender starts over within a session, its numbers with it: end there, or go on
    /// with what may be of two feeds then; with exit code 1 either way.
    #[arg(long, value_enum, default_value_t = OnRegress::Stop)]
    pub(crate) on_regress: OnRegress,
    /// Keeps session, next number and output in this file, and goes on from there when it exists. The
    /// output is the file at the same path that ends as it was written: what was written behind that is cut
    /// off and received again. Where there is none, a new one begins with the next number. After a sender
    /// started over, what it sends does not go behind the output: this is refused, unless --on-regress says
    /// ignore. If that happens while no receiver runs nobody notices: move this file and the output away then.
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,
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

/// How messages are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum OutputFormat {
    /// A big-endian u16 length and that many bytes, over and over: what Nasdaq's files use.
    Binaryfile,
    /// One message a line. A message that has line ends of its own takes several; the first one is told.
    Lines,
}

/// In which order messages are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Delivery {
    /// In sequence.
    Ordered,
    /// As they arrive.
    Arrival,
}

/// The senders whose answers are believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum AcceptAnswers {
    /// Those of the servers that are asked.
    Configured,
    /// Anybody's.
    Any,
}

/// The reaction to a sender that starts over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum OnRegress {
    /// End there.
    Stop,
    /// Go on.
    Ignore,
}

/// The reaction to a loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum OnLoss {
    /// Go on behind it.
    Skip,
    /// End there.
    Halt,
}

impl Receive {
    /// Where to begin, said or by default.
    pub(crate) fn begin(&self) -> Begin {
        let default = if self.requests.is_empty() { Begin::Live } else { Begin::Start };
        self.from.unwrap_or(default)
    }

    /// Whether messages go to standard output.
    pub(crate) fn to_standard_output(&self) -> bool {
        self.output.as_deref().is_some_and(is_standard_output)
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
            let ip = server.ip();
            if ip.is_multicast() || ip.is_unspecified() || server.port() == 0 {
                return Err(Failure::usage(format!(
                    "--requests {server}: a server has an IP address and a port of its own"
                )));
            }
        }
        if let Some(server) = twice(&self.requests) {
            return Err(Failure::usage(format!("--requests {server} is given twice")));
        }
        if self.quota.len() > Quota::MAX {
            return Err(Failure::usage(format!("--quota: more than {} limits", Quota::MAX)));
        }
        if let Some(source) = self.source {
            if source.ip().is_multicast() {
                return Err(Failure::usage(format!(
                    "--source {source}: requests are not sent from a multicast group"
                )));
            }
            if self.requests.iter().all(|server| server.is_ipv4() != source.is_ipv4()) {
                return Err(Failure::usage(format!(
                    "--source {source}: no server of --requests can be asked from there"
                ))
                .advise(
                    "give an IPv4 address for IPv4 servers, an IPv6 address for IPv6 servers",
                ));
            }
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

fn twice(addresses: &[SocketAddr]) -> Option<&SocketAddr> {
    addresses
        .iter()
        .enumerate()
        .find(|(at, address)| addresses[..*at].contains(address))
        .map(|(_, address)| address)
}
