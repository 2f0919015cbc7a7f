//! Tracks: how they come, end, and go.

use super::*;
use crate::machine::Undrained;

#[test]
fn a_track_is_found_by_its_name() {
    let mut cache = cache();
    let quotes = cache.create_track(Instant::ZERO, b"quotes", 0, Limits::default()).unwrap();
    let trades = cache.create_track(Instant::ZERO, b"trades", 0, Limits::default()).unwrap();
    assert_eq!(cache.track(b"quotes"), Some(quotes));
    assert_eq!(cache.track(b"trades"), Some(trades));
    assert_eq!(cache.track(b"quote"), None);
    assert_eq!(cache.stats().tracks, 2);
}

#[test]
fn a_name_has_1_to_1024_bytes() {
    let mut cache = cache();
    let mut create = |name: &[u8]| cache.create_track(Instant::ZERO, name, 0, Limits::default());
    assert_eq!(create(b""), Err(Misuse::Name(0).into()));
    assert_eq!(create(&[b'n'; 1025]), Err(Misuse::Name(1025).into()));
    assert!(create(&[b'n'; 1024]).is_ok());
    assert!(create(&[0]).is_ok());
}

#[test]
fn the_name_of_a_live_track_is_taken() {
    let mut cache = cache();
    track(&mut cache);
    let again = cache.create_track(Instant::ZERO, b"track", 1, Limits::default());
    assert_eq!(again, Err(Refusal::NameTaken.into()));
}

#[test]
fn the_name_of_an_ended_track_means_the_new_one_from_then_on() {
    let mut cache = cache();
    let old = track(&mut cache);
    finished(&mut cache, old, &[b"old"]);
    cache.finish_track(old, None).unwrap();
    assert_eq!(cache.track(b"track"), Some(old));
    let new = track(&mut cache);
    assert_eq!(cache.track(b"track"), Some(new));
    let reader = reader(&mut cache, old);
    assert_eq!(cache.next_frame(reader), held(0, 0, b"old"));
}

#[test]
fn a_new_track_keeps_its_name_when_the_old_one_of_that_name_goes() {
    let mut cache = cache();
    let old = track(&mut cache);
    let reader = reader(&mut cache, old);
    cache.finish_track(old, None).unwrap();
    let new = track(&mut cache);
    cache.close_reader(reader).unwrap();
    assert_eq!(cache.newest(old), None);
    assert_eq!(cache.track(b"track"), Some(new));
}

#[test]
fn the_id_of_a_track_that_went_names_no_other() {
    let mut cache = cache();
    let old = track(&mut cache);
    cache.abort_track(old, 9).unwrap();
    let new = track(&mut cache);
    assert_ne!(old, new);
    assert_eq!(cache.append_group(Instant::ZERO, old), Err(Misuse::UnknownTrack.into()));
    assert_eq!(cache.group_count(old), None);
    assert_eq!(cache.group_count(new), Some(0));
}

#[test]
fn what_is_asked_of_an_unknown_track_is_refused() {
    let mut cache = cache();
    let track = track(&mut cache);
    cache.drop_track(track).unwrap();
    let now = Instant::ZERO;
    assert_eq!(cache.create_group(now, track, 0), Err(Misuse::UnknownTrack.into()));
    assert_eq!(cache.skip_group(now, track, 0), Err(Misuse::UnknownTrack.into()));
    assert_eq!(cache.finish_track(track, None), Err(Misuse::UnknownTrack.into()));
    assert_eq!(cache.abort_track(track, 1), Err(Misuse::UnknownTrack));
    assert_eq!(cache.drop_track(track), Err(Misuse::UnknownTrack));
    assert_eq!(cache.open_reader(track, Start::Live), Err(Misuse::UnknownTrack.into()));
    assert_eq!((cache.group(track, 0), cache.floor(track)), (None, None));
    assert_eq!(cache.evictions(track), None);
}

#[test]
fn a_finished_track_is_over_for_a_reader_that_has_read_everything() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    finished(&mut cache, track, &[b"last"]);
    cache.finish_track(track, None).unwrap();
    assert_eq!(cache.next_frame(reader), held(0, 0, b"last"));
    assert_eq!(cache.next_frame(reader), Ok(Next::GroupEnd { group: 0, frames: 1 }));
    assert_eq!(cache.next_frame(reader), Ok(Next::TrackEnd));
    assert_eq!(cache.next_frame(reader), Ok(Next::TrackEnd));
}

#[test]
fn a_group_that_is_open_when_its_track_is_finished_goes_on() {
    let mut cache = cache();
    let track = track(&mut cache);
    let group = filled(&mut cache, track, &[b"before"]);
    cache.finish_track(track, None).unwrap();
    cache.append(group, b"after").unwrap();
    cache.finish_group(group).unwrap();
    assert_eq!(cache.frame(group, 1), Some(FrameState::Held(b"after")));
}

#[test]
fn a_track_that_is_finished_without_groups_has_none() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    cache.finish_track(track, None).unwrap();
    assert_eq!(cache.create_group(Instant::ZERO, track, 0), Err(Misuse::TrackEnded.into()));
    assert_eq!(cache.next_frame(reader), Ok(Next::TrackEnd));
}

#[test]
fn a_track_finished_at_a_group_to_come_takes_the_groups_up_to_it() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    finished(&mut cache, track, &[]);
    cache.finish_track(track, Some(2)).unwrap();
    assert_eq!(cache.next_frame(reader), Ok(Next::GroupEnd { group: 0, frames: 0 }));
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    let group = open(&mut cache, track);
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    cache.finish_group(group).unwrap();
    finished(&mut cache, track, &[]);
    let refused = cache.append_group(Instant::ZERO, track);
    assert_eq!(refused, Err(Refusal::BeyondEnd { sequence: 3, end: 2 }.into()));
    assert_eq!(cache.next_frame(reader), Ok(Next::GroupEnd { group: 1, frames: 0 }));
    assert_eq!(cache.next_frame(reader), Ok(Next::GroupEnd { group: 2, frames: 0 }));
    assert_eq!(cache.next_frame(reader), Ok(Next::TrackEnd));
}

#[test]
fn a_track_finished_ahead_of_its_first_group_waits_for_it() {
    let mut cache = cache();
    let track = track(&mut cache);
    cache.finish_track(track, Some(0)).unwrap();
    let group = finished(&mut cache, track, &[b"it"]);
    assert_eq!(cache.frame(group, 0), Some(FrameState::Held(b"it")));
}

#[test]
fn a_group_that_a_finished_track_lacks_may_come_late() {
    let mut cache = cache();
    let track = track(&mut cache);
    cache.create_group(Instant::ZERO, track, 5).unwrap();
    cache.finish_track(track, None).unwrap();
    assert!(cache.create_group(Instant::ZERO, track, 3).is_ok());
    let refused = cache.create_group(Instant::ZERO, track, 6);
    assert_eq!(refused, Err(Refusal::BeyondEnd { sequence: 6, end: 5 }.into()));
    assert_eq!(cache.stats().beyond, 1);
}

#[test]
fn a_track_cannot_end_before_a_group_that_it_had() {
    let mut cache = cache();
    let track = track(&mut cache);
    cache.create_group(Instant::ZERO, track, 7).unwrap();
    assert_eq!(cache.finish_track(track, Some(6)), Err(Refusal::EndsBefore { newest: 7 }.into()));
    assert_eq!(cache.finish_track(track, Some(7)), Ok(()));
}

#[test]
fn the_end_of_a_track_is_said_once() {
    let mut cache = cache();
    let track = track(&mut cache);
    open(&mut cache, track);
    cache.finish_track(track, Some(4)).unwrap();
    assert_eq!(cache.finish_track(track, Some(9)), Err(Misuse::TrackEnded.into()));
    let refused = cache.create_group(Instant::ZERO, track, 5);
    assert_eq!(refused, Err(Refusal::BeyondEnd { sequence: 5, end: 4 }.into()));
}

#[test]
fn a_reader_that_waits_beyond_the_end_is_woken_for_the_end() {
    let mut cache = cache();
    let track = track(&mut cache);
    let far = cache.open_reader(track, Start::At { group: 40, frame: 0 }).unwrap();
    let near = cache.open_reader(track, Start::At { group: 4, frame: 0 }).unwrap();
    assert_eq!(cache.next_frame(far), Ok(Next::Pending));
    assert_eq!(cache.next_frame(near), Ok(Next::Pending));
    cache.finish_track(track, Some(10)).unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(far)]);
    assert_eq!(cache.next_frame(far), Ok(Next::TrackEnd));
    assert_eq!(cache.next_frame(near), Ok(Next::Pending));
}

#[test]
fn the_last_number_that_a_group_can_have_ends_a_track_for_every_reader() {
    let mut cache = cache();
    let limits = Limits { first_group: MAX_SEQUENCE, ..Limits::default() };
    let track = limited(&mut cache, limits);
    finished(&mut cache, track, &[]);
    cache.finish_track(track, Some(u64::MAX)).unwrap();
    let reader = cache.open_reader(track, Start::Oldest).unwrap();
    let end = Next::GroupEnd { group: MAX_SEQUENCE, frames: 0 };
    assert_eq!(cache.next_frame(reader), Ok(end));
    assert_eq!(cache.next_frame(reader), Ok(Next::TrackEnd));
}

#[test]
fn a_finished_track_that_is_dropped_short_of_its_end_ends_cleanly() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    finished(&mut cache, track, &[]);
    cache.finish_track(track, Some(5)).unwrap();
    assert_eq!(cache.next_frame(reader), Ok(Next::GroupEnd { group: 0, frames: 0 }));
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    cache.drop_track(track).unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    assert_eq!(cache.next_frame(reader), Ok(Next::TrackEnd));
    assert_eq!(cache.append_group(Instant::ZERO, track), Err(Misuse::TrackEnded.into()));
}

#[test]
fn an_aborted_track_reports_its_code_behind_the_groups_that_were_finished() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    finished(&mut cache, track, &[b"kept"]);
    filled(&mut cache, track, &[b"gone"]);
    cache.abort_track(track, 0x77).unwrap();
    assert_eq!(cache.next_frame(reader), held(0, 0, b"kept"));
    assert_eq!(cache.next_frame(reader), Ok(Next::GroupEnd { group: 0, frames: 1 }));
    assert_eq!(cache.next_frame(reader), Ok(Next::Aborted { group: 1, code: 0x77 }));
    assert_eq!(cache.next_frame(reader), Ok(Next::TrackAborted { code: 0x77 }));
    assert_eq!(cache.append_group(Instant::ZERO, track), Err(Misuse::TrackEnded.into()));
}

#[test]
fn a_track_that_is_dropped_unfinished_is_aborted_as_dropped() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    open(&mut cache, track);
    assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    cache.drop_track(track).unwrap();
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    assert_eq!(cache.next_frame(reader), Ok(Next::Aborted { group: 0, code: DROPPED }));
    assert_eq!(cache.next_frame(reader), Ok(Next::TrackAborted { code: DROPPED }));
}

#[test]
fn a_finished_track_can_be_aborted_before_its_end_has_come() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    cache.finish_track(track, Some(3)).unwrap();
    cache.abort_track(track, 8).unwrap();
    assert_eq!(cache.next_frame(reader), Ok(Next::TrackAborted { code: 8 }));
}

#[test]
fn a_track_that_was_aborted_keeps_its_code() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    cache.abort_track(track, 3).unwrap();
    assert_eq!(cache.abort_track(track, 4), Err(Misuse::TrackEnded));
    assert_eq!(cache.finish_track(track, None), Err(Misuse::TrackEnded.into()));
    assert_eq!(cache.drop_track(track), Ok(()));
    assert_eq!(cache.next_frame(reader), Ok(Next::TrackAborted { code: 3 }));
}

#[test]
fn an_ended_track_goes_with_its_last_reader() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    cache.finish_track(track, None).unwrap();
    assert_eq!(cache.track(b"track"), Some(track));
    cache.close_reader(reader).unwrap();
    assert_eq!(cache.track(b"track"), None);
}

#[test]
fn an_ended_track_goes_with_its_last_group() {
    let mut cache = cache();
    let limits = Limits { max_age: crate::Duration::from_secs(1), ..Limits::default() };
    let track = limited(&mut cache, limits);
    finished(&mut cache, track, &[b"frame"]);
    cache.finish_track(track, None).unwrap();
    cache.handle_timeout(Instant::from_millis(1000)).unwrap();
    assert_eq!(drain(&mut cache), [Command::Evicted { track, floor: None }]);
    assert_eq!(cache.track(b"track"), None);
}

#[test]
fn a_live_track_stays_without_groups_and_readers() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    cache.close_reader(reader).unwrap();
    assert_eq!(cache.track(b"track"), Some(track));
}

#[test]
fn what_tracks_take_is_given_back_when_they_go() {
    let mut cache = cache();
    // One page of places stays, so that what goes and comes in turn allocates nothing.
    let first = track(&mut cache);
    cache.drop_track(first).unwrap();
    let before = cache.memory_used();
    let tracks: Vec<TrackId> = (0..200_u64)
        .map(|number| {
            let name = number.to_be_bytes();
            cache.create_track(Instant::ZERO, &name, number, Limits::default()).unwrap()
        })
        .collect();
    assert!(cache.memory_used() > before + 200 * 64);
    for track in tracks {
        cache.drop_track(track).unwrap();
    }
    // The table of pages stays.
    assert!(cache.memory_used() < before + 2048, "{} after {before}", cache.memory_used());
}

#[test]
fn an_event_is_answered_first_and_then_its_effects_are_reported() {
    let mut cache = cache();
    let create = Event::CreateTrack { name: b"track", publisher: 0, limits: Limits::default() };
    let (Answer::Track(track), _) = ask(&mut cache, create) else { panic!("no track") };
    let open = Event::OpenReader { track, start: Start::Oldest };
    let (Answer::Reader(reader), _) = ask(&mut cache, open) else { panic!("no reader") };
    let read = Event::Read { reader, by: ReadUnit::Frame };
    assert_eq!(ask(&mut cache, read).0, Answer::Frame(Next::Pending));
    let (answer, effects) = ask(&mut cache, Event::FinishTrack { track, end: None });
    assert_eq!((answer, effects), (Answer::Done, vec![Command::Readable(reader)]));
    let read = Event::Read { reader, by: ReadUnit::Run };
    assert_eq!(ask(&mut cache, read).0, Answer::Run(Next::TrackEnd));
    let close = Event::CloseReader { reader };
    assert_eq!(ask(&mut cache, close), (Answer::Done, vec![]));
}

#[test]
fn what_a_publisher_outside_can_cause_is_answered_and_what_it_cannot_is_an_error() {
    let mut cache = cache();
    let track = track(&mut cache);
    open(&mut cache, track);
    let again = Event::CreateGroup { track, sequence: 0 };
    assert_eq!(ask(&mut cache, again).0, Answer::Refused(Refusal::Duplicate(0)));
    cache.abort_track(track, 1).unwrap();
    let misuse = cache.handle(Instant::ZERO, Event::AppendGroup { track });
    assert_eq!(misuse, Err(Misuse::TrackEnded));
    assert_eq!(drain(&mut cache), []);
}

#[test]
fn calls_and_reads_are_taken_while_commands_wait_and_events_are_not() {
    let mut cache = cache();
    let track = track(&mut cache);
    let reader = reader(&mut cache, track);
    let other = cache.clone_reader(reader).unwrap();
    for reader in [reader, other] {
        assert_eq!(cache.next_frame(reader), Ok(Next::Pending));
    }
    let group = open(&mut cache, track);
    assert_eq!(cache.append(group, b"frame"), Ok(0));
    assert_eq!(cache.append(group, b"another"), Ok(1));
    assert!(matches!(cache.next_run(other), Ok(Next::Held(_))));
    let undrained = Err(Undrained.into());
    assert_eq!(cache.handle(Instant::ZERO, Event::AppendGroup { track }), undrained);
    assert_eq!(cache.handle_timeout(Instant::ZERO), undrained);
    assert_eq!(drain(&mut cache), [Command::Readable(reader)]);
    assert_eq!(cache.handle_timeout(Instant::ZERO), Ok(()));
}

#[test]
fn every_group_that_is_aborted_before_a_drain_is_reported_unless_it_is_gone() {
    let mut cache = Cache::new(Config::new(256 << 10)).unwrap();
    let track = track(&mut cache);
    let groups = [(); 3].map(|()| cache.append_group(Instant::ZERO, track).unwrap());
    for group in groups {
        cache.append_shared(group, Bytes::from(vec![0; 300 << 10]), 300 << 10).unwrap();
    }
    let aborted = |group| Command::Aborted { track, group, code: TOO_LARGE };
    cache.drop_group(groups[1]).unwrap();
    let commands = drain(&mut cache);
    assert_eq!(commands[..2], [aborted(0), aborted(1)]);
    assert!(commands.contains(&aborted(2)));
}
