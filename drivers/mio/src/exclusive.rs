//! A file that one process at a time writes: it is locked while it is open. Nothing that exists is changed
//! unless that is asked for, and then as a whole.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A regular file that is locked for writing as long as it is open. The lock is advisory and the system's:
/// it ends with the process, however that ends.
#[derive(Debug)]
pub struct ExclusiveFile {
    path: PathBuf,
    state: State,
}

#[derive(Debug)]
enum State {
    Open(File),
    /// Nothing was written yet: what is there is locked and left as it is.
    Replacing(File),
}

impl ExclusiveFile {
    /// A new file.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], also of a symbolic link that leads nowhere; or the file cannot be
    /// made.
    pub fn create_new(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let file = create_new(&path, File::try_lock)?;
        Ok(Self { path, state: State::Open(file) })
    }

    /// A file in place of the one at `path` from the first byte on: until then that one stays as it is, and
    /// behind a symbolic link the link stays. Where there is none, a new one.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceBusy`] if another process writes the present one, or it is not a regular file
    /// that may be written.
    pub fn replace(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let path = path.canonicalize().unwrap_or(path);
        match present(&path, false) {
            Ok(present) => Ok(Self { path, state: State::Replacing(present) }),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::create_new(path),
            Err(error) => Err(error),
        }
    }

    /// The file at `path` as it is, to be written to behind its end. `follow` says whether it may be behind
    /// a symbolic link.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceBusy`] if another process writes it; or it is not a regular file that may be
    /// written.
    pub fn open(path: impl Into<PathBuf>, follow: bool) -> io::Result<Self> {
        let path = path.into();
        let file = present(&path, follow)?;
        Ok(Self { path, state: State::Open(file) })
    }

    /// Where it is, or will be.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file; `None` before the first byte of one that replaces another.
    #[must_use]
    pub const fn file(&self) -> Option<&File> {
        match &self.state {
            State::Open(file) => Some(file),
            State::Replacing(_) => None,
        }
    }

    /// Puts the file in its place, which the first byte does otherwise.
    ///
    /// # Errors
    /// It cannot be made beside the present one, or not be renamed. [`ErrorKind::ResourceBusy`] if somebody
    /// put another file in the place of the present one.
    pub fn begin(&mut self) -> io::Result<&mut File> {
        if let State::Replacing(present) = &self.state {
            self.state = State::Open(put(&self.path, present, |_| Ok(()))?);
        }
        match &mut self.state {
            State::Open(file) | State::Replacing(file) => Ok(file),
        }
    }

    /// Puts another content in place of the present one, as a whole: after a crash there is the one or the
    /// other. Where the present one is gone a new one is made.
    ///
    /// # Errors
    /// It cannot be made beside the present one, written out, or renamed: then the present one stays.
    /// [`ErrorKind::ResourceBusy`] if somebody put another file in its place, which stays too.
    pub fn replace_with(&mut self, content: &[u8]) -> io::Result<()> {
        let (State::Open(present) | State::Replacing(present)) = &self.state;
        let file = put(&self.path, present, |file| {
            file.write_all(content)?;
            file.sync_data()
        })?;
        self.state = State::Open(file);
        Ok(())
    }

    /// Removes the file; another one that somebody put in its place stays.
    ///
    /// # Errors
    /// It is not there any more, or may not be removed.
    pub fn remove(self) -> io::Result<()> {
        let (State::Open(present) | State::Replacing(present)) = &self.state;
        match is_in_place(present, &self.path)? {
            true => fs::remove_file(&self.path),
            false => Err(replaced()),
        }
    }
}

impl Write for ExclusiveFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begin()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A locked file's number, where files have one: two files of one file system never share it.
fn inode(metadata: &fs::Metadata) -> u64 {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    return metadata.is_file().into();
}

/// Whether the file at `path` is this one, and not another that somebody put there.
fn is_in_place(file: &File, path: &Path) -> io::Result<bool> {
    Ok(inode(&file.metadata()?) == inode(&path.symlink_metadata()?))
}

/// A new file, locked by `attempt`; none if that fails.
fn create_new(
    path: &Path,
    attempt: impl FnOnce(&File) -> Result<(), TryLockError>,
) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    let locked = locked(attempt(&file));
    // Whichever has its lock by now continues with it.
    if locked.as_ref().is_err_and(|error| error.kind() != ErrorKind::ResourceBusy)
        && is_in_place(&file, path).unwrap_or(false)
    {
        let _ = fs::remove_file(path);
    }
    locked.map(|()| file)
}

fn lock(file: &File) -> io::Result<()> {
    locked(file.try_lock())
}

fn locked(attempt: Result<(), TryLockError>) -> io::Result<()> {
    match attempt {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(in_use()),
        Err(TryLockError::Error(error)) if is_without_locks(&error) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether an error says that a file system has no locks, as some servers of files have none.
fn is_without_locks(error: &io::Error) -> bool {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::ENOLCK) {
        return true;
    }
    error.kind() == ErrorKind::Unsupported
}

fn in_use() -> io::Error {
    io::Error::new(ErrorKind::ResourceBusy, "another process writes it")
}

fn replaced() -> io::Error {
    io::Error::new(ErrorKind::ResourceBusy, "somebody put another file in its place")
}

/// The file at `path`, locked, at its end.
fn present(path: &Path, follow: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    // Nobody waits here for a named pipe, or takes a terminal.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        libc::O_NONBLOCK | libc::O_NOCTTY | if follow { 0 } else { libc::O_NOFOLLOW },
    );
    let mut file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    lock(&file)?;
    // Another process may have put another one there before it let go of this one.
    if inode(&file.metadata()?) != inode(&path.metadata()?) {
        return Err(in_use());
    }
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

/// A locked file in place of the present one, with its permissions; not in place of any other.
fn put(
    path: &Path,
    present: &File,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<File> {
    let mut part = beside(path)?;
    part.as_file().set_permissions(present.metadata()?.permissions())?;
    lock(part.as_file())?;
    fill(part.as_file_mut())?;
    match is_in_place(present, path) {
        Ok(true) => Ok(part.persist(path)?),
        Ok(false) => Err(replaced()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(part.persist_noclobber(path)?),
        Err(error) => Err(error),
    }
}

/// A file of another name in the same folder.
fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let mut prefix = OsString::from(path.file_name().ok_or(ErrorKind::IsADirectory)?);
    prefix.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".part");
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    builder.tempfile_in(folder.unwrap_or(Path::new("."))).map_err(anonymous)
}

/// An error without the name of the file beside, which nobody asked for.
fn anonymous(error: io::Error) -> io::Error {
    let source = error.get_ref().and_then(|inner| inner.source());
    let code = source.and_then(|source| source.downcast_ref::<io::Error>()?.raw_os_error());
    code.map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn names(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_that_exists_is_not_created_anew_behind_a_link_neither() {
        let folder = tempfile::tempdir().unwrap();
        let (there, link) = (folder.path().join("there"), folder.path().join("link"));
        fs::write(&there, "work").unwrap();
        assert_eq!(ExclusiveFile::create_new(&there).unwrap_err().kind(), ErrorKind::AlreadyExists);
        #[cfg(unix)]
        for target in [&there, &folder.path().join("nowhere")] {
            std::os::unix::fs::symlink(target, &link).unwrap();
            let error = ExclusiveFile::create_new(&link).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
            fs::remove_file(&link).unwrap();
        }
        assert_eq!(fs::read(there).unwrap(), b"work");
        assert_eq!(names(folder.path()), ["there"]);
    }

    #[test]
    fn a_file_is_replaced_with_its_permissions_at_the_first_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("there");
        fs::write(&path, "work").unwrap();
        let mut permissions = fs::metadata(&path).unwrap().permissions();
        #[cfg(unix)]
        std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o640);
        fs::set_permissions(&path, permissions).unwrap();
        let permissions = fs::metadata(&path).unwrap().permissions();
        drop(ExclusiveFile::replace(&path).unwrap());
        let mut file = ExclusiveFile::replace(&path).unwrap();
        let mut reader = File::open(&path).unwrap();
        assert_eq!((fs::read(&path).unwrap(), names(folder.path()).len()), (b"work".to_vec(), 1));
        file.write_all(b"other").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"other");
        assert_eq!(fs::metadata(&path).unwrap().permissions(), permissions);
        let mut old = String::new();
        reader.read_to_string(&mut old).unwrap();
        assert_eq!(old, "work");
        assert_eq!(names(folder.path()), ["there"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_is_replaced_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (there, link) = (folder.path().join("there"), folder.path().join("link"));
        fs::write(&there, "work").unwrap();
        std::os::unix::fs::symlink("there", &link).unwrap();
        ExclusiveFile::replace(&link).unwrap().write_all(b"other").unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read(there).unwrap(), b"other");
    }

    #[test]
    fn a_file_in_use_is_neither_opened_nor_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("busy");
        let mut first = ExclusiveFile::create_new(&path).unwrap();
        first.write_all(b"work").unwrap();
        for error in [
            ExclusiveFile::open(&path, true).unwrap_err(),
            ExclusiveFile::replace(&path).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::ResourceBusy);
            assert_eq!(error.to_string(), "another process writes it");
        }
        drop(first);
        let mut replacing = ExclusiveFile::replace(&path).unwrap();
        assert!(ExclusiveFile::open(&path, true).is_err(), "it is locked before the first byte");
        replacing.begin().unwrap();
        assert!(ExclusiveFile::open(&path, true).is_err(), "and afterwards");
        drop(replacing);
        let mut again = ExclusiveFile::open(&path, true).unwrap();
        again.write_all(b"more").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"more");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_neither_opened_nor_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        for path in [Path::new("/dev/null"), &link, folder.path()] {
            assert!(ExclusiveFile::open(path, true).is_err(), "{path:?}");
            assert!(ExclusiveFile::replace(path).is_err(), "{path:?}");
        }
        fs::write(folder.path().join("there"), "").unwrap();
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink("there", &link).unwrap();
        assert!(ExclusiveFile::open(&link, true).is_ok());
        assert!(ExclusiveFile::open(&link, false).is_err(), "a link was followed");
    }

    #[test]
    fn a_content_is_replaced_as_a_whole_and_the_lock_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let mut file = ExclusiveFile::create_new(&path).unwrap();
        for content in ["one", "two", ""] {
            file.replace_with(content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), content);
            assert!(ExclusiveFile::open(&path, true).is_err(), "the lock is gone");
        }
        assert_eq!(names(folder.path()), ["state"]);
    }

    #[test]
    fn a_file_that_somebody_put_in_its_place_is_neither_replaced_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("there"), folder.path().join("moved"));
        let mut file = ExclusiveFile::create_new(&path).unwrap();
        file.replace_with(b"state").unwrap();
        let mut replacing = ExclusiveFile::create_new(&moved).unwrap();
        replacing.write_all(b"work").unwrap();
        drop(replacing);
        let mut replacing = ExclusiveFile::replace(&moved).unwrap();
        for path in [&path, &moved] {
            fs::remove_file(path).unwrap();
            fs::write(path, "another's work").unwrap();
        }
        for error in [
            file.replace_with(b"more").unwrap_err(),
            replacing.write_all(b"more").unwrap_err(),
            file.remove().unwrap_err(),
            replacing.remove().unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::ResourceBusy);
            assert_eq!(error.to_string(), "somebody put another file in its place");
        }
        assert_eq!(fs::read(&path).unwrap(), b"another's work");
        assert_eq!(fs::read(&moved).unwrap(), b"another's work");
        assert_eq!(names(folder.path()), ["moved", "there"]);
    }

    #[test]
    fn a_file_that_is_gone_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let mut file = ExclusiveFile::create_new(&path).unwrap();
        fs::remove_file(&path).unwrap();
        file.replace_with(b"state").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"state");
        file.remove().unwrap();
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_file_system_without_locks_takes_files_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        #[cfg(unix)]
        let errors = [io::Error::from_raw_os_error(libc::ENOLCK), ErrorKind::Unsupported.into()];
        #[cfg(not(unix))]
        let errors = [ErrorKind::Unsupported.into()];
        for error in errors {
            create_new(&path, |_| Err(TryLockError::Error(error))).unwrap();
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_new_file_that_cannot_be_locked_is_not_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let failed = || TryLockError::Error(ErrorKind::Other.into());
        assert_eq!(create_new(&path, |_| Err(failed())).unwrap_err().kind(), ErrorKind::Other);
        assert!(names(folder.path()).is_empty());
        // Somebody else has it.
        let error = create_new(&path, |_| Err(TryLockError::WouldBlock)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceBusy);
        assert_eq!(names(folder.path()), ["new"]);
    }

    #[test]
    fn an_error_does_not_name_the_file_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("there/file");
        fs::create_dir(folder.path().join("there")).unwrap();
        fs::write(&path, "work").unwrap();
        let mut file = ExclusiveFile::replace(&path).unwrap();
        fs::rename(folder.path().join("there"), folder.path().join("moved")).unwrap();
        let error = file.write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(!error.to_string().contains(".part"), "{error}");
    }
}
