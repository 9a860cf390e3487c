//! What is asked of the tables. Each question is one statement, and so one snapshot.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Mutex;
use tokio_postgres::types::{ToSql, Type};

use super::{
    Shared,
    batch::number,
    connection::{Connection, Unanswered},
    tables::{self, Parts, Stored, columns, table},
};
use crate::{
    domain::{
        ids::OrgId,
        kept_ids::KeptName,
        rows::{Head, OrgRows, Row, RowKey, RowKind},
        shard::{Shard, ShardSet},
        window::Millis,
    },
    ports::StoreFault,
    store::gaps,
};

/// Connections that read. Each takes many questions at once, so there are few.
const CONNECTIONS: usize = 4;

type Params<'p> = &'p [(&'p (dyn ToSql + Sync), Type)];

/// Connections that are shared by everybody who asks.
#[derive(Debug, Default)]
pub(super) struct Readers {
    connections: [Mutex<Option<Arc<Connection>>>; CONNECTIONS],
    next: AtomicUsize,
}

pub(super) fn fault(cause: impl Into<String>) -> StoreFault {
    StoreFault { operation: "load", cause: cause.into() }
}

impl Readers {
    async fn connection(&self, shared: &Shared, at: usize) -> Result<Arc<Connection>, String> {
        let mut place = self.connections[at % CONNECTIONS].lock().await;
        if let Some(open) = place.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(open.clone());
        }
        let open = Arc::new(Connection::open(&shared.options).await?);
        Ok(place.insert(open).clone())
    }
}

impl Shared {
    /// Asks, and once more where the connection turns out to be gone: a question changes nothing.
    async fn ask(&self, sql: &str, params: Params<'_>) -> Result<Vec<tokio_postgres::Row>, StoreFault> {
        if let Some(fault) = self.trouble.fault() {
            return Err(fault);
        }
        let at = self.readers.next.fetch_add(1, Ordering::Relaxed);
        let mut last = String::new();
        for _ in 0..2 {
            match self.readers.connection(self, at).await {
                Ok(connection) => match connection.query(sql, params).await {
                    Ok(rows) => return Ok(rows),
                    Err(Unanswered::Refused(cause)) => return Err(fault(cause)),
                    Err(Unanswered::Lost(cause)) => {
                        *self.readers.connections[at % CONNECTIONS].lock().await = None;
                        last = cause;
                    }
                },
                Err(cause) => last = cause,
            }
        }
        self.check();
        Err(fault(last))
    }

    /// Rows of some kinds of one org.
    pub(super) async fn some(&self, org: &OrgId, kinds: &[RowKind]) -> Result<OrgRows, StoreFault> {
        let mut sql = String::new();
        for (at, kind) in kinds.iter().enumerate() {
            let _ = write!(
                sql,
                "{}SELECT {at}::int4 AS kind, {} AS key, version, value::text FROM {}.{} WHERE shard_id = $1 AND org = $2",
                if at == 0 { "" } else { " UNION ALL " },
                key_of(*kind),
                self.options.schema,
                table(*kind),
            );
        }
        let shard = number(&Shard::of(org));
        let found = self.ask(&sql, &[(&shard, Type::INT2), (&org.as_str(), Type::TEXT)]).await?;
        let kind = |row: &tokio_postgres::Row| usize::try_from(row.get::<_, i32>(0)).ok().and_then(|at| kinds.get(at));
        let rows = found.iter().filter_map(|row| Some(tables::read(org, *kind(row)?, stored(row, 1))));
        Ok(OrgRows { rows: rows.collect::<Result<_, _>>()? })
    }

    pub(super) async fn load(&self, org: &OrgId) -> Result<OrgRows, StoreFault> {
        let kinds: Vec<_> = RowKind::ALL.iter().copied().filter(|kind| !kind.is_read_by_name()).collect();
        let rows = self.some(org, &kinds).await?;
        match gaps::missing(&rows) {
            Some(missing) => Err(fault(format!("{org}: {missing}"))),
            None => Ok(rows),
        }
    }

    pub(super) async fn due(
        &self,
        now: Millis,
        shards: &ShardSet,
        max: usize,
    ) -> Result<Vec<(Millis, OrgId)>, StoreFault> {
        let sql = format!(
            "SELECT wake_at::text, org FROM {}.timer WHERE wake_at <= $1::text::numeric AND {} \
             ORDER BY wake_at, octet_length(org), org LIMIT $3",
            self.options.schema,
            of_shards(shards, "shard_id", "$2"),
        );
        let (now, shards, max) = (now.to_string(), numbers(shards), limit(max));
        let params: Params<'_> = &[(&now, Type::TEXT), (&shards, Type::INT2_ARRAY), (&max, Type::INT8)];
        let found = self.ask(&sql, params).await?;
        found
            .iter()
            .map(|row| {
                let at: String = row.get(0);
                Ok((at.parse().map_err(|_| fault(format!("a timer at \"{at}\"")))?, org(row, 1)?))
            })
            .collect()
    }

    pub(super) async fn list(
        &self,
        shards: &ShardSet,
        after: Option<&OrgId>,
        max: usize,
    ) -> Result<Vec<(OrgId, Head)>, StoreFault> {
        let found = self.heads(shards, after, max, "").await?;
        let mut heads = Vec::with_capacity(found.len());
        for row in &found {
            let org = org(row, 0)?;
            if let Row::Head(head) = tables::read(&org, RowKind::Head, stored(row, 1))? {
                heads.push((org, head));
            }
        }
        Ok(heads)
    }

    pub(super) async fn having(
        &self,
        kind: RowKind,
        shards: &ShardSet,
        after: Option<&OrgId>,
        max: usize,
    ) -> Result<Vec<OrgId>, StoreFault> {
        let (schema, table) = (&self.options.schema, table(kind));
        let also =
            format!(" AND EXISTS (SELECT FROM {schema}.{table} AS t WHERE t.shard_id = h.shard_id AND t.org = h.org)");
        self.heads(shards, after, max, &also).await?.iter().map(|row| org(row, 0)).collect()
    }

    /// Orgs with their heads, in the order of dumps.
    async fn heads(
        &self,
        shards: &ShardSet,
        after: Option<&OrgId>,
        max: usize,
        also: &str,
    ) -> Result<Vec<tokio_postgres::Row>, StoreFault> {
        let sql = format!(
            "SELECT org, '{{}}'::text[], version, value::text FROM {}.head AS h \
             WHERE (octet_length(org), org) > (octet_length($1), $1 COLLATE \"C\") AND {}{also} \
             ORDER BY octet_length(org), org LIMIT $3",
            self.options.schema,
            of_shards(shards, "shard_id", "$2"),
        );
        let after = after.map_or("", OrgId::as_str);
        let (shards, max) = (numbers(shards), limit(max));
        self.ask(&sql, &[(&after, Type::TEXT), (&shards, Type::INT2_ARRAY), (&max, Type::INT8)]).await
    }

    /// The youngest row of each name, in the order of the names.
    pub(super) async fn latest(&self, org: &OrgId, names: &[KeptName]) -> Result<Vec<Row>, StoreFault> {
        let (mut ids, mut reservations) = ((Vec::new(), Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for (at, name) in (0_i64..).zip(names) {
            let mut parts = Parts::of(&name.first_key()).into_iter();
            match name {
                KeptName::Request(..) => {
                    ids.0.push(at);
                    ids.1.extend(parts.next());
                    ids.2.extend(parts.next());
                }
                KeptName::Reservation(_) => {
                    reservations.0.push(at);
                    reservations.1.extend(parts.next());
                }
            }
        }
        let shard = number(&Shard::of(org));
        let schema = &self.options.schema;
        let sql = format!(
            "SELECT n.at, r.* FROM unnest($3, $4, $5) AS n(at, rpc, id) CROSS JOIN LATERAL (\
                 SELECT 0::int4 AS kind, {} AS key, version, value::text FROM {schema}.request_id \
                 WHERE shard_id = $1 AND org = $2 AND rpc = n.rpc::int2 AND id = n.id ORDER BY at DESC LIMIT 1) AS r \
             UNION ALL SELECT n.at, r.* FROM unnest($6, $7) AS n(at, id) CROSS JOIN LATERAL (\
                 SELECT 1::int4 AS kind, {} AS key, version, value::text FROM {schema}.settled \
                 WHERE shard_id = $1 AND org = $2 AND id = n.id ORDER BY at DESC LIMIT 1) AS r \
             ORDER BY 1",
            key_of(RowKind::RequestId),
            key_of(RowKind::Settled),
        );
        let params: Params<'_> = &[
            (&shard, Type::INT2),
            (&org.as_str(), Type::TEXT),
            (&ids.0, Type::INT8_ARRAY),
            (&ids.1, Type::TEXT_ARRAY),
            (&ids.2, Type::TEXT_ARRAY),
            (&reservations.0, Type::INT8_ARRAY),
            (&reservations.1, Type::TEXT_ARRAY),
        ];
        let found = self.ask(&sql, params).await?;
        let kind =
            |row: &tokio_postgres::Row| if row.get::<_, i32>(1) == 0 { RowKind::RequestId } else { RowKind::Settled };
        found.iter().map(|row| tables::read(org, kind(row), stored(row, 2))).collect()
    }

    /// Rows of a kind in the order of their keys, from behind `after`.
    pub(super) async fn beside(
        &self,
        org: &OrgId,
        kind: RowKind,
        after: Option<&RowKey>,
        max: usize,
    ) -> Result<Vec<Row>, StoreFault> {
        // Names sort by their length first, as in the keys of a store of bytes: dumps of all stores are the same.
        let by = |name: &str, of: &str, value: &str| {
            if of == "text" {
                (format!("octet_length({name}), {name}"), format!("octet_length({value}), {value}"))
            } else {
                (name.to_owned(), format!("{value}::{of}"))
            }
        };
        let columns = columns(kind).enumerate();
        let (order, bound): (Vec<_>, Vec<_>) =
            columns.map(|(at, (name, of))| by(name, of, &format!("($4::text[])[{}]", at + 1))).unzip();
        let (order, bound) = (order.join(", "), bound.join(", "));
        let behind =
            if after.is_some() { format!(" AND ({order}) > ({bound})") } else { " AND $4::text[] IS NOT NULL".into() };
        let sql = format!(
            "SELECT {} AS key, version, value::text FROM {}.{} WHERE shard_id = $1 AND org = $2{behind} \
             ORDER BY {order} LIMIT $3",
            key_of(kind),
            self.options.schema,
            table(kind),
        );
        let after: Vec<String> = after.map(|key| Parts::of(key).into_iter().collect()).unwrap_or_default();
        let (shard, max) = (number(&Shard::of(org)), limit(max));
        let params: Params<'_> =
            &[(&shard, Type::INT2), (&org.as_str(), Type::TEXT), (&max, Type::INT8), (&after, Type::TEXT_ARRAY)];
        self.ask(&sql, params).await?.iter().map(|row| tables::read(org, kind, stored(row, 0))).collect()
    }
}

/// The columns of a key as texts.
fn key_of(kind: RowKind) -> String {
    let columns: Vec<_> = columns(kind).map(|(name, _)| format!("{name}::text")).collect();
    format!("ARRAY[{}]::text[]", columns.join(", "))
}

/// Key, version and value of a row, from a column on.
fn stored(row: &tokio_postgres::Row, from: usize) -> Stored {
    Stored { parts: row.get(from), version: row.get(from + 1), value: row.get(from + 2) }
}

fn org(row: &tokio_postgres::Row, at: usize) -> Result<OrgId, StoreFault> {
    OrgId::parse("org", row.get(at)).map_err(|error| fault(error.to_string()))
}

/// All shards need no list. The parameter is there either way.
fn of_shards(shards: &ShardSet, column: &str, param: &str) -> String {
    if *shards == ShardSet::all() { format!("{param}::int2[] IS NOT NULL") } else { format!("{column} = ANY({param})") }
}

fn numbers(shards: &ShardSet) -> Vec<i16> {
    if *shards == ShardSet::all() { Vec::new() } else { shards.iter().map(|shard| number(&shard)).collect() }
}

fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}
