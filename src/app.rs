//! The composition root: configuration → adapters → actors → fronts, and the life of a node.
//!
//! ```text
//! open store ─ resume clock ─ start actors ─ serve ─┬─ shutdown asked: NOT_SERVING, settle on,
//!                                                   │  finish what is in flight, flush, close
//!                                                   └─ store lost: NOT_SERVING, a bounded grace, exit
//! ```
//!
//! A store that hangs or is asked again is not lost: NOT_SERVING until it answers (`disk`, `store`).

mod auth;
mod billing;
mod cluster;
mod disk;
mod keys;
mod listeners;
mod opening;
mod reload;
mod store;
mod supervisor;
pub mod takeover;
mod tls;

pub use auth::open_sources;
pub use listeners::Listeners;
pub use reload::Source;
pub use tls::open_tls;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use auth::Authenticators;
use keys::Keys;
use opening::{Store, open};
use supervisor::Supervisor;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    actors::{self, Orgs, Policies, Rules, WriteBehind, billing::Balances},
    auth::Authenticator,
    clock::SystemClock,
    cluster::{keeper::Keeper, table::Table},
    config::{self, Config},
    domain::{
        ids::OrgId,
        policy::OrgPolicy,
        window::{Length, Millis},
    },
    grpc::{self, server::Health},
    http,
    net::Tls,
    ports::{BillingProvider, Cell, Clock, OrgStore, StoreEngine},
    service::{self, Others, Reloads, Service},
    telemetry::Metrics,
};

/// How often the clock is read without a call.
const CLOCK_LOOK: Duration = Duration::from_secs(1);
/// The mark is never older than this many readings, however quiet the node is: what a crash forgets of the time
/// that the node was up is given to leases once more.
const MARK_EVERY: u32 = 5;
/// What counting pools and open reservations may take before calls are served.
const COUNTED_WITHIN: Duration = Duration::from_secs(5);
/// What the store may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// What other nodes may take to get their last answers.
const PEER_WITHIN: Duration = Duration::from_secs(2);
/// What the HTTP port may take to answer what it has been asked before.
const HTTP_WITHIN: Duration = Duration::from_secs(1);

/// What a node is started with beyond its configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct Start {
    /// Believe the wall clock, whatever the stored mark says.
    pub accept_clock: bool,
    /// Go on where the file `committed` is missing, and with it the sign of a lost tail.
    pub accept_lost_tail: bool,
    /// Negative control of the power-cut test: acknowledge without syncing.
    pub without_sync: bool,
}

/// Why a node did not start, or ended other than it was asked to.
#[derive(Debug)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

impl Policies for config::Policies {
    fn policy(&self, org: &OrgId) -> Arc<OrgPolicy> {
        Self::policy(self, org)
    }

    fn admits(&self, org: &OrgId) -> bool {
        Self::admits(self, org)
    }

    fn lists(&self, org: &OrgId) -> bool {
        Self::lists(self, org)
    }
}

fn rules(config: &Config, since: Millis, generation: u64) -> Rules {
    Rules {
        policies: Arc::new(config.policies.clone()),
        bounds: config.bounds.clone(),
        pool_stats: config.pool_stats,
        since,
        generation,
    }
}

fn write_behind(config: &Config) -> WriteBehind {
    WriteBehind {
        interval: Duration::from_millis(config.durability.write_behind_ms.into()),
        max: config.durability.write_behind_max.into(),
    }
}

/// Runs a node until `shutdown`. What `source` reads again takes effect at once.
///
/// # Errors
/// Where the node could not start, could not stop in time, or lost its store.
pub async fn run(
    config: Config,
    start: Start,
    mut listeners: Listeners,
    source: Source,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Failure> {
    let metrics = Arc::new(Metrics::default());
    let tls = open_tls(&config)?;
    let sources = open_sources(&config)?;
    let Store { orgs: store, engine, clock, cell } = open(&config, start, &metrics).await?;
    let table = if cell.is_some() { Table::shared(clock.clone()) } else { Table::alone() };
    let callers = Authenticators::of(&config, sources, &clock);
    let turn = usize::try_from(random()? % 1000).unwrap_or(0);
    let provider = billing::provider(&config, clock.clone())?;
    let orgs = start_orgs(&config, &store, &table, &clock, &provider, &metrics).await?;
    let balances = Balances::start(provider, clock.clone(), billing::rules(&config)).await.map_err(Failure)?;
    let keeper = join(&config, &listeners, cell, &table, (&orgs, &balances), &clock);
    let ways = match (&config.cluster, &keeper) {
        (Some(cluster), Some(keeper)) => Some(cluster::Ways::open(cluster, &config.bounds, keeper.clone())?),
        _ => None,
    };
    announce(&config, &listeners, &*engine);
    let peer = listeners.take_peer();
    let supervisor = Arc::new(Supervisor::of_environment());
    let (reloads, asked) = Reloads::new();
    let service = Arc::new(Service::new(service::Deps {
        orgs,
        clock: clock.clone(),
        store: store.clone(),
        engine: engine.clone(),
        balances,
        metrics,
        reloads,
        table,
        others: ways.as_ref().zip(keeper).map(|(ways, keeper)| Others { keeper, peers: ways.peers.clone() }),
        node: config.node.clone(),
    }));
    let keys = Keys::of(&callers.rpcs, &service).await;
    let closing = service.closing();
    let (grpc, http) = listeners.doors(&config.bounds, service.turns(), tls.clone(), turn);
    let (health, grpc) =
        grpc::server::serve(service.clone(), callers.rpcs.clone(), &config.bounds, grpc, closing.clone())
            .map_err(Failure)?;
    let has_disk = config.cluster.is_none();
    if has_disk {
        disk::ask_for_room(&service, &config.data_dir).await;
    }
    health.set_serving(service.is_serving()).await;
    let grpc = tokio::spawn(grpc);
    let http_stop = CancellationToken::new();
    let http = http::serve(service.clone(), callers.metrics, http, billing::webhook_key(&config), http_stop.clone());
    let http = tokio::spawn(http);
    let (data_dir, bounds) = (config.data_dir.clone(), config.bounds.clone());
    let mut beside = vec![
        tokio::spawn(watch_clock(clock, engine.clone())),
        tokio::spawn(disk::watch(service.clone(), engine.clone(), health.clone())),
        tokio::spawn(store::watch(service.clone(), store.clone(), health.clone())),
        tokio::spawn(supervisor.clone().watch(service.clone())),
        tokio::spawn(reload::apply(
            service.clone(),
            store.clone(),
            callers.rpcs.clone(),
            config,
            source,
            asked,
            supervisor.clone(),
        )),
    ];
    let peer_stop = CancellationToken::new();
    let peer = ways
        .as_ref()
        .zip(peer)
        .map(|(ways, listener)| ways.serve(service.clone(), listener, &bounds, peer_stop.clone()));
    beside.extend(ways.map(|ways| ways.watch(service.clone())));
    beside.extend(has_disk.then(|| tokio::spawn(disk::watch_room(service.clone(), data_dir))));
    beside.extend(watch_credentials(&callers.rpcs, keys, tls, &service));
    supervisor.ready(&service.health());
    let ended = until_over(shutdown, &service, &health, &*store, &supervisor).await;
    closing.cancel();
    let drain_for = Duration::from_millis(service.orgs().rules().bounds.drain_ms.into());
    end_within(drain_for, grpc, "grpc").await;
    beside.iter().for_each(JoinHandle::abort);
    let stopped = stop(&service, &*store, &*engine, drain_for).await;
    http_stop.cancel();
    end_within(HTTP_WITHIN, http, "http").await;
    peer_stop.cancel();
    if let Some(peer) = peer {
        end_within(PEER_WITHIN, peer, "peer").await;
    }
    ended.and(stopped)
}

/// What reads credentials again while the node runs.
fn watch_credentials(
    rpcs: &Authenticator,
    keys: Option<Keys>,
    tls: Option<Arc<Tls>>,
    service: &Arc<Service>,
) -> Vec<JoinHandle<()>> {
    let mut watching = Vec::new();
    watching.extend(auth::watched(rpcs).map(|tokens| tokio::spawn(auth::watch(tokens, service.clone()))));
    watching.extend(keys.map(|keys| tokio::spawn(keys.watch())));
    let certificates = rpcs.sources().certificates.clone();
    watching.extend(tls.map(|tls| tokio::spawn(tls::watch(tls, certificates, service.metrics().clone()))));
    watching
}

/// Serves until it is asked to stop, and then until it has drained; an error where the store is lost before.
async fn until_over(
    shutdown: impl Future<Output = ()> + Send,
    service: &Service,
    health: &Health,
    store: &dyn OrgStore,
    supervisor: &Supervisor,
) -> Result<(), Failure> {
    tokio::select! {
        () = shutdown => {}
        fault = store::lost(service, health, store) => {
            supervisor.stopping(&fault.to_string());
            return Err(fault);
        }
    }
    drain(service, health, supervisor).await;
    Ok(())
}

/// The place of this node among others; `None` = it is alone.
fn join(
    config: &Config,
    listeners: &Listeners,
    cell: Option<Arc<dyn Cell>>,
    table: &Arc<Table>,
    (orgs, balances): (&Orgs, &Balances),
    clock: &Arc<SystemClock>,
) -> Option<Arc<Keeper>> {
    let (cluster, cell, addresses) = (config.cluster.as_ref()?, cell?, listeners.addresses()?);
    let (table, orgs, balances, clock) = (table.clone(), orgs.clone(), balances.clone(), clock.clone());
    let joining = cluster::Joining { config, cluster, addresses: &addresses, cell, table, orgs, balances, clock };
    Some(joining.join())
}

/// The actors, with what metrics say of all orgs counted.
async fn start_orgs(
    config: &Config,
    store: &Arc<dyn OrgStore>,
    table: &Arc<Table>,
    clock: &Arc<SystemClock>,
    provider: &Arc<dyn BillingProvider>,
    metrics: &Arc<Metrics>,
) -> Result<Orgs, Failure> {
    let orgs = Orgs::start(actors::Deps {
        clock: clock.clone(),
        store: store.clone(),
        table: table.clone(),
        rules: rules(config, clock.now(), 0),
        write_behind: write_behind(config),
        incarnation: random()?,
        provider: provider.clone(),
        events: metrics.clone(),
    });
    let orgs = orgs.await.map_err(Failure)?;
    // What comes with shards is counted as they come.
    if table.is_alone() {
        count(&orgs).await;
    }
    Ok(orgs)
}

/// Waits for a door to close, and cuts what is still open then.
async fn end_within(within: Duration, mut door: JoinHandle<()>, listener: &'static str) {
    if timeout(within, &mut door).await.is_err() {
        tracing::warn!(listener, ?within, "connections were cut that did not finish in time");
        door.abort();
    }
}

fn random() -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| Failure(format!("no randomness from the system: {error}")))
}

/// The start-up line: what this node is and what it enforces by default.
fn announce(config: &Config, listeners: &Listeners, engine: &dyn StoreEngine) {
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let rate = &config.policies.policy_of_unlisted().rate;
    let addresses = listeners.addresses();
    if let Some(open) = config.is_open_beyond_loopback() {
        tracing::warn!(tls = config.tls.is_some(), "INSECURE: {open}; keep the ports inside a trusted network");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        node = config.node,
        grpc = addresses.map(|of| tracing::field::display(of.grpc)),
        http = addresses.map(|of| tracing::field::display(of.http)),
        peer = addresses.and_then(|of| of.peer).map(tracing::field::display),
        tls = config.tls.is_some(),
        auth = config.auth.is_asked(),
        data = config.cluster.is_none().then(|| tracing::field::display(config.data_dir.display())),
        store = engine.kind(),
        rate = rate.amount.map_or("off".into(), |amount| format!("{amount} per {}", Length(rate.len))),
        billing = config.billing.provider.name(),
        listed_orgs = config.policies.listed().count(),
        write_behind_ms = config.durability.write_behind_ms,
        write_behind_max = config.durability.write_behind_max,
        "tollgate is up"
    );
}

/// Which upstream accounts are stopped, and how many reservations are open, is known before the first call.
async fn count(orgs: &Orgs) {
    if timeout(COUNTED_WITHIN, orgs.counted()).await.is_err() {
        tracing::warn!("pools and open reservations are still being counted; what metrics say of them grows");
    }
}

/// NOT_SERVING first; running executions are served on until load balancers have noticed. A node among others hands its
/// shards over meanwhile, and serves whatever still comes: its own until then, and afterwards theirs.
async fn drain(service: &Service, health: &Health, supervisor: &Supervisor) {
    let notice = Duration::from_millis(service.orgs().rules().bounds.drain_notice_ms.into());
    let within = Duration::from_millis(service.orgs().rules().bounds.drain_ms.into());
    service.start_leaving();
    supervisor.stopping(&service.health());
    health.set_serving(false).await;
    if let Some(keeper) = service.keeper() {
        tracing::info!(?notice, "draining: what this node owns is handed over, and callers are served on");
        tokio::join!(keeper.leave(within), tokio::time::sleep(notice));
    } else {
        tracing::info!(?notice, "draining: nothing new is admitted, running executions settle on");
        service.start_draining();
        tokio::time::sleep(notice).await;
    }
    service.start_draining();
}

async fn stop(
    service: &Service,
    store: &dyn OrgStore,
    engine: &dyn StoreEngine,
    within: Duration,
) -> Result<(), Failure> {
    let flushed = service.orgs().shutdown(within.max(STOP_WITHIN)).await.map_err(Failure);
    engine.keep_mark();
    let closed = match timeout(STOP_WITHIN, store.close()).await {
        Ok(closed) => closed.map_err(|fault| Failure(fault.to_string())),
        Err(_) => Err(Failure("the store did not close in time".into())),
    };
    tracing::info!(groups = engine.groups(), "stopped");
    flushed.and(closed)
}

/// Keeps the clock's judgement current while nobody asks, and its mark on disk, and logs when the judgement
/// changes. A jump that is believed is kept at once: a restart must not doubt it again because no commit came in
/// between.
async fn watch_clock(clock: Arc<dyn Clock>, engine: Arc<dyn StoreEngine>) {
    let mut steady = true;
    let (mut marked, mut readings_since) = (engine.groups(), 0);
    loop {
        clock.read();
        let state = clock.state();
        let now_steady = !state.is_alarm();
        match (steady, now_steady) {
            (true, false) => tracing::error!(%state, "clock alarm"),
            (false, true) => {
                tracing::info!("the clock is steady again");
                engine.keep_mark();
            }
            _ => {}
        }
        steady = now_steady;
        // Every commit group carries the mark.
        let groups = engine.groups();
        readings_since = if groups == marked { readings_since + 1 } else { 0 };
        marked = groups;
        if readings_since >= MARK_EVERY {
            engine.keep_mark();
            readings_since = 0;
        }
        tokio::time::sleep(CLOCK_LOOK).await;
    }
}

#[cfg(test)]
mod tests;
