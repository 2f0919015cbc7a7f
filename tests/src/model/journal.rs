//! Hostile journals: whatever the bytes, a replay ends in an error that says where, or has replayed
//! what is whole, and takes no more memory than its machines may and one block.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use gapless_core::cache::Cache;
use gapless_core::demux::Demux;
use gapless_core::journal::replayer::{Ending, Error, Observer, Place, ReplayStep};
use gapless_core::journal::{Digest, HEADER_LEN, MAGIC, MAX_PAYLOAD, Replayer, VERSION};
use gapless_core::publisher::Publisher;
use gapless_core::receiver::Receiver;
use gapless_core::retransmitter::Retransmitter;
use gapless_core::transmitter::Transmitter;

use crate::alloc;

/// The memory that all machines of a replay may take.
const MOST_BYTES: usize = 16 << 20;

/// Replays a journal. The first byte of the input says how, the others are the journal:
///
/// * 1: what gives away that somebody made it up is mended first: beginnings, lengths, numbers and
///   checksums of blocks, kinds and lengths of records;
/// * 2: it is replayed whatever the digests say;
/// * 4: everything that happens is printed.
///
/// # Panics
/// The replay does what it must not, or `alloc::Counting` is not installed.
pub fn check(input: &[u8]) {
    let Some((how, journal)) = input.split_first() else { return };
    let journal = if how & 1 == 0 { journal.to_vec() } else { mended(journal) };
    let mut observer = Printer { prints: how & 4 != 0, printed: 0 };
    let mut replayer = replayer(how & 2 != 0);
    let (result, measured) = alloc::measure(|| replayer.replay(&journal[..], &mut observer));
    let most = MOST_BYTES + MAX_PAYLOAD + 16 * journal.len() + 4096;
    assert!(measured.peak <= most as isize, "{measured:?} where {most} may be");
    match result {
        Ok(Ending { bytes, torn }) => {
            assert_eq!(bytes + torn as u64, journal.len() as u64);
            if torn > 0 {
                is_whole_without_tail(&journal[..bytes as usize], &replayer, how & 2 != 0);
            }
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            match error {
                Error::At { offset, .. } => assert!(offset <= journal.len() as u64, "{error}"),
                Error::Source(never) => match never {},
            }
        }
    }
}

fn replayer(lenient: bool) -> Replayer<'static> {
    let replayer = if lenient { Replayer::lenient() } else { Replayer::verifying() };
    let replayer = replayer.at_most(MOST_BYTES).knowing::<Receiver>().knowing::<Publisher>();
    let replayer = replayer.knowing::<Transmitter>().knowing::<Retransmitter>();
    replayer.knowing::<Cache>().knowing::<Demux>()
}

/// The whole part of a torn journal is a journal that does the same.
fn is_whole_without_tail(whole: &[u8], torn: &Replayer<'_>, lenient: bool) {
    let mut again = replayer(lenient);
    let ending = again.replay(whole, &mut ());
    assert_eq!(ending, Ok(Ending { bytes: whole.len() as u64, torn: 0 }));
    let (one, other) = (torn.machines(), again.machines());
    let record =
        |machine: gapless_core::journal::replayer::Replayed<'_>| (machine.place, machine.digest);
    assert!(one.map(record).eq(other.map(record)));
}

/// The bytes as blocks of records, with right checksums.
fn mended(journal: &[u8]) -> Vec<u8> {
    let mut journal = journal.to_vec();
    let mut numbers = BTreeMap::<[u8; 2], u32>::new();
    let mut rest = &mut journal[..];
    while rest.len() > HEADER_LEN {
        let (header, behind) = rest.split_at_mut(HEADER_LEN);
        let claimed = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
        let len = (claimed as usize).clamp(1, behind.len().min(MAX_PAYLOAD));
        let (records, behind) = behind.split_at_mut(len);
        mend_records(records);
        let number = numbers.entry([header[6], header[7]]).or_default();
        header[..4].copy_from_slice(&MAGIC);
        if !(1..=VERSION).contains(&u16::from_le_bytes([header[4], header[5]])) {
            header[4..6].copy_from_slice(&VERSION.to_le_bytes());
        }
        header[8..12].copy_from_slice(&number.to_le_bytes());
        header[12..16].copy_from_slice(&(len as u32).to_le_bytes());
        *number += 1;
        let mut checksum = Digest::new();
        checksum.update(&header[..16]);
        checksum.update(records);
        header[16..].copy_from_slice(&checksum.value().to_le_bytes());
        rest = behind;
    }
    journal
}

/// Gives records kinds that there are, and lengths that fit; the last takes what is left over.
fn mend_records(mut records: &mut [u8]) {
    while let Some((head, behind)) = records.split_first_chunk_mut::<5>() {
        head[0] %= 7;
        let claimed = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let len = if behind.len().saturating_sub(claimed) < 5 { behind.len() } else { claimed };
        head[1..].copy_from_slice(&(len as u32).to_le_bytes());
        records = &mut behind[len..];
    }
}

/// Reads everything that happens, as one who prints it would.
struct Printer {
    prints: bool,
    printed: usize,
}

impl Observer for Printer {
    fn happens(&mut self, place: Place, happening: ReplayStep<'_>) {
        if self.prints {
            write!(self, "{place} {happening:?}").expect("it takes everything");
        }
    }
}

impl Write for Printer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.printed += text.len();
        Ok(())
    }
}
