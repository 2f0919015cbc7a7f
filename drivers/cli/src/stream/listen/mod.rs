//! `gapless stream listen`: from the command line to the end.

mod command;
mod incoming;
mod listener;
mod queue;
mod reports;
mod scarcity;
mod store;

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use gapless_core::demux::{self, Pattern, Registrant};
use gapless_quic::endpoint::Server;
use gapless_quic::tls::{ClientAuth, Identity};
use gapless_quic::{Config, Tagged};

use crate::args::Listen;
use crate::failure::{Failure, Outcome};
use crate::io::blocking::apart;
use crate::io::patience::say;
use crate::progress::Progress;
use crate::stop::Stop;
use crate::stream::event_loop::EventLoop;
use crate::stream::{codes, tls};
use listener::{ACCEPTOR, Listener, Output, Settings};
use reports::{Notes, Reports};
use store::Folder;

/// How long clients may take in the end to hear that all is well.
const LINGER: Duration = Duration::from_secs(5);
/// How long somebody who wants an end waits for who does not read what is told.
const UNREAD: Duration = Duration::from_secs(3);
/// How often it is told at most that clients cannot connect.
const TOLD: Duration = Duration::from_secs(1);

/// Runs the command.
///
/// # Errors
/// Something that it cannot go on without.
pub(super) fn run(args: &Listen, stop: &Stop) -> Result<Outcome, Failure> {
    args.check()?;
    let (identity, clients, endpoint) = apart(stop, None, {
        let args = args.clone();
        move || {
            let identity = tls::identity(&args)?;
            let clients = tls::clients(&args)?;
            let endpoint = tls::listening(&args, &identity, &clients)?;
            Ok((identity, clients, endpoint))
        }
    })?;
    tls::warn(&identity);
    let output = match (&args.output, &args.exec) {
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
    };
    // A command has two pipes, and one more for a moment while it is started.
    let descriptors = if args.exec.is_some() { 3 } else { 1 };
    scarcity::raise(args.parallel() as u64 * descriptors);
    let mut turns = EventLoop::new(Config::new(args.listen, endpoint))?;
    let listener = Listener::new(Settings {
        output,
        count: args.count(),
        parallel: args.parallel(),
        max_bytes: args.max_bytes.unwrap_or(u64::MAX),
        stream_timeout: args.stream_timeout,
        exec_timeout: args.exec_timeout,
        signals: turns.signals.clone(),
    });
    let mut tagged = Tagged::new(demux::Config::default(), Instant::now(), listener)
        .map_err(|error| Failure::usage(error.to_string()))?;
    register(args, &mut turns, &mut tagged)?;
    say(format_args!("listening on {}", turns.address()));
    say(format_args!("fingerprint {}", identity.fingerprint()));
    let progress = Progress::beside_bytes(None, args.to_standard_output());
    let reports = Reports::new(!args.to_standard_output(), turns.signals.clone())?;
    let notes = Notes::new(turns.signals.clone())?;
    let outcome = Outcome::Complete;
    let mut listening = Listening {
        args,
        clients,
        progress,
        reports,
        notes,
        outcome,
        told: None,
        refused: (0, 0),
        removed: (0, None),
    };
    // The first request to end lets streams come to theirs, the second breaks them off.
    stop.allow(2);
    let result = listening.run(&mut turns, &mut tagged, identity, stop);
    if result.is_err() {
        // Commands must not take what came so far for the whole.
        tagged.with(turns.endpoint(), Instant::now(), |streams, listener| {
            listener.interrupt(streams);
        });
        close(&mut turns, &mut tagged, codes::CANNOT_STORE);
    }
    let told = listening.tell_all(&mut turns, tagged.acceptors(), stop);
    listening.progress.clear();
    // The first thing that went wrong is what is told.
    result.and(told).map(|()| listening.outcome)
}

/// Registers all tags.
fn register(
    args: &Listen,
    turns: &mut EventLoop,
    tagged: &mut Tagged<Listener>,
) -> Result<(), Failure> {
    tagged.with(turns.endpoint(), Instant::now(), |streams, _| {
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

/// A new certificate, and what serves with it.
type Renewed = Result<(Option<Server>, Identity), Failure>;

struct Listening<'a> {
    args: &'a Listen,
    clients: ClientAuth,
    progress: Progress,
    reports: Reports,
    notes: Notes,
    /// What went wrong first.
    outcome: Outcome,
    /// When it was last told that a client could not connect.
    told: Option<Instant>,
    /// How many clients were refused, and of them for want of memory.
    refused: (u64, u64),
    /// How many files that are not whole were removed, and when that was told.
    removed: (u64, Option<Instant>),
}

impl Listening<'_> {
    fn run(
        &mut self,
        turns: &mut EventLoop,
        tagged: &mut Tagged<Listener>,
        identity: Identity,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let mut renewal = self.renewal(&identity);
        let mut renewing = None;
        let mut lingers_until = None;
        let mut drains_until = None;
        loop {
            let keys = turns.turn(tagged)?;
            let now = Instant::now();
            tagged.with(turns.endpoint(), now, |streams, listener| {
                listener.signalled(streams, &keys);
                listener.write_out(streams);
                listener.look_at_limits(streams);
            });
            self.look_for_refused(turns, tagged.acceptors());
            self.tell(tagged.acceptors())?;
            if let Some(error) = &tagged.acceptors().deaf {
                return Err(Failure::standard_output(error));
            }
            if stop.is_asked() {
                let until =
                    *drains_until.get_or_insert_with(|| self.drain(tagged.acceptors(), now));
                let is_urgent = stop.count() > 1;
                let is_late = until.is_some_and(|until| now >= until);
                if tagged.acceptors().open() > 0 && (is_urgent || is_late) {
                    self.cut_off(turns, tagged, stop)?;
                }
                if is_urgent {
                    close(turns, tagged, codes::INTERRUPTED);
                    return Ok(());
                }
            }
            if tagged.acceptors().is_done() {
                // To close at once would overtake what clients are still to hear.
                let until = *lingers_until.get_or_insert(now + LINGER);
                if tagged.acceptors().connections.is_empty() || now >= until {
                    let code = if stop.is_asked() { codes::INTERRUPTED } else { codes::FINE };
                    close(turns, tagged, code);
                    return Ok(());
                }
            }
            if renewal.is_some_and(|at| SystemTime::now() >= at) {
                renewing = self.begin_renewal();
                // It is tried again if there was no thread.
                renewal = renewing.is_none().then(|| SystemTime::now() + LATER);
            }
            if let Some(renewed) = renewing.as_ref().and_then(|renewing| renewing.try_recv().ok()) {
                renewing = None;
                renewal = self.renewed(turns, renewed);
            }
        }
    }

    /// Sees whether clients were refused.
    fn look_for_refused(&mut self, turns: &mut EventLoop, listener: &mut Listener) {
        let stats = turns.endpoint().stats();
        let (all, for_memory) =
            std::mem::replace(&mut self.refused, (stats.refused, stats.refused_for_memory));
        if stats.refused > all {
            let why = match stats.refused_for_memory > for_memory {
                true => "there is no memory left to promise (--max-memory)",
                false => {
                    "there are too many connections (--max-connections), or 64 from its address"
                }
            };
            listener.unconnected = Some(format!("{why}; refused so far: {}", stats.refused));
        }
    }

    /// Takes no more streams; until when those that there are may come to their end, `None` for ever.
    fn drain(&mut self, listener: &mut Listener, now: Instant) -> Option<Instant> {
        listener.drain();
        let (open, seconds) = (listener.open(), self.args.drain.as_secs_f64());
        if open > 0 && seconds > 0.0 {
            let streams = if open == 1 { "1 stream has" } else { &format!("{open} streams have") };
            let words = format_args!(
                "about to end: {streams} {seconds} s to come to an end; a second signal breaks off at once"
            );
            self.notes.tell(words, &self.progress);
        }
        // What is too far away for the clock is as good as never.
        now.checked_add(self.args.drain)
    }

    /// Breaks off what has not come to its end.
    fn cut_off(
        &mut self,
        turns: &mut EventLoop,
        tagged: &mut Tagged<Listener>,
        stop: &Stop,
    ) -> Result<(), Failure> {
        self.tell(tagged.acceptors())?;
        if self.outcome == Outcome::Complete {
            self.outcome = stop.outcome();
        }
        tagged.with(turns.endpoint(), Instant::now(), |streams, listener| {
            listener.interrupt(streams);
        });
        self.tell(tagged.acceptors())
    }

    /// When the certificate is to be renewed, if it is one that is made here.
    fn renewal(&self, identity: &Identity) -> Option<SystemTime> {
        self.args.cert.is_none().then(|| identity.renewal())
    }

    /// Makes a new certificate for connections to come, on a thread: the folder may be locked by somebody else, or
    /// its disk hang.
    fn begin_renewal(&self) -> Option<Receiver<Renewed>> {
        let (args, clients) = (self.args.clone(), self.clients.clone());
        let (done, result) = sync_channel(1);
        let renew = move || {
            let renewed = tls::identity(&args).and_then(|identity| {
                let config = tls::listening(&args, &identity, &clients)?;
                Ok((config.server, identity))
            });
            // The program may have come to its end.
            let _ = done.send(renewed);
        };
        thread::Builder::new().spawn(renew).ok().map(|_| result)
    }

    /// Takes a new certificate; when it is to be renewed.
    fn renewed(&mut self, turns: &mut EventLoop, renewed: Renewed) -> Option<SystemTime> {
        match renewed {
            Ok((server, identity)) => {
                turns.endpoint().set_server(server);
                let fingerprint = identity.fingerprint();
                let words = format_args!("renewed: fingerprint {fingerprint}");
                self.notes.tell(words, &self.progress);
                self.renewal(&identity)
            }
            Err(failure) => {
                let words = format_args!("{failure}\n  the certificate is not renewed");
                self.notes.tell(words, &self.progress);
                Some(SystemTime::now() + LATER)
            }
        }
    }

    /// Tells what has ended, and how far it is.
    fn tell(&mut self, listener: &mut Listener) -> Result<(), Failure> {
        while self.reports.have_room()
            && self.notes.have_room()
            && let Some(taken) = listener.ended.pop_front()
        {
            if self.outcome == Outcome::Complete {
                self.outcome = taken.outcome();
            }
            let is_fine = taken.outcome() == Outcome::Complete;
            let mut note = if is_fine { String::new() } else { taken.line() };
            let report = match self.args.json {
                true => taken.json(),
                false if is_fine => taken.line(),
                false => String::new(),
            };
            if self.args.to_standard_output() {
                note += &report;
            } else if !report.is_empty() {
                self.reports.give(report, &self.progress)?;
            }
            if !note.is_empty() {
                self.notes.tell(note.trim_end(), &self.progress);
            }
        }
        listener.is_unheard = !self.reports.have_room() || !self.notes.have_room();
        if let Some(why) = listener.unconnected.take()
            && self.told.is_none_or(|told| told.elapsed() >= TOLD)
        {
            self.told = Some(Instant::now());
            let words = format_args!("a client could not connect: {why}");
            self.notes.tell(words, &self.progress);
        }
        if let Some(why) = listener.scarce.take() {
            self.notes.tell(format_args!("streams wait: {why}"), &self.progress);
        }
        let (told, at) = self.removed;
        let removed = listener.removed_parts() - told;
        if removed > 0 && at.is_none_or(|at| at.elapsed() >= TOLD) {
            self.removed = (told + removed, Some(Instant::now()));
            let most = self.args.keep_parts;
            let words = format_args!("removed {removed} .part: --keep-parts {most}");
            self.notes.tell(words, &self.progress);
        }
        self.notes.write_out();
        self.reports.write_out()?;
        let open = listener.open();
        self.progress.show(listener.bytes, || match open {
            1 => "1 stream".into(),
            open => format!("{open} streams"),
        });
        Ok(())
    }

    /// Tells all that is left, for as long as it takes, unless somebody wants an end.
    fn tell_all(
        &mut self,
        turns: &mut EventLoop,
        listener: &mut Listener,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let reported = self.report_all(turns, listener, stop);
        let mut until = None;
        while !self.notes.end() && !is_late(&mut until, stop) {
            turns.rest()?;
        }
        reported
    }

    /// The same, of what goes to standard output.
    fn report_all(
        &mut self,
        turns: &mut EventLoop,
        listener: &mut Listener,
        stop: &Stop,
    ) -> Result<(), Failure> {
        let mut until = None;
        loop {
            self.tell(listener)?;
            if listener.ended.is_empty() && self.reports.end()? {
                return Ok(());
            }
            if is_late(&mut until, stop) {
                let words = "error: nobody reads standard output: not all is told there";
                self.notes.tell(words, &self.progress);
                if self.outcome == Outcome::Complete {
                    self.outcome = Outcome::Io;
                }
                return Ok(());
            }
            turns.rest()?;
        }
    }
}

/// Whether somebody wants an end, and has waited for long enough: `until` then, which is set here.
fn is_late(until: &mut Option<Instant>, stop: &Stop) -> bool {
    let now = Instant::now();
    stop.is_asked() && now >= *until.get_or_insert(now + UNREAD)
}

/// How long to wait before a certificate is tried to be renewed again.
const LATER: Duration = Duration::from_secs(60 * 60);

/// Closes all connections.
fn close(turns: &mut EventLoop, tagged: &mut Tagged<Listener>, code: u64) {
    let connections = tagged.acceptors().connections.clone();
    for connection in connections {
        // One that is over needs no closing.
        let _ = turns.endpoint().close(Instant::now(), connection, code, b"");
    }
    turns.flush(tagged);
}
