-- Nodes that share the cell: one row for each life of a node. docs/adr/0015-nodes-share-postgresql.md has every statement
-- that reads or writes it, and why it is as it is.
--
-- Every node changes its row several times a second, so updates stay in their page (HOT) and are vacuumed early.
CREATE TABLE {schema}.lease (
    node text COLLATE "C" NOT NULL,
    incarnation bigint NOT NULL CHECK (incarnation >= 0),
    peer_address text NOT NULL,
    grpc_address text NOT NULL,
    weight integer NOT NULL CHECK (weight BETWEEN 1 AND 65535),
    version text NOT NULL,
    config_digest text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    draining boolean NOT NULL DEFAULT false,
    expires_at timestamptz NOT NULL,
    renewed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_ms bigint NOT NULL,
    service_ms bigint NOT NULL,
    died_at timestamptz,
    PRIMARY KEY (node, incarnation)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE {schema}.lease IS
    'Nodes that share the cell, one row for each life of a node. Never edited by hand: a node whose row is changed may answer beside its successor. Its view is nodes.';
COMMENT ON COLUMN {schema}.lease.node IS 'The name of the node, the same in each of its lives.';
COMMENT ON COLUMN {schema}.lease.incarnation IS
    'Which life: a random number of 63 bits, another one after each start and each lost lease. Logs show it in hex.';
COMMENT ON COLUMN {schema}.lease.peer_address IS 'host:port at which other nodes reach it.';
COMMENT ON COLUMN {schema}.lease.grpc_address IS 'host:port at which callers reach it.';
COMMENT ON COLUMN {schema}.lease.weight IS 'Its part of the shards is this among the sum of all.';
COMMENT ON COLUMN {schema}.lease.config_digest IS 'Nodes that differ in it are configured differently.';
COMMENT ON COLUMN {schema}.lease.draining IS 'It gives up what it owns and takes nothing.';
COMMENT ON COLUMN {schema}.lease.expires_at IS
    'When its lease expires, by the clock of this server. -infinity: it is dead, for ever, and its shards may be claimed.';
COMMENT ON COLUMN {schema}.lease.renewed_at IS 'When it was last renewed, by the clock of this server.';
COMMENT ON COLUMN {schema}.lease.lease_ms IS 'Where the lease time of the node stood then, which goes on while it is up.';
COMMENT ON COLUMN {schema}.lease.service_ms IS 'Where the service time of the node stood then, in milliseconds since 1970.';
COMMENT ON COLUMN {schema}.lease.died_at IS 'When it left or was marked as dead; a day later the row is removed.';

-- The clocks of a shard: sessions, holds and other leases of its orgs end by the time for which it had an owner, and its
-- windows never go back, whoever owns it.
ALTER TABLE {schema}.shard
    ADD COLUMN lease_ms bigint,
    ADD COLUMN owner_lease_ms bigint NOT NULL DEFAULT 0,
    ADD COLUMN absent_ms bigint NOT NULL DEFAULT 0,
    ADD COLUMN service_ms bigint NOT NULL DEFAULT 0,
    ADD COLUMN left_at timestamptz;
-- Rows are longer than they were, and a claim changes all of a page at once: each page has room for that.
ALTER TABLE {schema}.shard SET (fillfactor = 30);
CLUSTER {schema}.shard USING shard_pkey;
COMMENT ON COLUMN {schema}.shard.lease_ms IS
    'Lease time of the shard when its owner claimed it, or when it was released; no value: nobody ever owned it.';
COMMENT ON COLUMN {schema}.shard.owner_lease_ms IS 'Lease time of the owner when it claimed the shard.';
COMMENT ON COLUMN {schema}.shard.absent_ms IS 'For how long nobody owned the shard, all times together.';
COMMENT ON COLUMN {schema}.shard.service_ms IS 'Service time of the shard is not before this, in milliseconds since 1970.';
COMMENT ON COLUMN {schema}.shard.left_at IS 'When it was released.';

COMMENT ON COLUMN {schema}.shard.owner IS
    'The node that owns the shard, dead or alive; no value: it was released. "tollgate import": an import runs, or was stopped half way.';
COMMENT ON COLUMN {schema}.shard.owner_inc IS 'Which life of the owner; 0 for an import.';
COMMENT ON COLUMN {schema}.shard.epoch IS 'One more with every claim and release.';
COMMENT ON COLUMN {schema}.shard.seq IS 'One more with every statement that commits to the shard.';

CREATE VIEW {schema}.nodes AS SELECT
    node, lpad(to_hex(incarnation), 16, '0') AS incarnation,
    CASE
        WHEN expires_at = '-infinity' THEN 'dead'
        WHEN expires_at <= clock_timestamp() THEN 'expired'
        WHEN draining THEN 'draining'
        ELSE 'alive'
    END AS state,
    (SELECT count(*) FROM {schema}.shard AS s WHERE s.owner = l.node AND s.owner_inc = l.incarnation) AS shards,
    weight, version, config_digest, grpc_address, peer_address, started_at,
    nullif(expires_at, '-infinity') AS expires_at, died_at
FROM {schema}.lease AS l;
COMMENT ON VIEW {schema}.nodes IS
    'One row for each life of a node. expired: it has not renewed in time, and no other node has marked it as dead yet.';
