//! A source of messages that is read ahead by a thread, because reading it may take for ever.

use super::messages::{Messages, Next};
use crate::failure::Failure;
use crate::io::ahead::{self, Ahead, Died};

/// How many messages are read ahead.
const AHEAD: usize = 4096;

/// The near end of a thread that reads.
pub(crate) struct Piped(Ahead<Vec<u8>, Failure>);

impl From<Died> for Failure {
    fn from(died: Died) -> Self {
        Self::content(format!("the input was not read to its end: {died}"))
    }
}

impl Piped {
    /// Starts to read. The thread ends with its input, or with the program.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn new(mut messages: impl Messages + 'static) -> Result<Self, Failure> {
        let read = move || {
            let mut message = Vec::new();
            loop {
                match messages.next(&mut message)? {
                    Next::Message => return Ok(Some(message)),
                    Next::NotYet => {}
                    Next::End => return Ok(None),
                }
            }
        };
        let ahead = Ahead::new(AHEAD, read, || {});
        ahead.map(Self).map_err(|error| Failure::io("start", "a thread", &error))
    }
}

impl Messages for Piped {
    fn next(&mut self, message: &mut Vec<u8>) -> Result<Next, Failure> {
        Ok(match self.0.next()? {
            ahead::Next::Item(read) => {
                *message = read;
                Next::Message
            }
            ahead::Next::NotYet => Next::NotYet,
            ahead::Next::End => Next::End,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::lines::Lines;
    use std::io::{BufReader, PipeReader, Write, pipe};
    use std::thread;

    fn lines(read: PipeReader) -> Piped {
        Piped::new(Lines::new(Box::new(BufReader::new(read)), "a pipe".into())).unwrap()
    }

    #[test]
    fn an_open_pipe_without_messages_keeps_nobody_waiting() {
        let (read, write) = pipe().unwrap();
        assert_eq!(lines(read).next(&mut Vec::new()).unwrap(), Next::NotYet);
        drop(write);
    }

    /// A source with a bug.
    struct Buggy;

    impl Messages for Buggy {
        fn next(&mut self, _: &mut Vec<u8>) -> Result<Next, Failure> {
            panic!("a bug");
        }
    }

    #[test]
    fn a_reader_that_panics_is_no_end_of_its_input() {
        let mut piped = Piped::new(Buggy).unwrap();
        let failure = loop {
            match piped.next(&mut Vec::new()) {
                Ok(Next::NotYet) => thread::yield_now(),
                Ok(next) => panic!("{next:?}"),
                Err(failure) => break failure,
            }
        };
        assert!(failure.what().contains("not read to its end"), "{failure}");
    }

    #[test]
    fn messages_and_the_end_come_through() {
        let (read, mut write) = pipe().unwrap();
        write.write_all(b"one\ntwo\n").unwrap();
        drop(write);
        let mut lines = lines(read);
        let (mut messages, mut message) = (Vec::new(), Vec::new());
        loop {
            match lines.next(&mut message).unwrap() {
                Next::Message => messages.push(message.clone()),
                Next::NotYet => thread::yield_now(),
                Next::End => break,
            }
        }
        assert_eq!(messages, [b"one", b"two"]);
        assert_eq!(lines.next(&mut message).unwrap(), Next::End);
    }
}
