//! Runs the program and reads what it says.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `gapless`.
pub(crate) struct Program {
    child: Child,
    /// Its standard error, line by line.
    errors: Receiver<String>,
    /// Lines of it that were read.
    said: Vec<String>,
    /// Its standard output, in the end, if nobody else reads it.
    output: Option<thread::JoinHandle<Vec<u8>>>,
}

/// How a `gapless` ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) output: Vec<u8>,
    pub(crate) errors: String,
}

impl Program {
    /// Starts it.
    pub(crate) fn start<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_gapless")).args(arguments))
    }

    /// Starts it by a shell that first makes its surroundings, and then does `exec "$@"`.
    pub(crate) fn start_in(surroundings: &[&str], shell: &str, line: &str) -> Self {
        let mut words = surroundings.iter().copied().chain(["sh", "-c"]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args([shell, "sh", env!("CARGO_BIN_EXE_gapless")]);
        Self::run(command.args(line.split_whitespace()))
    }

    /// Starts it with a standard output that is read by somebody else, or by nobody.
    pub(crate) fn start_into<S: AsRef<OsStr>>(
        output: impl Into<Stdio>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_gapless")).args(arguments).stdout(output))
    }

    /// Starts it with a standard input that is written by somebody else.
    pub(crate) fn start_from<S: AsRef<OsStr>>(
        input: impl Into<Stdio>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        Self::start_between(input, Stdio::piped(), arguments)
    }

    /// Starts it with both.
    pub(crate) fn start_between<S: AsRef<OsStr>>(
        input: impl Into<Stdio>,
        output: impl Into<Stdio>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gapless"));
        Self::spawn_from(input.into(), command.args(arguments).stdout(output))
    }

    fn run(command: &mut Command) -> Self {
        Self::spawn(command.stdout(Stdio::piped()))
    }

    fn spawn(command: &mut Command) -> Self {
        Self::spawn_from(Stdio::piped(), command)
    }

    fn spawn_from(input: Stdio, command: &mut Command) -> Self {
        let mut child = command.stdin(input).stderr(Stdio::piped()).spawn().unwrap();
        let (report, errors) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| report.send(line))
        });
        let output = child.stdout.take().map(|mut stdout| {
            thread::spawn(move || {
                let mut output = Vec::new();
                stdout.read_to_end(&mut output).unwrap();
                output
            })
        });
        Self { child, errors, said: Vec::new(), output }
    }

    /// The address in a line of standard error that begins with `words`.
    pub(crate) fn address(&mut self, words: &str) -> SocketAddr {
        self.reported(words).parse().unwrap()
    }

    /// The rest of a line of standard error that begins with `words`.
    pub(crate) fn reported(&mut self, words: &str) -> String {
        loop {
            let line = self.errors.recv_timeout(PATIENCE).unwrap_or_else(|_| {
                panic!("no `{words}` on standard error; it said: {:?}", self.said)
            });
            let rest = line.strip_prefix(words).map(|rest| rest.trim().to_owned());
            self.said.push(line);
            if let Some(rest) = rest {
                return rest;
            }
        }
    }

    /// Writes to its standard input.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Ends its standard input.
    pub(crate) fn end_input(&mut self) {
        self.child.stdin.take();
    }

    /// Waits until Ctrl-C is handled.
    pub(crate) fn wait_for_handler(&self) {
        const SIGINT: u64 = 1 << 1;
        let path = format!("/proc/{}/status", self.child.id());
        let handled = |status: &str| {
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim();
            u64::from_str_radix(mask, 16).ok()
        };
        wait_until(|| {
            handled(&fs::read_to_string(&path).unwrap()).is_some_and(|mask| mask & SIGINT != 0)
        });
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        self.signal("INT");
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let words = ["-s", name, &self.child.id().to_string()];
        assert!(Command::new("kill").args(words).status().unwrap().success());
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ends it without a chance to clean up.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> Ended {
        self.child.stdin.take();
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    panic!("still running; it said: {:?}", self.said)
                }
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        let output = self.output.take().map(|output| output.join().unwrap());
        let mut errors = std::mem::take(&mut self.said);
        errors.extend(self.errors.iter());
        Ended { code: status.code(), output: output.unwrap_or_default(), errors: errors.join("\n") }
    }

    /// Ends it as Ctrl-C does, while its standard input stays open.
    pub(crate) fn stop(mut self) -> Ended {
        let input = self.child.stdin.take();
        self.interrupt();
        let ended = self.wait();
        drop(input);
        ended
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The only JSON object that it printed.
    pub(crate) fn json(&self) -> Value {
        let mut objects = self.objects();
        assert_eq!(objects.len(), 1, "{}", self.errors);
        objects.remove(0)
    }

    /// The JSON objects that it printed, one a line.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let text = str::from_utf8(&self.output).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn assert_code(&self, code: i32) {
        let output = String::from_utf8_lossy(&self.output[..self.output.len().min(2_000)]);
        assert_eq!(self.code, Some(code), "it said: {}\n{output}", self.errors);
    }
}

/// Runs it to its end.
pub(crate) fn gapless(line: &str) -> Ended {
    Program::start(line.split_whitespace()).wait()
}

/// A folder with a feed in it.
pub(crate) struct Files {
    folder: TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).into_os_string().into_string().unwrap()
    }

    /// A binaryfile of `count` messages of 0 to 79 bytes.
    pub(crate) fn feed(&self, name: &str, count: u32) -> String {
        let mut bytes = Vec::new();
        for number in 0..count {
            let message = format!("{number}:{}", "x".repeat((number * 7 % 71) as usize));
            let message = if number % 97 == 5 { String::new() } else { message };
            bytes.extend((message.len() as u16).to_be_bytes());
            bytes.extend(message.as_bytes());
        }
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A file of `bytes` bytes that nothing makes smaller.
    pub(crate) fn noise(&self, name: &str, bytes: usize) -> String {
        let mut state = 1_u64;
        let mut noise = || {
            // xorshift64*
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()
        };
        let mut content = Vec::with_capacity(bytes + 8);
        while content.len() < bytes {
            content.extend(noise());
        }
        content.truncate(bytes);
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The names in a folder, in order.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Asserts that two files are equal, without printing them.
    #[track_caller]
    pub(crate) fn assert_same(&self, one: &str, other: &str) {
        let (one_bytes, other_bytes) = (self.read(one), self.read(other));
        assert!(
            one_bytes == other_bytes,
            "{one} ({} bytes) and {other} ({} bytes) differ",
            one_bytes.len(),
            other_bytes.len()
        );
    }

    /// Waits until a file has so many bytes.
    pub(crate) fn wait_for_length(&self, name: &str, bytes: u64) {
        let path = PathBuf::from(self.path(name));
        wait_until(|| fs::metadata(&path).is_ok_and(|metadata| metadata.len() >= bytes));
    }
}

/// A named pipe.
pub(crate) fn fifo(files: &Files, name: &str) -> String {
    let path = files.path(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// Waits for something that must come.
#[track_caller]
pub(crate) fn wait_until(mut come: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !come() {
        assert!(Instant::now() < deadline, "it never came");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A port of the system's choice, held until its user is about to take it.
pub(crate) struct Port(UdpSocket);

impl Port {
    pub(crate) fn new() -> Self {
        Self(UdpSocket::bind("127.0.0.1:0").unwrap())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Lets go of it.
    pub(crate) fn free(self) -> SocketAddr {
        self.address()
    }
}

/// Starts a receiver with `lines` lines, and returns where they are.
pub(crate) fn receiver(lines: usize, arguments: &str) -> (Program, Vec<SocketAddr>) {
    let flags = "--line 127.0.0.1:0 ".repeat(lines);
    let mut program =
        Program::start(format!("receive --json {flags}{arguments}").split_whitespace());
    let names = ["line A on", "line B on", "line C on"];
    let addresses = names[..lines].iter().map(|name| program.address(name)).collect();
    (program, addresses)
}

/// Starts a publisher that sends to these lines, until it is stopped if it is not said how long it
/// stays.
pub(crate) fn publisher(to: &[SocketAddr], requests: SocketAddr, arguments: &str) -> Program {
    let to: String = to.iter().map(|line| format!("--to {line} ")).collect();
    let linger = if arguments.contains("--linger") { "" } else { "--linger 60" };
    let line = format!("publish --json {linger} {to}--requests {requests} {arguments}");
    Program::start(line.split_whitespace())
}

/// The ranges in a field of a JSON object.
pub(crate) fn ranges(value: &Value) -> Vec<(u64, u64)> {
    let ranges = value.as_array().unwrap().iter();
    ranges.map(|range| (range[0].as_u64().unwrap(), range[1].as_u64().unwrap())).collect()
}

/// A file shared beside the checkout; `None`, and said so, where there is none.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    skip(&format!("{} is not there", path.display()));
    None
}

/// Says why a test is skipped; fails where none may be.
#[track_caller]
pub(crate) fn skip(why: &str) {
    let refused = std::env::var_os("GAPLESS_NO_SKIP").is_some_and(|value| value == "1");
    assert!(!refused, "would be skipped: {why}");
    println!("skipped: {why}");
}
