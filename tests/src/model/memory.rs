//! The memory that a machine reports, against the counting allocator.

use crate::alloc;

/// Holds what a machine is charged against its limit, and against what it uses; of a cache without what is lent. Nothing
/// may wait.
///
/// # Panics
/// It is charged more than its limit; or, on 64-bit, less than it takes, or much more.
pub fn check_charged(charged: usize, used: usize, limit: usize) {
    assert!(charged <= limit, "{charged} bytes are charged where {limit} may be");
    if cfg!(target_pointer_width = "64") {
        assert!(used <= charged, "{used} bytes are used and {charged} charged");
        let most = used + used / 20 + (16 << 10);
        assert!(charged <= most, "{charged} bytes are charged and {used} used");
    }
}

/// The bytes that a machine has allocated. Watches only where `alloc::Counting` is installed.
#[derive(Clone, Copy, Debug)]
pub struct Ledger {
    allocated: isize,
    watches: bool,
}

impl Ledger {
    /// Nothing is allocated yet.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it looks at the thread's counters")]
    pub fn new() -> Self {
        let before = alloc::allocations();
        drop(std::hint::black_box(Box::new(0_u8)));
        Self { allocated: 0, watches: before != alloc::allocations() }
    }

    /// Does something of which every allocation is the machine's.
    pub fn during<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = alloc::live();
        let result = work();
        self.allocated += alloc::live() - before;
        result
    }

    /// The same, but for so many bytes that are not the machine's.
    #[must_use]
    pub fn without(self, bytes: usize) -> Self {
        Self { allocated: self.allocated - bytes as isize, ..self }
    }

    /// Holds `used` against the memory rule. Nothing outside may hold a slice of the machine's.
    ///
    /// # Panics
    /// The rule is broken.
    pub fn check(&self, used: usize, limit: usize) {
        assert!(used <= limit, "{used} bytes are used where {limit} may be");
        if self.watches {
            let allocated = usize::try_from(self.allocated).unwrap();
            assert!(allocated <= used, "{allocated} bytes are allocated and {used} reported");
            let most = allocated + allocated / 20 + (16 << 10);
            assert!(used <= most, "{used} bytes are reported and {allocated} allocated");
        }
    }
}
