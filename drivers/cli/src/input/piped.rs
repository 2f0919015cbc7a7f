//! A source of messages that is read ahead by a thread, because reading it may take for ever.

use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

use super::messages::{Messages, Next};
use crate::failure::Failure;

/// How many messages are read ahead.
const AHEAD: usize = 4096;

/// The near end of a thread that reads.
pub(crate) struct Piped {
    /// Messages, and `None` at the end.
    read: Receiver<Result<Option<Vec<u8>>, Failure>>,
    is_over: bool,
}

impl Piped {
    /// Starts to read. The thread ends with its input, or with the program.
    pub(crate) fn new(mut messages: Box<dyn Messages>) -> Self {
        let (write, read) = sync_channel(AHEAD);
        thread::spawn(move || {
            loop {
                let mut message = Vec::new();
                let next = match messages.next(&mut message) {
                    Ok(Next::Message) => Ok(Some(message)),
                    Ok(Next::NotYet) => continue,
                    Ok(Next::End) => Ok(None),
                    Err(failure) => Err(failure),
                };
                let is_last = matches!(next, Ok(None));
                if write.send(next).is_err() || is_last {
                    return;
                }
            }
        });
        Self { read, is_over: false }
    }
}

impl Messages for Piped {
    fn next(&mut self, message: &mut Vec<u8>) -> Result<Next, Failure> {
        match self.read.try_recv() {
            _ if self.is_over => Ok(Next::End),
            Ok(Ok(Some(read))) => {
                *message = read;
                Ok(Next::Message)
            }
            Ok(Ok(None)) => {
                self.is_over = true;
                Ok(Next::End)
            }
            Ok(Err(failure)) => Err(failure),
            Err(TryRecvError::Empty) => Ok(Next::NotYet),
            // It panicked, and said so.
            Err(TryRecvError::Disconnected) => {
                Err(Failure::content("the input was not read to its end: its thread failed"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::lines::Lines;
    use std::io::{BufReader, PipeReader, Write, pipe};

    fn lines(read: PipeReader) -> Piped {
        Piped::new(Box::new(Lines::new(Box::new(BufReader::new(read)), "a pipe".into())))
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
        let mut piped = Piped::new(Box::new(Buggy));
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
