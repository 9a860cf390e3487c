-- What a cell keeps. One table for each kind of row, named as a dump names it: the org, what names the row, and the
-- row itself as JSON with named fields. shard_id leads every key, so that a distributed PostgreSQL can spread it.
--
-- Numbers of 64 bits without a sign are numeric(20). Times are milliseconds since 1970, amounts are in the unit of their
-- meter: micro-USD, milliseconds, bytes, or a count.
--
-- Rows that change often are updated in place (HOT): their tables leave room in each page (fillfactor), and no column
-- that changes has an index. Autovacuum comes early for them, because the dead versions of a hot row are what makes it
-- slow, and each of its runs is short then.

CREATE TABLE {schema}.shard (
    shard_id smallint PRIMARY KEY,
    owner text,
    owner_inc bigint NOT NULL DEFAULT 0,
    epoch bigint NOT NULL DEFAULT 0,
    seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE {schema}.shard IS
    'Who owns a part of the orgs. A commit names epoch and seq, and is refused where they have moved on.';
INSERT INTO {schema}.shard (shard_id) SELECT generate_series(0, 1023);

CREATE TABLE {schema}.head (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE {schema}.head IS 'What is known of an org as a whole: one row, changed by every commit. A HOT update: nothing that changes has an index.';

CREATE TABLE {schema}.timer (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    wake_at numeric(20) NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, wake_at)
) WITH (fillfactor = 90);
COMMENT ON TABLE {schema}.timer IS 'When an org is to be woken, in milliseconds since 1970; at most one row for each org.';

CREATE TABLE {schema}.slice (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    scope text COLLATE "C" NOT NULL,
    meter text COLLATE "C" NOT NULL,
    start numeric(20) NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, scope, meter, start)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE {schema}.slice IS 'Usage of one hour of a ledger: total, and minutes while the hour is young.';

CREATE TABLE {schema}.counter (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    scope text COLLATE "C" NOT NULL,
    meter text COLLATE "C" NOT NULL,
    period text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, scope, meter, period)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE {schema}.counter IS 'Usage in the running window of a limit, where that is no sum of hours.';

CREATE TABLE {schema}.reservation (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, id)
) WITH (fillfactor = 90);
COMMENT ON TABLE {schema}.reservation IS 'Amounts that are held; for a day after its expiry a reservation holds nothing and is still here.';

CREATE TABLE {schema}.baseline (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    scope text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    meter text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, scope, source, meter)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE {schema}.baseline IS 'The last total of a cumulative source.';

CREATE TABLE {schema}.execution (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, id)
) WITH (fillfactor = 90);
COMMENT ON TABLE {schema}.execution IS 'A running execution, and what its completion reports.';

CREATE TABLE {schema}.disputed (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    seq numeric(20) NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, seq)
) WITH (fillfactor = 100);
COMMENT ON TABLE {schema}.disputed IS 'An amount that was reported and not recorded as usage.';

CREATE TABLE {schema}.export (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, key)
) WITH (fillfactor = 80);
COMMENT ON TABLE {schema}.export IS 'Usage that the billing provider does not have yet, or that was set aside. Its view is outbox.';

CREATE TABLE {schema}.budget (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    scope text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, scope)
) WITH (fillfactor = 90);
COMMENT ON TABLE {schema}.budget IS 'Limits of a scope that were set at run time, in micro-USD by period.';

CREATE TABLE {schema}.session (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE {schema}.session IS 'A session, running or ended within a day.';

CREATE TABLE {schema}.trial_ended (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org)
) WITH (fillfactor = 100);
COMMENT ON TABLE {schema}.trial_ended IS 'The org''s trial has ended, and that was announced.';

CREATE TABLE {schema}.pool (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, id)
) WITH (fillfactor = 90);
COMMENT ON TABLE {schema}.pool IS 'A pool of upstream accounts.';

CREATE TABLE {schema}.account (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE {schema}.account IS 'An upstream account of a pool. Its id is a secret: show it masked.';

CREATE TABLE {schema}.request_id (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    rpc smallint NOT NULL,
    id text COLLATE "C" NOT NULL,
    at numeric(20) NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, rpc, id, at)
) WITH (fillfactor = 100);
COMMENT ON TABLE {schema}.request_id IS 'What a durable call was answered, for its retries; rpc is a number.';

CREATE TABLE {schema}.settled (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    at numeric(20) NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, id, at)
) WITH (fillfactor = 100);
COMMENT ON TABLE {schema}.settled IS 'How a reservation ended.';

CREATE TABLE {schema}.id_page (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    number numeric(20) NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, number)
) WITH (fillfactor = 100);
COMMENT ON TABLE {schema}.id_page IS 'Names of rows of request_id and settled, in the order of time.';

CREATE TABLE {schema}.journal (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    seq numeric(20) NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, seq)
) WITH (fillfactor = 100);
COMMENT ON TABLE {schema}.journal IS 'What one commit remembers of short-lived request ids.';

CREATE TABLE {schema}.long_journal (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    seq numeric(20) NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org, seq)
) WITH (fillfactor = 100);
COMMENT ON TABLE {schema}.long_journal IS 'The same for a day, as an older tollgate kept it.';

-- Orgs are listed in the order that dumps have: short names first.
CREATE INDEX head_in_order ON {schema}.head (octet_length(org), org);
CREATE INDEX timer_by_time ON {schema}.timer (wake_at);

CREATE VIEW {schema}.orgs AS SELECT
    org,
    to_timestamp((head ->> 'last_at')::numeric / 1000) AS last_change_at,
    (head ->> 'admitted_total')::numeric AS admitted_total,
    (head ->> 'uncompleted')::numeric AS uncompleted,
    head ->> 'frozen' AS frozen_reason,
    (head #>> '{rate,count}')::numeric AS calls_in_window,
    (head #>> '{rate,blocked}')::numeric AS blocked_in_window,
    to_timestamp((head #>> '{rate,window_id}')::numeric * (head #>> '{rate,len}')::numeric / 1000) AS window_start_at,
    shard_id
FROM (SELECT shard_id, org, coalesce(value -> 'head', value) AS head FROM {schema}.head) AS of_any_version;
COMMENT ON VIEW {schema}.orgs IS 'One row for each org. The window is that of the rate backstop.';

CREATE VIEW {schema}.ledger_hours AS SELECT
    org, scope, meter, to_timestamp(start / 1000) AS hour_at, (value ->> 'total')::numeric AS amount, shard_id
FROM {schema}.slice;
COMMENT ON VIEW {schema}.ledger_hours IS
    'Usage by hour. The scope that is empty is the org itself, and has everything that its scopes have.';

CREATE VIEW {schema}.budgets AS SELECT
    org, scope, each.pair ->> 0 AS period, (each.pair ->> 1)::numeric AS limit_micro_usd,
    (value ->> 'version')::numeric AS changes, shard_id
FROM {schema}.budget, jsonb_array_elements(value -> 'limits') AS each(pair);
COMMENT ON VIEW {schema}.budgets IS 'Limits that were set at run time, one row for each period.';

CREATE VIEW {schema}.sessions AS SELECT
    org, id AS session,
    session ->> 'state' AS state,
    session ->> 'scope' AS scope,
    to_timestamp((session ->> 'started_at')::numeric / 1000) AS started_at,
    to_timestamp((session ->> 'heard_at')::numeric / 1000) AS last_heartbeat_at,
    to_timestamp((session ->> 'ended_at')::numeric / 1000) AS ended_at,
    (session ->> 'booked')::numeric AS recorded_ms,
    (session ->> 'disputed')::numeric AS disputed_ms,
    shard_id
FROM (SELECT shard_id, org, id, coalesce(value -> 'session', value) AS session FROM {schema}.session) AS of_any_version;
COMMENT ON VIEW {schema}.sessions IS 'Sessions that run or ended within a day.';

CREATE VIEW {schema}.outbox AS SELECT
    org, key AS idempotency_key,
    value ->> 'scope' AS scope,
    value ->> 'meter' AS meter,
    (value ->> 'units')::numeric AS units,
    to_timestamp((value ->> 'at')::numeric / 1000) AS recorded_at,
    (value ->> 'attempts')::numeric AS attempts,
    to_timestamp((value ->> 'due_at')::numeric / 1000) AS due_at,
    value ->> 'last_error' AS last_error,
    value ->> 'dead' AS set_aside_as,
    shard_id
FROM {schema}.export;
COMMENT ON VIEW {schema}.outbox IS 'Usage on its way to the billing provider; set_aside_as says why a row waits for an operator.';
