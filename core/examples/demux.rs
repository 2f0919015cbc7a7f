//! Two applications on one connection: streams find them by the tag at their head.
//!
//! A transport gives the demultiplexer what comes on streams, in whatever pieces, and carries out its commands;
//! here the transport is a list of pieces.
//!
//! `cargo run -p gapless-core --example demux`

use core::error::Error;

use bytes::Bytes;
use gapless_core::demux::{
    AcceptorId, Command, Config, Demux, Pattern, PeerId, Registrant, StreamId,
};
use gapless_core::{Instant, Machine};

const CHAT: AcceptorId = AcceptorId(1);
const FILES: AcceptorId = AcceptorId(2);

fn main() -> Result<(), Box<dyn Error>> {
    let now = Instant::ZERO;
    let mut demux = Demux::new(Config::default())?;
    demux.register(now, CHAT, Pattern::Exact(b"chat"), Registrant::Application)?;
    demux.register(now, FILES, Pattern::Prefix(b"files/"), Registrant::Application)?;

    // The length of the tag, the tag, and what is for the acceptor: in one piece, in many, and for nobody.
    let pieces: [(u64, u64, &[u8], bool); 5] = [
        (0, 0, b"\x04chathello", false),
        (4, 0, b"\x09fil", false),
        (4, 4, b"es/one", false),
        (4, 10, b"content", true),
        (8, 0, b"\x05other?", true),
    ];
    for (number, offset, bytes, fin) in pieces {
        let stream = StreamId { peer: PeerId(1), number };
        let bytes = Bytes::from_static(bytes);
        let pinned = bytes.len();
        // What was dispatched is the acceptor's: its bytes pass the demultiplexer by.
        if number == 4 && offset == 10 {
            println!("{stream}: {bytes:?} goes straight to its acceptor");
            continue;
        }
        demux.data(now, stream, offset, bytes, pinned, fin)?;
        while let Some(command) = demux.poll_command() {
            match command {
                Command::Dispatch { stream, acceptor, tag } => {
                    println!("{stream}: {acceptor} takes it, by {tag:?}");
                }
                Command::Data { bytes, fin, .. } => println!("  {bytes:?}, the end: {fin}"),
                Command::Refuse { stream, code } => println!("{stream}: refused with code {code}"),
                other => println!("{other:?}"),
            }
        }
    }

    // An acceptor that pauses is given nothing more; its streams are held, and their peers feel it.
    demux.pause(now, CHAT);
    let stream = StreamId { peer: PeerId(1), number: 12 };
    demux.data(now, stream, 0, Bytes::from_static(b"\x04chatwait"), 9, false)?;
    assert_eq!(demux.poll_command(), Some(Command::Hold { stream }));
    demux.resume(now, CHAT);
    while let Some(command) = demux.poll_command() {
        println!("{command:?}");
    }
    println!("{:?}", demux.stats());
    Ok(())
}
