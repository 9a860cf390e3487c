//! What others notify of, so that nobody waits for the next poll: that something may be free, that tokens have changed.
//!
//! This is the one session that is kept, and nothing rests on it. A pooler in transaction mode passes no notification
//! on; then nothing is counted, and polls find the same a little later.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{connection::Connection, options::PgOptions};

/// Pauses between attempts to listen, doubling.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A connection that says nothing for as long is asked whether it is there.
const QUIET: Duration = Duration::from_secs(10);

/// Counts them.
#[derive(Debug)]
pub(super) struct Hints {
    told: watch::Sender<u64>,
    channel: String,
    /// What this store's own notifications say.
    pub(super) sender: String,
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Hints {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Hints {
    /// Of a channel; `sender` = whose own notifications do not count.
    pub(super) fn new(channel: String, sender: String) -> Self {
        Self { told: watch::Sender::new(0), channel, sender, listener: Mutex::default() }
    }

    pub(super) fn told(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    /// From now on, unless it does already.
    pub(super) fn listen(&self, options: &PgOptions) {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        if listener.is_none() {
            let heard = Heard { told: self.told.clone(), channel: self.channel.clone(), own: self.sender.clone() };
            *listener = Some(tokio::spawn(listen(options.clone(), heard)));
        }
    }

    pub(super) fn stop(&self) {
        if let Some(listener) = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take() {
            listener.abort();
        }
    }
}

/// What the listener has of [`Hints`].
struct Heard {
    told: watch::Sender<u64>,
    channel: String,
    own: String,
}

async fn listen(options: PgOptions, heard: Heard) {
    let mut pause = PAUSE;
    loop {
        let (ended, end) = oneshot::channel::<()>();
        match session(&options, &heard, ended).await {
            Ok(connection) => {
                pause = PAUSE;
                // What was sent before it listened is not repeated.
                heard.told.send_modify(|count| *count += 1);
                keep(&connection, end).await;
            }
            Err(cause) => tracing::debug!("PostgreSQL: no notifications: {cause}"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// A session that listens. `ended` is dropped with it.
async fn session(options: &PgOptions, heard: &Heard, ended: oneshot::Sender<()>) -> Result<Connection, String> {
    let (told, own) = (heard.told.clone(), heard.own.clone());
    let listener = move |payload: &str| {
        let _kept_with_the_session = &ended;
        if payload != own {
            told.send_modify(|count| *count += 1);
        }
    };
    let connection = Connection::listening(options, Box::new(listener)).await?;
    let heard = connection.run(&format!("LISTEN {}", heard.channel)).await;
    heard.map(|()| connection).map_err(|unanswered| unanswered.cause())
}

/// Until the session has ended, or does not answer.
async fn keep(connection: &Connection, mut end: oneshot::Receiver<()>) {
    while timeout(QUIET, &mut end).await.is_err() {
        if connection.run("SELECT 1").await.is_err() {
            return;
        }
    }
}
