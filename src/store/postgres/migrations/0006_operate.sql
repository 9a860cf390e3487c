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

-- Usage of past days and months, for finance. No node loads these rows with their org.
CREATE TABLE {schema}.usage_day (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    month numeric(20) NOT NULL,
    scope text COLLATE "C" NOT NULL,
    meter text COLLATE "C" NOT NULL,
    start numeric(20) NOT NULL,
    plane text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, month, scope, meter, start, plane)
) WITH (fillfactor = 100);
COMMENT ON TABLE {schema}.usage_day IS 'Usage by day of UTC, once its hours are no longer in the table slice. Its view is usage_by_day.';

CREATE TABLE {schema}.usage_month (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    start numeric(20) NOT NULL,
    scope text COLLATE "C" NOT NULL,
    meter text COLLATE "C" NOT NULL,
    plane text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, start, scope, meter, plane)
) WITH (fillfactor = 100);
COMMENT ON TABLE {schema}.usage_month IS 'Usage by month of UTC, once its days are no longer in the table usage_day.';

CREATE TABLE {schema}.usage_kept (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org)
) WITH (fillfactor = 90);
COMMENT ON TABLE {schema}.usage_kept IS 'How many rows of usage_day and usage_month an org has, and from when.';

CREATE VIEW {schema}.usage_by_day AS SELECT
    org, scope, meter, to_timestamp(start / 1000) AT TIME ZONE 'UTC' AS day, (value ->> 'amount')::numeric AS amount, shard_id
FROM {schema}.usage_day WHERE plane = ''
UNION ALL SELECT
    org, scope, meter, to_timestamp(div(start, 86400000) * 86400) AT TIME ZONE 'UTC', sum((value ->> 'total')::numeric), shard_id
FROM {schema}.slice GROUP BY org, scope, meter, div(start, 86400000), shard_id;
COMMENT ON VIEW {schema}.usage_by_day IS
    'Usage by day of UTC, for 400 days. The scope that is empty is the org itself, and has everything that its scopes have.';

CREATE TABLE {schema}.plane_day (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    start numeric(20) NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, start)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE {schema}.plane_day IS
    'Usage by plane and meter on each day of which hours are in the table slice; older days are in usage_day. Calls without a plane have no share.';

CREATE TABLE {schema}.plane_of (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, id)
) WITH (fillfactor = 90);
COMMENT ON TABLE {schema}.plane_of IS 'The plane that asked for a reservation, or for a session, which is not settled.';

CREATE TABLE {schema}.override (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    scope text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, scope, subject)
) WITH (fillfactor = 90);
COMMENT ON TABLE {schema}.override IS
    'What an operator has set over everything else, with the time at which it ends by itself; one row for each limit of a scope.';
