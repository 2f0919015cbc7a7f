//! `binaryfile`: a big-endian u16 length and that many bytes, over and over, as in Nasdaq's files.

use std::io::{self, BufRead};

use super::messages::{Messages, Next};
use crate::failure::Failure;

/// Reads messages out of a binaryfile.
pub(crate) struct Binaryfile {
    input: Box<dyn BufRead + Send>,
    name: String,
    offset: u64,
}

impl Binaryfile {
    /// Reads from `input`, which errors call `name`.
    pub(crate) fn new(input: Box<dyn BufRead + Send>, name: String) -> Self {
        Self { input, name, offset: 0 }
    }

    fn truncated(&self, wanted: usize, found: usize) -> Failure {
        Failure::content(format!(
            "{} is truncated: the message at offset {} needs {wanted} bytes, {found} are there",
            self.name, self.offset
        ))
        .advise("each message is a big-endian u16 length and that many bytes; see --format")
    }

    fn unread(&self, error: &io::Error) -> Failure {
        Failure::io("read", format_args!("{} at offset {}", self.name, self.offset), error)
    }
}

impl Messages for Binaryfile {
    fn next(&mut self, message: &mut Vec<u8>) -> Result<Next, Failure> {
        let mut length = [0; 2];
        match fill(&mut self.input, &mut length).map_err(|error| self.unread(&error))? {
            0 => return Ok(Next::End),
            2 => {}
            found => return Err(self.truncated(2, found)),
        }
        let length = usize::from(u16::from_be_bytes(length));
        message.resize(length, 0);
        let found = fill(&mut self.input, message).map_err(|error| self.unread(&error))?;
        if found < length {
            return Err(self.truncated(2 + length, 2 + found));
        }
        self.offset += 2 + length as u64;
        Ok(Next::Message)
    }
}

/// Reads until `buffer` is full or the input is over, and says how much that was.
fn fill(input: &mut dyn BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest @ [_, ..]) = buffer.get_mut(filled..) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn read(bytes: &'static [u8]) -> Result<Vec<Vec<u8>>, Failure> {
        let mut file = Binaryfile::new(Box::new(Cursor::new(bytes)), "feed.bin".into());
        let (mut messages, mut message) = (Vec::new(), Vec::new());
        while file.next(&mut message)? == Next::Message {
            messages.push(message.clone());
        }
        Ok(messages)
    }

    #[test]
    fn messages_come_one_after_the_other() {
        assert_eq!(read(b"\0\x01A\0\0\0\x02BC").unwrap(), [&b"A"[..], b"", b"BC"]);
    }

    #[test]
    fn an_empty_file_has_no_messages() {
        assert!(read(b"").unwrap().is_empty());
    }

    #[test]
    fn a_truncated_message_is_refused_with_its_offset() {
        let failure = read(b"\0\x01A\0\x05BC").unwrap_err().to_string();
        assert!(failure.contains("feed.bin is truncated"), "{failure}");
        assert!(failure.contains("offset 3 needs 7 bytes, 4 are there"), "{failure}");
    }

    #[test]
    fn a_truncated_length_is_refused_with_its_offset() {
        let failure = read(b"\0\x01A\0").unwrap_err().to_string();
        assert!(failure.contains("offset 3 needs 2 bytes, 1 are there"), "{failure}");
    }
}
