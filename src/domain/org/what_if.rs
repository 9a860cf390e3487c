//! What limits that are not in force would have denied.

use super::OrgState;
use crate::domain::{command::TryLimits, what_if::Denied};

impl OrgState {
    pub(in crate::domain) fn try_limits(&self, ask: &TryLimits) -> Option<Vec<Option<Denied>>> {
        let TryLimits { scope, meter, limits, from } = ask;
        let hours = || self.book.hours(scope, meter).map(|hour| (hour.start, hour.total));
        self.is_known().then(|| limits.iter().map(|limit| limit.replay(hours(), *from)).collect())
    }
}
