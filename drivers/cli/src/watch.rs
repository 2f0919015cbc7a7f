//! Problems of a feed that is received, reported on standard error when they happen: at once the first
//! time, then at most a line a second of each kind, and less often of what goes on, with how much came
//! since.
//!
//! The loop that runs lets it check after every turn. What is counted is in the summary too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gapless_core::receiver::{LineId, Receiver, ServerId};
use gapless_core::{Machine, Session};
use gapless_mio::{LineReport, ReceiverDriver, SendFailure};

use crate::address::line_name;
use crate::journal::Recorder;
use crate::progress::Progress;
use crate::statistics::{Consumer, Ledger};
use crate::text::plural;

/// How often counters are checked.
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// How far apart lines of one kind are at least.
const SAY_EVERY: Duration = Duration::from_secs(1);
/// The same, at most, of what goes on and on: other sessions on a shared port, a server that is gone.
const REMIND_EVERY: Duration = Duration::from_secs(60);
/// How long a line may bring nothing of a session that others bring, without a word.
const SILENT: Duration = Duration::from_secs(3);
/// How long a session may be awaited without a word.
const PATIENCE: Duration = Duration::from_secs(1);
/// Of how many other sessions it is remembered that they were named.
const NAMED: usize = 64;

/// The driver that is watched.
type Driver = ReceiverDriver<Recorder<Receiver>>;

/// The kinds of problems that are counted, each reported apart from all others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Lost(Session),
    Regressed(Session),
    Contradicted(Session),
    Malformed(LineId),
    KernelDrops(LineId),
    Cut(LineId),
    Unread(LineId),
    TimedOut(u8),
    Foreign,
    Ended,
    Restarted,
    UnknownPeer,
    ForeignAnswers,
    MalformedAnswers,
    AnswerDrops,
    AnswersCut,
    AnswersUnread,
    Unsent,
    PutOff,
    Withdrawn,
}

/// When something was said last, and how much there was of it then.
struct Said {
    at: Instant,
    count: u64,
    /// How long nothing is said of it then.
    pause: Duration,
}

/// Watches a receiver.
pub(crate) struct Watch {
    session: Option<Session>,
    servers: Vec<Server>,
    lines: BTreeMap<LineId, Line>,
    said: BTreeMap<Kind, Said>,
    /// Other sessions that were named.
    named: BTreeSet<Session>,
    checked_at: Instant,
    /// Since when there is no session, and whether that was said.
    waiting: Option<(Instant, bool)>,
    /// Since when there is one.
    came: Option<Instant>,
}

/// A server that is asked.
struct Server {
    address: SocketAddr,
    /// Useful answers when it was said that it does not answer.
    silent_since: Option<u64>,
    /// Useful answers when a request that timed out was last said.
    answers: u64,
}

/// The state of a line as it was last reported.
struct Line {
    up: bool,
    at: Option<Instant>,
}

impl Watch {
    /// Of a receiver that awaits this session, or any, and asks these servers.
    pub(crate) fn new(session: Option<Session>, servers: &[SocketAddr]) -> Self {
        let server = |&address| Server { address, silent_since: None, answers: 0 };
        let now = Instant::now();
        Self {
            session,
            servers: servers.iter().map(server).collect(),
            lines: BTreeMap::new(),
            said: BTreeMap::new(),
            named: BTreeSet::new(),
            checked_at: now,
            waiting: Some((now, false)),
            came: None,
        }
    }

    /// Reports what happened since the last check, if that is a while ago.
    pub(crate) fn check<C: Consumer>(
        &mut self,
        driver: &mut Driver,
        ledger: &mut Ledger<C>,
        progress: &Progress,
    ) {
        if self.checked_at.elapsed() >= CHECK_EVERY {
            self.check_now(driver, ledger, progress);
        }
    }

    /// Checks now.
    pub(crate) fn check_now<C: Consumer>(
        &mut self,
        driver: &mut Driver,
        ledger: &mut Ledger<C>,
        progress: &Progress,
    ) {
        self.checked_at = Instant::now();
        let lines = driver.lines();
        let mut say = |line: String| progress.report(line);
        self.await_session(ledger, &lines, &mut say);
        self.check_lines(ledger, &lines, &mut say);
        self.check_servers(driver.receiver(), &mut say);
        self.check_sessions(ledger, &mut say);
        self.check_strangers(driver, &lines, &mut say);
    }

    /// Says what is waited for, and that the wait is over.
    fn await_session<C: Consumer>(
        &mut self,
        ledger: &Ledger<C>,
        lines: &[LineReport],
        say: &mut impl FnMut(String),
    ) {
        let session = ledger.oldest().map(|stats| stats.session);
        let is_there = session.is_some() && lines.iter().any(|line| line.stats.packets > 0);
        match (is_there, &mut self.waiting) {
            (true, None) => {}
            (true, Some((_, said))) => {
                if let (true, Some(session)) = (*said, session) {
                    say(format!("session {session} came"));
                }
                (self.waiting, self.came) = (None, Some(self.checked_at));
            }
            // The session that follows may be any other.
            (false, None) => {
                (self.session, self.came) = (None, None);
                self.waiting = Some((self.checked_at, false));
            }
            (false, Some((since, said))) => {
                if !*said && since.elapsed() >= PATIENCE {
                    *said = true;
                    let what = match self.session {
                        Some(session) => format!("session {session}"),
                        None => "a session".into(),
                    };
                    say(format!("waiting for {what} on {}", places(lines)));
                }
            }
        }
    }

    /// Lines that go down and come back, and what comes by them that is no packet or does not come.
    fn check_lines<C: Consumer>(
        &mut self,
        ledger: &Ledger<C>,
        lines: &[LineReport],
        say: &mut impl FnMut(String),
    ) {
        for line in lines {
            let name = line_name(usize::from(line.line.0));
            let known = self.lines.entry(line.line).or_insert(Line { up: true, at: None });
            let is_due = known.at.is_none_or(|at| at.elapsed() >= SAY_EVERY);
            // Before others bring a session, a line that is silent is only waited for.
            let is_known =
                line.stats.packets > 0 || self.came.is_some_and(|at| at.elapsed() >= SILENT);
            if is_due && is_known && known.up != line.stats.up {
                *known = Line { up: line.stats.up, at: Some(self.checked_at) };
                say(match (line.stats.up, ledger.downs(line.line)) {
                    (true, 0) => format!("line {name} is up"),
                    (true, _) => format!("line {name} is up again"),
                    (false, 0) => {
                        format!("line {name} is silent: no packet of a session came by it yet")
                    }
                    (false, downs) => {
                        let times = match downs {
                            1 => String::new(),
                            downs => format!(", for the {} time", ordinal(downs)),
                        };
                        format!("line {name} is down: no packets of a session come any more{times}")
                    }
                });
            }
            let buffer = line.receive_buffer;
            self.count(Kind::Malformed(line.line), line.stats.malformed, say, |count| {
                format!("line {name}: {}", plural(count, "malformed datagram"))
            });
            self.count(Kind::Cut(line.line), line.read.cut, say, |count| {
                format!("line {name}: {} longer than UDP allows", plural(count, "datagram"))
            });
            self.count(Kind::KernelDrops(line.line), line.kernel_drops, say, |count| {
                format!(
                    "line {name}: {} dropped by the kernel: its buffer of {buffer} bytes was full; see \
                     --receive-buffer",
                    plural(count, "datagram")
                )
            });
            self.count(Kind::Unread(line.line), line.read.errors, say, |count| {
                format!("line {name}: {} failed", plural(count, "read"))
            });
        }
    }

    /// Servers that do not answer, and those that answer again.
    fn check_servers(&mut self, receiver: &Receiver, say: &mut impl FnMut(String)) {
        for index in 0..self.servers.len() {
            let Some(stats) = receiver.server(ServerId(index as u8)) else { continue };
            let server = &mut self.servers[index];
            let (address, answers) = (server.address, stats.useful_answers);
            if server.silent_since.is_some_and(|before| answers > before) {
                server.silent_since = None;
                say(format!("server {address} answers again"));
            }
            let is_silent = answers == server.answers;
            let mut said = false;
            self.count(Kind::TimedOut(index as u8), stats.timeouts, say, |count| {
                said = true;
                let requests = plural(count, "request");
                match is_silent {
                    true => format!("server {address} does not answer: {requests} in vain"),
                    false => format!("server {address}: {requests} not answered in time"),
                }
            });
            let server = &mut self.servers[index];
            if said {
                server.answers = answers;
                server.silent_since = is_silent.then_some(answers);
            }
        }
    }

    /// Losses of sessions, and senders that start over.
    fn check_sessions<C: Consumer>(
        &mut self,
        ledger: &mut Ledger<C>,
        say: &mut impl FnMut(String),
    ) {
        let is_over = |session: &Session| ledger.sessions().all(|stats| stats.session != *session);
        self.said.retain(|kind, _| match kind {
            Kind::Lost(of) | Kind::Regressed(of) | Kind::Contradicted(of) => !is_over(of),
            _ => true,
        });
        for stats in ledger.sessions_mut() {
            let (session, lost) = (stats.session, stats.lost.messages());
            self.count(Kind::Lost(session), lost, say, |count| {
                let ranges = std::mem::take(&mut stats.unsaid).brief();
                let reasons = stats.reasons();
                format!(
                    "lost just now: {} of session {session}: {ranges} ({reasons})",
                    plural(count, "message")
                )
            });
            if let Some((first, last)) = stats.take_stalled() {
                say(format!(
                    "waiting for messages {first} to {last} of session {session}: all lines are silent, \
                     and too few packets spoke of them"
                ));
            }
            if let Some(regressed) = stats.regressed {
                self.count(Kind::Regressed(session), stats.regressions, say, |_| {
                    format!("regressed: {}", regressed.words(session))
                });
            }
            if let Some(contradicted) = stats.contradicted {
                self.count(Kind::Contradicted(session), stats.contradictions, say, |_| {
                    format!("contradicted: {}", contradicted.words(session))
                });
            }
        }
    }

    /// Packets that nobody asked for, and requests that do not get through.
    fn check_strangers(
        &mut self,
        driver: &mut Driver,
        lines: &[LineReport],
        say: &mut impl FnMut(String),
    ) {
        while let Some(failure) = driver.next_send_failure() {
            say(format!("requests: the system does not take them: {}", reason(failure)));
        }
        let (dropped, read) = (driver.answers_dropped(), driver.answers_read());
        let (receiver, sent) = (driver.receiver(), driver.requests_sent());
        let stats = receiver.stats();
        let foreign: u64 = lines.iter().map(|line| line.stats.foreign).sum();
        // Ends of sessions that are over are sent on for a while.
        let foreign = foreign.saturating_sub(stats.ended_session);
        let wanted = self.session;
        self.hasten(receiver.foreign_sessions().map(|(session, _)| session));
        let mut named = std::mem::take(&mut self.named);
        self.count(Kind::Foreign, foreign, say, |count| {
            named.extend(receiver.foreign_sessions().map(|(session, _)| session));
            let wanted = match wanted {
                Some(session) => format!("; wanted is {}", quoted(session)),
                None => String::new(),
            };
            let which = sessions(receiver.foreign_sessions());
            format!("{} of other sessions: {which}{wanted}", plural(count, "packet"))
        });
        self.named = named;
        self.count(Kind::Restarted, stats.ended_session_restarts, say, |count| {
            format!(
                "regressed: {} of a session that ended before, with what it did not have: its sender \
                 started over, and is not received again",
                plural(count, "packet")
            )
        });
        let late = stats.ended_session_data - stats.ended_session_restarts;
        self.count(Kind::Ended, late, say, |count| {
            format!(
                "{} of a session that ended before: late copies, or a sender that started over, which is \
                 not received again",
                plural(count, "packet")
            )
        });
        self.count(Kind::UnknownPeer, stats.unknown_peer, say, |count| {
            let from =
                receiver.unknown_peer().map_or(String::new(), |peer| format!(", {peer} the last"));
            format!(
                "{} from addresses that --requests does not name{from}; see --accept-answers",
                plural(count, "answer")
            )
        });
        self.count(Kind::ForeignAnswers, stats.foreign_answers, say, |count| {
            format!("{} of a session that is not received", plural(count, "answer"))
        });
        self.count(Kind::MalformedAnswers, stats.malformed_answers, say, |count| {
            plural(count, "malformed answer")
        });
        self.count(Kind::AnswerDrops, dropped, say, |count| {
            format!(
                "answers: {} dropped by the kernel: the buffer was full; see --receive-buffer",
                plural(count, "datagram")
            )
        });
        self.count(Kind::AnswersCut, read.cut, say, |count| {
            format!("answers: {} longer than UDP allows", plural(count, "datagram"))
        });
        self.count(Kind::AnswersUnread, read.errors, say, |count| {
            format!("answers: {} failed", plural(count, "read"))
        });
        self.count(Kind::Unsent, sent.dropped(), say, |count| {
            format!("{} could not be sent", plural(count, "request"))
        });
        self.count(Kind::Withdrawn, stats.claims_withdrawn, say, |count| {
            format!(
                "{} withdrawn: heartbeats or ends spoke of messages, and the feed goes on before them",
                plural(count, "claim")
            )
        });
        let put_off = stats.put_off_for_memory + stats.put_off_for_gaps;
        self.count(Kind::PutOff, put_off, say, |count| {
            format!(
                "{} dropped, to be asked for later: too much waits for what is missing",
                plural(count, "packet")
            )
        });
    }

    /// Reports other sessions soon if there is one that was not named yet: one that goes on and on keeps
    /// nobody else from being named.
    fn hasten(&mut self, mut sessions: impl Iterator<Item = Session>) {
        if self.named.len() < NAMED
            && sessions.any(|session| !self.named.contains(&session))
            && let Some(said) = self.said.get_mut(&Kind::Foreign)
        {
            said.pause = SAY_EVERY;
        }
    }

    /// Says how much more there is of a kind, if there is more and it is time to say so.
    fn count(
        &mut self,
        kind: Kind,
        count: u64,
        say: &mut impl FnMut(String),
        words: impl FnOnce(u64) -> String,
    ) {
        let (before, pause) = match self.said.get(&kind) {
            Some(said) if said.at.elapsed() < said.pause => return,
            // Losses are named as they come; what goes on otherwise need not be said all the time.
            Some(said) if said.at.elapsed() < 2 * said.pause && !matches!(kind, Kind::Lost(_)) => {
                (said.count, (2 * said.pause).min(REMIND_EVERY))
            }
            Some(said) => (said.count, SAY_EVERY),
            None => (0, SAY_EVERY),
        };
        if count > before {
            self.said.insert(kind, Said { at: self.checked_at, count, pause });
            let mut words = words(count - before);
            if before > 0 {
                let _ = write!(words, " ({count} in all)");
            }
            say(words);
        }
    }
}

/// Sessions with their packets, those that send most first.
fn sessions(of: impl Iterator<Item = (Session, u64)>) -> String {
    let mut sessions: Vec<(Session, u64)> = of.collect();
    sessions.sort_by_key(|&(_, packets)| std::cmp::Reverse(packets));
    let mut list = String::new();
    for (session, packets) in sessions {
        let comma = if list.is_empty() { "" } else { ", " };
        let _ = write!(list, "{comma}{} ({packets})", quoted(session));
    }
    list
}

/// All ten bytes of a session, those that are not printable ASCII escaped.
pub(crate) fn escaped(session: Session) -> String {
    session.as_bytes().escape_ascii().to_string()
}

fn quoted(session: Session) -> String {
    format!("\"{}\"", escaped(session))
}

/// Names of lines, and where they are.
fn places(lines: &[LineReport]) -> String {
    let place = |line: &LineReport| {
        let name = line_name(usize::from(line.line.0));
        match line.address.destination().port() {
            0 => format!("line {name} ({})", line.local),
            _ => format!("line {name} ({})", line.address),
        }
    };
    lines.iter().map(place).collect::<Vec<_>>().join(", ")
}

/// Why the system does not take packets.
pub(crate) fn reason(failure: SendFailure) -> String {
    let error = failure.error();
    match error.kind() {
        ErrorKind::WouldBlock => "the send buffer stayed full".to_owned(),
        _ => error.to_string(),
    }
}

/// `2nd`, `3rd`, `11th`.
fn ordinal(number: u64) -> String {
    let ending = match (number % 10, number % 100) {
        (1, tens) if tens != 11 => "st",
        (2, tens) if tens != 12 => "nd",
        (3, tens) if tens != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_is_new_is_named_soon_beside_one_that_goes_on_and_on() {
        let [loud, new] = [*b"LOUD      ", *b"NEW       "].map(Session::new);
        let mut watch = Watch::new(None, &[]);
        let at = Instant::now().checked_sub(2 * SAY_EVERY).unwrap();
        watch.said.insert(Kind::Foreign, Said { at, count: 5, pause: REMIND_EVERY });
        watch.named.insert(loud);
        let said = |watch: &mut Watch, sessions: &[Session]| {
            watch.hasten(sessions.iter().copied());
            let mut said = Vec::new();
            watch.count(Kind::Foreign, 7, &mut |line| said.push(line), |count| count.to_string());
            said
        };
        assert!(said(&mut watch, &[loud]).is_empty());
        assert_eq!(said(&mut watch, &[loud, new]), ["2 (7 in all)"]);
    }

    #[test]
    fn of_sessions_without_number_only_the_first_hasten_anything() {
        let mut watch = Watch::new(None, &[]);
        watch.named.extend((0..NAMED as u8).map(|number| Session::new([number; Session::LEN])));
        let (at, pause) = (Instant::now(), REMIND_EVERY);
        watch.said.insert(Kind::Foreign, Said { at, count: 5, pause });
        watch.hasten([Session::new(*b"NEW       ")].into_iter());
        assert_eq!(watch.said[&Kind::Foreign].pause, REMIND_EVERY);
    }
}
