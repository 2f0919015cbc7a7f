//! The feed that `demo` makes for itself: messages of the shapes and lengths of Nasdaq's ITCH 5.0.
//!
//! Orders are added, executed, cut, replaced and deleted in the proportions of a trading day, with
//! timestamps that grow. The same seed gives the same bytes.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::failure::Failure;
use crate::input::{Messages, Next};

/// Stocks that are traded.
const STOCKS: u16 = 50;
/// Orders that can be in the book at once; past it the oldest one is deleted.
const BOOK: usize = 10_000;
/// Half past nine, in nanoseconds since midnight.
const OPENING: u64 = (9 * 60 + 30) * 60 * 1_000_000_000;

/// An order in the book.
#[derive(Clone, Copy)]
struct Order {
    reference: u64,
    stock: u16,
    shares: u32,
    price: u32,
    buys: bool,
}

/// A seeded stream of ITCH-shaped messages.
pub(crate) struct Feed {
    rng: Pcg64Mcg,
    made: u64,
    count: u64,
    now: u64,
    references: u64,
    matches: u64,
    book: Vec<Order>,
}

impl Feed {
    /// `count` messages.
    pub(crate) fn new(seed: u64, count: u64) -> Self {
        Self {
            rng: Pcg64Mcg::seed_from_u64(seed),
            made: 0,
            count,
            now: OPENING - 60_000_000_000,
            references: 0,
            matches: 0,
            book: Vec::new(),
        }
    }

    /// The opening messages in their order, then trading, then the closing ones.
    fn make(&mut self, message: &mut Vec<u8>) {
        const DIRECTORY: u64 = 2;
        const HALTS: u64 = DIRECTORY + STOCKS as u64;
        const TRADING: u64 = HALTS + STOCKS as u64;
        let left = self.count - self.made;
        match self.made {
            0 => self.system(message, b'O'),
            _ if left == 1 => self.system(message, b'C'),
            _ if left == 2 => self.system(message, b'M'),
            1 => self.system(message, b'S'),
            made @ DIRECTORY..HALTS => self.directory(message, (made - DIRECTORY) as u16 + 1),
            made @ HALTS..TRADING => self.trading_action(message, (made - HALTS) as u16 + 1),
            TRADING => {
                self.now = OPENING;
                self.system(message, b'Q');
            }
            _ => self.trade(message),
        }
    }

    fn trade(&mut self, message: &mut Vec<u8>) {
        let kind = self.rng.random_range(0..1000);
        if kind < 440 || self.book.is_empty() {
            return self.add(message);
        }
        let at = match self.book.len() {
            BOOK => 0,
            len => self.rng.random_range(0..len),
        };
        match kind {
            _ if self.book.len() == BOOK => self.delete(message, at),
            440..820 => self.delete(message, at),
            820..900 => self.replace(message, at),
            900..945 => self.execute(message, at),
            945..960 => self.cancel(message, at),
            _ => self.hidden_trade(message),
        }
    }

    /// The beginning of every message: type, stock, tracking number, time.
    fn begin(&mut self, message: &mut Vec<u8>, kind: u8, stock: u16) {
        self.now += self.rng.random_range(200..100_000);
        message.push(kind);
        message.extend(stock.to_be_bytes());
        message.extend(0_u16.to_be_bytes());
        message.extend(&self.now.to_be_bytes()[2..]);
    }

    /// S: an event of the system, 12 bytes.
    fn system(&mut self, message: &mut Vec<u8>, event: u8) {
        self.begin(message, b'S', 0);
        message.push(event);
    }

    /// R: a stock, 39 bytes.
    fn directory(&mut self, message: &mut Vec<u8>, stock: u16) {
        self.begin(message, b'R', stock);
        message.extend(symbol(stock));
        message.extend(b"QN");
        message.extend(100_u32.to_be_bytes());
        message.extend(b"NCZ PNN1N");
        message.extend(0_u32.to_be_bytes());
        message.push(b'N');
    }

    /// H: a stock may be traded, 25 bytes.
    fn trading_action(&mut self, message: &mut Vec<u8>, stock: u16) {
        self.begin(message, b'H', stock);
        message.extend(symbol(stock));
        message.extend(b"T     ");
    }

    /// A: a new order, 36 bytes.
    fn add(&mut self, message: &mut Vec<u8>) {
        self.references += self.rng.random_range(1..8);
        let order = Order {
            reference: self.references,
            stock: self.rng.random_range(1..=STOCKS),
            shares: self.rng.random_range(1..=20) * 100,
            price: self.rng.random_range(100_000..5_000_000),
            buys: self.rng.random_bool(0.5),
        };
        self.book.push(order);
        self.begin(message, b'A', order.stock);
        message.extend(order.reference.to_be_bytes());
        message.push(if order.buys { b'B' } else { b'S' });
        message.extend(order.shares.to_be_bytes());
        message.extend(symbol(order.stock));
        message.extend(order.price.to_be_bytes());
    }

    /// D: an order is gone, 19 bytes.
    fn delete(&mut self, message: &mut Vec<u8>, at: usize) {
        let order = self.book.swap_remove(at);
        self.begin(message, b'D', order.stock);
        message.extend(order.reference.to_be_bytes());
    }

    /// U: an order takes the place of another, 35 bytes.
    fn replace(&mut self, message: &mut Vec<u8>, at: usize) {
        let old = self.book[at];
        self.references += 1;
        let price = old.price + self.rng.random_range(1..100);
        let new = Order { reference: self.references, price, ..old };
        self.book[at] = new;
        self.begin(message, b'U', old.stock);
        message.extend(old.reference.to_be_bytes());
        message.extend(new.reference.to_be_bytes());
        message.extend(new.shares.to_be_bytes());
        message.extend(new.price.to_be_bytes());
    }

    /// E: an order is executed, wholly or in part, 31 bytes.
    fn execute(&mut self, message: &mut Vec<u8>, at: usize) {
        let (order, shares) = self.take(at);
        self.matches += 1;
        self.begin(message, b'E', order.stock);
        message.extend(order.reference.to_be_bytes());
        message.extend(shares.to_be_bytes());
        message.extend(self.matches.to_be_bytes());
    }

    /// X: an order is cut, 23 bytes.
    fn cancel(&mut self, message: &mut Vec<u8>, at: usize) {
        let (order, shares) = self.take(at);
        self.begin(message, b'X', order.stock);
        message.extend(order.reference.to_be_bytes());
        message.extend(shares.to_be_bytes());
    }

    /// P: a trade with an order that the book does not show, 44 bytes.
    fn hidden_trade(&mut self, message: &mut Vec<u8>) {
        self.matches += 1;
        let stock = self.rng.random_range(1..=STOCKS);
        let shares = self.rng.random_range(1..=500_u32);
        let price = self.rng.random_range(100_000..5_000_000_u32);
        self.begin(message, b'P', stock);
        message.extend(0_u64.to_be_bytes());
        message.push(b'B');
        message.extend(shares.to_be_bytes());
        message.extend(symbol(stock));
        message.extend(price.to_be_bytes());
        message.extend(self.matches.to_be_bytes());
    }

    /// Takes some shares from an order, and the order from the book when none are left.
    fn take(&mut self, at: usize) -> (Order, u32) {
        let order = self.book[at];
        let shares = self.rng.random_range(1..=order.shares);
        if shares == order.shares {
            self.book.swap_remove(at);
        } else {
            self.book[at].shares -= shares;
        }
        (order, shares)
    }
}

impl Messages for Feed {
    fn next(&mut self, message: &mut Vec<u8>) -> Result<Next, Failure> {
        message.clear();
        if self.made == self.count {
            return Ok(Next::End);
        }
        self.make(message);
        self.made += 1;
        Ok(Next::Message)
    }
}

/// Eight bytes, padded with spaces.
fn symbol(stock: u16) -> [u8; 8] {
    let letter = |position: u16| b'A' + (stock / position % 26) as u8;
    [b'G', letter(26), letter(1), b'X', b' ', b' ', b' ', b' ']
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn messages(seed: u64, count: u64) -> Vec<Vec<u8>> {
        let mut feed = Feed::new(seed, count);
        let (mut messages, mut message) = (Vec::new(), Vec::new());
        while feed.next(&mut message).unwrap() == Next::Message {
            messages.push(message.clone());
        }
        messages
    }

    fn time(message: &[u8]) -> u64 {
        message[5..11].iter().fold(0, |time, byte| time << 8 | u64::from(*byte))
    }

    #[test]
    fn it_makes_exactly_as_many_messages_as_asked_for() {
        for count in [0, 1, 2, 3, 4, 102, 103, 104, 5_000] {
            assert_eq!(messages(1, count).len() as u64, count);
        }
    }

    #[test]
    fn each_type_has_its_length_and_all_occur() {
        let lengths = [
            (b'A', 36),
            (b'D', 19),
            (b'E', 31),
            (b'H', 25),
            (b'P', 44),
            (b'R', 39),
            (b'S', 12),
            (b'U', 35),
            (b'X', 23),
        ];
        let mut seen = BTreeMap::new();
        for message in messages(1, 50_000) {
            assert_eq!(*seen.entry(message[0]).or_insert(message.len()), message.len());
        }
        assert_eq!(seen, BTreeMap::from(lengths));
    }

    #[test]
    fn time_never_goes_back() {
        let messages = messages(1, 20_000);
        assert!(messages.is_sorted_by_key(|message| time(message)));
        assert!(time(&messages[200]) >= OPENING);
    }

    #[test]
    fn a_day_begins_and_ends_with_its_events() {
        let messages = messages(1, 1_000);
        assert_eq!([messages[0][0], messages[0][11]], *b"SO");
        assert_eq!([messages[999][0], messages[999][11]], *b"SC");
    }

    #[test]
    fn the_same_seed_makes_the_same_feed() {
        assert_eq!(messages(9, 2_000), messages(9, 2_000));
        assert_ne!(messages(9, 2_000), messages(10, 2_000));
    }
}
