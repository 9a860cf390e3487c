//! `tollgate export` and `import` of a cell in PostgreSQL.

use std::io::{self, BufRead, Write};

use crate::store::postgres::{self, PgError, PgOptions};

/// Who owns the shards while an import runs.
const OWNER: &str = "tollgate import";

/// Answers how many rows were written.
pub(super) async fn export(url: &str, out: &mut dyn Write) -> Result<u64, PgError> {
    postgres::export(PgOptions::of(url, OWNER)?, out).await
}

/// Answers the line to print.
pub(super) async fn import(url: &str, from: &mut dyn BufRead, accept_unclosed: bool) -> io::Result<Vec<String>> {
    let options = PgOptions::of(url, OWNER).map_err(io::Error::other)?;
    let rows = postgres::import(options, from, accept_unclosed).await.map_err(io::Error::other)?;
    Ok(vec![format!("{rows} rows imported")])
}
