//! Runs plans, one run for each seed. Of a run that fails it tells how to repeat it; of a plan that is
//! a value also the smallest that still fails, with the journals of its nodes.

use std::any::type_name;
use std::cell::Cell;
use std::fmt::Debug;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::path::Path;
use std::sync::Once;
use std::time::{Duration, Instant};

use super::journal::{Journals, recorded};
use super::random::Random;

/// The most smaller plans that are tried after a failure, and how long.
const ATTEMPTS: usize = 500;
const PATIENCE: Duration = Duration::from_secs(60);

/// The plan of a simulation, as a value.
pub trait Plan: Clone + Debug {
    /// Runs it. The same plan runs the same way every time.
    ///
    /// # Panics
    /// When something does not hold that must.
    fn run(&self);

    /// Plans that are simpler by one thing each, the simplest first.
    fn shrinks(&self) -> Vec<Self>;
}

/// The smallest plan that can be found to fail, by so many attempts at most.
#[must_use]
pub fn shrink<P: Plan>(failing: P, attempts: usize) -> P {
    let mut smallest = failing;
    let mut left = attempts;
    let until = Instant::now() + PATIENCE;
    loop {
        let candidates = smallest.shrinks().into_iter();
        let mut tried = candidates.take_while(|_| {
            left = left.saturating_sub(1);
            left > 0 && Instant::now() < until
        });
        match tried.find(fails) {
            Some(smaller) => smallest = smaller,
            None => return smallest,
        }
    }
}

/// Whether a plan fails; it does so in silence.
pub fn fails<P: Plan>(plan: &P) -> bool {
    muted(|| catch_unwind(AssertUnwindSafe(|| plan.run())).is_err())
}

/// Draws a plan for each seed and runs it, as [`seeds`] does. When one fails, smaller ones are tried;
/// the smallest that fails is shown, and journals of its nodes are left behind.
///
/// # Panics
/// When a plan fails, and when a variable holds no number, or that of no seed.
pub fn plans<P: Plan, F: Fn(&mut Random) -> P>(draw: F) {
    for seed in chosen_seeds() {
        let plan = draw(&mut Random::new(seed));
        if !fails(&plan) {
            continue;
        }
        let plan = shrink(plan, ATTEMPTS);
        let failure = catch_unwind(AssertUnwindSafe(|| plan.run()));
        let failure = failure.expect_err("the same plan fails every time");
        let (_, journals) = recorded(|| fails(&plan));
        eprintln!("the smallest plan that fails: {plan:#?}");
        report::<F>(seed, &journals);
        resume_unwind(failure);
    }
}

/// Runs a plan once for each seed: for those below `GAPLESS_SEEDS` (12 by default), or only for
/// `GAPLESS_SEED`. A failure leaves journals of its nodes, and prints the command that repeats it.
///
/// # Panics
/// When the plan does, and when a variable holds no number, or that of no seed.
pub fn seeds<F: Fn(&mut Random)>(plan: F) {
    for seed in chosen_seeds() {
        let run = || catch_unwind(AssertUnwindSafe(|| plan(&mut Random::new(seed))));
        if let Err(failure) = run() {
            let (_, journals) = recorded(|| muted(run));
            report::<F>(seed, &journals);
            resume_unwind(failure);
        }
    }
}

/// Leaves the journals of a run that failed, and tells where, and how to repeat it.
fn report<F>(seed: u64, journals: &Journals) {
    // The binary and the test that the closure was written in.
    let name = type_name::<F>().trim_end_matches("::{{closure}}");
    let (binary, test) = name.split_once("::").unwrap_or((name, ""));
    let folder = format!("target/simulator/{binary}-{}-{seed}", test.replace("::", "-"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&folder);
    for (index, (node, journal)) in journals.iter().enumerate() {
        let before = journals[..index].iter().filter(|(other, _)| other == node).count();
        let node = if before == 0 { node.to_string() } else { format!("{node}-{}", before + 1) };
        let kept = std::fs::create_dir_all(&root)
            .and_then(|()| std::fs::write(root.join(format!("{node}.journal")), journal.bytes()));
        match kept {
            Ok(()) => eprintln!("journal of the {node}: {folder}/{node}.journal"),
            Err(error) => eprintln!("no journal of the {node} in {folder}: {error}"),
        }
    }
    eprintln!("to repeat: GAPLESS_SEED={seed} cargo test -p gapless-tests --test {binary} {test}");
}

fn chosen_seeds() -> Range<u64> {
    let number = |name: &str| {
        std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number of seeds"))
    };
    let seeds = match number("GAPLESS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("GAPLESS_SEEDS").unwrap_or(12),
    };
    assert!(!seeds.is_empty(), "GAPLESS_SEEDS=0: nothing would be tested");
    seeds
}

thread_local! {
    /// Whether this thread tries what may fail, of which nobody wants to read.
    static MUTED: Cell<bool> = const { Cell::new(false) };
}

/// Whether what fails on this thread now is not to be shown.
pub(super) fn is_muted() -> bool {
    MUTED.get()
}

fn muted<T>(work: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |panic| {
            if !is_muted() {
                others(panic);
            }
        }));
    });
    MUTED.set(true);
    let result = work();
    MUTED.set(false);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when two of its numbers add up to a hundred.
    #[derive(Clone, PartialEq, Eq, Debug)]
    struct Numbers(Vec<u64>);

    impl Plan for Numbers {
        fn run(&self) {
            let pairs = |a: &u64| self.0.iter().any(|b| a + b == 100);
            assert!(!self.0.iter().any(pairs));
        }

        fn shrinks(&self) -> Vec<Self> {
            let without = |index| {
                let mut numbers = self.0.clone();
                numbers.remove(index);
                Self(numbers)
            };
            (0..self.0.len()).map(without).collect()
        }
    }

    #[test]
    fn what_is_shrunk_still_fails_and_nothing_can_be_left_out_of_it() {
        let plan = Numbers(vec![1, 30, 2, 3, 70, 4]);
        assert_eq!(shrink(plan.clone(), ATTEMPTS), Numbers(vec![30, 70]));
        assert_eq!(shrink(plan.clone(), ATTEMPTS), shrink(plan, ATTEMPTS));
    }

    #[test]
    fn attempts_at_shrinking_are_bounded() {
        let plan = Numbers(vec![1, 30, 2, 3, 70, 4]);
        assert_eq!(shrink(plan.clone(), 1), plan);
    }
}
