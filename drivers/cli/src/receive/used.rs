//! The use of the quotas, as the file of `receive --resume` keeps it: by address and wall-clock time, so that
//! another run, with its servers in another order, asks no more than one that went on would.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gapless_core::receiver::{QuotaUnit, QuotaUse, ServerId};
use serde::{Deserialize, Serialize};

/// The requests to a server, and when at the latest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Used {
    server: SocketAddr,
    messages: bool,
    window_nanos: u64,
    count: u64,
    /// Milliseconds since 1970.
    at: u64,
}

/// The kept use, for a receiver that asks these servers.
pub(crate) fn restored(kept: &[Used], servers: &[SocketAddr]) -> Vec<QuotaUse> {
    let now = millis_since_1970();
    let restored = kept.iter().filter_map(|used| {
        let server = servers.iter().position(|server| *server == used.server)?;
        Some(QuotaUse {
            server: ServerId(u8::try_from(server).ok()?),
            unit: if used.messages { QuotaUnit::Messages } else { QuotaUnit::Requests },
            window: Duration::from_nanos(used.window_nanos),
            count: used.count,
            // A clock that went back says that nothing is over.
            age: Duration::from_millis(now.saturating_sub(used.at)),
        })
    });
    restored.take(QuotaUse::MAX).collect()
}

/// The use by a receiver that asks these servers; of others the use that was kept before, until it counts no more.
pub(crate) fn kept(used: &[QuotaUse], servers: &[SocketAddr], before: &[Used]) -> Vec<Used> {
    let now = millis_since_1970();
    let counts = |used: &&Used| {
        let is_over = now.saturating_sub(used.at) > used.window_nanos / 1_000_000 + 1;
        !is_over && !servers.contains(&used.server)
    };
    let others = before.iter().filter(counts).cloned();
    let own = used.iter().filter_map(|used| {
        let age = u64::try_from(used.age.as_millis()).unwrap_or(u64::MAX);
        Some(Used {
            server: *servers.get(usize::from(used.server.0))?,
            messages: used.unit == QuotaUnit::Messages,
            window_nanos: u64::try_from(used.window.as_nanos()).unwrap_or(u64::MAX),
            count: used.count,
            at: now.saturating_sub(age),
        })
    });
    others.chain(own).collect()
}

fn millis_since_1970() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn use_of(server: u8, seconds: u64) -> QuotaUse {
        let (unit, window) = (QuotaUnit::Messages, Duration::from_secs(60));
        QuotaUse {
            server: ServerId(server),
            unit,
            window,
            count: 7,
            age: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn what_was_used_goes_with_the_address_and_grows_old() {
        let [a, b] = ["127.0.0.1:1", "127.0.0.1:2"].map(|address| address.parse().unwrap());
        let both = kept(&[use_of(0, 3), use_of(1, 5)], &[a, b], &[]);
        let again = restored(&both, &[b, a]);
        let servers: Vec<_> = again.iter().map(|used| used.server.0).collect();
        assert_eq!(servers, [1, 0]);
        for (used, age) in again.iter().zip([3, 5]) {
            let slack = used.age.checked_sub(Duration::from_secs(age)).unwrap();
            assert!(used.count == 7 && slack < Duration::from_secs(2), "{used:?}");
        }
        // Of a server that is left out it stays, as long as it counts.
        let without = kept(&[use_of(0, 0)], &[b], &both);
        assert_eq!(without.len(), 2);
        let mut old = both;
        old.iter_mut().for_each(|used| used.at -= 61_000);
        assert_eq!(kept(&[], &[b], &old), []);
    }
}
