//! Runs plans, one run for each seed, and tells how to repeat a run that fails.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::random::Random;

thread_local! {
    /// Whether this thread tries things that may fail, of which nobody wants to read.
    static MUTED: Cell<bool> = const { Cell::new(false) };
}

/// Whether what fails on this thread now is not to be shown.
pub(super) fn is_muted() -> bool {
    MUTED.get()
}

/// Runs a plan once for each seed: for those below `GAPLESS_SEEDS` (12 unless told), or only for
/// `GAPLESS_SEED`. A failure prints the command that repeats it.
///
/// # Panics
/// When the plan does, and when a variable holds no number.
pub fn seeds<F: Fn(&mut Random)>(plan: F) {
    let number = |name: &str| {
        std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number of seeds"))
    };
    let seeds = match number("GAPLESS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("GAPLESS_SEEDS").unwrap_or(12),
    };
    for seed in seeds {
        let run = AssertUnwindSafe(|| plan(&mut Random::new(seed)));
        if let Err(panic) = catch_unwind(run) {
            let name = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
            let (binary, test) = name.split_once("::").unwrap_or((name, ""));
            eprintln!(
                "to repeat: GAPLESS_SEED={seed} cargo test -p gapless-tests --test {binary} {test}"
            );
            resume_unwind(panic);
        }
    }
}
