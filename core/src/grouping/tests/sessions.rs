//! Sessions: how they begin, go on and end, and which are left.

use super::*;

#[test]
fn another_receiver_of_the_same_session_goes_on_with_its_track() {
    let mut bench = Bench::started(1);
    bench.deliver(1, 3);
    bench.start(monday(), 6);
    bench.deliver(6, 6);
    bench.start(monday(), 1);
    bench.deliver(1, 7);
    bench.assert_group(0, "1 2 3 4");
    bench.assert_group(1, "5 6 7");
    assert_eq!(bench.grouping.stats().sessions, 1);
    assert_eq!(bench.grouping.stats().contradictions, 0);
}

#[test]
fn an_ended_session_takes_what_was_missing_and_nothing_behind_its_end() {
    let mut bench = Bench::started(1);
    bench.deliver(1, 1);
    bench.lost(2, 2);
    bench.deliver(3, 3);
    bench.end(monday(), 4);
    bench.steps.clear();
    bench.start(monday(), 1);
    bench.deliver(1, 4);
    bench.end(monday(), 4);
    bench.assert_group(0, "1 2 3");
    let why = Why::Ended;
    assert_eq!(bench.notices(), [Step::Unpublished { session: monday(), sequence: 4, why }]);
}

#[test]
fn two_sessions_go_on_side_by_side_and_the_third_drops_the_one_that_did_not_end() {
    let mut bench = Bench::started(1);
    bench.deliver(1, 1);
    bench.start(session("TUESDAY"), 1);
    bench.deliver(2, 2);
    bench.assert_group(0, "1 2");
    let track = bench.grouping.track(monday()).unwrap();
    bench.steps.clear();
    bench.start(session("WEDNESDAY"), 1);
    assert_eq!(bench.grouping.track(monday()), None);
    let closed = Step::Closed { session: monday(), track, next: None };
    assert!(bench.steps.contains(&closed), "{:?}", bench.steps);
    let over = bench.try_command(Command::Batch(batch(monday(), 3, &["3".into()])));
    assert_eq!(over, Err(Error::NotStarted(monday())));
}

#[test]
fn of_three_sessions_the_one_that_ended_is_left() {
    let mut bench = Bench::started(1);
    bench.start(session("TUESDAY"), 1);
    bench.end(session("TUESDAY"), 1);
    bench.start(session("WEDNESDAY"), 1);
    assert!(bench.grouping.track(monday()).is_some());
    assert_eq!(bench.grouping.track(session("TUESDAY")), None);
}

#[test]
fn of_three_sessions_that_which_was_taken_up_again_stays() {
    let mut bench = Bench::started(1);
    bench.start(session("TUESDAY"), 1);
    bench.start(monday(), 1);
    bench.start(session("WEDNESDAY"), 1);
    bench.end(monday(), 1);
    assert_eq!(bench.grouping.track(session("TUESDAY")), None);
}

#[test]
fn of_three_sessions_that_which_ended_and_was_taken_up_again_stays() {
    let mut bench = Bench::started(1);
    bench.start(session("TUESDAY"), 1);
    bench.end(session("TUESDAY"), 1);
    // Another receiver begins, and reports Tuesday's end later than Wednesday's beginning.
    bench.start(session("TUESDAY"), 1);
    bench.start(session("WEDNESDAY"), 1);
    bench.end(session("TUESDAY"), 1);
    assert_eq!(bench.grouping.track(monday()), None);
}

#[test]
fn what_is_left_is_dropped() {
    let mut bench = Bench::started(1);
    bench.deliver(1, 5);
    let track = bench.grouping.track(monday()).unwrap();
    let group = bench.cache.group(track, 1).unwrap();
    let steps = bench.grouping.leave();
    bench.take(steps);
    assert_eq!(bench.cache.append(group, b"6"), Err(cache::Misuse::Aborted(cache::DROPPED).into()));
    assert_eq!(bench.grouping.track(monday()), None);
}

#[test]
fn a_session_under_a_name_that_is_taken_is_refused_and_can_be_tried_again() {
    let mut bench = Bench::new();
    let limits = Limits::default();
    let track = bench.cache.create_track(NOW, b"itch/MONDAY", 9, limits).unwrap();
    let started = Command::SessionStarted { session: monday(), next: 1 };
    bench.command(started.clone());
    let why = Refusal::NameTaken.into();
    assert_eq!(bench.notices(), [Step::NoTrack { session: monday(), why }]);
    bench.cache.drop_track(track).unwrap();
    bench.steps.clear();
    bench.command(started);
    assert!(matches!(bench.notices()[..], [Step::Opened { .. }]));
}
