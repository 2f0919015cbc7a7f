//! A receiver in an `io_uring` loop: reads are under way at all times, requests are written through
//! the ring, waiting ends when the receiver wants to be called. Says so where there is no `io_uring`.
//!
//! ```console
//! $ cargo run -p gapless-tests --example io_uring_loop
//! received 10000 of 10000 messages: 1252 repaired, 0 lost, 0 wrong, session ended
//! ```

mod shared;

use std::error::Error;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::{Duration, Instant as SystemTime};

use gapless_core::receiver::{Command, Config, LineId, Receiver, ServerId, Source};
use gapless_core::wire::mold::HEADER_LEN;
use gapless_core::{Instant, Machine};
use io_uring::types::{Fd, SubmitArgs};
use io_uring::{IoUring, opcode, squeue::Entry};
use shared::{Consumer, Feed, PATIENCE};

/// The longest that the loop waits, so that it looks whether to go on.
const TICK: Duration = Duration::from_millis(100);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Some(mut ring) = IoUring::new(64).ok().filter(|r| r.params().is_feature_ext_arg()) else {
        println!("skipped: this kernel allows no io_uring, or none with timeouts");
        return Ok(ExitCode::SUCCESS);
    };
    let line = UdpSocket::bind("127.0.0.1:0")?;
    let requests = UdpSocket::bind("127.0.0.1:0")?;
    let feed = Feed::start(line.local_addr()?)?;
    // With one server a connected socket does: what is read from it can only come from there.
    requests.connect(feed.requests)?;
    let mut receiver = Receiver::new(Config {
        lines: vec![LineId(0)],
        servers: vec![(ServerId(0), feed.requests)],
        ..Config::default()
    })?;

    let origin = SystemTime::now();
    let now = || Instant::from_nanos(origin.elapsed().as_nanos() as u64);
    let mut consumer = Consumer::default();
    // The kernel may write into these buffers for as long as the ring lives: they are never freed.
    let mut reads = [(&line, Source::Line(LineId(0))), (&requests, Source::Peer(feed.requests))]
        .map(|(socket, source)| (socket, source, vec![0; 65_536].leak()));
    for (index, (socket, _, buffer)) in reads.iter_mut().enumerate() {
        push(&mut ring, read(socket, buffer, index))?;
    }
    while !consumer.has_ended() && origin.elapsed() < PATIENCE {
        let wait = receiver.poll_timeout().map_or(TICK, |at| at.since(now()).min(TICK)).into();
        match ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&wait)) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR)) => {}
            result => drop(result?),
        }
        if ring.completion().is_empty() {
            // Only when nothing was read: what lies in a socket must not be given up.
            receiver.handle_timeout(now())?;
            drain(&mut receiver, &requests, &mut ring, &mut consumer)?;
        }
        while let Some(done) = { ring.completion().next() } {
            let index = done.user_data() as usize;
            let Some((socket, source, buffer)) = reads.get_mut(index) else {
                // SAFETY: `drain` made the address out of a box; the kernel is done with it.
                drop(unsafe { Box::from_raw(index as *mut [u8; HEADER_LEN]) });
                continue;
            };
            // A negative number is an error, such as a refused connection: nothing came.
            if let Ok(len) = usize::try_from(done.result()) {
                if let Some(batch) = receiver.receive(now(), *source, &buffer[..len]) {
                    consumer.batch(&batch);
                }
                drain(&mut receiver, &requests, &mut ring, &mut consumer)?;
            }
            push(&mut ring, read(socket, buffer, index))?;
        }
    }
    Ok(consumer.verdict())
}

fn read(socket: &UdpSocket, buffer: &mut [u8], index: usize) -> Entry {
    let recv = opcode::Recv::new(Fd(socket.as_raw_fd()), buffer.as_mut_ptr(), buffer.len() as u32);
    recv.build().user_data(index as u64)
}

/// Takes the receiver's commands until there are none, as must be after every event.
fn drain(
    receiver: &mut Receiver,
    requests: &UdpSocket,
    ring: &mut IoUring,
    consumer: &mut Consumer,
) -> io::Result<()> {
    while let Some(command) = receiver.poll_command() {
        match command {
            Command::Batch(batch) => consumer.batch(&batch),
            Command::Request { request, .. } => {
                // Lives until its completion, which tells its address.
                let bytes = Box::into_raw(Box::new(request.to_bytes()));
                let fd = Fd(requests.as_raw_fd());
                let send = opcode::Send::new(fd, bytes.cast(), HEADER_LEN as u32).build();
                push(ring, send.user_data(bytes as u64))?;
            }
            notice => consumer.notice(&notice),
        }
    }
    Ok(())
}

/// Puts an entry on the ring; what is full is handed to the kernel first.
fn push(ring: &mut IoUring, entry: Entry) -> io::Result<()> {
    // SAFETY: the buffers of entries outlive them, and nobody looks at one before its completion.
    while unsafe { ring.submission().push(&entry) }.is_err() {
        ring.submit()?;
    }
    Ok(())
}
