//! Flags that several commands have in common.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::Failure;
use crate::impair::Odds;
use crate::io::place::{is_standard_output, resolved};
use crate::values::Probability;

/// `--journal`, of every command that runs machines.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Journaling {
    /// Record everything that the machines are given in this file, for `gapless replay`. A file that
    /// exists is refused. A program that is killed loses the last second of it.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Record what the machines did too, not only a digest of it: a larger journal, from which
    /// `gapless replay --verify` shows what was done instead.
    #[arg(long, requires = "journal")]
    pub(crate) journal_commands: bool,
    /// Replace files that exist where new ones are to be written, each as a whole when its first byte
    /// comes.
    #[arg(long)]
    pub(crate) force: bool,
}

impl Journaling {
    /// Checks that the journal is a file, and not one of the `others`.
    ///
    /// # Errors
    /// Says what contradicts what, and what to do.
    pub(super) fn check(&self, others: &[(&str, Option<&Path>)]) -> Result<(), Failure> {
        let Some(journal) = &self.journal else { return Ok(()) };
        if is_standard_output(journal) {
            return Err(Failure::usage("--journal -: a journal is kept in a file"));
        }
        let same =
            |other: &Option<&Path>| other.is_some_and(|other| names_one_file(journal, other));
        match others.iter().find(|(_, other)| same(other)) {
            Some((name, _)) => Err(Failure::usage(format!("{name} and --journal name one file"))
                .advise("give each a file of its own")),
            None => Ok(()),
        }
    }
}

/// Whether two paths name one file, that is there or would be made.
pub(super) fn names_one_file(one: &Path, other: &Path) -> bool {
    one == other || resolved(one).is_some_and(|one| resolved(other) == Some(one))
}

pub(super) fn odds(loss: Probability, reorder: Probability, duplicate: Probability) -> Odds {
    Odds { loss: loss.get(), reorder: reorder.get(), duplicate: duplicate.get() }
}
