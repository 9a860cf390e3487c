//! A configuration that takes the place of the running one.
//!
//! A file that is empty or half written is valid: whatever it does not say is not limited. So a reload that
//! takes away every plan, or the limits on a meter of an org that has usage, is not carried out unless the file says
//! `reload.accept_lost_limits = true`; a file that says nothing at all never is. A restart takes any valid file.

use std::{fmt, sync::Arc};

use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

use super::{auth, cluster, outside::Outside, rules, supervisor::Supervisor};
use crate::{
    auth::Authenticator,
    config::{Change, Config, ConfigErrors, Policies, Reload, shown_key},
    domain::{ids::OrgId, shard::ShardSet},
    ports::OrgStore,
    service::{Asked, CHANGES_MAX, ConfigChange, RELOAD_WITHIN, Reloaded, Service, without_names},
};

/// Orgs listed at a time.
const PAGE: usize = 256;
/// Changes that a line of the log lists.
const LOGGED: usize = 32;
/// Orgs that a refusal names.
const NAMED: usize = 3;

/// Reads the configuration. It may wait until the file is at rest.
type Load = Arc<dyn Fn() -> Result<Config, ConfigErrors> + Send + Sync>;

/// Where the configuration is read from, and when.
pub struct Source {
    /// Reads it again.
    pub load: Load,
    /// Each is a reason to read it again.
    pub hangups: mpsc::Receiver<()>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

/// What reloads, and what runs.
pub(super) struct Reloading {
    service: Arc<Service>,
    store: Arc<dyn OrgStore>,
    callers: Arc<Authenticator>,
    outside: Outside,
    current: Config,
    load: Load,
    /// One that has not ended, if the last took too long.
    reading: Option<JoinHandle<Result<Config, ConfigErrors>>>,
}

impl Reloading {
    /// Of a node that runs by `current`.
    pub(super) fn new(
        service: Arc<Service>,
        store: Arc<dyn OrgStore>,
        callers: Arc<Authenticator>,
        outside: Outside,
        current: Config,
        load: Load,
    ) -> Self {
        Self { service, store, callers, outside, current, load, reading: None }
    }

    /// Reloads for every hangup and for every call that asks, one after the other, as long as the node runs.
    pub(super) async fn apply(
        mut self,
        mut hangups: mpsc::Receiver<()>,
        mut asked: mpsc::Receiver<Asked>,
        supervisor: Arc<Supervisor>,
    ) {
        loop {
            let mut replies = Vec::new();
            tokio::select! {
                Some(()) = hangups.recv() => {}
                Some(reply) = asked.recv() => replies.push(reply),
                else => return,
            }
            // Who asks before the file is read is answered by the same reading.
            while let Ok(reply) = asked.try_recv() {
                replies.push(reply);
            }
            while hangups.try_recv().is_ok() {}
            supervisor.reloading();
            let reloaded = Arc::new(self.reload().await);
            self.service.reloaded(reloaded.clone());
            let refused = if reloaded.mistakes.is_empty() { "" } else { "; the last reload was refused" };
            supervisor.ready(&format!("{}{refused}", self.service.health()));
            for reply in replies {
                drop(reply.send(reloaded.clone()));
            }
        }
    }

    async fn reload(&mut self) -> Reloaded {
        let accepted = timeout(RELOAD_WITHIN, self.accept()).await;
        match accepted.unwrap_or_else(|_| Err(vec![format!("it was not read and checked within {RELOAD_WITHIN:?}")])) {
            Ok(reload) => self.take_over(reload),
            Err(mistakes) => self.refuse(mistakes),
        }
    }

    /// Reads the configuration and finds out what it changes. Nothing has changed yet.
    async fn accept(&mut self) -> Result<Reload, Vec<String>> {
        if self.reading.as_ref().is_some_and(|reading| !reading.is_finished()) {
            return Err(vec!["the reading before has not ended".to_owned()]);
        }
        let load = self.load.clone();
        let read = self.reading.insert(spawn_blocking(move || load())).await;
        self.reading = None;
        let new = read.map_err(|error| vec![format!("it could not be read: {error}")])?;
        let new = new.map_err(|mistakes| mistakes.to_string().lines().map(str::to_owned).collect::<Vec<_>>())?;
        let reload = self.current.clone().reload(new);
        match refusal(&self.current, &reload.running, &*self.store).await {
            Some(why) => Err(vec![why]),
            None => Ok(reload),
        }
    }

    fn take_over(&mut self, Reload { running, needs_restart, changes }: Reload) -> Reloaded {
        let generation = self.service.orgs().rules().generation + 1;
        self.service.orgs().reload(rules(&running, self.service.orgs().now(), generation));
        auth::grant(self.callers.sources(), &running);
        self.outside.renew(&running);
        self.service.metrics().begin_gateways(&running.gateways);
        if let Some(membership) = self.service.membership() {
            membership.configured(&cluster::digest(&running));
        }
        self.current = running;
        let warnings = self.current.warnings().to_vec();
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let changed = changes.len();
        let changes: Vec<_> = changes.into_iter().take(CHANGES_MAX).map(shown).collect();
        let listed = changes.iter().take(LOGGED).map(ToString::to_string).collect::<Vec<_>>().join("; ");
        if needs_restart.is_empty() {
            tracing::info!(generation, changed, changes = listed, "configuration reloaded");
        } else {
            let message = "configuration reloaded in part: some keys need a restart";
            tracing::warn!(generation, changed, changes = listed, ?needs_restart, "{message}");
        }
        Reloaded { generation, needs_restart, changed, changes, mistakes: Vec::new(), warnings }
    }

    fn refuse(&self, mistakes: Vec<String>) -> Reloaded {
        let why = mistakes.join("\n");
        tracing::error!("the configuration was not reloaded, the old one stays in force: {why}");
        Reloaded {
            generation: self.service.orgs().rules().generation,
            // They still wait: what was read now changes nothing.
            needs_restart: self.service.last_reload().needs_restart.clone(),
            mistakes,
            ..Reloaded::default()
        }
    }
}

fn shown(Change { key, from, to, is_secret, needs_restart }: Change) -> ConfigChange {
    ConfigChange { key: shown_key(&key), from, to, is_secret, needs_restart }
}

/// Why a reload looks like an accident, if it does.
async fn refusal(old: &Config, new: &Config, store: &dyn OrgStore) -> Option<String> {
    const HOW: &str = "If that is meant, set reload.accept_lost_limits = true in the file for this reload, or restart";
    if new.is_blank && !old.is_blank {
        return Some("the file says nothing. If that is meant, restart".into());
    }
    if new.accept_lost_limits {
        return None;
    }
    let (old, new) = (&old.policies, &new.policies);
    if old.has_plans() && !new.has_plans() {
        return Some(format!("none of its plans is there any more. {HOW}"));
    }
    if old.loses_admission(new) {
        return Some(format!("every org would be admitted: orgs.admit is not there any more. {HOW}"));
    }
    if !old.may_lose_limits(new) {
        return None;
    }
    match losers(old, new, store).await {
        Ok(orgs) if orgs.is_empty() => None,
        Ok(orgs) => Some(format!("orgs that have usage would lose limits, such as {}. {HOW}", orgs.join(", "))),
        Err(fault) => Some(format!("orgs would lose limits, and whether they have usage is not known: {fault}")),
    }
}

/// The first few orgs with stored state that would lose limits, with the kinds of these.
async fn losers(old: &Policies, new: &Policies, store: &dyn OrgStore) -> Result<Vec<String>, String> {
    let mut losers = Vec::new();
    let mut after: Option<OrgId> = None;
    while losers.len() < NAMED {
        let page = store.list(&ShardSet::all(), after.as_ref(), PAGE).await.map_err(|fault| fault.to_string())?;
        let Some((last, _)) = page.last() else { break };
        let last = last.clone();
        // What is configured for another name of an org does not count.
        let page = without_names(store, page, after.as_ref(), PAGE).await.map_err(|fault| fault.to_string())?;
        after = Some(last);
        let lost = page
            .iter()
            .map(|listed| (&listed.org, old.lost_limits(new, &listed.org)))
            .filter(|(_, lost)| !lost.is_empty());
        let named = lost.map(|(org, lost)| format!("{org} ({})", lost.join(", ")));
        losers.extend(named.take(NAMED - losers.len()));
    }
    Ok(losers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config,
        domain::{
            policy::OrgPolicy,
            rows::{Head, OrgWrite, Row},
            shard::Epoch,
        },
        store::memory::MemoryStore,
    };

    const PLANS: &str =
        "[plans.a]\nspend = { hourly = \"5u\" }\n[orgs.\"used\"]\nplan = \"a\"\n[orgs.\"idle\"]\nplan = \"a\"\n";

    fn config(text: &str) -> Config {
        config::check(text, "file").unwrap_or_else(|mistakes| panic!("{text}: {mistakes}"))
    }

    async fn refused(old: &str, new: &str) -> Option<String> {
        let store = MemoryStore::new();
        for name in ["used", "unlisted"] {
            let org = OrgId::parse("org", name).unwrap();
            let write = OrgWrite { puts: vec![Row::Head(Head::default())], ..OrgWrite::empty(&org) };
            store.commit(write, Epoch::ONLY, Box::new(|result| result.unwrap()));
        }
        let running = config(old).reload(config(new)).running;
        refusal(&config(old), &running, &*store).await
    }

    #[tokio::test]
    async fn a_reload_that_takes_every_limit_of_an_org_with_usage_is_refused_by_its_name() {
        let plan = "[plans.a]\nspend = { hourly = \"5u\" }\n";
        let listed = |orgs: &str| format!("{plan}{orgs}");
        for (new, refusal) in [
            (listed("[orgs.\"idle\"]\nplan = \"a\"\n"), Some("such as used")),
            (listed("[orgs.\"used\"]\nplan = \"\"\n[orgs.\"idle\"]\nplan = \"a\"\n"), Some("such as used")),
            (listed("[orgs.\"used\"]\nplan = \"a\"\n"), None),
            (listed("[orgs.\"used\"]\nspend = { daily = \"9u\" }\n"), None),
            (listed("[orgs.\"used\"]\nmax_sessions = 1\n"), Some("such as used (spend)")),
            (listed("[orgs.\"used\"]\nexecutions = { calendar_day = 9 }\n"), Some("such as used (spend)")),
            (
                listed("[orgs.\"used\"]\nspend = { daily = { amount = \"9u\", shadow = true } }\n"),
                Some("such as used (spend)"),
            ),
            (
                listed("[orgs.\"used\".scopes]\n\"ws/*\" = { spend = { daily = \"9u\" } }\n"),
                Some("such as used (spend)"),
            ),
            (listed("[defaults]\nplan = \"a\"\n"), None),
            ("[orgs.\"used\"]\nspend = { daily = \"9u\" }\n".into(), Some("none of its plans")),
            ("[plans.b]\nspend = { hourly = \"5u\" }\n[orgs.\"used\"]\nplan = \"b\"\n".into(), None),
            ("[reload]\naccept_lost_limits = true\n".into(), None),
        ] {
            let found = refused(PLANS, &new).await;
            assert_eq!(found.is_some(), refusal.is_some(), "{new}: {found:?}");
            let said = found.unwrap_or_default();
            assert!(said.contains(refusal.unwrap_or_default()) && !said.contains("idle"), "{new}: {said}");
        }
    }

    #[tokio::test]
    async fn limits_of_orgs_without_a_section_count_as_well() {
        let old = "[plans.a]\nspend = { hourly = \"5u\" }\n[defaults]\nplan = \"a\"\n[orgs.\"used\"]\nplan = \"\"\n";
        let found = refused(old, "[plans.a]\nspend = { hourly = \"5u\" }\n").await.unwrap();
        assert!(found.contains("such as unlisted (spend). If that is meant"), "{found}");
        assert_eq!(refused(PLANS, PLANS).await, None);
        assert_eq!(refused("[rate]\namount = 5\n", "[rate]\namount = 6\n").await, None);
    }

    #[tokio::test]
    async fn a_reload_that_admits_every_org_says_so_itself() {
        let listed = "[orgs]\nadmit = \"listed\"\n";
        assert!(refused(listed, "[rate]\namount = 6\n").await.unwrap().contains("orgs.admit"));
        assert_eq!(refused(listed, "[orgs]\nadmit = \"any\"\n").await, None);
        assert_eq!(refused(listed, "[orgs]\nadmit = [\"acme-*\"]\n").await, None);
    }

    #[tokio::test]
    async fn what_cannot_be_looked_up_is_refused() {
        let broken = crate::store::broken::BrokenStore::new("gone");
        let (old, new) = (config(PLANS), config("[plans.a]\nspend = { hourly = \"5u\" }\n"));
        assert!(refusal(&old, &new, &broken).await.unwrap().contains("gone"));
        assert_eq!(refusal(&old, &old, &broken).await, None, "nothing is lost");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_does_not_end_is_refused_in_time_and_read_once_at_a_time() {
        let node = crate::testing::node(OrgPolicy::default()).await;
        let (go_on, held) = std::sync::mpsc::channel::<()>();
        let held = std::sync::Mutex::new(held);
        let load: Load = Arc::new(move || {
            let _ = held.lock().map(|held| held.recv());
            Ok(Config::default())
        });
        let (service, store) = (node.service.clone(), node.store.clone());
        let callers = Authenticator::open(Arc::new(crate::testing::TestClock::default()));
        let outside = Outside::of(&Config::default(), node.clock.clone()).unwrap();
        let mut reloading = Reloading::new(service, store, callers, outside, Config::default(), load);
        let (late, ()) = tokio::join!(reloading.reload(), tokio::time::advance(RELOAD_WITHIN));
        assert!(late.mistakes[0].contains("within 30s"), "{late:?}");
        let again = reloading.reload().await;
        assert!(again.mistakes[0].contains("has not ended"), "{again:?}");
        drop(go_on);
        while !reloading.reading.as_ref().is_some_and(JoinHandle::is_finished) {
            tokio::task::yield_now().await;
        }
        let done = reloading.reload().await;
        assert_eq!((done.generation, done.mistakes), (1, Vec::<String>::new()));
    }
}
