//! Compaction: readers at the live edge, and frames written in chunks, make pieces of a frame each. When
//! nothing more is laid into their block, they are laid together once more, so that whoever comes later
//! reads them in runs, and they cost what others do.

use super::Store;
use crate::cache::group::{Kind, PIECE_FRAMES, Piece, walk};
use crate::storage::slab::NONE;
use bytes::BytesMut;

/// Pieces with fewer frames than this on average are compacted.
const FEW: u32 = 16;

impl Store {
    /// The first of the last pieces of a group that lie in this block, and their bytes, where they are many for few
    /// frames.
    pub(crate) fn scattered(&self, at: u32, block: u32) -> Option<(u32, usize)> {
        let (mut from, mut pieces, mut frames, mut bytes) = (NONE, 0, 0, 0);
        let mut next = self.groups.get(at)?.pieces.last();
        while let Some(piece) = self.pieces.get(next)
            && piece.block == block
            && piece.kind == Kind::Frames
        {
            from = next;
            pieces += 1;
            frames += piece.frames;
            bytes += piece.bytes.len();
            next = piece.link.previous;
        }
        (pieces > 1 && frames < pieces * FEW).then_some((from, bytes))
    }

    /// Lays the pieces of a group together in another block, from one of them on.
    pub(crate) fn lay_together(&mut self, at: u32, mut from: u32, to: u32, mut buffer: BytesMut) {
        let mut first = self.pieces.get(from).map_or(0, |piece| piece.first);
        let sealed = self.groups.get(at).map_or(0, |group| group.sealed);
        while let Some(piece) = self.take_piece(at, from) {
            from = piece.next();
            buffer.extend_from_slice(&piece.bytes);
            self.free(piece);
        }
        while first < sealed && !buffer.is_empty() {
            let frames = (sealed - first).min(PIECE_FRAMES);
            let bytes = buffer.split_to(walk(&buffer, frames)).freeze();
            let piece = Piece::new(first, frames, Kind::Frames, bytes).in_block(to);
            if self.push_piece(at, piece).is_none() {
                break;
            }
            self.pool.share(to);
            first += frames;
        }
        self.pool.retire(to, buffer);
    }
}

#[cfg(test)]
mod tests {
    use crate::cache::{Cache, Config, Limits, Next, ReaderId, Run, Start, TrackId};
    use crate::{Instant, Machine};
    use alloc::vec::Vec;

    const FRAMES: u32 = 600;

    fn payload(index: u64) -> [u8; 64] {
        [index as u8; 64]
    }

    fn run(cache: &mut Cache, reader: ReaderId) -> Run {
        cache.next_run(reader).unwrap().held().unwrap()
    }

    /// A finished group that a reader took frame by frame, and readers that stopped at every 50th frame.
    fn followed() -> (Cache, TrackId, Vec<ReaderId>) {
        let mut cache = Cache::new(Config::new(1 << 20)).unwrap();
        let track = cache.create_track(Instant::ZERO, b"followed", 0, Limits::default()).unwrap();
        let group = cache.append_group(Instant::ZERO, track).unwrap();
        let follower = cache.open_reader(track, Start::Oldest).unwrap();
        let mut stopped = Vec::new();
        for index in 0..FRAMES.into() {
            cache.append(group, &payload(index)).unwrap();
            assert_eq!(run(&mut cache, follower).frames, 1);
            if index % 50 == 0 {
                stopped.push(cache.clone_reader(follower).unwrap());
            }
        }
        cache.finish_group(group).unwrap();
        (cache, track, stopped)
    }

    #[test]
    fn no_frame_of_a_group_goes_to_compact_the_others() {
        const BUDGET: usize = 256 << 10;
        for frames in 300..600 {
            let mut cache = Cache::new(Config::new(BUDGET)).unwrap();
            let track = cache.create_track(Instant::ZERO, b"one", 0, Limits::default()).unwrap();
            let group = cache.append_group(Instant::ZERO, track).unwrap();
            let follower = cache.open_reader(track, Start::Oldest).unwrap();
            for _ in 0..frames {
                cache.append(group, &[7; 500]).unwrap();
                while cache.poll_command().is_some() {}
                run(&mut cache, follower);
            }
            let before = cache.frames(group);
            cache.finish_group(group).unwrap();
            assert_eq!(cache.frames(group), before, "of {frames} frames");
        }
    }

    #[test]
    fn what_was_taken_frame_by_frame_is_read_in_runs_later() {
        let (mut cache, track, _) = followed();
        let late = cache.open_reader(track, Start::Oldest).unwrap();
        let (mut runs, mut next) = (0, 0);
        while let Next::Held(run) = cache.next_run(late).unwrap() {
            for (index, bytes) in run.iter() {
                assert_eq!((index, bytes), (next, &payload(next)[..]));
                next += 1;
            }
            runs += 1;
        }
        assert_eq!(next, FRAMES.into());
        assert!(runs < 10, "{runs} runs");
    }

    #[test]
    fn readers_within_what_is_laid_together_go_on_where_they_stood() {
        let (mut cache, _, stopped) = followed();
        for (number, reader) in (0..).zip(stopped) {
            let next = number * 50 + 1;
            let whole = cache.clone_reader(reader).unwrap();
            let frame = cache.next_frame(whole).unwrap().held().unwrap();
            assert_eq!((frame.index, frame.bytes), (next, &payload(next)[..]));
            assert_eq!(run(&mut cache, reader).iter().next(), Some((next, &payload(next)[..])));
        }
    }

    #[test]
    fn what_the_outside_holds_of_it_stays_what_it_was() {
        let mut cache = Cache::new(Config::new(1 << 20)).unwrap();
        let track = cache.create_track(Instant::ZERO, b"held", 0, Limits::default()).unwrap();
        let group = cache.append_group(Instant::ZERO, track).unwrap();
        let follower = cache.open_reader(track, Start::Oldest).unwrap();
        let mut held = Vec::new();
        for index in 0..FRAMES.into() {
            cache.append(group, &payload(index)).unwrap();
            held.push(run(&mut cache, follower));
        }
        cache.finish_group(group).unwrap();
        assert!(cache.lent() > 0);
        for (index, run) in (0..).zip(&held) {
            assert_eq!(run.iter().next(), Some((index, &payload(index)[..])));
        }
        drop(held);
        assert!(cache.memory_used() - cache.lent() <= 1 << 20);
    }
}
