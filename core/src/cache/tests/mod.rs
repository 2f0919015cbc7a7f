//! The behaviour of a cache, in sentences.

mod applied;
mod chunks;
mod encoding;
mod frames;
mod groups;
mod immutable;
mod limits;
mod memory;
mod misuse;
mod past;
mod positions;
mod readers;
mod reserves;
mod runs;
mod tracks;

use super::*;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

/// A cache of a mebibyte.
fn cache() -> Cache {
    of(1 << 20)
}

fn of(max_bytes: usize) -> Cache {
    Cache::new(Config::new(max_bytes)).unwrap()
}

/// A cache that reserves nothing for publishers.
fn unreserved(max_bytes: usize) -> Cache {
    Cache::new(Config { max_publishers: 0, ..Config::new(max_bytes) }).unwrap()
}

/// A track that keeps everything.
fn track(cache: &mut Cache) -> TrackId {
    limited(cache, Limits::default())
}

fn limited(cache: &mut Cache, limits: Limits) -> TrackId {
    cache.create_track(Instant::ZERO, b"track", 0, limits).unwrap()
}

/// An open group, the next of its track.
fn open(cache: &mut Cache, track: TrackId) -> GroupId {
    cache.append_group(Instant::ZERO, track).unwrap()
}

/// An open group with these frames.
fn filled(cache: &mut Cache, track: TrackId, frames: &[&[u8]]) -> GroupId {
    let group = open(cache, track);
    for frame in frames {
        cache.append(group, frame).unwrap();
    }
    group
}

/// A finished group with these frames.
fn finished(cache: &mut Cache, track: TrackId, frames: &[&[u8]]) -> GroupId {
    let group = filled(cache, track, frames);
    cache.finish_group(group).unwrap();
    group
}

/// A reader of everything.
fn reader(cache: &mut Cache, track: TrackId) -> ReaderId {
    cache.open_reader(track, Start::Oldest).unwrap()
}

fn drain(cache: &mut Cache) -> Vec<Command> {
    core::iter::from_fn(|| cache.poll_command()).collect()
}

/// The answer to an event, and the commands behind that.
fn ask(cache: &mut Cache, event: Event<'_>) -> (Answer, Vec<Command>) {
    cache.handle(Instant::ZERO, event).unwrap();
    let mut commands = drain(cache);
    match commands.remove(0) {
        Command::Answer(answer) => (answer, commands),
        other => panic!("{other:?} came before the answer"),
    }
}

/// A frame as a reader gets it.
fn held(group: u64, index: u64, bytes: &[u8]) -> Result<Next<Frame<&[u8]>>, Misuse> {
    Ok(Next::Held(Frame { group, index, bytes }))
}

/// A chunk as a reader gets it.
fn chunk(at: (u64, u64), size: u64, offset: u64, bytes: &[u8]) -> Next<Chunk<&[u8]>> {
    Next::Held(Chunk { group: at.0, index: at.1, size, offset, bytes })
}

/// Bytes of which no two stretches nearby are the same.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Checks the budget, which holds after every call.
#[track_caller]
fn check_budget(cache: &Cache, max_bytes: usize) {
    let charged = cache.charged();
    assert!(charged <= max_bytes, "{charged} of {max_bytes} bytes");
}
