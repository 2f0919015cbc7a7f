//! The loop to compare with: `recvmmsg` into slots, the check, the walk, and nothing else.
#![allow(unsafe_code)]

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::ptr;

use gapless_core::wire::mold::Packet;

use crate::feed::Tally;

/// As many datagrams a system call as the driver reads.
const BATCH: usize = 64;
/// Room for one Ethernet frame each.
const SLOT: usize = 2_048;
/// Room for an arrival time and its header: 32 bytes, aligned.
type Control = [u64; 4];

pub(crate) struct BareLoop {
    pub(crate) socket: UdpSocket,
    slots: Vec<u8>,
    /// Point into `slots`.
    _iovecs: Vec<libc::iovec>,
    /// Where the kernel leaves arrival times, if it is asked to.
    _controls: Vec<Control>,
    /// Point to iovecs and controls.
    headers: Vec<libc::mmsghdr>,
    kernel_times: bool,
}

impl BareLoop {
    /// With `kernel_times` it has the kernel tell when datagrams arrived, and does not look.
    pub(crate) fn new(socket: UdpSocket, kernel_times: bool) -> Self {
        if kernel_times {
            enable_kernel_times(&socket);
        }
        let mut slots = vec![0; BATCH * SLOT];
        let base = slots.as_mut_ptr();
        let mut iovecs: Vec<libc::iovec> = (0..BATCH)
            .map(|i| libc::iovec { iov_base: base.wrapping_add(i * SLOT).cast(), iov_len: SLOT })
            .collect();
        let mut controls = vec![[0; 4]; BATCH];
        let headers = (0..BATCH)
            .map(|i| {
                // SAFETY: a message header is made of integers and pointers, which may all be zero.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                header.msg_hdr.msg_iov = iovecs.as_mut_ptr().wrapping_add(i);
                header.msg_hdr.msg_iovlen = 1;
                if kernel_times {
                    header.msg_hdr.msg_control = controls.as_mut_ptr().wrapping_add(i).cast();
                }
                header
            })
            .collect();
        Self { socket, slots, _iovecs: iovecs, _controls: controls, headers, kernel_times }
    }

    /// Reads once what is there, and walks over it. Returns how many datagrams that were.
    pub(crate) fn turn(&mut self, tally: &mut Tally) -> usize {
        if self.kernel_times {
            for header in &mut self.headers {
                header.msg_hdr.msg_controllen = size_of::<Control>() as _;
            }
        }
        // SAFETY: the headers are BATCH valid ones, and what they point to are heap buffers of this
        // struct that are never resized, borrowed mutably for the time of the call.
        let count = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{error}");
            return 0;
        };
        for (header, slot) in self.headers[..count].iter().zip(self.slots.chunks_exact(SLOT)) {
            if let Ok(packet) = Packet::new_checked(&slot[..header.msg_len as usize]) {
                tally.add(packet.messages());
            }
        }
        count
    }
}

fn enable_kernel_times(socket: &UdpSocket) {
    let on: libc::c_int = 1;
    // SAFETY: the option is an `int`, which lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}
