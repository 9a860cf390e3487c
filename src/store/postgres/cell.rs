//! What nodes that share the database know of each other, behind [`Cell`].
//!
//! ```text
//! renew                                          ─▶ a connection of its own: nothing slow is in front of it
//! register, drain, look, mark, leave, forget     ─▶ a second one
//! claim, release, one after the other            ─▶ a third one ─▶ leases.rs, which the committers compare with
//! told                                           ◀─ hints.rs
//! ```
//!
//! A question that is not answered in time may be carried out later, and each is made so that this does no harm: a
//! renewal and a mark compare the row, a claim rests on a lease that lives, a release names its epoch. What a lost
//! claim has got is found by [`look`](Cell::look), and claimed again.

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::{Mutex, watch};
use tokio_postgres::{
    Row,
    types::{FromSql, ToSql, Type},
};

use super::{NOT_OPEN, PgStore, batch::number, committer::shard, hints::Hints, leases::Lease, line::Line, statements};
use crate::{
    bounds::NODE_LEASE_RENEWAL_MS,
    domain::{
        lease::{LeaseTime, Now},
        members::{About, CellView, Holding, Incarnation, Member, NodeId},
        shard::{SHARDS, Shard, ShardSet},
        tenure::{ShardClock, Tenure},
        window::Millis,
    },
    ports::{Cell, StoreFault},
};

/// A renewal ends before the next one is due, with its connection.
const RENEWED_WITHIN: Duration = Duration::from_millis(NODE_LEASE_RENEWAL_MS);
/// Every other question. A takeover is to take no longer than this, so a connection that says nothing for as long is
/// replaced.
const ASKED_WITHIN: Duration = Duration::from_secs(2);

type Params<'p> = &'p [(&'p (dyn ToSql + Sync), Type)];

/// The connections, and what is known by itself.
#[derive(Debug)]
pub(super) struct Lines {
    renewals: Line,
    questions: Line,
    claims: Line,
    /// Claims and releases are carried out one after the other, so that what they say of a shard comes in its order.
    turn: Mutex<()>,
    pub(super) hints: Hints,
}

impl Lines {
    pub(super) fn new(hints: Hints) -> Self {
        Self {
            renewals: Line::default(),
            questions: Line::default(),
            claims: Line::default(),
            turn: Mutex::default(),
            hints,
        }
    }
}

fn fault(operation: &'static str, cause: impl Into<String>) -> StoreFault {
    StoreFault { operation, cause: cause.into() }
}

/// As its column has it.
fn incarnation(id: &NodeId) -> Result<i64, StoreFault> {
    let refused = || {
        let cause = format!("incarnation {} of node {}: 63 bits are allowed", id.incarnation, id.name);
        fault("cell", cause)
    };
    i64::try_from(id.incarnation.0).map_err(|_| refused())
}

/// Milliseconds, as a column has them.
fn signed(millis: Millis) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

impl PgStore {
    fn schema(&self) -> &str {
        &self.shared.options.schema
    }

    /// What the clocks of this node say.
    fn now(&self) -> Now {
        self.shared.options.clock.read()
    }

    /// Nodes know nothing of each other by a database that is not open.
    fn is_open(&self) -> Result<(), StoreFault> {
        let trouble = &self.shared.trouble;
        let why = trouble.is_of(NOT_OPEN).then(|| trouble.fault()).flatten();
        why.map_or(Ok(()), Err)
    }

    async fn question(&self, operation: &'static str, sql: &str, params: Params<'_>) -> Result<Vec<Row>, StoreFault> {
        self.is_open()?;
        let answer = self.shared.cell.questions.ask(&self.shared.options, ASKED_WITHIN, sql, params).await;
        answer.map_err(|unanswered| fault(operation, unanswered.cause()))
    }

    /// In its turn, of claims and releases.
    async fn changing(&self, operation: &'static str, sql: &str, params: Params<'_>) -> Result<Vec<Row>, StoreFault> {
        self.is_open()?;
        let answer = self.shared.cell.claims.ask(&self.shared.options, ASKED_WITHIN, sql, params).await;
        answer.map_err(|unanswered| fault(operation, unanswered.cause()))
    }

    async fn claimed(&self, id: &NodeId, shards: &ShardSet, round: u64) -> Result<ShardSet, StoreFault> {
        let (incarnation, numbers) = (incarnation(id)?, shards.iter().map(|shard| number(&shard)));
        let numbers: Vec<i16> = numbers.collect();
        let _turn = self.shared.cell.turn.lock().await;
        if self.shared.leases.round() != round {
            return Err(fault("claim", "everything was given up before it was sent"));
        }
        let params: Params<'_> = &[
            (&&*id.name, Type::TEXT),
            (&incarnation, Type::INT8),
            (&numbers, Type::INT2_ARRAY),
            (&self.schema(), Type::TEXT),
            (&self.shared.cell.hints.sender, Type::TEXT),
            (&signed(self.now().lease.0), Type::INT8),
        ];
        let rows = self.changing("claim", &statements::claim(self.schema()), params).await?;
        // After the answer, so that no lease ends early for the time that it took.
        let now = self.now();
        let clock = |row: &Row| {
            let [lease, absent, service] = [3, 4, 5].map(|at| u64::try_from(row.get::<_, i64>(at)).unwrap_or(0));
            Some((shard(row.get(0))?, ShardClock::taken_over(&now, LeaseTime(lease), absent, service)))
        };
        let clocks: Vec<_> = rows.iter().filter_map(clock).collect();
        let lease = |row: &Row| Some((shard(row.get(0))?, Lease { epoch: row.get(1), seq: row.get(2) }));
        let claimed: Vec<(Shard, Lease)> = rows.iter().filter_map(lease).collect();
        self.shared.leases.clocks(clocks);
        if !self.shared.leases.claimed(round, &claimed) {
            return Err(fault("claim", "everything was given up before it was answered"));
        }
        let claimed = claimed.into_iter().map(|(shard, _)| shard).collect();
        self.shared.forget_broken(&claimed);
        Ok(claimed)
    }

    async fn released(&self, id: &NodeId, shards: &ShardSet) -> Result<(), StoreFault> {
        let incarnation = incarnation(id)?;
        let _turn = self.shared.cell.turn.lock().await;
        let leaving = self.shared.leases.give_up(shards);
        self.shared.forget_broken(shards);
        if leaving.is_empty() {
            return Ok(());
        }
        let (numbers, epochs): (Vec<i16>, Vec<i64>) =
            leaving.iter().map(|(shard, epoch)| (number(shard), *epoch)).unzip();
        let params: Params<'_> = &[
            (&&*id.name, Type::TEXT),
            (&incarnation, Type::INT8),
            (&numbers, Type::INT2_ARRAY),
            (&epochs, Type::INT8_ARRAY),
            (&self.schema(), Type::TEXT),
            (&self.shared.cell.hints.sender, Type::TEXT),
            (&signed(self.now().lease.0), Type::INT8),
            (&signed(self.now().service), Type::INT8),
        ];
        self.changing("release", &statements::release(self.schema()), params).await?;
        self.shared.leases.released(&leaving);
        Ok(())
    }
}

impl Cell for PgStore {
    /// An error where the node was registered in this life before: after a lost connection that may be so, and another
    /// incarnation is to be drawn.
    fn register<'a>(&'a self, id: &'a NodeId, about: &'a About) -> BoxFuture<'a, Result<(), StoreFault>> {
        async move {
            self.is_open()?;
            self.shared.cell.hints.listen(&self.shared.options);
            let params: Params<'_> = &[
                (&&*id.name, Type::TEXT),
                (&incarnation(id)?, Type::INT8),
                (&about.peer, Type::TEXT),
                (&about.grpc, Type::TEXT),
                (&i32::from(about.weight.get()), Type::INT4),
                (&about.version, Type::TEXT),
                (&about.config, Type::TEXT),
                (&signed(self.now().lease.0), Type::INT8),
                (&signed(self.now().service), Type::INT8),
            ];
            self.question("register", &statements::register(self.schema()), params).await.map(drop)
        }
        .boxed()
    }

    fn renew<'a>(&'a self, id: &'a NodeId) -> BoxFuture<'a, Result<bool, StoreFault>> {
        async move {
            let params: Params<'_> = &[
                (&&*id.name, Type::TEXT),
                (&incarnation(id)?, Type::INT8),
                (&signed(self.now().lease.0), Type::INT8),
                (&signed(self.now().service), Type::INT8),
            ];
            let (options, sql) = (&self.shared.options, statements::renew(self.schema()));
            let answer = self.shared.cell.renewals.ask(options, RENEWED_WITHIN, &sql, params).await;
            let rows = answer.map_err(|unanswered| fault("renew", unanswered.cause()))?;
            Ok(!rows.is_empty())
        }
        .boxed()
    }

    fn drain<'a>(&'a self, id: &'a NodeId, is_draining: bool) -> BoxFuture<'a, Result<(), StoreFault>> {
        async move {
            let params: Params<'_> =
                &[(&&*id.name, Type::TEXT), (&incarnation(id)?, Type::INT8), (&is_draining, Type::BOOL)];
            let rows = self.question("drain", &statements::drain(self.schema()), params).await?;
            if rows.is_empty() {
                return Err(fault("drain", format!("node {} in its life {} is not known", id.name, id.incarnation)));
            }
            Ok(())
        }
        .boxed()
    }

    fn configured<'a>(&'a self, id: &'a NodeId, config: &'a str) -> BoxFuture<'a, Result<(), StoreFault>> {
        async move {
            let params: Params<'_> =
                &[(&&*id.name, Type::TEXT), (&incarnation(id)?, Type::INT8), (&config, Type::TEXT)];
            self.question("configured", &statements::configured(self.schema()), params).await.map(drop)
        }
        .boxed()
    }

    fn look(&self) -> BoxFuture<'_, Result<CellView, StoreFault>> {
        async move {
            let rows = self.question("look", &statements::look(self.schema()), &[]).await?;
            view(rows.first().ok_or_else(|| fault("look", "no answer"))?)
        }
        .boxed()
    }

    fn mark<'a>(&'a self, id: &'a NodeId, expires_at: i64) -> BoxFuture<'a, Result<bool, StoreFault>> {
        async move {
            let params: Params<'_> = &[
                (&&*id.name, Type::TEXT),
                (&incarnation(id)?, Type::INT8),
                (&expires_at, Type::INT8),
                (&self.schema(), Type::TEXT),
                (&self.shared.cell.hints.sender, Type::TEXT),
            ];
            let rows = self.question("mark", &statements::mark(self.schema()), params).await?;
            Ok(!rows.is_empty())
        }
        .boxed()
    }

    /// A shard of which a statement is under way is not claimed, not even one's own.
    fn claim<'a>(&'a self, id: &'a NodeId, shards: &'a ShardSet) -> BoxFuture<'a, Result<ShardSet, StoreFault>> {
        let round = self.shared.leases.round();
        async move { self.claimed(id, shards, round).await }.boxed()
    }

    fn tenure(&self, shard: Shard) -> Option<Tenure> {
        self.shared.leases.tenure(shard)
    }

    /// Asked again after an error it asks for the same: each shard is released under the epoch at which it was given up.
    fn release<'a>(&'a self, id: &'a NodeId, shards: &'a ShardSet) -> BoxFuture<'a, Result<(), StoreFault>> {
        async move { self.released(id, shards).await }.boxed()
    }

    fn leave<'a>(&'a self, id: &'a NodeId) -> BoxFuture<'a, Result<(), StoreFault>> {
        async move {
            let params: Params<'_> = &[
                (&&*id.name, Type::TEXT),
                (&incarnation(id)?, Type::INT8),
                (&self.schema(), Type::TEXT),
                (&self.shared.cell.hints.sender, Type::TEXT),
            ];
            self.question("leave", &statements::leave(self.schema()), params).await.map(drop)
        }
        .boxed()
    }

    fn forget(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        async move { self.question("forget", &statements::forget(self.schema()), &[]).await.map(drop) }.boxed()
    }

    fn disown(&self) {
        self.shared.leases.disown();
        self.shared.forget_broken(&ShardSet::all());
    }

    fn told(&self) -> watch::Receiver<u64> {
        self.shared.cell.hints.told()
    }
}

/// One column of the leases or of the shards; no value where there are no rows.
fn column<'r, T: FromSql<'r>>(row: &'r Row, at: usize) -> Result<std::vec::IntoIter<T>, StoreFault> {
    let read = row.try_get::<_, Option<Vec<T>>>(at);
    let values = read.map_err(|error| fault("look", format!("column {at}: {error}")))?;
    Ok(values.unwrap_or_default().into_iter())
}

/// What [`statements::look`] answers.
fn view(row: &Row) -> Result<CellView, StoreFault> {
    let ids = column(row, 0)?.zip(column(row, 1)?);
    let reached = column(row, 2)?.zip(column(row, 3)?);
    let programs = column::<i32>(row, 4)?.zip(column(row, 5)?.zip(column(row, 6)?));
    let lives = column(row, 7)?.zip(column(row, 8)?);
    let at = row.try_get(12).map_err(|error| fault("look", format!("column 12: {error}")))?;
    let mut view = CellView { at, ..CellView::default() };
    for (((of, (peer, grpc)), (weight, (version, config))), (is_draining, expires_at)) in
        ids.zip(reached).zip(programs).zip(lives)
    {
        let refused = || fault("look", format!("weight {weight} of a node: 1 to {} are allowed", u16::MAX));
        let weight = u16::try_from(weight).ok().and_then(NonZeroU16::new).ok_or_else(refused)?;
        let about = About { peer, grpc, weight, version, config };
        view.members.push(Member { id: node(of)?, about, is_draining, expires_at });
    }
    let owners = column::<Option<String>>(row, 9)?.zip(column::<i64>(row, 10)?).zip(column::<i64>(row, 11)?);
    for ((owner, incarnation), epoch) in owners {
        let owner = owner.map(|name| node((name, incarnation))).transpose()?;
        view.shards.push(Holding { owner, epoch: unsigned("epoch", epoch)? });
    }
    let found = view.shards.len();
    if found != usize::from(SHARDS) {
        return Err(fault("look", format!("the table shard has {found} rows, it needs {SHARDS}")));
    }
    Ok(view)
}

fn node((name, incarnation): (String, i64)) -> Result<NodeId, StoreFault> {
    Ok(NodeId { name: Arc::from(name), incarnation: Incarnation(unsigned("incarnation", incarnation)?) })
}

fn unsigned(what: &str, number: i64) -> Result<u64, StoreFault> {
    u64::try_from(number).map_err(|_| fault("look", format!("{what} {number}: it has no sign")))
}
