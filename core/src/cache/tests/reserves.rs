//! Reserves of publishers.

use super::*;

const BUDGET: usize = 1 << 20;
const GREEDY: u64 = 7;

fn create(cache: &mut Cache, publisher: u64, name: &[u8]) -> Result<TrackId, CallError> {
    let created = cache.create_track(Instant::ZERO, name, publisher, Limits::default());
    check_budget(cache, BUDGET);
    created
}

fn is_full<T: core::fmt::Debug>(result: Result<T, CallError>) -> bool {
    match result {
        Ok(_) => false,
        Err(CallError::Refused(Refusal::Full { used, max: BUDGET })) if used <= BUDGET => true,
        Err(other) => panic!("{other}"),
    }
}

/// The name of a publisher's nth track: as long as names may be.
fn name(publisher: u64, number: u64) -> Vec<u8> {
    let mut name = vec![b'n'; MAX_NAME];
    name[..8].copy_from_slice(&publisher.to_be_bytes());
    name[8..16].copy_from_slice(&number.to_be_bytes());
    name
}

/// Creates tracks with short names, each with the next number, until one is refused: how many.
fn exhaust(cache: &mut Cache, publisher: u64, next: &mut u64) -> u64 {
    let before = *next;
    while !is_full(create(cache, publisher, &next.to_be_bytes())) {
        *next += 1;
    }
    *next - before
}

/// Every publisher gets the tracks that are reserved for it, and writes.
fn all_get_theirs(cache: &mut Cache, publishers: core::ops::Range<u64>, tracks: u64) {
    for publisher in publishers {
        for number in 0..tracks {
            let track = create(cache, publisher, &name(publisher, number)).unwrap();
            let group = cache.append_group(Instant::ZERO, track).unwrap();
            cache.append(group, &[1; 4000]).unwrap();
            check_budget(cache, BUDGET);
            assert_eq!(cache.frames(group), Some(0..1), "track {number} of {publisher}");
        }
    }
}

/// Of a quarter of a mebibyte each of 16 has 16 KiB: six tracks, and as much for frames.
#[test]
fn a_publisher_of_many_tracks_keeps_no_other_from_its_own() {
    let mut cache = cache();
    let mut next = 0;
    let taken = exhaust(&mut cache, GREEDY, &mut next);
    assert!((1500..3000).contains(&taken), "{taken} tracks");
    all_get_theirs(&mut cache, 100..115, 6);
    let more = exhaust(&mut cache, 100, &mut next);
    assert!(more < 64, "{more} more");
}

#[test]
fn readers_keep_no_publisher_from_its_tracks() {
    let mut cache = cache();
    let track = create(&mut cache, GREEDY, b"track").unwrap();
    while !is_full(cache.open_reader(track, Start::Oldest)) {}
    all_get_theirs(&mut cache, 100..115, 6);
}

/// A table has the rows for as many groups as there ever were.
#[test]
fn tables_that_grew_keep_no_publisher_from_its_own() {
    let config = Config { max_publishers: 2, reserve: 2624, ..Config::new(BUDGET) };
    let mut cache = Cache::new(config).unwrap();
    let track = create(&mut cache, GREEDY, b"track").unwrap();
    for sequence in 0..6_000 {
        cache.skip_group(Instant::ZERO, track, sequence).unwrap();
    }
    assert!(cache.stats().evicted.by_bytes > 0);
    exhaust(&mut cache, GREEDY, &mut 0);
    let track = create(&mut cache, 1, &name(1, 0)).unwrap();
    let group = cache.append_group(Instant::ZERO, track).unwrap();
    cache.append(group, &[1; 100]).unwrap();
    assert_eq!(cache.frames(group), Some(0..1));
}

#[test]
fn without_a_reserve_one_takes_all() {
    let mut cache = unreserved(BUDGET);
    exhaust(&mut cache, GREEDY, &mut 0);
    assert!(is_full(create(&mut cache, 100, b"of another")));
}

/// Whoever goes leaves what was reserved for it to the next, however pages and names lie.
#[test]
fn what_is_reserved_can_be_had_whoever_comes_and_goes() {
    let config = Config { max_publishers: 40, reserve: 12_000, ..Config::new(BUDGET) };
    let mut cache = Cache::new(config).unwrap();
    let (mut random, mut tracks, mut next) = (1_u64, Vec::new(), 0);
    for round in 0..12_u64 {
        // Someone fills what there is, and lets most of it go.
        exhaust(&mut cache, GREEDY, &mut next);
        for number in 0..next {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if random >> 61 != 0
                && let Some(track) = cache.track(&number.to_be_bytes())
            {
                cache.drop_track(track).unwrap();
            }
        }
        exhaust(&mut cache, GREEDY, &mut next);
        for publisher in 0..39 {
            for number in 0..4 {
                let name = match random >> 63 {
                    0 => name(round, publisher * 4 + number),
                    _ => [round, publisher, number].map(u64::to_be_bytes).concat(),
                };
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                tracks.push(create(&mut cache, 1000 * (round + 1) + publisher, &name).unwrap());
            }
        }
        exhaust(&mut cache, GREEDY, &mut next);
        for track in tracks.drain(..) {
            cache.drop_track(track).unwrap();
        }
        while cache.poll_command().is_some() {}
    }
}

/// Others share what is left; one of them comes after one that went.
#[test]
fn a_publisher_beyond_those_has_its_reserve_once_another_went() {
    let config = Config { max_publishers: 1, reserve: 16 << 10, ..Config::new(BUDGET) };
    let mut cache = Cache::new(config).unwrap();
    let first = create(&mut cache, 1, b"one").unwrap();
    let second = create(&mut cache, 2, b"two").unwrap();
    exhaust(&mut cache, GREEDY, &mut 0);
    assert!(is_full(create(&mut cache, 2, &name(2, 0))));
    cache.drop_track(first).unwrap();
    all_get_theirs(&mut cache, 2..3, 6);
    cache.drop_track(second).unwrap();
}

#[test]
fn at_most_half_is_reserved() {
    let refused = |max_publishers, reserve| {
        let config = Config { max_publishers, reserve, ..Config::new(BUDGET) };
        Cache::new(config).err().map(|misuse| alloc::format!("{misuse}"))
    };
    assert_eq!(refused(32, 16 << 10), None);
    assert_eq!(refused(33, 0), None);
    let most = "max_publishers * reserve is 540672; it must be at most half of max_bytes";
    assert_eq!(refused(33, 16 << 10).as_deref(), Some(most));
    assert_eq!(refused(1, 2623).as_deref(), Some("reserve is 2623; it must be 0, or from 2624"));
}
