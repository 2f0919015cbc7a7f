//! Pairs of processes that move a file, and what they cost.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use gapless_quic::tls::Identity;
use gapless_tests::program;

const ROUNDS: usize = 5;
/// Bytes that a second of processor time moves with `gapless`, at least: times those with quinn.
const GOAL: f64 = 1.0;
const BLOCK: usize = 1 << 20;

/// Prints the table; whether the goal is reached.
pub(crate) fn print(bytes: usize) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, identity) = (folder.path().join("file"), folder.path().join("identity"));
    fill(&file, bytes);
    let now = std::time::SystemTime::now();
    Identity::kept_in(&identity, &["localhost"], now).expect("an identity");
    let megabytes = bytes as f64 / 1e6;
    let mut rows: [Vec<f64>; 2] = Default::default();
    // The first round warms up.
    for round in 0..=ROUNDS {
        for (way, row) in [gapless, quinn].into_iter().zip(&mut rows) {
            let seconds = way(&identity, &file);
            if round > 0 {
                row.push(megabytes / seconds);
            }
        }
    }
    let mut ratios: Vec<f64> =
        rows[0].iter().zip(&rows[1]).map(|(ours, theirs)| ours / theirs).collect();
    println!("{:<40}{:>14}", format!("{} MB over loopback", bytes / 1_000_000), "MB/CPU second");
    for (name, row) in ["gapless stream", "quinn on tokio"].into_iter().zip(&mut rows) {
        println!("{name:<40}{:>14.0}", median(row));
    }
    let ratio = median(&mut ratios);
    let verdict = if ratio >= GOAL { "reached" } else { "MISSED" };
    println!("{:<40}{ratio:>14.2}   goal ≥ {GOAL}: {verdict}", "gapless / quinn, median of ratios");
    ratio >= GOAL
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The time that nothing can make shorter.
fn fill(file: &Path, bytes: usize) {
    let mut out = std::fs::File::create(file).expect("a file");
    let (mut state, mut left) = (1_u64, bytes);
    let mut block = vec![0; BLOCK];
    while left > 0 {
        for word in block.chunks_exact_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            word.copy_from_slice(&state.to_le_bytes());
        }
        let len = left.min(BLOCK);
        out.write_all(&block[..len]).expect("room for the file");
        left -= len;
    }
}

/// Seconds of processor time that `gapless stream` takes.
fn gapless(identity: &Path, file: &Path) -> f64 {
    let mut listen = Command::new(program::path());
    listen.args(["stream", "listen", "--listen", "127.0.0.1:0", "--tag", "bench", "--once"]);
    listen.arg("--identity").arg(identity);
    let (listener, address) = listening(&mut listen);
    let mut send = Command::new(program::path());
    send.args(["stream", "send", &format!("quic://{address}"), "--tag", "bench", "--insecure"]);
    send.arg("--input").arg(file);
    let sender = quiet(&mut send);
    cost(sender) + cost(listener)
}

/// Seconds of processor time that quinn takes.
fn quinn(identity: &Path, file: &Path) -> f64 {
    let program = std::env::current_exe().expect("a path of its own");
    let mut listen = Command::new(&program);
    listen.arg("quinn-listen").arg(identity);
    let (listener, address) = listening(&mut listen);
    let mut send = Command::new(&program);
    send.arg("quinn-send").arg(identity).arg(address).arg(file);
    let sender = quiet(&mut send);
    cost(sender) + cost(listener)
}

/// Starts a listener whose payload goes nowhere, and reads the address that it tells.
fn listening(command: &mut Command) -> (Child, String) {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the listener starts");
    let said = child.stderr.take().expect("it is piped");
    let mut lines = BufReader::new(said).lines();
    let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
        let mut words = line.split(|of: char| of.is_whitespace() || of == '/');
        words
            .find(|word| word.starts_with("127.0.0.1:"))
            .map(|word| word.trim_end_matches(|of: char| !of.is_ascii_digit()).to_owned())
    });
    std::thread::spawn(move || lines.for_each(drop));
    (child, address.expect("the listener tells where it listens"))
}

fn quiet(command: &mut Command) -> Child {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the sender starts")
}

/// Waits for a process; the seconds of processor time that it took.
fn cost(child: Child) -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    let mut status = 0;
    let pid = child.id() as libc::pid_t;
    // SAFETY: both places live and are writable; the child is ours and was not waited for.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
    assert_eq!(waited, pid, "the process can be waited for");
    // SAFETY: it was zeroed, which is a value, and filled by the call.
    let usage = unsafe { usage.assume_init() };
    assert!(ExitStatus::from_raw(status).success(), "it ended with {status:#x}");
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
