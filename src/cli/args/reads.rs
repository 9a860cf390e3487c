//! Which commands change nothing, so that `--watch` may ask them again and again.

use super::{BillingVerb, BudgetVerb, OrgVerb, OverrideVerb, PoolVerb, RemoteVerb, SessionVerb};

impl RemoteVerb {
    /// Whether it changes nothing, so that it may be asked again and again.
    pub(in crate::cli) fn reads(&self) -> bool {
        match self {
            Self::Acquire(args) => args.only_asks(),
            Self::Org(OrgVerb::Override(verb)) => matches!(verb, OverrideVerb::List { .. }),
            Self::Org(verb) => matches!(verb, OrgVerb::List(_) | OrgVerb::Show { .. } | OrgVerb::Changes(_)),
            Self::Budget(verb) => matches!(verb, BudgetVerb::Get { .. }),
            Self::Session(verb) => {
                matches!(verb, SessionVerb::Show(_) | SessionVerb::List { .. } | SessionVerb::Status(_))
            }
            Self::Pool(verb) => matches!(verb, PoolVerb::Show(_)),
            Self::Billing(verb) => matches!(verb, BillingVerb::Exports { .. }),
            Self::Events(args) => !args.follow,
            Self::Why(_) | Self::Explain(_) | Self::Denials(_) | Self::Usage(_) | Self::Plan(_) => true,
            // It asks again by itself; one table of it may be asked for again.
            Self::Top(args) => args.once,
            Self::Status(_) | Self::Reservation(_) | Self::Audit(_) | Self::Cluster(_) | Self::Node => true,
            Self::Whoami => true,
            Self::Commit(_) | Self::Release(_) | Self::Extend(_) | Self::Record(_) | Self::Complete(_) => false,
            Self::Refund(_) | Self::Resume(_) | Self::Drain(_) | Self::Reload | Self::Snapshot(_) => false,
        }
    }
}
