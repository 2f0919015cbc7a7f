//! The bytes that were written to every stream of a world, as its writers say, so that its readers can be
//! checked. Contents follow from the stream's name: nobody has to keep them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use gapless_tests::sim::Random;

/// A direction of a stream in the world: its connection's label, its number, and whether the connection's
/// client is who writes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Flow {
    pub(crate) label: u64,
    pub(crate) number: u64,
    pub(crate) by_client: bool,
}

impl Flow {
    fn key(self) -> u64 {
        let name = [self.label, self.number, self.by_client.into()];
        name.iter().fold(0, |key, part| Random::new(key ^ part).any())
    }

    fn word(key: u64, index: u64) -> [u8; 8] {
        Random::new(key.wrapping_add(index)).any().to_le_bytes()
    }

    /// The byte at an offset.
    pub(crate) fn contents(self, offset: u64, len: usize) -> Bytes {
        let key = self.key();
        let mut bytes = Vec::with_capacity(len + 16);
        for index in offset / 8..=(offset + len as u64) / 8 {
            bytes.extend_from_slice(&Self::word(key, index));
        }
        let skipped = (offset % 8) as usize;
        Bytes::from(bytes).slice(skipped..skipped + len)
    }
}

/// How a direction was ended by who writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    Fin,
    Reset(u64),
}

/// The state of a direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// Bytes that the writer's transport took.
    pub(crate) written: u64,
    /// The ways in which the writer ended it; a FIN may be followed by a reset.
    pub(crate) ends: Vec<End>,
    /// The code of the reader when it did not want more.
    pub(crate) stopped: Option<u64>,
    /// The end that was reported to the reader.
    pub(crate) read: u64,
    pub(crate) reported: Option<End>,
}

/// The book of a world; copies are the same book.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book(Rc<RefCell<BTreeMap<Flow, Entry>>>);

impl Book {
    pub(crate) fn note<T>(&self, flow: Flow, note: impl FnOnce(&mut Entry) -> T) -> T {
        note(self.0.borrow_mut().entry(flow).or_default())
    }

    /// The state of a direction.
    pub(crate) fn entry(&self, flow: Flow) -> Entry {
        self.0.borrow()[&flow].clone()
    }

    /// The states of all of them.
    pub(crate) fn entries(&self) -> BTreeMap<Flow, Entry> {
        self.0.borrow().clone()
    }

    /// Everything that was written was reported, and ended by a FIN.
    ///
    /// # Panics
    /// When that is not so.
    pub(crate) fn assert_all_arrived(&self) {
        for (flow, entry) in self.0.borrow().iter() {
            assert_eq!(entry.ends, [End::Fin], "{flow:?}");
            assert_eq!((entry.read, entry.reported), (entry.written, Some(End::Fin)), "{flow:?}");
        }
    }
}
