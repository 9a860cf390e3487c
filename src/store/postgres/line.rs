//! A connection for one kind of question, which is opened again where it was lost.
//!
//! Everybody who finds none waits for the same attempt, and the attempt goes on where somebody who waits for less long has given
//! up: a server that takes longer to accept a connection than a renewal may wait is reached all the same.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt, Shared};
use tokio::time::timeout;
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};

use super::{
    connection::{Connection, Unanswered},
    options::PgOptions,
};

type Opening = Shared<BoxFuture<'static, Result<Arc<Connection>, String>>>;

/// A connection, or the attempt to have one.
#[derive(Default)]
pub(super) struct Line(Mutex<Option<Opening>>);

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
}

impl Line {
    /// One statement, answered within a bound that has to do for a new connection as well. Behind it the connection is
    /// given up, and the statement may be carried out nevertheless.
    pub(super) async fn ask(
        &self,
        options: &PgOptions,
        within: Duration,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Unanswered> {
        let opening = self.opening(options);
        let answer = async {
            let connection = opening.clone().await.map_err(Unanswered::Lost)?;
            connection.query(sql, params).await
        };
        let answer = match timeout(within, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Unanswered::Lost(format!("no answer within {within:?}"))),
        };
        // Also behind a refusal: a server that has become a standby refuses everything, and the next one may be the primary.
        if answer.is_err() {
            self.leave(&opening);
        }
        answer
    }

    /// Whoever asks next asks over another connection.
    pub(super) fn replace(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn opening(&self, options: &PgOptions) -> Opening {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opening) = place.as_ref().filter(|opening| may_serve(opening)) {
            return opening.clone();
        }
        let options = options.clone();
        let attempt = tokio::spawn(async move { Connection::open(&options).await.map(Arc::new) });
        let attempt = attempt.map(|ended| ended.unwrap_or_else(|error| Err(error.to_string())));
        place.insert(attempt.boxed().shared()).clone()
    }

    /// Somebody had no answer: of a connection, which is not asked again, or from the attempt, which goes on.
    fn leave(&self, opening: &Opening) {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if opening.peek().is_some() {
            place.take_if(|current| current.ptr_eq(opening));
        }
    }
}

/// It is not known yet whether there is a connection, or there is one.
fn may_serve(opening: &Opening) -> bool {
    match opening.peek() {
        None => true,
        Some(Ok(connection)) => !connection.is_closed(),
        Some(Err(_)) => false,
    }
}
