//! The databases of a cluster as one store. Each has a range of the shards, and everything that is about an org is asked of
//! the one that has its shard: one that does not answer is no reason to refuse an org of another.
//!
//! ```text
//! new ─▶ schema of each ─▶ birth.rs: are they those of one cluster? ─▶ open
//!           └─ does not answer in time, another one does ─▶ it is opened when it answers; until then its orgs have no owner
//! ```

use std::{
    collections::BTreeSet,
    future::ready,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt, join_all, try_join_all};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    PgError, PgOptions, PgStore,
    birth::{self, Origin, Record},
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
    ports::{Cell, CommitDone, CommitError, OrgStore, StoreEngine, StoreFault, StoreState},
};

/// Between two attempts to open a database that does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// When one is open, the others are waited for as long as this.
const BESIDE: Duration = Duration::from_secs(5);

/// All databases of a cluster, by the number of the cell.
#[derive(Debug)]
pub struct PgCells {
    cells: Vec<Arc<PgStore>>,
    state: watch::Sender<StoreState>,
}

impl PgCells {
    /// Opens the databases of one cluster, in their order, which begins with them where none of them was used before. One that does
    /// not answer in time is opened later, if another one does.
    ///
    /// # Errors
    /// Where none answers within so long, where a cluster cannot begin because one does not, or where they are not those
    /// of one cluster.
    pub async fn open(options: Vec<PgOptions>, within: Duration) -> Result<Arc<Self>, PgError> {
        let cells = options.into_iter().map(|options| PgStore::new(options).map(Arc::new)).collect::<Result<_, _>>()?;
        let this = Arc::new(Self { cells, state: watch::Sender::new(StoreState::Up) });
        let found = this.find(Instant::now() + within).await?;
        let name = this.begin(&found).await?;
        for (at, (cell, found)) in this.cells.iter().zip(&found).enumerate() {
            if found.is_some() {
                cell.begin();
            } else {
                tracing::error!("{}", this.of(at, "it does not answer; what it has is served when it does"));
                tokio::spawn(open_later(Arc::downgrade(&this), at, name.clone()));
            }
            tokio::spawn(follow(Arc::downgrade(&this), cell.state()));
        }
        this.follow();
        Ok(this)
    }

    /// What each says of itself, as far as it answers.
    async fn find(&self, mut until: Instant) -> Result<Vec<Option<Option<Record>>>, PgError> {
        let mut found = vec![None; self.cells.len()];
        let mut said = BTreeSet::new();
        loop {
            let missing = found.iter().enumerate().filter(|(_, found)| found.is_none()).map(|(at, _)| at);
            let asked = missing.map(|at| async move { (at, self.prepared(at).await) });
            let mut last = None;
            for (at, answer) in join_all(asked).await {
                match answer {
                    Ok(record) => found[at] = Some(record),
                    Err(error) => {
                        if said.insert(error.to_string()) {
                            tracing::warn!(%error, "a database of the cluster cannot be used yet; it is tried again");
                        }
                        last = Some(error);
                    }
                }
            }
            self.read_again(&mut found).await;
            let origin = birth::judge(&found).map_err(PgError)?;
            let Some(last) = last else { return Ok(found) };
            if matches!(origin, Origin::Born(_)) {
                until = until.min(Instant::now() + BESIDE);
            }
            if Instant::now() >= until {
                return match origin {
                    Origin::Born(_) => Ok(found),
                    Origin::Beginning(_) | Origin::Unknown => Err(last),
                };
            }
            sleep(PAUSE).await;
        }
    }

    /// One that was empty may have got its number from another node before the others were read: what is empty behind
    /// them is empty.
    async fn read_again(&self, found: &mut [Option<Option<Record>>]) {
        if found.iter().any(|found| matches!(found, Some(Some(_)))) {
            for (cell, found) in self.cells.iter().zip(found).filter(|(_, found)| **found == Some(None)) {
                *found = cell.origin().await.ok();
            }
        }
    }

    /// The schema of a database is there; what it says of itself.
    async fn prepared(&self, at: usize) -> Result<Option<Record>, PgError> {
        let Some(cell) = self.cells.get(at) else { return Ok(None) };
        let record = async {
            cell.prepare().await?;
            cell.origin().await
        };
        record.await.map_err(|PgError(error)| {
            cell.is_not_open(&error);
            PgError(self.of(at, &error))
        })
    }

    /// An error of one cell says which one, where there are several.
    fn of(&self, at: usize, error: &str) -> String {
        let cells = self.cells.len();
        if cells > 1 { format!("database {} of {cells}: {error}", at + 1) } else { error.to_owned() }
    }

    /// The name of the cluster, which begins now where it has none.
    async fn begin(&self, found: &[Option<Option<Record>>]) -> Result<String, PgError> {
        let decided = match birth::judge(found).map_err(PgError)? {
            Origin::Born(name) => return Ok(name),
            Origin::Beginning(decided) => decided,
            Origin::Unknown => return Err(PgError("a cluster begins when each of its databases answers".to_owned())),
        };
        let mut name = decided.map_or_else(drawn, Ok)?;
        let mut begun = Vec::new();
        for (at, cell) in self.cells.iter().enumerate() {
            let record = cell.be(&name, at, self.cells.len()).await?;
            // Another node may have been faster: the first database decides.
            if let (0, Some(record)) = (at, &record) {
                name.clone_from(&record.cluster);
            }
            begun.push(Some(record));
        }
        birth::judge(&begun).map_err(PgError)?;
        if let Some(first) = self.cells.first() {
            first.all_are_born().await?;
        }
        Ok(name)
    }

    /// What nodes know of each other, by the number of the cell.
    pub fn as_cells(&self) -> Vec<Arc<dyn Cell>> {
        self.cells.iter().map(|cell| cell.clone() as Arc<dyn Cell>).collect()
    }

    /// The databases, each with the shards that it has.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&Arc<PgStore>, ShardSet)> {
        let cells = self.cells.len();
        self.cells.iter().enumerate().map(move |(at, cell)| (cell, ShardSet::of_cell(at, cells)))
    }

    /// Those that have some of the shards, each with those.
    fn those(&self, shards: &ShardSet) -> impl Iterator<Item = (&Arc<PgStore>, ShardSet)> {
        let parts = self.parts().map(|(cell, of)| (cell, of.within(shards)));
        parts.filter(|(_, shards)| !shards.is_empty())
    }

    fn cell(&self, org: &OrgId) -> Option<&PgStore> {
        self.cells.get(Shard::of(org).cell(self.cells.len())).map(|cell| &**cell)
    }

    /// What its database has is served from now on.
    fn opened(&self, at: usize) {
        if let Some(cell) = self.cells.get(at) {
            cell.begin();
            tracing::info!("{}", self.of(at, "it is open"));
        }
    }

    /// Up where all are.
    fn follow(&self) {
        let states = self.cells.iter().map(|cell| cell.state().borrow().clone()).enumerate();
        let trouble = states.filter_map(|(at, state)| match state {
            StoreState::Up => None,
            StoreState::Retrying { since, fault } => {
                Some((since, StoreFault { cause: self.of(at, &fault.cause), ..fault }))
            }
            StoreState::Lost(fault) => Some((Instant::now(), fault)),
        });
        let oldest = trouble.min_by_key(|(since, _)| *since);
        self.state.send_replace(match oldest {
            Some((since, fault)) => StoreState::Retrying { since, fault },
            None => StoreState::Up,
        });
    }
}

fn drawn() -> Result<String, PgError> {
    let drawn = getrandom::u64().map_err(|error| PgError(format!("no randomness from the system: {error}")))?;
    Ok(format!("{drawn:016x}"))
}

/// As long as the store is there.
async fn follow(cells: Weak<PgCells>, mut state: watch::Receiver<StoreState>) {
    while state.changed().await.is_ok() {
        let Some(cells) = cells.upgrade() else { return };
        cells.follow();
    }
}

/// Until it answers and is what it has to be, or the store is gone.
async fn open_later(cells: Weak<PgCells>, at: usize, cluster: String) {
    let mut said = String::new();
    loop {
        sleep(PAUSE).await;
        let Some(cells) = cells.upgrade() else { return };
        let refused = match cells.prepared(at).await {
            Ok(Some(record)) if record.is(&cluster, at, cells.cells.len()) => break cells.opened(at),
            Ok(_) => cells.of(at, &format!("it is not this one of cluster {cluster}: restore it")),
            Err(error) => error.to_string(),
        };
        if refused != said {
            tracing::error!(error = refused, "a database of the cluster cannot be used yet; it is tried again");
            said = refused;
        }
    }
}

impl OrgStore for PgCells {
    fn tenure(&self, org: &OrgId) -> Option<Tenure> {
        OrgStore::tenure(self.cell(org)?, org)
    }

    fn load(&self, org: &OrgId) -> BoxFuture<'_, Result<OrgRows, StoreFault>> {
        self.ask(org, |cell| cell.load(org))
    }

    fn commit(&self, write: OrgWrite, fence: Epoch, done: CommitDone) {
        match self.cell(&write.org) {
            Some(cell) => cell.commit(write, fence, done),
            None => done(Err(CommitError::Fenced)),
        }
    }

    fn fault(&self, org: &OrgId) -> Option<StoreFault> {
        OrgStore::fault(self.cell(org)?, org)
    }

    fn answers_for(&self) -> ShardSet {
        let answering = self.parts().filter(|(cell, _)| cell.shared.trouble.fault().is_none());
        answering.fold(ShardSet::none(), |all, (_, shards)| all.and(&shards))
    }

    fn due(
        &self,
        now: Millis,
        shards: &ShardSet,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<(Millis, OrgId)>, StoreFault>> {
        let asked: Vec<_> = self.those(shards).map(|(cell, shards)| cell.due(now, &shards, max)).collect();
        first_of(asked, max, |(at, org)| (*at, place(org)))
    }

    fn list(
        &self,
        shards: &ShardSet,
        after: Option<&OrgId>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<(OrgId, Head)>, StoreFault>> {
        let asked: Vec<_> = self.those(shards).map(|(cell, shards)| cell.list(&shards, after, max)).collect();
        first_of(asked, max, |(org, _)| place(org))
    }

    fn having(
        &self,
        kind: RowKind,
        shards: &ShardSet,
        after: Option<&OrgId>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<OrgId>, StoreFault>> {
        let asked: Vec<_> = self.those(shards).map(|(cell, shards)| cell.having(kind, &shards, after, max)).collect();
        first_of(asked, max, place)
    }

    fn some(&self, org: &OrgId, kinds: &'static [RowKind]) -> BoxFuture<'_, Result<OrgRows, StoreFault>> {
        self.ask(org, |cell| cell.some(org, kinds))
    }

    fn latest(&self, org: &OrgId, names: Vec<KeptName>) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        self.ask(org, |cell| cell.latest(org, names))
    }

    fn beside(
        &self,
        org: &OrgId,
        kind: RowKind,
        after: Option<RowKey>,
        max: usize,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        self.ask(org, |cell| cell.beside(org, kind, after, max))
    }

    fn state(&self) -> watch::Receiver<StoreState> {
        self.state.subscribe()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreFault>> {
        let closing = join_all(self.cells.iter().map(|cell| cell.close()).collect::<Vec<_>>());
        async move { closing.await.into_iter().collect() }.boxed()
    }
}

impl PgCells {
    fn ask<'a, T: Send + 'a>(
        &'a self,
        org: &OrgId,
        asked: impl FnOnce(&'a PgStore) -> BoxFuture<'a, Result<T, StoreFault>>,
    ) -> BoxFuture<'a, Result<T, StoreFault>> {
        match self.cell(org) {
            Some(cell) => asked(cell),
            // Every shard has one.
            None => ready(Err(StoreFault { operation: "load", cause: format!("no database has {org}") })).boxed(),
        }
    }
}

/// Where an org stands among others, in every database and every dump.
fn place(org: &OrgId) -> (usize, OrgId) {
    (org.as_str().len(), org.clone())
}

/// The first of what several databases have found, each in the same order.
fn first_of<'a, T: Send + 'a, Place: Ord>(
    asked: Vec<BoxFuture<'a, Result<Vec<T>, StoreFault>>>,
    max: usize,
    place: impl Fn(&T) -> Place + Send + 'a,
) -> BoxFuture<'a, Result<Vec<T>, StoreFault>> {
    async move {
        let mut found = try_join_all(asked).await?.into_iter().flatten().collect::<Vec<_>>();
        found.sort_by_cached_key(place);
        found.truncate(max);
        Ok(found)
    }
    .boxed()
}

impl StoreEngine for PgCells {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn groups(&self) -> u64 {
        self.cells.iter().map(|cell| cell.groups()).sum()
    }
}
