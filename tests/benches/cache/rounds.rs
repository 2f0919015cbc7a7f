//! The rounds, and a section of the table.

use std::time::Instant;

use gapless_tests::alloc::measure;

const ROUNDS: usize = 5;
/// How many frames each contender handles in a round, at least.
const STEPS: usize = 2_000_000;
const LEAST_PASSES: usize = 32;

/// One way of doing a section's work.
pub(crate) trait Way {
    /// Gets ready for a pass; neither timed nor counted.
    fn prepare(&mut self);
    /// Does the work once.
    fn pass(&mut self);
}

/// A row of the table.
pub(crate) struct Contender {
    name: &'static str,
    way: Box<dyn Way>,
    /// At most this multiple of the floor is promised.
    goal: Option<f64>,
}

impl Contender {
    pub(crate) fn new(name: &'static str, way: impl Way + 'static) -> Self {
        Self { name, way: Box::new(way), goal: None }
    }

    pub(crate) fn with_goal(name: &'static str, way: impl Way + 'static, goal: f64) -> Self {
        Self { name, way: Box::new(way), goal: Some(goal) }
    }
}

/// Rows that do the same work; the first is the floor.
pub(crate) struct Section {
    pub(crate) title: String,
    /// By what times and allocations of a pass are divided.
    pub(crate) steps: usize,
    pub(crate) contenders: Vec<Contender>,
}

/// The work of one contender in one round.
struct Round {
    nanos: f64,
    allocations: u64,
}

impl Section {
    /// Plays the rounds and prints the rows. Returns whether every goal is reached.
    pub(crate) fn print(mut self) -> bool {
        let clock = clock_cost();
        let passes = (STEPS / self.steps).max(LEAST_PASSES);
        let mut rounds: Vec<Vec<Round>> = Vec::with_capacity(ROUNDS);
        for number in 0..=ROUNDS {
            let played = self.contenders.iter_mut();
            let round = played.map(|one| play(one.way.as_mut(), passes, clock)).collect();
            // The first rounds, which warm up, do not count.
            if number > 0 {
                rounds.push(round)
            }
        }

        println!("{}", self.title);
        let mut all_reached = true;
        for (row, contender) in self.contenders.iter().enumerate() {
            let of = |value: fn(&Round, &Round) -> f64| {
                median(rounds.iter().map(|round| value(&round[row], &round[0])).collect())
            };
            let nanos = of(|round, _| round.nanos) / self.steps as f64;
            let ratio = of(|round, floor| round.nanos / floor.nanos);
            let allocations: u64 = rounds.iter().map(|round| round[row].allocations).sum();
            let allocations = allocations as f64 / (ROUNDS * passes * self.steps) as f64;
            print!("  {:<46}{nanos:>9.2}{ratio:>10.2}{allocations:>13.4}", contender.name);
            match contender.goal {
                None => println!(),
                Some(goal) => {
                    let reached = ratio <= goal;
                    all_reached &= reached;
                    println!("   goal ≤ {goal}: {}", if reached { "reached" } else { "MISSED" });
                }
            }
        }
        all_reached
    }
}

fn play(way: &mut dyn Way, passes: usize, clock: f64) -> Round {
    let (mut times, mut allocations) = (Vec::with_capacity(passes), 0);
    for _ in 0..passes {
        way.prepare();
        let (nanos, measured) = measure(|| {
            let start = Instant::now();
            way.pass();
            start.elapsed().as_nanos() as f64
        });
        times.push(nanos - clock);
        allocations += measured.allocations;
    }
    Round { nanos: median(times), allocations }
}

/// The cost of reading the clock twice.
fn clock_cost() -> f64 {
    median((0..1_001).map(|_| Instant::now().elapsed().as_nanos() as f64).collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
