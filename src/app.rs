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
mod ending;
mod keys;
mod listeners;
mod opening;
mod outside;
mod purged;
mod reload;
mod store;
mod supervisor;
pub mod takeover;
mod tls;

pub use auth::{check_files, open_sources};
use listeners::Addresses;
pub use listeners::Listeners;
pub use reload::Source;
pub use tls::open_tls;

use std::{fmt, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use auth::Authenticators;
use cluster::Among;
use keys::Keys;
use opening::{Store, open};
use outside::Outside;
use supervisor::Supervisor;
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    actors::{self, Orgs, Policies, Rules, WriteBehind, billing::Balances},
    auth::Authenticator,
    clock::SystemClock,
    cluster::table::Table,
    config::{self, Config},
    domain::{
        events::{EventKinds, Part},
        ids::OrgId,
        policy::{OrgPolicy, Plans},
        window::{Length, Millis},
    },
    front::{self, server::Health},
    http,
    net::Tls,
    ports::{Clock, OrgStore, StoreEngine},
    service::{self, Reloads, Service},
    store::dump,
    telemetry::{Collector, Metrics, Spans},
};

/// How often the clock is read without a call.
const CLOCK_LOOK: Duration = Duration::from_secs(1);
/// The mark is never older than this many readings, however quiet the node is: what a crash forgets of the time
/// that the node was up is given to leases once more.
const MARK_EVERY: u32 = 5;
/// What counting pools and open reservations may take before calls are served.
const COUNTED_WITHIN: Duration = Duration::from_secs(5);

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

impl Plans for config::Policies {
    fn with_plan(&self, org: &OrgId, plan: &str) -> Option<Arc<OrgPolicy>> {
        Self::with_plan(self, org, plan)
    }

    fn plan_names(&self) -> Vec<String> {
        Self::plan_names(self)
    }
}

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
        webhook_kinds: config.webhook.as_ref().map_or(EventKinds::NONE, |webhook| webhook.kinds),
        gateways: Arc::new(config.gateways.clone()),
        since,
        generation,
    }
}

/// What records calls, where a collector is configured.
fn spans(config: &Config, metrics: &Arc<Metrics>) -> Result<Spans, Failure> {
    let Some(endpoint) = config.tracing.endpoint.clone() else { return Ok(Spans::default()) };
    let collector = Collector { endpoint, one_in: config.tracing.one_in };
    Spans::to(&collector, &config.node, metrics.clone()).map_err(Failure)
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
    let Store { orgs: store, engine, clock, cells } = open(&config, start, &metrics).await?;
    let table = if cells.is_empty() { Table::alone() } else { Table::shared(clock.clone(), cells.len()) };
    let callers = Authenticators::of(&config, sources, &clock);
    let turn = usize::try_from(random()? % 1000).unwrap_or(0);
    let outside = Outside::of(&config, clock.clone())?;
    let orgs = start_orgs(&config, &store, &table, &clock, &outside, &metrics).await?;
    let balances =
        Balances::start(outside.provider.clone(), clock.clone(), billing::rules(&config)).await.map_err(Failure)?;
    let addresses = listeners.addresses();
    let among = cluster::join(&config, &mut listeners, cells, &table, (&orgs, &balances), &clock)?;
    announce(&config, addresses, &*engine);
    let supervisor = Arc::new(Supervisor::of_environment());
    let (reloads, asked) = Reloads::new();
    let service = Arc::new(Service::new(service::Deps {
        orgs,
        clock: clock.clone(),
        store: store.clone(),
        engine: engine.clone(),
        dump: Arc::new(dump::Text),
        balances,
        spans: spans(&config, &metrics)?,
        metrics,
        reloads,
        table,
        others: among.as_ref().map(Among::others),
        node: config.node.clone(),
    }));
    let keys = Keys::of(&callers.rpcs, &service).await;
    let tokens = auth::Watch::of(&callers.rpcs, &service).await;
    let closing = service.closing();
    let (grpc, http) = listeners.doors(&config.bounds, service.turns(), tls.clone(), turn);
    let (health, front) = open_front(&config, &service, &callers)?;
    if config.cluster.is_none() {
        disk::ask_for_room(&service, &config.data_dir).await;
    }
    health.set_serving(service.is_serving()).await;
    service.metrics().begin_gateways(&config.gateways);
    let http_stop = CancellationToken::new();
    let grpc = grpc.serve(front.clone(), closing.clone());
    let webhook_key = outside.secrets.webhook();
    let http = http::serve(service.clone(), callers.metrics, front, http, webhook_key, http_stop.clone());
    let doors = ending::Doors {
        grpc: tokio::spawn(grpc),
        http: (tokio::spawn(http), http_stop),
        peer: among.map(|among| among.serve(service.clone(), &config.bounds)),
    };
    let mut beside = watch_credentials(&callers.rpcs, tokens, keys, tls, &service);
    beside.extend(watch_store(&config, &service, &store, &engine, &health));
    let said = service.clone();
    beside.push(tokio::spawn(watch_clock(clock, engine.clone(), move |why| said.node_is(Part::Clock, why))));
    beside.push(tokio::spawn(supervisor.clone().watch(service.clone())));
    beside.push(tokio::spawn(service.clone().deliver_node_events(outside.webhook.clone())));
    let reloading = reload::Reloading::new(service.clone(), store.clone(), callers.rpcs, outside, config, source.load);
    beside.push(tokio::spawn(reloading.apply(source.hangups, asked, supervisor.clone())));
    supervisor.ready(&service.health());
    let ended = ending::until_over(shutdown, &service, &health, &*store, &supervisor).await;
    let stopped = ending::end(&service, doors, beside, &*store, &*engine).await;
    ended.and(stopped)
}

/// What answers rpcs on both ports.
fn open_front(
    config: &Config,
    service: &Arc<Service>,
    callers: &Authenticators,
) -> Result<(Health, front::Front), Failure> {
    let (bounds, origins, is_tls) = (&config.bounds, &config.cors.origins, config.tls.is_some());
    front::server::front(service.clone(), callers.rpcs.clone(), bounds, origins, is_tls).map_err(Failure)
}

/// What watches the store and its disk while the node runs.
fn watch_store(
    config: &Config,
    service: &Arc<Service>,
    store: &Arc<dyn OrgStore>,
    engine: &Arc<dyn StoreEngine>,
    health: &Health,
) -> Vec<JoinHandle<()>> {
    let mut watching = vec![
        tokio::spawn(disk::watch(service.clone(), engine.clone(), health.clone())),
        tokio::spawn(store::watch(service.clone(), store.clone(), health.clone())),
    ];
    // A node that shares its store keeps nothing on a disk of its own.
    if config.cluster.is_none() {
        watching.push(tokio::spawn(disk::watch_room(service.clone(), config.data_dir.clone())));
        watching.push(tokio::spawn(purged::watch(service.clone())));
    }
    watching
}

/// What reads credentials again while the node runs.
fn watch_credentials(
    rpcs: &Authenticator,
    tokens: Option<auth::Watch>,
    keys: Option<Keys>,
    tls: Option<Arc<Tls>>,
    service: &Arc<Service>,
) -> Vec<JoinHandle<()>> {
    let mut watching = Vec::new();
    watching.extend(tokens.map(|tokens| tokio::spawn(tokens.watch())));
    watching.extend(keys.map(|keys| tokio::spawn(keys.watch())));
    let certificates = rpcs.sources().certificates.clone();
    watching.extend(tls.map(|tls| tokio::spawn(tls::watch(tls, certificates, service.metrics().clone()))));
    watching
}

/// The actors, with what metrics say of all orgs counted.
async fn start_orgs(
    config: &Config,
    store: &Arc<dyn OrgStore>,
    table: &Arc<Table>,
    clock: &Arc<SystemClock>,
    outside: &Outside,
    metrics: &Arc<Metrics>,
) -> Result<Orgs, Failure> {
    let orgs = Orgs::start(actors::Deps {
        clock: clock.clone(),
        store: store.clone(),
        table: table.clone(),
        rules: rules(config, clock.now(), 0),
        write_behind: write_behind(config),
        incarnation: random()?,
        node: config.node.as_str().into(),
        provider: outside.provider.clone(),
        webhook: outside.webhook.clone(),
        events: metrics.clone(),
    });
    let orgs = orgs.await.map_err(Failure)?;
    // What comes with shards is counted as they come.
    if table.is_alone() {
        count(&orgs).await;
    }
    Ok(orgs)
}

fn random() -> Result<u64, Failure> {
    getrandom::u64().map_err(|error| Failure(format!("no randomness from the system: {error}")))
}

/// The start-up line: what this node is and what it enforces by default.
fn announce(config: &Config, addresses: Option<Addresses>, engine: &dyn StoreEngine) {
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let rate = &config.policies.policy_of_unlisted().rate;
    if let Some(open) = config.is_open_beyond_loopback() {
        tracing::warn!(tls = config.tls.is_some(), "INSECURE: {open}; keep the ports inside a trusted network");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        node = config.node,
        grpc = addresses.map(|of| tracing::field::display(of.grpc)),
        http = addresses.map(|of| tracing::field::display(of.http)),
        dashboard = addresses.map(|of| tracing::field::display(dashboard(of.http, config.tls.is_some()))),
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

/// Where people see it: on this machine where it listens on every address of it.
fn dashboard(http: SocketAddr, is_tls: bool) -> String {
    let scheme = if is_tls { "https" } else { "http" };
    let at = if http.ip().is_unspecified() { format!("localhost:{}", http.port()) } else { http.to_string() };
    format!("{scheme}://{at}/")
}

/// Which upstream accounts are stopped, and how many reservations are open, is known before the first call.
async fn count(orgs: &Orgs) {
    if timeout(COUNTED_WITHIN, orgs.counted()).await.is_err() {
        tracing::warn!("pools and open reservations are still being counted; what metrics say of them grows");
    }
}

/// Keeps the clock's judgement current while nobody asks, and its mark on disk, and logs when the judgement
/// changes. A jump that is believed is kept at once: a restart must not doubt it again because no commit came in
/// between.
async fn watch_clock(clock: Arc<dyn Clock>, engine: Arc<dyn StoreEngine>, said: impl Fn(Option<&str>)) {
    let mut steady = true;
    let (mut marked, mut readings_since) = (engine.groups(), 0);
    loop {
        clock.read();
        let state = clock.state();
        let now_steady = !state.is_alarm();
        let trouble = (!now_steady).then(|| format!("the wall clock is not believed: {state}"));
        said(trouble.as_deref());
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
