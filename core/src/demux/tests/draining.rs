//! Calls in the middle of a drain: none is refused for that, none undoes what is due, and what they change
//! holds from the next command on.

use super::*;
use crate::Duration;
use Pattern::{Exact, Prefix};
use Registrant::Application;

/// An acceptor for `foo` that pauses, and three streams that are held for it.
fn three_held(config: Config) -> Bench {
    let mut bench = with(config);
    bench.give(Event::Pause { acceptor: A });
    for number in 1..=3 {
        bench.data(number, 0, b"\x03foo");
    }
    bench
}

impl Bench {
    fn call(&mut self, event: Event<'_>) {
        self.demux.call(self.now, event).unwrap().unwrap();
    }

    fn call_data(&mut self, number: u64, bytes: &'static [u8]) {
        let (bytes, pinned) = (Bytes::from_static(bytes), bytes.len());
        self.call(Event::Data { stream: stream(number), offset: 0, bytes, pinned, fin: false });
    }

    fn next(&mut self) -> Option<Command> {
        self.demux.poll_command()
    }
}

#[test]
fn an_acceptor_that_pauses_in_the_middle_of_a_drain_is_given_no_more() {
    let mut bench = three_held(Config { max_held_per_acceptor: 3, ..Config::default() });
    bench.call(Event::Resume { acceptor: A });
    assert_eq!(bench.next(), Some(dispatch(1, A, b"foo")));
    bench.call(Event::Pause { acceptor: A });
    assert_eq!((bench.drain(), bench.demux.held_for(A)), (Vec::new(), 2));
    bench.call(Event::Resume { acceptor: A });
    bench.call(Event::Pause { acceptor: A });
    bench.call(Event::Resume { acceptor: A });
    assert_eq!(bench.drain(), [dispatch(2, A, b"foo"), dispatch(3, A, b"foo")]);
    assert_eq!(bench.data(4, 0, b"\x03foo"), [dispatch(4, A, b"foo")]);
}

#[test]
fn what_comes_in_the_middle_of_a_drain_goes_behind_what_is_held() {
    let mut bench = three_held(Config::default());
    bench.call(Event::Resume { acceptor: A });
    bench.call_data(4, b"\x03foo4");
    assert_eq!(bench.next(), Some(hold(4)));
    bench.call(Event::Register { acceptor: B, pattern: Exact(b"bar"), by: Application });
    bench.call_data(5, b"\x03bar");
    let expected = [
        hold(5),
        dispatch(1, A, b"foo"),
        dispatch(2, A, b"foo"),
        dispatch(3, A, b"foo"),
        dispatch(4, A, b"foo"),
        payload(4, A, b"4", false),
        dispatch(5, B, b"bar"),
    ];
    assert_eq!((bench.drain(), bench.demux.held()), (expected.to_vec(), 0));
}

#[test]
fn what_calls_lead_to_before_a_drain_comes_in_their_order_and_what_is_to_be_written_first() {
    let mut bench = for_foo();
    bench.call_data(1, b"\x03foo1");
    bench.call(Event::HandOffFailed { stream: stream(1), acceptor: A, tag: b"foo" });
    bench.call_data(2, b"\x03bar");
    bench.call_data(3, b"\x03foo");
    assert_eq!(bench.next(), Some(dispatch(1, A, b"foo")));
    bench.call(Event::Open { stream: stream(9), tag: &[b't'; 40], by: Application });
    assert!(bench.demux.memory_used() > 40);
    assert!(matches!(bench.next(), Some(Command::Write { stream: of, .. }) if of == stream(9)));
    let closed = Command::Closed { stream: stream(1), acceptor: A };
    let expected = [
        payload(1, A, b"1", false),
        closed,
        refuse(1, NO_ACCEPTOR),
        refuse(2, NO_ACCEPTOR),
        dispatch(3, A, b"foo"),
    ];
    assert_eq!(bench.drain(), expected);
    assert!(bench.demux.memory_used() <= Demux::memory_limit(bench.demux.config()));
}

#[test]
fn no_call_at_any_step_of_a_timeout_s_drain_keeps_anything_from_expiring() {
    let calls: [Event<'_>; 10] = [
        Event::Register { acceptor: B, pattern: Exact(b"b"), by: Application },
        Event::Unregister { pattern: Exact(b"foo") },
        Event::AcceptorGone { acceptor: A },
        Event::Pause { acceptor: A },
        Event::Resume { acceptor: A },
        Event::Take { acceptor: A },
        Event::Closed { stream: stream(77) },
        Event::PeerGone { peer: PeerId(77) },
        Event::HandOffFailed { stream: stream(77), acceptor: A, tag: b"foo" },
        Event::Open { stream: stream(77), tag: b"foo", by: Application },
    ];
    for call in calls {
        for step in 0..4 {
            let mut bench = with(Config { hold: Duration::from_secs(1), ..Config::default() });
            bench.data(1, 0, b"\x03");
            bench.data(2, 0, b"\x03f");
            bench.data(3, 0, b"\x03new");
            bench.now = ms(9000);
            bench.demux.handle_timeout(bench.now).unwrap();
            let mut commands: Vec<_> = (0..step).filter_map(|_| bench.next()).collect();
            bench.call(call.clone());
            bench.call_data(4, b"\x03");
            commands.extend(bench.drain());
            for expired in [refuse(1, DEADLINE), refuse(2, DEADLINE), refuse(3, NO_ACCEPTOR)] {
                assert!(commands.contains(&expired), "{call:?} at {step}: {commands:?}");
            }
            assert!(bench.demux.poll_timeout() > Some(bench.now), "it spins");
            assert_eq!((bench.demux.pending(), bench.demux.held()), (1, 0));
        }
    }
}

#[test]
fn a_stream_that_goes_in_the_middle_of_a_drain_lets_the_others_go_on() {
    for number in 1..=3 {
        let mut bench = three_held(Config::default());
        bench.call(Event::Resume { acceptor: A });
        bench.call(Event::Reset { stream: stream(number), code: 0 });
        assert_eq!(bench.drain().len(), 2);
        bench.data(4, 0, b"\x03new");
        let mut bench = three_held(Config::default());
        bench.call(Event::Unregister { pattern: Exact(b"foo") });
        bench.call(Event::Closed { stream: stream(number) });
        assert_eq!(bench.drain().len(), 2);
    }
}

/// A stream that waits ends with a command, if it is one of those.
fn ends(waits: &mut Vec<StreamId>, command: &Command) {
    if let Command::Dispatch { stream, .. } | Command::Refuse { stream, .. } = command {
        let at = waits.iter().position(|waiting| waiting == stream);
        waits.swap_remove(at.unwrap_or_else(|| panic!("{stream:?} ends twice")));
    }
}

#[test]
fn whatever_is_called_in_the_middle_of_drains_every_stream_ends_once() {
    let mut random = 7_u64;
    let mut roll = move |sides: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % sides
    };
    let tags: [&'static [u8]; 4] = [b"\x01a", b"\x02ab", b"\x02ba", b"\x01"];
    let patterns = [Prefix(b"a"), Exact(b"ab"), Prefix(b""), Prefix(b"b")];
    for round in 0..60 {
        let hold = Duration::from_millis(round % 3 * 20);
        let config = Config { hold, max_held: 12, max_held_per_acceptor: 5, ..Config::default() };
        let mut bench = Bench::new(config);
        let (mut waits, mut gone, mut number) = (Vec::new(), 0, 0);
        for _ in 0..400 {
            let acceptor = [A, B][roll(2) as usize];
            let pattern = patterns[roll(4) as usize];
            match roll(16) {
                0..5 => {
                    number += 1;
                    waits.push(stream(number));
                    bench.call_data(number, tags[roll(4) as usize]);
                }
                5 => drop(bench.demux.register(bench.now, acceptor, pattern, Application)),
                6 => bench.call(Event::Unregister { pattern }),
                7 => bench.call(Event::Pause { acceptor }),
                8 => bench.call(Event::Resume { acceptor }),
                9 => bench.call(Event::Take { acceptor }),
                10 if !waits.is_empty() => {
                    let stream = waits[roll(waits.len() as u64) as usize];
                    bench.call(Event::Closed { stream });
                    let forgotten = bench.stats().forgotten.closed;
                    if forgotten > gone {
                        gone = forgotten;
                        waits.retain(|&waiting| waiting != stream);
                    }
                }
                11 => bench.now += Duration::from_millis(roll(9)),
                12 => drop(bench.demux.handle_timeout(bench.now)),
                _ => {
                    let some: Vec<_> = (0..roll(4)).filter_map(|_| bench.next()).collect();
                    some.iter().for_each(|command| ends(&mut waits, command));
                }
            }
            if roll(12) == 0 {
                bench.drain().iter().for_each(|command| ends(&mut waits, command));
                assert_eq!(waits.len(), bench.demux.held() + bench.demux.pending());
                for acceptor in [A, B] {
                    let is_stuck = bench.demux.held_for(acceptor) > 0;
                    assert!(!is_stuck || bench.demux.is_paused(acceptor), "{acceptor:?}");
                }
                assert!(bench.demux.held() <= bench.demux.config().max_held);
                assert!(bench.demux.memory_used() <= Demux::memory_limit(bench.demux.config()));
            }
        }
    }
}
