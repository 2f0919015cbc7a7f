//! Every machine, held to the contract on random events: of any configuration, given what knows of nothing, or what
//! fits what went before; recorded and replayed.

use arbitrary::{Arbitrary, Result, Unstructured};
use gapless_core::Machine;
use gapless_core::cache::Cache;
use gapless_core::demux::Demux;
use gapless_core::fuzz::{Feed, Publication, Raw, Sequence, Streams, Tracks, play};
use gapless_core::journal::{Journaled, Recorder, Replayer, recorder};
use gapless_core::publisher::Publisher;
use gapless_core::receiver::{Command, Config, Receiver};
use gapless_core::retransmitter::Retransmitter;
use gapless_core::transmitter::Transmitter;

/// The most that any machine of a drawn configuration may take.
const MOST: usize = 8 << 20;

/// Draws a machine, a configuration, and what happens.
///
/// # Panics
/// The machine breaks the contract, or a replay does something else.
pub fn check(input: &[u8]) {
    // Input that ends early is no case.
    let _ = draw(&mut Unstructured::new(input));
}

fn draw(u: &mut Unstructured<'_>) -> Result<()> {
    match u.int_in_range(0..=10_u8)? {
        0 => run::<Receiver>(u.arbitrary()?, &mut Raw, u, |_| {}),
        1 => run::<Transmitter>(u.arbitrary()?, &mut Raw, u, |_| {}),
        2 => run::<Retransmitter>(u.arbitrary()?, &mut Raw, u, |_| {}),
        3 => run::<Publisher>(u.arbitrary()?, &mut Raw, u, |_| {}),
        4 => run::<Cache>(u.arbitrary()?, &mut Raw, u, |_| {}),
        5 => run::<Demux>(u.arbitrary()?, &mut Raw, u, |_| {}),
        6 => {
            let (session, first) = (u.arbitrary()?, u.int_in_range(1..=1 << 40)?);
            let config =
                gapless_core::retransmitter::Config { session: Some(session), ..u.arbitrary()? };
            run::<Retransmitter>(config, &mut Publication::new(session, first), u, |_| {});
        }
        7 => {
            let sent = gapless_core::transmitter::Config::arbitrary(u)?;
            let mut sequence = Publication::new(sent.session, sent.first_sequence);
            let config =
                gapless_core::publisher::Config { transmitter: Some(sent), ..u.arbitrary()? };
            run::<Publisher>(config, &mut sequence, u, |_| {});
        }
        8 => run::<Cache>(u.arbitrary()?, &mut Tracks::new(), u, |_| {}),
        9 => run::<Demux>(u.arbitrary()?, &mut Streams::new(), u, |_| {}),
        _ => {
            let config = Config::arbitrary(u)?;
            run::<Receiver>(config.clone(), &mut Feed::new(&config), u, is_right);
        }
    }
    Ok(())
}

/// Whatever a receiver delivers is what the feed has there.
fn is_right(command: Command) {
    match command {
        Command::Batch(batch) => {
            for (number, message) in batch.messages() {
                assert_eq!(message, Feed::message(number), "message {number}");
            }
        }
        Command::Contradiction { .. } => panic!("{command:?} where there is none"),
        _ => {}
    }
}

fn run<M: Journaled>(
    config: M::Config,
    sequence: &mut impl Sequence<M>,
    u: &mut Unstructured<'_>,
    mut see: impl FnMut(M::Command),
) {
    let limit = M::memory_limit(&config);
    assert!(limit <= MOST, "a drawn {} may take {limit} bytes", M::NAME);
    let see = |_: &M, command| see(command);
    if !u.len().is_multiple_of(4) {
        let mut machine = M::new(config).expect("a drawn configuration is valid");
        return play(&mut machine, limit, sequence, u, see);
    }
    let mut journal = Vec::new();
    let config =
        recorder::Config { machine: config, id: 0, sink: Some(&mut journal), commands: false };
    let mut machine = Recorder::<M, _>::new(config).expect("a drawn configuration is valid");
    play(&mut machine, limit, sequence, u, see);
    drop(machine);
    let mut replayer = Replayer::verifying().knowing::<M>();
    let replayed = replayer.replay(&journal[..], &mut ());
    assert!(replayed.is_ok(), "{}: {replayed:?}", M::NAME);
}
