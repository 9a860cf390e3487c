//! The schema, as numbered files of SQL. Each is applied once, as one transaction, and never edited afterwards: the
//! table `migration` has the fingerprint of what was applied.
//!
//! A table and forty lines instead of a crate: what those add (migrations in Rust, in several databases, undone again)
//! is not used here.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::{PgError, connection::Connection};

/// In the order of their numbers, from 1.
const MIGRATIONS: &[(&str, &str)] = &[
    ("rows", include_str!("migrations/0001_rows.sql")),
    ("origin", include_str!("migrations/0002_origin.sql")),
    ("leases", include_str!("migrations/0003_leases.sql")),
    ("cell", include_str!("migrations/0004_cell.sql")),
    ("tokens", include_str!("migrations/0005_tokens.sql")),
    ("operate", include_str!("migrations/0006_operate.sql")),
    ("names", include_str!("migrations/0007_names.sql")),
    ("webhook", include_str!("migrations/0008_webhook.sql")),
];

/// Brings the schema up to date. Nodes that start at once wait for each other at the lock.
pub(super) async fn apply(connection: &Connection, schema: &str) -> Result<(), PgError> {
    let failed =
        |unanswered: super::connection::Unanswered| PgError(format!("schema {schema}: {}", unanswered.cause()));
    let mut first = format!("CREATE SCHEMA IF NOT EXISTS {schema}; ");
    let _ = write!(
        first,
        "CREATE TABLE IF NOT EXISTS {schema}.migration (number integer PRIMARY KEY, name text NOT NULL, \
         sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    );
    let known = format!("SELECT number FROM {schema}.migration LIMIT 1");
    if connection.query(&known, &[]).await.is_err() {
        connection.run(&first).await.map_err(failed)?;
    }
    for (number, (name, text)) in (1..).zip(MIGRATIONS) {
        let fingerprint = format!("{:x}", Sha256::digest(text));
        if applied(connection, schema, number, &fingerprint).await? {
            continue;
        }
        let text = text.replace("{schema}", schema);
        let taken = format!(
            "BEGIN; LOCK TABLE {schema}.migration IN EXCLUSIVE MODE; \
             INSERT INTO {schema}.migration (number, name, sha256) VALUES ({number}, '{name}', '{fingerprint}'); \
             {text}; COMMIT"
        );
        if let Err(unanswered) = connection.run(&taken).await {
            let _ = connection.run("ROLLBACK").await;
            // Another node was first.
            if !applied(connection, schema, number, &fingerprint).await? {
                return Err(failed(unanswered));
            }
        }
    }
    newest(connection, schema).await
}

async fn applied(connection: &Connection, schema: &str, number: i32, fingerprint: &str) -> Result<bool, PgError> {
    let sql = format!("SELECT sha256 FROM {schema}.migration WHERE number = {number}");
    let rows = connection.query(&sql, &[]).await.map_err(|error| PgError(error.cause()))?;
    match rows.first().map(|row| row.get::<_, String>(0)) {
        None => Ok(false),
        Some(stored) if stored == fingerprint => Ok(true),
        Some(_) => Err(PgError(format!("schema {schema}: migration {number} was applied with another text"))),
    }
}

/// Tables that a newer tollgate has changed are not written by this one.
async fn newest(connection: &Connection, schema: &str) -> Result<(), PgError> {
    let sql = format!("SELECT coalesce(max(number), 0) FROM {schema}.migration");
    let rows = connection.query(&sql, &[]).await.map_err(|error| PgError(error.cause()))?;
    let found: i32 = rows.first().map_or(0, |row| row.get(0));
    let known = MIGRATIONS.len();
    if usize::try_from(found).is_ok_and(|found| found <= known) {
        return Ok(());
    }
    Err(PgError(format!("schema {schema} has migration {found}, this tollgate knows {known}: start a newer one")))
}
