//! What becomes of usage that went over a limit: `overrun = "carry"` or `"forget"` of a plan or an org.

use super::{reader::Parsed, tree::Entry};
use crate::domain::{
    limit::{Limit, Limits},
    policy::{OrgPolicy, Overrun},
};

/// One of two words.
pub(super) fn overrun(entry: &Entry) -> Parsed<Overrun> {
    match entry.text() {
        Some("carry") => Ok(Overrun::Carry),
        Some("forget") => Ok(Overrun::Forget),
        _ => Err("\"carry\" (it is the first usage of the next window) or \"forget\" (the default)".into()),
    }
}

/// Marks the limits of which it is said: all of those of which one window follows the other. Limits that stay as they
/// are stay the same.
pub(super) fn apply(policy: &mut OrgPolicy) {
    let carry = policy.overrun == Overrun::Carry;
    let of_scopes = policy.scopes.values_mut().chain(policy.scope_prefixes.values_mut());
    for limits in of_scopes.chain([&mut policy.limits]) {
        mark(limits, carry);
    }
}

fn mark(limits: &mut Limits, carry: bool) {
    let carries = |limit: &Limit| carry && limit.window().follows_itself();
    if limits.iter().any(|limit| limit.carries != carries(limit)) {
        *limits = limits.iter().map(|limit| Limit { carries: carries(limit), ..limit.clone() }).collect();
    }
}
