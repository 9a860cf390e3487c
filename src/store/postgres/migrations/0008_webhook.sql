-- How far the log of an org was delivered to a webhook.

CREATE TABLE {schema}.events_delivered (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE {schema}.events_delivered IS 'Up to which number the events of an org were delivered to the webhook, or were not wanted.';
