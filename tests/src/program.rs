//! The program `gapless` and the examples of embedding, out of this workspace and built as the tests
//! are, in processes of their own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the program lies; builds it, which is quick when the workspace was built before.
///
/// # Panics
/// When it cannot be built.
pub fn path() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| built(&["-p", "gapless"]).join("gapless"))
}

/// Where the examples of embedding lie; builds them likewise.
fn examples() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| built(&["-p", "gapless-tests", "--examples"]).join("examples"))
}

/// Builds what the arguments choose, and tells the folder of this profile.
fn built(what: &[&str]) -> PathBuf {
    let mut path = std::env::current_exe().expect("a test binary has a path");
    while !path.ends_with("deps") {
        assert!(path.pop(), "test binaries lie in a folder `deps`");
    }
    path.pop();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--quiet", "--offline", "--manifest-path"]);
    cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).args(what);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo runs").success(), "{what:?} does not build");
    path
}

/// A running program; killed when it is dropped.
#[derive(Debug)]
pub struct Program(Option<Child>);

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` when it was killed.
    pub code: Option<i32>,
    /// What it printed.
    pub output: String,
    /// What it said on standard error.
    pub errors: String,
}

impl Program {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be built or started.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(Command::new(path()).args(arguments))
    }

    /// Starts an example of embedding instead.
    ///
    /// # Panics
    /// When it cannot be built or started.
    #[must_use]
    pub fn example(name: &str) -> Self {
        Self::spawn(&mut Command::new(examples().join(name)))
    }

    fn spawn(command: &mut Command) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        Self(Some(child))
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn wait(mut self) -> Ended {
        let child = self.0.take().expect("it is waited for once");
        let (tell, told) = mpsc::channel();
        let id = child.id();
        thread::spawn(move || tell.send(child.wait_with_output()));
        let Ok(ended) = told.recv_timeout(PATIENCE) else {
            let _ = Command::new("kill").arg(id.to_string()).status();
            panic!("still running after {PATIENCE:?}");
        };
        let ended = ended.expect("it can be waited for");
        Ended {
            code: ended.status.code(),
            output: String::from_utf8_lossy(&ended.stdout).into_owned(),
            errors: String::from_utf8_lossy(&ended.stderr).into_owned(),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A UDP port on 127.0.0.1 that nobody has, for somebody who is about to take it.
///
/// # Panics
/// When the system has none.
#[must_use]
pub fn free_port() -> u16 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("there is a port");
    socket.local_addr().expect("it is bound").port()
}

/// Waits until something holds.
///
/// # Panics
/// When it never does.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "still not: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether somebody in this network namespace has joined a multicast group.
///
/// # Panics
/// When the kernel does not tell.
#[must_use]
pub fn is_joined(group: std::net::Ipv4Addr) -> bool {
    let [a, b, c, d] = group.octets();
    let listed = format!("{d:02X}{c:02X}{b:02X}{a:02X}");
    let table = std::fs::read_to_string("/proc/net/igmp").expect("the kernel lists its groups");
    table.contains(&listed)
}
