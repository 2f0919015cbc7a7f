//! `lines`: one message a line, without its end (`\n` or `\r\n`).

use std::io::{BufRead, Read};

use super::messages::{Messages, Next};
use crate::failure::Failure;
use gapless_core::wire::mold::MAX_MESSAGE;

/// Reads lines as messages.
pub(crate) struct Lines {
    input: Box<dyn BufRead + Send>,
    name: String,
    line: u64,
}

impl Lines {
    /// Reads from `input`, which errors call `name`.
    pub(crate) fn new(input: Box<dyn BufRead + Send>, name: String) -> Self {
        Self { input, name, line: 0 }
    }
}

impl Messages for Lines {
    fn next(&mut self, message: &mut Vec<u8>) -> Result<Next, Failure> {
        self.line += 1;
        message.clear();
        // No more than fits a packet is taken in, however long the line is.
        let limit = MAX_MESSAGE + 2;
        let mut input = (&mut self.input).take(limit as u64);
        let length = input.read_until(b'\n', message).map_err(|error| {
            Failure::io("read", format_args!("{} at line {}", self.name, self.line), &error)
        })?;
        let ended = message.pop_if(|byte| *byte == b'\n').is_some();
        if ended {
            message.pop_if(|byte| *byte == b'\r');
        } else if length == limit {
            return Err(Failure::content(format!(
                "line {} of {} is longer than {MAX_MESSAGE} bytes, the largest message that a \
                 datagram can carry",
                self.line, self.name
            )));
        }
        Ok(if length > 0 { Next::Message } else { Next::End })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn read(bytes: Vec<u8>) -> Result<Vec<Vec<u8>>, Failure> {
        let mut lines = Lines::new(Box::new(Cursor::new(bytes)), "feed.txt".into());
        let (mut messages, mut message) = (Vec::new(), Vec::new());
        while lines.next(&mut message)? == Next::Message {
            messages.push(message.clone());
        }
        Ok(messages)
    }

    #[test]
    fn each_line_is_a_message_without_its_end() {
        assert_eq!(
            read(b"one\ntwo\r\n\nlast".to_vec()).unwrap(),
            [&b"one"[..], b"two", b"", b"last"]
        );
    }

    #[test]
    fn a_final_line_end_makes_no_empty_message() {
        assert_eq!(read(b"one\n".to_vec()).unwrap(), [b"one"]);
    }

    #[test]
    fn a_line_that_fits_no_datagram_is_refused_with_its_number() {
        let mut bytes = b"one\n".to_vec();
        bytes.resize(1 << 20, b'x');
        let failure = read(bytes).unwrap_err().to_string();
        assert!(failure.contains("line 2 of feed.txt is longer"), "{failure}");
    }
}
