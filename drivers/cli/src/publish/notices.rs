//! Problems of a feed that is published, reported on standard error when they happen: at once the first
//! time, then at most a line a second of each kind, with how much came since. Why the system takes no
//! packets is said once for each line and reason; the summary has the counts.

use std::time::{Duration, Instant};

use gapless_core::Machine;
use gapless_core::publisher::Publisher;
use gapless_mio::{InterfaceEvent, PublisherDriver, ReadStats};

use super::published::Unanswered;
use crate::address;
use crate::address::line_name;
use crate::journal::Recorder;
use crate::progress::Progress;
use crate::tap::BadNetwork;
use crate::text::plural;
use crate::watch::reason;

/// How often counters are checked.
const CHECK_EVERY: Duration = Duration::from_millis(100);
/// How far apart lines of one kind are at least.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// How many kinds of what is counted there are.
const KINDS: usize = 7;

/// The driver that is watched.
pub(super) type Driver = PublisherDriver<BadNetwork, Recorder<Publisher>>;

/// When something was said last, and how much there was of it then.
#[derive(Clone, Copy, Default)]
struct Said {
    at: Option<Instant>,
    count: u64,
}

impl Said {
    /// How much more there is, if it is time to say so.
    fn more(&mut self, count: u64) -> Option<u64> {
        let is_due = self.at.is_none_or(|at| at.elapsed() >= SAY_EVERY);
        let more = count.checked_sub(self.count).filter(|more| is_due && *more > 0)?;
        *self = Self { at: Some(Instant::now()), count };
        Some(more)
    }
}

/// Watches a publisher.
pub(super) struct Notices {
    said: [Said; KINDS],
    /// How often interfaces went away, by line.
    interface_losses: Vec<u64>,
    checked_at: Instant,
}

impl Notices {
    pub(super) fn new() -> Self {
        Self {
            said: [Said::default(); KINDS],
            interface_losses: Vec::new(),
            checked_at: Instant::now(),
        }
    }

    /// Says what happened since the last check; counters only if that is a while ago.
    pub(super) fn check(&mut self, driver: &mut Driver, progress: &Progress) {
        self.check_events(driver, progress);
        if self.checked_at.elapsed() >= CHECK_EVERY {
            self.check_counters(driver, progress);
        }
    }

    /// Checks now.
    pub(super) fn check_now(&mut self, driver: &mut Driver, progress: &Progress) {
        self.check_events(driver, progress);
        self.check_counters(driver, progress);
    }

    fn check_events(&mut self, driver: &mut Driver, progress: &Progress) {
        while let Some((number, event)) = driver.next_interface_event() {
            let lines = driver.lines();
            self.interface_losses.resize(lines.len(), 0);
            self.interface_losses[number] += u64::from(event == InterfaceEvent::Gone);
            progress.report(address::interface_event(number, &lines[number].address, event));
        }
        while let Some((line, failure)) = driver.next_send_failure() {
            let what = match line {
                Some(number) => named(driver, number),
                None => "answers".to_owned(),
            };
            let why = reason(failure);
            progress
                .report(format_args!("warning: {what}: the system does not take packets: {why}"));
        }
    }

    fn check_counters(&mut self, driver: &mut Driver, progress: &Progress) {
        self.checked_at = Instant::now();
        let (dropped, read) = (driver.requests_dropped(), driver.requests_read());
        let not = Unanswered::new(driver.publisher().retransmitter().stats());
        self.count(dropped, read, not, |line| progress.report(line));
    }

    /// Says how much more there is of each kind.
    fn count(
        &mut self,
        dropped: u64,
        read: ReadStats,
        not: Unanswered,
        mut say: impl FnMut(String),
    ) {
        let strange = not.other_session + not.out_of_range + not.malformed;
        let kinds: [_; KINDS] = [
            (
                dropped,
                "requests: ",
                "datagram",
                "dropped by the kernel: the buffer was full; see --receive-buffer",
            ),
            (read.cut, "requests: ", "datagram", "longer than UDP allows"),
            (read.errors, "requests: ", "read", "failed"),
            (
                not.over_address_rate,
                "",
                "request",
                "not answered: one address may not have more a second (--answer-rate)",
            ),
            (
                not.over_total_rate,
                "",
                "request",
                "not answered: all together may not have more a second (--answer-rate)",
            ),
            (not.not_kept, "", "request", "not answered: the messages are not kept (--keep)"),
            (
                strange,
                "",
                "request",
                "not answered: of another session, for messages that were not sent, or malformed",
            ),
        ];
        for (said, (count, of, what, words)) in self.said.iter_mut().zip(kinds) {
            if let Some(more) = said.more(count) {
                say(format!("warning: {of}{} {words}", plural(more, what)));
            }
        }
    }

    /// How often the interface of a line went away.
    pub(super) fn interface_losses(&self, line: usize) -> u64 {
        self.interface_losses.get(line).copied().unwrap_or(0)
    }

    /// The lines on which not one packet was sent, and why, in words.
    pub(super) fn dead_lines(driver: &Driver) -> Vec<String> {
        let lines = driver.lines();
        let dead = lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.stats.datagrams == 0 && !line.failures.is_empty());
        let words = dead.map(|(number, line)| {
            let why: Vec<_> = line.failures.iter().map(|failure| reason(*failure)).collect();
            format!("{}: not one packet was sent: {}", named(driver, number), why.join(", "))
        });
        words.collect()
    }
}

fn named(driver: &Driver, number: usize) -> String {
    let address = driver.lines().get(number).map(|line| line.address.to_string());
    format!("line {} ({})", line_name(number), address.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use gapless_core::retransmitter::Stats;

    #[test]
    fn what_is_no_request_is_reported_when_it_comes_and_not_again() {
        let mut notices = Notices::new();
        let mut said = |cut, errors| {
            let read = ReadStats { cut, errors, ..ReadStats::default() };
            let mut said = Vec::new();
            notices.count(0, read, Unanswered::new(&Stats::default()), |line| said.push(line));
            said
        };
        assert_eq!(said(0, 0), [""; 0]);
        let cut = "warning: requests: 2 datagrams longer than UDP allows";
        assert_eq!(said(2, 1), [cut, "warning: requests: 1 read failed"]);
        assert_eq!(said(2, 1), [""; 0]);
    }
}
