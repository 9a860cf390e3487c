//! The composition root: configuration → adapters → actors → fronts, and the life of a node.
//!
//! ```text
//! open store ─ resume clock ─ start actors ─ serve ─┬─ shutdown asked: NOT_SERVING, settle on,
//!                                                   │  finish what is in flight, flush, close
//!                                                   └─ store fault: NOT_SERVING, a bounded grace, exit
//! ```
//!
//! A store that hangs is no fault: NOT_SERVING until it answers (`disk`).

mod billing;
mod disk;
mod reload;
pub mod takeover;

pub use reload::Source;

use std::{fmt, future::Future, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    actors::{self, Orgs, Policies, Rules, WriteBehind, billing::Balances},
    clock::SystemClock,
    config::{self, Config},
    domain::{
        ids::OrgId,
        policy::OrgPolicy,
        window::{Length, Millis},
    },
    grpc::{self, server::Health},
    http,
    ports::{BillingProvider, Clock, OrgStore, StoreEngine},
    service::{self, Reloads, Service},
    store::{
        broken::BrokenStore,
        sled::{self, GroupStats, OpenError, SledOptions},
    },
    telemetry::Metrics,
};

/// How often the clock is read without a call.
const CLOCK_LOOK: Duration = Duration::from_secs(1);
/// The mark is never older than this many readings, however quiet the node is: what a crash forgets of the time
/// that the node was up is given to leases once more.
const MARK_EVERY: u32 = 5;
/// What counting pools and open reservations may take before calls are served.
const COUNTED_WITHIN: Duration = Duration::from_secs(5);
/// What the HTTP port and the store may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(10);

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

/// Where a node listens.
#[derive(Debug)]
pub struct Listeners {
    grpc: TcpListener,
    http: TcpListener,
}

impl Listeners {
    /// # Errors
    /// Naming the address that could not be bound.
    pub async fn bind(config: &Config) -> Result<Self, Failure> {
        let bind = async |name, address: SocketAddr| {
            let bound = TcpListener::bind(address).await;
            bound.map_err(|error| Failure(format!("listen.{name} = \"{address}\" cannot be bound: {error}")))
        };
        Ok(Self { grpc: bind("grpc", config.listen.grpc).await?, http: bind("http", config.listen.http).await? })
    }

    /// The addresses in use, gRPC first; they differ from the configured ones where a port is 0.
    pub fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        Some((self.grpc.local_addr().ok()?, self.http.local_addr().ok()?))
    }
}

impl Policies for config::Policies {
    fn policy(&self, org: &OrgId) -> Arc<OrgPolicy> {
        Self::policy(self, org)
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
    listeners: Listeners,
    source: Source,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Failure> {
    let metrics = Arc::new(Metrics::default());
    let Store { orgs: store, engine, clock } = open(&config, start, &metrics).await?;
    let turn = usize::try_from(random()? % 1000).unwrap_or(0);
    let provider = billing::provider(&config, clock.clone())?;
    let orgs = start_orgs(&config, &store, &clock, &provider, &metrics).await?;
    let balances = Balances::start(provider, clock.clone(), billing::rules(&config)).await.map_err(Failure)?;
    announce(&config, &listeners, &*engine);
    let (reloads, asked) = Reloads::new();
    let service = Arc::new(Service::new(service::Deps {
        orgs,
        clock: clock.clone(),
        store: store.clone(),
        engine: engine.clone(),
        balances,
        metrics,
        reloads,
        node: config.node.clone(),
    }));
    let closing = service.closing();
    let Listeners { grpc, http } = listeners;
    let (health, grpc) = grpc::server::serve(service.clone(), &config.bounds, grpc, turn, &closing).map_err(Failure)?;
    health.set_serving(service.is_serving()).await;
    let grpc = tokio::spawn(grpc);
    let http_stop = CancellationToken::new();
    let http = tokio::spawn(http::serve(
        service.clone(),
        http,
        billing::webhook_key(&config),
        http_stop.clone().cancelled_owned(),
    ));
    let beside = [
        tokio::spawn(watch_clock(clock, engine.clone())),
        tokio::spawn(disk::watch(service.clone(), engine.clone(), health.clone())),
        tokio::spawn(reload::apply(service.clone(), store.clone(), config, source, asked)),
    ];
    let ended = tokio::select! {
        () = shutdown => Ok(()),
        fault = store_lost(&service, &health, &*store) => Err(fault),
    };
    if ended.is_ok() {
        drain(&service, &health).await;
    }
    closing.cancel();
    let drain_for = Duration::from_millis(service.orgs().rules().bounds.drain_ms.into());
    if timeout(drain_for, grpc).await.is_err() {
        tracing::warn!(?drain_for, "connections were cut that did not finish in time");
    }
    beside.iter().for_each(JoinHandle::abort);
    let stopped = stop(&service, &*store, &*engine, drain_for).await;
    http_stop.cancel();
    let _ = timeout(STOP_WITHIN, http).await;
    ended.and(stopped)
}

/// The actors, with what metrics say of all orgs counted.
async fn start_orgs(
    config: &Config,
    store: &Arc<dyn OrgStore>,
    clock: &Arc<SystemClock>,
    provider: &Arc<dyn BillingProvider>,
    metrics: &Arc<Metrics>,
) -> Result<Orgs, Failure> {
    let orgs = Orgs::start(actors::Deps {
        clock: clock.clone(),
        store: store.clone(),
        rules: rules(config, clock.now(), 0),
        write_behind: write_behind(config),
        incarnation: random()?,
        provider: provider.clone(),
        events: metrics.clone(),
    });
    let orgs = orgs.await.map_err(Failure)?;
    count(&orgs).await;
    Ok(orgs)
}

/// The store, the engine behind it, and the clock that goes on from its mark.
struct Store {
    orgs: Arc<dyn OrgStore>,
    engine: Arc<dyn StoreEngine>,
    clock: Arc<SystemClock>,
}

impl Store {
    fn new(store: Arc<impl OrgStore + StoreEngine + 'static>, clock: Arc<SystemClock>) -> Self {
        Self { orgs: store.clone(), engine: store, clock }
    }
}

/// A store that is damaged is not replaced by
/// an empty one: the node comes up without, says so, and stays NOT_SERVING.
async fn open(config: &Config, start: Start, metrics: &Arc<Metrics>) -> Result<Store, Failure> {
    let options = SledOptions {
        sync_data: !start.without_sync,
        accept_lost_tail: start.accept_lost_tail,
        ..SledOptions::default()
    };
    let dir = config.data_dir.clone();
    let opened = tokio::task::spawn_blocking(move || sled::open(&dir, &options)).await;
    let opened = match opened.map_err(|error| Failure(format!("opening the store: {error}")))? {
        Ok(opened) => opened,
        Err(error @ (OpenError::Locked { .. } | OpenError::UnknownVersion { .. } | OpenError::Io { .. })) => {
            return Err(Failure(error.to_string()));
        }
        Err(damaged) => {
            tracing::error!(%damaged, "the store was not opened; this node stays NOT_SERVING");
            metrics.store_fault();
            let clock = resume_clock(None, &config.data_dir, start)?;
            return Ok(Store::new(Arc::new(BrokenStore::new(damaged.to_string())), clock));
        }
    };
    if opened.group() == 0 {
        tracing::info!(data = %config.data_dir.display(), "the data directory is new: nothing is stored in it yet");
    }
    let clock = resume_clock(Some(&opened), &config.data_dir, start)?;
    let metrics = metrics.clone();
    let observe = move |stats: GroupStats| {
        metrics.committed(u64::try_from(stats.writes).unwrap_or(u64::MAX), Duration::from_micros(stats.micros));
    };
    let store = opened.start(clock.clone(), Arc::new(observe)).map_err(|error| Failure(error.to_string()))?;
    if start.accept_clock {
        store.keep_mark();
    }
    Ok(Store::new(Arc::new(store), clock))
}

fn resume_clock(opened: Option<&sled::Opened>, data_dir: &Path, start: Start) -> Result<Arc<SystemClock>, Failure> {
    let mark = opened.and_then(sled::Opened::mark);
    let clock = SystemClock::resume(mark).map_err(|future| {
        Failure(format!(
            "the stored clock mark is {} ahead of this machine's clock. If the clock is wrong, set it right and start again; \
             if the mark is wrong, run `tollgate fsck --set-clock --data-dir {}`",
            Length((future.mark - future.wall) / 1000 * 1000),
            data_dir.display(),
        ))
    })?;
    if start.accept_clock {
        clock.confirm();
    }
    Ok(Arc::new(clock))
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
    let (grpc, http) = listeners.addresses().unzip();
    if grpc.is_some_and(|address| !address.ip().is_loopback()) {
        tracing::warn!("listening beyond loopback without authentication; keep this port inside a trusted network");
    }
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        node = config.node,
        grpc = grpc.map(tracing::field::display),
        http = http.map(tracing::field::display),
        data = %config.data_dir.display(),
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

/// NOT_SERVING first; running executions are served on until load balancers have noticed.
async fn drain(service: &Service, health: &Health) {
    let notice = Duration::from_millis(service.orgs().rules().bounds.drain_notice_ms.into());
    tracing::info!(?notice, "draining: nothing new is admitted, running executions settle on");
    service.start_draining();
    health.set_serving(false).await;
    tokio::time::sleep(notice).await;
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

/// Resolves when the store failed while running, after a grace in which callers are refused. A store
/// that was never there does not end the node: a restart would not help.
async fn store_lost(service: &Service, health: &Health, store: &dyn OrgStore) -> Failure {
    let mut fault = store.fault();
    if fault.borrow().is_some() {
        return std::future::pending().await;
    }
    let cause = match fault.wait_for(Option::is_some).await {
        Ok(fault) => fault.as_ref().map(ToString::to_string).unwrap_or_default(),
        Err(_) => return std::future::pending().await,
    };
    health.set_serving(false).await;
    service.metrics().store_fault();
    let grace = Duration::from_millis(service.orgs().rules().bounds.store_fault_grace_ms.into());
    tracing::error!(cause, ?grace, "the store has failed: NOT_SERVING, then exit for the supervisor to restart");
    tokio::time::sleep(grace).await;
    Failure(format!("the store has failed: {cause}"))
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
