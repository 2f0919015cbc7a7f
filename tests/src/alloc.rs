//! An allocator that counts, per thread, what is asked of it, so that tests can say how much a
//! machine holds and that a warm one allocates nothing.
//!
//! A test binary installs it: `#[global_allocator] static ALLOCATOR: Counting = Counting;`. Counters
//! belong to the thread, so tests that run side by side do not disturb each other.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNTERS: Counters = const {
        Counters { live: Cell::new(0), peak: Cell::new(0), allocations: Cell::new(0) }
    };
}

struct Counters {
    live: Cell<isize>,
    peak: Cell<isize>,
    allocations: Cell<u64>,
}

impl Counters {
    fn grew(&self, bytes: usize) {
        self.live.set(self.live.get() + bytes as isize);
        self.peak.set(self.peak.get().max(self.live.get()));
    }

    fn shrank(&self, bytes: usize) {
        self.live.set(self.live.get() - bytes as isize);
    }

    fn allocated(&self) {
        self.allocations.set(self.allocations.get() + 1);
    }
}

/// The system's allocator with counters.
#[derive(Clone, Copy, Debug)]
pub struct Counting;

// SAFETY: every call goes to `System` unchanged; the counters are plain cells without destructors,
// whose first use allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        let block = unsafe { System.alloc(layout) };
        if !block.is_null() {
            COUNTERS.with(|counters| {
                counters.allocated();
                counters.grew(layout.size());
            });
        }
        block
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        let block = unsafe { System.alloc_zeroed(layout) };
        if !block.is_null() {
            COUNTERS.with(|counters| {
                counters.allocated();
                counters.grew(layout.size());
            });
        }
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        let block = unsafe { System.realloc(block, layout, new_size) };
        if !block.is_null() {
            COUNTERS.with(|counters| {
                counters.allocated();
                counters.shrank(layout.size());
                counters.grew(new_size);
            });
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.dealloc(block, layout) };
        COUNTERS.with(|counters| counters.shrank(layout.size()));
    }
}

/// Bytes that this thread has allocated and not freed, as layouts asked for them. Negative when it
/// freed what others allocated.
#[must_use]
pub fn live() -> isize {
    COUNTERS.with(|counters| counters.live.get())
}

/// The most that [`live`] ever was.
#[must_use]
pub fn peak() -> isize {
    COUNTERS.with(|counters| counters.peak.get())
}

/// How often this thread allocated or grew a block.
#[must_use]
pub fn allocations() -> u64 {
    COUNTERS.with(|counters| counters.allocations.get())
}

/// Whether [`Counting`] is the global allocator.
#[must_use]
pub fn counts() -> bool {
    let before = allocations();
    drop(std::hint::black_box(Box::new(0_u8)));
    before != allocations()
}

/// The effect of some work on this thread's memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measured {
    /// Blocks allocated or grown.
    pub allocations: u64,
    /// Bytes that are live afterwards and were not before; negative when there are fewer.
    pub growth: isize,
    /// The most that was live meanwhile, above what was live before.
    pub peak: isize,
}

/// Runs a piece of work, and tells what it did to this thread's memory.
///
/// # Panics
/// When [`Counting`] is not the global allocator: nothing would ever be counted.
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, Measured) {
    assert!(counts(), "alloc::Counting is not the global allocator");
    let (live_before, peak_before, allocations_before) = (live(), peak(), allocations());
    COUNTERS.with(|counters| counters.peak.set(live_before));
    let result = work();
    let measured = Measured {
        allocations: allocations() - allocations_before,
        growth: live() - live_before,
        peak: peak() - live_before,
    };
    COUNTERS.with(|counters| counters.peak.set(counters.peak.get().max(peak_before)));
    (result, measured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn growth_peak_and_allocations_are_distinguished() {
        let (kept, measured) = measure(|| {
            drop(black_box(Vec::<u8>::with_capacity(1000)));
            black_box(Vec::<u8>::with_capacity(300))
        });
        assert_eq!(measured, Measured { allocations: 2, growth: 300, peak: 1000 });
        let ((), measured) = measure(|| drop(kept));
        assert_eq!(measured, Measured { allocations: 0, growth: -300, peak: 0 });
    }

    #[test]
    fn another_thread_is_not_counted_here() {
        let (sender, receiver) = std::sync::mpsc::sync_channel::<()>(0);
        let other = std::thread::spawn(move || {
            let () = receiver.recv().unwrap();
            measure(|| black_box(vec![1_u8; 4096])).1
        });
        let (elsewhere, here) = measure(|| {
            sender.send(()).unwrap();
            other.join().unwrap()
        });
        assert_eq!(elsewhere.growth, 4096);
        assert!(here.growth < 4096, "{here:?}");
    }

    #[test]
    fn a_block_that_grows_counts_its_difference() {
        let mut block = black_box(Vec::<u8>::with_capacity(100));
        let ((), measured) = measure(|| block.reserve_exact(250));
        assert_eq!((measured.allocations, measured.growth), (1, 150));
    }
}
