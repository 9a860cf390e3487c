-- What operators ask for: rows that no decision reads. Columns are as in 0001.

CREATE TABLE {schema}.denial (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    number numeric(20) NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, number)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE {schema}.denial IS 'Calls that were denied, or let through without an evaluated gate, and are alike: for 7 days.';

CREATE TABLE {schema}.day (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    start numeric(20) NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, start)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE {schema}.day IS 'What was allowed, denied and let through in one day of UTC: for 35 days.';

CREATE TABLE {schema}.event (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    number numeric(20) NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, number)
) WITH (fillfactor = 100);
COMMENT ON TABLE {schema}.event IS 'What happened to an org: a row for each event, without a gap but for those whose time is over.';

CREATE TABLE {schema}.alert (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    scope text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, scope, subject)
) WITH (fillfactor = 80);
COMMENT ON TABLE {schema}.alert IS 'What was announced of a limit, a spell of denials or a session of an org, so that it is announced once.';
