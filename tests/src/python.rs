//! A Python that has aioquic, for peers that are not written in Rust.

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The Python to run: that of `GAPLESS_PYTHON`, or `python3`; `None` if it is not there, or lacks aioquic.
#[must_use]
pub fn with_aioquic() -> Option<PathBuf> {
    let python = PathBuf::from(std::env::var_os("GAPLESS_PYTHON").unwrap_or("python3".into()));
    let found = Command::new(&python)
        .args(["-c", "import aioquic"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success()).then_some(python)
}
