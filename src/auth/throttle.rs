//! Refused credentials of one address: so many in a row, then so many in a second. Past that whoever shows one more is
//! asked to wait and is not told what is wrong with it. It is judged all the same: a right one of that address lets in.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::sync::Cache;

use crate::domain::window::Millis;

/// Refusals in a row.
const BURST: u64 = 20;
/// After that, one more in this time (milliseconds).
const EACH_MS: Millis = 1_000;
/// An address is forgotten when it has been quiet for as long as a whole burst takes to come back.
const FORGOTTEN_AFTER: Duration = Duration::from_millis(BURST * EACH_MS);
/// Addresses that are remembered; further ones take the place of the least recent.
const ADDRESSES: u64 = 10_000;

/// Counts what was refused, address by address. The generic cell rate algorithm (ITU-T I.371): an instant for each.
#[derive(Debug)]
pub(super) struct Throttle(Cache<IpAddr, Arc<AtomicU64>>);

impl Throttle {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(ADDRESSES).time_to_idle(FORGOTTEN_AFTER).build())
    }

    /// Whether this address has no refusal left now.
    pub(super) fn is_over(&self, address: IpAddr, now: Millis) -> bool {
        self.0.get(&address).is_some_and(|free_at| free_at.load(Ordering::Relaxed) > now + (BURST - 1) * EACH_MS)
    }

    /// Counts one.
    pub(super) fn refused(&self, address: IpAddr, now: Millis) {
        let free_at = self.0.get_with(address, Arc::default);
        let most = now + BURST * EACH_MS;
        let _ =
            free_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| Some((at.max(now) + EACH_MS).min(most)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_a_second_and_each_address_alone() {
        let throttle = Throttle::new();
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        for _ in 0..BURST {
            assert!(!throttle.is_over(one, 5_000));
            throttle.refused(one, 5_000);
        }
        assert!(throttle.is_over(one, 5_000) && !throttle.is_over(other, 5_000));
        assert!(!throttle.is_over(one, 6_000));
        throttle.refused(one, 6_000);
        assert!(throttle.is_over(one, 6_500) && !throttle.is_over(one, 7_000));
        for _ in 0..1_000 {
            throttle.refused(one, 7_000);
        }
        assert!(!throttle.is_over(one, 8_000), "a flood is not held against it for long");
    }
}
