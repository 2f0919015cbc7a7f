//! Signals that ask for an end.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// A signal that asks for an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signal {
    /// SIGHUP: the terminal is gone.
    HangUp,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: what `kill` and service managers send.
    Terminate,
}

impl Signal {
    pub(crate) const ALL: [Self; 3] = [Self::HangUp, Self::Interrupt, Self::Terminate];

    /// The system's number.
    pub(crate) const fn number(self) -> i32 {
        match self {
            Self::HangUp => SIGHUP,
            Self::Interrupt => SIGINT,
            Self::Terminate => SIGTERM,
        }
    }

    /// The exit code: what a shell reports of a program that the signal ended.
    pub(crate) const fn code(self) -> u8 {
        128 + self.number() as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(Signal::ALL.map(Signal::code), [129, 130, 143]);
    }
}
