//! What plans include, for `provider = "static"`: the balance of an org, kept in its own ledger.
//!
//! ```toml
//! [plans.pro]
//! included = 10000          # executions per billing period, or "unlimited"
//! overage = true            # more than that is counted and let through
//! ```
//!
//! A plan without `included` does not include executions, which is not the same as 0 of them: it
//! follows `billing.on_no_entitlement`.

use std::borrow::Cow;

use super::{
    billing::{BillingPolicy, Choice},
    mistake::join,
    reader::Section,
    values::{truth, whole},
};
use crate::{
    bounds::AMOUNT_MAX,
    domain::{
        limit::{Limit, LimitSource, Origin},
        policy::BalanceSource,
        window::Calendar,
    },
};

/// The keys of a plan or an org about its balance, over those of the layer below.
pub(super) fn read(section: &mut Section<'_>, source: &mut BalanceSource, billing: &BillingPolicy, by: LimitSource) {
    let is_included = section.place("included").is_some();
    let included = section.read("included", |entry| {
        billing.provider.only_with(Choice::Static)?;
        if entry.text() == Some("unlimited") {
            return Ok(None);
        }
        whole(entry, 0, AMOUNT_MAX).map(Some).map_err(|rule| Cow::from(format!("{rule}, or \"unlimited\"")))
    });
    let overage_at = section.place("overage");
    let overage = section.read("overage", |entry| {
        billing.provider.only_with(Choice::Static)?;
        truth(entry)
    });
    match (source, included) {
        (BalanceSource::Included { limit, overage: beyond }, included) => {
            if let Some(amount) = included {
                *limit = Limit { amount, ..limit.clone() }.with_origin(Origin::of(by));
            }
            *beyond = overage.unwrap_or(*beyond);
        }
        (source, Some(amount)) => {
            let limit = BalanceSource::limit(amount, Calendar::Month).with_origin(Origin::of(by));
            *source = BalanceSource::Included { limit, overage: overage.unwrap_or(false) };
        }
        (_, None) => {
            if let (Some(at), Some(shown), false) = (overage_at, overage, is_included) {
                let path = join(section.path(), "overage");
                section.findings.refuse(&at, &path, shown, "only together with `included`");
            }
        }
    }
}
