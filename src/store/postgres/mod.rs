//! PostgreSQL behind [`OrgStore`]: typed tables that people can read, and shards that have owners.
//!
//! ```text
//! cells.rs ─▶ the database of the org; birth.rs: which databases are one cluster
//!
//! commit ─▶ committer of the shard ─▶ batch.rs: one statement, compares (epoch, seq) of each shard ─▶ done
//!           committer.rs              and writes the rows of those that are still owned
//! load, due, … ─▶ reads.rs: one statement each
//! claim, renew, … ─▶ cell.rs: one of statements.rs each, on a line.rs of its own; hints.rs hears of other nodes
//!
//! tables.rs       rows ↔ tables, one for each kind       leases.rs      shards that are owned here, with their seq
//! migrations.rs   the schema, in numbered files          trouble.rs     who has lost the server, and what the state is
//! tokens.rs       bearer tokens that nodes share: read by nodes, written by the command
//! connection.rs   one connection, and its errors         options.rs     the URL; tls.rs
//! moving.rs       dumps of a cell, both ways              alone.rs       owning a cell without a lease, for an import
//! ```
//!
//! Everything is plain SQL in statements without names and outside of sessions, so a pooler in transaction mode may be in
//! between. Who owns a shard is a row (`shard`): to claim it adds one to its epoch, and from then on nothing that was
//! sent under an older epoch is written. A commit whose connection is lost is never guessed: epoch and seq are read back.
//!
//! The server keeps what it has acknowledged as it is configured: the log warns where that is less than a
//! commit promises.

mod alone;
mod batch;
mod birth;
mod cell;
mod cells;
mod committer;
mod connection;
mod hints;
mod leases;
mod line;
mod migrations;
mod moving;
mod options;
mod reads;
mod statements;
mod tables;
mod tls;
mod tokens;
mod trouble;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures_util::future::{BoxFuture, FutureExt, join_all};
use tokio::sync::{mpsc, oneshot, watch};

pub use cells::PgCells;
pub use moving::{export, import};
pub use options::PgOptions;
pub use tokens::{PgTokens, TokenTable};

use self::{
    cell::Lines,
    committer::{Committer, Handed, Message},
    connection::Connection,
    hints::Hints,
    leases::Leases,
    options::STATEMENT_TIMEOUT_MS,
    reads::Readers,
    trouble::Trouble,
};
use crate::{
    domain::{
        ids::OrgId,
        kept_ids::KeptName,
        rows::{Head, OrgRows, OrgWrite, Row, RowKey, RowKind},
        shard::{Epoch, Shard, ShardSet},
        tenure::Tenure,
        window::Millis,
    },
    ports::{CommitDone, CommitError, OrgStore, StoreEngine, StoreFault, StoreState},
    store::reply::Reply,
};

/// Commits that wait for a committer, of all shards. What comes beyond is refused in its turn: calls in flight are bounded
/// before, so this is reached only where the server is slower than its timeouts.
const QUEUE: u64 = 65_536;

/// Stands beside the numbers of committers in [`Trouble`]: the database is not open.
const NOT_OPEN: usize = usize::MAX;

/// Why a store of this kind could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgError(String);

impl fmt::Display for PgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL: {}", self.0)
    }
}

impl std::error::Error for PgError {}

/// A cell: one database with every shard of it that is claimed here.
pub struct PgStore {
    shared: Arc<Shared>,
    committers: Vec<mpsc::UnboundedSender<Message>>,
}

/// What the store's handle, its committers and its reads all hold.
struct Shared {
    options: PgOptions,
    leases: Leases,
    trouble: Trouble,
    readers: Readers,
    cell: Lines,
    /// Orgs that have to be loaded again, with the answer to what is handed over meanwhile.
    broken: Mutex<BTreeMap<OrgId, CommitError>>,
    groups: AtomicU64,
    queued: AtomicU64,
    /// Of the committer that looks after reads as well.
    first: mpsc::WeakUnboundedSender<Message>,
}

impl Shared {
    fn broken(&self, org: &OrgId) -> Option<CommitError> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).get(org).cloned()
    }

    /// The first error stays.
    fn break_org(&self, org: &OrgId, error: &CommitError) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.entry(org.clone()).or_insert_with(|| error.clone());
    }

    fn mend(&self, org: &OrgId) {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).remove(org);
    }

    /// Orgs of these shards are loaded again under another epoch, or not here: what is handed over meanwhile is fenced.
    fn forget_broken(&self, shards: &ShardSet) {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).retain(|org, _| !shards.holds(org));
    }

    /// Somebody who asked has lost the server.
    fn check(&self) {
        if let Some(first) = self.first.upgrade() {
            let _ = first.send(Message::Check);
        }
    }
}

impl fmt::Debug for PgStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgStore").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl PgStore {
    /// Of a database that is not open: it answers nothing until it is prepared and begun.
    pub fn new(options: PgOptions) -> Result<Self, PgError> {
        let chance = getrandom::u64().map_err(|error| PgError(format!("no randomness from the system: {error}")))?;
        let sender = format!("{} {chance:016x}", options.owner);
        let count = options.committers.max(1);
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let hints = Hints::new(options.schema.clone(), sender);
        let first = senders.first().ok_or_else(|| PgError("no committer".to_owned()))?.downgrade();
        let shared = Arc::new(Shared {
            options,
            leases: Leases::default(),
            trouble: Trouble::default(),
            readers: Readers::default(),
            cell: Lines::new(hints),
            broken: Mutex::default(),
            groups: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            first,
        });
        for (index, receiver) in receivers.into_iter().enumerate() {
            let committer =
                Committer { shared: shared.clone(), index, connection: None, unsettled: Default::default() };
            tokio::spawn(committer.run(receiver));
        }
        let store = Self { shared, committers: senders };
        store.is_not_open("it is being opened");
        Ok(store)
    }

    /// Connects and brings the schema up to date. Warns where the server promises less than a commit does.
    async fn prepare(&self) -> Result<(), PgError> {
        let options = &self.shared.options;
        let connection = Connection::open(options).await.map_err(PgError)?;
        migrations::apply(&connection, &options.schema).await?;
        for warning in warnings(&connection).await? {
            tracing::warn!("PostgreSQL: {warning}");
        }
        Ok(())
    }

    fn is_not_open(&self, why: &str) {
        self.shared.trouble.begins(NOT_OPEN, &StoreFault { operation: "open", cause: why.to_owned() });
    }

    /// It answers from now on, and owns nothing yet.
    fn begin(&self) {
        self.shared.trouble.over(NOT_OPEN);
    }

    /// A cell by itself, whichever one it is.
    #[cfg(test)]
    async fn open(options: PgOptions) -> Result<Self, PgError> {
        let store = Self::new(options)?;
        store.prepare().await?;
        store.begin();
        Ok(store)
    }

    fn committer(&self, shard: Shard) -> Option<&mpsc::UnboundedSender<Message>> {
        self.committers.get(usize::from(shard.number()) % self.committers.len())
    }
}

/// What of the server's settings makes less durable what it has acknowledged.
async fn warnings(connection: &Connection) -> Result<Vec<String>, PgError> {
    let sql = "SELECT current_setting('fsync'), current_setting('synchronous_commit'), \
               current_setting('synchronous_standby_names'), (SELECT count(*) FROM pg_stat_replication), \
               (SELECT setting::bigint FROM pg_settings WHERE name = 'statement_timeout')";
    let rows = connection.query(sql, &[]).await.map_err(|error| PgError(error.cause()))?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let mut warnings = judge(row.get(0), row.get(1), row.get(2), row.get(3));
    warnings.extend(unbounded(row.get(4)));
    Ok(warnings)
}

/// Behind a pooler that does not pass the setting on, the role has to have it.
fn unbounded(timeout_ms: i64) -> Option<String> {
    (timeout_ms == 0 || timeout_ms > 12 * STATEMENT_TIMEOUT_MS).then(|| {
        format!(
            "statement_timeout is {timeout_ms} ms, so a statement of a node that is gone may hold rows for longer than that \
             node's lease: ALTER ROLE … SET statement_timeout = '{STATEMENT_TIMEOUT_MS}ms'"
        )
    })
}

fn judge(fsync: &str, commit: &str, standbys: &str, connected: i64) -> Vec<String> {
    let mut warnings = Vec::new();
    if fsync == "off" {
        warnings.push("fsync is off: a power cut may lose everything".to_owned());
    }
    if commit == "off" {
        warnings.push("synchronous_commit is off: a crash of the server loses what was acknowledged last".to_owned());
    }
    if commit == "local" && connected > 0 {
        warnings.push("synchronous_commit is local: a failover loses what was acknowledged last".to_owned());
    }
    if standbys.is_empty() && connected > 0 {
        warnings.push(
            "its standbys are asynchronous (synchronous_standby_names is empty): a failover loses what was \
             acknowledged last"
                .to_owned(),
        );
    }
    warnings
}

impl OrgStore for PgStore {
    fn tenure(&self, org: &OrgId) -> Option<Tenure> {
        self.shared.leases.tenure(Shard::of(org))
    }

    fn load(&self, org: &OrgId) -> BoxFuture<'_, Result<OrgRows, StoreFault>> {
        let org = org.clone();
        async move {
            let rows = self.shared.load(&org).await?;
            self.shared.mend(&org);
            Ok(rows)
        }
        .boxed()
    }

    fn commit(&self, write: OrgWrite, fence: Epoch, done: CommitDone) {
        let (org, reply) = (write.org.clone(), Reply::new(done));
        let shard = Shard::of(&org);
        let has_room = self.shared.queued.fetch_add(1, Ordering::AcqRel) < QUEUE;
        let write = Some(write).filter(|_| has_room);
        // A send that fails drops the reply, which answers that the store is closed.
        if let Some(committer) = self.committer(shard) {
            drop(committer.send(Message::Commit(Handed { write, shard, org, fence, reply })));
        }
    }

    fn due(
        &self,
        now: Millis,
        shards: &ShardSet,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<(Millis, OrgId)>, StoreFault>> {
        let shards = shards.clone();
        async move { self.shared.due(now, &shards, max).await }.boxed()
    }

    fn list(
        &self,
        shards: &ShardSet,
        after: Option<&OrgId>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<(OrgId, Head)>, StoreFault>> {
        let (shards, after) = (shards.clone(), after.cloned());
        async move { self.shared.list(&shards, after.as_ref(), max).await }.boxed()
    }

    fn having(
        &self,
        kind: RowKind,
        shards: &ShardSet,
        after: Option<&OrgId>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<OrgId>, StoreFault>> {
        let (shards, after) = (shards.clone(), after.cloned());
        async move { self.shared.having(kind, &shards, after.as_ref(), max).await }.boxed()
    }

    fn some(&self, org: &OrgId, kinds: &'static [RowKind]) -> BoxFuture<'_, Result<OrgRows, StoreFault>> {
        let org = org.clone();
        async move { self.shared.some(&org, kinds).await }.boxed()
    }

    fn latest(&self, org: &OrgId, names: Vec<KeptName>) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        let org = org.clone();
        async move { self.shared.latest(&org, &names).await }.boxed()
    }

    fn beside(
        &self,
        org: &OrgId,
        kind: RowKind,
        after: Option<RowKey>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        let org = org.clone();
        async move { self.shared.beside(&org, kind, after.as_ref(), max).await }.boxed()
    }

    fn fault(&self, _org: &OrgId) -> Option<StoreFault> {
        self.shared.trouble.fault()
    }

    fn state(&self) -> watch::Receiver<StoreState> {
        self.shared.trouble.state()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        self.shared.cell.hints.stop();
        let closing = self.committers.iter().map(|committer| {
            let (answer, closed) = oneshot::channel();
            drop(committer.send(Message::Close(answer)));
            closed
        });
        let closing = join_all(closing.collect::<Vec<_>>());
        async move {
            let _ = closing.await;
            self.shared.trouble.fault().map_or(Ok(()), Err)
        }
        .boxed()
    }
}

impl StoreEngine for PgStore {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn groups(&self) -> u64 {
        self.shared.groups.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
