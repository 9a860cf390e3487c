//! Bearer tokens that nodes share, behind [`TokenStore`]; and what `tollgate token` does to them.
//!
//! A node asks over a connection of its own, so that nothing slow is in front of it, and hears of changes over a session
//! of its own (`hints.rs`). Neither writes anything.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::watch;
use tokio_postgres::{
    Row,
    types::{FromSql, ToSql, Type},
};

use super::{
    PgError, PgOptions,
    connection::{Connection, Unanswered},
    hints::Hints,
    line::Line,
    migrations,
};
use crate::{
    bounds::TOKENS_MAX,
    domain::window::Millis,
    ports::{StoreFault, TokenRow, TokenRows, TokenStore},
};

/// A connection that says nothing for as long is replaced.
const ASKED_WITHIN: Duration = Duration::from_millis(900);
const OPERATION: &str = "tokens";
const COLUMNS: &str = "id, name, role, orgs, scopes, bind, sha256, (extract(epoch FROM created_at) * 1000)::bigint, \
                       (extract(epoch FROM expires_at) * 1000)::bigint";

/// Where notifications of changed tokens come from: the trigger of the table has the same name.
fn channel(schema: &str) -> String {
    format!("{schema}_token")
}

/// The tokens of a cell, for a node.
#[derive(Debug)]
pub struct PgTokens {
    options: PgOptions,
    line: Line,
    hints: Hints,
}

impl PgTokens {
    /// Nothing is connected before somebody asks.
    pub fn new(options: PgOptions) -> Self {
        let hints = Hints::new(channel(&options.schema), String::new());
        Self { options, line: Line::default(), hints }
    }

    /// At least one row, of the primary: a standby would answer with what was so before, for as long as it is asked.
    async fn ask(&self, sql: &str) -> Result<Vec<Row>, StoreFault> {
        let rows = self.line.ask(&self.options, ASKED_WITHIN, sql, &[]).await;
        let rows = rows.map_err(|unanswered| fault(unanswered.cause()))?;
        if rows.is_empty() {
            self.line.replace();
            return Err(fault("the server is a standby, or the table token_change has no row"));
        }
        Ok(rows)
    }

    async fn mark(&self) -> Result<String, StoreFault> {
        let schema = &self.options.schema;
        let sql = format!("SELECT mark::text FROM {schema}.token_change WHERE NOT pg_is_in_recovery()");
        self.ask(&sql).await?.first().map_or_else(|| Err(fault("no row")), |row| column(row, 0))
    }

    /// One statement, so the rows are those of the mark. Where there is no token the mark stands alone.
    async fn read(&self) -> Result<TokenRows, StoreFault> {
        let schema = &self.options.schema;
        let sql = format!(
            "SELECT {COLUMNS}, mark::text FROM {schema}.token_change LEFT JOIN {schema}.token ON true \
             WHERE NOT pg_is_in_recovery() ORDER BY created_at, name LIMIT {}",
            TOKENS_MAX + 1
        );
        let read = self.ask(&sql).await?;
        let (mut mark, mut rows) = (String::new(), Vec::with_capacity(read.len()));
        for row in &read {
            mark = column(row, 9)?;
            if column::<Option<&str>>(row, 0)?.is_some() {
                rows.push(token(row)?);
            }
        }
        Ok(TokenRows { mark, rows })
    }
}

impl TokenStore for PgTokens {
    fn changed<'a>(&'a self, seen: Option<&'a str>) -> BoxFuture<'a, Result<Option<TokenRows>, StoreFault>> {
        async move {
            self.hints.listen(&self.options);
            if seen == Some(&self.mark().await?) {
                return Ok(None);
            }
            self.read().await.map(Some)
        }
        .boxed()
    }

    fn told(&self) -> watch::Receiver<u64> {
        self.hints.told()
    }
}

fn fault(cause: impl Into<String>) -> StoreFault {
    StoreFault { operation: OPERATION, cause: cause.into() }
}

fn column<'r, T: FromSql<'r>>(row: &'r Row, at: usize) -> Result<T, StoreFault> {
    row.try_get(at).map_err(|error| fault(format!("column {at}: {error}")))
}

fn millis(at: i64) -> Millis {
    u64::try_from(at).unwrap_or(0)
}

/// Of [`COLUMNS`].
fn token(row: &Row) -> Result<TokenRow, StoreFault> {
    Ok(TokenRow {
        id: column(row, 0)?,
        name: column(row, 1)?,
        role: column(row, 2)?,
        orgs: column(row, 3)?,
        scopes: column(row, 4)?,
        bind: column(row, 5)?,
        sha256: column(row, 6)?,
        created: millis(column(row, 7)?),
        expires: column::<Option<i64>>(row, 8)?.map(millis),
    })
}

/// The tokens of a cell, for whoever makes and revokes them.
#[derive(Debug)]
pub struct TokenTable {
    connection: Connection,
    schema: String,
}

impl TokenTable {
    /// Makes the tables where nobody has yet, and leaves them as they are otherwise: a command on somebody's machine
    /// changes nothing that running nodes rest on.
    ///
    /// # Errors
    /// Where the server cannot be asked, its tables are of an older tollgate, or the tokens are in another database.
    pub async fn open(options: PgOptions) -> Result<Self, PgError> {
        let connection = Connection::open(&options).await.map_err(PgError)?;
        let schema = options.schema;
        let names = [format!("{schema}.migration"), format!("{schema}.token")];
        let sql = "SELECT to_regclass($1) IS NOT NULL, to_regclass($2) IS NOT NULL";
        let params: [(&(dyn ToSql + Sync), Type); 2] = [(&names[0], Type::TEXT), (&names[1], Type::TEXT)];
        let rows = connection.query(sql, &params).await.map_err(|unanswered| PgError(unanswered.cause()))?;
        match rows.first().map(|row| (row.get(0), row.get(1))) {
            Some((_, true)) => {}
            Some((false, false)) => migrations::apply(&connection, &schema).await?,
            _ => return Err(PgError(format!("schema {schema} has no tokens yet: start a node of this version first"))),
        }
        let table = Self { connection, schema };
        let cell = table.ask(&format!("SELECT number FROM {}.cell", table.schema), &[]).await?;
        match cell.first().map(|row| row.get::<_, i16>(0)) {
            Some(number) if number != 1 => Err(PgError(format!(
                "database {number} of its cluster: tokens are in the first one that cluster.postgres_urls lists"
            ))),
            _ => Ok(table),
        }
    }

    async fn ask(&self, sql: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Vec<Row>, PgError> {
        let answer = self.connection.query(sql, params).await;
        answer.map_err(|unanswered| match unanswered {
            Unanswered::Refused(cause) => PgError(cause),
            Unanswered::Lost(cause) => PgError(format!("{cause}; it may be done or not: `token list` shows it")),
        })
    }

    /// Adds a token.
    ///
    /// # Errors
    /// Where another one has its name or its id, or where there are too many.
    pub async fn create(&self, token: &TokenRow) -> Result<(), PgError> {
        let TokenRow { id, name, role, orgs, scopes, bind, sha256, created, expires } = token;
        let schema = &self.schema;
        let [created, expires] =
            [Some(*created), *expires].map(|at| at.map(|at| i64::try_from(at).unwrap_or(i64::MAX)));
        let sql = format!(
            "INSERT INTO {schema}.token (id, name, role, orgs, scopes, bind, sha256, created_at, expires_at) \
             SELECT $1, $2, $3, $4, $5, $6, $7, to_timestamp($8::bigint / 1000.0), to_timestamp($9::bigint / 1000.0) \
             WHERE (SELECT count(*) FROM {schema}.token) < {TOKENS_MAX} ON CONFLICT DO NOTHING RETURNING 1"
        );
        let params: [(&(dyn ToSql + Sync), Type); 9] = [
            (id, Type::TEXT),
            (name, Type::TEXT),
            (role, Type::TEXT),
            (orgs, Type::TEXT_ARRAY),
            (scopes, Type::TEXT_ARRAY),
            (bind, Type::TEXT_ARRAY),
            (sha256, Type::BYTEA),
            (&created, Type::INT8),
            (&expires, Type::INT8),
        ];
        if !self.ask(&sql, &params).await?.is_empty() {
            return Ok(());
        }
        let there = self.all().await?;
        if there.iter().any(|other| other.name == *name) {
            return Err(PgError(format!("there is a token named {name:?} already: revoke it, or choose another name")));
        }
        if there.iter().any(|other| other.id == *id) {
            return Err(PgError(format!("there is a token with the id {id:?} already")));
        }
        Err(PgError(format!("there are {} tokens, at most {TOKENS_MAX}: revoke those that have ended", there.len())))
    }

    /// Removes the token of this name: from then on nodes let nobody in by it. False where there is none.
    ///
    /// # Errors
    /// Where the server refuses it, or does not answer.
    pub async fn revoke(&self, name: &str) -> Result<bool, PgError> {
        let sql = format!("DELETE FROM {}.token WHERE name = $1 RETURNING 1", self.schema);
        Ok(!self.ask(&sql, &[(&name, Type::TEXT)]).await?.is_empty())
    }

    /// All of them, in the order in which they were made.
    ///
    /// # Errors
    /// Where the server refuses it, or does not answer.
    pub async fn all(&self) -> Result<Vec<TokenRow>, PgError> {
        let sql = format!("SELECT {COLUMNS} FROM {}.token ORDER BY created_at, name", self.schema);
        let rows = self.ask(&sql, &[]).await?;
        rows.iter().map(token).collect::<Result<_, _>>().map_err(|fault| PgError(fault.cause))
    }
}
