//! Plans by their names, for an org that was given another one at run time: as if its section named that plan.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::{
        billing::BillingPolicy,
        mistake::{Findings, Place},
        reader::Section,
        sessions,
        tree::{Entry, Table, Value},
    },
    Base, of_org, plan_reference,
};
use crate::domain::{
    ids::OrgId,
    policy::{OrgPolicy, Plans},
};

/// Every plan, and what orgs say over theirs. Equal, and shown alike, where the same is written, wherever it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct PlanBook {
    plans: BTreeMap<String, Base>,
    none: Base,
    sections: BTreeMap<OrgId, Table>,
    billing: BillingPolicy,
}

impl PlanBook {
    pub(super) fn new(plans: BTreeMap<String, Base>, none: Base, billing: BillingPolicy) -> Self {
        Self { plans, none, sections: BTreeMap::new(), billing }
    }

    /// Keeps what the section of an org says. It was read without a mistake, or the configuration is refused.
    pub(super) fn keep(&mut self, org: OrgId, mut section: Table) {
        forget_places(&mut section);
        self.sections.insert(org, section);
    }
}

impl Plans for PlanBook {
    fn with_plan(&self, org: &OrgId, plan: &str) -> Option<Arc<OrgPolicy>> {
        let base = if plan.is_empty() { &self.none } else { self.plans.get(plan)? };
        let Some(section) = self.sections.get(org) else { return Some(base.in_force.clone()) };
        // Its mistakes were those of the reading before; that it has too many limits together with another plan
        // is none to an operator who sets that plan.
        let mut findings = Findings::new("");
        let mut root = Section::root(Table::new(), &mut findings);
        let mut own = root.open(org.as_str(), Place::File, section.clone());
        let _ = (own.read("plan", plan_reference), own.read("trial_ends", sessions::instant));
        Some(Arc::new(of_org(own, &base.written, &self.billing)))
    }

    fn plan_names(&self) -> Vec<String> {
        self.plans.keys().cloned().collect()
    }
}

fn forget_places(table: &mut Table) {
    for entry in table.values_mut() {
        forget_place(entry);
    }
}

fn forget_place(entry: &mut Entry) {
    (entry.key_at, entry.value_at) = (Place::File, Place::File);
    match &mut entry.value {
        Value::Table(table) => forget_places(table),
        Value::List(entries) => entries.iter_mut().for_each(forget_place),
        Value::Text(_) | Value::Integer(..) | Value::Bool(_) | Value::Other(_) => {}
    }
}
