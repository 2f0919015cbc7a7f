//! The tables of the cache's operations and of those on a receiver's gaps: what they cost among ten, a thousand and a
//! hundred thousand others.

use crate::{Counts, cache, gaps, instructions};

/// The bounds: how much dearer an operation gets when there is ten times as much of everything.
const MAX_A_DECADE: f64 = 1.5;
/// The bound of what is done to a gap: how much dearer among a hundred thousand than among ten. Instructions do not
/// show what a miss of the caches costs: by the clock such an operation grows more.
const MAX_OF_GAPS: f64 = 2.0;

const SIZES: [(&str, f64); 3] =
    [("ten", 10.0), ("thousand", 1_000.0), ("hundred_thousand", 100_000.0)];

/// How the cost of an operation may grow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cost {
    /// Not at all.
    Same,
    /// With the logarithm of how many there are.
    Logarithm,
    /// Not at all for each reader that is notified.
    PerReader,
}

const OPERATIONS: [(&str, &str, Cost); 11] = [
    ("append_among_groups", "append, groups and readers", Cost::Same),
    ("append_among_tracks", "append, tracks", Cost::Same),
    ("read_among_groups", "read on, groups and readers", Cost::Same),
    ("read_among_tracks", "read on, tracks", Cost::Same),
    ("evict_among_groups", "evict by count, groups", Cost::Same),
    ("evict_among_tracks", "evict by budget, tracks", Cost::Same),
    ("wake_one", "wake one reader, readers", Cost::Same),
    ("wake_one_of_many", "wake one reader, readers ahead", Cost::Same),
    ("wake_all", "wake, readers told", Cost::PerReader),
    ("look_up_group", "look up by number, groups", Cost::Logarithm),
    ("age_among_tracks", "evict by age, tracks", Cost::Logarithm),
];

const OF_GAPS: [(&str, &str); 5] = [
    ("fill_among_gaps", "open one, fill any"),
    ("split_among_gaps", "open one, split and fill any"),
    ("lose_among_gaps", "open one, lose the lowest"),
    ("answer_among_gaps", "open one, ask, answer"),
    ("time_out_among_gaps", "open one, ask, time out"),
];

/// Prints the tables, and says whether every goal is reached.
pub(crate) fn print(counts: &Counts) -> Result<bool, String> {
    Ok(print_cache(counts)? & print_gaps(counts)?)
}

fn print_gaps(counts: &Counts) -> Result<bool, String> {
    println!();
    print!("{:<32}{:>10}{:>10}{:>10}", "instructions, gaps", "10", "1,000", "100,000");
    println!("{:>12}", "in all");
    let mut all_reached = true;
    for (function, name) in OF_GAPS {
        let mut costs = [0.0; SIZES.len()];
        for (cost, (id, _)) in costs.iter_mut().zip(SIZES) {
            *cost = instructions(counts, function, id)? / gaps::STEPS as f64;
        }
        let [few, many, most] = costs;
        let growth = many.max(most) / few;
        let reached = growth <= MAX_OF_GAPS;
        all_reached &= reached;
        print!("{name:<32}{few:>10.0}{many:>10.0}{most:>10.0}{growth:>11.2}×");
        println!("   goal ≤ {MAX_OF_GAPS}: {}", if reached { "reached" } else { "MISSED" });
    }
    Ok(all_reached)
}

fn print_cache(counts: &Counts) -> Result<bool, String> {
    println!();
    print!("{:<32}{:>10}{:>10}{:>10}", "instructions, the cache", "10", "1,000", "100,000");
    println!("{:>12}", "a decade");
    let mut all_reached = true;
    for (function, name, cost) in OPERATIONS {
        let mut costs = [0.0; SIZES.len()];
        for (cost_here, (id, size)) in costs.iter_mut().zip(SIZES) {
            let steps = if cost == Cost::PerReader { size } else { cache::STEPS as f64 };
            *cost_here = instructions(counts, function, id)? / steps;
        }
        let allowed = |size: f64| if cost == Cost::Logarithm { size.log2() } else { 1.0 };
        // The sizes are two decades apart.
        let decade = |one: usize, other: usize| {
            let growth = costs[other] / costs[one];
            (growth * allowed(SIZES[one].1) / allowed(SIZES[other].1)).sqrt()
        };
        let worst = decade(0, 1).max(decade(1, 2));
        let reached = worst <= MAX_A_DECADE;
        all_reached &= reached;
        let [few, many, most] = costs;
        print!("{name:<32}{few:>10.0}{many:>10.0}{most:>10.0}{worst:>11.2}×");
        let beyond = if cost == Cost::Logarithm { " the logarithm's" } else { "" };
        println!(
            "   goal ≤ {MAX_A_DECADE}{beyond}: {}",
            if reached { "reached" } else { "MISSED" }
        );
    }
    Ok(all_reached)
}
