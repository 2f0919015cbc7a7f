//! How many instructions a packet costs: by the wire format alone, through a receiver, as a copy that
//! another line brought before, and through a receiver that is recorded; and how many an operation of
//! the cache costs among ever more tracks, groups and readers, its runs, and recording. Ends with a failure when a
//! goal is missed.
//!
//! `cargo bench -p gapless-instructions` needs valgrind, and gungraun-runner in the
//! version of gungraun in `Cargo.lock`. The counts do not depend on how busy the machine is.

mod cache;
#[path = "../shared/feed.rs"]
mod feed;
mod gaps;
mod growth;
mod measured;
mod recorded;
mod runs;

use std::collections::BTreeMap;
use std::env;
use std::process::{Command, ExitCode, Stdio};

use serde_json::Value;

/// Set for the copy of this program that gungraun takes over.
const INNER: &str = "GAPLESS_INSTRUCTIONS_INNER";

/// The bound at 35 messages a packet, as a multiple of the floor.
const MAX_RATIO: f64 = 1.25;
/// The bound at one message a packet, in instructions above the floor.
const MAX_ABOVE_FLOOR: f64 = 150.0;
/// The bound of a copy from another line.
const MAX_DUPLICATE: f64 = 150.0;
/// The bound of recording at 35 messages a packet, as a multiple of copying and hashing it twice.
const MAX_RECORDING: f64 = 1.5;
/// The bound of recording a call at one message, in instructions above the plain one and its input's digest.
const MAX_CALL: f64 = 500.0;

fn main() -> ExitCode {
    let counted_by_valgrind = env::args().nth(1).is_some_and(|arg| arg == "--gungraun-run");
    if counted_by_valgrind || env::var_os(INNER).is_some() {
        measured::run();
        return ExitCode::SUCCESS;
    }
    let print = |counts| {
        let [packets, growth] = [Table::new(&counts)?.print(), growth::print(&counts)?];
        Ok([packets, growth, runs::print(&counts)?, recorded::print(&counts)?])
    };
    match count().and_then(print) {
        Ok([true, true, true, true]) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("no instructions counted: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Instructions, by function and case.
type Counts = BTreeMap<(String, String), f64>;

fn count() -> Result<Counts, String> {
    let this = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(this)
        .args(env::args_os().skip(1))
        .env(INNER, "1")
        .env("GUNGRAUN_OUTPUT_FORMAT", "json")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err("gungraun failed; it needs valgrind, and gungraun-runner (cargo install \
                    --locked gungraun-runner) in the version of gungraun in Cargo.lock"
            .to_owned());
    }
    let rows = String::from_utf8_lossy(&output.stdout);
    rows.lines().filter(|row| row.starts_with('{')).map(count_of).collect()
}

/// One line of gungraun's summary.
fn count_of(row: &str) -> Result<((String, String), f64), String> {
    let row: Value = serde_json::from_str(row).map_err(|error| error.to_string())?;
    let text = |field: &str| row[field].as_str().map(str::to_owned);
    let instructions = row.pointer("/profiles/0/data/total/metrics/Ir/values/new");
    match (text("function_name"), text("id"), instructions.and_then(Value::as_f64)) {
        (Some(function), Some(id), Some(instructions)) => Ok(((function, id), instructions)),
        _ => Err(format!("this line of gungraun's summary is not understood: {row}")),
    }
}

fn instructions(counts: &Counts, function: &str, id: &str) -> Result<f64, String> {
    let key = (function.to_owned(), id.to_owned());
    counts.get(&key).copied().ok_or(format!("{function} was not run for {id}"))
}

/// The cost of a packet at one number of messages.
struct Column {
    floor: f64,
    receiver: f64,
    duplicate: f64,
    recorded: f64,
    copied_and_hashed: f64,
    input_digests: f64,
}

struct Table {
    one: Column,
    thirty_five: Column,
}

impl Table {
    fn new(counts: &Counts) -> Result<Self, String> {
        let column = |id: &str| {
            let count = |function: &str| {
                Ok::<_, String>(instructions(counts, function, id)? / measured::PACKETS as f64)
            };
            let receiver = count("one_line")?;
            Ok::<_, String>(Column {
                floor: count("floor")?,
                receiver,
                // Between packets that are new, as copies come.
                duplicate: count("two_lines")? - receiver,
                recorded: count("recorded")?,
                copied_and_hashed: count("copied_and_hashed")?,
                input_digests: count("input_digests")?,
            })
        };
        Ok(Self { one: column("one")?, thirty_five: column("thirty_five")? })
    }

    /// Prints it, and says whether every goal is reached.
    fn print(&self) -> bool {
        let Self { one, thirty_five: many } = self;
        let row = |name, one: f64, many: f64| println!("{name:<32}{one:>10.0}{many:>12.0}");
        println!("{:<32}{:>10}{:>12}", "instructions a packet", "1 message", "35 messages");
        row("floor: check and walk", one.floor, many.floor);
        row("receiver, one line", one.receiver, many.receiver);
        row("copy from line B", one.duplicate, many.duplicate);
        row("receiver, recorded", one.recorded, many.recorded);
        row("copy and hash, twice", one.copied_and_hashed, many.copied_and_hashed);
        row("digest of the input, twice", one.input_digests, many.input_digests);
        println!();

        let above_floor = one.receiver - one.floor;
        let call = one.recorded - one.receiver - one.input_digests;
        let recording = (many.recorded - many.receiver) / many.copied_and_hashed;
        let goals = [
            goal("receiver / floor at 35", many.receiver / many.floor, MAX_RATIO, 3),
            goal("receiver - floor at 1", above_floor, MAX_ABOVE_FLOOR, 0),
            goal("copy at 1", one.duplicate, MAX_DUPLICATE, 0),
            goal("copy at 35", many.duplicate, MAX_DUPLICATE, 0),
            goal("recording / copy and hash at 35", recording, MAX_RECORDING, 3),
            goal("recorded - plain - digest at 1", call, MAX_CALL, 0),
        ];
        goals.iter().all(|reached| *reached)
    }
}

/// Prints one goal, and says whether it is reached.
fn goal(name: &str, value: f64, limit: f64, decimals: usize) -> bool {
    let reached = value <= limit;
    let verdict = if reached { "reached" } else { "MISSED" };
    println!("{name:<32}{value:>10.decimals$}   goal ≤ {limit:<6}{verdict}");
    reached
}
