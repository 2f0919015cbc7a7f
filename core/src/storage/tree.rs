//! Sorted things in places of their own: a balanced tree (AVL) whose links lie in the things, so that
//! nothing is allocated, and looking up, adding and taking out cost O(log n).

use core::cmp::Ordering;
use core::marker::PhantomData;

use super::slab::NONE;

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

/// Implements [`Sorted`] for the things of a slab, or of a named collection: by a key, and by place where keys
/// are equal.
macro_rules! sorted {
    ($by:ident, $thing:ty, $links:ident, |$of:ident| $key:expr $(, for $k:ident)?) => {
        $crate::storage::tree::sorted!(
            [$($k: Ord + Copy + Default,)? G: Copy + Default]
            $by, $crate::storage::slab::Slab<$thing, G>, $links, |$of| $key
        );
    };
    ([$($generics:tt)*] $by:ident, $things:ty, $links:ident, |$of:ident| $key:expr) => {
        /// A way to sort.
        #[derive(Clone, Copy, Debug)]
        pub(super) enum $by {}

        impl<$($generics)*> $crate::storage::tree::Sorted<$by> for $things {
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
        self.at_or_after(things, &order).filter(|&at| order(at) == Ordering::Equal)
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
        (self.root, _) = insert_below(things, self.root, at);
    }

    /// Takes a thing out that is in this tree.
    pub(crate) fn remove(&mut self, things: &mut impl Sorted<By>, at: u32) {
        (self.root, _) = remove_below(things, self.root, at);
        things.set_links(at, Links::default());
    }

    /// Takes all things out, each of them given to `each`, in the order in which they are sorted: O(n).
    pub(crate) fn clear<S: Sorted<By>>(
        &mut self,
        things: &mut S,
        mut each: impl FnMut(&mut S, u32),
    ) {
        let root = core::mem::replace(&mut self.root, NONE);
        clear_below(things, root, &mut each);
    }
}

/// Takes all things of the subtree of `top` out.
fn clear_below<By, S: Sorted<By>>(things: &mut S, top: u32, each: &mut impl FnMut(&mut S, u32)) {
    if top != NONE {
        let [before, after] = things.links(top).down;
        clear_below(things, before, each);
        things.set_links(top, Links::default());
        each(things, top);
        clear_below(things, after, each);
    }
}

/// What is in the place of a subtree's top after a change, and whether the subtree is another, or of another
/// height, than before.
type Changed = (u32, bool);

/// Adds a thing to the subtree of `top`, which is at most 48 high.
fn insert_below<By>(things: &mut impl Sorted<By>, top: u32, at: u32) -> Changed {
    if top == NONE {
        return (at, true);
    }
    let side = usize::from(things.order(at, top) != Ordering::Less);
    let below = things.links(top).down[side];
    let changed = insert_below(things, below, at);
    change_below(things, top, side, changed)
}

/// Takes a thing out of the subtree of `top`.
fn remove_below<By>(things: &mut impl Sorted<By>, top: u32, at: u32) -> Changed {
    if top == NONE {
        debug_assert!(false, "a thing that is not in this tree");
        return (NONE, false);
    }
    let [before, after] = things.links(top).down;
    if top == at {
        if before == NONE || after == NONE {
            return (if before == NONE { after } else { before }, true);
        }
        // The thing right behind it takes its place.
        let (first, rest) = remove_first(things, after);
        things.set_links(first, Links { down: [before, rest], height: 0 });
        return settle(things, first);
    }
    let side = usize::from(things.order(at, top) == Ordering::Greater);
    let changed = remove_below(things, [before, after][side], at);
    change_below(things, top, side, changed)
}

/// Hangs below a thing what is there now. Above what did not change nothing does.
fn change_below<By>(
    things: &mut impl Sorted<By>,
    top: u32,
    side: usize,
    (below, is_changed): Changed,
) -> Changed {
    if !is_changed {
        return (top, false);
    }
    hang_below(things, top, side, below);
    settle(things, top)
}

/// Takes the first thing out of the subtree of `top`: it, and what is in the place of `top` then.
fn remove_first<By>(things: &mut impl Sorted<By>, top: u32) -> (u32, u32) {
    let [before, after] = things.links(top).down;
    if before == NONE {
        return (top, after);
    }
    let (first, rest) = remove_first(things, before);
    hang_below(things, top, 0, rest);
    (first, settle(things, top).0)
}

fn height<By>(things: &impl Sorted<By>, at: u32) -> u8 {
    if at == NONE { 0 } else { things.links(at).height }
}

fn measure<By>(things: &mut impl Sorted<By>, at: u32) {
    let down = things.links(at).down;
    let most = height(things, down[0]).max(height(things, down[1]));
    things.set_links(at, Links { down, height: most + 1 });
}

fn hang_below<By>(things: &mut impl Sorted<By>, above: u32, side: usize, at: u32) {
    let mut links = things.links(above);
    links.down[side] = at;
    things.set_links(above, links);
}

/// Makes the height of a thing right, and turns what hangs from it when one side is two higher than the
/// other; what is in its place then.
fn settle<By>(things: &mut impl Sorted<By>, at: u32) -> Changed {
    let Links { down, height: before } = things.links(at);
    let heights = down.map(|below| height(things, below));
    if heights[0].abs_diff(heights[1]) <= 1 {
        let height = heights[0].max(heights[1]) + 1;
        things.set_links(at, Links { down, height });
        return (at, height != before);
    }
    let heavy = usize::from(heights[1] > heights[0]);
    let child = down[heavy];
    let below = things.links(child).down.map(|below| height(things, below));
    if below[1 - heavy] > below[heavy] {
        let turned = turn(things, child, 1 - heavy);
        hang_below(things, at, heavy, turned);
    }
    (turn(things, at, heavy), true)
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
        assert_eq!(tree.end(things, true), model.values().next_back().copied());
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
