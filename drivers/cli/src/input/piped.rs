//! A source of messages that is read ahead by a thread, because reading it may take for ever.

use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

use super::{Messages, Next};
use crate::failure::Failure;

/// How many messages are read ahead.
const AHEAD: usize = 4096;

/// The near end of a thread that reads.
pub(crate) struct Piped {
    read: Receiver<Result<Vec<u8>, Failure>>,
}

impl Piped {
    /// Starts to read. The thread ends with its input, or with the program.
    pub(crate) fn new(mut messages: Box<dyn Messages>) -> Self {
        let (write, read) = sync_channel(AHEAD);
        thread::spawn(move || {
            loop {
                let mut message = Vec::new();
                let next = match messages.next(&mut message) {
                    Ok(Next::Message) => Ok(message),
                    Ok(Next::NotYet) => continue,
                    Ok(Next::End) => return,
                    Err(failure) => Err(failure),
                };
                if write.send(next).is_err() {
                    return;
                }
            }
        });
        Self { read }
    }
}

impl Messages for Piped {
    fn next(&mut self, message: &mut Vec<u8>) -> Result<Next, Failure> {
        match self.read.try_recv() {
            Ok(Ok(read)) => {
                *message = read;
                Ok(Next::Message)
            }
            Ok(Err(failure)) => Err(failure),
            Err(TryRecvError::Empty) => Ok(Next::NotYet),
            Err(TryRecvError::Disconnected) => Ok(Next::End),
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
    }
}
