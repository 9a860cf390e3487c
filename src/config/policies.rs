//! From plans and orgs to the policy of each org.
//!
//! ```text
//! [rate]  <  [plans.NAME]  <  [orgs."ID"]
//! ```
//!
//! What stands further right replaces what stands further left: the amount and the window of the
//! rate backstop each by itself, `exempt`, what is included and its overage, a limit where meter and window
//! are the same. Scopes are layered
//! pattern by pattern, so a pattern of the org adds to the same pattern of its plan; between
//! patterns an exact name wins over a prefix as a whole (see [`OrgPolicy::limits_of`]).
//!
//! Layers are policies as they are written; what an org has follows from them and from its month (`periods`).
//! Every policy is computed here, once: asking for one costs a look-up and a reference count.

mod admission;
mod layer;
mod losses;
mod plans;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(super) use self::layer::over;
use self::{
    admission::{Admit, admit, warn_of_nobody},
    layer::layer,
    plans::PlanBook,
};
use super::{
    billing::BillingPolicy,
    hints,
    limits::counted_length_rule,
    mistake::{Place, join},
    overrun, periods,
    reader::{Parsed, Section},
    sessions::{self, TIERS},
    tree::{Entry, Table, Value},
    values::{NAME_RULE, is_name, length, on_indeterminate, whole},
};
use crate::{
    bounds::AMOUNT_MAX,
    domain::{
        ids::OrgId,
        limit::LimitSource,
        policy::{OrgPolicy, Plans as _, PoolPolicy, RateLimit, Successor},
        window::{Calendar, Millis, Window, iso},
    },
};

/// More idle windows than this would keep records for years.
pub(super) const IDLE_WINDOWS_MAX: u64 = 1_000;

/// The sections that become the policies of orgs.
pub(super) const POLICY_SECTIONS: [&str; 8] =
    ["rate", "emergency", "defaults", "budgets", "sessions", "pools", "plans", "orgs"];

/// The policy of every org. Equal to another one if nothing that decides has changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies {
    default: Arc<OrgPolicy>,
    orgs: BTreeMap<OrgId, Arc<OrgPolicy>>,
    /// Which orgs may execute; `None` = nothing says it, and every org may.
    admit: Option<Admit>,
    /// Whether plans are configured, beside those that are there by themselves.
    has_plans: bool,
    /// What an org would have with another plan.
    plans: PlanBook,
}

impl Policies {
    /// One policy for all.
    pub fn uniform(policy: OrgPolicy) -> Self {
        Self { default: Arc::new(policy), ..Self::default() }
    }

    /// The policy of an org, listed or not.
    pub fn policy(&self, org: &OrgId) -> Arc<OrgPolicy> {
        Arc::clone(self.orgs.get(org).unwrap_or(&self.default))
    }

    /// The policy of every org without a section of its own.
    pub fn policy_of_unlisted(&self) -> &Arc<OrgPolicy> {
        &self.default
    }

    /// The orgs with a section of their own, in no order.
    pub fn listed(&self) -> impl Iterator<Item = (&OrgId, &Arc<OrgPolicy>)> {
        self.orgs.iter()
    }

    /// What the org would have with this plan, with what its own section says over it; empty = without any plan. `None`
    /// where no such plan is configured.
    pub fn with_plan(&self, org: &OrgId, plan: &str) -> Option<Arc<OrgPolicy>> {
        self.plans.with_plan(org, plan)
    }

    /// The names of the plans.
    pub fn plan_names(&self) -> Vec<String> {
        self.plans.plan_names()
    }

    /// Reads [`POLICY_SECTIONS`]; `[pools]` was read before, because not all of it is a policy.
    pub(super) fn read(root: &mut Section<'_>, billing: &BillingPolicy, pools: PoolPolicy) -> Self {
        let rate = RateLimit { exempt: billing.exempt, ..backstop(root.section("rate")) };
        let emergency_amount = emergency_amount(root.section("emergency"));
        let default_plan = default_plan(root.section("defaults"));
        let sessions = sessions::sessions(root.section("sessions"));
        let budgets_on_indeterminate =
            root.section("budgets").read("on_indeterminate", on_indeterminate).unwrap_or_default();
        let balance = billing.balance.clone();
        let pools = Arc::new(pools);
        let base = OrgPolicy {
            rate,
            emergency_amount,
            balance,
            sessions,
            budgets_on_indeterminate,
            pools,
            ..OrgPolicy::default()
        };
        let has_plans = root.place("plans").is_some();
        let plans = plans(root.section("plans"), &base, billing);
        let none = Base::new(base);
        let find = |name: &str| if name.is_empty() { Some(&none) } else { plans.get(name).map(|plan| &plan.base) };
        let default = match default_plan {
            None => &none,
            Some((at, name)) => find(&name).unwrap_or_else(|| {
                unknown_plan(root, &at, "defaults.plan", &name, &plans);
                &none
            }),
        };
        let mut section = root.section("orgs");
        let admit_at = section.place(admission::KEY);
        let admit = admit(&mut section);
        let bases = plans.iter().map(|(name, plan)| (name.clone(), plan.base.clone())).collect();
        let mut book = PlanBook::new(bases, none.clone(), billing.clone());
        let orgs = orgs(section, &plans, &Bases { none: &none, default, billing }, &mut book);
        warn_of_nobody(root, admit_at, admit.as_ref(), orgs.is_empty());
        warn_of_unused(root, &plans, &default.in_force, &orgs);
        Self { default: Arc::clone(&default.in_force), orgs, admit, has_plans, plans: book }
    }
}

/// Notes plans that no org has.
fn warn_of_unused(
    root: &mut Section<'_>,
    plans: &Plans,
    default: &Arc<OrgPolicy>,
    orgs: &BTreeMap<OrgId, Arc<OrgPolicy>>,
) {
    let in_force = orgs.values().chain([default]);
    let after_trials = in_force.clone().filter_map(|policy| policy.then.as_ref()).map(|then| &then.policy);
    // What the plans say that are there by themselves names nothing: no org may have them.
    let successors = plans.values().filter(|plan| plan.at.is_some()).filter_map(|plan| plan.then.as_ref());
    let named = in_force.chain(after_trials).map(|policy| policy.plan.as_str());
    let named: BTreeSet<&str> = named.chain(successors.map(|(_, name)| name.as_str())).collect();
    let written = plans.iter().filter_map(|(name, plan)| Some((name.as_str(), plan.at.as_ref()?)));
    hints::warn_of_unused_plans(root.findings, written, &named);
}

fn default_plan(mut section: Section<'_>) -> Option<(Place, String)> {
    section.read("plan", plan_reference)
}

type Plans = BTreeMap<String, Plan>;

#[derive(Debug)]
struct Plan {
    base: Base,
    /// What an org falls back to when its trial has ended, and where that was written.
    then: Option<(Place, String)>,
    /// Where it was written; `None` = it is there by itself.
    at: Option<Place>,
}

/// What orgs begin with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Base {
    /// As it is written, for what an org says over it.
    written: OrgPolicy,
    /// As an org has it that says nothing; shared by all of them.
    in_force: Arc<OrgPolicy>,
}

impl Base {
    fn new(written: OrgPolicy) -> Self {
        let mut in_force = written.clone();
        periods::apply(&mut in_force, Calendar::Month);
        overrun::apply(&mut in_force);
        Self { written, in_force: Arc::new(in_force) }
    }
}

fn backstop(mut section: Section<'_>) -> RateLimit {
    let default = RateLimit::default();
    let amount_at = section.place("amount");
    let amount = section.read("amount", |entry| match entry.text() {
        Some("off") => Ok(None),
        _ => whole(entry, 1, AMOUNT_MAX).map(Some).map_err(|rule| format!("{rule}, or \"off\"").into()),
    });
    if let (Some(at), Some(None)) = (&amount_at, amount) {
        let text = "rate.amount is \"off\": the rate backstop applies only to orgs whose plan or section sets a rate";
        section.findings.warn(at, text.into());
    }
    let len = aligned_window(&mut section);
    RateLimit {
        amount: amount.unwrap_or(default.amount),
        len: len.unwrap_or(default.len),
        idle_windows: section
            .read("idle_windows", |entry| whole(entry, 1, IDLE_WINDOWS_MAX))
            .unwrap_or(default.idle_windows),
        on_indeterminate: section.read("on_indeterminate", on_indeterminate).unwrap_or(default.on_indeterminate),
        exempt: default.exempt,
        shadow: default.shadow,
        origin: default.origin,
        until_spent: default.until_spent,
    }
}

/// Calls per hour and org that are let through while nothing that bounds the org can be evaluated;
/// `None` = as many as the backstop lets through.
fn emergency_amount(mut section: Section<'_>) -> Option<u64> {
    section.read("amount", |entry| {
        whole(entry, 1, AMOUNT_MAX).map_err(|rule| {
            format!("{rule}; the emergency cap cannot be \"off\", because nothing else limits an org in an outage")
                .into()
        })
    })
}

/// `window = { aligned = "1h" }`.
fn aligned_window(section: &mut Section<'_>) -> Option<Millis> {
    section.section("window").read("aligned", |entry| {
        let len = entry.text().and_then(length).filter(|len| Window::Aligned { len: *len }.is_valid());
        len.ok_or_else(|| counted_length_rule().into())
    })
}

/// Those that are there by themselves, and those that are configured: a section says everything of its plan,
/// so that nothing limits an org that no operator wrote down.
fn plans(mut section: Section<'_>, base: &OrgPolicy, billing: &BillingPolicy) -> Plans {
    let at = section.at().clone();
    let tier = |tier: &sessions::Tier| {
        let then = tier.then.map(|then| (at.clone(), then.to_owned()));
        (tier.name.to_owned(), Plan { base: Base::new(tier.policy(base)), then, at: None })
    };
    let mut plans: Plans = TIERS.iter().map(tier).collect();
    for (name, at, entries) in named_tables(&mut section) {
        if !is_name(&name) {
            section.findings.refuse(&at, "plans", &name, format!("the name of a plan is {NAME_RULE}"));
            continue;
        }
        let mut section = section.open(&name, at.clone(), entries);
        let then = section.read("then", plan_reference).filter(|(_, name)| !name.is_empty());
        let mut policy = layer(section, base, billing, LimitSource::Plan);
        policy.plan.clone_from(&name);
        plans.insert(name, Plan { base: Base::new(policy), then, at: Some(at) });
    }
    for (name, plan) in &plans {
        if let Some((at, then)) = plan.then.as_ref().filter(|(_, then)| !plans.contains_key(then)) {
            unknown_plan(&mut section, at, &format!("plans.{name}.then"), then, &plans);
        }
    }
    plans
}

/// What the policy of an org without a plan, and of one that names none, begins with.
struct Bases<'b> {
    none: &'b Base,
    default: &'b Base,
    billing: &'b BillingPolicy,
}

fn orgs(
    mut section: Section<'_>,
    plans: &Plans,
    bases: &Bases<'_>,
    book: &mut PlanBook,
) -> BTreeMap<OrgId, Arc<OrgPolicy>> {
    let mut orgs = BTreeMap::new();
    for (name, at, entries) in named_tables(&mut section) {
        if hints::refuses_every_org(&mut section, &name, &at) {
            continue;
        }
        let org = match OrgId::parse("orgs", &name) {
            Ok(org) => org,
            Err(error) => {
                section.findings.add(&at, error.to_string());
                continue;
            }
        };
        hints::warn_of_stranger(&mut section, &org, &at, bases.billing);
        let (path, again, said) = (name.clone(), entries.clone(), entries.clone());
        let mut own = section.open(&name, at.clone(), entries);
        let base = match own.read("plan", plan_reference) {
            None => bases.default,
            Some((_, plan)) if plan.is_empty() => bases.none,
            Some((at, plan)) => plans.get(&plan).map_or_else(
                || {
                    let path = join(own.path(), "plan");
                    unknown_plan(&mut own, &at, &path, &plan, plans);
                    bases.none
                },
                |plan| &plan.base,
            ),
        };
        let ends_at = own.place("trial_ends");
        let ends = own.read("trial_ends", sessions::instant);
        let then = plans.get(&base.written.plan).and_then(|plan| plans.get(&plan.then.as_ref()?.1));
        if let (Some(at), Some(ends), None) = (&ends_at, ends, then) {
            let path = join(own.path(), "trial_ends");
            let of = match base.written.plan.as_str() {
                "" => "the org has no plan".to_owned(),
                plan => format!("{plan:?} has none"),
            };
            let allowed = format!("only with a plan that has the key `then`, such as plan = \"trial\"; {of}");
            own.findings.refuse(at, &path, iso(ends), allowed);
        }
        let mut policy = of_org(own, &base.written, bases.billing);
        policy.then = ends.zip(then).map(|(from, plan)| {
            // What the org says has to fit the plan after its trial as well.
            let mut own = section.open(&path, at, again);
            let _ = (own.read("plan", plan_reference), own.read("trial_ends", sessions::instant));
            Successor { from, policy: Arc::new(of_org(own, &plan.base.written, bases.billing)) }
        });
        let says_nothing = policy == *base.in_force;
        if !says_nothing {
            book.keep(org.clone(), said);
        }
        orgs.insert(org, if says_nothing { Arc::clone(&base.in_force) } else { Arc::new(policy) });
    }
    orgs
}

/// What an org says, over its plan, and by its own month.
fn of_org(mut section: Section<'_>, plan: &OrgPolicy, billing: &BillingPolicy) -> OrgPolicy {
    let month = periods::month(&mut section);
    let mut policy = layer(section, plan, billing, LimitSource::Org);
    periods::apply(&mut policy, month);
    overrun::apply(&mut policy);
    policy
}

/// Every table of a section whose keys an operator names; what is no table is noted.
pub(super) fn named_tables(section: &mut Section<'_>) -> Vec<(String, Place, Table)> {
    let mut tables = Vec::new();
    for (name, entry) in section.take_named() {
        let shown = entry.shown();
        match entry {
            Entry { key_at, value: Value::Table(entries), .. } => tables.push((name, key_at, entries)),
            Entry { value_at, .. } => {
                let path = join(section.path(), &name);
                section.findings.refuse(&value_at, &path, shown, format!("a section [{path}] or a table {{ … }}"));
            }
        }
    }
    tables
}

/// The name of a plan and where it stands; empty is none.
fn plan_reference(entry: &Entry) -> Parsed<(Place, String)> {
    let text = entry.text().filter(|text| text.is_empty() || is_name(text));
    text.map(|text| (entry.value_at.clone(), text.to_owned()))
        .ok_or_else(|| "the name of a plan, or \"\" for none".into())
}

/// Notes that a plan does not exist, unless it may stand in a part of the file that was unreadable.
fn unknown_plan(section: &mut Section<'_>, at: &Place, path: &str, name: &str, plans: &Plans) {
    if section.findings.is_whole() {
        let names: Vec<_> = plans.keys().map(String::as_str).collect();
        let allowed = format!("one of the plans {}, or \"\" for none", names.join(", "));
        section.findings.refuse(at, path, name, allowed);
    }
}
