//! The memory that a `Cache` keeps allocated, by a counting allocator: as much as it says, never more than
//! its budget, and nothing new once it is warm.

use bytes::{Bytes, BytesMut};
use gapless_core::cache::{
    Cache, Command, Config, GroupId, Limits, Next, ReaderId, Start, TrackId,
};
use gapless_core::{Duration, Instant, Machine};
use gapless_tests::alloc;

/// The part of the allocator's peak that may lie beyond the budget.
const BESIDE: isize = 64 << 10;
/// Frames of a group.
const FRAMES: u32 = 512;

fn cache(max_bytes: usize) -> (Cache, TrackId) {
    let mut cache = Cache::new(Config::new(max_bytes)).unwrap();
    let track = cache.create_track(Instant::ZERO, b"track", 0, Limits::default()).unwrap();
    (cache, track)
}

/// Takes all commands, and says how many told of something that went.
fn drain(cache: &mut Cache) -> usize {
    let mut evicted = 0;
    while let Some(command) = cache.poll_command() {
        evicted += usize::from(matches!(command, Command::Evicted { .. }));
    }
    evicted
}

fn next_group(cache: &mut Cache, track: TrackId) -> GroupId {
    let group = cache.append_group(Instant::ZERO, track).unwrap();
    drain(cache);
    group
}

/// Appends so many groups of frames of 64 bytes.
fn append_groups(cache: &mut Cache, track: TrackId, groups: u32) {
    for _ in 0..groups {
        let group = next_group(cache, track);
        for number in 0..FRAMES {
            cache.append(group, &[number as u8; 64]).unwrap();
            drain(cache);
        }
        cache.finish_group(group).unwrap();
        drain(cache);
    }
}

/// The memory rule, for a cache that has allocated so much.
fn keeps_the_rule(cache: &Cache, allocated: isize) {
    let (allocated, used) = (usize::try_from(allocated).unwrap(), cache.memory_used());
    assert!(allocated <= used, "{allocated} bytes are allocated and {used} reported");
    let most = allocated + allocated / 20 + (16 << 10);
    assert!(used <= most, "{used} bytes are reported and {allocated} allocated");
}

#[test]
fn a_warm_cache_appends_and_evicts_without_allocating() {
    let (mut cache, track) = cache(2 << 20);
    append_groups(&mut cache, track, 200);
    let before = *cache.stats();
    let ((), ran) = alloc::measure(|| append_groups(&mut cache, track, 200));
    let after = cache.stats();
    assert!(after.evicted.by_bytes - before.evicted.by_bytes > 150, "{after:?}");
    let blocks = after.blocks_allocated - before.blocks_allocated;
    assert!(blocks < 20, "{blocks} blocks were allocated");
    // A block is a buffer, and what counts who holds it.
    assert_eq!(ran.allocations, 2 * blocks);
}

#[test]
fn a_warm_cache_reads_in_every_way_without_allocating() {
    let (mut cache, track) = cache(2 << 20);
    append_groups(&mut cache, track, 20);
    let open = next_group(&mut cache, track);
    let frames: [fn(&mut Cache, ReaderId) -> bool; 4] = [
        |cache, reader| cache.next_frame(reader).unwrap() != Next::Pending,
        |cache, reader| cache.next_shared(reader).unwrap() != Next::Pending,
        |cache, reader| cache.next_chunk(reader).unwrap() != Next::Pending,
        |cache, reader| cache.next_run(reader).unwrap() != Next::Pending,
    ];
    for next in frames {
        let reader = cache.open_reader(track, Start::Oldest).unwrap();
        let (steps, ran) = alloc::measure(|| {
            let mut steps = 0;
            while next(&mut cache, reader) {
                steps += 1;
            }
            // At the live edge: written, told, read.
            for _ in 0..FRAMES / 4 {
                cache.append(open, &[1; 20]).unwrap();
                assert_eq!(cache.poll_command(), Some(Command::Readable(reader)));
                assert_eq!(cache.poll_command(), None);
                assert!(next(&mut cache, reader) && !next(&mut cache, reader));
            }
            steps
        });
        assert!(steps >= 40, "only {steps} steps");
        // The writes may have taken a further block and a page of places.
        assert!(ran.allocations <= 8, "{ran:?} in {steps} steps");
        cache.close_reader(reader).unwrap();
    }
}

#[test]
fn a_warm_cache_is_read_at_positions_without_allocating() {
    let (mut cache, track) = cache(2 << 20);
    append_groups(&mut cache, track, 20);
    let open = next_group(&mut cache, track);
    let mut position = cache.position(track, Start::Oldest).unwrap();
    let (steps, ran) = alloc::measure(|| {
        let mut steps = 0;
        while cache.run_at(track, &mut position, 1_000).unwrap() != Next::Pending {
            steps += 1;
        }
        steps
    });
    assert!(steps >= 40, "only {steps} steps");
    assert_eq!((ran.allocations, ran.growth), (0, 0));
    // At the live edge: written, sealed, read.
    let ((), ran) = alloc::measure(|| {
        for index in 0..FRAMES / 4 {
            cache.append(open, &[1; 20]).unwrap();
            if index % 32 == 31 {
                cache.seal(track).unwrap();
                let run = cache.run_at(track, &mut position, usize::MAX).unwrap();
                assert!(matches!(run, Next::Held(_)));
            }
        }
    });
    // The writes may have taken a further block and a page of places.
    assert!(ran.allocations <= 8, "{ran:?}");
}

#[test]
fn opening_moving_and_closing_readers_allocates_nothing_when_warm() {
    let (mut cache, track) = cache(1 << 20);
    append_groups(&mut cache, track, 4);
    let pass = |cache: &mut Cache| {
        let readers: [ReaderId; 50] =
            std::array::from_fn(|_| cache.open_reader(track, Start::Oldest).unwrap());
        for reader in readers {
            let clone = cache.clone_reader(reader).unwrap();
            cache.seek(reader, Start::Live).unwrap();
            assert!(matches!(cache.next_run(clone), Ok(Next::Held(_))));
            assert!(matches!(cache.next_run(reader), Ok(Next::GroupEnd { .. })));
            assert_eq!(cache.next_run(reader).unwrap(), Next::Pending);
            cache.close_reader(clone).unwrap();
            cache.close_reader(reader).unwrap();
        }
    };
    pass(&mut cache);
    let ((), ran) = alloc::measure(|| pass(&mut cache));
    assert_eq!((ran.allocations, ran.growth), (0, 0));
}

#[test]
fn the_memory_rule_and_the_peak_hold_for_payloads_of_any_size() {
    const BUDGET: usize = 4 << 20;
    let sizes = [0, 1, 36, 63, 64, 1_000, 4_095, 4_096, 4_097, 16_384, 16_385, 100_000, 1 << 20];
    let shared = |size: usize| {
        let mut buffer = BytesMut::with_capacity(size);
        buffer.resize(size, 2);
        buffer.freeze()
    };
    for size in sizes {
        let payload = vec![1; size];
        let frames = (3 * BUDGET / size.max(20)).min(120_000);
        for per_group in [1, 7, frames] {
            let ((mut cache, track), made) = alloc::measure(|| cache(BUDGET));
            let (mut allocated, mut peak) = (made.growth, made.peak);
            let mut run = |cache: &mut Cache, work: &mut dyn FnMut(&mut Cache)| {
                let ((), ran) = alloc::measure(|| {
                    work(cache);
                    drain(cache);
                });
                peak = peak.max(allocated + ran.peak);
                allocated += ran.growth;
                allocated
            };
            let mut group = None;
            for number in 0..frames {
                if number % per_group == 0 {
                    run(&mut cache, &mut |cache| group = Some(next_group(cache, track)));
                }
                let group = group.unwrap();
                run(&mut cache, &mut |cache| match number % 3 {
                    0 if size > 0 => {
                        cache.open_frame(group, size as u64).unwrap();
                        drain(cache);
                        for chunk in payload.chunks(size.div_ceil(3)) {
                            cache.write(group, chunk).unwrap();
                            drain(cache);
                        }
                    }
                    1 if size > 4_096 => {
                        cache.append_shared(group, shared(size), size).unwrap();
                    }
                    _ => _ = cache.append(group, &payload).unwrap(),
                });
                assert!(cache.memory_used() - cache.lent() <= BUDGET);
            }
            let allocated = run(&mut cache, &mut |_| {});
            keeps_the_rule(&cache, allocated);
            let evicted = cache.stats().evicted;
            assert!(evicted.by_bytes + evicted.frames > 0 || size < 2, "{evicted:?}");
            assert_eq!(cache.stats().too_large, 0);
            // A frame that comes shared is there before the cache has made room for it.
            let most = BUDGET as isize + BESIDE + size as isize;
            assert!(peak <= most, "frames of {size}, {per_group} a group: a peak of {peak}");
        }
    }
}

#[test]
fn frames_that_readers_still_hold_are_reported_until_they_come_back() {
    let (mut cache, track) = cache(1 << 20);
    let reader = cache.open_reader(track, Start::Oldest).unwrap();
    append_groups(&mut cache, track, 10);
    let mut held = Vec::<Bytes>::new();
    while held.len() < 20 {
        if let Next::Held(run) = cache.next_run(reader).unwrap() {
            held.push(run.bytes);
        }
    }
    let copies: Vec<_> = held.iter().map(|bytes| bytes.to_vec()).collect();
    assert_eq!(cache.lent(), 0, "what is cached is not lent");
    append_groups(&mut cache, track, 100);
    assert!(cache.stats().evicted.by_bytes > 50);
    let bytes: usize = held.iter().map(Bytes::len).sum();
    assert!(cache.lent() >= bytes, "{} of {bytes} bytes are reported", cache.lent());
    assert!(cache.memory_used() - cache.lent() <= 1 << 20);
    assert!(held.iter().zip(&copies).all(|(held, copy)| held[..] == copy[..]));
    drop(held);
    append_groups(&mut cache, track, 20);
    assert_eq!(cache.lent(), 0);
}

#[test]
fn readers_that_never_read_or_read_a_frame_an_hour_hold_back_nothing() {
    const BUDGET: usize = 1 << 20;
    let (mut cache, track) = cache(BUDGET);
    let (mut alone, other) = self::cache(BUDGET);
    let never = cache.open_reader(track, Start::Oldest).unwrap();
    let slow = cache.open_reader(track, Start::Oldest).unwrap();
    let mut passed = 0;
    for hour in 0..100 {
        append_groups(&mut cache, track, 10);
        append_groups(&mut alone, other, 10);
        let now = Instant::ZERO + Duration::from_secs(3600 * hour);
        cache.handle_timeout(now).unwrap();
        drain(&mut cache);
        passed += u32::from(matches!(cache.next_chunk(slow).unwrap(), Next::Evicted { .. }));
        assert!(cache.memory_used() <= BUDGET, "{} bytes", cache.memory_used());
        assert_eq!(cache.lent(), 0, "nothing is held outside");
    }
    assert!(passed > 10, "the slow one was passed {passed} times");
    // As much went as without them, but for the places that they take.
    let (with, without) = (cache.stats().evicted.by_bytes, alone.stats().evicted.by_bytes);
    assert!(with.abs_diff(without) <= 1, "{with} groups went, and {without} without readers");
    let floor = cache.floor(track).unwrap();
    assert_eq!(
        cache.next_chunk(never).unwrap(),
        Next::Evicted { group: 0, frame: 0, next: Some(floor) }
    );
    assert!(matches!(cache.next_chunk(never), Ok(Next::Held(_))));
}

#[test]
fn an_aborted_group_frees_its_frames_at_once() {
    let (mut cache, track) = cache(1 << 20);
    for code in 0..10 {
        let group = next_group(&mut cache, track);
        for _ in 0..7_000 {
            cache.append(group, &[1; 100]).unwrap();
        }
        cache.abort_group(group, code).unwrap();
        drain(&mut cache);
    }
    assert_eq!(cache.stats().evicted, Default::default(), "each found room for its frames");
    assert_eq!(cache.group_count(track), Some(10));
}
