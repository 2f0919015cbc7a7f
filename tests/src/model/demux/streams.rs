//! Streams as a driver sees them: what their peers wrote, how much of it came, and what the commands of
//! the demultiplexer made of them. It knows nothing of registrations, and judges what acceptors get.

use std::collections::BTreeMap;

use gapless_core::demux::{
    AcceptorId, Command, FIN_IN_PREAMBLE, NO_ACCEPTOR, PeerId, StreamId, Tag,
};

/// The bytes that a peer writes on a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    bytes: Vec<u8>,
    /// Bytes of its preamble, where it has a whole one.
    preamble: Option<usize>,
}

impl Written {
    /// A preamble and a payload.
    ///
    /// # Panics
    /// When there can be no such tag.
    #[must_use]
    pub fn new(tag: &[u8], payload: &[u8]) -> Self {
        assert!(!tag.is_empty(), "tags have a byte");
        let length = u8::try_from(tag.len()).expect("a tag of at most 255 bytes");
        let bytes = [&[length], tag, payload].concat();
        Self { bytes, preamble: Some(1 + tag.len()) }
    }

    /// A length of zero, and whatever follows.
    #[must_use]
    pub fn without_tag(payload: &[u8]) -> Self {
        Self { bytes: [&[0], payload].concat(), preamble: None }
    }

    /// The first bytes of it, and no more.
    #[must_use]
    pub fn cut(mut self, len: usize) -> Self {
        self.bytes.truncate(len);
        self.preamble = self.preamble.filter(|&preamble| preamble <= self.bytes.len());
        self
    }

    /// Bytes of its preamble, where it has a whole one.
    #[must_use]
    pub const fn preamble_len(&self) -> Option<usize> {
        self.preamble
    }

    /// Its tag, where it has a whole one.
    #[must_use]
    pub fn tag(&self) -> &[u8] {
        self.preamble.map_or(&[], |preamble| &self.bytes[1..preamble])
    }

    /// All of it, in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing is written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// How a stream went otherwise than by being refused or read to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Its peer reset it.
    Reset,
    /// It was closed.
    Closed,
    /// Its peer went.
    PeerGone,
}

/// The fate of a stream so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is read: the demultiplexer gets what comes.
    Read,
    /// It is not read: it waits for its acceptor.
    Held,
    /// An acceptor has it.
    Dispatched(AcceptorId),
    /// It was refused with this code.
    Refused(u64),
    /// It is no more.
    Gone(End),
}

/// A stream.
#[derive(Clone, Debug)]
pub struct Stream {
    written: Written,
    /// How much of it came, and whether its end did.
    came: usize,
    has_ended: bool,
    fate: Fate,
    /// The reports to its acceptor: its tag, the payload so far, and the end.
    tag: Option<Tag>,
    payload: Vec<u8>,
    is_at_end: bool,
    /// Whether its acceptor was notified that it is closed.
    is_closed: bool,
}

impl Stream {
    /// Its fate.
    #[must_use]
    pub const fn fate(&self) -> Fate {
        self.fate
    }

    /// How much of it came.
    #[must_use]
    pub const fn came(&self) -> usize {
        self.came
    }

    /// Whether more of it can come.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !self.has_ended && !matches!(self.fate, Fate::Refused(_) | Fate::Gone(_))
    }

    /// Whether its end was told to its acceptor, or it ended otherwise.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_at_end || matches!(self.fate, Fate::Refused(_) | Fate::Gone(_))
    }

    /// The bytes that its peer writes.
    #[must_use]
    pub const fn written(&self) -> &Written {
        &self.written
    }

    /// Its tag, as its acceptor was told.
    #[must_use]
    pub fn tag(&self) -> &[u8] {
        self.tag.as_deref().unwrap_or_default()
    }

    /// The payload that its acceptor was given.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The exact payload, as far as it came, and its end: what an acceptor must have.
    fn judge(&self, id: StreamId) {
        if let (Fate::Dispatched(_), Some(preamble)) = (self.fate, self.written.preamble) {
            let payload = &self.written.bytes[preamble..self.came];
            assert!(self.payload == payload, "{id:?} has another payload");
            assert_eq!(self.is_at_end, self.has_ended, "the end of {id:?}");
        }
    }
}

/// The part of a stream of one event, to be given to the demultiplexer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Came<'a> {
    /// Bytes that came before.
    pub offset: usize,
    /// The bytes.
    pub bytes: &'a [u8],
    /// Whether the stream ends behind them.
    pub fin: bool,
}

/// The streams of a driver.
#[derive(Clone, Default, Debug)]
pub struct Streams {
    all: BTreeMap<StreamId, Stream>,
    /// In the order in which they were opened.
    order: Vec<StreamId>,
    /// The stream that the last command dispatched: its data may follow.
    dispatched: Option<StreamId>,
}

impl Streams {
    /// A peer opens a stream; nothing of it came.
    pub fn open(&mut self, id: StreamId, written: Written) {
        let stream = Stream {
            written,
            came: 0,
            has_ended: false,
            fate: Fate::Read,
            tag: None,
            payload: Vec::new(),
            is_at_end: false,
            is_closed: false,
        };
        assert!(self.all.insert(id, stream).is_none(), "{id:?} comes again");
        self.order.push(id);
    }

    /// A stream.
    ///
    /// # Panics
    /// When no peer opened it.
    #[must_use]
    pub fn get(&self, id: StreamId) -> &Stream {
        self.all.get(&id).unwrap_or_else(|| panic!("nobody opened {id:?}"))
    }

    fn get_mut(&mut self, id: StreamId) -> &mut Stream {
        self.all.get_mut(&id).unwrap_or_else(|| panic!("nobody opened {id:?}"))
    }

    /// All of them, in the order in which they were opened.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (StreamId, &Stream)> {
        self.order.iter().map(|&id| (id, self.get(id)))
    }

    /// The next bytes of a stream, at most so many, come; behind the last, its end, if wanted. What comes
    /// of a dispatched stream goes to its acceptor; what is returned, to the demultiplexer.
    pub fn come(&mut self, id: StreamId, most: usize, ends: bool) -> Option<Came<'_>> {
        let stream = self.all.get_mut(&id).filter(|stream| stream.is_open())?;
        if stream.fate == Fate::Held {
            return None;
        }
        let offset = stream.came;
        stream.came = stream.written.len().min(offset.saturating_add(most));
        stream.has_ended = ends && stream.came == stream.written.len();
        let bytes = &stream.written.bytes[offset..stream.came];
        if let Fate::Dispatched(_) = stream.fate {
            stream.payload.extend_from_slice(bytes);
            stream.is_at_end = stream.has_ended;
            return None;
        }
        Some(Came { offset, bytes, fin: stream.has_ended })
    }

    /// Its peer writes no more on a stream than what came.
    pub fn cut_short(&mut self, id: StreamId) {
        let stream = self.get_mut(id);
        let written = stream.written.clone();
        // Its preamble stays known where it was told.
        if stream.is_open() && stream.fate != Fate::Held {
            stream.written = written.cut(stream.came);
        }
    }

    /// A stream is no more.
    pub fn end(&mut self, id: StreamId, end: End) {
        let stream = self.get_mut(id);
        if !matches!(stream.fate, Fate::Refused(_) | Fate::Gone(_)) {
            stream.fate = Fate::Gone(end);
        }
    }

    /// All streams of a peer are no more.
    pub fn end_all_of(&mut self, peer: PeerId) {
        let ids: Vec<_> = self.order.iter().copied().filter(|id| id.peer == peer).collect();
        ids.into_iter().for_each(|id| self.end(id, End::PeerGone));
    }

    /// Does what a command says, and judges whether it may say so: a stream is dispatched once, with its
    /// own tag and what came of it; what was refused or is no more is never spoken of again.
    ///
    /// # Panics
    /// It may not.
    pub fn execute(&mut self, command: &Command) {
        let dispatched = self.dispatched.take();
        match command {
            Command::Dispatch { stream: id, acceptor, tag } => {
                let stream = self.get_mut(*id);
                assert!(matches!(stream.fate, Fate::Read | Fate::Held), "{id:?}: {stream:?}");
                let preamble = stream.written.preamble.expect("a whole preamble");
                assert_eq!(**tag, stream.written.bytes[1..preamble], "the tag of {id:?}");
                assert!(stream.came >= preamble, "{id:?} is dispatched before its preamble came");
                (stream.fate, stream.tag) = (Fate::Dispatched(*acceptor), Some(tag.clone()));
                self.dispatched = Some(*id);
            }
            Command::Data { stream: id, acceptor, bytes, fin } => {
                assert_eq!(dispatched, Some(*id), "data that does not follow its opening");
                assert!(*fin || !bytes.is_empty(), "{id:?}: an event of nothing");
                let stream = self.get_mut(*id);
                assert_eq!(stream.fate, Fate::Dispatched(*acceptor), "{id:?}");
                stream.payload.extend_from_slice(bytes);
                stream.is_at_end = *fin;
            }
            Command::Hold { stream: id } => {
                let stream = self.get_mut(*id);
                assert_eq!(stream.fate, Fate::Read, "{id:?} is held");
                let preamble = stream.written.preamble.expect("a whole preamble");
                assert!(stream.came >= preamble, "{id:?} is held before its preamble came");
                stream.fate = Fate::Held;
            }
            Command::Refuse { stream: id, code } => {
                let stream = self.get_mut(*id);
                match stream.fate {
                    Fate::Read | Fate::Held => {
                        let is_short = *code == FIN_IN_PREAMBLE;
                        let preamble = stream.written.preamble;
                        let is_cut = preamble.is_none_or(|preamble| stream.came < preamble);
                        assert!(!is_short || is_cut && stream.has_ended, "{id:?}: {stream:?}");
                    }
                    Fate::Dispatched(_) if stream.is_closed => assert_eq!(*code, NO_ACCEPTOR),
                    _ => panic!("{id:?} is refused with {code:#x}: {stream:?}"),
                }
                stream.fate = Fate::Refused(*code);
            }
            Command::Closed { stream: id, acceptor } => {
                let stream = self.get_mut(*id);
                assert_eq!(stream.fate, Fate::Dispatched(*acceptor), "{id:?} is closed");
                assert!(!stream.is_closed, "{id:?} is closed twice");
                stream.is_closed = true;
            }
            Command::Answer(_) | Command::Write { .. } => {}
        }
    }

    /// Judges what the acceptor of a stream was given, once all commands are executed.
    ///
    /// # Panics
    /// It is not what came.
    pub fn judge(&self, id: StreamId) {
        self.get(id).judge(id);
    }

    /// Judges all of them.
    ///
    /// # Panics
    /// An acceptor was given something else than what came.
    pub fn judge_all(&self) {
        self.all.iter().for_each(|(&id, stream)| stream.judge(id));
    }
}
