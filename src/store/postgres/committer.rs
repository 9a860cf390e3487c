//! Writes what is committed to some of the shards: one connection, one statement at a time.
//!
//! ```text
//! take what waits ─▶ refuse what must not be written ─▶ one statement ─┬─ answered: durable, or fenced
//!                                                                      └─ lost: read epoch and seq back ─▶ written,
//!                                                                         or sent again: the seq takes it once
//! past its time: in doubt, or unavailable where nothing was sent ─▶ recover: connect, settle ─▶ up
//! ```
//!
//! An org is always in the same shard and a shard with the same committer, so commits keep their order. A statement
//! that was sent on a connection which is lost may still run. It is settled before anything else of its shards: either
//! its seq is found, or the seq is used up by a statement that writes nothing, and the lost one is refused for ever. A
//! claim of the shard refuses it as well: it raises the epoch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep, timeout},
};
use tokio_postgres::types::Type;

use super::{
    Shared,
    batch::{Batch, Statement, number},
    connection::{Connection, Unanswered},
    leases::Lease,
};
use crate::{
    domain::{
        rows::OrgWrite,
        shard::{Epoch, Shard},
    },
    ports::{CommitError, StoreFault},
    store::reply::Reply,
};

/// A statement ends at either bound.
const BATCH_WRITES: usize = 1024;
const BATCH_ROWS: usize = 8192;
/// Pauses between attempts, doubling.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

pub(super) enum Message {
    Commit(Handed),
    /// A read has lost its connection: see whether the server answers.
    Check,
    /// Everything handed over before it is answered; then the committer ends.
    Close(oneshot::Sender<()>),
}

pub(super) struct Handed {
    /// `None` = there was no room in the queue; refused in its turn.
    pub(super) write: Option<OrgWrite>,
    pub(super) shard: Shard,
    pub(super) org: crate::domain::ids::OrgId,
    pub(super) fence: Epoch,
    pub(super) reply: Reply,
}

impl Handed {
    fn rows(&self) -> usize {
        self.write.as_ref().map_or(0, |write| write.puts.len() + write.dels.len())
    }
}

pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    /// Among the committers of the store.
    pub(super) index: usize,
    pub(super) connection: Option<Connection>,
    /// Shards of which a statement may still run.
    pub(super) unsettled: BTreeSet<Shard>,
}

/// The shards of a statement, with what it says of each.
type Sent = BTreeMap<Shard, Lease>;

/// A commit with what became of it, once that is known.
type Waiting = (Handed, Result<(), CommitError>);

impl Committer {
    pub(super) async fn run(mut self, mut receiver: mpsc::UnboundedReceiver<Message>) {
        while let Some(first) = receiver.recv().await {
            let (taken, then) = take(first, &mut receiver);
            if !taken.is_empty() {
                self.commit(taken).await;
            }
            match then {
                Some(Message::Close(closed)) => {
                    let _ = closed.send(());
                    return;
                }
                Some(Message::Check) => self.check().await,
                Some(Message::Commit(_)) | None => {}
            }
            while self.shared.trouble.is_of(self.index) {
                match self.recover(&mut receiver).await {
                    Some(kept) => self.commit_all(kept).await,
                    None => return,
                }
            }
        }
    }

    /// However many there are.
    async fn commit_all(&mut self, kept: Vec<Handed>) {
        let mut kept = kept.into_iter().peekable();
        while kept.peek().is_some() {
            let mut rows = 0;
            let mut taken = Vec::new();
            while let Some(handed) = kept.next_if(|_| taken.len() < BATCH_WRITES && rows < BATCH_ROWS) {
                rows += handed.rows();
                taken.push(handed);
            }
            self.commit(taken).await;
        }
    }

    async fn commit(&mut self, taken: Vec<Handed>) {
        let (count, round) = (taken.len() as u64, self.shared.leases.round());
        let (mut batch, mut waiting) = (Batch::default(), Vec::with_capacity(taken.len()));
        for mut handed in taken {
            let write = handed.write.take();
            let added = self.add(&mut batch, &handed, write);
            if let Err(error) = &added {
                self.shared.break_org(&handed.org, error);
            }
            waiting.push((handed, added));
        }
        if !batch.shards.is_empty() {
            let shards = batch.shards.clone();
            let statement = batch.statement(&self.shared.options.schema);
            let ended = self.write(&shards, &statement, round).await;
            for (handed, result) in waiting.iter_mut().filter(|(_, result)| result.is_ok()) {
                *result = ended(handed.shard);
            }
            self.shared.groups.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.queued.fetch_sub(count, Ordering::AcqRel);
        self.answer(waiting);
    }

    /// Puts a commit into the batch; an error where it must not be written.
    fn add(&self, batch: &mut Batch, handed: &Handed, write: Option<OrgWrite>) -> Result<(), CommitError> {
        if let Some(error) = self.shared.broken(&handed.org) {
            return Err(error);
        }
        let Some(write) = write else { return Err(CommitError::Unavailable(fault("the queue of the store is full"))) };
        match self.shared.leases.get(handed.shard).filter(|lease| lease.as_epoch() == handed.fence) {
            Some(lease) => batch.add(lease, write).map_err(|cause| CommitError::Unavailable(fault(cause))),
            None => Err(CommitError::Fenced),
        }
    }

    fn answer(&self, waiting: Vec<Waiting>) {
        for (handed, result) in waiting {
            if let Err(error) = &result {
                self.shared.break_org(&handed.org, error);
            }
            handed.reply.answer(result);
        }
    }

    /// Carries the statement out, however many connections that takes, and says of each shard what became of it. It is
    /// not sent, and not once more, where everything was given up since the `round` in which it was made.
    async fn write(
        &mut self,
        shards: &Sent,
        statement: &Statement,
        round: u64,
    ) -> impl Fn(Shard) -> Result<(), CommitError> + use<> {
        let until = Instant::now() + self.shared.options.retry_for;
        let (mut pause, mut is_sent) = (PAUSE, false);
        let (mut written, mut otherwise) = (BTreeSet::new(), None);
        while self.shared.leases.round() == round {
            match self.attempt(shards, statement, &mut is_sent).await {
                Ok(mine) => {
                    written = mine;
                    self.shared.trouble.over(self.index);
                    break;
                }
                Err(cause) if Instant::now() >= until => {
                    self.shared.trouble.begins(self.index, &fault(cause.clone()));
                    if is_sent {
                        self.unsettled.extend(shards.keys());
                    }
                    otherwise = Some(cause);
                    break;
                }
                Err(cause) => {
                    self.shared.trouble.begins(self.index, &fault(cause));
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        if otherwise.is_none() {
            for (shard, lease) in shards {
                let next = written.contains(shard).then_some(Lease { seq: lease.seq + 1, ..*lease });
                self.shared.leases.replace(*shard, *lease, next);
            }
        }
        move |shard| match &otherwise {
            None if written.contains(&shard) => Ok(()),
            // It may have been written before another node took the shard over, or before it was given up here.
            None if is_sent => Err(CommitError::InDoubt(fault("this node does not own the shard any more"))),
            None => Err(CommitError::Fenced),
            Some(cause) if is_sent => Err(CommitError::InDoubt(fault(cause.clone()))),
            Some(cause) => Err(CommitError::Unavailable(fault(cause.clone()))),
        }
    }

    /// One attempt: the shards of which the statement is written, by this attempt or by an earlier one whose answer was
    /// lost.
    async fn attempt(
        &mut self,
        shards: &Sent,
        statement: &Statement,
        is_sent: &mut bool,
    ) -> Result<BTreeSet<Shard>, String> {
        if *is_sent {
            let found = self.written(shards).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        let connection = self.connected().await?;
        match connection.query_again(&statement.sql, &statement.params()).await {
            Ok(rows) => {
                let mut mine: BTreeSet<Shard> = rows.iter().filter_map(|row| shard(row.get(0))).collect();
                // An attempt whose answer was lost may have come first.
                if *is_sent && mine.len() < shards.len() {
                    mine.extend(self.written(shards).await?);
                }
                Ok(mine)
            }
            Err(Unanswered::Refused(cause)) => Err(cause),
            Err(Unanswered::Lost(cause)) => {
                *is_sent = true;
                self.connection = None;
                Err(cause)
            }
        }
    }

    /// Of which shards the next number is used under the same epoch, as their rows say when nothing changes them.
    async fn written(&mut self, shards: &Sent) -> Result<BTreeSet<Shard>, String> {
        let stored = self.locked(shards.keys()).await?;
        let is_next = |(shard, stored): &(Shard, Lease)| {
            shards.get(shard).is_some_and(|lease| *stored == Lease { seq: lease.seq + 1, ..*lease })
        };
        Ok(stored.into_iter().filter(is_next).map(|(shard, _)| shard).collect())
    }

    /// The rows of shards. To lock them waits for a statement that still runs.
    async fn locked(&mut self, shards: impl Iterator<Item = &Shard>) -> Result<Vec<(Shard, Lease)>, String> {
        let schema = self.shared.options.schema.clone();
        let numbers: Vec<i16> = shards.map(number).collect();
        let sql = format!(
            "SELECT shard_id, epoch, seq FROM {schema}.shard WHERE shard_id = ANY($1) ORDER BY shard_id FOR UPDATE"
        );
        let rows = self.ask(&sql, &[(&numbers, Type::INT2_ARRAY)]).await?;
        let lease = |row: &tokio_postgres::Row| Lease { epoch: row.get(1), seq: row.get(2) };
        Ok(rows.iter().filter_map(|row| Some((shard(row.get(0))?, lease(row)))).collect())
    }

    /// A statement that may be sent again without harm.
    async fn ask(
        &mut self,
        sql: &str,
        params: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)],
    ) -> Result<Vec<tokio_postgres::Row>, String> {
        let answered = self.connected().await?.query(sql, params).await;
        answered.map_err(|unanswered| {
            if matches!(unanswered, Unanswered::Lost(_)) {
                self.connection = None;
            }
            unanswered.cause()
        })
    }

    async fn connected(&mut self) -> Result<&Connection, String> {
        let open = match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(open) => open,
            None => Connection::open(&self.shared.options).await?,
        };
        Ok(self.connection.insert(open))
    }

    async fn check(&mut self) {
        match self.ask("SELECT 1", &[]).await {
            Ok(_) => {}
            Err(cause) => self.shared.trouble.begins(self.index, &fault(cause)),
        }
    }

    /// Waits until the server answers and everything that was sent is settled. What is handed over meanwhile is kept, for as
    /// long as a statement would be sent again, and refused from then on. Answers what is kept; `None` where the store
    /// is closed meanwhile.
    async fn recover(&mut self, receiver: &mut mpsc::UnboundedReceiver<Message>) -> Option<Vec<Handed>> {
        let since = self.shared.trouble.since(self.index).unwrap_or_else(Instant::now);
        let until = since + self.shared.options.retry_for;
        let (mut pause, mut kept) = (PAUSE, Vec::new());
        while let Err(cause) = self.settle().await {
            self.shared.trouble.begins(self.index, &fault(cause));
            let again = Instant::now() + pause;
            while let Ok(message) = timeout(again.saturating_duration_since(Instant::now()), receiver.recv()).await {
                match message {
                    Some(Message::Commit(handed)) if Instant::now() < until => kept.push(handed),
                    Some(Message::Commit(handed)) => self.refuse(handed),
                    Some(Message::Check) => {}
                    Some(Message::Close(closed)) => {
                        kept.into_iter().for_each(|handed| self.refuse(handed));
                        let _ = closed.send(());
                        return None;
                    }
                    None => return None,
                }
            }
            if Instant::now() >= until {
                kept.drain(..).for_each(|handed| self.refuse(handed));
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
        self.shared.trouble.over(self.index);
        Some(kept)
    }

    fn refuse(&self, handed: Handed) {
        self.shared.queued.fetch_sub(1, Ordering::AcqRel);
        let away =
            || CommitError::Unavailable(self.shared.trouble.fault().unwrap_or_else(|| fault("it does not answer")));
        let error = self.shared.broken(&handed.org).unwrap_or_else(away);
        self.answer(vec![(handed, Err(error))]);
    }

    /// Uses up the next number of every unsettled shard, unless that was done, and takes over how far each has come.
    async fn settle(&mut self) -> Result<(), String> {
        let schema = self.shared.options.schema.clone();
        let owned: Vec<_> =
            self.unsettled.iter().filter_map(|shard| Some((*shard, self.shared.leases.get(*shard)?))).collect();
        let shards: Vec<i16> = owned.iter().map(|(shard, _)| number(shard)).collect();
        let (epochs, seqs): (Vec<_>, Vec<_>) = owned.iter().map(|(_, lease)| (lease.epoch, lease.seq)).unzip();
        let sql = format!(
            "WITH held AS MATERIALIZED (SELECT s.shard_id FROM {schema}.shard AS s \
             JOIN unnest($1, $2, $3) AS u(shard_id, epoch, seq) \
             ON s.shard_id = u.shard_id AND s.epoch = u.epoch AND s.seq = u.seq ORDER BY s.shard_id FOR UPDATE OF s) \
             UPDATE {schema}.shard AS s SET seq = s.seq + 1 FROM held WHERE s.shard_id = held.shard_id"
        );
        let arrays = [Type::INT2_ARRAY, Type::INT8_ARRAY, Type::INT8_ARRAY];
        let [first, second, third] = arrays;
        self.ask(&sql, &[(&shards, first), (&epochs, second), (&seqs, third)]).await?;
        let unsettled = self.unsettled.clone();
        let stored = self.locked(unsettled.iter()).await?;
        for (shard, stored) in stored {
            self.shared.leases.found(shard, stored);
        }
        self.unsettled.clear();
        Ok(())
    }
}

pub(super) fn fault(cause: impl Into<String>) -> StoreFault {
    StoreFault { operation: "commit", cause: cause.into() }
}

pub(super) fn shard(number: i16) -> Option<Shard> {
    Shard::numbered(u16::try_from(number).ok()?)
}

/// What waits, up to a bound or something else than a commit.
fn take(first: Message, receiver: &mut mpsc::UnboundedReceiver<Message>) -> (Vec<Handed>, Option<Message>) {
    let (mut taken, mut rows) = (Vec::new(), 0);
    let mut next = Some(first);
    while let Some(message) = next {
        let Message::Commit(handed) = message else { return (taken, Some(message)) };
        rows += handed.rows();
        taken.push(handed);
        let full = taken.len() >= BATCH_WRITES || rows >= BATCH_ROWS;
        next = if full { None } else { receiver.try_recv().ok() };
    }
    (taken, None)
}
