//! The databases of a cluster into a [dump], and a dump into empty ones: any number of them, so this is also how their number
//! is changed.
//!
//! An import believes nothing: the closing line of the dump must fit its lines, and what was written is read again and
//! must add up to what was read. Where it fails, what it has written is removed again. It owns every shard while it
//! runs, so that no node serves half of it, and is refused where a node lives.
//!
//! An export owns nothing and is not one snapshot: each org is as it stood when it was read. Export while nothing writes.

use std::{
    io::{BufRead, Write},
    sync::Arc,
    time::Duration,
};

use tokio_postgres::types::{ToSql, Type};

use super::{PgCells, PgError, PgOptions, PgStore, batch::number, connection::Connection, tables::table};
use crate::{
    domain::{lease::LeaseTime, rows::RowKind, service_time::ClockMark, shard::ShardSet},
    ports::OrgStore,
    store::dump::{self, DumpError, Header, Reader, Restored},
};

/// What does not answer now is not waited for.
const AT_ONCE: Duration = Duration::ZERO;

impl From<DumpError> for PgError {
    fn from(error: DumpError) -> Self {
        Self(error.to_string())
    }
}

/// Writes everything that is stored in the databases of a cluster, and answers how many rows that were.
pub async fn export(options: Vec<PgOptions>, out: &mut dyn Write) -> Result<u64, PgError> {
    let store = open(options).await?;
    let (mut header, mut mark) = (Header::default(), None);
    for (at, (cell, shards)) in store.parts().enumerate() {
        let (PgOptions { schema, .. }, connection) = connected(cell).await?;
        if at == 0 {
            header = origin(&connection, schema).await?;
        }
        mark = earliest(mark, clocks(&connection, schema, &shards).await?);
    }
    let kept = header.mark.take();
    let since = |ClockMark { service, lease, absent, .. }| {
        let kept = kept.clone().unwrap_or_default();
        ClockMark { service, lease, absent, ..kept }
    };
    header.mark = mark.map(since).or_else(|| kept.clone());
    let written = dump::write(&*store, &header, out).await;
    let closed = store.close().await;
    let rows = written?;
    closed.map_err(|fault| PgError(fault.to_string()))?;
    Ok(rows)
}

/// Restores an export into the empty databases of a cluster, and answers how many rows that were.
pub async fn import(options: Vec<PgOptions>, from: &mut dyn BufRead, accept_unclosed: bool) -> Result<u64, PgError> {
    let store = open(options).await?;
    refuse_unless_empty(&store).await?;
    let dump = Reader::open(from, accept_unclosed)?;
    if let Err(refused) = claim(&store).await {
        release(&store).await?;
        return Err(refused);
    }
    let header = dump.header().clone();
    let restored = restore(&store, dump).await;
    let closed = store.close().await;
    let ended = match (restored, closed) {
        (Err(error), _) => Err(error),
        (Ok(_), Err(fault)) => Err(PgError(fault.to_string())),
        (Ok(restored), Ok(())) => keep(&store, &header).await.map(|()| restored.lines),
    };
    if let Err(error) = &ended {
        empty(&store, error).await?;
    }
    match (ended, release(&store).await) {
        (Ok(_), Err(PgError(cause))) => Err(PgError(format!(
            "everything is imported, and no node can serve it, because its shards could not be released: {cause}. \
             Release them in each database: UPDATE shard SET owner = NULL, epoch = epoch + 1 WHERE owner_inc = 0"
        ))),
        (ended, _) => ended,
    }
}

/// Every database answers, or nothing is begun.
async fn open(options: Vec<PgOptions>) -> Result<Arc<PgCells>, PgError> {
    let store = PgCells::open(options, AT_ONCE).await?;
    let missing = store.state().borrow().fault().map(|fault| PgError(fault.cause.clone()));
    missing.map_or(Ok(store), Err)
}

async fn connected(cell: &PgStore) -> Result<(&PgOptions, Connection), PgError> {
    let options = &cell.shared.options;
    Ok((options, Connection::open(options).await.map_err(PgError)?))
}

/// Every shard of every database.
async fn claim(store: &PgCells) -> Result<(), PgError> {
    for (cell, shards) in store.parts() {
        cell.claim_alone(&shards).await?;
    }
    // What a node has written meanwhile, which has left since.
    refuse_unless_empty(store).await
}

async fn release(store: &PgCells) -> Result<(), PgError> {
    for (cell, _) in store.parts() {
        cell.release_alone().await?;
    }
    Ok(())
}

async fn restore(store: &PgCells, dump: Reader<'_>) -> Result<Restored, PgError> {
    let restored = dump.restore(store).await?;
    restored.verify(store).await?;
    Ok(restored)
}

/// What was imported before `error` is removed again.
async fn empty(store: &PgCells, PgError(error): &PgError) -> Result<(), PgError> {
    for (cell, _) in store.parts() {
        let (PgOptions { schema, .. }, connection) = connected(cell).await?;
        let emptied = connection.run(&format!("TRUNCATE {}", all_tables(schema))).await;
        if let Err(undo) = emptied {
            let left = format!("{error}; and what was imported could not be removed from {schema}: {}", undo.cause());
            return Err(PgError(left));
        }
    }
    Ok(())
}

fn all_tables(schema: &str) -> String {
    let tables: Vec<_> = RowKind::ALL.iter().map(|kind| format!("{schema}.{}", table(*kind))).collect();
    tables.join(", ")
}

async fn refuse_unless_empty(store: &PgCells) -> Result<(), PgError> {
    for (cell, _) in store.parts() {
        let (PgOptions { schema, .. }, connection) = connected(cell).await?;
        for kind in RowKind::ALL {
            let sql = format!("SELECT org FROM {schema}.{} LIMIT 1", table(*kind));
            let found = connection.query(&sql, &[]).await.map_err(|error| PgError(error.cause()))?;
            if let Some(row) = found.first() {
                let org: String = row.get(0);
                let name = table(*kind);
                return Err(PgError(format!(
                    "schema {schema} is not empty: {name} has rows of {org}; import needs an empty one"
                )));
            }
        }
    }
    Ok(())
}

/// Where the clocks of these shards stand, as one mark: no lease ends early by it, and no window goes back.
async fn clocks(connection: &Connection, schema: &str, shards: &ShardSet) -> Result<Option<ClockMark>, PgError> {
    let sql = format!(
        "SELECT min(s.lease_ms + greatest(0, coalesce(l.lease_ms - s.owner_lease_ms, 0))), max(s.absent_ms), \
         max(greatest(s.service_ms, l.service_ms)) \
         FROM {schema}.shard AS s LEFT JOIN {schema}.lease AS l ON l.node = s.owner AND l.incarnation = s.owner_inc \
         WHERE s.shard_id = ANY ($1)"
    );
    let numbers: Vec<i16> = shards.iter().map(|shard| number(&shard)).collect();
    let found = connection.query(&sql, &[(&numbers, Type::INT2_ARRAY)]).await;
    let found = found.map_err(|error| PgError(error.cause()))?;
    let Some(row) = found.first() else { return Ok(None) };
    let read = |at| row.get::<_, Option<i64>>(at).and_then(|millis| u64::try_from(millis).ok());
    let Some(lease) = read(0) else { return Ok(None) };
    let [absent, service] = [1, 2].map(|at| read(at).unwrap_or(0));
    Ok(Some(ClockMark { service, lease: LeaseTime(lease), absent, ..ClockMark::default() }))
}

/// The same of both.
fn earliest(one: Option<ClockMark>, another: Option<ClockMark>) -> Option<ClockMark> {
    let (Some(one), Some(another)) = (&one, &another) else { return one.or(another) };
    Some(ClockMark {
        service: one.service.max(another.service),
        lease: one.lease.min(another.lease),
        absent: one.absent.max(another.absent),
        ..ClockMark::default()
    })
}

async fn origin(connection: &Connection, schema: &str) -> Result<Header, PgError> {
    let sql = format!("SELECT header::text FROM {schema}.origin LIMIT 1");
    // A schema that is made only now has none.
    let found = connection.query(&sql, &[]).await.unwrap_or_default();
    match found.first() {
        Some(row) => {
            Header::parse(row.get(0)).map_err(|error| PgError(format!("schema {schema}, table origin: {error}")))
        }
        None => Ok(Header::default()),
    }
}

async fn keep(store: &PgCells, header: &Header) -> Result<(), PgError> {
    for (cell, _) in store.parts() {
        let (PgOptions { schema, .. }, connection) = connected(cell).await?;
        keep_origin(&connection, schema, header).await?;
        if let Some(mark) = &header.mark {
            set_clocks(&connection, schema, mark).await?;
        }
    }
    Ok(())
}

/// Leases go on from where they were in the store that was exported.
async fn set_clocks(connection: &Connection, schema: &str, mark: &ClockMark) -> Result<(), PgError> {
    let sql = format!(
        "UPDATE {schema}.shard SET lease_ms = $1, owner_lease_ms = 0, absent_ms = $2, service_ms = $3, left_at = clock_timestamp()"
    );
    let [lease, absent, service] =
        [mark.lease.0, mark.absent, mark.service].map(|millis| i64::try_from(millis).unwrap_or(i64::MAX));
    let params: &[(&(dyn ToSql + Sync), Type)] = &[(&lease, Type::INT8), (&absent, Type::INT8), (&service, Type::INT8)];
    connection.query(&sql, params).await.map(drop).map_err(|error| PgError(error.cause()))
}

async fn keep_origin(connection: &Connection, schema: &str, header: &Header) -> Result<(), PgError> {
    let sql = format!(
        "WITH emptied AS (DELETE FROM {schema}.origin) INSERT INTO {schema}.origin (header) VALUES ($1::text::jsonb)"
    );
    let kept = connection.query(&sql, &[(&header.text()?, Type::TEXT)]).await;
    kept.map(drop).map_err(|error| PgError(error.cause()))
}
