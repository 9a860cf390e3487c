//! Callers of a node that asks nobody who they are: each may do everything, and is named by the address that it calls
//! from.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use arc_swap::ArcSwap;

use super::Principal;

/// Addresses that are remembered; past it all are forgotten, and those that call are remembered again.
const ADDRESSES: usize = 1_024;

#[derive(Debug)]
pub(super) struct Strangers {
    /// The address is not known.
    nameless: Arc<Principal>,
    known: ArcSwap<HashMap<IpAddr, Arc<Principal>>>,
}

impl Default for Strangers {
    fn default() -> Self {
        Self { nameless: Arc::new(Principal::anybody()), known: ArcSwap::default() }
    }
}

impl Strangers {
    pub(super) fn at(&self, address: Option<IpAddr>) -> Arc<Principal> {
        let Some(address) = address else { return self.nameless.clone() };
        if let Some(known) = self.known.load().get(&address) {
            return known.clone();
        }
        let new = Arc::new(Principal::somebody(&address.to_canonical().to_string()));
        self.known.rcu(|known| {
            let mut all = if known.len() < ADDRESSES { HashMap::clone(known) } else { HashMap::new() };
            all.insert(address, new.clone());
            all
        });
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_named_by_its_address_and_not_many_are_remembered() {
        let strangers = Strangers::default();
        let name = |address: Option<IpAddr>| strangers.at(address).name().to_string();
        assert_eq!(name(None), "anybody");
        assert_eq!(name(Some([10, 0, 0, 7].into())), "10.0.0.7");
        assert_eq!(name(Some("::ffff:10.0.0.8".parse().unwrap())), "10.0.0.8");
        let first = strangers.at(Some([10, 0, 0, 7].into()));
        assert!(Arc::ptr_eq(&first, &strangers.at(Some([10, 0, 0, 7].into()))));
        for number in 0..2 * ADDRESSES {
            strangers.at(Some(IpAddr::from(u32::try_from(number).unwrap().to_be_bytes())));
        }
        assert!(strangers.known.load().len() <= ADDRESSES);
    }
}
