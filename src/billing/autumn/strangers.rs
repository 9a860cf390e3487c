//! Orgs that cannot be customers of Autumn, whose customers are named by letters, digits, `_` and `-`.
//!
//! Such an org is asked about like any other and is unknown there. Each is named once, so that nobody
//! searches Autumn for a customer that cannot exist.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use crate::domain::ids::OrgId;

/// So many are named; callers choose the ids of orgs, and neither memory nor log grows with them.
const NAMED_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Strangers {
    named: Mutex<BTreeSet<OrgId>>,
}

impl Strangers {
    /// Warns of the org where it cannot be a customer and was not warned of before.
    pub(super) fn meet(&self, org: &OrgId) {
        if org.is_bare() {
            return;
        }
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.len() >= NAMED_MAX || !named.insert(org.clone()) {
            return;
        }
        tracing::warn!(
            %org,
            "no customer of Autumn can have this id: its ids are letters, digits, _ and -; \
             billing.on_unknown_customer decides for this org"
        );
        if named.len() == NAMED_MAX {
            tracing::warn!(orgs = NAMED_MAX, "further orgs that cannot be customers of Autumn are not named");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_that_autumn_cannot_have_are_kept_and_not_without_end() {
        let strangers = Strangers::default();
        let meet = |text: &str| strangers.meet(&OrgId::parse("org", text).unwrap());
        for org in ["acme", "Acme_1-b", "user@example.com", "a.b", "a/b", "a.b"] {
            meet(org);
        }
        assert_eq!(strangers.named.lock().unwrap().len(), 3);
        (0..2 * NAMED_MAX).for_each(|number| meet(&format!("auth0|{number}")));
        assert_eq!(strangers.named.lock().unwrap().len(), NAMED_MAX);
    }
}
