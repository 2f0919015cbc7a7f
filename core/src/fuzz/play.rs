//! A machine and what happens to it, held to the contract of all machines.

use arbitrary::{Arbitrary, Unstructured};

use super::Sequence;
use crate::journal::{Driven, Journaled};
use crate::{Duration, Instant};

/// Something that happens: half of it are events.
#[derive(Arbitrary)]
enum Happening {
    Event,
    Again,
    Wait(u16),
    Timeout,
}

/// Gives a machine, recorded or not, the events of a sequence, timeouts, and time that passes, until the input is used
/// up; drains it after each; and holds it to what [`Machine`](crate::Machine) promises. `limit` is what
/// [`memory_limit`](crate::Machine::memory_limit) said of its configuration. `see` is shown every command: what more
/// must hold is its to say.
///
/// # Panics
/// It does what no machine may: an error changes it, a timeout is due again at once, or it takes more than its limit.
pub fn play<M: Journaled>(
    machine: &mut impl Driven<M>,
    limit: usize,
    sequence: &mut impl Sequence<M>,
    u: &mut Unstructured<'_>,
    mut see: impl FnMut(&M, M::Command),
) {
    let mut now = Instant::from_millis(1);
    while !u.is_empty() {
        let Ok(happening) = u.arbitrary() else { return };
        match happening {
            Happening::Wait(micros) => now += Duration::from_micros(micros.into()),
            Happening::Timeout => {
                let Some(at) = machine.poll_timeout() else { continue };
                now = now.max(at);
                assert!(machine.handle_timeout(now).is_ok(), "a timeout is refused");
                drain(machine, sequence, &mut see);
                let next = machine.poll_timeout();
                assert!(next.is_none_or(|next| next > now), "{next:?} is not after {now}");
            }
            Happening::Event | Happening::Again => {
                let Ok(event) = sequence.next(u) else { return };
                let before = (machine.context().now(), machine.poll_timeout());
                if let Err(error) = machine.feed(now, event) {
                    let after = (machine.context().now(), machine.poll_timeout());
                    assert_eq!(before, after, "{error} has changed it");
                    assert!(!machine.context().is_draining(), "{error} has consequences");
                }
                drain(machine, sequence, &mut see);
            }
        }
        let used = machine.machine().memory_used();
        assert!(used <= limit, "{used} bytes are used where {limit} may be");
    }
}

fn drain<M: Journaled>(
    machine: &mut impl Driven<M>,
    sequence: &mut impl Sequence<M>,
    see: &mut impl FnMut(&M, M::Command),
) {
    while let Some(command) = machine.poll_command() {
        sequence.note(&command);
        see(machine.machine(), command);
    }
}
