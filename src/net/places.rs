//! Places for connections: so many in all, and so many for each address.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The part of an IPv6 address that names a site; one machine has every address behind it.
const SITE: u128 = u128::MAX << 64;

#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    per_address: u32,
    taken: Mutex<HashMap<IpAddr, Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    places: u32,
    /// It has been refused since it last had none: said once.
    said: bool,
}

impl Places {
    pub(super) fn new(all: u32, per_address: u32) -> Arc<Self> {
        Arc::new(Self { all: Arc::new(Semaphore::new(all as usize)), per_address, taken: Mutex::default() })
    }

    /// Waits for one. Whose it will be is not known yet.
    pub(super) async fn free(self: &Arc<Self>) -> Free {
        Free { permit: self.all.clone().acquire_owned().await.ok(), places: self.clone() }
    }

    /// Says that an address has no place left, once until it has closed all of its connections.
    pub(super) fn refuse(&self, listener: &'static str, address: IpAddr) {
        let mut taken = self.taken();
        let Some(taken) = taken.get_mut(&site(address)) else { return };
        if !std::mem::replace(&mut taken.said, true) {
            tracing::warn!(
                %address,
                listener,
                connections = taken.places,
                "more connections from this address are closed at once (bounds.connections_per_address)"
            );
        }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that is free.
#[derive(Debug)]
pub(super) struct Free {
    permit: Option<OwnedSemaphorePermit>,
    places: Arc<Places>,
}

impl Free {
    /// Taken by an address; `None` where it has as many as it may.
    pub(super) fn of(self, address: IpAddr) -> Option<Place> {
        let Self { permit, places } = self;
        let address = site(address);
        {
            let mut taken = places.taken();
            let of_address = taken.entry(address).or_default();
            if of_address.places >= places.per_address {
                return None;
            }
            of_address.places += 1;
        }
        Some(Place { address, places, _permit: permit })
    }
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    address: IpAddr,
    places: Arc<Places>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(of_address) = taken.get_mut(&self.address) {
            of_address.places = of_address.places.saturating_sub(1);
            if of_address.places == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & SITE)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn an_address_has_its_share_and_what_is_dropped_is_free() {
        let places = Places::new(3, 2);
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let first = places.free().await.of(one).unwrap();
        let _second = places.free().await.of(one).unwrap();
        assert!(places.free().await.of(one).is_none());
        let _third = places.free().await.of(other).unwrap();
        assert!(timeout(Duration::from_millis(20), places.free()).await.is_err(), "three in all");
        drop(first);
        assert!(places.free().await.of(one).is_some());
        assert_eq!(places.taken().len(), 2);
    }

    #[test]
    fn addresses_of_one_site_are_one() {
        let site_of = |text: &str| site(text.parse().unwrap());
        assert_eq!(site_of("2001:db8::1"), site_of("2001:db8::ffff:1"));
        assert_ne!(site_of("2001:db8:0:1::1"), site_of("2001:db8:0:2::1"));
        assert_eq!(site_of("::ffff:192.0.2.1"), site_of("192.0.2.1"));
        assert_ne!(site_of("192.0.2.1"), site_of("192.0.2.2"));
    }
}
