//! Many commits of many orgs merged into one statement.
//!
//! ```text
//! WITH held AS (SELECT … FROM shard … WHERE epoch = … AND seq = … ORDER BY shard_id FOR UPDATE),
//!      mine AS (UPDATE shard SET seq = seq + 1 FROM held … RETURNING shard_id),
//!      put_slice AS (INSERT INTO slice … FROM unnest(…) JOIN mine … ON CONFLICT … DO UPDATE …),
//!      del_timer AS (DELETE FROM timer … USING unnest(…), mine …), …
//! SELECT shard_id FROM mine
//! ```
//!
//! The row of a shard is locked and compared before anything of the shard is written, in the same statement: under
//! READ COMMITTED a rival's change of the epoch is either seen by the comparison or waits for this statement. Rows of a
//! shard that is not `mine` any more are not written. Everybody who waits for several shards locks them in their order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use tokio_postgres::types::{ToSql, Type};

use super::{
    leases::Lease,
    tables::{Parts, columns, store, table},
};
use crate::domain::{
    ids::OrgId,
    rows::{OrgWrite, RowKey, RowKind},
    shard::Shard,
};

/// What becomes of a row: written, or removed.
type Change = Option<super::tables::Stored>;

/// What one statement is to do.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) shards: BTreeMap<Shard, Lease>,
    wiped: BTreeSet<OrgId>,
    changes: BTreeMap<RowKind, BTreeMap<(OrgId, RowKey), Change>>,
}

/// A statement with its parameters, to be sent as often as it takes.
pub(super) struct Statement {
    pub(super) sql: String,
    params: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Batch {
    /// Adds a commit of an org whose shard is owned as `lease` says. The last change of a row wins. An error where a
    /// row cannot be written at all; nothing of the commit is in the batch then.
    pub(super) fn add(&mut self, lease: Lease, write: OrgWrite) -> Result<(), String> {
        let OrgWrite { org, wipe, puts, dels, purged: _, awaited: _ } = write;
        let stored =
            puts.into_iter().map(|row| Ok((row.key(), Some(store(row)?)))).collect::<Result<Vec<_>, String>>()?;
        self.shards.insert(Shard::of(&org), lease);
        if wipe {
            for rows in self.changes.values_mut() {
                rows.retain(|(of, _), _| *of != org);
            }
            self.wiped.insert(org.clone());
        }
        for (key, change) in dels.into_iter().map(|key| (key, None)).chain(stored) {
            self.changes.entry(key.kind()).or_default().insert((org.clone(), key), change);
        }
        Ok(())
    }

    pub(super) fn statement(mut self, schema: &str) -> Statement {
        let mut statement = Statement { sql: String::new(), params: Vec::new() };
        let shards: Vec<i16> = self.shards.keys().map(number).collect();
        let epochs: Vec<i64> = self.shards.values().map(|lease| lease.epoch).collect();
        let seqs: Vec<i64> = self.shards.values().map(|lease| lease.seq).collect();
        let shards = statement.param(shards, Type::INT2_ARRAY);
        let epochs = statement.param(epochs, Type::INT8_ARRAY);
        let seqs = statement.param(seqs, Type::INT8_ARRAY);
        let sql = &mut statement.sql;
        let _ = write!(
            sql,
            "WITH held AS MATERIALIZED (SELECT s.shard_id FROM {schema}.shard AS s \
             JOIN unnest({shards}, {epochs}, {seqs}) AS u(shard_id, epoch, seq) \
             ON s.shard_id = u.shard_id AND s.epoch = u.epoch AND s.seq = u.seq ORDER BY s.shard_id FOR UPDATE OF s), \
             mine AS (UPDATE {schema}.shard AS s SET seq = s.seq + 1 FROM held WHERE s.shard_id = held.shard_id \
             RETURNING s.shard_id)"
        );
        let wiped = statement.orgs(self.wiped.iter());
        for kind in RowKind::ALL {
            let changes = self.changes.remove(kind).unwrap_or_default();
            let (mut puts, mut dels) = (Rows::of(*kind), Rows::of(*kind));
            for ((org, key), change) in changes {
                match change {
                    Some(row) => puts.push(&org, row.parts.into_iter(), Some((row.version, row.value))),
                    None => dels.push(&org, Parts::of(&key).into_iter(), None),
                }
            }
            let puts = statement.rows(puts);
            if let Some(wiped) = &wiped {
                statement.wipe(schema, *kind, wiped, puts.as_deref());
            }
            if let Some(puts) = &puts {
                statement.put(schema, *kind, puts);
            }
            if let Some(dels) = statement.rows(dels) {
                statement.delete(schema, *kind, &dels);
            }
        }
        statement.sql.push_str(" SELECT shard_id FROM mine");
        statement
    }
}

pub(super) fn number(shard: &Shard) -> i16 {
    i16::try_from(shard.number()).unwrap_or(i16::MAX)
}

/// Rows of one kind, column by column.
struct Rows {
    kind: RowKind,
    shards: Vec<i16>,
    orgs: Vec<String>,
    parts: Vec<Vec<String>>,
    versions: Vec<i16>,
    values: Vec<String>,
}

impl Rows {
    fn of(kind: RowKind) -> Self {
        let parts = columns(kind).map(|_| Vec::new()).collect();
        Self { kind, shards: Vec::new(), orgs: Vec::new(), parts, versions: Vec::new(), values: Vec::new() }
    }

    fn push(&mut self, org: &OrgId, parts: impl Iterator<Item = String>, value: Option<(i16, String)>) {
        self.shards.push(number(&Shard::of(org)));
        self.orgs.push(org.as_str().to_owned());
        for (column, part) in self.parts.iter_mut().zip(parts) {
            column.push(part);
        }
        if let Some((version, value)) = value {
            self.versions.push(version);
            self.values.push(value);
        }
    }
}

/// Each column of the key in the form `template`, joined; `{c}` is its name and `{t}` its type.
fn each(kind: RowKind, template: &str, between: &str) -> String {
    let texts: Vec<_> = columns(kind).map(|(name, of)| template.replace("{c}", name).replace("{t}", of)).collect();
    texts.join(between)
}

impl Statement {
    /// For a call of the client.
    pub(super) fn params(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.params.iter().map(|(value, of)| (&**value as &(dyn ToSql + Sync), of.clone())).collect()
    }

    fn param(&mut self, value: impl ToSql + Sync + Send + 'static, of: Type) -> String {
        self.params.push((Box::new(value), of));
        format!("${}", self.params.len())
    }

    fn orgs<'a>(&mut self, orgs: impl Iterator<Item = &'a OrgId>) -> Option<String> {
        let (shards, orgs): (Vec<_>, Vec<_>) =
            orgs.map(|org| (number(&Shard::of(org)), org.as_str().to_owned())).unzip();
        if orgs.is_empty() {
            return None;
        }
        let (shards, orgs) = (self.param(shards, Type::INT2_ARRAY), self.param(orgs, Type::TEXT_ARRAY));
        Some(format!("unnest({shards}, {orgs}) AS w(shard_id, org)"))
    }

    /// The rows as a table `r` of text; `None` where there are none.
    fn rows(&mut self, rows: Rows) -> Option<String> {
        if rows.orgs.is_empty() {
            return None;
        }
        let mut values = vec![self.param(rows.shards, Type::INT2_ARRAY), self.param(rows.orgs, Type::TEXT_ARRAY)];
        values.extend(rows.parts.into_iter().map(|column| self.param(column, Type::TEXT_ARRAY)));
        let mut names = format!("shard_id, org{}", each(rows.kind, ", {c}", ""));
        if !rows.versions.is_empty() {
            values.push(self.param(rows.versions, Type::INT2_ARRAY));
            values.push(self.param(rows.values, Type::TEXT_ARRAY));
            names.push_str(", version, value");
        }
        Some(format!("unnest({}) AS r({names})", values.join(", ")))
    }

    fn put(&mut self, schema: &str, kind: RowKind, rows: &str) {
        let (table, keys) = (table(kind), each(kind, ", {c}", ""));
        let cast = each(kind, ", r.{c}::{t}", "");
        let _ = write!(
            self.sql,
            ", put_{table} AS (INSERT INTO {schema}.{table} (shard_id, org{keys}, version, value) \
             SELECT r.shard_id, r.org{cast}, r.version, r.value::jsonb FROM {rows} JOIN mine USING (shard_id) \
             ON CONFLICT (shard_id, org{keys}) DO UPDATE SET version = excluded.version, value = excluded.value)"
        );
    }

    fn delete(&mut self, schema: &str, kind: RowKind, rows: &str) {
        let (table, same) = (table(kind), each(kind, " AND t.{c} = r.{c}::{t}", ""));
        let _ = write!(
            self.sql,
            ", del_{table} AS (DELETE FROM {schema}.{table} AS t USING {rows}, mine \
             WHERE mine.shard_id = r.shard_id AND t.shard_id = r.shard_id AND t.org = r.org{same})"
        );
    }

    /// Every row of the orgs but those that the same statement writes or removes by name.
    fn wipe(&mut self, schema: &str, kind: RowKind, orgs: &str, puts: Option<&str>) {
        let (table, same) = (table(kind), each(kind, " AND t.{c} = r.{c}::{t}", ""));
        let kept = puts.map_or_else(String::new, |rows| {
            format!(" AND NOT EXISTS (SELECT FROM {rows} WHERE t.shard_id = r.shard_id AND t.org = r.org{same})")
        });
        let _ = write!(
            self.sql,
            ", wipe_{table} AS (DELETE FROM {schema}.{table} AS t USING {orgs}, mine \
             WHERE mine.shard_id = w.shard_id AND t.shard_id = w.shard_id AND t.org = w.org{kept})"
        );
    }
}
