//! One writer, a reader that is woken, a program that keeps a position of its own, and somebody who comes when
//! memory has let the beginning go.
//!
//! `cargo run -p gapless-core --example cache`

use core::error::Error;

use gapless_core::cache::{Cache, Command, Config, Limits, Next, Position, Start};
use gapless_core::{Instant, Machine};

fn main() -> Result<(), Box<dyn Error>> {
    // 256 KiB for everything: blocks, tables, names and readers.
    let mut cache = Cache::new(Config::new(256 << 10))?;
    let track = cache.create_track(Instant::ZERO, b"quotes", 0, Limits::default())?;

    // A reader that finds nothing waits, and is told once when it can go on.
    let reader = cache.open_reader(track, Start::Live)?;
    assert_eq!(cache.next_run(reader)?, Next::Pending);

    // Who serves many places keeps positions: the cache knows nothing of them.
    let mut position = Position::new(0, 0);

    let mut oldest = None;
    for minute in 0..200 {
        let now = Instant::from_millis(minute * 60_000);
        let group = cache.append_group(now, track)?;
        for second in 0..60 {
            let quote = format!("quote of minute {minute}, second {second}");
            cache.append(group, quote.as_bytes())?;
        }
        cache.finish_group(group)?;

        while let Some(command) = cache.poll_command() {
            match command {
                Command::Readable(who) => assert_eq!(who, reader),
                Command::Evicted { floor, .. } => oldest = floor,
                other => println!("{other:?}"),
            }
        }
        // The reader takes what there is, by shares: nothing is copied.
        let mut frames = 0;
        while let Next::Held(run) = cache.next_run(reader)? {
            frames += run.iter().count();
        }
        if minute % 50 == 0 {
            println!(
                "minute {minute}: {frames} frames for the live reader; memory begins at {oldest:?}"
            );
        }
    }

    // The position did not move for 200 minutes. It is told what went, and goes on behind it.
    let mut frames = 0;
    loop {
        match cache.run_at(track, &mut position, 16 << 10)? {
            Next::Held(run) => frames += run.frames,
            Next::Evicted { group, frame, next } => {
                println!("group {group} was evicted from frame {frame} on, it goes on at {next:?}");
            }
            Next::GroupEnd { .. } => {}
            Next::Pending => break,
            other => println!("{other:?}"),
        }
    }
    println!("{frames} frames were still there for who came late");
    println!("{} bytes of 262144 are used", cache.memory_used());
    Ok(())
}
