//! Streams as files in a folder: written under another name, and renamed when they are whole. Nothing that
//! is there is ever overwritten.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::NamedTempFile;

use super::pipes::{SLICES, write_all};
use super::tags;
use crate::failure::Failure;

/// What a file that is not whole ends with.
pub(super) const PART: &str = ".part";
/// Numbers that are tried for a file, if somebody else puts files into the folder.
const TRIES: usize = 1000;

/// A folder that streams are put into.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The number of the last file.
    last: u64,
    /// Files in it that are not whole, of earlier.
    pub(super) parts: usize,
}

impl Folder {
    /// Makes the folder, if it is not there, and finds the last number in it.
    ///
    /// # Errors
    /// It cannot be made or listed.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |doing| move |error: io::Error| Failure::file(doing, path, &error);
        std::fs::create_dir_all(path).map_err(failed("make the folder"))?;
        let (mut last, mut parts) = (0, 0);
        for entry in path.read_dir().map_err(failed("list"))? {
            let name = entry.map_err(failed("list"))?.file_name();
            let Some((name, number)) = name.to_str().and_then(|name| Some((name, number(name)?)))
            else {
                continue;
            };
            last = last.max(number);
            parts += usize::from(name.ends_with(PART));
        }
        Ok(Self { path: path.to_owned(), last, parts })
    }

    /// Begins a file for a stream of this tag: `TAG.NUMBER.part`.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn begin(&mut self, tag: &[u8]) -> io::Result<Part> {
        let tag = tags::file_name(tag);
        for _ in 0..TRIES {
            let path = self.next(&tag);
            if path.symlink_metadata().is_ok() {
                continue;
            }
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(PART);
            match part(&self.path, &name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => return Ok(Part { file: Gathered::new(file?), path, tag }),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// A file is whole: it gets its name, and the name is told.
    ///
    /// # Errors
    /// It cannot be written, and is removed; or it cannot be renamed, and stays as a part.
    pub(super) fn finish(&mut self, part: Part) -> Result<PathBuf, Unfinished> {
        let place = part.place();
        let Part { file, mut path, tag } = part;
        let unfinished = |file: NamedTempFile, error| Unfinished {
            error,
            part: file.keep().is_ok().then_some(place),
        };
        let mut file = file.flush().map_err(|error| Unfinished { error, part: None })?;
        for _ in 0..TRIES {
            match file.persist_noclobber(&path) {
                Ok(_) => return Ok(path),
                Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                    file = error.file;
                    path = self.next(&tag);
                }
                Err(error) => return Err(unfinished(error.file, error.error)),
            }
        }
        Err(unfinished(file, io::ErrorKind::AlreadyExists.into()))
    }

    fn next(&mut self, tag: &str) -> PathBuf {
        self.last += 1;
        self.path.join(format!("{tag}.{:06}", self.last))
    }
}

/// Makes `name`, which must not be there yet.
fn part(folder: &Path, name: &std::ffi::OsStr) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    ordinary(builder.prefix(name).rand_bytes(0)).tempfile_in(folder)
}

/// Gives a file the permissions of any other; the process's mask takes from them.
pub(super) fn ordinary<'a, 'b, 'c>(
    builder: &'c mut tempfile::Builder<'a, 'b>,
) -> &'c mut tempfile::Builder<'a, 'b> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
}

/// The number of a file that was made here.
fn number(name: &str) -> Option<u64> {
    let name = name.strip_suffix(PART).unwrap_or(name);
    let digits = name.rsplit_once('.')?.1;
    // What could overflow was not made here.
    digits.parse().ok().filter(|_| digits.len() <= 18)
}

/// A file that did not get its name.
#[derive(Debug)]
pub(super) struct Unfinished {
    /// Why.
    pub(super) error: io::Error,
    /// What there is of it.
    pub(super) part: Option<PathBuf>,
}

/// A file that is not whole yet. One that is dropped is removed: what cannot be written would only keep a disk
/// full.
pub(super) struct Part {
    file: Gathered<NamedTempFile>,
    path: PathBuf,
    tag: String,
}

impl Part {
    /// Adds to it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn push(&mut self, bytes: Bytes) -> io::Result<()> {
        self.file.push(bytes)
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write_out(&mut self) -> io::Result<()> {
        self.file.write_out()
    }

    /// It will not be whole: what there is of it stays, and is told, unless its end cannot be written: then it is
    /// removed, as one that is dropped.
    pub(super) fn abandon(self) -> Option<PathBuf> {
        let place = self.place();
        self.file.flush().ok()?.keep().ok()?;
        Some(place)
    }

    /// Where it is until it is whole: in the folder as it was named.
    fn place(&self) -> PathBuf {
        let mut place = self.path.clone().into_os_string();
        place.push(PART);
        place.into()
    }
}

/// A file that is written to many chunks at a time.
pub(super) struct Gathered<F> {
    file: F,
    chunks: Vec<Bytes>,
}

/// What can be written to as a file.
pub(super) trait Target {
    /// The file.
    fn file(&mut self) -> &mut File;
}

impl Target for NamedTempFile {
    fn file(&mut self) -> &mut File {
        self.as_file_mut()
    }
}

impl Target for File {
    fn file(&mut self) -> &mut File {
        self
    }
}

impl<F: Target> Gathered<F> {
    pub(super) fn new(file: F) -> Self {
        Self { file, chunks: Vec::with_capacity(SLICES) }
    }

    /// Adds to it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn push(&mut self, bytes: Bytes) -> io::Result<()> {
        self.chunks.push(bytes);
        if self.chunks.len() < SLICES { Ok(()) } else { self.write_out() }
    }

    /// Hands everything to the system.
    ///
    /// # Errors
    /// It cannot be written; then it is dropped.
    pub(super) fn write_out(&mut self) -> io::Result<()> {
        let result = write_all(self.file.file(), &self.chunks);
        self.chunks.clear();
        result
    }

    fn flush(mut self) -> io::Result<F> {
        self.write_out()?;
        Ok(self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = folder
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let place = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(place.path()).unwrap();
        let mut part = folder.begin(b"logs").unwrap();
        part.push(Bytes::from_static(b"one")).unwrap();
        assert_eq!(names(place.path()), ["logs.000001.part"]);
        assert_eq!(folder.finish(part).unwrap(), place.path().join("logs.000001"));
        assert_eq!(names(place.path()), ["logs.000001"]);
        assert_eq!(std::fs::read(place.path().join("logs.000001")).unwrap(), b"one");
    }

    #[test]
    fn what_was_broken_off_stays_as_a_part() {
        let place = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(place.path()).unwrap();
        let mut part = folder.begin(b"logs").unwrap();
        part.push(Bytes::from_static(b"half")).unwrap();
        let path = part.abandon().unwrap();
        assert_eq!(path, place.path().join("logs.000001.part"));
        assert_eq!(std::fs::read(path).unwrap(), b"half");
    }

    /// A part of which nothing can be written any more.
    fn unwritable(folder: &mut Folder) -> Part {
        let Part { file, path, tag } = folder.begin(b"logs").unwrap();
        let place = file.file.into_temp_path();
        let read_only = NamedTempFile::from_parts(File::open(&place).unwrap(), place);
        let mut part = Part { file: Gathered::new(read_only), path, tag };
        part.push(Bytes::from_static(b"lost")).unwrap();
        part
    }

    #[test]
    fn what_cannot_be_written_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(place.path()).unwrap();
        let part = unwritable(&mut folder);
        assert_eq!(folder.finish(part).unwrap_err().part, None);
        assert_eq!(unwritable(&mut folder).abandon(), None);
        assert!(names(place.path()).is_empty());
    }

    #[test]
    fn parts_of_earlier_are_counted() {
        let place = tempfile::tempdir().unwrap();
        for name in ["logs.000004", "logs.000006.part", "x.1.part", "song.part", "x.7.old"] {
            std::fs::write(place.path().join(name), "old").unwrap();
        }
        assert_eq!(Folder::open(place.path()).unwrap().parts, 2);
    }

    #[test]
    fn nothing_that_is_there_is_overwritten() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("logs.000004"), "old").unwrap();
        std::fs::write(place.path().join("other.000006.part"), "old").unwrap();
        let mut folder = Folder::open(place.path()).unwrap();
        let part = folder.begin(b"logs").unwrap();
        // Somebody else is quicker.
        std::fs::write(place.path().join("logs.000007"), "theirs").unwrap();
        std::fs::write(place.path().join("logs.000008"), "theirs").unwrap();
        assert_eq!(folder.finish(part).unwrap(), place.path().join("logs.000009"));
        for name in ["logs.000004", "other.000006.part", "logs.000007", "logs.000008"] {
            assert_ne!(std::fs::read(place.path().join(name)).unwrap(), b"", "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_folder_is_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let inside = place.path().join("inside");
        let mut folder = Folder::open(&inside).unwrap();
        let outside = place.path().join("outside");
        for name in ["logs.000001", "logs.000002.part"] {
            std::os::unix::fs::symlink(&outside, inside.join(name)).unwrap();
        }
        let part = folder.begin(b"logs").unwrap();
        assert_eq!(folder.finish(part).unwrap(), inside.join("logs.000003"));
        assert!(!outside.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("file");
        std::fs::write(&path, "").unwrap();
        let failure = Folder::open(&path).unwrap_err();
        assert!(failure.to_string().contains("cannot make the folder"), "{failure}");
    }
}
