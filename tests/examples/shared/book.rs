//! Somebody else's code, which knows nothing of this workspace: an order book over messages like those
//! of ITCH, and an exchange's trading that makes such messages.

use std::collections::BTreeMap;

/// An open order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Order {
    buys: bool,
    shares: u32,
    price: u32,
}

/// Open orders by their number. Trusts that no message is missed: without an order's addition its
/// execution is a panic, and without an execution the book is wrong for ever.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Book {
    orders: BTreeMap<u32, Order>,
}

impl Book {
    /// Takes a message: `A`, order, `B` or `S`, shares, price; or `E`, order, executed shares.
    pub(crate) fn apply(&mut self, message: &[u8]) {
        let number = |at| u32::from_be_bytes(message[at..at + 4].try_into().expect("four bytes"));
        let id = number(1);
        match message[0] {
            b'A' => {
                let order =
                    Order { buys: message[5] == b'B', shares: number(6), price: number(10) };
                assert_eq!(self.orders.insert(id, order), None, "order {id} is added twice");
            }
            b'E' => {
                let order = self.orders.get_mut(&id).expect("executed after it was added");
                order.shares -= number(5);
                if order.shares == 0 {
                    self.orders.remove(&id);
                }
            }
            kind => panic!("no message is of kind {kind}"),
        }
    }

    /// The next event of the market: most often an order is added, else an open one is executed,
    /// in part or whole. `dice` gives any number.
    pub(crate) fn next_message(&self, id: u32, mut dice: impl FnMut() -> u64) -> Vec<u8> {
        let roll = dice();
        let mut below = |limit: u32| (dice() % u64::from(limit)) as u32;
        let open = self.orders.range(below(id.max(1))..).next();
        match open.filter(|_| roll % 5 < 2) {
            Some((open, order)) => {
                let executed = 1 + below(order.shares);
                [b"E", &open.to_be_bytes()[..], &executed.to_be_bytes()].concat()
            }
            None => {
                let (side, price) =
                    if roll.is_multiple_of(2) { (b"B", 9_000) } else { (b"S", 10_000) };
                let (shares, price) = (1 + below(1_000), price + below(1_000));
                let [shares, price] = [shares, price].map(u32::to_be_bytes);
                [b"A", &id.to_be_bytes()[..], side, &shares, &price].concat()
            }
        }
    }
}
