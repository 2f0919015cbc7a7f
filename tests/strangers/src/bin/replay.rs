//! `replay JOURNAL`: shows what happened, and what the watch knew then. Ends where the watch panics.

use std::env::args_os;
use std::fs::File;
use std::io::BufReader;

use gapless_core::Machine;
use gapless_core::journal::replayer::Step;
use gapless_core::journal::{Io, Replayer};
use strangers::Watch;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let journal = args_os().nth(1).expect("replay JOURNAL");
    let mut replayer = Replayer::verifying().watching::<Watch>(|place, watch, step| match step {
        Step::Event(event) => println!("{place}: {event:?}, after {} gaps", watch.stats()),
        Step::Command(command) => println!("    {command:?}"),
        _ => {}
    });
    replayer.replay(Io(BufReader::new(File::open(journal)?)), &mut ())?;
    // The journal of a crash ends in the middle of a drain.
    replayer.drain(&mut ());
    Ok(())
}
