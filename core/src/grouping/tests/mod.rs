//! Sentences of a grouping, over a cache of its own.

mod sessions;
mod steps;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::cache::{self, Cache, FrameState, Limits, Refusal};
use crate::receiver::{LossReason, Origin, SessionEnd};
use crate::{Duration, Machine};

const NOW: Instant = Instant::from_millis(1);

fn session(name: &str) -> Session {
    Session::from_name(name.as_bytes()).unwrap()
}

fn monday() -> Session {
    session("MONDAY")
}

/// A grouping of four messages a group, its cache, and the steps taken.
struct Bench {
    grouping: Grouping,
    cache: Cache,
    steps: Vec<Step>,
}

impl Bench {
    fn new() -> Self {
        Self::with(Config::new("itch"))
    }

    fn with(config: Config) -> Self {
        Self::grouped_by(4, config)
    }

    fn grouped_by(group_size: u32, config: Config) -> Self {
        let grouping = Grouping::new(Config { group_size, ..config }).unwrap();
        let cache = Cache::new(cache::Config::new(1 << 20)).unwrap();
        Self { grouping, cache, steps: Vec::new() }
    }

    /// With a session that begins at a number.
    fn started(next: u64) -> Self {
        let mut bench = Self::new();
        bench.start(monday(), next);
        bench.steps.clear();
        bench
    }

    fn try_command(&mut self, command: Command) -> Result<(), Error> {
        let steps = self.grouping.command(command)?;
        self.take(steps);
        Ok(())
    }

    /// Takes steps to the end, and drains the cache after each.
    fn take<B: AsRef<[u8]>>(&mut self, mut steps: Steps<B>) {
        while let Some(step) = self.grouping.step(NOW, &mut self.cache, &mut steps) {
            self.steps.push(step);
            while self.cache.poll_command().is_some() {}
        }
    }

    fn command(&mut self, command: Command) {
        self.try_command(command).unwrap();
    }

    /// The steps but for those of frames that come, or came before.
    fn notices(&self) -> Vec<Step> {
        use Step::{Appended, Duplicate, Filled};
        let is_frame =
            |step: &Step| matches!(step, Appended { .. } | Filled { .. } | Duplicate { .. });
        self.steps.iter().filter(|step| !is_frame(step)).cloned().collect()
    }

    /// The steps by which something was appended or filled: group and indices.
    fn frames(&self) -> Vec<(u64, core::ops::Range<u64>)> {
        let of = |step: &Step| match *step {
            Step::Appended { group, ref frames, .. } => Some((group, frames.clone())),
            Step::Filled { group, index, .. } => Some((group, index..index + 1)),
            _ => None,
        };
        self.steps.iter().filter_map(of).collect()
    }

    fn start(&mut self, session: Session, next: u64) {
        self.command(Command::SessionStarted { session, next });
    }

    fn end(&mut self, session: Session, next: u64) {
        self.command(Command::SessionEnded { session, next, reason: SessionEnd::Ended });
    }

    fn lost(&mut self, first: u64, last: u64) {
        let reason = LossReason::GivenUp;
        self.command(Command::Lost { session: monday(), first, last, reason });
    }

    /// Delivers messages that say their number.
    fn deliver(&mut self, first: u64, last: u64) {
        let messages: Vec<_> = (first..=last).map(|number| number.to_string()).collect();
        self.deliver_these(first, &messages);
    }

    fn deliver_these(&mut self, first: u64, messages: &[String]) {
        self.command(Command::Batch(batch(monday(), first, messages)));
    }

    /// The frames of a group of Monday, a word each; `None` when it is not there.
    fn group(&self, sequence: u64) -> Option<Vec<String>> {
        let track = self.grouping.track(monday()).unwrap();
        let group = self.cache.group(track, sequence)?;
        let frames = self.cache.frames(group)?;
        Some(frames.map(|index| word(self.cache.frame(group, index).unwrap())).collect())
    }

    fn assert_group(&self, sequence: u64, frames: &str) {
        let group = self.group(sequence).map(|frames| frames.join(" "));
        assert_eq!(group.as_deref(), Some(frames), "group {sequence}");
    }

    /// Returns true if a group is there and takes no more frames.
    fn is_finished(&mut self, sequence: u64) -> bool {
        let track = self.grouping.track(monday()).unwrap();
        let group = self.cache.group(track, sequence).unwrap();
        self.cache.append(group, b"more") == Err(cache::Misuse::GroupEnded.into())
    }
}

fn word(look: FrameState<'_>) -> String {
    match look {
        FrameState::Held(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        FrameState::Missing(why) => format!("{why:?}").to_lowercase(),
        other => format!("{other:?}"),
    }
}

fn batch(session: Session, first: u64, messages: &[String]) -> Batch<bytes::Bytes> {
    let mut bytes = vec![0xFF; 3];
    for message in messages {
        bytes.extend_from_slice(&(message.len() as u16).to_be_bytes());
        bytes.extend_from_slice(message.as_bytes());
    }
    Batch {
        session,
        first,
        count: messages.len() as u16,
        bytes: bytes.into(),
        offset: 3,
        arrival: NOW,
        origin: Origin::Unknown,
        repaired: false,
    }
}

#[test]
fn message_n_is_frame_n_minus_1_mod_k_of_group_n_minus_1_div_k() {
    let mut bench = Bench::started(1);
    bench.deliver(1, 9);
    bench.assert_group(0, "1 2 3 4");
    bench.assert_group(1, "5 6 7 8");
    bench.assert_group(2, "9");
    let grouping = &bench.grouping;
    assert_eq!(grouping.place(9), Some((2, 0)));
    assert_eq!(grouping.sequence(2, 0), Some(9));
    assert_eq!(grouping.stats().published, 9);
}

#[test]
fn the_last_number_there_is_has_a_place_and_what_is_beyond_has_none() {
    let mut grouping = Bench::new().grouping;
    let (group, index) = grouping.place(u64::MAX).unwrap();
    assert_eq!((group, index), ((1 << 62) - 1, 2));
    assert_eq!(grouping.sequence(group, index), Some(u64::MAX));
    assert_eq!(grouping.sequence(group, 3), None);
    assert_eq!(grouping.sequence(u64::MAX, 0), None);
    assert_eq!(grouping.sequence(0, 4), None, "groups have four");
    assert_eq!(grouping.place(0), None);
    assert_eq!([1, 4, 5, 0].map(|number| grouping.start_live(monday(), number)), [1, 1, 5, 1]);
}

#[test]
fn a_group_is_finished_when_it_is_full() {
    let mut bench = Bench::started(1);
    bench.deliver(1, 7);
    assert!(bench.is_finished(0));
    assert!(!bench.is_finished(1));
}

#[test]
fn the_last_group_and_the_track_are_finished_with_the_session() {
    let mut bench = Bench::started(1);
    bench.deliver(1, 6);
    bench.end(monday(), 7);
    assert!(bench.is_finished(1));
    let track = bench.grouping.track(monday()).unwrap();
    let beyond = Refusal::BeyondEnd { sequence: 2, end: 1 };
    assert_eq!(bench.cache.create_group(NOW, track, 2), Err(beyond.into()));
    assert_eq!(bench.notices(), [Step::Closed { session: monday(), track, next: Some(7) }]);
}

#[test]
fn what_is_lost_is_a_state_and_an_empty_message_is_none() {
    let mut bench = Bench::started(1);
    bench.deliver_these(1, &[String::new()]);
    bench.lost(2, 3);
    bench.deliver(4, 4);
    assert_eq!(bench.group(0).unwrap(), ["", "lost", "lost", "4"]);
    assert_eq!(bench.grouping.stats().lost, 2);
}

#[test]
fn a_group_that_is_lost_whole_is_not_created() {
    let mut bench = Bench::started(1);
    bench.deliver(1, 3);
    bench.lost(4, 14);
    bench.deliver(15, 15);
    bench.assert_group(0, "1 2 3 lost");
    assert_eq!((bench.group(1), bench.group(2)), (None, None));
    bench.assert_group(3, "lost lost 15");
    let stats = bench.grouping.stats();
    assert_eq!((stats.groups, stats.groups_missing, stats.lost), (2, 2, 11));
}

#[test]
fn a_group_that_is_lost_piece_by_piece_is_not_created_either() {
    let mut bench = Bench::started(1);
    for number in 1..=4 {
        bench.lost(number, number);
    }
    bench.deliver(5, 5);
    assert_eq!(bench.group(0), None);
    assert_eq!(bench.grouping.stats().groups_missing, 1);
}

#[test]
fn a_last_group_of_which_nothing_came_is_not_created() {
    let mut bench = Bench::started(1);
    bench.deliver(1, 4);
    bench.lost(5, 6);
    bench.end(monday(), 7);
    assert_eq!(bench.group(1), None);
}

#[test]
fn what_lies_before_a_start_within_a_group_is_absent() {
    let mut bench = Bench::started(7);
    bench.deliver(7, 8);
    bench.assert_group(1, "absent absent 7 8");
    assert_eq!(bench.group(0), None);
}

#[test]
fn what_was_passed_over_without_being_lost_is_absent() {
    let mut bench = Bench::started(1);
    bench.deliver(1, 1);
    bench.deliver(3, 3);
    bench.deliver(10, 10);
    bench.assert_group(0, "1 absent 3 absent");
    assert_eq!(bench.group(1), None);
    bench.assert_group(2, "absent 10");
    assert_eq!(bench.grouping.stats().absent, 7);
}

#[test]
fn frames_lost_before_anything_of_a_group_came_are_reported_behind_the_absent_ones() {
    let mut bench = Bench::started(2);
    bench.lost(2, 2);
    bench.deliver(3, 3);
    bench.assert_group(0, "absent lost 3");
}

#[test]
fn a_live_start_goes_back_to_the_front_of_its_group() {
    let mut bench = Bench::new();
    assert_eq!(bench.grouping.start_live(monday(), 7), 5);
    bench.start(monday(), 5);
    bench.deliver(5, 7);
    bench.assert_group(1, "5 6 7");
}

#[test]
fn a_live_start_whose_backfill_is_lost_begins_with_the_next_group() {
    let mut bench = Bench::new();
    let first = bench.grouping.start_live(monday(), 7);
    bench.start(monday(), first);
    bench.lost(5, 6);
    bench.steps.clear();
    bench.deliver(7, 9);
    assert_eq!(bench.group(1), None);
    bench.assert_group(2, "9");
    let unpublished =
        |sequence| Step::Unpublished { session: monday(), sequence, why: Why::BeforeStart };
    assert_eq!(bench.notices(), [unpublished(7), unpublished(8)]);
    assert_eq!(bench.grouping.stats().before_start, 2);
}

#[test]
fn a_loss_at_the_live_edge_is_no_missing_backfill() {
    let mut bench = Bench::new();
    let first = bench.grouping.start_live(monday(), 5);
    bench.start(monday(), first);
    bench.lost(5, 6);
    bench.deliver(7, 7);
    bench.assert_group(1, "lost lost 7");
}

#[test]
fn a_live_start_without_backfill_begins_with_the_next_group() {
    let mut bench = Bench::new();
    bench.grouping.start_live(monday(), 7);
    bench.start(monday(), 7);
    let track = bench.grouping.track(monday()).unwrap();
    assert_eq!(bench.notices(), [Step::Opened { session: monday(), track, first: 9 }]);
    bench.deliver(7, 9);
    assert_eq!(bench.group(1), None);
    bench.assert_group(2, "9");
}

#[test]
fn a_start_at_a_number_loses_nothing_of_what_comes_for_a_loss() {
    let mut bench = Bench::started(1);
    bench.lost(1, 2);
    bench.deliver(3, 4);
    bench.assert_group(0, "lost lost 3 4");
}

#[test]
fn what_was_missing_and_comes_late_becomes_held() {
    let mut bench = Bench::started(2);
    bench.deliver(2, 2);
    bench.lost(3, 3);
    bench.deliver(4, 5);
    bench.assert_group(0, "absent 2 lost 4");
    bench.deliver(1, 3);
    bench.assert_group(0, "1 2 3 4");
    let stats = bench.grouping.stats();
    assert_eq!((stats.filled, stats.same, stats.contradictions), (2, 1, 0));
    assert_eq!(bench.notices(), []);
}

#[test]
fn a_message_again_with_other_bytes_is_reported_and_changes_nothing() {
    let mut bench = Bench::started(1);
    bench.deliver(1, 5);
    bench.deliver_these(2, &["two".into()]);
    bench.assert_group(0, "1 2 3 4");
    assert_eq!(bench.notices(), [Step::Contradiction { session: monday(), sequence: 2 }]);
    assert_eq!(bench.grouping.stats().contradictions, 1);
    assert_eq!(bench.cache.stats().contradictions, 1);
}

#[test]
fn a_message_of_a_group_that_was_lost_whole_creates_it_after_all() {
    let mut bench = Bench::started(1);
    bench.deliver(1, 4);
    bench.lost(5, 8);
    bench.deliver(9, 9);
    bench.deliver(6, 7);
    bench.assert_group(1, "absent 6 7 absent");
    assert!(bench.is_finished(1));
    assert_eq!(bench.grouping.stats().filled, 2);
}

#[test]
fn a_late_message_of_the_group_under_way_creates_it_with_what_is_missing() {
    let mut bench = Bench::started(1);
    bench.lost(1, 2);
    bench.deliver(1, 1);
    bench.assert_group(0, "1 lost");
    bench.deliver(3, 4);
    bench.assert_group(0, "1 lost 3 4");
}

#[test]
fn what_comes_for_a_group_before_the_oldest_is_too_late() {
    let mut bench = Bench::started(9);
    bench.deliver(9, 9);
    bench.deliver(1, 8);
    assert_eq!((bench.group(0), bench.group(1)), (None, None));
    assert_eq!(bench.grouping.stats().late, 8);
}

#[test]
fn a_message_that_is_too_long_is_absent_and_reported() {
    let mut bench = Bench::with(Config { max_message: 3, ..Config::new("itch") });
    bench.start(monday(), 1);
    bench.steps.clear();
    bench.deliver_these(1, &["abc".into(), "abcd".into(), "c".into()]);
    bench.assert_group(0, "abc absent c");
    let why = Why::Refused(Refusal::FrameTooLarge { size: 4, max: 3 });
    assert_eq!(bench.notices(), [Step::Unpublished { session: monday(), sequence: 2, why }]);
    bench.deliver_these(2, &["abcd".into()]);
    bench.assert_group(0, "abc absent c");
}

#[test]
fn a_group_that_somebody_aborts_ends_what_is_published_of_it_and_the_next_goes_on() {
    let mut bench = Bench::started(1);
    bench.deliver(1, 1);
    let track = bench.grouping.track(monday()).unwrap();
    let group = bench.cache.group(track, 0).unwrap();
    bench.cache.abort_group(group, 7).unwrap();
    bench.deliver(2, 5);
    assert_eq!(bench.grouping.stats().refused, 3);
    bench.assert_group(1, "5");
}

#[test]
fn a_group_that_memory_cannot_hold_ends_what_is_published_of_it_and_the_next_goes_on() {
    let mut bench = Bench::new();
    let config = cache::Config { max_publishers: 0, ..cache::Config::new(256 << 10) };
    bench.cache = Cache::new(config).unwrap();
    let limits = Limits::default();
    // Groups that cannot be evicted leave room for small messages only.
    for name in 0..150_u32 {
        let mut long = vec![b'x'; 1000];
        long.extend_from_slice(&name.to_be_bytes());
        bench.cache.create_track(NOW, &long, 9, limits).unwrap();
    }
    bench.start(monday(), 1);
    bench.steps.clear();
    bench.deliver_these(1, &["1".into(), "x".repeat(60_000), "3".into(), "4".into(), "5".into()]);
    let unpublished = |sequence| {
        let why = Why::Aborted(cache::TOO_LARGE);
        Step::Unpublished { session: monday(), sequence, why }
    };
    assert_eq!(bench.notices(), [unpublished(2), unpublished(3), unpublished(4)]);
    assert_eq!(bench.grouping.stats().published, 2);
    bench.assert_group(1, "5");
}

#[test]
fn filling_what_is_missing_keeps_to_the_budget() {
    let mut bench = Bench::grouped_by(7, Config::new("itch"));
    bench.cache = Cache::new(cache::Config::new(256 << 10)).unwrap();
    bench.start(monday(), 1);
    let is_late = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 62 != 0;
    for number in 10..9000 {
        let late = Some(number - 9).filter(|&number| is_late(number));
        for number in Some(number).filter(|&number| !is_late(number)).into_iter().chain(late) {
            bench.deliver(number, number);
            let used = bench.cache.memory_used();
            assert!(used <= 256 << 10, "{used} bytes are used at {number}");
        }
    }
    assert!(bench.cache.stats().evicted.by_bytes > 0, "the budget was reached");
}

#[test]
fn a_session_that_begins_far_out_is_published_there() {
    let mut bench = Bench::started(1 << 60);
    bench.deliver(1 << 60, 1 << 60);
    let frames = format!("absent absent absent {}", 1_u64 << 60);
    bench.assert_group((1 << 58) - 1, &frames);
}

#[test]
fn a_group_beyond_the_window_is_refused_and_reported() {
    let mut bench = Bench::new();
    bench.cache = Cache::new(cache::Config { window: 2, ..cache::Config::new(1 << 20) }).unwrap();
    bench.start(monday(), 1);
    bench.steps.clear();
    bench.deliver(13, 13);
    let why = Why::Refused(Refusal::BeyondWindow { sequence: 3, last: 2 });
    assert_eq!(bench.notices(), [Step::Unpublished { session: monday(), sequence: 13, why }]);
}

#[test]
fn the_last_message_there_can_be_is_published_and_the_session_ends() {
    let mut bench = Bench::started(u64::MAX - 1);
    bench.deliver(u64::MAX - 1, u64::MAX);
    assert_eq!(bench.grouping.next(monday()), Some(u64::MAX));
    bench.end(monday(), u64::MAX);
    let (last, before) = (u64::MAX.to_string(), (u64::MAX - 1).to_string());
    bench.assert_group((1 << 62) - 1, &format!("absent {before} {last}"));
    assert!(bench.is_finished((1 << 62) - 1));
}

#[test]
fn losing_every_number_there_is_takes_no_time() {
    let mut bench = Bench::started(2);
    bench.lost(2, u64::MAX);
    assert_eq!(bench.grouping.stats().lost, u64::MAX - 1);
    bench.lost(1, u64::MAX);
    bench.deliver(u64::MAX, u64::MAX);
    bench.end(monday(), u64::MAX);
    assert_eq!(bench.grouping.stats().lost, u64::MAX - 1, "nothing is lost twice");
}

#[test]
fn message_zero_is_no_message() {
    let mut bench = Bench::new();
    bench.start(monday(), 0);
    bench.deliver_these(0, &["zero".into()]);
    assert_eq!(bench.grouping.stats().late, 1);
    bench.deliver(1, 1);
    bench.assert_group(0, "1");
}

#[test]
fn a_track_keeps_what_its_limits_say() {
    let limits = Limits { max_age: Duration::from_secs(1), ..Limits::default() };
    let mut bench = Bench::with(Config { limits, ..Config::new("itch") });
    bench.start(monday(), 1);
    bench.deliver(1, 5);
    assert_eq!(bench.cache.poll_timeout(), Some(NOW + Duration::from_secs(1)));
    bench.cache.handle_timeout(NOW + Duration::from_secs(1)).unwrap();
    while bench.cache.poll_command().is_some() {}
    assert_eq!(bench.group(0), None);
    bench.assert_group(1, "5");
}

#[test]
fn it_takes_a_few_hundred_bytes() {
    assert!(Bench::new().grouping.memory_used() < 700);
}
