//! Paths: what they name, and what is there before a command writes, which is seen before sockets are bound, so that
//! whoever cannot start changes nothing. Regular files that exist are left alone unless it is said otherwise.

use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use gapless_mio::ExclusiveFile;

use super::standard;
use crate::failure::Failure;

/// The name that stands for standard input and standard output.
pub(crate) const STANDARD: &str = "-";

/// The kind of place that a path names which is to be written to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Standard output.
    Standard,
    /// A named pipe, a device, or a file that is open already, which are written to as they are.
    Special,
    /// A regular file that exists; or a link that leads nowhere.
    Taken,
    /// Nothing yet.
    Free,
}

impl Place {
    /// The place as it is now.
    ///
    /// # Errors
    /// It is a folder, or the system does not say.
    pub(crate) fn of(path: &Path) -> Result<Self, Failure> {
        if is_standard_output(path) {
            return Ok(Self::Standard);
        }
        check_open(path).map_err(|error| Failure::file("write to", path, &error))?;
        match path.metadata() {
            Ok(there) if there.is_dir() => Err(uncreated(path, &ErrorKind::IsADirectory.into())),
            Ok(there) if !there.is_file() => Ok(Self::Special),
            Ok(_) if is_open(path) => Ok(Self::Special),
            Ok(_) => Ok(Self::Taken),
            Err(error) if error.kind() == ErrorKind::NotFound => match path.symlink_metadata() {
                Ok(_) => Ok(Self::Taken),
                Err(_) => Ok(Self::Free),
            },
            Err(error) => Err(uncreated(path, &error)),
        }
    }

    /// Checks that a file may be made at `path`, which `flag` names, or with `force` be replaced.
    ///
    /// # Errors
    /// It exists, another process writes it, or its folder takes no files.
    pub(crate) fn check(flag: &str, path: &Path, force: bool) -> Result<Self, Failure> {
        let place = Self::of(path)?;
        match place {
            Self::Standard | Self::Special => {}
            Self::Free => check_folder(path)?,
            Self::Taken => match ExclusiveFile::open(path, true) {
                Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                    return Err(in_use(flag, path));
                }
                Err(error) if force => return Err(Failure::file("replace", path, &error)),
                Ok(_) if force => check_folder(path)?,
                _ => return Err(exists(flag, path)),
            },
        }
        Ok(place)
    }
}

/// Whether a path stands for what may make its reader wait, and cannot be read again: standard input, a pipe, a
/// device.
pub(crate) fn is_pipe(path: &Path) -> bool {
    is_standard(path) || path.exists() && !path.is_file()
}

/// Whether a path stands for standard input or output.
pub(crate) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == STANDARD
}

/// The name of an input in errors.
pub(crate) fn name(path: &Path) -> String {
    if is_standard(path) { "standard input".into() } else { path.display().to_string() }
}

/// Whether a path stands for standard output. Opening it anew would write over its contents.
pub(crate) fn is_standard_output(path: &Path) -> bool {
    is_standard(path) || descriptor(path) == Some((true, 1))
}

/// Whether a path names what some process has open already, and not a file by its own name.
pub(crate) fn is_open(path: &Path) -> bool {
    descriptor(path).is_some()
}

/// Checks that a path does not name a standard stream that is not there.
///
/// # Errors
/// It was closed when the program began.
pub(crate) fn check_open(path: &Path) -> io::Result<()> {
    match descriptor(path) {
        Some((true, number)) => standard::check_open(number),
        _ => Ok(()),
    }
}

/// The file descriptor that a path names, as `/dev/stdin`, `/dev/fd/3` and `/proc/self/fd/3` do, and whether it
/// is one of this process.
fn descriptor(path: &Path) -> Option<(bool, u32)> {
    let parts: Option<Vec<_>> = path.components().map(|part| part.as_os_str().to_str()).collect();
    let is_own = |process: &str| {
        matches!(process, "self" | "thread-self") || process.parse() == Ok(std::process::id())
    };
    let (is_own, number) = match parts?[..] {
        ["/", "dev", "stdin"] => (true, "0"),
        ["/", "dev", "stdout"] => (true, "1"),
        ["/", "dev", "stderr"] => (true, "2"),
        ["/", "dev", "fd", number] => (true, number),
        ["/", "proc", process, "fd", number] | ["/", "proc", process, "task", _, "fd", number] => {
            (is_own(process), number)
        }
        _ => return None,
    };
    Some((is_own, number.parse().ok()?))
}

/// Whether a path leads to a named pipe, which makes who opens it wait for its other end.
pub(crate) fn is_named_pipe(path: &Path) -> bool {
    path.metadata().is_ok_and(|there| there.file_type().is_fifo())
}

/// The path without links, of what is there or would be made.
pub(crate) fn resolved(path: &Path) -> Option<PathBuf> {
    path.canonicalize()
        .ok()
        .or_else(|| Some(folder(path).canonicalize().ok()?.join(path.file_name()?)))
}

/// The folder that a file is in.
pub(crate) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Checks that files may be made beside `path`: better now than after an hour.
///
/// # Errors
/// They may not.
pub(crate) fn check_folder(path: &Path) -> Result<(), Failure> {
    let folder = resolved(path).map_or(folder(path).to_owned(), |path| folder(&path).to_owned());
    match tempfile::tempfile_in(folder) {
        Ok(_) => Ok(()),
        Err(error) => Err(uncreated(path, &error)),
    }
}

/// A file cannot be made, for a reason that the system gave.
pub(crate) fn uncreated(path: &Path, error: &io::Error) -> Failure {
    Failure::file("create", path, error).advise("name a file in a folder that may be written")
}

/// A file is there that is not to be touched.
pub(crate) fn exists(flag: &str, path: &Path) -> Failure {
    Failure::content(format!("{flag} {}: the file exists", path.display()))
        .advise("name another one, or add --force to replace it")
}

/// A file is there that another process has.
pub(crate) fn in_use(flag: &str, path: &Path) -> Failure {
    Failure::content(format!("{flag} {}: another process writes it", path.display()))
        .advise("name another file, or end that process first")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_descriptors_name_what_is_open() {
        let own = format!("/proc/{}/fd/1", std::process::id());
        for (path, named) in [
            ("/dev/stdin", Some((true, 0))),
            ("/dev/stdout", Some((true, 1))),
            ("/dev/stderr", Some((true, 2))),
            ("/dev/fd/12", Some((true, 12))),
            ("/dev//./fd/0", Some((true, 0))),
            ("/proc/self/fd/3", Some((true, 3))),
            ("/proc/thread-self/fd/3", Some((true, 3))),
            ("/proc/self/task/7/fd/3", Some((true, 3))),
            (own.as_str(), Some((true, 1))),
            ("/proc/1/fd/3", Some((false, 3))),
            ("/proc/self/fd", None),
            ("/proc/self/fd/3/x", None),
            ("/proc/self/fd/../cwd/x", None),
            ("/proc/self/cwd/x", None),
            ("/proc/self/root/dev/stdout", None),
            ("/dev/fd/x", None),
            ("dev/stdout", None),
            ("-", None),
        ] {
            assert_eq!(descriptor(Path::new(path)), named, "{path}");
        }
    }
}
