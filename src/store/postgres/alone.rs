//! Owning a cell without a lease: for an import, which is alone with the database, and for tests of the store.
//!
//! No node takes a shard over from such an owner, because no lease of it is ever marked: a cell that was imported half
//! way is not served. So the shards are released at the end.

use tokio_postgres::types::{ToSql, Type};

use super::{
    PgError, PgStore,
    batch::number,
    committer::shard,
    connection::{Connection, Unanswered},
    leases::Lease,
};
use crate::domain::shard::ShardSet;

fn failed(unanswered: Unanswered) -> PgError {
    PgError(unanswered.cause())
}

impl PgStore {
    /// Owns these shards from now on, whoever owned them before: it is fenced. Refused where a node lives that could be
    /// fenced by it. Answers how many there are.
    pub(super) async fn claim_alone(&self, shards: &ShardSet) -> Result<usize, PgError> {
        let options = &self.shared.options;
        let (schema, round) = (&options.schema, self.shared.leases.round());
        let connection = Connection::open(options).await.map_err(PgError)?;
        refuse_beside_nodes(&connection, schema).await?;
        let sql = format!(
            "WITH held AS MATERIALIZED (SELECT shard_id FROM {schema}.shard WHERE shard_id = ANY($2) \
             ORDER BY shard_id FOR UPDATE) \
             UPDATE {schema}.shard AS s SET owner = $1, owner_inc = 0, epoch = s.epoch + 1 FROM held \
             WHERE s.shard_id = held.shard_id \
             AND NOT EXISTS (SELECT FROM {schema}.lease AS l WHERE l.expires_at > clock_timestamp()) \
             RETURNING s.shard_id, s.epoch, s.seq"
        );
        let numbers: Vec<i16> = shards.iter().map(|shard| number(&shard)).collect();
        let params: &[(&(dyn ToSql + Sync), Type)] = &[(&options.owner, Type::TEXT), (&numbers, Type::INT2_ARRAY)];
        let rows = connection.query(&sql, params).await.map_err(failed)?;
        let lease = |row: &tokio_postgres::Row| Lease { epoch: row.get(1), seq: row.get(2) };
        let claimed: Vec<_> = rows.iter().filter_map(|row| Some((shard(row.get(0))?, lease(row)))).collect();
        self.shared.leases.claimed(round, &claimed);
        // One that has registered since the statement began may have owned some: it can claim no more.
        if let Err(refused) = refuse_beside_nodes(&connection, schema).await {
            self.release_alone().await?;
            return Err(refused);
        }
        Ok(claimed.len())
    }

    /// Anybody may claim what [`claim_alone`](Self::claim_alone) has got.
    pub(super) async fn release_alone(&self) -> Result<(), PgError> {
        let options = &self.shared.options;
        let connection = Connection::open(options).await.map_err(PgError)?;
        let (numbers, epochs): (Vec<i16>, Vec<i64>) =
            self.shared.leases.give_up(&ShardSet::all()).iter().map(|(shard, epoch)| (number(shard), *epoch)).unzip();
        let sql = format!(
            "WITH held AS MATERIALIZED (SELECT s.shard_id FROM {schema}.shard AS s \
             JOIN unnest($2, $3) AS w (shard_id, epoch) ON s.shard_id = w.shard_id AND s.epoch = w.epoch \
             WHERE s.owner = $1 AND s.owner_inc = 0 ORDER BY s.shard_id FOR UPDATE OF s) \
             UPDATE {schema}.shard AS s SET owner = NULL, epoch = s.epoch + 1 FROM held \
             WHERE s.shard_id = held.shard_id",
            schema = options.schema
        );
        let params: &[(&(dyn ToSql + Sync), Type)] =
            &[(&options.owner, Type::TEXT), (&numbers, Type::INT2_ARRAY), (&epochs, Type::INT8_ARRAY)];
        connection.query(&sql, params).await.map(drop).map_err(failed)
    }
}

/// An error where a node lives.
pub(super) async fn refuse_beside_nodes(connection: &Connection, schema: &str) -> Result<(), PgError> {
    let sql = format!(
        "SELECT string_agg(DISTINCT node, ', ' ORDER BY node) FROM {schema}.lease WHERE expires_at > clock_timestamp()"
    );
    let found = connection.query(&sql, &[]).await.map_err(failed)?;
    match found.first().and_then(|row| row.get::<_, Option<String>>(0)) {
        None => Ok(()),
        Some(nodes) => Err(PgError(format!(
            "schema {schema} is served by {nodes}: stop every node of it first; a node that was killed has left two \
             seconds later"
        ))),
    }
}
