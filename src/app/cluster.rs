//! A node among others: its store is theirs as well, and it keeps its place among them.

use std::{sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::{Failure, listeners::Addresses, opening::Store};
use crate::{
    actors::{Orgs, billing::Balances},
    clock::SystemClock,
    cluster::{
        keeper::{self, Keeper},
        table::Table,
    },
    config::{Cluster, Config},
    domain::{
        members::{About, Incarnation},
        shard::ShardSet,
    },
    ports::{Cell, Residents},
    store::postgres::{PgOptions, PgStore},
};

const PASSWORD: &str = "PGPASSWORD";
/// How long a node waits at its start for a database that is not there yet.
const OPEN_WITHIN: Duration = Duration::from_secs(30);
const OPEN_PAUSE: Duration = Duration::from_secs(1);
/// Hexadecimal digits of a digest that people compare.
const DIGEST_DIGITS: usize = 12;

/// The store that all nodes have, and the clock of this one.
pub(super) async fn open(cluster: &Cluster, node: &str) -> Result<Store, Failure> {
    let url = cluster.postgres_urls.first().ok_or_else(|| Failure("cluster.postgres_urls is empty".into()))?;
    let options = PgOptions::parse(url.reveal()).map_err(|error| Failure(format!("cluster.postgres_urls: {error}")))?;
    let mut options = options.or_password(std::env::var(PASSWORD).ok());
    node.clone_into(&mut options.owner);
    let clock = SystemClock::resume(None).map_err(|_| Failure("the clock of this machine cannot be read".into()))?;
    let clock = Arc::new(clock);
    options.clock = clock.clone();
    let until = Instant::now() + OPEN_WITHIN;
    let store = loop {
        match PgStore::open(options.clone()).await {
            Ok(store) => break Arc::new(store),
            Err(error) if Instant::now() >= until => return Err(Failure(format!("cluster.postgres_urls: {error}"))),
            Err(error) => {
                tracing::warn!(%error, "the database of the cluster is not there yet");
                sleep(OPEN_PAUSE).await;
            }
        }
    };
    Ok(Store { orgs: store.clone(), engine: store.clone(), clock, cell: Some(store) })
}

/// What this node has in memory of orgs: their actors, and what is remembered of their balances.
#[derive(Debug)]
struct Here {
    orgs: Orgs,
    balances: Balances,
}

impl Residents for Here {
    fn came(&self, shards: &ShardSet) {
        self.orgs.came(shards);
    }

    fn leave<'a>(&'a self, shards: &'a ShardSet) -> BoxFuture<'a, ()> {
        async move {
            self.orgs.leave(shards).await;
            self.balances.leave(shards);
        }
        .boxed()
    }
}

/// What keeps a place among other nodes.
pub(super) struct Joining<'a> {
    pub(super) config: &'a Config,
    pub(super) cluster: &'a Cluster,
    pub(super) addresses: &'a Addresses,
    pub(super) cell: Arc<dyn Cell>,
    pub(super) table: Arc<Table>,
    pub(super) orgs: Orgs,
    pub(super) balances: Balances,
    pub(super) clock: Arc<SystemClock>,
}

impl Joining<'_> {
    /// From now on the node takes its share of the shards.
    pub(super) fn join(self) -> Keeper {
        let Self { config, cluster, addresses, cell, table, orgs, balances, clock } = self;
        let advertised = |given: &Option<String>, bound| given.clone().unwrap_or_else(|| format!("{bound}"));
        let about = About {
            peer: advertised(&cluster.advertise, addresses.peer.unwrap_or(config.listen.peer)),
            grpc: advertised(&cluster.advertise_grpc, addresses.grpc),
            weight: cluster.weight,
            version: env!("TOLLGATE_VERSION").to_owned(),
            config: digest(config),
        };
        let name = Arc::from(config.node.as_str());
        let residents = Arc::new(Here { orgs, balances });
        Keeper::start(keeper::Deps { cell, table, residents, clock, name, about, draw })
    }
}

/// 63 bits: the database counts with a sign.
fn draw() -> Incarnation {
    // Without randomness the node would have failed at its start.
    Incarnation(getrandom::u64().unwrap_or_default() >> 1)
}

/// Nodes whose digests differ decide differently about some org.
fn digest(config: &Config) -> String {
    let Config { policies, bounds, durability, billing, pool_stats, .. } = config;
    let text = format!("{policies:?} {bounds:?} {durability:?} {billing:?} {pool_stats:?}");
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().chars().take(DIGEST_DIGITS).collect()
}
