//! The budget: what goes for it, in which order, and what is lent.

use super::*;
use crate::storage::slab::Key;

const BUDGET: usize = 256 << 10;

fn named(cache: &mut Cache, name: &[u8]) -> TrackId {
    cache.create_track(Instant::ZERO, name, 0, Limits::default()).unwrap()
}

/// A finished group of this track with a frame of 20,000 bytes.
fn weighty(cache: &mut Cache, track: TrackId) -> GroupId {
    let group = open(cache, track);
    drain(cache);
    cache.append(group, &[7; 20_000]).unwrap();
    drain(cache);
    cache.finish_group(group).unwrap();
    group
}

/// Opens readers, then tracks with long names, until neither fits any more.
fn use_up(cache: &mut Cache, track: TrackId) {
    while cache.open_reader(track, Start::Oldest).is_ok() {}
    drain(cache);
    for len in [1024, 128, 32] {
        for number in 0_u32.. {
            let mut name = vec![b'n'; len];
            name[..4].copy_from_slice(&number.to_be_bytes());
            if cache.create_track(Instant::ZERO, &name, 0, Limits::default()).is_err() {
                break;
            }
        }
        drain(cache);
    }
}

#[test]
fn the_budget_is_between_256_kib_and_a_quarter_of_the_address_space() {
    assert!(Cache::new(Config::new((256 << 10) - 1)).is_err());
    assert!(Cache::new(Config::new(256 << 10)).is_ok());
    assert!(Cache::new(Config::new(usize::MAX)).is_err());
}

#[test]
fn the_budget_holds_after_every_frame_whatever_its_size() {
    for size in [0, 1, 63, 64, 1000, 4096, 4097, 16_384, 100_000] {
        let mut cache = of(BUDGET);
        let track = track(&mut cache);
        let frame = vec![1; size];
        for _ in 0..400 {
            let group = open(&mut cache, track);
            drain(&mut cache);
            for _ in 0..=20_000 / (size + 100) {
                cache.append(group, &frame).unwrap();
                drain(&mut cache);
                check_budget(&cache, BUDGET);
            }
        }
        assert!(cache.stats().evicted.by_bytes > 0, "{size}");
    }
}

#[test]
fn empty_groups_take_of_the_budget_too() {
    let mut cache = of(BUDGET);
    let track = track(&mut cache);
    for _ in 0..5000 {
        open(&mut cache, track);
        drain(&mut cache);
        check_budget(&cache, BUDGET);
    }
    assert!(cache.stats().evicted.by_bytes > 3000);
}

#[test]
fn names_take_of_the_budget_too() {
    let mut cache = of(BUDGET);
    let mut created = 0_u64;
    let refused = loop {
        let mut name = [b'n'; MAX_NAME];
        name[..8].copy_from_slice(&created.to_be_bytes());
        match cache.create_track(Instant::ZERO, &name, 0, Limits::default()) {
            Ok(_) => created += 1,
            Err(refusal) => break refusal,
        }
        check_budget(&cache, BUDGET);
    };
    assert!(
        matches!(refused, CallError::Refused(Refusal::Full { max: BUDGET, .. })),
        "{refused:?}"
    );
    assert!((100..256).contains(&created), "{created}");
    assert_eq!(cache.stats().full, 1);
}

#[test]
fn readers_take_of_the_budget_and_are_refused_when_it_is_used_up() {
    let mut cache = of(BUDGET);
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    while cache.clone_reader(reader).is_ok() {
        check_budget(&cache, BUDGET);
    }
    let generation = cache.generation;
    assert!(matches!(cache.clone_reader(reader), Err(CallError::Refused(Refusal::Full { .. }))));
    assert_eq!(cache.generation, generation, "no id is used up");
    cache.close_reader(reader).unwrap();
    assert!(cache.open_reader(track, Start::Live).is_ok());
}

#[test]
fn the_oldest_group_over_all_tracks_goes_first() {
    let mut cache = of(BUDGET);
    let (one, two) = (named(&mut cache, b"one"), named(&mut cache, b"two"));
    let mut groups = Vec::new();
    for track in [one, two, two, one, two, one, one, two] {
        groups.push(weighty(&mut cache, track));
    }
    while cache.frames(groups[0]).is_some() {
        groups.push(weighty(&mut cache, two));
    }
    let gone = |cache: &Cache| groups.iter().take_while(|&&at| cache.frames(at).is_none()).count();
    let first = gone(&cache);
    assert!(groups[first..].iter().all(|&group| cache.frames(group).is_some()));
    let newest_of_one = groups[6];
    for _ in 0..20 {
        weighty(&mut cache, two);
    }
    let left: Vec<GroupId> =
        groups.iter().copied().filter(|&group| cache.frames(group).is_some()).collect();
    assert_eq!(left, [newest_of_one]);
}

#[test]
fn the_newest_group_of_a_live_track_goes_last() {
    let mut cache = of(BUDGET);
    let (idle, busy) = (named(&mut cache, b"idle"), named(&mut cache, b"busy"));
    let kept = weighty(&mut cache, idle);
    for _ in 0..50 {
        weighty(&mut cache, busy);
    }
    assert_eq!(cache.frame(kept, 0), Some(FrameState::Held(&[7; 20_000])));
    assert_eq!(cache.evictions(idle), Some(Evictions::default()));
}

#[test]
fn the_newest_group_of_an_ended_track_goes_in_its_turn() {
    let mut cache = of(BUDGET);
    let (ended, busy) = (named(&mut cache, b"ended"), named(&mut cache, b"busy"));
    let group = weighty(&mut cache, ended);
    cache.finish_track(ended, None).unwrap();
    let later = weighty(&mut cache, busy);
    while cache.frames(group).is_some() {
        weighty(&mut cache, busy);
    }
    assert!(cache.frames(later).is_some());
    assert_eq!(cache.track(b"ended"), None);
}

#[test]
fn the_budget_wins_over_the_newest_groups_of_live_tracks() {
    let mut cache = of(BUDGET);
    let tracks: Vec<TrackId> = (0..30_u8).map(|number| named(&mut cache, &[number])).collect();
    for &track in &tracks {
        weighty(&mut cache, track);
        check_budget(&cache, BUDGET);
    }
    let counts: Vec<u32> = tracks.iter().map(|&track| cache.group_count(track).unwrap()).collect();
    assert!(counts.is_sorted() && counts[0] == 0 && counts[29] == 1, "{counts:?}");
}

#[test]
fn a_group_larger_than_memory_loses_its_front_and_keeps_its_indices() {
    for size in [60_usize, 4000, 5000, 50_000] {
        let mut cache = of(BUDGET);
        let track = track(&mut cache);
        let group = open(&mut cache, track);
        let count = 600_000 / size as u64;
        for index in 0..count {
            let mut frame = vec![0; size];
            frame[..8].copy_from_slice(&index.to_be_bytes());
            cache.append(group, &frame).unwrap();
            drain(&mut cache);
            check_budget(&cache, BUDGET);
        }
        let reader = reader(&mut cache, track);
        drain(&mut cache);
        let kept = cache.frames(group).unwrap();
        assert_eq!(kept.end, count);
        assert!(kept.start > 0 && kept.end - kept.start > 1, "{kept:?} of {size}");
        assert_eq!(cache.evictions(track).unwrap().frames, kept.start);
        cache.seek(reader, Start::Oldest).unwrap();
        for index in kept {
            let frame = cache.next_frame(reader).unwrap().held().unwrap();
            assert_eq!((frame.index, &frame.bytes[..8]), (index, &index.to_be_bytes()[..]));
        }
        assert_eq!(cache.newest(track), Some(0));
    }
}

#[test]
fn what_goes_from_the_front_of_the_group_that_is_written_to_is_a_piece_at_a_time() {
    let mut cache = of(BUDGET);
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let mut floor = 0;
    for _ in 0..10_000 {
        cache.append(group, &[1; 60]).unwrap();
        drain(&mut cache);
        let now = cache.frames(group).unwrap().start;
        // A block of 16 KiB, and what lies before it in smaller ones.
        assert!(now - floor <= 512, "{floor} to {now}");
        floor = now;
    }
    assert!(floor > 5000);
}

#[test]
fn an_unfinished_newest_group_loses_its_front_before_it_goes() {
    let mut cache = of(BUDGET);
    let (idle, busy) = (named(&mut cache, b"idle"), named(&mut cache, b"busy"));
    let group = open(&mut cache, idle);
    for _ in 0..1500 {
        cache.append(group, &[1; 60]).unwrap();
    }
    let other = open(&mut cache, busy);
    while cache.frames(group).is_some_and(|frames| frames.start == 0) {
        cache.append(other, &[2; 4000]).unwrap();
        drain(&mut cache);
    }
    let left = cache.frames(group).unwrap();
    assert!(left.start < left.end && left.end == 1500, "{left:?}");
    assert_eq!(cache.frames(other).unwrap().start, 0);
}

#[test]
fn a_frame_that_the_budget_cannot_hold_aborts_its_group() {
    let mut cache = of(BUDGET);
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    let group = filled(&mut cache, track, &[b"small"]);
    assert_eq!(cache.append(group, &vec![0; BUDGET]), Ok(1));
    let aborted = Command::Aborted { track, group: 0, code: TOO_LARGE };
    assert!(drain(&mut cache).contains(&aborted));
    check_budget(&cache, BUDGET);
    assert_eq!(cache.next_frame(reader), Ok(Next::Aborted { group: 0, code: TOO_LARGE }));
    assert_eq!(cache.append(group, b"more"), Err(Misuse::Aborted(TOO_LARGE).into()));
    assert_eq!(cache.stats().too_large, 1);
    let next = filled(&mut cache, track, &[b"next"]);
    assert_eq!(cache.frame(next, 0), Some(FrameState::Held(b"next")));
}

#[test]
fn a_frame_kept_by_reference_that_the_budget_cannot_hold_aborts_its_group() {
    let mut cache = of(BUDGET);
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    let frame = Bytes::from(vec![0; BUDGET - 1000]);
    cache.append_shared(group, frame, BUDGET).unwrap();
    let aborted = Command::Aborted { track, group: 0, code: TOO_LARGE };
    assert_eq!(drain(&mut cache), [aborted]);
    check_budget(&cache, BUDGET);
}

#[test]
fn a_declared_frame_that_outgrows_the_budget_aborts_its_group_on_the_way() {
    let mut cache = of(BUDGET);
    let track = track(&mut cache);
    let (group, reader) = (open(&mut cache, track), reader(&mut cache, track));
    cache.open_frame(group, BUDGET as u64 - 20_000).unwrap();
    let mut written = 0;
    let refusal = loop {
        match cache.write(group, &[0; 1500]) {
            Ok(()) => written += 1500,
            Err(refusal) => break refusal,
        }
        drain(&mut cache);
        check_budget(&cache, BUDGET);
    };
    assert_eq!(refusal, Misuse::Aborted(TOO_LARGE).into());
    assert!((BUDGET / 2..BUDGET).contains(&written), "{written}");
    assert_eq!(cache.next_chunk(reader), Ok(Next::Aborted { group: 0, code: TOO_LARGE }));
}

#[test]
fn nothing_is_evicted_for_a_declared_size_before_its_bytes_come() {
    let mut cache = of(BUDGET);
    let track = track(&mut cache);
    let kept = weighty(&mut cache, track);
    let group = open(&mut cache, track);
    cache.open_frame(group, BUDGET as u64 - 20_000).unwrap();
    assert_eq!(drain(&mut cache), []);
    assert!(cache.frames(kept).is_some());
}

#[test]
fn a_reader_that_never_reads_holds_nothing_back() {
    let mut cache = of(BUDGET);
    let track = track(&mut cache);
    let first = weighty(&mut cache, track);
    let reader = reader(&mut cache, track);
    for _ in 0..50 {
        weighty(&mut cache, track);
        assert_eq!(cache.lent(), 0);
        check_budget(&cache, BUDGET);
    }
    assert_eq!(cache.frames(first), None);
    let next = cache.next_frame(reader).unwrap();
    let Next::Evicted { group: 0, frame: 0, next: Some((next, 0)) } = next else {
        panic!("{next:?}")
    };
    assert_eq!(cache.next_frame(reader), held(next, 0, &[7; 20_000]));
}

#[test]
fn evicted_bytes_that_readers_still_hold_are_reported_as_lent() {
    let mut cache = of(BUDGET);
    let track = track(&mut cache);
    let group = filled(&mut cache, track, &[b"small", &[3; 10_000]]);
    let reader = reader(&mut cache, track);
    let small = cache.next_shared(reader).unwrap().held().unwrap();
    let large = cache.next_shared(reader).unwrap().held().unwrap();
    assert_eq!(cache.lent(), 0);
    cache.abort_group(group, 1).unwrap();
    let lent = cache.lent();
    assert!((10_000 + 128..12_000).contains(&lent), "{lent}");
    assert!(cache.memory_used() > lent);
    drop((small, large));
    for _ in 0..20 {
        weighty(&mut cache, track);
    }
    assert_eq!(cache.lent(), 0);
}

#[test]
fn bytes_held_outside_make_no_difference_to_what_is_evicted() {
    let run = |holds: bool| {
        let mut cache = of(BUDGET);
        let track = track(&mut cache);
        let reader = reader(&mut cache, track);
        let (mut kept, mut commands) = (Vec::new(), Vec::new());
        for number in 0..60_usize {
            let group = open(&mut cache, track);
            commands.extend(drain(&mut cache));
            for size in [5, 100, 4096, 9000] {
                cache.append(group, &vec![number as u8; size]).unwrap();
                commands.extend(drain(&mut cache));
            }
            while let Next::Held(run) = cache.next_run(reader).unwrap() {
                if holds {
                    kept.push(run);
                }
            }
            check_budget(&cache, BUDGET);
        }
        assert_eq!(cache.lent() > 0, holds);
        (commands, cache.stats().evicted)
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn blocks_are_used_again_and_a_warm_cache_allocates_none() {
    let mut cache = of(BUDGET);
    let track = limited(&mut cache, Limits { max_groups: 2, ..Limits::default() });
    let mut fill = || {
        let group = open(&mut cache, track);
        drain(&mut cache);
        for _ in 0..500 {
            cache.append(group, &[1; 64]).unwrap();
        }
        cache.finish_group(group).unwrap();
        cache.stats().blocks_allocated
    };
    let warm = [fill(), fill(), fill()][2];
    assert_eq!([fill(), fill(), fill()], [warm; 3]);
}

#[test]
fn a_finished_group_gives_up_what_it_kept_for_frames_to_come() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    cache.open_frame(group, 10_000).unwrap();
    cache.write(group, &[0; 9999]).unwrap();
    assert_eq!(cache.append(group, b""), Err(Refusal::Short { left: 1 }.into()));
    cache.write(group, &[0; 1]).unwrap();
    let before = cache.memory_used();
    cache.finish_group(group).unwrap();
    assert!(cache.memory_used() <= before);
    assert_eq!(cache.finish_group(group), Err(Misuse::GroupEnded.into()));
}

#[test]
fn blocks_that_come_back_while_nothing_fits_stay_within_the_budget() {
    let mut cache = unreserved(BUDGET);
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    let mut held = Vec::new();
    for number in 0..4 {
        let group = finished(&mut cache, track, &[&[1; 100]]);
        held.push(cache.next_shared(reader).unwrap());
        let end = Next::GroupEnd { group: number, frames: 1 };
        assert_eq!(cache.next_shared(reader), Ok(end));
        cache.abort_group(group, 1).unwrap();
    }
    assert!(cache.lent() >= 4 * 128);
    use_up(&mut cache, track);
    drop(held);
    let group = open(&mut cache, track);
    drain(&mut cache);
    cache.append(group, &[0; 20]).unwrap();
    drain(&mut cache);
    check_budget(&cache, BUDGET);
    assert_eq!(cache.append(group, b""), Err(Misuse::Aborted(TOO_LARGE).into()));
}

#[test]
fn a_late_frame_for_which_there_is_no_room_is_refused_and_stays_missing() {
    let mut cache = of(BUDGET);
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    cache.append_missing(group, 3, Missing::Lost).unwrap();
    let put = cache.put(group, 1, &vec![0; BUDGET]);
    assert!(matches!(put, Err(CallError::Refused(Refusal::Full { max: BUDGET, .. }))), "{put:?}");
    drain(&mut cache);
    check_budget(&cache, BUDGET);
    assert!(matches!(
        cache.append(group, b"x"),
        Ok(_) | Err(CallError::Misuse(Misuse::UnknownGroup))
    ));
}

#[test]
fn nothing_is_evicted_for_a_frame_that_could_not_be_held_even_so() {
    let attempts: [fn(&mut Cache, GroupId); 4] = [
        |cache, group| {
            cache.open_frame(group, BUDGET as u64).unwrap();
            drain(cache);
            assert_eq!(cache.write(group, &[0; 1500]), Err(Misuse::Aborted(TOO_LARGE).into()));
        },
        |cache, group| _ = cache.append(group, &vec![0; BUDGET]).unwrap(),
        |cache, group| {
            cache.append_shared(group, Bytes::from(vec![0; BUDGET]), BUDGET).unwrap();
        },
        |cache, group| {
            cache.append_missing(group, 1, Missing::Lost).unwrap();
            let put = cache.put(group, 0, &vec![0; BUDGET]);
            assert!(matches!(put, Err(CallError::Refused(Refusal::Full { .. }))), "{put:?}");
        },
    ];
    for attempt in attempts {
        let mut cache = of(BUDGET);
        let (one, two) = (named(&mut cache, b"one"), named(&mut cache, b"two"));
        let older = finished(&mut cache, one, &[b"kept"]);
        let newest = filled(&mut cache, one, &[b"kept"]);
        let group = open(&mut cache, two);
        attempt(&mut cache, group);
        drain(&mut cache);
        assert_eq!((cache.frames(older), cache.frames(newest)), (Some(0..1), Some(0..1)));
    }
}

#[test]
fn what_came_back_is_freed_though_nothing_is_written_any_more() {
    let lent = |free: fn(&mut Cache, ReaderId)| {
        let mut cache = of(BUDGET);
        let track = track(&mut cache);
        let reader = reader(&mut cache, track);
        let held: Vec<_> = (0..100)
            .map(|number| {
                let group = finished(&mut cache, track, &[&[1; 100]]);
                let frame = cache.next_shared(reader).unwrap();
                let end = Next::GroupEnd { group: number, frames: 1 };
                assert_eq!(cache.next_shared(reader), Ok(end));
                cache.abort_group(group, 1).unwrap();
                frame
            })
            .collect();
        assert!(cache.lent() >= 100 * 128);
        drop(held);
        for _ in 0..100 {
            free(&mut cache, reader);
        }
        cache.lent()
    };
    assert_eq!(lent(|cache, _| cache.handle_timeout(Instant::ZERO).unwrap()), 0);
    let of_closing = lent(|cache, reader| {
        let clone = cache.clone_reader(reader).unwrap();
        cache.close_reader(clone).unwrap();
    });
    assert_eq!(of_closing, 0);
    // A call that is refused looks too, and so does one that finds nothing.
    let of_reading = lent(|cache, reader| assert_eq!(cache.next_shared(reader), Ok(Next::Pending)));
    assert_eq!(of_reading, 0);
    let of_refusals = lent(|cache, _| {
        let unknown = TrackId(Key::new(9, 9));
        assert_eq!(cache.drop_track(unknown), Err(Misuse::UnknownTrack));
    });
    assert_eq!(of_refusals, 0);
}
