-- Bearer tokens that all nodes take. What lets somebody in is the secret, which nobody keeps: a row has its SHA-256.
--
-- Nodes compare the mark of token_change several times a second, and read the rows where it is another one. A trigger
-- changes it, so it does not matter who changes the rows, or how. The mark is no number: after a failover that forgot the
-- last change, or a backup that was restored, the next number would have been seen before.
CREATE TABLE {schema}.token (
    name text COLLATE "C" PRIMARY KEY CHECK (name <> ''),
    id text COLLATE "C" NOT NULL UNIQUE CHECK (id <> ''),
    sha256 bytea NOT NULL CHECK (octet_length(sha256) = 32),
    role text NOT NULL CHECK (role IN ('reporter', 'plane', 'viewer', 'admin', 'peer')),
    orgs text[] NOT NULL CHECK (cardinality(orgs) > 0 AND array_position(orgs, NULL) IS NULL),
    scopes text[] NOT NULL DEFAULT '{}' CHECK (array_position(scopes, NULL) IS NULL),
    bind text[] NOT NULL DEFAULT '{}' CHECK (array_position(bind, NULL) IS NULL),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp() CHECK (created_at BETWEEN '1970-01-01Z' AND '9999-12-31Z'),
    expires_at timestamptz CHECK (expires_at BETWEEN '1970-01-01Z' AND '9999-12-31Z')
);
COMMENT ON TABLE {schema}.token IS
    'Bearer tokens of callers, where nodes have auth.token_store = "cluster". To remove a row revokes the token within a second. `tollgate token` writes it.';
COMMENT ON COLUMN {schema}.token.name IS 'What the log and the audit call the bearer.';
COMMENT ON COLUMN {schema}.token.id IS 'The part of the token that names it: tg_ID_SECRET.';
COMMENT ON COLUMN {schema}.token.sha256 IS 'SHA-256 of the secret, which is 64 hexadecimal digits.';
COMMENT ON COLUMN {schema}.token.role IS 'What the bearer may call: docs/security.md has the table.';
COMMENT ON COLUMN {schema}.token.orgs IS 'The orgs that it may reach: acme, acme-*, or * for all.';
COMMENT ON COLUMN {schema}.token.scopes IS 'The scopes that its calls may name, one by one or as agent/*; empty: any, and none.';
COMMENT ON COLUMN {schema}.token.bind IS 'The scopes that each of its calls is in.';
COMMENT ON COLUMN {schema}.token.expires_at IS 'When it ends; null: with its row.';

CREATE TABLE {schema}.token_change (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    mark uuid NOT NULL DEFAULT gen_random_uuid(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE {schema}.token_change IS 'One row, changed with each change of the table token, in the same transaction.';
INSERT INTO {schema}.token_change DEFAULT VALUES;

-- Whoever changes tokens waits here for whoever does so at the same time. So a mark that is seen shows every change before it.
CREATE FUNCTION {schema}.token_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE {schema}.token_change SET mark = gen_random_uuid(), changed_at = clock_timestamp();
    PERFORM pg_notify('{schema}_token', 'changed');
    RETURN NULL;
END
$$;
CREATE TRIGGER token_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {schema}.token
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.token_changed();
