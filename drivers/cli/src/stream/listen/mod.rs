//! `gapless stream listen`: from the command line to the end.

mod admission;
mod command;
mod ended;
mod incoming;
mod listener;
mod queue;
mod reaper;
mod renewal;
mod reports;
mod scarcity;
mod store;
mod target;

use std::time::{Duration, Instant};

use gapless_core::demux::{self, Pattern, Registrant};
use gapless_quic::tagged::Streams;
use gapless_quic::{Config, Tagged};

use crate::args::Listen;
use crate::failure::{Failure, Outcome};
use crate::io::blocking::run_blocking;
use crate::io::patience::say;
use crate::stop::Stop;
use crate::stream::event_loop::EventLoop;
use crate::stream::{codes, tls};
use admission::Limits;
use listener::{ACCEPTOR, Listener, Settings};
use renewal::Renewal;
use reports::Reports;
use store::Folder;
use target::Output;

/// How long clients may take in the end to hear that all is well.
const LINGER: Duration = Duration::from_secs(5);

/// Runs the command.
///
/// # Errors
/// Something that it cannot go on without.
pub(super) fn run(args: &Listen, stop: &Stop) -> Result<Outcome, Failure> {
    args.check()?;
    let (identity, clients, endpoint) = run_blocking(stop, None, {
        let args = args.clone();
        move || {
            let identity = tls::identity(&args)?;
            let clients = tls::clients(&args)?;
            let endpoint = tls::listening(&args, &identity, &clients)?;
            Ok((identity, clients, endpoint))
        }
    })?;
    tls::warn(&identity);
    let output = output(args)?;
    // A command has two pipes, and one more for a moment while it is started.
    let descriptors = if args.exec.is_some() { 3 } else { 1 };
    scarcity::raise(args.parallel() as u64 * descriptors);
    let mut event_loop = EventLoop::new(Config::new(args.listen, endpoint))?;
    let listener = Listener::new(Settings {
        output,
        limits: Limits {
            count: args.count(),
            parallel: args.parallel(),
            stream_timeout: args.stream_timeout,
        },
        max_bytes: args.max_bytes.unwrap_or(u64::MAX),
        exec_timeout: args.exec_timeout,
        signals: event_loop.signals.clone(),
    });
    let mut tagged = Tagged::new(demux::Config::default(), Instant::now(), listener)
        .map_err(|error| Failure::usage(error.to_string()))?;
    register(args, &mut event_loop, &mut tagged)?;
    say(format_args!("listening on {}", event_loop.address()));
    say(format_args!("fingerprint {}", identity.fingerprint()));
    let reports = Reports::new(args, &event_loop.signals)?;
    let renewal = Renewal::new(args, clients, &identity);
    // The first request to end lets streams come to theirs, the second breaks them off.
    stop.allow(2);
    let mut listening =
        Listening { args, stop, event_loop, tagged, renewal, reports, refused: (0, 0) };
    let result = listening.run();
    if result.is_err() {
        // Commands must not take what came so far for the whole.
        listening.with(Listener::interrupt);
        listening.close(codes::CANNOT_STORE);
    }
    let Listening { mut event_loop, mut tagged, mut reports, .. } = listening;
    let reported = reports.finish(&mut event_loop, &mut tagged.acceptors().pending, stop);
    // The first thing that went wrong is what is reported.
    result.and(reported).map(|()| reports.outcome())
}

/// Where streams go.
fn output(args: &Listen) -> Result<Output, Failure> {
    Ok(match (&args.output, &args.exec) {
        (Some(path), _) => {
            let folder = Folder::open(path, args.keep_parts.into())?;
            if folder.parts > 0 {
                let (path, parts) = (path.display(), folder.parts);
                say(format_args!("{path} holds what came of broken streams: {parts} .part"));
            }
            Output::Folder(folder)
        }
        (None, Some(line)) => Output::Command(line.clone()),
        (None, None) => Output::Standard,
    })
}

/// Registers all tags.
fn register(
    args: &Listen,
    event_loop: &mut EventLoop,
    tagged: &mut Tagged<Listener>,
) -> Result<(), Failure> {
    tagged.with(event_loop.endpoint(), Instant::now(), |streams, _| {
        let exact = args.tag.iter().map(|tag| Pattern::Exact(&tag.0));
        let prefixes = args.prefix.iter().map(|prefix| Pattern::Prefix(&prefix.0));
        for pattern in exact.chain(prefixes) {
            streams
                .register(ACCEPTOR, pattern, Registrant::Application)
                .map_err(|error| Failure::usage(error.to_string()))?;
        }
        Ok(())
    })
}

/// A listener that runs.
struct Listening<'a> {
    args: &'a Listen,
    stop: &'a Stop,
    event_loop: EventLoop,
    tagged: Tagged<Listener>,
    renewal: Renewal,
    reports: Reports,
    /// How many clients were refused, and of them for want of memory.
    refused: (u64, u64),
}

impl Listening<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        let mut lingers_until = None;
        let mut drains_until = None;
        loop {
            let keys = self.event_loop.turn(&mut self.tagged)?;
            let now = Instant::now();
            self.with(|listener, streams| {
                listener.signalled(streams, &keys);
                listener.write_out(streams);
                listener.check_limits(streams);
            });
            self.check_refused();
            self.report()?;
            if let Some(error) = &self.listener().stdout_closed {
                return Err(Failure::standard_output(error));
            }
            if self.stop.is_asked() {
                let until = *drains_until.get_or_insert_with(|| self.drain(now));
                let is_urgent = self.stop.count() > 1;
                let is_late = until.is_some_and(|until| now >= until);
                if self.listener().open() > 0 && (is_urgent || is_late) {
                    self.cut_off()?;
                }
                if is_urgent {
                    self.close(codes::INTERRUPTED);
                    return Ok(());
                }
            }
            if self.listener().is_done() {
                // To close at once would overtake what clients are still to hear.
                let until = *lingers_until.get_or_insert(now + LINGER);
                if self.listener().connections.is_empty() || now >= until {
                    self.close(if self.stop.is_asked() { codes::INTERRUPTED } else { codes::FINE });
                    return Ok(());
                }
            }
            self.renew();
        }
    }

    const fn listener(&mut self) -> &mut Listener {
        self.tagged.acceptors()
    }

    fn with(&mut self, work: impl FnOnce(&mut Listener, &mut Streams<'_>)) {
        let endpoint = self.event_loop.endpoint();
        self.tagged.with(endpoint, Instant::now(), |streams, listener| work(listener, streams));
    }

    /// Sees whether clients were refused.
    fn check_refused(&mut self) {
        let stats = self.event_loop.endpoint().stats();
        let refused = (stats.refused, stats.refused_for_memory);
        let (all, for_memory) = std::mem::replace(&mut self.refused, refused);
        if refused.0 > all {
            let why = match refused.1 > for_memory {
                true => "there is no memory left to promise (--max-memory)",
                false => {
                    "there are too many connections (--max-connections), or 64 from its address"
                }
            };
            let words = format!("{why}; refused so far: {}", refused.0);
            self.listener().pending.unconnected = Some(words);
        }
    }

    /// Takes no more streams; until when those that there are may come to their end, `None` for ever.
    fn drain(&mut self, now: Instant) -> Option<Instant> {
        self.listener().admission.drain();
        let (open, seconds) = (self.listener().open(), self.args.drain.as_secs_f64());
        if open > 0 && seconds > 0.0 {
            let streams = if open == 1 { "1 stream has" } else { &format!("{open} streams have") };
            self.reports.note(format_args!(
                "about to end: {streams} {seconds} s to come to an end; a second signal breaks off at once"
            ));
        }
        // A time too far away for the clock is as good as never.
        now.checked_add(self.args.drain)
    }

    /// Breaks off what has not come to its end.
    fn cut_off(&mut self) -> Result<(), Failure> {
        self.report()?;
        self.reports.note_outcome(self.stop.outcome());
        self.with(Listener::interrupt);
        self.report()
    }

    /// Puts in a new certificate, if there is one.
    fn renew(&mut self) {
        match self.renewal.poll() {
            Ok(None) => {}
            Ok(Some((server, identity))) => {
                self.event_loop.endpoint().set_server(server);
                let fingerprint = identity.fingerprint();
                self.reports.note(format_args!("renewed: fingerprint {fingerprint}"));
            }
            Err(failure) => {
                self.reports.note(format_args!("{failure}\n  the certificate is not renewed"));
            }
        }
    }

    /// Reports what has ended, and how far it is.
    fn report(&mut self) -> Result<(), Failure> {
        let listener = self.tagged.acceptors();
        let reported = self.reports.emit(&mut listener.pending);
        listener.admission.report_queue_full = self.reports.are_full();
        self.reports.show(listener.bytes, listener.open());
        reported
    }

    /// Closes all connections.
    fn close(&mut self, code: u64) {
        let connections = self.listener().connections.clone();
        for connection in connections {
            // One that is over needs no closing.
            let _ = self.event_loop.endpoint().close(Instant::now(), connection, code, b"");
        }
        self.event_loop.flush(&mut self.tagged);
    }
}
