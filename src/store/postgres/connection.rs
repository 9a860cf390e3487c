//! One connection, and what its errors mean.

use std::{future::poll_fn, time::Duration};

use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{
    AsyncMessage, Client, Row, Socket,
    error::{Severity, SqlState},
    types::{ToSql, Type},
};

use super::{options::PgOptions, tls::Encrypted};
use crate::causes::chain;

/// What a connection may take to be made, and a statement to be answered: behind it the connection is given up.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

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
        Ok(Self { client, task: tokio::spawn(serve(connection, listener)) })
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
