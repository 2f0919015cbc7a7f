//! How many bytes of memory a cached frame and a cached group take.

use bytes::Bytes;
use gapless_core::cache::{Cache, Config, Limits, Next, Start};
use gapless_core::{Instant, Machine};
use gapless_tests::alloc::measure;
use moq_net::Timestamp;

use crate::peer::Track;
use crate::{COLD, FRAMES, SIZE};

const NOW: Instant = Instant::from_millis(1);
const PAYLOAD: [u8; SIZE] = [7; SIZE];

/// How many groups are written, of how many frames.
#[derive(Clone, Copy)]
struct Shape {
    groups: usize,
    frames: usize,
}

const FULL: Shape = Shape { groups: 1_000, frames: FRAMES };
const SMALL: Shape = Shape { groups: 50_000, frames: 1 };

pub(crate) fn print() {
    println!();
    println!("{:<48}{:>9}{:>10}{:>13}", "bytes of memory", "a frame", "a group", "groups");
    for (shape, title) in
        [(FULL, "groups of 512 frames of 64 bytes"), (SMALL, "groups of one frame of 64 bytes")]
    {
        println!("{title}");
        row("payload alone", shape, SIZE * shape.frames * shape.groups);
        row("gapless", shape, ours(shape, false));
        row("gapless, followed by runs", shape, ours(shape, true));
        row("moq-net", shape, peer(shape));
    }
}

fn row(name: &str, shape: Shape, bytes: usize) {
    let a_group = bytes as f64 / shape.groups as f64;
    let a_frame = a_group / shape.frames as f64;
    println!("  {name:<46}{a_frame:>9.1}{a_group:>10.0}{:>13}", shape.groups);
}

fn ours(shape: Shape, is_followed: bool) -> usize {
    let mut cache = Cache::new(Config::new(COLD)).unwrap();
    let track = cache.create_track(NOW, b"bench", 0, Limits::default()).unwrap();
    let follower = cache.open_reader(track, Start::Oldest).unwrap();
    let ((), measured) = measure(|| {
        for _ in 0..shape.groups {
            let group = cache.append_group(NOW, track).unwrap();
            for _ in 0..shape.frames {
                cache.append(group, &PAYLOAD).unwrap();
                if is_followed {
                    assert!(matches!(cache.next_run(follower), Ok(Next::Held(_))));
                }
            }
            cache.finish_group(group).unwrap();
            if is_followed {
                assert!(matches!(cache.next_run(follower), Ok(Next::GroupEnd { .. })));
            }
        }
    });
    assert!(cache.poll_command().is_none(), "nothing was evicted");
    assert_eq!(cache.group_count(track), Some(shape.groups as u32));
    measured.growth as usize
}

fn peer(shape: Shape) -> usize {
    let track = Track::new(None);
    let ((), measured) = measure(|| {
        for _ in 0..shape.groups {
            let mut group = track.track.append_group().unwrap();
            for _ in 0..shape.frames {
                group.write_frame(Timestamp::ZERO, Bytes::copy_from_slice(&PAYLOAD)).unwrap();
            }
            group.finish().unwrap();
        }
    });
    assert_eq!(track.track.latest(), Some(shape.groups as u64 - 1));
    measured.growth as usize
}
