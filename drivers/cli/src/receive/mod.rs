//! `gapless receive`: a feed into files, complete.

mod files;
mod output;
mod resume;
mod used;

use std::time::{Duration, Instant};

use gapless_core::Machine;
use gapless_core::receiver::{self, Checkpoint, LineId, QuotaUse, Receiver, SessionEnd, Start};
use gapless_mio::{ReceiverConfig, ReceiverDriver};

use crate::address;
use crate::address::line_name;
use crate::args::{AcceptAnswers, Delivery, OnLoss, OnRegress, Receive};
use crate::failure::{Failure, Outcome};
use crate::io::patience::{Patience, Patient};
use crate::io::standard;
use crate::journal::{Journal, Kept, Recorder};
use crate::progress::{self, Every, Progress};
use crate::statistics::{Ledger, SessionStats, Stops};
use crate::stop::Stop;
use crate::summary::{Counters, End, Received};
use crate::text;
use crate::values::Begin;
use crate::watch::Watch;
use files::Files;
use resume::{State, StateFile};

/// The longest that nothing is looked at: limits of time, Ctrl-C.
const TICK: Duration = Duration::from_millis(50);

/// How often a state is kept.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Receives as the command line says.
///
/// # Errors
/// A file or a socket failed, or the command line makes no sense.
pub(crate) fn run(args: &Receive, stop: &Stop) -> Result<Outcome, Failure> {
    args.check()?;
    let started = Instant::now();
    let until = args.max_time.and_then(|limit| started.checked_add(limit));
    let patience = Patience { until, ..Patience::new(stop) };
    let state_file = args.resume.as_deref().map(StateFile::open).transpose()?;
    let state = state_file.as_ref().and_then(StateFile::state);
    refuse_regressed(args, state)?;
    let progress = Progress::new(None);
    let mut files = Files::prepare(args, state, &progress)?;
    let used = state_file.as_ref().map(|file| used::restored(file.used(), &args.requests));
    let config = config(args, state, used.unwrap_or_default())?;
    let journal = Journal::prepare(&args.journaling)?;
    let mut driver = ReceiverDriver::with_machine(config, None, journal.machine(0))?;
    report_ports(args, &mut driver, &progress);
    let granted = driver.lines().iter().map(|line| line.receive_buffer).min();
    progress::report_buffer(args.receive_buffer, granted, &progress);
    journal.open(&patience)?;
    files.open(&patience)?;
    let stops = Stops {
        on_loss: args.on_loss == OnLoss::Halt,
        on_regress: args.on_regress == OnRegress::Stop,
    };
    Reception {
        args,
        stop,
        journal,
        driver,
        ledger: Ledger::new(files, stops),
        watch: Watch::new(args.session.or(state.map(|state| state.session)), &args.requests),
        state_file,
        requests_kept: 0,
        progress,
        output: Patient::new(standard::Output::Standard, patience),
        started,
        heard: 0,
        last_heard: Instant::now(),
        last_kept: Instant::now(),
        stats: Every::new(args.stats),
        counted: Counters::default(),
        summed_up: 0,
        lost: false,
    }
    .run()
}

/// Refuses to go on behind messages of a feed that its sender began anew.
fn refuse_regressed(args: &Receive, state: Option<&State>) -> Result<(), Failure> {
    match state {
        Some(State { session, regressed: true, .. }) if args.on_regress == OnRegress::Stop => {
            Err(Failure::content(format!(
                "--resume cannot go on: a sender of session {session} started over, its numbers with \
                 it, and what comes now is of another feed"
            ))
            .advise(
                "move the --resume file and the output away to begin anew, or add --on-regress ignore",
            ))
        }
        _ => Ok(()),
    }
}

fn config(
    args: &Receive,
    state: Option<&State>,
    used: Vec<QuotaUse>,
) -> Result<ReceiverConfig, Failure> {
    let mut receiver = receiver::Config {
        session: args.session,
        follow: args.follow,
        start: match args.begin() {
            Begin::Number(number) => Start::At(number),
            Begin::Start => Start::At(1),
            Begin::Live => Start::Live,
        },
        delivery: match args.delivery {
            Delivery::Ordered => receiver::Delivery::Ordered,
            Delivery::Arrival => receiver::Delivery::Arrival,
        },
        on_loss: match args.on_loss {
            OnLoss::Skip => receiver::OnLoss::Skip,
            OnLoss::Halt => receiver::OnLoss::Halt,
        },
        accept_answers: match args.accept_answers {
            AcceptAnswers::Configured => receiver::AcceptAnswers::Configured,
            AcceptAnswers::Any => receiver::AcceptAnswers::Any,
        },
        quotas: args.quota.clone(),
        max_request: args.max_request,
        give_up: args.give_up,
        // Receivers of one feed should not all back off in step.
        seed: u64::from(std::process::id()),
        ..receiver::Config::default()
    };
    if let Some(&State { session, next, .. }) = state {
        if args.session.is_some_and(|wanted| wanted != session) {
            return Err(Failure::usage(format!(
                "--resume goes on with session {session}, --session names another"
            ))
            .advise("leave out --session, or remove the --resume file to begin anew"));
        }
        receiver = receiver.resume(Checkpoint { session, next, used });
    } else {
        receiver.used = used;
    }
    let default = ReceiverConfig::default();
    Ok(ReceiverConfig {
        receiver,
        lines: args.line.clone(),
        servers: args.requests.clone(),
        requests_from: args.source,
        receive_buffer: args.receive_buffer.map_or(default.receive_buffer, |bytes| bytes as usize),
        ..default
    })
}

/// The failure again, if it is only that nobody reads what is written until the end.
fn unread_only(failure: Failure) -> Result<Failure, Failure> {
    match failure.outcome {
        Outcome::Interrupted(_) | Outcome::TimedOut => Ok(failure),
        _ => Err(failure),
    }
}

/// Says which port a line has that was to take a free one.
fn report_ports(args: &Receive, driver: &mut Driver, progress: &Progress) {
    for (number, line) in driver.lines().iter().enumerate() {
        if args.line.get(number).is_some_and(|address| address.destination().port() == 0) {
            progress.report(format_args!("line {} on {}", line_name(number), line.local));
        }
    }
}

/// The driver of a receiver that may be recorded.
type Driver = ReceiverDriver<Recorder<Receiver>>;

/// Receiving, under way.
struct Reception<'a> {
    args: &'a Receive,
    stop: &'a Stop,
    journal: Journal,
    driver: Driver,
    ledger: Ledger<Files>,
    watch: Watch,
    state_file: Option<StateFile>,
    /// The number of requests when it was last kept what was used of quotas.
    requests_kept: u64,
    progress: Progress,
    /// Where results are printed.
    output: Patient<standard::Output>,
    started: Instant,
    /// Packets of sessions that are received, and answers of use.
    heard: u64,
    last_heard: Instant,
    last_kept: Instant,
    stats: Every,
    /// Where the counters stood when the last session was summed up.
    counted: Counters,
    /// Sessions summed up.
    summed_up: u64,
    /// Whether one of them lacks something.
    lost: bool,
}

impl Reception<'_> {
    fn run(mut self) -> Result<Outcome, Failure> {
        let mut unread = None;
        let end = loop {
            match self.turn() {
                Ok(None) => {}
                Ok(Some(end)) => break end,
                Err(failure) => {
                    unread = Some(unread_only(failure)?);
                    break if self.stop.is_asked() { End::Interrupted } else { End::TimedOut };
                }
            }
        };
        if let Err(failure) = self.keep() {
            unread = Some(unread_only(failure)?);
        }
        self.driver.machine_mut().close(&self.progress);
        let rest = self.ledger.take_all();
        // A receiver that follows sessions and hears no more after the last one was not cut short.
        let cut_short = end == End::TimedOut && (self.summed_up == 0 || !rest.is_empty());
        // Packets after the last session's end are reported nowhere else.
        let started_over =
            self.driver.receiver().stats().ended_session_restarts > self.counted.restarts();
        if (self.summed_up == 0 || started_over) && rest.is_empty() {
            self.sum_up(None, end)?;
        }
        for stats in rest {
            self.sum_up(Some(stats), end)?;
        }
        if cut_short {
            let limit = if self.is_over_time() { "--max-time" } else { "--timeout" };
            self.progress.report(format_args!("timed out: {limit} is over, the session is not"));
        }
        if let Some(failure) = &unread {
            self.progress.report(failure);
        }
        let outcome = match end {
            _ if self.lost => Outcome::Lost,
            _ if unread.is_some() => unread.map_or(Outcome::Complete, |failure| failure.outcome),
            End::Interrupted => self.stop.outcome(),
            _ if cut_short => Outcome::TimedOut,
            _ => Outcome::Complete,
        };
        Ok(self.journal.outcome(outcome))
    }

    /// One turn of the driver, and what follows from it; how receiving ended, if it did.
    fn turn(&mut self) -> Result<Option<End>, Failure> {
        let turn = self.driver.turn(Some(TICK), &mut self.ledger);
        self.keep_used()?;
        let turn = turn?;
        self.driver.machine_mut().keep(&self.progress);
        if let Some(failure) = self.ledger.take_failure() {
            return Err(failure);
        }
        if turn.datagrams > 0 {
            self.listen();
        }
        if !turn.more {
            self.ledger.consumer.flush()?;
        }
        // At once when a session begins: a run that is killed then finds its output again.
        if self.last_kept.elapsed() >= KEEP_EVERY || self.is_unkept() {
            self.keep()?;
        }
        while let Some((line, event)) = self.driver.next_interface_event() {
            let number = usize::from(line.0);
            let words = address::interface_event(number, &self.args.line[number], event);
            self.progress.report(words);
            self.ledger.note_interface(line, event);
        }
        let end = self.end();
        if end.is_some() || self.ledger.oldest_ended() {
            // The last events are reported before they are summed up.
            self.watch.check_now(&mut self.driver, &mut self.ledger, &self.progress);
        } else {
            self.watch.check(&mut self.driver, &mut self.ledger, &self.progress);
        }
        self.show();
        while self.ledger.oldest_ended() {
            self.keep()?;
            if let Some(stats) = self.ledger.take_oldest() {
                self.ledger.consumer.close(stats.session)?;
                self.sum_up(Some(stats), End::Ended)?;
            }
            if !self.args.follow {
                return Ok(Some(End::Ended));
            }
        }
        if self.stats.is_due() {
            self.print_stats()?;
        }
        Ok(end)
    }

    /// The reason to stop receiving before the session's end, if there is one.
    fn end(&self) -> Option<End> {
        if self.ledger.stopped {
            Some(End::Regressed)
        } else if self.ledger.halted {
            Some(End::Halted)
        } else if self.stop.is_asked() {
            Some(End::Interrupted)
        } else if self.is_over_time() || self.is_idle() {
            Some(End::TimedOut)
        } else {
            None
        }
    }

    /// Takes note of what came of sessions that are received: what is garbage, or of others, keeps nobody
    /// waiting.
    fn listen(&mut self) {
        let receiver = self.driver.receiver();
        let lines = (0..self.args.line.len()).filter_map(|line| receiver.line(LineId(line as u8)));
        let heard = lines.map(|line| line.packets).sum::<u64>() + receiver.stats().useful_answers;
        if heard != self.heard {
            self.heard = heard;
            self.last_heard = Instant::now();
        }
    }

    fn is_over_time(&self) -> bool {
        self.args.max_time.is_some_and(|limit| self.started.elapsed() >= limit)
    }

    fn is_idle(&self) -> bool {
        self.args.timeout.is_some_and(|limit| self.last_heard.elapsed() >= limit)
    }

    fn show(&mut self) {
        let Some(stats) = self.ledger.oldest() else { return };
        self.progress.show(stats.delivered, || {
            let filled = stats.gaps_filled_by_line + stats.gaps_filled_by_request;
            let lost = stats.lost.messages();
            format!("messages of {}; {filled} gaps filled, {lost} messages lost", stats.session)
        });
    }

    /// Whether there is something to be kept for the first time: a session, or bytes of its output, by which
    /// that is recognised.
    fn is_unkept(&mut self) -> bool {
        let Some(file) = &self.state_file else { return false };
        let Some(session) = self.ledger.oldest().map(|stats| stats.session) else { return false };
        file.state().is_none_or(|state| {
            let mut has_bytes = || self.ledger.consumer.bytes(session) > 0;
            state.session != session || state.output_bytes == 0 && has_bytes()
        })
    }

    /// Keeps what was used of quotas in this turn, so that no other run asks for it again.
    fn keep_used(&mut self) -> Result<(), Failure> {
        let receiver = self.driver.receiver();
        let requests = receiver.stats().requests;
        if let Some(file) = self.state_file.as_mut().filter(|_| !self.args.quota.is_empty())
            && self.requests_kept != requests
        {
            self.requests_kept = requests;
            file.keep_used(used::kept(&receiver.used(), &self.args.requests, file.used()))?;
        }
        Ok(())
    }

    /// Flushes the output and keeps the state that goes with it.
    fn keep(&mut self) -> Result<(), Failure> {
        self.last_kept = Instant::now();
        self.ledger.consumer.flush()?;
        if let (Some(file), Some(stats)) = (&mut self.state_file, self.ledger.oldest()) {
            let (session, next) = (stats.session, stats.next);
            let regressed = stats.regressions > 0
                || file.state().is_some_and(|kept| kept.session == session && kept.regressed);
            let (output_bytes, output) = self.ledger.consumer.written(session)?;
            file.keep(State { session, next, output_bytes, output, regressed })?;
        }
        Ok(())
    }

    /// The summary of a session so far.
    fn received(&self, stats: Option<&SessionStats>, end: End, now: Counters) -> Received {
        let elapsed = stats.map_or(self.started, |stats| stats.started).elapsed();
        let end = match stats.and_then(|stats| stats.end) {
            Some(SessionEnd::Ended) => End::Ended,
            Some(SessionEnd::Superseded) => End::Superseded,
            None => end,
        };
        Received::new(stats, end, elapsed, now, &self.counted)
    }

    /// Prints how it stands, if that keeps nobody waiting.
    fn print_stats(&mut self) -> Result<(), Failure> {
        let now = Counters::new(&mut self.driver, &self.ledger, &self.args.requests);
        let received = self.received(self.ledger.oldest(), End::Running, now);
        if self.args.to_standard_output() {
            return self.print(&received);
        }
        let text = self.text(&received);
        let output = &mut self.output;
        self.progress.suspended(|| output.print_running(&text))
    }

    /// Prints what became of a session.
    fn sum_up(&mut self, stats: Option<SessionStats>, end: End) -> Result<(), Failure> {
        let now = Counters::new(&mut self.driver, &self.ledger, &self.args.requests);
        let received = self.received(stats.as_ref(), end, now.clone());
        self.counted = now;
        self.summed_up += 1;
        // In order, nothing behind what is missing was delivered: whoever goes on gets it.
        let torn = self.args.delivery == Delivery::Arrival && !received.missing_ranges.is_empty();
        self.lost |= received.lacks() || torn;
        self.progress.clear();
        for complaint in received.complaints() {
            self.progress.report(complaint);
        }
        self.print(&received)
    }

    fn text(&self, received: &Received) -> String {
        if self.args.json { text::json(received) } else { received.table() }
    }

    fn print(&mut self, received: &Received) -> Result<(), Failure> {
        let text = self.text(received);
        if self.args.to_standard_output() {
            self.progress.report(text.trim_end());
            return Ok(());
        }
        let output = &mut self.output;
        self.progress.suspended(|| output.print(&text))
    }
}
