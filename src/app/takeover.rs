//! `tollgate import` of budgets of a system that knew one limit and one sum a month, one JSON
//! object a line.
//!
//! ```text
//! {"org": "acme", "scope": "workspace/ws_42", "budget_limit": 100000000, "monthly_spend": 40000000}
//! {"org": "acme", "budget_limit_cents": 10000, "monthly_spend_cents": 4000}
//! ```
//!
//! Everything is read before anything is written, and each org is one commit. What was taken over before
//! is known by its baseline: reading the same lines again changes nothing.

use std::{
    collections::BTreeMap,
    io::{self, BufRead},
    path::Path,
    sync::Arc,
};

use serde::Deserialize;
use tokio::sync::oneshot;

use super::{Failure, Start, opening::resume_clock, random};
use crate::{
    bounds::{AMOUNT_MAX, Bounds, MICROS_PER_CENT},
    domain::{
        ids::{DecisionId, Incarnation, OrgId, Reason, RequestId, Scope, Source},
        input::InputError,
        org::{Context, OrgState, takeover::OlderBudget},
        policy::{NoPlans, OrgPolicy},
        request::Idempotency,
    },
    ports::{Clock, CommitError, OrgStore},
    store::sled::{self, SledOptions, SledStore},
};

const LINE_BYTES: u64 = 64 * 1024;
/// The source that baselines of what was taken over are kept under.
const SOURCE: &str = "older-system";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    org: String,
    #[serde(default)]
    scope: String,
    budget_limit: Option<i64>,
    budget_limit_cents: Option<i64>,
    monthly_spend: Option<i64>,
    monthly_spend_cents: Option<i64>,
}

/// What an import did, in lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TakenOver {
    /// Lines whose budget was taken over.
    pub changed: u64,
    /// They had been taken over before.
    pub known: u64,
}

/// One amount, given in micro-USD or in cents.
fn amount(name: &str, micros: Option<i64>, cents: Option<i64>) -> Result<Option<u64>, InputError> {
    let checked = |field: &str, given: i64, factor: i64| {
        let micros = given.checked_mul(factor).and_then(|micros| u64::try_from(micros).ok());
        let most = AMOUNT_MAX / factor.unsigned_abs();
        micros
            .filter(|micros| *micros <= AMOUNT_MAX)
            .ok_or_else(|| InputError::new(field, given, format!("a whole number from 0 to {most}")))
    };
    let in_cents = format!("{name}_cents");
    match (micros, cents) {
        (Some(_), Some(cents)) => Err(InputError::new(in_cents, cents, format!("not together with {name}"))),
        (Some(micros), None) => checked(name, micros, 1).map(Some),
        (None, Some(cents)) => checked(&in_cents, cents, MICROS_PER_CENT).map(Some),
        (None, None) => Ok(None),
    }
}

fn parse(line: &str, id: &str) -> Result<(OrgId, OlderBudget), String> {
    let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let read = || {
        let org = OrgId::parse("org", &line.org)?;
        let spend = amount("monthly_spend", line.monthly_spend, line.monthly_spend_cents)?;
        let older = OlderBudget {
            scope: Scope::parse_counted("scope", &line.scope)?,
            limit: amount("budget_limit", line.budget_limit, line.budget_limit_cents)?,
            monthly_spend: spend
                .ok_or_else(|| InputError::new("monthly_spend", "", "an amount, 0 where there is none"))?,
            source: Source::parse("source", SOURCE)?,
            incarnation: Incarnation::parse("incarnation", SOURCE)?,
            idempotency: Idempotency { id: RequestId::parse("request_id", id)?, fingerprint: 0 },
        };
        Ok::<_, InputError>((org, older))
    };
    read().map_err(|error| error.to_string())
}

/// Budgets by org, each with the line it stands in.
type Budgets = BTreeMap<OrgId, Vec<(u64, OlderBudget)>>;

fn read(from: &mut dyn BufRead) -> Result<Budgets, Failure> {
    let run = random()?;
    let mut budgets = Budgets::new();
    for number in 1.. {
        let at = |error: String| Failure(format!("line {number}: {error}; nothing was imported"));
        let mut line = String::new();
        let bytes = io::Read::take(&mut *from, LINE_BYTES).read_line(&mut line).map_err(|e| at(e.to_string()))?;
        if bytes == 0 {
            break;
        }
        if u64::try_from(bytes).is_ok_and(|bytes| bytes >= LINE_BYTES) {
            return Err(at(format!("it is longer than {LINE_BYTES} bytes")));
        }
        if line.trim().is_empty() {
            continue;
        }
        let (org, older) = parse(&line, &format!("older-budgets-{run:016x}-{number}")).map_err(at)?;
        let of_org = budgets.entry(org).or_default();
        if let Some((first, _)) = of_org.iter().find(|(_, known)| known.scope == older.scope) {
            return Err(at(format!("this org and scope stand in line {first} already")));
        }
        of_org.push((number, older));
    }
    Ok(budgets)
}

/// Takes budgets over into a data directory that no node uses.
///
/// # Errors
/// A line that cannot be understood, named with its number, before anything is written; or the store's.
pub async fn take_over(dir: &Path, from: &mut dyn BufRead) -> Result<TakenOver, Failure> {
    let budgets = read(from)?;
    let opened = sled::open(dir, &SledOptions::default()).map_err(|error| Failure(error.to_string()))?;
    let clock = resume_clock(Some(&opened), dir, Start::default())?;
    let store = opened.start(clock.clone(), Arc::new(|_| {})).map_err(|error| Failure(error.to_string()))?;
    let mut done = TakenOver::default();
    let mut failed = None;
    for (org, older) in &budgets {
        if let Err(failure) = take_over_org(&store, &*clock, org, older, &mut done).await {
            failed = Some(failure);
            break;
        }
    }
    let closed = store.close().await.map_err(|fault| Failure(fault.to_string()));
    failed.map_or(closed.map(|()| done), Err)
}

async fn take_over_org(
    store: &SledStore,
    clock: &dyn Clock,
    org: &OrgId,
    budgets: &[(u64, OlderBudget)],
    done: &mut TakenOver,
) -> Result<(), Failure> {
    let fence = store.epoch(org).ok_or_else(|| Failure(format!("{org}: {}", CommitError::Fenced)))?;
    let rows = store.load(org).await.map_err(|fault| Failure(format!("{org}: {fault}")))?;
    let (now, policy, bounds) = (clock.read(), Arc::new(OrgPolicy::default()), Bounds::default());
    let mut state = OrgState::load(rows, now);
    let (policy_since, decision) = (None, DecisionId(0));
    let ctx = Context {
        org,
        now,
        policy: &policy,
        plans: &NoPlans,
        policy_since,
        bounds: &bounds,
        decision,
        store_fault: false,
        within: None,
        caller: "tollgate import",
        reason: Reason::none(),
        trace: None,
    };
    let mut changed = 0;
    for (line, older) in budgets {
        let taken = state.take_over(older, &ctx);
        changed += u64::from(taken.map_err(|error| Failure(format!("line {line}: {org}: {error}")))?);
    }
    done.known += u64::try_from(budgets.len()).unwrap_or(u64::MAX) - changed;
    // Only what was taken over is written: nothing else of the org runs out here.
    if changed > 0
        && let Some(write) = state.take_write(org, &policy, false)
    {
        let (tell, told) = oneshot::channel();
        store.commit(write, fence, Box::new(move |result| drop(tell.send(result))));
        let committed = told.await.map_err(|_| Failure(format!("{org}: the store gave no answer")))?;
        committed.map_err(|fault| Failure(fault.to_string()))?;
    }
    done.changed += changed;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(dir: &Path, text: &str) -> Result<TakenOver, String> {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(take_over(dir, &mut text.as_bytes())).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_line_that_can_not_be_understood_is_named_and_nothing_is_imported() {
        let dir = tempfile::TempDir::new().unwrap();
        let good = r#"{"org": "acme", "monthly_spend": 5}"#;
        for (bad, what) in [
            ("[]", "line 2: invalid"),
            (r#"{"org": "a b", "monthly_spend": 5}"#, "org \"a b\" is not allowed"),
            (r#"{"org": "acme"}"#, "monthly_spend \"\" is not allowed: an amount"),
            (r#"{"org": "b", "monthly_spend": -1}"#, "monthly_spend \"-1\" is not allowed: a whole number from 0"),
            (r#"{"org": "b", "monthly_spend": 1.5}"#, "invalid type: floating point"),
            (r#"{"org": "b", "monthly_spend": 1, "budget_limit": -5}"#, "budget_limit \"-5\""),
            (r#"{"org": "b", "monthly_spend": 1, "budget_limit": 1, "budget_limit_cents": 1}"#, "not together with"),
            (r#"{"org": "b", "monthly_spend": 1, "hourly": 1}"#, "unknown field `hourly`"),
            (r#"{"org": "acme", "monthly_spend": 6}"#, "stand in line 1 already"),
        ] {
            let refused = imported(dir.path(), &format!("{good}\n{bad}\n")).unwrap_err();
            assert!(refused.contains(what) && refused.contains("line 2"), "{bad}: {refused}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{bad}");
        }
    }
}
