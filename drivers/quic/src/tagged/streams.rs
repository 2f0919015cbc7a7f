//! The calls that acceptors make, for streams and tags.

use std::time::Instant;

use bytes::Bytes;
use gapless_core::Instant as CoreInstant;
use gapless_core::demux::{self, AcceptorId, Demux, Pattern, Registrant};

use super::table::{Table, core};
use crate::endpoint::{ConnectionId, Direction, Endpoint, Refusal, StreamId};

/// The calls of an acceptor: on streams and connections by the endpoint, on tags by these methods.
pub struct Streams<'a> {
    /// The connections.
    pub endpoint: &'a mut Endpoint,
    /// Now.
    pub now: Instant,
    pub(super) demux: &'a mut dyn Calls,
    pub(super) table: &'a mut Table,
}

/// The part of a demultiplexer that [`Streams`] needs, whether it is recorded or not.
pub(super) trait Calls {
    fn call(&mut self, now: CoreInstant, event: demux::Event<'_>) -> Result<(), demux::Refusal>;
    fn demux(&self) -> &Demux;
}

impl std::fmt::Debug for Streams<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Streams<'_> {
    /// Registers an acceptor for tags: streams that wait for them are given to it one by one, until it
    /// pauses.
    ///
    /// # Errors
    /// Those of [`Demux::register`](demux::Demux::register); acceptor 0.
    pub fn register(
        &mut self,
        acceptor: AcceptorId,
        pattern: Pattern<'_>,
        by: Registrant,
    ) -> Result<(), OpenError> {
        if acceptor.0 == 0 {
            return Err(OpenError::NoAcceptor);
        }
        Ok(self.call(demux::Event::Register { acceptor, pattern, by })?)
    }

    /// Forgets a registration; streams that were given stay where they are.
    pub fn unregister(&mut self, pattern: Pattern<'_>) {
        // Nothing is refused of it.
        let _ = self.call(demux::Event::Unregister { pattern });
    }

    /// Forgets all registrations of an acceptor; streams that were given stay where they are.
    pub fn acceptor_gone(&mut self, acceptor: AcceptorId) {
        let _ = self.call(demux::Event::AcceptorGone { acceptor });
    }

    /// Lets the streams of an acceptor wait, those that it has and those to come: nothing is read of them, so
    /// that their peers feel it. Of an acceptor without a registration only those that it has wait.
    /// [`Endpoint::pause`] and [`Endpoint::resume`], for one stream, are another thing: what comes on a
    /// stream is reported when neither says that it waits.
    pub fn pause(&mut self, acceptor: AcceptorId) {
        let _ = self.call(demux::Event::Pause { acceptor });
        for stream in self.table.of(acceptor) {
            // One that is over needs no pause.
            let _ = self.endpoint.hold(stream);
        }
    }

    /// Goes on with what [`pause`](Self::pause) stopped. The streams that waited to be given are given one
    /// by one, with what came of each: if the acceptor pauses again meanwhile, it is given no more of them.
    pub fn resume(&mut self, acceptor: AcceptorId) {
        for stream in self.table.of(acceptor) {
            let _ = self.endpoint.release(stream);
        }
        let _ = self.call(demux::Event::Resume { acceptor });
    }

    /// Opens a tagged stream: its preamble goes before anything that is written. What happens to it is
    /// reported to `acceptor`.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        &mut self,
        connection: ConnectionId,
        direction: Direction,
        acceptor: AcceptorId,
        tag: &[u8],
        by: Registrant,
    ) -> Result<StreamId, OpenError> {
        if acceptor.0 == 0 {
            return Err(OpenError::NoAcceptor);
        }
        let tag = Demux::own_tag(tag, by)?;
        let opened = self.endpoint.open(connection, direction)?;
        let stream = opened.ok_or(OpenError::NoCredit)?;
        self.call(demux::Event::Open { stream: core(stream), tag: &tag, by })?;
        // Now, and not with the command: what the acceptor writes comes behind it.
        self.endpoint.write_head(stream, Bytes::copy_from_slice(tag.preamble()))?;
        self.endpoint.set_owner(stream, acceptor.0)?;
        self.table.give(acceptor, stream);
        if self.demux.demux().is_paused(acceptor) {
            self.endpoint.hold(stream)?;
        }
        Ok(stream)
    }

    fn call(&mut self, event: demux::Event<'_>) -> Result<(), demux::Refusal> {
        self.demux.call(self.table.time(self.now), event)
    }
}

/// Why a tagged stream was not opened, or a tag not registered.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenError {
    /// The demultiplexer refused it.
    #[error(transparent)]
    Tag(#[from] demux::Refusal),
    /// The connection is none that a stream can be opened on.
    #[error(transparent)]
    Connection(#[from] Refusal),
    /// The peer allows no more streams of this kind now, and [`Event::Openable`](crate::Event::Openable) will
    /// tell; or the connection is not complete yet, and [`Event::Connected`](crate::Event::Connected) will.
    #[error("the peer allows no more streams now")]
    NoCredit,
    /// Acceptors are numbered from 1.
    #[error("acceptors are numbered from 1")]
    NoAcceptor,
}
