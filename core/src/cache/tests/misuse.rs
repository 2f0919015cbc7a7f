//! Who is to blame: misuse is the embedding program's and leaves no trace, a refusal is an answer.

use super::*;
use crate::journal::{Driven, Recorder, Replayer, recorder};
use crate::machine::Undrained;
use crate::storage::slab::Key;

const NOW: Instant = Instant::from_millis(1);
const LATER: Instant = Instant::from_millis(9);

/// A cache in which everything is there that can be misused or refused.
struct Bench {
    cache: Recorder<Cache, Vec<u8>>,
    track: TrackId,
    ended: TrackId,
    finished: TrackId,
    open: GroupId,
    /// With an open frame.
    begun: GroupId,
    over: GroupId,
    aborted: GroupId,
    skipped: GroupId,
    reader: ReaderId,
}

impl Bench {
    fn new() -> Self {
        let machine =
            Config { max_frame: 5000, window: 9, max_unfinished: 4500, ..Config::new(256 << 10) };
        let config = recorder::Config { machine, id: 0, sink: Some(vec![]), commands: true };
        let mut cache = Recorder::<Cache, _>::new(config).unwrap();
        let mut call = |event: Event<'_>| match cache.call(NOW, event).unwrap() {
            Answer::Refused(refusal) => panic!("{refusal}"),
            answer => answer,
        };
        let mut create = |name, max_group_frames| {
            let limits = Limits { max_group_frames, ..Limits::default() };
            match call(Event::CreateTrack { name, publisher: 0, limits }) {
                Answer::Track(track) => track,
                answer => panic!("{answer:?}"),
            }
        };
        let [track, ended, finished] =
            [create(b"live", 2), create(b"ended", 0), create(b"finished", 0)];
        let mut group = || match call(Event::AppendGroup { track }) {
            Answer::Group(group) => group,
            answer => panic!("{answer:?}"),
        };
        let [open, begun, over, aborted] = core::array::from_fn(|_| group());
        call(Event::SkipGroup { track, sequence: 4 });
        for frame in [b"a", b"b", b"c"] {
            call(Event::Append { group: open, frame });
        }
        call(Event::OpenFrame { group: begun, size: 5000 });
        call(Event::Write { group: begun, chunk: &[0; 100] });
        call(Event::FinishGroup { group: over });
        call(Event::AbortGroup { group: aborted, code: 7 });
        // As long as it has a reader it is not forgotten.
        call(Event::OpenReader { track: ended, start: Start::Oldest });
        call(Event::DropTrack { track: ended });
        call(Event::FinishTrack { track: finished, end: Some(0) });
        let Answer::Reader(reader) =
            call(Event::OpenReader { track, start: Start::At { group: 1, frame: 0 } })
        else {
            panic!("no reader")
        };
        call(Event::Read { reader, by: ReadUnit::Chunk });
        let skipped = cache.machine().group(track, 4).unwrap();
        while cache.poll_command().is_some() {}
        Self { cache, track, ended, finished, open, begun, over, aborted, skipped, reader }
    }

    fn misuse(&self) -> Vec<(Event<'static>, Misuse)> {
        let &Self { ended, open, over, aborted, skipped, reader, .. } = self;
        let (unknown, closed) = (TrackId(Key::new(99, 99)), ReaderId(Key::new(99, 99)));
        let create = |name| Event::CreateTrack { name, publisher: 0, limits: Limits::default() };
        let append = |group| Event::Append { group, frame: b"x" };
        vec![
            (create(b""), Misuse::Name(0)),
            (Event::AppendGroup { track: unknown }, Misuse::UnknownTrack),
            (Event::OpenReader { track: unknown, start: Start::Live }, Misuse::UnknownTrack),
            (Event::Seal { track: unknown }, Misuse::UnknownTrack),
            (Event::CreateGroup { track: ended, sequence: 3 }, Misuse::TrackEnded),
            (Event::AbortTrack { track: ended, code: 3 }, Misuse::TrackEnded),
            (append(GroupId(Key::new(99, 99))), Misuse::UnknownGroup),
            (append(over), Misuse::GroupEnded),
            (Event::FinishGroup { group: over }, Misuse::GroupEnded),
            (append(aborted), Misuse::Aborted(7)),
            (Event::AbortGroup { group: skipped, code: 7 }, Misuse::Skipped),
            (Event::Write { group: open, chunk: b"x" }, Misuse::NoFrame),
            (Event::CloneReader { reader: closed }, Misuse::UnknownReader),
            (Event::Seek { reader: closed, start: Start::Live }, Misuse::UnknownReader),
            (Event::Read { reader: closed, by: ReadUnit::Run }, Misuse::UnknownReader),
            (Event::Read { reader, by: ReadUnit::Frame }, Misuse::WithinFrame),
        ]
    }

    fn refused(&self) -> Vec<(Event<'static>, Refusal)> {
        let &Self { track, finished, open, begun, .. } = self;
        let put = |index, frame| Event::Put { group: open, index, frame };
        let beyond = Event::CreateGroup { track: finished, sequence: 1 };
        let write = |chunk| Event::Write { group: begun, chunk };
        let name = b"live";
        let create = Event::CreateTrack { name, publisher: 0, limits: Limits::default() };
        vec![
            (create, Refusal::NameTaken),
            (Event::FinishTrack { track, end: Some(1) }, Refusal::EndsBefore { newest: 4 }),
            (Event::Append { group: begun, frame: b"x" }, Refusal::Short { left: 4900 }),
            (Event::FinishGroup { group: begun }, Refusal::Short { left: 4900 }),
            (put(4, b"x"), Refusal::NotNext { index: 4, next: 3 }),
            (beyond, Refusal::BeyondEnd { sequence: 1, end: 0 }),
            (Event::SkipGroup { track, sequence: 2 }, Refusal::Duplicate(2)),
            (
                Event::CreateGroup { track, sequence: 99 },
                Refusal::BeyondWindow { sequence: 99, last: 13 },
            ),
            (
                Event::OpenFrame { group: open, size: 5001 },
                Refusal::FrameTooLarge { size: 5001, max: 5000 },
            ),
            (write(&[0; 4901]), Refusal::PastSize { len: 4901, left: 4900 }),
            (write(&[0; 4401]), Refusal::Unfinished { bytes: 4501, max: 4500 }),
            (put(1, b"x"), Refusal::Contradiction(1)),
            (put(0, b"x"), Refusal::FrameEvicted { index: 0, floor: 1 }),
            (
                Event::AppendMissing { group: open, count: u64::MAX, why: Missing::Lost },
                Refusal::UsedUp,
            ),
        ]
    }

    /// The journal up to now.
    fn journal(mut self) -> Vec<u8> {
        self.cache.flush().unwrap();
        self.cache.sink().unwrap().clone()
    }
}

/// The sum of what is refused.
fn refused(stats: &Stats) -> u64 {
    let &Stats { contradictions, duplicates, beyond, oversized, unfinished, late, full, .. } =
        stats;
    contradictions + duplicates + beyond + oversized + unfinished + late + full
}

#[test]
fn misuse_changes_nothing_and_a_journal_has_nothing_of_it() {
    let mut bench = Bench::new();
    let standing = |cache: &Cache| (*cache.stats(), cache.memory_used(), cache.context().now());
    let before = standing(bench.cache.machine());
    for (event, misuse) in bench.misuse() {
        assert_eq!(bench.cache.call(LATER, event.clone()), Err(misuse), "{event:?}");
        assert_eq!(bench.cache.handle(LATER, event.clone()), Err(misuse), "{event:?}");
        assert_eq!(bench.cache.poll_command(), None, "{event:?}");
        assert_eq!(standing(bench.cache.machine()), before, "{event:?}");
    }
    assert_eq!(before.2, NOW);
    assert!(bench.journal() == Bench::new().journal());
}

#[test]
fn methods_that_are_misused_tell_no_time() {
    let mut bench = Bench::new();
    let mut cache = cache();
    let track = track(&mut cache);
    reader(&mut cache, track);
    cache.abort_track(track, 1).unwrap();
    let again = cache.create_track(LATER, b"", 0, Limits::default());
    assert_eq!(again, Err(Misuse::Name(0).into()));
    assert_eq!(cache.append_group(LATER, track), Err(Misuse::TrackEnded.into()));
    let unknown = TrackId(Key::new(99, 99));
    assert_eq!(cache.skip_group(LATER, unknown, 9), Err(Misuse::UnknownTrack.into()));
    assert_eq!(cache.context().now(), Instant::ZERO);
    let event = Event::Seal { track: bench.track };
    bench.cache.handle(NOW, event.clone()).unwrap();
    assert_eq!(bench.cache.handle(LATER, event), Err(Misuse::Undrained(Undrained)));
    assert_eq!(bench.cache.context().now(), NOW);
}

#[test]
fn a_refusal_moves_the_time_and_one_counter_and_is_in_the_journal() {
    let mut bench = Bench::new();
    for ((event, refusal), at) in bench.refused().into_iter().zip(2..) {
        let (now, before) = (Instant::from_millis(at), refused(bench.cache.stats()));
        assert_eq!(bench.cache.call(now, event.clone()), Ok(Answer::Refused(refusal)), "{event:?}");
        assert_eq!(bench.cache.context().now(), now, "{event:?}");
        assert_eq!(refused(bench.cache.stats()), before + 1, "{event:?}");
        bench.cache.handle(now, event.clone()).unwrap();
        let answer = Command::Answer(Answer::Refused(refusal));
        assert_eq!(bench.cache.poll_command(), Some(answer), "{event:?}");
        assert_eq!(bench.cache.poll_command(), None, "{event:?}");
        assert_eq!(refused(bench.cache.stats()), before + 2, "{event:?}");
    }
    let refusals = 2 * bench.refused().len();
    let events = |journal: &[u8]| {
        let mut replayer = Replayer::verifying().knowing::<Cache>();
        replayer.replay(journal, &mut ()).unwrap();
        replayer.machines().next().unwrap().events as usize
    };
    assert_eq!(events(&bench.journal()), events(&Bench::new().journal()) + refusals);
}

#[test]
fn methods_that_are_refused_tell_the_time_and_count_once() {
    let mut cache = of(256 << 10);
    let track = track(&mut cache);
    let group = cache.create_group(Instant::ZERO, track, 0).unwrap();
    cache.finish_group(group).unwrap();
    cache.finish_track(track, Some(0)).unwrap();
    let beyond = Refusal::BeyondEnd { sequence: 1, end: 0 };
    assert_eq!(cache.create_group(NOW, track, 1), Err(beyond.into()));
    assert_eq!((cache.context().now(), cache.stats().beyond), (NOW, 1));
    let full = (0_u32..).find_map(|name| {
        cache.create_track(LATER, &name.to_le_bytes(), 0, Limits::default()).err()
    });
    assert!(matches!(full, Some(CallError::Refused(Refusal::Full { .. }))), "{full:?}");
    assert_eq!((cache.context().now(), refused(cache.stats())), (LATER, 2));
}

#[test]
fn misuse_with_a_large_body_leaves_no_memory_taken() {
    let mut bench = Bench::new();
    let before = bench.cache.memory_used();
    let frame = vec![0; 3 << 20];
    let event = Event::Append { group: GroupId(Key::new(99, 99)), frame: &frame };
    assert_eq!(bench.cache.call(LATER, event), Err(Misuse::UnknownGroup));
    assert_eq!(bench.cache.memory_used(), before);
}
