-- Which cell of which cluster this database is: written when the cluster begins, and never changed.
CREATE TABLE {schema}.cell (
    cluster text NOT NULL,
    number smallint NOT NULL,
    cells smallint NOT NULL,
    is_born boolean NOT NULL,
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    CHECK (number BETWEEN 1 AND cells AND cells <= 64)
);
COMMENT ON TABLE {schema}.cell IS
    'Which cell of its cluster this database is: one row, never edited. It has the shards from (number - 1) * 1024 / cells on.';
COMMENT ON COLUMN {schema}.cell.cluster IS 'The same random name in each database of the cluster.';
COMMENT ON COLUMN {schema}.cell.number IS 'From 1, as cluster.postgres_urls lists them.';
COMMENT ON COLUMN {schema}.cell.cells IS 'How many databases the cluster has.';
COMMENT ON COLUMN {schema}.cell.is_born IS 'Every database of the cluster has this row.';

-- Nodes have used this database before it had a number: it was the only one.
INSERT INTO {schema}.cell (cluster, number, cells, is_born)
SELECT md5(random()::text || clock_timestamp()::text), 1, 1, true
WHERE EXISTS (SELECT FROM {schema}.shard WHERE epoch > 0);
