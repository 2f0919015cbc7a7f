//! The calls on streams that are open, and on a connection's datagrams.

use bytes::Bytes;
use quinn_proto::{FinishError, SendDatagramError, WriteError};

use super::link::Link;
use super::stream::Stream;
use super::{ConnectionId, Endpoint, Refusal, StreamId, code_of};

impl Endpoint {
    /// Writes the front of `bytes` to a stream, as much as may wait to be acknowledged; what is left of
    /// them was not taken, and [`Event::Writable`](super::Event::Writable) says when more may be
    /// written. How many bytes were taken.
    ///
    /// The bytes are not copied. What waits is bounded by the connection's send buffer (see
    /// [`Transport`](super::Transport)) and by the windows that the peer gives to the stream and to the
    /// connection.
    ///
    /// # Errors
    /// [`Refusal::UnknownStream`], [`Refusal::UnknownConnection`]; [`Refusal::Stopped`] where that was not
    /// told yet.
    pub fn write(&mut self, stream: StreamId, bytes: &mut Bytes) -> Result<usize, Refusal> {
        let (link, inner) = self.sending(stream)?;
        if !link.write_head(inner) {
            return Ok(0);
        }
        let mut written = 0;
        while !bytes.is_empty() {
            match link.inner.send_stream(inner).write_chunks(std::slice::from_mut(bytes)) {
                Ok(taken) => written += taken.bytes,
                Err(WriteError::Blocked) => break,
                Err(WriteError::Stopped(code)) => {
                    return Err(Refusal::Stopped { code: code.into_inner() });
                }
                Err(WriteError::ClosedStream) => return Err(Refusal::UnknownStream),
            }
        }
        let number = stream.number;
        if let Some(known) = link.streams.get_mut(&number) {
            link.credit.wrote(number, &mut known.ticket, written, !bytes.is_empty());
        }
        if written > 0 {
            let (charged, released) = (link.charged(), link.fits_send_buffer());
            self.pool.release(charged, released);
            if released > 0 {
                self.feed();
            }
        }
        self.mark_dirty(stream.connection.slot);
        Ok(written)
    }

    /// Writes what must come before anything else on a stream; what cannot be taken now goes by itself,
    /// before what is written later.
    pub(crate) fn write_head(&mut self, stream: StreamId, head: Bytes) -> Result<(), Refusal> {
        self.stream(stream)?.head = head;
        let (link, inner) = self.sending(stream)?;
        link.write_head(inner);
        self.mark_dirty(stream.connection.slot);
        Ok(())
    }

    /// Ends the sending direction of a stream: [`Event::Finished`](super::Event::Finished) says when
    /// all of it has arrived.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn finish(&mut self, stream: StreamId) -> Result<(), Refusal> {
        let (link, inner) = self.sending(stream)?;
        if !link.write_head(inner) {
            link.finish_after_head(stream.number);
            return Ok(());
        }
        let finished = link.inner.send_stream(inner).finish();
        link.wants_no_credit(stream.number);
        self.mark_dirty(stream.connection.slot);
        finished.map_err(|error| match error {
            FinishError::Stopped(code) => Refusal::Stopped { code: code.into_inner() },
            FinishError::ClosedStream => Refusal::UnknownStream,
        })
    }

    /// Breaks off the sending direction of a stream: what the peer has not taken yet is lost.
    ///
    /// # Errors
    /// As [`write`](Self::write); [`Refusal::BadCode`].
    pub fn reset(&mut self, stream: StreamId, code: u64) -> Result<(), Refusal> {
        let code = code_of(code)?;
        let (link, inner) = self.sending(stream)?;
        // It is refused only where it was reset before.
        let _ = link.inner.send_stream(inner).reset(code);
        link.end_sending(stream.number);
        self.mark_dirty(stream.connection.slot);
        Ok(())
    }

    /// Wants no more of what comes on a stream, and tells the peer so (STOP_SENDING). Nothing more is
    /// told of that direction.
    ///
    /// # Errors
    /// [`Refusal::UnknownStream`], [`Refusal::UnknownConnection`], [`Refusal::BadCode`].
    pub fn stop(&mut self, stream: StreamId, code: u64) -> Result<(), Refusal> {
        let code = code_of(code)?;
        let link = self.link(stream.connection)?;
        let known = link.streams.get_mut(&stream.number).filter(|known| known.receives);
        let (Some(known), Some(inner)) = (known, stream.inner()) else {
            return Err(Refusal::UnknownStream);
        };
        known.stop_receiving();
        // It is refused only where everything had come already.
        let _ = link.inner.recv_stream(inner).stop(code);
        link.note_if_over(stream.number);
        self.mark_dirty(stream.connection.slot);
        Ok(())
    }

    /// Lets what comes on a stream wait: nothing of it is reported, and once the windows are full the peer
    /// cannot send more. But that the peer breaks it off is reported all the same, and at once.
    ///
    /// # Errors
    /// [`Refusal::UnknownStream`], [`Refusal::UnknownConnection`].
    pub fn pause(&mut self, stream: StreamId) -> Result<(), Refusal> {
        self.stream(stream)?.is_paused = true;
        self.look_for_reset(stream)
    }

    /// Reports what comes on a stream again, unless [`Tagged`](crate::Tagged) lets it wait for its acceptor.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub fn resume(&mut self, stream: StreamId) -> Result<(), Refusal> {
        self.stream(stream)?.is_paused = false;
        self.link(stream.connection)?.queue(stream.number);
        self.mark_dirty(stream.connection.slot);
        Ok(())
    }

    /// Lets what comes on a stream wait since its owner wants nothing now, whether it is paused or not.
    pub(crate) fn hold(&mut self, stream: StreamId) -> Result<(), Refusal> {
        self.stream(stream)?.is_held = true;
        self.look_for_reset(stream)
    }

    /// Lets what comes on a stream wait for an owner: until it is released its end is not reported either,
    /// though both of its directions may be over.
    pub(crate) fn keep(&mut self, stream: StreamId) -> Result<(), Refusal> {
        let known = self.stream(stream)?;
        (known.is_held, known.is_kept) = (true, true);
        self.look_for_reset(stream)
    }

    /// Reports what comes on a stream again that was held or kept, unless it is paused, too.
    pub(crate) fn release(&mut self, stream: StreamId) -> Result<(), Refusal> {
        let known = self.stream(stream)?;
        known.is_held = false;
        let was_kept = std::mem::take(&mut known.is_kept);
        let link = self.link(stream.connection)?;
        link.queue(stream.number);
        if was_kept {
            link.note_if_over(stream.number);
        }
        self.mark_dirty(stream.connection.slot);
        Ok(())
    }

    /// Sets the owner of a stream: a number that all its events carry, so that its
    /// events find their way without a look-up. It is 0 before.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub fn set_owner(&mut self, stream: StreamId, owner: u64) -> Result<(), Refusal> {
        self.stream(stream)?.owner = owner;
        Ok(())
    }

    /// Sends an unreliable datagram (RFC 9221): it arrives once or never, whole. What waits to be sent is
    /// bounded ([`Transport::datagrams`](super::Transport)).
    ///
    /// # Errors
    /// [`Refusal::UnknownConnection`], [`Refusal::TooLarge`]; [`Refusal::Blocked`], and
    /// [`Event::DatagramsWritable`](super::Event::DatagramsWritable) says when more may be sent.
    pub fn send_datagram(&mut self, connection: ConnectionId, bytes: Bytes) -> Result<(), Refusal> {
        let given = bytes.len();
        let are_some = self.config.transport.datagrams > 0;
        let link = self.link(connection)?;
        let sent = link.inner.datagrams().send(bytes, false);
        let most = link.inner.datagrams().max_size().filter(|_| are_some).unwrap_or(0);
        let sent = sent.map_err(|error| match error {
            SendDatagramError::Blocked(_) => Refusal::Blocked,
            _ => Refusal::TooLarge { given, most },
        });
        link.wants_datagrams |= sent == Err(Refusal::Blocked);
        self.mark_dirty(connection.slot);
        sent
    }

    /// Whether it was opened by this side (RFC 9000 §2.1).
    pub(crate) fn opened_here(&self, stream: StreamId) -> bool {
        let link = self.links.get(stream.connection.slot as usize).and_then(Option::as_deref);
        link.is_some_and(|link| link.is_client == (stream.number & 1 == 1))
    }

    /// Data that came before a stream waits may say already that it was broken off.
    fn look_for_reset(&mut self, stream: StreamId) -> Result<(), Refusal> {
        let link = self.link(stream.connection)?;
        if let Some(inner) = stream.inner() {
            if let Some(known) = link.streams.get_mut(&stream.number) {
                known.hold_by_itself();
            }
            link.look_for_reset(inner);
            self.mark_dirty(stream.connection.slot);
        }
        Ok(())
    }

    fn stream(&mut self, stream: StreamId) -> Result<&mut Stream, Refusal> {
        let link = self.link(stream.connection)?;
        link.streams.get_mut(&stream.number).ok_or(Refusal::UnknownStream)
    }

    /// A stream that can be written to.
    fn sending(&mut self, stream: StreamId) -> Result<(&mut Link, quinn_proto::StreamId), Refusal> {
        let link = self.link(stream.connection)?;
        let is_open = link.streams.get(&stream.number).is_some_and(|known| known.sends);
        let inner = stream.inner().filter(|_| is_open).ok_or(Refusal::UnknownStream)?;
        Ok((link, inner))
    }
}
