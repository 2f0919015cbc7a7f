//! `gapless replay`: what can be said, and what makes sense together.

use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;

pub(super) const EXAMPLES: &str = "\
Examples:
  Does this program still do what was recorded?
    gapless replay feed.journal --verify
  What happened around event 1200 of each machine:
    gapless replay feed.journal --print --from 1190 --to 1210";

/// `gapless replay`
#[derive(Args, Debug)]
pub(crate) struct Replay {
    /// The journal; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub(crate) journal: PathBuf,
    /// Compare what the machines do with what was recorded, and end at the first difference: with the
    /// event, the digests and the commands.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Print what happens, one line for each event and each command, each machine's in their order;
    /// with --json on standard error.
    #[arg(long)]
    pub(crate) print: bool,
    /// Print from this event on; events are counted from 1, for each machine.
    #[arg(
        long,
        value_name = "N",
        requires = "print",
        default_value_t = 0,
        hide_default_value = true
    )]
    pub(crate) from: u64,
    /// Print up to this event.
    #[arg(long, value_name = "N", requires = "print")]
    pub(crate) to: Option<u64>,
    /// Print one JSON object instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Replay {
    /// Checks what clap cannot.
    ///
    /// # Errors
    /// Says what contradicts what, and what to do.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        match self.to {
            Some(to) if to < self.from => Err(Failure::usage(format!(
                "--from {} --to {to}: no event lies between them",
                self.from
            ))
            .advise("exchange them")),
            _ => Ok(()),
        }
    }
}
