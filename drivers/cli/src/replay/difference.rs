//! The first difference of a replay: after which event, and what was done instead.

use std::collections::BTreeMap;

use gapless_core::journal::Observer;
use gapless_core::journal::replayer::{Difference, Place, ReplayStep};
use serde::Serialize;

/// The most lines that are kept of one event.
const MOST_LINES: usize = 200;

/// The steps of one event.
#[derive(Clone, Default, Debug)]
struct Events {
    lines: Vec<Line>,
    /// Lines beyond those.
    left_out: u64,
    digests: Option<[u32; 2]>,
}

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// An input of the machine.
    Given(String),
    /// An output of the replay: a command, or a call's answer.
    Replayed(String),
    /// The output that the journal has in its place.
    Recorded(String),
}

/// Looks on, and keeps what happened in one event, or in the last one of each machine.
pub(super) struct Account {
    only: Option<Place>,
    events: BTreeMap<u16, Events>,
}

impl Account {
    /// Of this one.
    pub(super) const fn of(place: Place) -> Self {
        Self { only: Some(place), events: BTreeMap::new() }
    }

    /// Of each machine's last.
    pub(super) const fn of_every_event() -> Self {
        Self { only: None, events: BTreeMap::new() }
    }
}

impl Observer for Account {
    fn happens(&mut self, place: Place, step: ReplayStep<'_>) {
        let is_it = |only: Place| (only.machine, only.event) == (place.machine, place.event);
        if !self.only.is_none_or(is_it) {
            return;
        }
        let events = self.events.entry(place.machine).or_default();
        let line = match step {
            ReplayStep::Made => Line::Given("made".into()),
            ReplayStep::Event(event) => Line::Given(format!("event {event:?}")),
            ReplayStep::Timeout => Line::Given("timeout".into()),
            ReplayStep::Call(call) => Line::Given(format!("call {call:?}")),
            ReplayStep::Answer(given) | ReplayStep::Command(given) => {
                Line::Replayed(format!("{given:?}"))
            }
            ReplayStep::Recorded(recorded) => Line::Recorded(format!("{recorded:?}")),
            ReplayStep::EventDigest { recorded, replayed, timeout } => {
                events.digests = Some([recorded, replayed]);
                Line::Replayed(match timeout {
                    Some(at) => format!("next timeout at {at}"),
                    None => "no timeout".into(),
                })
            }
        };
        if matches!(line, Line::Given(_)) {
            *events = Events::default();
        }
        if events.lines.len() < MOST_LINES {
            events.lines.push(line);
        } else {
            events.left_out += 1;
        }
    }
}

/// The difference that `--verify` found.
#[derive(Debug, Serialize)]
pub(super) struct Differs {
    pub(super) machine: u16,
    pub(super) kind: &'static str,
    pub(super) event: u64,
    pub(super) seconds: f64,
    pub(super) offset: u64,
    pub(super) what: String,
    /// As in the journal, in hexadecimal; `null` where the journal ends before.
    pub(super) recorded_digest: Option<String>,
    pub(super) replayed_digest: Option<String>,
    /// The input, and what followed, the next timeout last. Recorded commands are in journals made with
    /// `--journal-commands`; those that are the same are left out.
    pub(super) lines: Vec<Line>,
    pub(super) lines_left_out: u64,
    #[serde(skip)]
    time: String,
}

impl Differs {
    /// The difference at `offset` of the journal, of which an account was kept.
    pub(super) fn new(
        place: Place,
        offset: u64,
        difference: &Difference,
        mut account: Account,
    ) -> Self {
        let Place { machine, name, event, now } = place;
        let Events { lines, left_out, digests } =
            account.events.remove(&machine).unwrap_or_default();
        let [recorded, replayed] = [0, 1].map(|of| digests.map(|both| format!("{:08x}", both[of])));
        Self {
            machine,
            kind: name,
            event,
            seconds: now.as_nanos() as f64 / 1e9,
            offset,
            what: difference.to_string(),
            recorded_digest: recorded,
            replayed_digest: replayed,
            lines,
            lines_left_out: left_out,
            time: now.to_string(),
        }
    }

    /// In words, over several lines.
    pub(super) fn complaint(&self) -> String {
        let Self { machine, kind, event, time, offset, what, .. } = self;
        let mut words =
            format!("differs: {kind} {machine}, event {event} at {time}, byte {offset}: {what}");
        for line in &self.lines {
            let (who, text) = match line {
                Line::Given(text) => ("given", text),
                Line::Replayed(text) => ("replayed", text),
                Line::Recorded(text) => ("recorded", text),
            };
            words.push_str(&format!("\n  {who:<9}{text}"));
        }
        if self.lines_left_out > 0 {
            words.push_str(&format!("\n  … and {} more", self.lines_left_out));
        }
        if let (Some(recorded), Some(replayed)) = (&self.recorded_digest, &self.replayed_digest) {
            words.push_str(&format!("\n  {:<9}{recorded} recorded, {replayed} replayed", "digest"));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gapless_core::Instant;

    fn place(machine: u16, event: u64) -> Place {
        Place { machine, name: "receiver", event, now: Instant::from_millis(event) }
    }

    fn two_machines(account: &mut Account) {
        for event in 1..=3 {
            for machine in 0..2 {
                account.happens(place(machine, event), ReplayStep::Timeout);
            }
            account.happens(place(0, event), ReplayStep::Command(&event));
            account.happens(place(0, event), ReplayStep::Recorded(&(event + 10)));
            let timeout = (event == 2).then_some(Instant::from_millis(9));
            let settled = ReplayStep::EventDigest { recorded: 1, replayed: 2, timeout };
            account.happens(place(0, event), settled);
        }
    }

    #[test]
    fn the_last_event_of_each_machine_is_kept() {
        let mut account = Account::of_every_event();
        two_machines(&mut account);
        let lines = [
            Line::Given("timeout".into()),
            Line::Replayed("3".into()),
            Line::Recorded("13".into()),
            Line::Replayed("no timeout".into()),
        ];
        assert_eq!(account.events[&0].lines, lines);
        assert_eq!(account.events[&1].lines, lines[..1]);
    }

    #[test]
    fn only_the_event_that_is_wanted_is_kept() {
        let mut account = Account::of(place(0, 2));
        two_machines(&mut account);
        let difference = Difference::More { recorded: 0 };
        let differs = Differs::new(place(0, 2), 77, &difference, account);
        assert_eq!(
            differs.complaint(),
            "differs: receiver 0, event 2 at 0.002000000s, byte 77: 0 commands are recorded, the \
             replay gives more\n  given    timeout\n  replayed 2\n  recorded 12\n  \
             replayed next timeout at 0.009000000s\n  digest   00000001 recorded, 00000002 replayed"
        );
    }

    #[test]
    fn an_event_of_many_commands_is_cut() {
        let mut account = Account::of(place(0, 1));
        account.happens(place(0, 1), ReplayStep::Timeout);
        (0..1000).for_each(|number| account.happens(place(0, 1), ReplayStep::Command(&number)));
        let events = &account.events[&0];
        assert_eq!((events.lines.len(), events.left_out), (MOST_LINES, 801));
    }
}
