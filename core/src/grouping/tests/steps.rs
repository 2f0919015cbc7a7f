//! Steps: what each says, and how they are taken.

use alloc::vec;

use super::*;

#[test]
fn borrowed_batches_are_published_like_owned_ones() {
    let mut bench = Bench::started(1);
    let Batch { session, first, count, bytes, offset, arrival, origin, repaired } =
        batch(monday(), 1, &["one".into(), "two".into()]);
    let bytes = &bytes[..];
    let borrowed = Batch { session, first, count, bytes, offset, arrival, origin, repaired };
    let steps = bench.grouping.batch(borrowed).unwrap();
    bench.take(steps);
    bench.assert_group(0, "one two");
}

#[test]
fn each_message_is_one_step_however_many_readers_wait_and_the_cache_may_be_drained_between() {
    let mut bench = Bench::started(1);
    let track = bench.grouping.track(monday()).unwrap();
    let readers = 1000;
    for _ in 0..readers {
        let reader = bench.cache.open_reader(track, cache::Start::Oldest).unwrap();
        assert!(matches!(bench.cache.next_frame(reader), Ok(cache::Next::Pending)));
    }
    let mut steps = bench.grouping.batch(batch(monday(), 1, &["1".into(), "2".into()])).unwrap();
    let mut readable = 0;
    for index in 0..2 {
        let step = bench.grouping.step(NOW, &mut bench.cache, &mut steps);
        let frames = index..index + 1;
        assert_eq!(step, Some(Step::Appended { track, group: 0, frames }));
        // Some of what follows is left for later.
        for _ in 0..readers / 2 {
            let command = bench.cache.poll_command();
            readable += u32::from(matches!(command, Some(cache::Command::Readable(_))));
        }
    }
    assert_eq!(bench.grouping.step(NOW, &mut bench.cache, &mut steps), None);
    assert_eq!(readable, readers);
    assert_eq!(bench.cache.poll_command(), None);
}

#[test]
fn a_step_says_what_it_appended() {
    let mut bench = Bench::started(2);
    bench.deliver(2, 2);
    bench.lost(3, 3);
    bench.deliver(5, 5);
    bench.lost(6, 15);
    bench.deliver(16, 16);
    bench.deliver(1, 1);
    bench.deliver(9, 9);
    let front = [(0, 0..1), (0, 1..2), (0, 2..3), (0, 3..4), (1, 0..1)];
    let rest = [(1, 1..4), (3, 0..3), (3, 3..4), (0, 0..1), (2, 0..4), (2, 0..1)];
    assert_eq!(bench.frames(), [&front[..], &rest].concat());
    assert_eq!(bench.notices(), []);
}

#[test]
fn a_range_that_is_lost_is_one_step_however_long_it_is() {
    let mut bench = Bench::started(1);
    bench.deliver(1, 1);
    bench.steps.clear();
    bench.lost(2, 1 << 40);
    assert_eq!(bench.frames(), [(0, 1..4)]);
    assert_eq!(bench.grouping.next(monday()), Some((1 << 40) + 1));
}

#[test]
fn duplicates_are_distinguished_from_late_messages() {
    let mut bench = Bench::started(5);
    bench.deliver(5, 5);
    bench.steps.clear();
    bench.deliver(4, 5);
    let late = Step::Late { session: monday(), sequence: 4 };
    assert_eq!(bench.steps, [late, Step::Duplicate { session: monday(), sequence: 5 }]);
}

#[test]
fn a_group_that_is_gone_when_more_of_it_is_lost_is_reported_as_dropped() {
    let mut bench = Bench::started(1);
    bench.deliver(1, 1);
    let track = bench.grouping.track(monday()).unwrap();
    let group = bench.cache.group(track, 0).unwrap();
    bench.cache.abort_group(group, 7).unwrap();
    bench.steps.clear();
    bench.lost(2, 2);
    assert_eq!(bench.notices(), [Step::Dropped { track, group: 0, why: Why::Aborted(7) }]);
}

#[test]
fn a_composite_keeps_steps_and_takes_one_for_each_command_that_it_is_asked_for() {
    struct Composite {
        /// Stands for a receiver.
        said: Vec<Command>,
        steps: Option<Steps<Bytes>>,
        grouping: Grouping,
        cache: Cache,
    }

    impl Composite {
        fn next_command(&mut self) -> Option<Step> {
            loop {
                if let Some(steps) = &mut self.steps {
                    let step = self.grouping.step(NOW, &mut self.cache, steps);
                    if step.is_some() {
                        return step;
                    }
                }
                self.steps = Some(self.grouping.command(self.said.pop()?).unwrap());
            }
        }
    }

    let Bench { grouping, cache, .. } = Bench::started(1);
    let track = grouping.track(monday()).unwrap();
    let batch = |first| Command::Batch(batch(monday(), first, &["x".into(), "y".into()]));
    let mut composite = Composite { said: vec![batch(3), batch(1)], steps: None, grouping, cache };
    for index in 0..4 {
        let frames = index..index + 1;
        assert_eq!(composite.next_command(), Some(Step::Appended { track, group: 0, frames }));
    }
    assert_eq!(composite.next_command(), None);
}

#[test]
fn messages_of_steps_that_are_not_taken_are_passed_over() {
    let mut bench = Bench::started(1);
    let messages = ["1".into(), "2".into(), "3".into()];
    let mut steps = bench.grouping.batch(batch(monday(), 1, &messages)).unwrap();
    assert!(bench.grouping.step(NOW, &mut bench.cache, &mut steps).is_some());
    drop(steps);
    bench.deliver(4, 4);
    bench.assert_group(0, "1 absent absent 4");
}
