//! The program `gapless` and the examples of embedding, in processes of their own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where the program lies: at `GAPLESS_PROGRAM`, an absolute path to a file `gapless`. Without it the
/// program is built as the test is, which is quick when the workspace was built before.
///
/// # Panics
/// When it cannot be built.
pub fn path() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os("GAPLESS_PROGRAM") {
        Some(path) => path.into(),
        None => built().join("gapless"),
    })
}

/// Builds the program and the examples of embedding in the profile of this test, and tells the
/// profile's folder.
fn built() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let mut folder = std::env::current_exe().expect("a test binary has a path");
        while !folder.ends_with("deps") {
            assert!(folder.pop(), "test binaries lie in a folder `deps`");
        }
        folder.pop();
        let profile = match folder.file_name() {
            Some(name) if name != "debug" => name,
            _ => "dev".as_ref(),
        };
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["build", "--quiet", "--offline", "--manifest-path"]);
        cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"));
        // With the features that `cargo test --workspace` chooses: another choice builds all anew.
        cargo.args(["--workspace", "--bin", "gapless", "--examples", "--profile"]).arg(profile);
        // Build scripts that look at these, as that of ring does, would run again for what tests this.
        let of_the_test =
            |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        for (name, _) in std::env::vars().filter(|(name, _)| of_the_test(name)) {
            cargo.env_remove(name);
        }
        assert!(cargo.status().expect("cargo runs").success(), "the program does not build");
        folder
    })
}

/// A running program; killed when it is dropped.
#[derive(Debug)]
pub struct Program(Option<Child>);

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` when it was killed.
    pub code: Option<i32>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
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
        Self::spawn(&mut Command::new(built().join("examples").join(name)))
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
        let (sender, result) = mpsc::channel();
        let id = child.id();
        thread::spawn(move || sender.send(child.wait_with_output()));
        let Ok(ended) = result.recv_timeout(PATIENCE) else {
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
