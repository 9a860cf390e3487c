-- What the export that was imported said of its store as a whole, so that an export of this one says the same.
CREATE TABLE {schema}.origin (
    header jsonb NOT NULL
);
COMMENT ON TABLE {schema}.origin IS 'The first line of the export that was imported, at most one row.';
