//! Reloads of the configuration: how a call asks for one, and what became of the last.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{Call, Service};
use crate::error::ServiceError;

/// What one reload may take: reading the file, and asking the store which orgs would lose their limits.
pub const RELOAD_WITHIN: Duration = Duration::from_secs(30);
/// What a call waits for at most, whatever its own deadline: the reload under way, and the one after it. The budget of
/// a decision is too short to read a file that has to be at rest.
const ANSWER_WITHIN: Duration = Duration::from_secs(2 * RELOAD_WITHIN.as_secs() + 1);

/// Calls that are handed over and not taken yet: all of them share the next reload. Further ones wait for their turn.
const HANDED_OVER_MAX: usize = 64;

/// Changes that an answer lists.
pub const CHANGES_MAX: usize = 1_000;

/// One key to which a reload gave another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigChange {
    /// Its dotted name.
    pub key: String,
    /// What it was; `None` where its default held, and of a secret.
    pub from: Option<String>,
    /// What it is; `None` where its default holds again, and of a secret.
    pub to: Option<String>,
    /// The values are secret.
    pub is_secret: bool,
    /// It takes effect with a restart.
    pub needs_restart: bool,
}

impl fmt::Display for ConfigChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "default".to_owned());
        match self.is_secret {
            true => write!(f, "{}: changed", self.key)?,
            false => write!(f, "{}: {} -> {}", self.key, shown(&self.from), shown(&self.to))?,
        }
        f.write_str(if self.needs_restart { " (needs a restart)" } else { "" })
    }
}

/// What became of a reload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reloaded {
    /// Reloads that took effect since the start, this one included where it did.
    pub generation: u64,
    /// Keys that differ in the configuration and wait for a restart: all else is in force.
    pub needs_restart: Vec<String>,
    /// Keys that differ from what ran before.
    pub changed: usize,
    /// The first of them by name, at most [`CHANGES_MAX`].
    pub changes: Vec<ConfigChange>,
    /// Why it was refused, a line for each mistake; empty where it took effect.
    pub mistakes: Vec<String>,
    /// What an operator should know though nothing is wrong.
    pub warnings: Vec<String>,
}

/// What a call asks for, and its way back.
pub type Asked = oneshot::Sender<Arc<Reloaded>>;

/// The last reload, and the way to the task that reloads.
#[derive(Debug)]
pub struct Reloads {
    asks: mpsc::Sender<Asked>,
    last: Mutex<Arc<Reloaded>>,
}

impl Reloads {
    /// The other end is for the task that reloads. Where it is dropped, calls answer that they were interrupted.
    pub fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (asks, asked) = mpsc::channel(HANDED_OVER_MAX);
        (Self { asks, last: Mutex::default() }, asked)
    }
}

impl Service {
    /// Reads the configuration again; what has no mistakes is in force before this answers. A call that is not
    /// answered in time may have caused a reload all the same.
    pub async fn reload(&self, call: &Call) -> Result<Arc<Reloaded>, ServiceError> {
        let (reply, answer) = oneshot::channel();
        let reload = async {
            self.reloads.asks.send(reply).await.map_err(|_| ServiceError::Interrupted)?;
            answer.await.map_err(|_| ServiceError::Interrupted)
        };
        let reloaded = timeout(ANSWER_WITHIN, reload).await.map_err(|_| ServiceError::TimedOut)??;
        let (caller, trace_id) = (call.caller.name(), call.shown_trace());
        let Reloaded { generation, needs_restart, mistakes, .. } = &*reloaded;
        let (applied, generation, needs_restart) = (mistakes.is_empty(), *generation, needs_restart.join(", "));
        tracing::info!(
            target: "tollgate::audit", caller, command = "Reload", applied, generation, needs_restart, trace_id, "operator"
        );
        Ok(reloaded)
    }

    /// Keeps what became of a reload, for views and metrics.
    pub fn reloaded(&self, reloaded: Arc<Reloaded>) {
        *self.reloads.last.lock().unwrap_or_else(PoisonError::into_inner) = reloaded;
    }

    /// What became of the last reload; nothing at all where there was none.
    pub fn last_reload(&self) -> Arc<Reloaded> {
        self.reloads.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
