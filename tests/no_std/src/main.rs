//! The core in a program without `std`: its own panic handler (which `std` would bring a second time,
//! and not link), an allocator that only goes forward, and one packet received. Exits with 0 when the
//! message came out.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

use gapless_core::receiver::{Command, Config, LineId, Receiver, Source};
use gapless_core::wire::mold::Messages;
use gapless_core::{Instant, Machine};

const ARENA_LEN: usize = 64 << 20;

/// Gives out an arena from front to back and takes nothing back.
struct Forward {
    arena: core::cell::UnsafeCell<[u8; ARENA_LEN]>,
    used: AtomicUsize,
}

// SAFETY: `used` only grows, so no two callers are given the same bytes.
unsafe impl Sync for Forward {}

// SAFETY: blocks lie within the arena, are aligned as asked, and never overlap.
unsafe impl GlobalAlloc for Forward {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let room = layout.size() + layout.align();
        let start = self.used.fetch_add(room, Ordering::Relaxed);
        if start.saturating_add(room) > ARENA_LEN {
            return null_mut();
        }
        // SAFETY: `start + room` lies within the arena, and aligning takes less than `align`.
        unsafe {
            let block = self.arena.get().cast::<u8>().add(start);
            block.add(block.align_offset(layout.align()))
        }
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Forward =
    Forward { arena: core::cell::UnsafeCell::new([0; ARENA_LEN]), used: AtomicUsize::new(0) };

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(101)
}

/// The personality that the tables of the precompiled core name; nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[link(name = "c")]
unsafe extern "C" {
    safe fn exit(code: i32) -> !;
}

/// The entry that the C library's start-up code calls.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    i32::from(!receives_a_packet())
}

fn receives_a_packet() -> bool {
    let config = Config { lines: vec![LineId(0)], believe_after: 1, ..Config::default() };
    let Ok(mut receiver) = Receiver::new(config) else { return false };
    let packet = b"NOSTD     \0\0\0\0\0\0\0\x01\0\x01\0\x05hello";
    let now = Instant::from_millis(1);
    let mut received = receiver
        .receive(now, Source::Line(LineId(0)), packet)
        .is_some_and(|batch| is_hello(batch.messages()));
    while let Some(command) = receiver.poll_command() {
        if let Command::Batch(batch) = command {
            received |= is_hello(batch.messages());
        }
    }
    received
}

fn is_hello(messages: Messages<'_>) -> bool {
    messages.eq([(1, &b"hello"[..])])
}
