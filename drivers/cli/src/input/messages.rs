//! A source of messages, in order.

use crate::failure::Failure;

/// The state of a source of messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// A message.
    Message,
    /// Nothing yet: somebody is still writing it.
    NotYet,
    /// Nothing more.
    End,
}

/// A source of messages, in order.
pub(crate) trait Messages: Send {
    /// Puts the next message into `message`, in place of what is there. What is there otherwise is
    /// of no use.
    ///
    /// # Errors
    /// The input cannot be read, or is not what it should be.
    fn next(&mut self, message: &mut Vec<u8>) -> Result<Next, Failure>;
}

/// The first so many of some messages.
pub(crate) struct First {
    /// How many are left.
    pub(crate) left: u64,
    /// Of these.
    pub(crate) of: Box<dyn Messages>,
}

impl Messages for First {
    fn next(&mut self, message: &mut Vec<u8>) -> Result<Next, Failure> {
        if self.left == 0 {
            return Ok(Next::End);
        }
        let next = self.of.next(message)?;
        self.left -= u64::from(next == Next::Message);
        Ok(next)
    }
}
