//! `tollgate export` and `import` of the databases of a cluster.

use std::io::{self, BufRead, Write};

use crate::store::postgres::{self, PgError, PgOptions};

/// Who owns the shards while an import runs.
const OWNER: &str = "tollgate import";

fn options(urls: &[String]) -> Result<Vec<PgOptions>, PgError> {
    urls.iter().map(|url| PgOptions::of(url, OWNER)).collect()
}

/// Answers how many rows were written.
pub(super) async fn export(urls: &[String], out: &mut dyn Write) -> Result<u64, PgError> {
    postgres::export(options(urls)?, out).await
}

/// Answers the line to print.
pub(super) async fn import(urls: &[String], from: &mut dyn BufRead, accept_unclosed: bool) -> io::Result<Vec<String>> {
    let options = options(urls).map_err(io::Error::other)?;
    let rows = postgres::import(options, from, accept_unclosed).await.map_err(io::Error::other)?;
    Ok(vec![format!("{rows} rows imported")])
}
