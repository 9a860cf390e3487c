//! Many commits merged into one atomic batch.
//!
//! Changes are merged in the order they were handed over, so the last change of a key wins. Wiping
//! an org needs to know its rows: those already applied, read from the engine, and those merged
//! before it in the same group.
//!
//! When all is merged, [`Changes::seal`] brings the digests of the orgs it touched up to date.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    ops::ControlFlow,
};

use super::{
    codec::{self, CodecError, decode},
    digest::{self, Counted, Digest},
    keys::{HEAD, Key, TIMER, of_org, org_prefix, prefix_end},
    keyspace::Keyspace,
    prepare::{Change, Prepared},
    record::Record,
};
use crate::{
    domain::{
        ids::OrgId,
        rows::{Row, RowKey},
    },
    ports::StoreFault,
    store::kinds::{Item, Kind},
};

/// Keys with their new value; `None` = removed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    by_key: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Whether the engine holds any part at all; asked once per group, since it hardly ever does.
    base_has_parts: Option<bool>,
    /// Heads of orgs whose rows all went: they add up from nothing again.
    wiped: BTreeSet<Vec<u8>>,
}

impl Changes {
    pub(super) fn merge(&mut self, base: &impl Keyspace, prepared: Prepared) -> Result<(), StoreFault> {
        for change in prepared.changes {
            match change {
                Change::Put(key, value) => {
                    self.by_key.insert(key, Some(value));
                }
                Change::Delete(key) => {
                    self.by_key.insert(key, None);
                }
                Change::DeleteParts(prefix) => self.delete_parts(base, &prefix)?,
                Change::Wipe(org) => self.wipe(base, &org)?,
            }
        }
        Ok(())
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.by_key.insert(key, Some(value));
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.by_key.insert(key, None);
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.by_key.keys()
    }

    /// Brings the digest in the head of every org in it up to date with its rows, and `total`, the node's
    /// sum, with those and the timers. Nothing may be merged behind it.
    pub(super) fn seal(&mut self, base: &impl Keyspace, mut total: u64) -> Result<u64, StoreFault> {
        let mut moved: BTreeMap<Vec<u8>, Digest> = BTreeMap::new();
        for (key, value) in &self.by_key {
            match digest::counted(key) {
                Counted::Nowhere => {}
                Counted::Timer => total = digest::reweighed(total, key, base.get(key)?.as_deref(), value.as_deref()),
                Counted::Head => _ = moved.entry(key.clone()).or_default(),
                Counted::InOrg(head) => {
                    let old = if self.wiped.contains(&head) { None } else { base.get(key)? };
                    let moved = moved.entry(head).or_default();
                    old.iter().for_each(|old| moved.remove(key, old));
                    value.iter().for_each(|new| moved.add(key, new));
                }
            }
        }
        for (key, moved) in moved {
            let stored = base.get(&key)?;
            let before = match &stored {
                Some(head) if !self.wiped.contains(&key) => {
                    codec::digest(&key, head).map_err(|error| unwritable(&error))?
                }
                _ => Digest::default(),
            };
            // Without a head an org does not load, whatever its rows add up to.
            let head = self.by_key.entry(key.clone()).or_insert_with(|| stored.clone());
            if let Some(head) = head {
                codec::set_digest(&key, head, before.plus(moved));
            }
            total = digest::reweighed(total, &key, stored.as_deref(), head.as_deref());
        }
        Ok(total)
    }

    fn delete_parts(&mut self, base: &impl Keyspace, prefix: &[u8]) -> Result<(), StoreFault> {
        let in_base = match self.base_has_parts {
            Some(known) => known,
            None => any_part(base)?,
        };
        self.base_has_parts = Some(in_base);
        self.delete_merged(prefix);
        if in_base { self.delete_stored(base, prefix) } else { Ok(()) }
    }

    fn wipe(&mut self, base: &impl Keyspace, org: &OrgId) -> Result<(), StoreFault> {
        self.wiped.insert(org_prefix(HEAD, org));
        self.delete_timers(base, org)?;
        for kind in of_org() {
            let prefix = org_prefix(kind, org);
            self.delete_merged(&prefix);
            self.delete_stored(base, &prefix)?;
        }
        Ok(())
    }

    /// Timers sort by time, so the stored one is found through the stored head.
    fn delete_timers(&mut self, base: &impl Keyspace, org: &OrgId) -> Result<(), StoreFault> {
        let head = Key::row(org, &RowKey::Head).encode();
        let stored = base.get(&head)?.and_then(|value| decode(&head, &value).ok());
        if let Some((_, Record::Item(Item::Row { row: Row::Head(head), .. }))) = stored
            && let Some(wake_at) = head.wake_at
        {
            self.by_key.insert(Key::row(org, &RowKey::Timer { wake_at }).encode(), None);
        }
        let timers = vec![TIMER.byte()]..vec![TIMER.byte() + 1];
        for (key, value) in self.by_key.range_mut(timers) {
            if Key::decode(key).is_ok_and(|key| key.org() == Some(org)) {
                *value = None;
            }
        }
        Ok(())
    }

    fn delete_merged(&mut self, prefix: &[u8]) {
        for (_, value) in self.by_key.range_mut(prefix.to_vec()..prefix_end(prefix)) {
            *value = None;
        }
    }

    fn delete_stored(&mut self, base: &impl Keyspace, prefix: &[u8]) -> Result<(), StoreFault> {
        base.scan(prefix, &prefix_end(prefix), &mut |key, _| {
            self.by_key.insert(key.to_vec(), None);
            ControlFlow::Continue(())
        })
    }
}

impl IntoIterator for Changes {
    type Item = (Vec<u8>, Option<Vec<u8>>);
    type IntoIter = btree_map::IntoIter<Vec<u8>, Option<Vec<u8>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.by_key.into_iter()
    }
}

fn unwritable(error: &CodecError) -> StoreFault {
    StoreFault { operation: "commit", cause: error.to_string() }
}

fn any_part(base: &impl Keyspace) -> Result<bool, StoreFault> {
    let mut any = false;
    for kind in Kind::ALL.iter().filter(|kind| matches!(kind, Kind::Part(_))) {
        base.scan(&[kind.byte()], &prefix_end(&[kind.byte()]), &mut |_, _| {
            any = true;
            ControlFlow::Break(())
        })?;
    }
    Ok(any)
}
