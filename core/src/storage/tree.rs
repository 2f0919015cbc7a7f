//! Sorted things in places of their own: a balanced tree (AVL) whose links lie in the things, so that
//! nothing is allocated, and looking up, adding and taking out cost O(log n).

use core::cmp::Ordering;
use core::marker::PhantomData;

use super::slab::NONE;

/// More than the height of a tree of 2^32 things.
const HEIGHT: usize = 48;

/// A thing's place in one tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Links {
    /// The subtrees of what comes before, and after.
    down: [u32; 2],
    height: u8,
}

impl Default for Links {
    /// The links of a thing in no tree.
    fn default() -> Self {
        Self { down: [NONE; 2], height: 0 }
    }
}

/// A collection of things that are sorted in one way, `By`, and their order, which is total: no two things are
/// equal.
pub(crate) trait Sorted<By> {
    fn links(&self, at: u32) -> Links;
    fn set_links(&mut self, at: u32, links: Links);
    /// How one thing compares to another.
    fn order(&self, one: u32, other: u32) -> Ordering;
}

/// Implements [`Sorted`] for the things of a slab: by a key, and by their places where keys are equal.
macro_rules! sorted {
    ($by:ident, $thing:ty, $links:ident, |$of:ident| $key:expr) => {
        /// A way to sort.
        #[derive(Clone, Copy, Debug)]
        pub(super) enum $by {}

        impl<G: Copy + Default> $crate::storage::tree::Sorted<$by>
            for $crate::storage::slab::Slab<$thing, G>
        {
            fn links(&self, at: u32) -> $crate::storage::tree::Links {
                self.get(at).map(|thing| thing.$links).unwrap_or_default()
            }

            fn set_links(&mut self, at: u32, links: $crate::storage::tree::Links) {
                if let Some(thing) = self.get_mut(at) {
                    thing.$links = links;
                }
            }

            fn order(&self, one: u32, other: u32) -> core::cmp::Ordering {
                let key = |at| self.get(at).map(|$of| $key);
                key(one).cmp(&key(other)).then(one.cmp(&other))
            }
        }
    };
}
pub(crate) use sorted;

/// The way from the root to a thing: which things, and to which side from each.
struct Path {
    steps: [(u32, bool); HEIGHT],
    len: usize,
}

impl Path {
    const fn new() -> Self {
        Self { steps: [(NONE, false); HEIGHT], len: 0 }
    }

    fn push(&mut self, at: u32, after: bool) {
        self.steps[self.len] = (at, after);
        self.len += 1;
    }

    /// The step before one.
    fn above(&self, step: usize) -> Option<(u32, bool)> {
        step.checked_sub(1).map(|above| self.steps[above])
    }
}

/// A tree: only its root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree<By> {
    root: u32,
    by: PhantomData<By>,
}

impl<By> Default for Tree<By> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<By> Tree<By> {
    pub(crate) const EMPTY: Self = Self { root: NONE, by: PhantomData };

    /// The thing that `order` finds: it says how a thing compares to what is looked for.
    pub(crate) fn find(
        &self,
        things: &impl Sorted<By>,
        order: impl Fn(u32) -> Ordering,
    ) -> Option<u32> {
        let mut at = self.root;
        while at != NONE {
            at = match order(at) {
                Ordering::Equal => return Some(at),
                ordering => things.links(at).down[usize::from(ordering == Ordering::Less)],
            };
        }
        None
    }

    /// The first thing that does not come before what is looked for.
    pub(crate) fn at_or_after(
        &self,
        things: &impl Sorted<By>,
        order: impl Fn(u32) -> Ordering,
    ) -> Option<u32> {
        self.outermost(things, false, |at| order(at) != Ordering::Less)
    }

    /// The last thing that does not come behind what is looked for.
    pub(crate) fn at_or_before(
        &self,
        things: &impl Sorted<By>,
        order: impl Fn(u32) -> Ordering,
    ) -> Option<u32> {
        self.outermost(things, true, |at| order(at) != Ordering::Greater)
    }

    /// The thing before all others, or behind them.
    pub(crate) fn end(&self, things: &impl Sorted<By>, last: bool) -> Option<u32> {
        self.outermost(things, last, |_| true)
    }

    pub(crate) fn first(&self, things: &impl Sorted<By>) -> Option<u32> {
        self.end(things, false)
    }

    pub(crate) fn last(&self, things: &impl Sorted<By>) -> Option<u32> {
        self.end(things, true)
    }

    /// The first or last of the things that are `within`, which no thing beyond them is.
    fn outermost(
        &self,
        things: &impl Sorted<By>,
        last: bool,
        within: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let (mut at, mut found) = (self.root, None);
        while at != NONE {
            let is_within = within(at);
            if is_within {
                found = Some(at);
            }
            at = things.links(at).down[usize::from(is_within == last)];
        }
        found
    }

    /// Adds a thing that is in no tree of this kind.
    pub(crate) fn insert(&mut self, things: &mut impl Sorted<By>, at: u32) {
        things.set_links(at, Links { down: [NONE; 2], height: 1 });
        let mut path = Path::new();
        let mut next = self.root;
        while next != NONE {
            let after = things.order(at, next) != Ordering::Less;
            path.push(next, after);
            next = things.links(next).down[usize::from(after)];
        }
        self.hang(things, path.above(path.len), at);
        self.balance(things, &path);
    }

    /// Takes a thing out that is in this tree.
    pub(crate) fn remove(&mut self, things: &mut impl Sorted<By>, at: u32) {
        let mut path = Path::new();
        let mut next = self.root;
        while next != at {
            if next == NONE {
                return;
            }
            let after = things.order(at, next) == Ordering::Greater;
            path.push(next, after);
            next = things.links(next).down[usize::from(after)];
        }
        let links = things.links(at);
        let [before, after] = links.down;
        if before == NONE || after == NONE {
            let heir = if before == NONE { after } else { before };
            self.hang(things, path.above(path.len), heir);
        } else {
            // The thing right behind it takes its place.
            let place = path.len;
            path.push(NONE, true);
            let mut heir = after;
            while things.links(heir).down[0] != NONE {
                path.push(heir, false);
                heir = things.links(heir).down[0];
            }
            let orphan = things.links(heir).down[1];
            path.steps[place].0 = heir;
            things.set_links(heir, links);
            self.hang(things, path.above(place), heir);
            self.hang(things, path.above(path.len), orphan);
        }
        self.balance(things, &path);
        things.set_links(at, Links::default());
    }

    /// Takes all things out, each of them given to `each`, in the order in which they are sorted: O(n).
    pub(crate) fn clear<S: Sorted<By>>(
        &mut self,
        things: &mut S,
        mut each: impl FnMut(&mut S, u32),
    ) {
        let mut top = core::mem::replace(&mut self.root, NONE);
        while top != NONE {
            let [before, after] = things.links(top).down;
            if before == NONE {
                things.set_links(top, Links::default());
                each(things, top);
                top = after;
            } else {
                // The thing before it is turned up, once for each thing: heights mean nothing any more.
                let inner = things.links(before).down[1];
                hang_below(things, top, 0, inner);
                hang_below(things, before, 1, top);
                top = before;
            }
        }
    }

    /// Hangs a thing where a path led from the thing above, or makes it the root.
    fn hang(&mut self, things: &mut impl Sorted<By>, above: Option<(u32, bool)>, at: u32) {
        match above {
            Some((above, after)) => hang_below(things, above, usize::from(after), at),
            None => self.root = at,
        }
    }

    /// Makes heights right along a path, from its end to the root.
    fn balance(&mut self, things: &mut impl Sorted<By>, path: &Path) {
        for len in (0..path.len).rev() {
            let at = path.steps[len].0;
            let before = things.links(at).height;
            let top = settle(things, at);
            if top != at {
                self.hang(things, path.above(len), top);
            } else if things.links(at).height == before {
                break;
            }
        }
    }
}

fn height<By>(things: &impl Sorted<By>, at: u32) -> u8 {
    if at == NONE { 0 } else { things.links(at).height }
}

fn measure<By>(things: &mut impl Sorted<By>, at: u32) {
    let [before, after] = things.links(at).down;
    let most = height(things, before).max(height(things, after));
    let down = [before, after];
    things.set_links(at, Links { down, height: most + 1 });
}

fn hang_below<By>(things: &mut impl Sorted<By>, above: u32, side: usize, at: u32) {
    let mut links = things.links(above);
    links.down[side] = at;
    things.set_links(above, links);
}

/// Makes the height of a thing right, and turns what hangs from it when one side is two higher than the
/// other; what is in its place then.
fn settle<By>(things: &mut impl Sorted<By>, at: u32) -> u32 {
    let [before, after] = things.links(at).down;
    let (left, right) = (height(things, before), height(things, after));
    let heavy = match (left, right) {
        (left, right) if left > right + 1 => 0,
        (left, right) if right > left + 1 => 1,
        _ => {
            measure(things, at);
            return at;
        }
    };
    let child = things.links(at).down[heavy];
    let inner = things.links(child).down[1 - heavy];
    let outer = things.links(child).down[heavy];
    if height(things, inner) > height(things, outer) {
        let turned = turn(things, child, 1 - heavy);
        hang_below(things, at, heavy, turned);
    }
    turn(things, at, heavy)
}

/// Turns a thing down, and what hangs at `side` of it up.
fn turn<By>(things: &mut impl Sorted<By>, at: u32, side: usize) -> u32 {
    let up = things.links(at).down[side];
    let inner = things.links(up).down[1 - side];
    hang_below(things, at, side, inner);
    measure(things, at);
    hang_below(things, up, 1 - side, at);
    measure(things, up);
    up
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    struct Things(Vec<(u64, Links)>);

    impl Sorted<u64> for Things {
        fn links(&self, at: u32) -> Links {
            self.0[at as usize].1
        }

        fn set_links(&mut self, at: u32, links: Links) {
            self.0[at as usize].1 = links;
        }

        fn order(&self, one: u32, other: u32) -> Ordering {
            self.0[one as usize].0.cmp(&self.0[other as usize].0)
        }
    }

    /// The height, after checking that the tree is sorted and balanced below a thing.
    fn check(things: &Things, at: u32, range: core::ops::Range<u64>, count: &mut usize) -> u8 {
        if at == NONE {
            return 0;
        }
        let (key, Links { down: [before, after], height }) = things.0[at as usize];
        assert!(range.contains(&key));
        *count += 1;
        let left = check(things, before, range.start..key, count);
        let right = check(things, after, key + 1..range.end, count);
        assert!(left.abs_diff(right) <= 1, "unbalanced at {key}");
        assert_eq!(height, left.max(right) + 1);
        height
    }

    fn agree(tree: &Tree<u64>, things: &Things, model: &BTreeMap<u64, u32>) {
        let mut count = 0;
        check(things, tree.root, 0..u64::MAX, &mut count);
        assert_eq!(count, model.len());
        assert_eq!(tree.first(things), model.values().next().copied());
        assert_eq!(tree.last(things), model.values().next_back().copied());
    }

    #[test]
    fn it_agrees_with_a_sorted_map() {
        let mut random = 1_u64;
        for round in 0..40 {
            let mut things = Things(Vec::new());
            let (mut tree, mut model) = (Tree::EMPTY, BTreeMap::new());
            for step in 0..300_u64 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let key = match round % 4 {
                    0 => step,
                    1 => 1000 - step,
                    _ => (random >> 33) % 500,
                };
                let by = |things: &Things, at: u32| things.0[at as usize].0.cmp(&key);
                let next = model.range(key..).next().map(|(_, &at)| at);
                assert_eq!(tree.at_or_after(&things, |at| by(&things, at)), next);
                let last = model.range(..=key).next_back().map(|(_, &at)| at);
                assert_eq!(tree.at_or_before(&things, |at| by(&things, at)), last);
                assert_eq!(tree.find(&things, |at| by(&things, at)), model.get(&key).copied());
                if let Some(at) = model.remove(&key) {
                    tree.remove(&mut things, at);
                } else {
                    let at = things.0.len() as u32;
                    things.0.push((key, Links::default()));
                    tree.insert(&mut things, at);
                    model.insert(key, at);
                }
                if random >> 60 == 0 {
                    let Some((_, at)) = model.pop_first() else { continue };
                    tree.remove(&mut things, at);
                }
                agree(&tree, &things, &model);
            }
            let mut cleared = Vec::new();
            tree.clear(&mut things, |_, at| cleared.push(at));
            assert_eq!(cleared, model.into_values().collect::<Vec<_>>());
            assert_eq!(tree.first(&things), None);
        }
    }
}
