//! Where an answer goes. A file has its name, and is in place of what was there, only when the answer is whole;
//! until then what was there stays. What is no file is written to as it is: a pipe, a device.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use crate::failure::Failure;
use crate::io::file::{Gathered, PART};
use crate::io::place::{check_open, is_open};
use crate::io::signals::Signals;
use crate::io::sink::Sink;
use crate::io::standard::Output;
use crate::io::writer::Writer;

/// Links that lead to one another at most, as the system has it.
const LINKS: usize = 40;

/// Bytes of an answer that wait for a slow reader at most: if its command fails, what is not read by then is
/// lost.
const SPARE: usize = 8 << 20;

/// Where an answer goes.
pub(crate) struct Answer {
    /// The sink of its bytes.
    pub(crate) sink: Sink,
    is_standard: bool,
    /// The file that does not have its name yet.
    part: Option<TempPath>,
    path: PathBuf,
}

impl Answer {
    /// Standard output.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn to_standard_output(key: u64, signals: Signals) -> Result<Self, Failure> {
        let sink = Sink::standard(Output::Standard, SPARE, key, signals)
            .map_err(|error| Failure::standard_output(&error))?;
        Ok(Self { sink, is_standard: true, part: None, path: PathBuf::new() })
    }

    /// Whether it goes to standard output.
    pub(crate) const fn is_standard(&self) -> bool {
        self.is_standard
    }

    /// A file, in place of what is there when it is whole; or what is no file.
    ///
    /// # Errors
    /// It may not be written, or nothing can be written beside it.
    pub(crate) fn create(path: &Path, key: u64, signals: Signals) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::file("create", path, &error);
        check_open(path).map_err(failed)?;
        let there = match path.metadata() {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let is_special = there.as_ref().is_some_and(|there| !there.is_file() && !there.is_dir());
        if is_special || is_open(path) {
            let path = path.to_owned();
            // A file that is open already may have something in it; a device has no end to add to.
            let is_file = there.is_some_and(|there| there.is_file());
            let open = move || OpenOptions::new().write(true).append(is_file).open(path);
            let writer = Writer::new(open, SPARE, key, signals).map_err(failed)?;
            let (sink, path) = (Sink::Pipe(writer), PathBuf::new());
            return Ok(Self { sink, is_standard: false, part: None, path });
        }
        let mut path = path.to_owned();
        if there.is_some() {
            // A file that may not be written may not be replaced either.
            OpenOptions::new().write(true).open(&path).map_err(failed)?;
        }
        for _ in 0..LINKS {
            let Ok(target) = path.read_link() else { break };
            path = path.parent().unwrap_or(Path::new("")).join(target);
        }
        let (file, part) = beside(&path, there).map_err(|error| {
            failed(error).advise(
                "it is written beside it first: name a file in a folder that may be written",
            )
        })?;
        let sink = Sink::File(Gathered::new(file));
        Ok(Self { sink, is_standard: false, part: Some(part), path })
    }

    /// It is whole: it gets its name.
    ///
    /// # Errors
    /// It cannot be renamed.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        let Some(part) = self.part.take() else { return Ok(()) };
        part.persist(&self.path).map_err(|error| {
            self.part = Some(error.path);
            error.error
        })
    }

    /// It will not be whole, or not have its name: what there is of it is kept as `FILE.part`, which is returned.
    pub(crate) fn abandon(&mut self) -> Option<PathBuf> {
        let part = self.part.take()?;
        self.sink.write_out().ok().filter(|()| part.metadata().is_ok_and(|part| part.len() > 0))?;
        let mut place = self.path.clone().into_os_string();
        place.push(PART);
        match part.persist(&place) {
            Ok(()) => Some(place.into()),
            Err(error) => error.path.keep().ok(),
        }
    }

    /// It cannot be written: nothing of it is kept, which would only keep a disk full.
    pub(crate) fn discard(&mut self) {
        self.part = None;
    }
}

/// A file of another name in the same folder, with the permissions of the one that it will replace.
fn beside(path: &Path, there: Option<Metadata>) -> io::Result<(File, TempPath)> {
    let bytes = path.as_os_str().as_encoded_bytes();
    // `name/` is a folder.
    let name = path.file_name().filter(|name| bytes.ends_with(name.as_encoded_bytes()));
    let mut name = name.ok_or(io::ErrorKind::IsADirectory)?.to_owned();
    name.push(".");
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    // Errors name the file that was named.
    let file = builder
        .prefix(&name)
        .suffix(PART)
        .make_in(folder.unwrap_or(Path::new(".")), |path| File::create_new(path))?;
    if let Some(there) = there {
        file.as_file().set_permissions(there.permissions())?;
    }
    Ok(file.into_parts())
}
