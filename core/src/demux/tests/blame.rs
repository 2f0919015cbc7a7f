//! Who is to blame: misuse is the driver's and leaves no trace, a refusal is an answer to an application.

use super::*;
use crate::journal::{Driven, Recorder, recorder};

use Pattern::Exact;
use Registrant::Application;

/// Everything that a driver can do wrong: stream 1 is held, and of stream 2 two bytes came.
fn misuses() -> [(Event<'static>, Misuse); 3] {
    let data = |number, offset| {
        let (stream, bytes) = (stream(number), Bytes::from_static(b"more"));
        Event::Data { stream, offset, bytes, pinned: 4, fin: false }
    };
    [
        (data(1, 4), Misuse::Held),
        (data(2, 3), Misuse::OutOfOrder { offset: 3, expected: 2 }),
        (
            Event::HandOffFailed { stream: stream(2), acceptor: A, tag: b"foo" },
            Misuse::NotDispatched,
        ),
    ]
}

/// The journal of a machine that is misused by events and by calls, or is not.
fn journal(is_misused: bool) -> Vec<u8> {
    let mut journal = Vec::new();
    let machine = Config::default();
    let config = recorder::Config { machine, id: 0, sink: Some(&mut journal), commands: true };
    let mut demux = Recorder::<Demux, _>::new(config).unwrap();
    let by = Application;
    demux
        .call(ms(1), Event::Register { acceptor: A, pattern: Exact(b"foo"), by })
        .unwrap()
        .unwrap();
    demux.call(ms(1), Event::Pause { acceptor: A }).unwrap().unwrap();
    for (number, bytes) in [(1, &b"\x03foo"[..]), (2, b"\x03f")] {
        let (stream, bytes) = (stream(number), Bytes::from_static(bytes));
        let data = Event::Data { stream, offset: 0, bytes, pinned: 4, fin: false };
        demux.handle(ms(2), data).unwrap();
        while demux.poll_command().is_some() {}
    }
    if is_misused {
        let before = (demux.context().now(), *demux.stats());
        for (event, misuse) in misuses() {
            assert_eq!(demux.handle(ms(9), event.clone()), Err(misuse));
            assert_eq!(demux.call(ms(9), event), Err(misuse));
            assert_eq!((demux.context().now(), *demux.stats()), before);
            assert_eq!(demux.poll_command(), None);
        }
    }
    demux.call(ms(3), Event::Resume { acceptor: A }).unwrap().unwrap();
    while demux.poll_command().is_some() {}
    drop(demux);
    journal
}

#[test]
fn misuse_leaves_time_counts_and_journal_as_they_were() {
    assert_eq!(journal(true), journal(false));
}

#[test]
fn a_refusal_moves_the_time_and_one_count() {
    let pattern = Exact(&b"foo"[..]);
    let refused = [
        Event::Register { acceptor: B, pattern, by: Application },
        Event::Register { acceptor: A, pattern: Exact(b"gapless:x"), by: Application },
        Event::Register { acceptor: A, pattern: Exact(b""), by: Application },
        Event::Register { acceptor: A, pattern: Exact(b"more"), by: Application },
        Event::Open { stream: stream(1), tag: b"", by: Application },
        Event::Open { stream: stream(1), tag: b"gapless:x", by: Application },
    ];
    let mut bench = with(Config { max_registrations: 1, ..Config::default() });
    for (refusals, event) in (1..).zip(refused) {
        bench.now = ms(2 * refusals);
        let answer = bench.demux.call(bench.now, event.clone()).unwrap();
        assert_eq!(bench.demux.context().now(), bench.now, "{event:?}");
        bench.now = ms(2 * refusals + 1);
        assert_eq!(Err(bench.refused(event)), answer);
        assert_eq!(bench.demux.context().now(), bench.now);
        assert_eq!(bench.stats(), Stats { refusals: 2 * refusals, ..Stats::default() });
    }
}
