//! A configuration that takes the place of the running one.
//!
//! A file that is empty or half written is valid: whatever it does not say is not limited. So a reload that
//! takes away every plan, or every limit of an org that has usage, is not carried out unless the file itself says
//! `reload.accept_lost_limits = true`; a file that says nothing at all never is. A restart takes any valid file.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::rules;
use crate::{
    config::{Config, Policies, Reload},
    domain::{ids::OrgId, shard::ShardSet},
    ports::OrgStore,
    service::Service,
};

/// Orgs listed at a time.
const PAGE: usize = 256;
/// Orgs that a refusal names.
const NAMED: usize = 3;

/// Applies what arrives, as long as the node runs.
pub(super) async fn apply(
    service: Arc<Service>,
    store: Arc<dyn OrgStore>,
    mut current: Config,
    mut reloads: mpsc::Receiver<Config>,
) {
    while let Some(new) = reloads.recv().await {
        let generation = service.orgs().rules().generation + 1;
        let Reload { running, needs_restart } = current.clone().reload(new);
        if let Some(why) = refusal(&current, &running, &*store).await {
            tracing::error!("the configuration was not reloaded, the old one stays in force: {why}");
            continue;
        }
        current = running;
        service.orgs().reload(rules(&current, generation));
        for warning in current.warnings() {
            tracing::warn!("{warning}");
        }
        tracing::info!(generation, ?needs_restart, "configuration reloaded");
    }
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
    if !old.may_lose_limits(new) {
        return None;
    }
    match losers(old, new, store).await {
        Ok(orgs) if orgs.is_empty() => None,
        Ok(orgs) => Some(format!("orgs that have usage would lose every limit, such as {}. {HOW}", orgs.join(", "))),
        Err(fault) => Some(format!("orgs would lose every limit, and whether they have usage is not known: {fault}")),
    }
}

/// The first few orgs with stored state that would lose every limit.
async fn losers(old: &Policies, new: &Policies, store: &dyn OrgStore) -> Result<Vec<String>, String> {
    let mut losers = Vec::new();
    let mut after: Option<OrgId> = None;
    while losers.len() < NAMED {
        let page = store.list(&ShardSet::all(), after.as_ref(), PAGE).await.map_err(|fault| fault.to_string())?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        let lost = page.iter().filter(|(org, _)| old.loses_limits(new, org));
        losers.extend(lost.map(|(org, _)| org.to_string()).take(NAMED - losers.len()));
    }
    Ok(losers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config,
        domain::rows::{Head, OrgWrite, Row},
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
            store.commit(write, Box::new(|result| result.unwrap()));
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
            (listed("[orgs.\"used\"]\nmax_sessions = 1\n"), None),
            (listed("[defaults]\nplan = \"a\"\n"), None),
            ("[orgs.\"used\"]\nspend = { daily = \"9u\" }\n".into(), Some("none of its plans")),
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
        assert!(found.contains("such as unlisted. If that is meant"), "{found}");
        assert_eq!(refused(PLANS, PLANS).await, None);
        assert_eq!(refused("[rate]\namount = 5\n", "[rate]\namount = 6\n").await, None);
    }

    #[tokio::test]
    async fn what_cannot_be_looked_up_is_refused() {
        let broken = crate::store::broken::BrokenStore::new("gone");
        let (old, new) = (config(PLANS), config("[plans.a]\nspend = { hourly = \"5u\" }\n"));
        assert!(refusal(&old, &new, &broken).await.unwrap().contains("gone"));
        assert_eq!(refusal(&old, &old, &broken).await, None, "nothing is lost");
    }
}
