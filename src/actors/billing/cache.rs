//! A bounded memory of one thing per org. Where it is full, what was not read for the longest
//! time makes room; it is never cleared. How long an entry holds is its own matter.

use std::{fmt, hash::Hash, sync::Arc};

use moka::{Equivalent, policy::EvictionPolicy, sync};

use super::BillingRules;
use crate::domain::{ids::OrgId, shard::ShardSet};

/// Whose entry it is: the same org has other balances in another environment and of another feature.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    environment: Arc<str>,
    org: OrgId,
    feature: Arc<str>,
}

/// The same, to look up with.
#[derive(Hash)]
struct Lookup<'a> {
    environment: &'a str,
    org: &'a OrgId,
    feature: &'a str,
}

impl Equivalent<Key> for Lookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.org == &key.org && self.environment == &*key.environment && self.feature == &*key.feature
    }
}

pub(super) struct Cache<V> {
    environment: Arc<str>,
    feature: Arc<str>,
    entries: sync::Cache<Key, Arc<V>>,
}

/// Without the entries, which may be many.
impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { environment, feature, .. } = self;
        f.debug_struct("Cache").field("environment", environment).field("feature", feature).finish_non_exhaustive()
    }
}

impl<V: Send + Sync + 'static> Cache<V> {
    pub(super) fn new(rules: &BillingRules) -> Self {
        // By recency alone: with a share for frequency, what was learned just now may be what goes.
        let entries =
            sync::Cache::builder().max_capacity(rules.orgs_max.into()).eviction_policy(EvictionPolicy::lru()).build();
        Self { environment: rules.environment.clone(), feature: rules.feature.clone(), entries }
    }

    pub(super) fn get(&self, org: &OrgId) -> Option<Arc<V>> {
        self.entries.get(&self.lookup(org))
    }

    pub(super) fn put(&self, org: &OrgId, value: V) {
        let key = Key { environment: self.environment.clone(), org: org.clone(), feature: self.feature.clone() };
        self.entries.insert(key, Arc::new(value));
    }

    pub(super) fn remove(&self, org: &OrgId) {
        self.entries.invalidate(&self.lookup(org));
    }

    /// The orgs of these shards that have an entry.
    pub(super) fn orgs(&self, shards: &ShardSet) -> Vec<OrgId> {
        let theirs = self.entries.iter().filter(|(key, _)| shards.holds(&key.org));
        theirs.map(|(key, _)| key.org.clone()).collect()
    }

    /// Orgs with an entry, those included whose entry has run out and was not asked for since.
    pub(super) fn len(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.entry_count()
    }

    fn lookup<'a>(&'a self, org: &'a OrgId) -> Lookup<'a> {
        Lookup { environment: &self.environment, org, feature: &self.feature }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::org;

    #[test]
    fn a_full_memory_forgets_the_org_that_was_not_asked_for_longest_and_no_other() {
        let cache = Cache::new(&BillingRules { orgs_max: 3, ..BillingRules::default() });
        for name in ["a", "b", "c"] {
            cache.put(&org(name), name);
            assert_eq!(cache.len(), cache.entries.iter().count() as u64);
        }
        assert!(cache.get(&org("a")).is_some());
        cache.put(&org("d"), "d");
        assert_eq!(cache.len(), 3);
        assert!(cache.get(&org("b")).is_none(), "the oldest went");
        assert_eq!(
            ["a", "c", "d"].map(|name| cache.get(&org(name)).map(|value| *value)),
            [Some("a"), Some("c"), Some("d")]
        );
    }

    #[test]
    fn an_entry_answers_for_its_environment_org_and_feature_alone() {
        let key = Key { environment: "live".into(), org: org("a"), feature: "executions".into() };
        let answers =
            |environment, name: &str, feature| Lookup { environment, org: &org(name), feature }.equivalent(&key);
        assert!(answers("live", "a", "executions"));
        assert!(!answers("test", "a", "executions"));
        assert!(!answers("live", "b", "executions"));
        assert!(!answers("live", "a", "seats"));
    }
}
