//! Files and folders of private keys that others than their owner can read or change: nothing that hinders a
//! start, but whoever runs the endpoint should know.

use std::fmt;
use std::path::{Path, PathBuf};

/// A private key's file that others may read or change, or a folder in which they may replace it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exposed {
    /// The file or folder.
    pub path: PathBuf,
    /// Its permissions: the lowest nine bits, and the three above them.
    pub mode: u32,
    /// Whether it is a folder.
    pub is_folder: bool,
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, mode, is_folder } = self;
        let path = path.display();
        match is_folder {
            true => write!(
                f,
                "others can replace the private key in {path} (its mode is {mode:04o}): chmod 700 {path}"
            ),
            false => write!(
                f,
                "others can read or change the private key in {path} (its mode is {mode:04o}): \
                 chmod 600 {path}"
            ),
        }
    }
}

/// Whether a file may be read or written by others, or written by its group; or a folder written by either. What
/// is neither, such as a pipe, is not judged. Nothing is on systems without such permissions.
pub(super) fn exposed(path: &Path) -> Option<Exposed> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let metadata = path.metadata().ok()?;
        let mode = metadata.permissions().mode() & 0o7777;
        let forbidden = match (metadata.is_file(), metadata.is_dir()) {
            (true, _) => 0o026,
            (_, true) => 0o022,
            _ => return None,
        };
        let is_exposed = mode & forbidden != 0;
        is_exposed.then(|| Exposed { path: path.into(), mode, is_folder: metadata.is_dir() })
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}
