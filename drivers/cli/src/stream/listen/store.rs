//! Streams as files in a folder: written under another name, and renamed when they are whole. Nothing that
//! is there is ever overwritten.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempPath;

use super::queue::Network;
use crate::failure::Failure;
use crate::io::file::{Gathered, PART};
use crate::stream::tags;

/// Numbers that are tried for a file, if somebody else puts files into the folder.
const TRIES: usize = 1000;
/// How far a number is from the one before it at most, to have been given here.
const APART: u64 = 1_000_000_000;

/// A folder that streams are put into.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The number of the last file.
    last: u64,
    /// Files in it that are not whole, of earlier.
    pub(super) parts: usize,
    /// Files that are not whole, of this run: whose they are, the oldest first.
    kept: VecDeque<(Network, StoredFile)>,
    /// Files of this run that are kept though they are not whole, at most.
    most_kept: usize,
    /// How many were removed, since they would have been more.
    pub(super) removed: u64,
}

impl Folder {
    /// Makes the folder, if it is not there, and finds the last number in it. Of files that are not whole it
    /// will keep `most_kept`, beside those of earlier.
    ///
    /// # Errors
    /// It cannot be made or listed.
    pub(super) fn open(path: &Path, most_kept: usize) -> Result<Self, Failure> {
        let failed = |doing| move |error: io::Error| Failure::file(doing, path, &error);
        std::fs::create_dir_all(path).map_err(failed("make the folder"))?;
        let (mut numbers, mut parts) = (Vec::new(), 0);
        for entry in path.read_dir().map_err(failed("list"))? {
            let name = entry.map_err(failed("list"))?.file_name();
            let Some((name, number)) = name.to_str().and_then(|name| Some((name, number(name)?)))
            else {
                continue;
            };
            numbers.push(number);
            parts += usize::from(name.ends_with(PART));
        }
        let last = last(numbers);
        let path = path.to_owned();
        Ok(Self { path, last, parts, kept: VecDeque::new(), most_kept, removed: 0 })
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
            let name = part_of(&path);
            match File::create_new(&name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => {
                    let file = file?;
                    let stored = StoredFile::of(&file, name)?;
                    return Ok(Part { file: Gathered::new(file), path, tag, stored });
                }
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// A file is whole: it gets its name, and the name is returned.
    ///
    /// # Errors
    /// It cannot be written, and is removed; or it cannot be renamed, and stays as a part.
    pub(super) fn finish(&mut self, part: Part, client: Network) -> Result<PathBuf, Unfinished> {
        let Part { mut file, mut path, tag, stored } = part;
        let lost = |error| Unfinished { error, part: None };
        if let Err(error) = file.write_out() {
            stored.remove();
            return Err(lost(error));
        }
        if !stored.is_there() {
            // A file of its name is somebody else's.
            return Err(lost(io::Error::new(
                io::ErrorKind::NotFound,
                format!("somebody removed or replaced {}", stored.path.display()),
            )));
        }
        let mut part = TempPath::try_from_path(&stored.path).map_err(lost)?;
        let mut why = io::Error::from(io::ErrorKind::AlreadyExists);
        for _ in 0..TRIES {
            match part.persist_noclobber(&path) {
                Ok(()) => return Ok(path),
                Err(error) => (part, why) = (error.path, error.error),
            }
            if why.kind() != io::ErrorKind::AlreadyExists {
                break;
            }
            path = self.next(&tag);
        }
        // It is removed only by what it is.
        let _ = part.keep();
        Err(Unfinished { error: why, part: self.keep(stored, client) })
    }

    /// A file will not be whole: what there is of it stays, and is returned, unless its end cannot be written: then
    /// it is removed.
    pub(super) fn abandon(&mut self, part: Part, client: Network) -> Option<PathBuf> {
        let Part { mut file, stored, .. } = part;
        if file.write_out().is_err() {
            stored.remove();
            return None;
        }
        self.keep(stored, client)
    }

    /// Keeps a file as a part: where it is, if it is there and may stay. If there are too many, the oldest of
    /// the client that has the most goes.
    fn keep(&mut self, stored: StoredFile, client: Network) -> Option<PathBuf> {
        if !stored.is_there() {
            return None;
        }
        let path = stored.path.clone();
        self.kept.push_back((client, stored));
        if self.kept.len() > self.most_kept {
            let mut counts: BTreeMap<Network, usize> = BTreeMap::new();
            for (client, _) in &self.kept {
                *counts.entry(*client).or_default() += 1;
            }
            let most = self.kept.iter().enumerate().rev().max_by_key(|(_, (of, _))| counts[of]);
            let most = most.map(|(at, _)| at);
            if let Some((_, stored)) = most.and_then(|at| self.kept.remove(at))
                && stored.remove()
            {
                self.removed += 1;
            }
        }
        path.symlink_metadata().is_ok().then_some(path)
    }

    fn next(&mut self, tag: &str) -> PathBuf {
        self.last = self.last.saturating_add(1);
        self.path.join(format!("{tag}.{:06}", self.last))
    }
}

/// The name of a file until it is whole.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(PART);
    name.into()
}

/// The last of the numbers that were given here. Somebody may have planted larger ones, beyond which there is
/// no number left.
fn last(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable();
    let follows = |last: u64, next: u64| (next - last <= APART).then_some(next);
    numbers
        .into_iter()
        .try_fold(0, |last, next| follows(last, next).ok_or(last))
        .unwrap_or_else(|last| last)
}

/// A file: its name in the folder as that was named, and which file it is, so that another one that has
/// taken the name is not taken for it.
#[derive(Debug)]
struct StoredFile {
    path: PathBuf,
    id: (u64, u64),
}

impl StoredFile {
    fn of(file: &File, path: PathBuf) -> io::Result<Self> {
        Ok(Self { path, id: id(&file.metadata()?) })
    }

    /// Whether the file is there.
    fn is_there(&self) -> bool {
        self.path.symlink_metadata().is_ok_and(|there| id(&there) == self.id)
    }

    /// Removes the file, if it is there; whether it was, and is gone.
    fn remove(&self) -> bool {
        self.is_there() && std::fs::remove_file(&self.path).is_ok()
    }
}

/// Which file it is.
fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The number of a file that was made here.
fn number(name: &str) -> Option<u64> {
    let name = name.strip_suffix(PART).unwrap_or(name);
    name.rsplit_once('.')?.1.parse().ok()
}

/// A file that did not get its name.
#[derive(Debug)]
pub(super) struct Unfinished {
    /// Why.
    pub(super) error: io::Error,
    /// The part of it that there is.
    pub(super) part: Option<PathBuf>,
}

/// A file that is not whole yet.
pub(super) struct Part {
    file: Gathered,
    path: PathBuf,
    tag: String,
    stored: StoredFile,
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

    /// Removes it: what cannot be written would only keep a disk full.
    pub(super) fn discard(self) {
        self.stored.remove();
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

    fn client(number: u8) -> Network {
        Network::of([10, 0, 0, number].into())
    }

    /// A stream of this client that is broken off.
    fn broken(folder: &mut Folder, of: u8) -> Option<PathBuf> {
        let part = folder.begin(b"logs").unwrap();
        folder.abandon(part, client(of))
    }

    #[test]
    fn parts_are_kept_up_to_a_number_and_who_leaves_most_loses_the_oldest() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("logs.000001.part"), "of earlier").unwrap();
        let mut folder = Folder::open(dir.path(), 2).unwrap();
        for of in [1, 2, 2, 2] {
            assert!(broken(&mut folder, of).is_some());
        }
        assert_eq!(folder.removed, 2);
        assert_eq!(names(dir.path()), ["logs.000001.part", "logs.000002.part", "logs.000005.part"]);
        let mut none = Folder::open(dir.path(), 0).unwrap();
        assert_eq!(broken(&mut none, 1), None);
        assert_eq!(names(dir.path()).len(), 3);
    }

    #[test]
    fn a_part_that_is_gone_is_not_reported_and_another_in_its_place_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(dir.path(), 2).unwrap();
        let path = dir.path().join("logs.000001.part");
        let [gone, replaced] = [0, 1].map(|_| folder.begin(b"logs").unwrap());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(folder.abandon(gone, client(1)), None);
        let path = dir.path().join("logs.000002.part");
        let theirs = dir.path().join("theirs");
        std::fs::write(&theirs, "theirs").unwrap();
        std::fs::rename(&theirs, &path).unwrap();
        let unfinished = folder.finish(replaced, client(1)).unwrap_err();
        assert_eq!(unfinished.part, None);
        assert!(unfinished.error.to_string().contains("replaced"), "{}", unfinished.error);
        assert_eq!(names(dir.path()), ["logs.000002.part"]);
        assert_eq!(std::fs::read(path).unwrap(), b"theirs");
    }

    #[test]
    fn a_number_that_somebody_planted_ends_nothing() {
        for planted in ["x.999999999999999999", "x.18446744073709551615", "x.99999999999"] {
            let dir = tempfile::tempdir().unwrap();
            for name in ["logs.000007", planted] {
                std::fs::write(dir.path().join(name), "").unwrap();
            }
            for expected in ["logs.000008", "logs.000009"] {
                let mut folder = Folder::open(dir.path(), 2).unwrap();
                let part = folder.begin(b"logs").unwrap();
                assert_eq!(folder.finish(part, client(1)).unwrap(), dir.path().join(expected));
            }
        }
        assert_eq!(last(vec![1_000_000_005, 6]), 1_000_000_005);
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(dir.path(), 2).unwrap();
        let mut part = folder.begin(b"logs").unwrap();
        part.push(Bytes::from_static(b"one")).unwrap();
        assert_eq!(names(dir.path()), ["logs.000001.part"]);
        assert_eq!(folder.finish(part, client(1)).unwrap(), dir.path().join("logs.000001"));
        assert_eq!(names(dir.path()), ["logs.000001"]);
        assert_eq!(std::fs::read(dir.path().join("logs.000001")).unwrap(), b"one");
    }

    #[test]
    fn what_was_broken_off_stays_as_a_part() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(dir.path(), 2).unwrap();
        let mut part = folder.begin(b"logs").unwrap();
        part.push(Bytes::from_static(b"half")).unwrap();
        let path = folder.abandon(part, client(1)).unwrap();
        assert_eq!(path, dir.path().join("logs.000001.part"));
        assert_eq!(std::fs::read(path).unwrap(), b"half");
    }

    /// A part of which nothing can be written any more.
    fn unwritable(folder: &mut Folder) -> Part {
        let mut part = folder.begin(b"logs").unwrap();
        part.file = Gathered::new(File::open(&part.stored.path).unwrap());
        part.push(Bytes::from_static(b"lost")).unwrap();
        part
    }

    #[test]
    fn what_cannot_be_written_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(dir.path(), 2).unwrap();
        let part = unwritable(&mut folder);
        assert_eq!(folder.finish(part, client(1)).unwrap_err().part, None);
        let part = unwritable(&mut folder);
        assert_eq!(folder.abandon(part, client(1)), None);
        unwritable(&mut folder).discard();
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn what_somebody_put_in_place_of_a_part_that_cannot_be_written_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(dir.path(), 2).unwrap();
        let parts = [0; 3].map(|_| unwritable(&mut folder));
        let theirs = dir.path().join("theirs");
        for part in &parts {
            std::fs::write(&theirs, "theirs").unwrap();
            std::fs::rename(&theirs, &part.stored.path).unwrap();
        }
        let [finished, abandoned, discarded] = parts;
        assert_eq!(folder.finish(finished, client(1)).unwrap_err().part, None);
        assert_eq!(folder.abandon(abandoned, client(1)), None);
        discarded.discard();
        assert_eq!(names(dir.path()).len(), 3);
    }

    #[test]
    fn parts_of_earlier_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["logs.000004", "logs.000006.part", "x.1.part", "song.part", "x.7.old"] {
            std::fs::write(dir.path().join(name), "old").unwrap();
        }
        assert_eq!(Folder::open(dir.path(), 2).unwrap().parts, 2);
    }

    #[test]
    fn nothing_that_is_there_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("logs.000004"), "old").unwrap();
        std::fs::write(dir.path().join("other.000006.part"), "old").unwrap();
        let mut folder = Folder::open(dir.path(), 2).unwrap();
        let part = folder.begin(b"logs").unwrap();
        // Somebody else is quicker.
        std::fs::write(dir.path().join("logs.000007"), "theirs").unwrap();
        std::fs::write(dir.path().join("logs.000008"), "theirs").unwrap();
        assert_eq!(folder.finish(part, client(1)).unwrap(), dir.path().join("logs.000009"));
        for name in ["logs.000004", "other.000006.part", "logs.000007", "logs.000008"] {
            assert_ne!(std::fs::read(dir.path().join(name)).unwrap(), b"", "{name}");
        }
    }

    #[test]
    fn a_link_out_of_the_folder_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        let mut folder = Folder::open(&inside, 2).unwrap();
        let outside = dir.path().join("outside");
        for name in ["logs.000001", "logs.000002.part"] {
            std::os::unix::fs::symlink(&outside, inside.join(name)).unwrap();
        }
        let part = folder.begin(b"logs").unwrap();
        assert_eq!(folder.finish(part, client(1)).unwrap(), inside.join("logs.000003"));
        assert!(!outside.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "").unwrap();
        let failure = Folder::open(&path, 2).unwrap_err();
        assert!(failure.to_string().contains("cannot make the folder"), "{failure}");
    }
}
