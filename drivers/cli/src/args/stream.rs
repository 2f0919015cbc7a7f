//! `gapless stream listen` and `gapless stream send`: what can be said, and what makes sense together.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Subcommand};
use gapless_core::wire::tag::{MAX_TAG, RESERVED_PREFIX};
use gapless_quic::tls::Fingerprint;

use super::exit_codes::{self, after_help};
use super::shared::names_one_file;
use crate::failure::Failure;
use crate::io::place::is_standard;
use crate::io::place::is_standard_output;
use crate::url::Url;
use crate::values;

const LISTEN_EXAMPLES: &str = "\
Examples:
  Each stream of two tags to a file of its own:
    gapless stream listen --listen 0.0.0.0:4433 --tag logs --tag traces --output inbox
  One stream to standard output, then the end:
    gapless stream listen --listen 127.0.0.1:4433 --tag backup --once | tar x
  A command for each stream, whose output goes back to who sent it:
    gapless stream listen --listen 127.0.0.1:4433 --tag sum --exec sha256sum";

const SEND_EXAMPLES: &str = "\
Examples:
  A file, to a listener that is known by its fingerprint:
    gapless stream send quic://10.0.0.1:4433 --tag logs --input app.log --pin FINGERPRINT
  What a command writes; the answer goes to standard output:
    tar c folder | gapless stream send quic://10.0.0.1:4433 --tag sum --ca ca.pem";

/// `gapless stream`
#[derive(Subcommand, Debug)]
pub(crate) enum Stream {
    /// Take streams of some tags: to files, to a command, or to standard output.
    ///
    /// Streams come over QUIC connections with the protocol (ALPN) gapless/1. Each begins with its tag: a
    /// byte that tells its length, and up to 255 bytes. Others than those of --tag and --prefix are
    /// refused. Where it listens and the fingerprint of its certificate are told on standard error.
    ///
    /// A stream that goes both ways is answered: with what the command writes, or with nothing, and with an
    /// end when all of it was taken.
    ///
    /// Where streams go elsewhere, standard output tells of each that was complete, and with --json of all. If
    /// nobody reads that, or what standard error tells, some hundred lines wait, and then streams do.
    #[command(after_help = after_help(LISTEN_EXAMPLES, exit_codes::LISTEN))]
    Listen(Box<Listen>),
    /// Send a file or standard input as one stream with a tag.
    ///
    /// Exit code 0 says that the listener has taken all of it, or that its command succeeded and had enough;
    /// with --unidirectional only that all of it has arrived there. A file is sent as it is when it is read: what
    /// is added to it meanwhile is sent, too; if it is cut short meanwhile, the stream is broken off.
    #[command(after_help = after_help(SEND_EXAMPLES, exit_codes::SEND))]
    Send(Box<Send>),
}

/// `gapless stream listen`
#[derive(Args, Clone, Debug)]
pub(crate) struct Listen {
    /// Where to listen, HOST:PORT. Port 0 takes a free one and tells it on standard error.
    #[arg(long, value_name = "ADDR", value_parser = gapless_mio::resolve)]
    pub(crate) listen: SocketAddr,
    /// Take the streams of this tag. Once for each tag.
    #[arg(long, value_name = "TAG", value_parser = OsStringValueParser::new().try_map(tag))]
    pub(crate) tag: Vec<Tag>,
    /// Take the streams of all tags that begin so, where no --tag and no longer prefix is theirs; an empty
    /// one takes all.
    #[arg(long, value_name = "PREFIX", value_parser = OsStringValueParser::new().try_map(prefix))]
    pub(crate) prefix: Vec<Tag>,
    /// Put each stream into a file of its own in this folder, TAG.NUMBER; it is called TAG.NUMBER.part
    /// until it is whole, and stays that if it is broken off and something came of it; what cannot be written,
    /// on a full disk, is removed. Other bytes of a tag than letters, digits, `-`, `_` and `.` become %XX, and so
    /// do a `-` and a `.` that it begins with. Without
    /// it and without --exec, streams go to standard output, one after the other. Files are written by the
    /// loop that serves all streams: a disk that hangs holds up all of them.
    #[arg(long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Keep so many files of streams that were broken off, 0 to 65535, beside those of earlier runs. Of more, the
    /// oldest of the client that has most is removed.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        requires = "output",
        conflicts_with = "exec"
    )]
    pub(crate) keep_parts: u16,
    /// Run `sh -c CMD` for each stream: the stream is its input, and its output goes back if the stream goes
    /// both ways. If the stream is broken off, the command and those that it started are killed. In its
    /// environment are GAPLESS_PEER, IP:PORT; GAPLESS_TAG, with bytes other than letters, digits, `-`, `_`
    /// and `.` as %XX, and a `-` or `.` that it begins with; and GAPLESS_TAG_HEX, the tag as it is, two hexadecimal digits a byte.
    #[arg(long, value_name = "CMD", conflicts_with = "output")]
    pub(crate) exec: Option<OsString>,
    /// Kill commands that take longer, and what they started. By default they may take as long as they like.
    #[arg(long, value_name = "SECONDS", requires = "exec", conflicts_with = "output", value_parser = values::positive_duration)]
    pub(crate) exec_timeout: Option<Duration>,
    /// End after one stream.
    #[arg(long, conflicts_with = "count")]
    pub(crate) once: bool,
    /// End after so many streams, whole or not.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Streams that are taken at the same time, 1 to 1024: by default 16 commands, or 256 files. Others
    /// wait, up to 1024, and are not read meanwhile. Turns go round by client: first by address (of IPv6, by
    /// network of 64 bits), and then by connection.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) parallel: Option<u16>,
    /// While others wait, break off a stream whose client has sent and taken less than 64 KiB for so long, though
    /// it could, if it has more turns than one of those that wait, or another of its connection's streams
    /// waits. However much it sends, a stream is broken off after 10 times as long if its address has more than
    /// an equal part of the turns and one waits that has none.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = values::positive_duration)]
    pub(crate) stream_timeout: Duration,
    /// When SIGINT or SIGTERM comes, take no more streams and let those that there are come to their end, for so
    /// long; then, or when a second signal comes, break them off. Clients that are still connected then have 5
    /// seconds to hear how their streams ended; a second signal ends it at once.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = values::duration)]
    pub(crate) drain: Duration,
    /// Stop streams that are longer than this.
    #[arg(long, value_name = "N")]
    pub(crate) max_bytes: Option<u64>,
    /// Connections at the same time, of which one address has at most 64; further ones are refused. The default of
    /// --max-memory has room for about 230.
    #[arg(long, value_name = "N", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,
    /// Bytes of memory that all connections may hold together, from 4 MiB. It is divided by what clients could make the
    /// listener hold if they wanted to, which is 2.2 MiB for a connection at first (about 230 connections at the
    /// default), and grows with use while a quarter is left; when there is no room for another one, further clients
    /// are refused. One address has a quarter of it, about 56 connections at the default. Honest ones take far less.
    #[arg(long, value_name = "BYTES", default_value_t = 512 << 20,
          value_parser = clap::value_parser!(u64).range(4 << 20..))]
    pub(crate) max_memory: u64,
    /// A certificate chain in PEM, the server's own first. By default a self-signed one.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Where the self-signed certificate is kept: made when it is not there, and renewed, with another
    /// fingerprint, when less than 3 of its 14 days are left. By default gapless/identity in
    /// $XDG_DATA_HOME, or in ~/.local/share.
    #[arg(long, value_name = "DIR", conflicts_with = "cert")]
    pub(crate) identity: Option<PathBuf>,
    /// A name or an IP address that the self-signed certificate is good for, besides localhost. Once for
    /// each name; others than it has renew it.
    #[arg(long, value_name = "NAME", conflicts_with = "cert")]
    pub(crate) name: Vec<String>,
    /// Only take clients whose certificate was signed by one of those in this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) client_ca: Option<PathBuf>,
    /// Only take the client whose certificate has this fingerprint. Once for each client.
    #[arg(long, value_name = "FINGERPRINT", conflicts_with = "client_ca")]
    pub(crate) client_pin: Vec<Fingerprint>,
    #[command(flatten)]
    pub(crate) idle: Idle,
    /// Print one JSON object for each stream that ends, and one without a tag, with `error` and `exit_code`,
    /// if the listener itself fails; on standard error where streams go to standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `gapless stream send`
#[derive(Args, Clone, Debug)]
pub(crate) struct Send {
    /// Where to: quic://HOST:PORT.
    #[arg(value_name = "URL")]
    pub(crate) url: Url,
    /// The stream's tag.
    #[arg(long, value_name = "TAG", value_parser = OsStringValueParser::new().try_map(tag))]
    pub(crate) tag: Tag,
    /// What to send; `-` is standard input.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(crate) input: PathBuf,
    /// Where the answer goes; `-` is standard output. A file that is there stays as it is until the answer is
    /// whole, and then it is replaced; what came of an answer that was broken off is kept as FILE.part,
    /// in place of what has that name. Up to 8 MiB wait in memory for a slow reader of what is no file: if the
    /// command there fails, what it wrote beyond that may be lost.
    #[arg(long, value_name = "FILE", default_value = "-", conflicts_with = "unidirectional")]
    pub(crate) answer: PathBuf,
    /// Send one way only: there is no answer, nobody says that the stream was taken, and that it was
    /// refused may go unnoticed if it is short. A listener that is behind breaks it off when all has
    /// arrived there, since the connection is closed then.
    #[arg(long)]
    pub(crate) unidirectional: bool,
    /// Believe servers whose certificate was signed by one of those in this file, or is in it. By default
    /// the system's authorities are believed.
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Believe the server whose certificate has this fingerprint (SHA-256), and no other.
    #[arg(long, value_name = "FINGERPRINT", conflicts_with = "ca")]
    pub(crate) pin: Option<Fingerprint>,
    /// Believe anybody. Whoever is on the path can read and change everything.
    #[arg(long, conflicts_with_all = ["ca", "pin"])]
    pub(crate) insecure: bool,
    /// A certificate chain to show to servers that ask for one, in PEM.
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub(crate) client_cert: Option<PathBuf>,
    /// Its private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    pub(crate) client_key: Option<PathBuf>,
    /// How long to try to find the host, to connect, and to begin the stream, in all.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = values::positive_duration)]
    pub(crate) connect_timeout: Duration,
    /// Bytes of memory that what waits to be sent, and what waits of the answer, may grow to, from 4 MiB. It is divided
    /// by what a listener could make the sender hold if it wanted to; less makes the answer slower.
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20,
          value_parser = clap::value_parser!(u64).range(4 << 20..))]
    pub(crate) max_memory: u64,
    #[command(flatten)]
    pub(crate) idle: Idle,
    /// Print one JSON object in the end, also if nothing was sent: its `end` is complete, enough, unreachable,
    /// untrusted, wrong_protocol, refused, broken_off, interrupted or failed, with `exit_code` and, in words,
    /// `error`. On standard error where the answer goes to standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `--idle-timeout`, of both sides.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Idle {
    /// A connection is lost when nothing came from the peer for so long, or for up to a third more where
    /// nothing was sent to it either; quiet ones are kept alive. The smaller of both sides' counts.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = values::positive_duration)]
    pub(crate) idle_timeout: Duration,
}

/// A tag, or the beginning of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tag(pub(crate) Vec<u8>);

/// A tag of 1 to 255 bytes.
fn tag(text: OsString) -> Result<Tag, String> {
    if text.is_empty() {
        return Err("a tag has at least one byte".into());
    }
    let tag = prefix(text)?;
    match tag.0.starts_with(RESERVED_PREFIX) {
        true => Err("tags that begin with `gapless:` are reserved for protocols".into()),
        false => Ok(tag),
    }
}

/// The beginning of tags, of 0 to 255 bytes.
fn prefix(text: OsString) -> Result<Tag, String> {
    let bytes = text.into_encoded_bytes();
    match bytes.len() {
        0..=MAX_TAG => Ok(Tag(bytes)),
        length => Err(format!("a tag has at most {MAX_TAG} bytes, this has {length}")),
    }
}

impl Listen {
    /// After how many streams to end, if after any.
    pub(crate) fn count(&self) -> Option<u64> {
        if self.once { Some(1) } else { self.count }
    }

    /// Whether streams go to standard output.
    pub(crate) const fn to_standard_output(&self) -> bool {
        self.output.is_none() && self.exec.is_none()
    }

    /// How many streams are taken at the same time.
    pub(crate) fn parallel(&self) -> usize {
        let default = if self.exec.is_some() { 16 } else { 256 };
        if self.to_standard_output() { 1 } else { self.parallel.unwrap_or(default).into() }
    }

    /// Checks what clap cannot.
    ///
    /// # Errors
    /// Says what contradicts what, and what to do.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.listen.ip().is_multicast() {
            return Err(Failure::usage(format!(
                "--listen {}: streams come by unicast, this is a multicast group",
                self.listen
            )));
        }
        if self.tag.is_empty() && self.prefix.is_empty() {
            return Err(Failure::usage("no streams are taken")
                .advise("add --tag TAG, or --prefix '' for all tags"));
        }
        let is_one_tag = self.prefix.is_empty() && self.tag.len() == 1;
        if self.to_standard_output() && !is_one_tag {
            return Err(Failure::usage(
                "streams of several tags cannot be told apart on standard output",
            )
            .advise("add --output DIR or --exec CMD"));
        }
        if self.to_standard_output() && self.parallel.is_some_and(|parallel| parallel > 1) {
            return Err(Failure::usage("--parallel: standard output takes one stream at a time")
                .advise("leave it out, or add --output DIR or --exec CMD"));
        }
        if self.output.as_deref().is_some_and(is_standard) {
            return Err(Failure::usage("--output -: streams are put into a folder")
                .advise("leave it out: they go to standard output then"));
        }
        Ok(())
    }
}

impl Send {
    /// Whether the answer goes to standard output.
    pub(crate) fn to_standard_output(&self) -> bool {
        !self.unidirectional && is_standard_output(&self.answer)
    }

    /// Checks what clap cannot.
    ///
    /// # Errors
    /// Says what contradicts what, and what to do.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let (input, answer) = (&self.input, &self.answer);
        // A path that is no file may be both: /dev/null.
        let are_files = !is_standard(input) && !is_standard(answer) && input.is_file();
        if are_files && names_one_file(input, answer) {
            return Err(Failure::usage("--input and --answer name one file")
                .advise("give each a file of its own"));
        }
        Ok(())
    }
}
