//! `gapless stream send`: from the command line to the end.

pub(super) mod answer;
pub(super) mod sender;

use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use gapless_core::demux;
use gapless_quic::tls::Fingerprint;
use gapless_quic::{ClientConfig, Config, Tagged, endpoint};
use serde::Serialize;

use crate::args::Send;
use crate::failure::{Failure, Outcome};
use crate::io::blocking::run_blocking;
use crate::io::patience::{Patience, Patient, say};
use crate::io::source::Source;
use crate::io::{place, standard};
use crate::progress::Progress;
use crate::stop::Stop;
use crate::stream::event_loop::EventLoop;
use crate::stream::{codes, tags, tls};
use crate::text;
use answer::Answer;
use sender::{Attempts, Sender, Settings};

/// The key that the threads of the input and of the answer raise.
const KEY: u64 = 1;

/// Runs the command.
///
/// # Errors
/// Something that it cannot go on without, and all that can become of the stream but that it is taken.
pub(super) fn run(args: &Send, stop: &Stop) -> Result<Outcome, Failure> {
    let begin = Instant::now();
    let mut sent = Sent { tag: tags::written(&args.tag.0), ..Sent::default() };
    let result = send(args, stop, &mut sent);
    sent.ended(&result, begin.elapsed());
    let text = match (args.json, &result) {
        (true, _) => text::json(&sent),
        (false, Ok(())) => sent.line(),
        // The failure says it.
        (false, Err(_)) => String::new(),
    };
    let reported = match args.to_standard_output() {
        _ if text.is_empty() => Ok(()),
        true => {
            say(text.trim_end());
            Ok(())
        }
        false => Patient::new(standard::Output::Standard, Patience::new(stop)).print(&text),
    };
    // The first thing that went wrong is reported.
    result.map_err(Failure::in_json).and(reported).map(|()| Outcome::Complete)
}

/// Sends the stream, and puts on record what became of it.
fn send(args: &Send, stop: &Stop, sent: &mut Sent) -> Result<(), Failure> {
    args.check()?;
    let (endpoint, client) = run_blocking(stop, None, {
        let args = args.clone();
        move || tls::sending(&args)
    })?;
    let deadline = Instant::now() + args.connect_timeout;
    let addresses = resolve(args, stop, deadline)?;
    let (mut turns, addresses) = bind(&endpoint, addresses)?;
    let (source, total) = Source::open(&args.input, KEY, turns.signals.clone())?;
    let answer = match (args.unidirectional, args.to_standard_output()) {
        (true, _) => None,
        (false, true) => Some(Answer::to_standard_output(KEY, turns.signals.clone())?),
        (false, false) => Some(Answer::create(&args.answer, KEY, turns.signals.clone())?),
    };
    let progress = Progress::of_bytes(total);
    let sender = Sender::new(Settings {
        tag: args.tag.0.clone(),
        source,
        source_name: place::name(&args.input),
        answer,
        answer_name: match args.to_standard_output() {
            true => "standard output".into(),
            false => args.answer.display().to_string(),
        },
        progress: (args.to_standard_output() && io::stdout().is_terminal())
            .then(|| progress.clone()),
    });
    let begin = Instant::now();
    let mut tagged = Tagged::new(demux::Config::default(), begin, sender)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let mut sending =
        Sending { args, client, attempts: Attempts::new(addresses, begin), deadline, progress };
    let result = sending.run(&mut turns, &mut tagged, stop);
    sending.progress.clear();
    let code = match &result {
        Ok(()) => codes::FINE,
        Err(_) if stop.is_asked() => codes::INTERRUPTED,
        Err(_) => tagged.acceptors().code,
    };
    tagged.with(turns.endpoint(), Instant::now(), |streams, sender| sender.close(streams, code));
    turns.flush(&mut tagged);
    let sender = tagged.acceptors();
    // The output of a command that failed is written, however slowly.
    while !sender.answer_is_written() && !stop.is_asked() {
        turns.rest()?;
    }
    let part = sender.abandon_answer();
    if let Some(part) = &part {
        say(format_args!("what came of the answer is in {}", part.display()));
    }
    sent.peer = sender.peer.as_ref().map(|peer| peer.address);
    let fingerprint = sender.peer.as_ref().and_then(|peer| peer.fingerprint);
    sent.fingerprint = fingerprint.map(|of| Fingerprint(of).to_string());
    sent.has_enough = sender.has_enough;
    sent.bytes = sender.sent;
    sent.answer_bytes = sender.answered;
    sent.answer_part = part.map(|part| part.display().to_string());
    result
}

/// The addresses of the URL.
fn resolve(args: &Send, stop: &Stop, deadline: Instant) -> Result<Vec<SocketAddr>, Failure> {
    let (url, seconds) = (args.url.clone(), args.connect_timeout.as_secs_f64());
    let late = url.unknown(format!("no answer within {seconds} s"));
    run_blocking(stop, Some((deadline, late)), move || url.resolve())
}

/// A socket that the addresses can be reached from, and those of them that can.
fn bind(
    endpoint: &endpoint::Config,
    mut addresses: Vec<SocketAddr>,
) -> Result<(EventLoop, Vec<SocketAddr>), Failure> {
    let at = |ip: IpAddr| EventLoop::new(Config::new(SocketAddr::new(ip, 0), endpoint.clone()));
    if addresses.iter().any(SocketAddr::is_ipv6) {
        match at(Ipv6Addr::UNSPECIFIED.into()) {
            Ok(turns) => return Ok((turns, addresses)),
            Err(failure) => {
                // A system without IPv6.
                addresses.retain(SocketAddr::is_ipv4);
                if addresses.is_empty() {
                    return Err(failure);
                }
            }
        }
    }
    Ok((at(Ipv4Addr::UNSPECIFIED.into())?, addresses))
}

struct Sending<'a> {
    args: &'a Send,
    client: ClientConfig,
    attempts: Attempts<SocketAddr>,
    /// Until when there must be a stream.
    deadline: Instant,
    progress: Progress,
}

impl Sending<'_> {
    fn run(
        &mut self,
        turns: &mut EventLoop,
        tagged: &mut Tagged<Sender>,
        stop: &Stop,
    ) -> Result<(), Failure> {
        loop {
            let now = Instant::now();
            let sender = tagged.acceptors();
            if !sender.is_connected() {
                self.connect(turns, sender, now)?;
            }
            if !sender.is_open() && now >= self.deadline {
                return Err(self.too_late(sender));
            }
            let keys = turns.turn(tagged)?;
            tagged.with(turns.endpoint(), Instant::now(), |streams, sender| {
                if !keys.is_empty() {
                    sender.advance(streams);
                }
                sender.write_out();
            });
            let sender = tagged.acceptors();
            if let Some(result) = sender.result.take() {
                return result;
            }
            if stop.is_asked() {
                return Err(stop.interrupted("the stream is broken off"));
            }
            let answered = sender.answered;
            self.progress.show(sender.sent, || match answered {
                0 => String::new(),
                bytes => format!("{bytes} bytes of answer"),
            });
        }
    }

    /// Tries the next address, if it is time for it.
    fn connect(
        &mut self,
        turns: &mut EventLoop,
        sender: &mut Sender,
        now: Instant,
    ) -> Result<(), Failure> {
        let url = &self.args.url;
        while let Some(address) = self.attempts.next(now, !sender.attempts.is_empty()) {
            match turns.endpoint().connect(now, self.client.clone(), address, url.name()) {
                Ok(connection) => sender.attempts.push(connection),
                Err(error) => {
                    let words = format!("cannot connect to {url}: {error}");
                    sender.refusal = Some(Failure::unreachable(words));
                }
            }
        }
        if sender.attempts.is_empty() && self.attempts.is_over() && sender.result.is_none() {
            let refusal = sender.refusal.take();
            return Err(refusal.unwrap_or_else(|| Failure::unreachable(format!("no way to {url}"))));
        }
        Ok(())
    }

    /// There is no stream at the deadline.
    fn too_late(&self, sender: &Sender) -> Failure {
        let Send { url, connect_timeout, .. } = self.args;
        let seconds = connect_timeout.as_secs_f64();
        if sender.is_connected() {
            let words = format!("the peer lets no stream begin within {seconds} s");
            return Failure::new(Outcome::RefusedTag, words)
                .advise("it may take none, or none of this direction: see --unidirectional");
        }
        // Another of its addresses may have said why.
        let refusal = sender.refusal.as_ref();
        let why = refusal.map_or(String::new(), |refusal| format!("; {}", refusal.what()));
        Failure::unreachable(format!("{url} does not answer within {seconds} s{why}"))
            .advise("see that a listener runs there, and that UDP gets through")
    }
}

/// The record of a stream that was sent.
#[derive(Default, Debug, Serialize)]
struct Sent {
    tag: String,
    /// The peer that has it; `None` if nobody answered.
    peer: Option<SocketAddr>,
    /// Of the peer's certificate.
    fingerprint: Option<String>,
    /// Bytes that were given to the connection.
    bytes: u64,
    answer_bytes: u64,
    /// The file with what came of an answer that is not whole.
    answer_part: Option<String>,
    /// Whether it was taken by somebody who succeeded without reading all of it.
    #[serde(skip)]
    has_enough: bool,
    end: &'static str,
    exit_code: u8,
    /// The words for what is wrong, of a stream that is not complete.
    error: Option<String>,
    elapsed_seconds: f64,
}

impl Sent {
    /// How it ended.
    fn ended(&mut self, result: &Result<(), Failure>, elapsed: Duration) {
        let outcome =
            result.as_ref().map_or_else(|failure| failure.outcome, |()| Outcome::Complete);
        self.end = if self.has_enough { "enough" } else { outcome.name() };
        self.exit_code = outcome.code();
        self.error = result.as_ref().err().map(|failure| failure.what().to_owned());
        self.elapsed_seconds = elapsed.as_secs_f64();
    }

    /// One line for people.
    fn line(&self) -> String {
        let Self { tag, bytes, answer_bytes, elapsed_seconds, .. } = self;
        let peer = self.peer.map_or(String::new(), |peer| format!(" to {peer}"));
        let answer = match answer_bytes {
            0 => String::new(),
            bytes => format!(", {bytes} bytes of answer"),
        };
        let end = if self.has_enough { "as much as was wanted" } else { "complete" };
        format!("{tag}{peer}: {bytes} bytes in {elapsed_seconds:.2} s, {end}{answer}\n")
    }
}
