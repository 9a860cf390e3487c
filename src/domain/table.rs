//! A map that knows which of its rows the store has not seen yet.

use std::collections::{BTreeMap, BTreeSet};

use super::rows::{Row, RowKey};

#[derive(Debug)]
pub(super) struct Table<K, V> {
    rows: BTreeMap<K, V>,
    dirty: BTreeSet<K>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), dirty: BTreeSet::new() }
    }
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    /// Rows as stored.
    pub(super) fn load(rows: impl IntoIterator<Item = (K, V)>) -> Self {
        Self { rows: rows.into_iter().collect(), dirty: BTreeSet::new() }
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)
    }

    pub(super) fn put(&mut self, key: K, value: V) {
        self.dirty.insert(key.clone());
        self.rows.insert(key, value);
    }

    /// Changes a row where it is; nothing where there is none.
    pub(super) fn change(&mut self, key: &K, change: impl FnOnce(&mut V)) {
        if let Some(value) = self.rows.get_mut(key) {
            change(value);
            self.dirty.insert(key.clone());
        }
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let old = self.rows.remove(key)?;
        self.dirty.insert(key.clone());
        Some(old)
    }

    /// Removes every row that `dead` names.
    pub(super) fn purge(&mut self, mut dead: impl FnMut(&K, &V) -> bool) {
        let dirty = &mut self.dirty;
        self.rows.retain(|key, value| {
            let gone = dead(key, value);
            if gone {
                dirty.insert(key.clone());
            }
            !gone
        });
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.rows.iter()
    }

    /// The same without their keys.
    pub(super) fn rows_from(&self, from: K) -> impl Iterator<Item = &V> {
        self.rows.range(from..).map(|(_, row)| row)
    }

    /// Rows with the key `from` or a greater one.
    pub(super) fn iter_from(&self, from: &K) -> impl Iterator<Item = (&K, &V)> {
        self.rows.range(from..)
    }

    pub(super) fn first_key(&self) -> Option<&K> {
        self.rows.first_key_value().map(|(key, _)| key)
    }

    pub(super) fn last_key(&self) -> Option<&K> {
        self.rows.last_key_value().map(|(key, _)| key)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows changed since the last call; `None` where the row is gone.
    fn take_dirty(&mut self) -> Vec<(K, Option<V>)> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.into_iter().map(|key| (key.clone(), self.rows.get(&key).cloned())).collect()
    }
    /// The same as puts and deletions.
    pub(super) fn take_rows(
        &mut self,
        puts: &mut Vec<Row>,
        dels: &mut Vec<RowKey>,
        row: impl Fn(K, V) -> Row,
        gone: impl Fn(K) -> RowKey,
    ) {
        for (key, value) in self.take_dirty() {
            match value {
                Some(value) => puts.push(row(key, value)),
                None => dels.push(gone(key)),
            }
        }
    }
}
