//! Unwanted senders: sessions that are not received, and addresses that nobody configured.
//! A few of each are kept, for messages to people; nothing depends on them.

use core::net::SocketAddr;

use crate::Session;

/// Sessions that are kept.
const KEPT: usize = 8;

/// Sessions that came and are not received, with the packets of each, and the address of the last answer
/// from elsewhere.
#[derive(Debug, Default)]
pub(super) struct Unwanted {
    sessions: [Option<(Session, u64)>; KEPT],
    pub(super) address: Option<SocketAddr>,
}

impl Unwanted {
    /// A packet of a session came. Beyond the places that there are, a new session takes that of the one
    /// with fewest packets, and its count: so those that send much stay.
    pub(super) fn count(&mut self, session: Session) {
        let packets_of = |kept: &Option<(Session, u64)>| kept.map_or(0, |(_, packets)| packets);
        let is_it = |kept: &Option<(Session, u64)>| kept.is_some_and(|(of, _)| of == session);
        let place = match self.sessions.iter_mut().find(|kept| is_it(kept)) {
            None => self.sessions.iter_mut().min_by_key(|kept| packets_of(kept)),
            place => place,
        };
        if let Some(kept) = place {
            *kept = Some((session, packets_of(kept).saturating_add(1)));
        }
    }

    /// The sessions, with the packets of each, or somewhat more.
    pub(super) fn sessions(&self) -> impl Iterator<Item = (Session, u64)> {
        self.sessions.iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_sends_much_stays_whatever_comes_beside_it() {
        let mut unwanted = Unwanted::default();
        let loud = Session::new(*b"LOUD      ");
        for number in 0..100_u8 {
            unwanted.count(loud);
            unwanted.count(Session::new([number; Session::LEN]));
        }
        assert_eq!(unwanted.sessions().count(), KEPT);
        assert!(unwanted.sessions().any(|kept| kept == (loud, 100)));
    }
}
