//! One connection, and what its errors mean.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{
    AsyncMessage, Client, Row, Socket, Statement,
    error::{Severity, SqlState},
    types::{ToSql, Type},
};

use super::{options::PgOptions, tls::Encrypted};
use crate::causes::chain;

/// What a connection may take to be made, and a statement to be answered: behind it the connection is given up.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// Statements that a connection has names for. A commit has another text for each set of kinds that it writes, of which
/// there are a few; what comes beyond is sent without a name.
pub(super) const NAMED: usize = 64;

/// Why a statement has no result.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The server refused it: nothing of it is written.
    Refused(String),
    /// The connection is gone: it may or may not be carried out.
    Lost(String),
}

impl Unanswered {
    pub(super) fn cause(self) -> String {
        match self {
            Self::Refused(cause) | Self::Lost(cause) => cause,
        }
    }
}

/// Is called with the payload of each notification.
pub(super) type Listener = Box<dyn Fn(&str) + Send>;

/// Ends with the connection's task.
#[derive(Debug)]
pub(super) struct Connection {
    client: Client,
    task: JoinHandle<()>,
    /// By their text; `None` where a pooler may be in between that knows no names.
    named: Option<Mutex<BTreeMap<String, Statement>>>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    pub(super) async fn open(options: &PgOptions) -> Result<Self, String> {
        Self::listening(options, Box::new(|_| {})).await
    }

    /// With somebody who is called for what the server says by itself.
    pub(super) async fn listening(options: &PgOptions, listener: Listener) -> Result<Self, String> {
        let connected = timeout(ANSWERED_WITHIN, connect(options)).await;
        let connected = connected.map_err(|_| format!("no connection within {ANSWERED_WITHIN:?}"))?;
        let (client, connection) = connected.map_err(|error| chain(&error))?;
        let named = options.prepared_statements.then(Mutex::default);
        Ok(Self { client, task: tokio::spawn(serve(connection, listener)), named })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// One statement that no name is left of on the server, so that any pooler may be in between.
    pub(super) async fn query(
        &self,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Unanswered> {
        self.answered(self.client.query_typed(sql, params)).await
    }

    /// The same of a statement that comes again and again: parsed and planned once, where it may have a name.
    pub(super) async fn query_again(
        &self,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Unanswered> {
        let Some(statement) = self.named(sql, params).await? else { return self.query(sql, params).await };
        let values: Vec<&(dyn ToSql + Sync)> = params.iter().map(|(value, _)| *value).collect();
        let answer = self.answered(self.client.query(&statement, &values)).await;
        if let (Err(_), Some(named)) = (&answer, &self.named) {
            // The server may have forgotten the name.
            named.lock().unwrap_or_else(PoisonError::into_inner).remove(sql);
        }
        answer
    }

    async fn named(&self, sql: &str, params: &[(&(dyn ToSql + Sync), Type)]) -> Result<Option<Statement>, Unanswered> {
        let Some(named) = &self.named else { return Ok(None) };
        let known = || named.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, is_full) = {
            let known = known();
            (known.get(sql).cloned(), known.len() >= NAMED)
        };
        if found.is_some() || is_full {
            return Ok(found);
        }
        let types: Vec<Type> = params.iter().map(|(_, of)| of.clone()).collect();
        let statement = self.answered(self.client.prepare_typed(sql, &types)).await?;
        known().insert(sql.to_owned(), statement.clone());
        Ok(Some(statement))
    }

    /// Statements without parameters, as one transaction.
    pub(super) async fn run(&self, sql: &str) -> Result<(), Unanswered> {
        self.answered(self.client.batch_execute(sql)).await
    }

    async fn answered<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Unanswered> {
        match timeout(ANSWERED_WITHIN, answer).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(judged(&error)),
            Err(_) => Err(Unanswered::Lost(format!("no answer within {ANSWERED_WITHIN:?}"))),
        }
    }
}

type Served = tokio_postgres::Connection<Socket, Encrypted<Socket>>;

/// The server ends what runs for too long. A pooler that does not pass the setting on refuses it; then it is the
/// role's, and there is a warning where it has none.
async fn connect(options: &PgOptions) -> Result<(Client, Served), tokio_postgres::Error> {
    match options.bounded().connect(options.tls.clone()).await {
        Err(error) if error.code() == Some(&SqlState::PROTOCOL_VIOLATION) => {
            options.config.connect(options.tls.clone()).await
        }
        connected => connected,
    }
}

/// Until the connection ends. Whoever waits for an answer gets its error as well.
async fn serve(mut connection: Served, listener: Listener) {
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notification(notification) = message {
            listener(notification.payload());
        }
    }
}

/// An error of the server rolls the statement back. What ends the session may come behind the commit.
fn judged(error: &tokio_postgres::Error) -> Unanswered {
    let severity = error.as_db_error().and_then(|error| error.parsed_severity());
    if severity == Some(Severity::Error) { Unanswered::Refused(chain(error)) } else { Unanswered::Lost(chain(error)) }
}
