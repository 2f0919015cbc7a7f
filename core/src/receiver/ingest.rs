//! The intake of a packet into a session's space: planned first, with room made for just that, then
//! delivered, held, or dropped to be fetched again.

use super::config::Delivery;
use super::event::Origin;
use super::space::Space;
use super::store::{End, Extent, Payload, Store};
use crate::Instant;
use crate::wire::mold::Messages;

/// Consecutive messages of one datagram, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    /// The messages that are wanted. The bytes behind the last are padding, and not kept.
    pub(super) extent: Extent,
    /// Number of the message that the extent's offset belongs to.
    pub(super) base: u64,
    /// When it is taken in, by the core's time.
    now: Instant,
}

impl Incoming {
    pub(super) const fn new(extent: Extent, now: Instant) -> Self {
        Self { extent, base: extent.first, now }
    }

    fn cursor(&self) -> Cursor {
        Cursor { sequence: self.base, offset: self.extent.offset }
    }
}

/// How the messages of a packet that are next in order leave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Exit {
    /// They do not: delivery has halted, or another session comes first.
    Held,
    /// In this drain.
    Drain,
    /// The first piece at once, out of a borrowed datagram; the others in this drain.
    Direct,
}

/// The outcome of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ingested {
    /// Messages that were not there before.
    pub(super) fresh: u64,
    /// The messages that are returned to the caller at once, out of a borrowed datagram.
    pub(super) direct: Option<Extent>,
    /// The first message that is held with other bytes, and who brought those.
    pub(super) contradiction: Option<(u64, Origin)>,
    /// Pieces that were dropped, to be asked for later, for want of memory, and packets for want of gaps.
    pub(super) dropped_for_memory: u64,
    pub(super) dropped_for_gaps: u64,
}

/// The new messages of a packet, before they are taken.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// The first number that is not settled.
    first: u64,
    /// Missing ranges that it fills.
    inside: usize,
    /// The first number past everything tracked, if it gets there.
    above: Option<u64>,
    /// A gap opens below that number.
    opens_gap: bool,
    /// It brings all of its messages, in one piece.
    whole: bool,
    exit: Exit,
}

impl Plan {
    /// How many pieces.
    fn pieces(&self) -> usize {
        self.inside + usize::from(self.above.is_some())
    }

    /// Returns true if messages in order leave in this drain.
    fn passes(&self) -> bool {
        self.exit != Exit::Held
    }
}

/// Takes a packet into the space at `index`: what it brings is delivered, held, or dropped to be fetched again.
pub(super) fn ingest(
    spaces: &mut [Space; 2],
    index: usize,
    store: &mut Store,
    mut packet: Incoming,
    payload: Payload<'_>,
    exit: Exit,
) -> Ingested {
    let mut ingested = Ingested::default();
    let plan = loop {
        let space = &mut spaces[index];
        if packet.extent.last <= space.settled {
            return ingested;
        }
        let plan = space.plan(&packet, exit);
        if plan.pieces() == 0 {
            ingested.contradiction = space.contradiction(store, &packet, &payload, plan.first);
            return ingested;
        }
        if plan.opens_gap && space.gaps.is_full() {
            space.highest_known = space.highest_known.max(packet.extent.last);
            ingested.dropped_for_gaps += 1;
            return ingested;
        }
        let pieces = plan.pieces() - usize::from(plan.exit == Exit::Direct);
        let len = packet.extent.end - packet.extent.offset;
        if pieces == 0 || store.reserve(&payload, len, pieces, plan.whole, plan.passes()) {
            break plan;
        }
        ingested.dropped_for_memory += 1;
        if !evict_further(spaces, index, store, plan.first) {
            let space = &mut spaces[index];
            space.highest_known = space.highest_known.max(packet.extent.last);
            let range = space.gaps.at_or_after(plan.first);
            let piece = range.map_or(packet.extent.last, |range| range.last);
            if !plan.passes() || piece >= packet.extent.last {
                return ingested;
            }
            // Messages in order leave at once: the first piece at least; the rest is asked for later.
            packet.extent.last = piece;
            packet.extent.end = packet.cursor().find(payload.bytes(), plan.first, piece).1;
        }
    };
    let space = &mut spaces[index];
    if !plan.whole {
        ingested.contradiction = space.contradiction(store, &packet, &payload, plan.first);
    }
    space.take_in(store, &packet, payload, &plan, &mut ingested);
    ingested
}

/// Drops something that is held further out than `first` of the space at `index`; `false` when there is
/// nothing.
fn evict_further(spaces: &mut [Space; 2], index: usize, store: &mut Store, first: u64) -> bool {
    let Some(furthest) = (0..2).rev().find(|&index| !spaces[index].held.is_empty()) else {
        return false;
    };
    let space = &mut spaces[furthest];
    let further = space.held.furthest(store).is_some_and(|piece| piece > first);
    let evicts = furthest > index || (furthest == index && further);
    if evicts && let Some(first) = space.held.drop_furthest(store) {
        space.evict_from(first);
    }
    evicts
}

impl Space {
    fn plan(&self, packet: &Incoming, exit: Exit) -> Plan {
        let first = packet.extent.first.max(self.settled.saturating_add(1));
        let missing = self.gaps.missing();
        let inside_last = packet.extent.last.min(self.tracked);
        let inside = missing.ranges_from(first).take_while(|range| range.first <= inside_last);
        let inside = inside.count();
        let above = (packet.extent.last > self.tracked).then(|| first.max(self.tracked + 1));
        let opens_gap = above.is_some_and(|above| above > self.tracked + 1);
        let lowest_missing = missing.first().map(|range| range.first);
        let ahead = opens_gap || lowest_missing.is_some_and(|lowest| lowest < first);
        let ahead = ahead && self.rules.delivery == Delivery::Ordered;
        // Of an unknown server's packet only the part is taken that was asked for.
        let whole = packet.extent.origin != Origin::Unknown
            && match above {
                Some(above) => above == packet.extent.first,
                None => missing
                    .find(packet.extent.first)
                    .is_some_and(|range| range.last >= packet.extent.last),
            };
        let exit = if ahead { Exit::Held } else { exit };
        Plan { first, inside, above, opens_gap, whole, exit }
    }

    /// Compares what a packet brings from `first` on with what is held of it.
    fn contradiction(
        &mut self,
        store: &Store,
        packet: &Incoming,
        payload: &Payload<'_>,
        first: u64,
    ) -> Option<(u64, Origin)> {
        if self.held.last().is_none_or(|held| held < first) {
            return None;
        }
        let (offset, end) = packet.cursor().find(payload.bytes(), first, packet.extent.last);
        let count = u16::try_from(packet.extent.last - first + 1).unwrap_or(u16::MAX);
        let messages = Messages::new(first, count, payload.bytes().get(offset..end)?);
        self.held.contradiction(store, messages)
    }

    fn take_in(
        &mut self,
        store: &mut Store,
        packet: &Incoming,
        mut payload: Payload<'_>,
        plan: &Plan,
        ingested: &mut Ingested,
    ) {
        let delivery = self.rules.delivery;
        let by_line = matches!(packet.extent.origin, Origin::Line(_));
        let mut cursor = packet.cursor();
        let mut pieces = plan.pieces();
        if pieces > 1 {
            payload.will_be_shared();
        }
        let mut payload = Some(payload);
        let mut evicted: Option<u64> = None;
        let Self { gaps, held, ready, .. } = self;
        let mut keep = |first: u64, last: u64, repaired: bool| {
            pieces -= 1;
            let Some(whole) = payload.as_ref() else { return };
            let (offset, end) = cursor.find(whole.bytes(), first, last);
            let extent = Extent { first, last, offset, end, repaired, ..packet.extent };
            if plan.exit == Exit::Direct && ingested.direct.is_none() {
                ingested.fresh += last - first + 1;
                ingested.direct = Some(extent);
                return;
            }
            let part = if pieces == 0 { payload.take() } else { payload.clone() };
            let Some(part) = part else { return };
            if evicted.is_some() {
                return;
            }
            let kept = match delivery {
                Delivery::Ordered => held.insert(store, part, &extent, plan.passes()),
                Delivery::Arrival => store.keep(part, &extent, plan.passes(), ready, End::Back),
            };
            if kept.is_some() {
                ingested.fresh += last - first + 1;
            } else {
                // Room was reserved, so this does not happen; if it did, the far end would be asked for again.
                debug_assert!(false, "no room for a piece at {first}");
                ingested.dropped_for_memory += 1;
                evicted = Some(first);
            }
        };
        if plan.inside > 0 {
            let last = packet.extent.last.min(self.tracked);
            let filled = gaps.fill(packet.now, plan.first, last, by_line, |f, l| keep(f, l, true));
            if filled.is_err() {
                ingested.dropped_for_gaps += 1;
                return;
            }
        }
        if let Some(above) = plan.above {
            let opened =
                !plan.opens_gap || gaps.open(packet.now, self.tracked + 1, above - 1).is_ok();
            if opened {
                self.tracked = packet.extent.last;
                keep(above, packet.extent.last, !by_line);
            }
            self.highest_known = self.highest_known.max(packet.extent.last);
        }
        if let Some(first) = evicted {
            self.evict_behind(first - 1, store);
        }
        match (delivery, ingested.direct) {
            (Delivery::Arrival, _) => self.settle(),
            (Delivery::Ordered, Some(extent)) => self.settled = extent.last,
            (Delivery::Ordered, None) => {}
        }
    }
}

/// Goes forward over the messages of a packet.
struct Cursor {
    sequence: u64,
    offset: usize,
}

impl Cursor {
    /// The beginning and end of the messages `first..=last`. Later calls ask for later messages.
    fn find(&mut self, bytes: &[u8], first: u64, last: u64) -> (usize, usize) {
        self.skip(bytes, first - self.sequence);
        let offset = self.offset;
        self.skip(bytes, last - first + 1);
        (offset, self.offset)
    }

    fn skip(&mut self, bytes: &[u8], count: u64) {
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        let rest = bytes.get(self.offset..).unwrap_or_default();
        self.offset += Messages::new(self.sequence, count, rest).pass(count).len();
        self.sequence = self.sequence.wrapping_add(u64::from(count));
    }
}
