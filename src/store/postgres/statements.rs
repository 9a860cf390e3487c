//! The statements about nodes and the owners of shards, as [ADR 15](../../../docs/adr/0015-nodes-share-postgresql.md) has
//! them: there is why each is as it is.
//!
//! Each is carried out alone, as its own transaction. Instants are those of `clock_timestamp()`, because `now()` is
//! the start of the statement, and a statement may have waited. Who changes what others wait for notifies them in the
//! same statement: `pg_notify` of many rows with one text is one notification.

use crate::bounds::NODE_LEASE_MS;

/// When a lease expires, in microseconds since 1970, exactly; no value where the node is dead.
const EXPIRES_AT: &str = "CASE WHEN isfinite(expires_at) THEN (extract(epoch FROM expires_at) * 1000000)::bigint END";

/// A lease that begins now.
fn lease() -> String {
    format!("clock_timestamp() + interval '{NODE_LEASE_MS} milliseconds'")
}

/// `$1` node, `$2` incarnation, `$3` and `$4` addresses, `$5` weight, `$6` version, `$7` configuration, `$8` lease time and
/// `$9` service time of the node.
pub(super) fn register(schema: &str) -> String {
    let lease = lease();
    format!(
        "INSERT INTO {schema}.lease \
         (node, incarnation, peer_address, grpc_address, weight, version, config_digest, lease_ms, service_ms, expires_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, {lease})"
    )
}

/// `$1` node, `$2` incarnation, `$3` lease time and `$4` service time of the node. A row where the lease had not expired.
pub(super) fn renew(schema: &str) -> String {
    let lease = lease();
    format!(
        "UPDATE {schema}.lease SET expires_at = {lease}, renewed_at = clock_timestamp(), lease_ms = $3, service_ms = $4 \
         WHERE node = $1 AND incarnation = $2 AND expires_at > clock_timestamp() RETURNING 1"
    )
}

/// `$1` node, `$2` incarnation, `$3` whether it is draining. A row where the node is known.
pub(super) fn drain(schema: &str) -> String {
    format!("UPDATE {schema}.lease SET draining = $3 WHERE node = $1 AND incarnation = $2 RETURNING 1")
}

/// `$1` node, `$2` incarnation, `$3` the digest of its configuration.
pub(super) fn configured(schema: &str) -> String {
    format!("UPDATE {schema}.lease SET config_digest = $3 WHERE node = $1 AND incarnation = $2")
}

/// One row, of one snapshot: a column of arrays for each column of the leases, then of the shards, and when that was.
pub(super) fn look(schema: &str) -> String {
    let each = |columns: &[&str], order: &str| {
        let columns = columns.iter().map(|column| format!("array_agg({column} ORDER BY {order})"));
        columns.collect::<Vec<_>>().join(", ")
    };
    let of_lease = [
        "node",
        "incarnation",
        "peer_address",
        "grpc_address",
        "weight",
        "version",
        "config_digest",
        "draining",
        EXPIRES_AT,
    ];
    let leases = each(&of_lease, "node, incarnation");
    let shards = each(&["owner", "owner_inc", "epoch"], "shard_id");
    format!(
        "SELECT *, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
         FROM (SELECT {leases} FROM {schema}.lease) AS of_leases \
         CROSS JOIN (SELECT {shards} FROM {schema}.shard) AS of_shards"
    )
}

/// `$1` node, `$2` incarnation, `$3` as [`look`] has said when its lease expires, `$4` channel, `$5` sender. A row
/// where the lease has expired, and has not been renewed since.
pub(super) fn mark(schema: &str) -> String {
    format!(
        "UPDATE {schema}.lease SET expires_at = '-infinity', died_at = clock_timestamp() \
         WHERE node = $1 AND incarnation = $2 AND {EXPIRES_AT} = $3 AND expires_at <= clock_timestamp() \
         RETURNING pg_notify($4, $5)"
    )
}

/// `$1` node, `$2` incarnation, `$3` shards, `$4` channel, `$5` sender, `$6` lease time of the node. Of each shard that is the
/// node's from now on its epoch, its seq, and where its lease time, its absences and its service time stand. It waits
/// for no other statement.
///
/// Lease time goes on by what that of the owner had gone on by when it was last renewed, and absences by what has
/// passed since. At least the length of a lease has passed since that renewal, so service time goes on by it as well.
pub(super) fn claim(schema: &str) -> String {
    format!(
        "WITH free AS MATERIALIZED (SELECT s.shard_id, s.owner, s.owner_inc FROM {schema}.shard AS s \
         WHERE s.shard_id = ANY ($3) AND (s.owner IS NULL OR s.owner = $1 AND s.owner_inc = $2 \
         OR EXISTS (SELECT FROM {schema}.lease AS l WHERE l.node = s.owner AND l.incarnation = s.owner_inc \
         AND l.expires_at = '-infinity')) \
         ORDER BY s.shard_id FOR UPDATE OF s SKIP LOCKED) \
         UPDATE {schema}.shard AS s SET owner = $1, owner_inc = $2, epoch = s.epoch + 1, \
         lease_ms = coalesce(s.lease_ms + greatest(0, l.lease_ms - s.owner_lease_ms), s.lease_ms, $6), \
         owner_lease_ms = $6, \
         absent_ms = s.absent_ms + CASE WHEN l.node = $1 AND l.incarnation = $2 THEN 0 ELSE greatest(0, \
         extract(epoch FROM clock_timestamp() - coalesce(l.renewed_at, s.left_at, clock_timestamp())) * 1000)::bigint END, \
         service_ms = greatest(s.service_ms, l.service_ms + {NODE_LEASE_MS}) \
         FROM free LEFT JOIN {schema}.lease AS l ON l.node = free.owner AND l.incarnation = free.owner_inc \
         WHERE s.shard_id = free.shard_id \
         AND EXISTS (SELECT FROM {schema}.lease AS l WHERE l.node = $1 AND l.incarnation = $2 \
         AND l.expires_at > clock_timestamp()) \
         RETURNING s.shard_id, s.epoch, s.seq, s.lease_ms, s.absent_ms, s.service_ms, pg_notify($4, $5)"
    )
}

/// `$1` node, `$2` incarnation, `$3` shards, `$4` the epoch of each, `$5` channel, `$6` sender, `$7` lease time and `$8` service
/// time of the node. Rows are locked in the
/// order of shards, as commits do, because it waits for those.
pub(super) fn release(schema: &str) -> String {
    format!(
        "WITH held AS MATERIALIZED (SELECT s.shard_id FROM {schema}.shard AS s \
         JOIN unnest($3, $4) AS w (shard_id, epoch) ON s.shard_id = w.shard_id AND s.epoch = w.epoch \
         WHERE s.owner = $1 AND s.owner_inc = $2 ORDER BY s.shard_id FOR UPDATE OF s) \
         UPDATE {schema}.shard AS s SET owner = NULL, epoch = s.epoch + 1, \
         lease_ms = s.lease_ms + greatest(0, $7 - s.owner_lease_ms), service_ms = greatest(s.service_ms, $8), \
         left_at = clock_timestamp() FROM held \
         WHERE s.shard_id = held.shard_id RETURNING pg_notify($5, $6)"
    )
}

/// `$1` node, `$2` incarnation, `$3` channel, `$4` sender.
pub(super) fn leave(schema: &str) -> String {
    format!(
        "UPDATE {schema}.lease SET expires_at = '-infinity', died_at = coalesce(died_at, clock_timestamp()) \
         WHERE node = $1 AND incarnation = $2 RETURNING pg_notify($3, $4)"
    )
}

/// Dead nodes that own nothing, a day after their death.
pub(super) fn forget(schema: &str) -> String {
    format!(
        "DELETE FROM {schema}.lease AS l \
         WHERE l.expires_at = '-infinity' AND l.died_at < clock_timestamp() - interval '1 day' \
         AND NOT EXISTS (SELECT FROM {schema}.shard AS s WHERE s.owner = l.node AND s.owner_inc = l.incarnation)"
    )
}
