//! `gapless demo`: what can be said.

use std::path::PathBuf;

use clap::Args;

use super::shared::{Journaling, odds};
use crate::failure::Failure;
use crate::impair::Odds;
use crate::values::Probability;

pub(super) const EXAMPLES: &str = "\
Examples:
  gapless demo
  gapless demo --input feed.bin --loss 5% --reorder 5% --duplicate 5% --seed 7
  gapless demo --journal demo.journal && gapless replay demo.journal --verify";

/// `gapless demo`
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Publish the messages of this binaryfile (u16 big-endian length + message, over and over)
    /// instead of a feed made on the spot.
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// How many messages: of the feed made on the spot (by default 200000), or at most of FILE.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) messages: Option<u64>,
    /// The share of packets that each line loses: 0.05 or 5%.
    #[arg(long, value_name = "P", default_value = "1%")]
    pub(crate) loss: Probability,
    /// The share of packets that each line delays behind later ones.
    #[arg(long, value_name = "P", default_value = "1%")]
    pub(crate) reorder: Probability,
    /// The share of packets that each line sends twice.
    #[arg(long, value_name = "P", default_value = "1%")]
    pub(crate) duplicate: Probability,
    /// Seeds the feed and each line's dice.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) journaling: Journaling,
    /// Print one JSON object instead of the table.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Demo {
    /// Checks what clap cannot.
    ///
    /// # Errors
    /// Says what contradicts what, and what to do.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.journaling.check(&[("--input", self.input.as_deref())])
    }

    /// How likely packets on the lines are lost, delayed and doubled.
    pub(crate) fn odds(&self) -> Odds {
        odds(self.loss, self.reorder, self.duplicate)
    }
}
