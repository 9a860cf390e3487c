-- What orgs are called beside their ids. Values are written as those of the other tables, by name.

CREATE TABLE {schema}.leads_to (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org)
) WITH (fillfactor = 90);
COMMENT ON TABLE {schema}.leads_to IS
    'Ids that are another name of an org: the id of that org, and since when. Nothing else is kept of such an id but its head.';

CREATE TABLE {schema}.names (
    shard_id smallint NOT NULL,
    org text COLLATE "C" NOT NULL,
    version smallint NOT NULL,
    value jsonb NOT NULL,
    PRIMARY KEY (shard_id, org)
) WITH (fillfactor = 90);
COMMENT ON TABLE {schema}.names IS
    'Orgs that were renamed: what they are called now, and what they were called before. Their rows stay under their ids.';
