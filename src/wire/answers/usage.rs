//! What is answered about usage of the past.

use super::int;
use crate::{
    domain::{
        ids::{Meter, OrgId, Plane, Scope},
        window::Millis,
    },
    wire::admin::v1 as admin,
};

/// Usage in one period; the name of an upstream account is masked.
pub fn usage_row(
    org: &OrgId,
    (scope, meter, plane): (&Scope, &Meter, &Plane),
    (start, end): (Millis, Millis),
    amount: u64,
) -> admin::UsageRow {
    admin::UsageRow {
        org: org.to_string(),
        scope: scope.shown().into_owned(),
        meter: meter.to_string(),
        start_ms: int(start),
        end_ms: int(end),
        amount: int(amount),
        plane: plane.to_string(),
    }
}
