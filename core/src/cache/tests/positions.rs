//! Reading at positions, of which the cache knows nothing.

use super::*;
use crate::storage::slab::Key;

const ALL: usize = usize::MAX;

fn run(cache: &Cache, track: TrackId, at: &mut Position, max_bytes: usize) -> Run {
    cache.run_at(track, at, max_bytes).unwrap().held().unwrap()
}

/// A track of one group with 50 frames of a byte in one block, which are not sealed.
fn fifty() -> (Cache, TrackId, GroupId) {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = open(&mut cache, track);
    for index in 0..50 {
        assert_eq!(cache.append(group, &[index as u8]), Ok(index));
    }
    (cache, track, group)
}

#[test]
fn what_was_appended_is_there_once_it_is_sealed() {
    let (mut cache, track, group) = fifty();
    let mut at = Position::new(0, 0);
    assert_eq!(cache.run_at(track, &mut at, ALL), Ok(Next::Pending));
    cache.seal(track).unwrap();
    assert_eq!(run(&cache, track, &mut at, ALL).frames, 50);
    assert_eq!(cache.append(group, b"more"), Ok(50));
    assert_eq!(cache.run_at(track, &mut at, ALL), Ok(Next::Pending));
    cache.seal(track).unwrap();
    assert_eq!(run(&cache, track, &mut at, ALL).iter().next(), Some((50, &b"more"[..])));
    cache.finish_group(group).unwrap();
    assert_eq!(cache.run_at(track, &mut at, ALL), Ok(Next::GroupEnd { group: 0, frames: 51 }));
    assert_eq!(at, Position::new(1, 0));
    assert_eq!(cache.run_at(track, &mut at, ALL), Ok(Next::Pending));
    assert_eq!(drain(&mut cache), []);
}

#[test]
fn all_open_groups_of_a_track_are_sealed_and_no_others() {
    let mut cache = cache();
    let one = track(&mut cache);
    let other = cache.create_track(Instant::ZERO, b"other", 0, Limits::default()).unwrap();
    for track in [one, one, one, other] {
        filled(&mut cache, track, &[b"frame"]);
    }
    cache.seal(one).unwrap();
    for group in 0..3 {
        assert_eq!(run(&cache, one, &mut Position::new(group, 0), ALL).frames, 1);
    }
    assert_eq!(cache.run_at(other, &mut Position::new(0, 0), ALL), Ok(Next::Pending));
    cache.drop_track(one).unwrap();
    assert_eq!(cache.seal(one), Ok(()));
}

#[test]
fn runs_are_cut_between_frames_where_there_are_too_many_bytes() {
    let (mut cache, track, _) = fifty();
    cache.seal(track).unwrap();
    for (max_bytes, frames) in [(0, 1), (2, 1), (3, 1), (4, 2), (99, 49), (100, 50)] {
        let (mut at, mut next) = (Position::new(0, 0), 0);
        while let Next::Held(run) = cache.run_at(track, &mut at, max_bytes).unwrap() {
            assert_eq!(run.frames, frames.min(50 - next), "{max_bytes} bytes");
            for (index, bytes) in run.iter() {
                assert_eq!((index, bytes), (next, &[next as u8][..]));
                next += 1;
            }
        }
        assert_eq!((next, at.frame()), (50, 50));
    }
}

#[test]
fn a_large_frame_is_cut_anywhere_and_read_from_anywhere() {
    let mut cache = cache();
    let track = track(&mut cache);
    let bytes = pattern(20_000);
    let group = open(&mut cache, track);
    cache.open_frame(group, 20_000).unwrap();
    cache.write(group, &bytes[..7000]).unwrap();
    cache.write(group, &bytes[7000..]).unwrap();
    for max_bytes in [3000, 1 << 20] {
        let (mut at, mut read) = (Position::new(0, 0), 0);
        while let Next::Held(run) = cache.run_at(track, &mut at, max_bytes).unwrap() {
            assert!(run.len() <= max_bytes && run.bytes == bytes[read..][..run.bytes.len()]);
            assert_eq!((run.offset, run.head().is_empty()), (read as u64, read > 0));
            read += run.bytes.len();
            assert_eq!(run.frames, u64::from(read == 20_000));
        }
        assert_eq!(read, 20_000);
    }
    for offset in [1, 6999, 7000, 19_999] {
        let run = run(&cache, track, &mut Position::new(0, 0).with_offset(offset), ALL);
        assert!(bytes[offset as usize..].starts_with(&run.bytes));
    }
    let mut beyond = Position::new(0, 0).with_offset(20_000);
    assert_eq!(cache.run_at(track, &mut beyond, ALL), Err(Misuse::WithinFrame));
}

#[test]
fn a_hint_makes_no_difference() {
    let (mut cache, track, group) = fifty();
    cache.append_missing(group, 3, Missing::Lost).unwrap();
    cache.append(group, &[7; 5000]).unwrap();
    cache.finish_group(group).unwrap();
    let other = cache.create_track(Instant::ZERO, b"other", 0, Limits::default()).unwrap();
    let mut at = cache.position(track, Start::Oldest).unwrap();
    loop {
        let mut fresh = Position::new(at.group(), at.frame()).with_offset(at.offset());
        let mut elsewhere = at;
        let next = cache.run_at(track, &mut at, 10).unwrap();
        assert_eq!(cache.run_at(track, &mut fresh, 10), Ok(next.clone()));
        assert_eq!(at, fresh);
        // Nor is anything of another track found by it.
        assert_eq!(cache.run_at(other, &mut elsewhere, 100), Ok(Next::Pending));
        if next == Next::Pending {
            break;
        }
    }
    assert_eq!(at, Position::new(1, 0));
}

#[test]
fn a_position_gets_the_reports_of_a_reader() {
    let limits = Limits { max_groups: 2, ..Limits::default() };
    let mut cache = cache();
    let track = limited(&mut cache, limits);
    let mut at = [Position::new(0, 0), Position::new(0, 1)];
    finished(&mut cache, track, &[b"gone"]);
    cache.skip_group(Instant::ZERO, track, 1).unwrap();
    let aborted = open(&mut cache, track);
    drain(&mut cache);
    cache.append(aborted, b"aborted").unwrap();
    cache.abort_group(aborted, 9).unwrap();
    let next = |cache: &Cache, at: &mut Position| cache.run_at(track, at, ALL).unwrap();
    let evicted = Next::Evicted { group: 0, frame: 0, next: Some((1, 0)) };
    assert_eq!(next(&cache, &mut at[0]), evicted);
    assert_eq!(next(&cache, &mut at[1]), Next::GroupEnd { group: 0, frames: 1 });
    for at in &mut at {
        assert_eq!(next(&cache, at), Next::Skipped { group: 1 });
        assert_eq!(next(&cache, at), Next::Aborted { group: 2, code: 9 });
        assert_eq!(next(&cache, at), Next::Pending);
    }
    cache.finish_track(track, None).unwrap();
    assert_eq!(next(&cache, &mut at[0]), Next::TrackEnd);
    let unknown = TrackId(Key::new(7, 7));
    assert_eq!(cache.run_at(unknown, &mut at[0], ALL), Err(Misuse::UnknownTrack));
    assert_eq!(cache.position(unknown, Start::Oldest), None);
    assert_eq!(cache.seal(unknown), Err(Misuse::UnknownTrack));
}

#[test]
fn reading_at_positions_is_not_refused_while_commands_wait() {
    let (mut cache, track, group) = fifty();
    cache.seal(track).unwrap();
    let waiting = cache.open_reader(track, Start::Live).unwrap();
    assert_eq!(cache.next_run(waiting), Ok(Next::Pending));
    cache.append(group, b"more").unwrap();
    assert_eq!(run(&cache, track, &mut Position::new(0, 49), ALL).frames, 1);
    assert_eq!(drain(&mut cache), [Command::Readable(waiting)]);
}
