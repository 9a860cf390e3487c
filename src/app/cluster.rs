//! A node among others: its store is theirs as well, and it keeps its place among them.

use std::{sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt};
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, runtime::Handle, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{Failure, ending::end_within, listeners::Listeners, opening::Store};
use crate::{
    actors::{Orgs, billing::Balances},
    bounds::Bounds,
    clock::SystemClock,
    cluster::{
        membership::{self, Membership},
        table::Table,
    },
    config::{Cluster, Config, PeerFiles},
    domain::{
        ids::OrgId,
        members::{About, Incarnation},
        shard::{Epoch, Shard, ShardSet},
    },
    front,
    net::{Dialer, Door, OfNodes, Shared, Tls, TlsPaths},
    peer::{self, NAME_OF_NODES, Owns, Peers, WrongOwner, server::Serving},
    ports::{Cell, Residents},
    service::{Others, Service},
    store::postgres::{PgCells, PgError, PgOptions},
    turns::Turns,
};

/// How long a node waits at its start where no database answers.
const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// What other nodes may take to get their last answers.
const PEER_WITHIN: Duration = Duration::from_secs(2);
/// How often streams to nodes that are no members any more are ended, where no shard changes its owner.
const MEMBERS_EVERY: Duration = Duration::from_secs(1);
/// Connections of other nodes: one of each, and one more while another takes its place.
const NODES: u32 = 1_024;
const TLS_KEYS: [&str; 3] = ["cluster.tls.cert", "cluster.tls.key", "cluster.tls.ca"];
/// Hexadecimal digits of a digest that people compare.
const DIGEST_DIGITS: usize = 12;

/// How the first cell is reached, which also keeps what belongs to no org.
pub(super) fn first_cell(cluster: &Cluster, node: &str) -> Result<PgOptions, Failure> {
    let url = cluster.postgres_urls.first().ok_or_else(|| Failure("cluster.postgres_urls is empty".into()))?;
    PgOptions::of(url.reveal(), node).map_err(|error| Failure(format!("cluster.postgres_urls: {error}")))
}

/// The store that all nodes have, and the clock of this one.
pub(super) async fn open(cluster: &Cluster, node: &str) -> Result<Store, Failure> {
    let refused = |error: PgError| Failure(format!("cluster.postgres_urls: {error}"));
    let clock = SystemClock::resume(None).map_err(|_| Failure("the clock of this machine cannot be read".into()))?;
    let clock = Arc::new(clock);
    let options = cluster.postgres_urls.iter().map(|url| {
        let mut options = PgOptions::of(url.reveal(), node)?;
        options.clock = clock.clone();
        Ok(options)
    });
    let options = options.collect::<Result<_, _>>().map_err(refused)?;
    let store = PgCells::open(options, OPEN_WITHIN).await.map_err(refused)?;
    Ok(Store { orgs: store.clone(), engine: store.clone(), clock, cells: store.as_cells() })
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

/// This node among others.
#[derive(Debug)]
pub(super) struct Among {
    membership: Arc<Membership>,
    peers: Peers,
    options: Arc<peer::Options>,
    /// What nodes show to each other, where they do.
    tls: Option<Arc<Tls>>,
    listener: TcpListener,
}

/// From now on the node takes its share of the shards; `None` = it is alone.
pub(super) fn join(
    config: &Config,
    listeners: &mut Listeners,
    cells: Vec<Arc<dyn Cell>>,
    table: &Arc<Table>,
    (orgs, balances): (&Orgs, &Balances),
    clock: &Arc<SystemClock>,
) -> Result<Option<Among>, Failure> {
    let (Some(cluster), Some(addresses)) = (&config.cluster, listeners.addresses()) else {
        return Ok(None);
    };
    let tls = cluster.tls.as_ref().map(between).transpose().map_err(Failure)?;
    let Some(listener) = listeners.take_peer() else { return Ok(None) };
    let advertised = |given: &Option<String>, bound| given.clone().unwrap_or_else(|| format!("{bound}"));
    let about = About {
        peer: advertised(&cluster.advertise, addresses.peer.unwrap_or(config.listen.peer)),
        grpc: advertised(&cluster.advertise_grpc, addresses.grpc),
        weight: cluster.weight,
        version: env!("TOLLGATE_VERSION").to_owned(),
        config: digest(config),
    };
    let residents = Arc::new(Here { orgs: orgs.clone(), balances: balances.clone() });
    let (table, clock, name) = (table.clone(), clock.clone(), Arc::from(config.node.as_str()));
    let deps = membership::Deps { cells, table, residents, clock, name, about, draw };
    let membership = Arc::new(Membership::start(deps));
    let request_bytes = usize::try_from(config.bounds.message_bytes).unwrap_or(usize::MAX);
    let options = peer::Options { request_bytes, ..peer::Options::of(membership.clone()) };
    let peers = Peers::new(options.clone(), Arc::new(Dialer::new(tls.clone())));
    Ok(Some(Among { membership, peers, options: Arc::new(options), tls, listener }))
}

/// Whether the files of the port for other nodes are as they should be.
pub(super) fn check_files(config: &Config) -> Result<(), Failure> {
    let files = config.cluster.as_ref().and_then(|cluster| cluster.tls.as_ref());
    files.map_or(Ok(()), |files| between(files).map(drop).map_err(Failure))
}

fn between(files: &PeerFiles) -> Result<Arc<Tls>, String> {
    let PeerFiles { cert, key, ca } = files.clone();
    let paths = TlsPaths { cert, key, client_ca: Some(ca) };
    Tls::open_between(paths, OfNodes { name: NAME_OF_NODES, keys: TLS_KEYS })
}

impl Among {
    /// For calls on their way.
    pub(super) fn others(&self) -> Others {
        Others { membership: self.membership.clone(), peers: self.peers.clone() }
    }

    /// Serves other nodes, reads the certificate again, and ends the streams to nodes that have died.
    pub(super) fn serve(self, service: Arc<Service>, bounds: &Bounds) -> Served {
        let Self { membership, peers, options, tls, listener } = self;
        // Of its own: what callers do here does not slow down the reading of what other nodes have taken.
        let turns = Turns::new(Handle::current().metrics().num_workers());
        let shared = Shared { unread: front::server::unread(bounds), turns, tls: tls.clone() };
        let door = Door::of_nodes("peer", listener, NODES, bounds, &shared, peer::KEEP_ALIVE);
        let table = service.table().clone();
        let owns = Arc::new(Owned(table.clone()));
        let (stop, nodes) = (CancellationToken::new(), tls.as_ref().and_then(|tls| tls.nodes().copied()));
        let metrics = service.metrics().clone();
        let serving = Serving { service, owns, options, nodes, stop: stop.clone() };
        let door = tokio::spawn(peer::server::serve(serving, door));
        let mut beside = vec![tokio::spawn(keep_streams(membership, peers, table))];
        beside.extend(tls.map(|tls| tokio::spawn(super::tls::watch(tls, None, metrics))));
        Served { door, stop, beside }
    }
}

/// Ends the streams to nodes that are members no more, as soon as that is known: calls wait there for answers that will
/// not come.
async fn keep_streams(membership: Arc<Membership>, peers: Peers, table: Arc<Table>) {
    let mut changes = table.changes();
    loop {
        let _ = timeout(MEMBERS_EVERY, changes.changed()).await;
        let places = membership.places();
        let members = places.iter().flat_map(|place| &place.view.members);
        peers.keep_only(&members.filter(|member| member.expires_at.is_some()).map(Into::into).collect());
    }
}

/// Other nodes are served.
#[derive(Debug)]
pub(super) struct Served {
    door: JoinHandle<()>,
    stop: CancellationToken,
    beside: Vec<JoinHandle<()>>,
}

impl Served {
    /// What they have been promised is answered.
    pub(super) async fn end(self) {
        self.stop.cancel();
        end_within(PEER_WITHIN, self.door, "peer").await;
        self.beside.iter().for_each(JoinHandle::abort);
    }
}

/// 63 bits: the database counts with a sign.
fn draw() -> Incarnation {
    // Without randomness the node would have failed at its start.
    Incarnation(getrandom::u64().unwrap_or_default() >> 1)
}

/// Nodes whose digests differ decide differently about some org.
pub(super) fn digest(config: &Config) -> String {
    let Config { policies, bounds, durability, billing, pool_stats, auth, .. } = config;
    let tokens = auth.token_store;
    let text = format!("{policies:?} {bounds:?} {durability:?} {billing:?} {pool_stats:?} {tokens:?}");
    let mut digits = format!("{:x}", Sha256::digest(text));
    digits.truncate(DIGEST_DIGITS);
    digits
}

/// What other nodes may have carried out here.
#[derive(Debug)]
struct Owned(Arc<Table>);

impl Owns for Owned {
    fn owns(&self, org: &str, epoch: Option<Epoch>) -> Result<(), WrongOwner> {
        // It is refused as what it is, and no org.
        let Ok(org) = OrgId::parse("org", org) else { return Ok(()) };
        let held = self.0.held(Shard::of(&org));
        if held.is_some() && (epoch.is_none() || epoch == held) { Ok(()) } else { Err(WrongOwner { epoch: held }) }
    }
}
