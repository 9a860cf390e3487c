//! The kinds of events, by which readers choose.

use crate::{
    bounds::{EVENT_RETENTION_MS, OPERATOR_EVENT_RETENTION_MS},
    domain::window::Millis,
};

/// One line for each kind: its name in the API, and which of the bounds counts its events.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal of $class:ident;)+) => {
        /// The kind of an event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EventKind {
            $($(#[$doc])* $kind,)+
        }

        impl EventKind {
            /// Every kind, in the order of documents.
            pub const ALL: &[Self] = &[$(Self::$kind,)+];

            /// As the API has it; never used again for another kind.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// With which others it shares a bound.
            pub(in crate::domain) const fn class(self) -> Class {
                match self { $(Self::$kind => Class::$class,)+ }
            }
        }
    };
}

kinds! {
    /// An operator changed something.
    Operator = "operator" of Operators;
    /// 80 or 95 percent of a limit are taken.
    NearLimit = "near_limit" of Others;
    /// A limit is used up.
    Exhausted = "exhausted" of Others;
    /// More was recorded than a limit allows.
    OverLimit = "over_limit" of Others;
    /// A limit that was used up is usable again.
    Recovered = "recovered" of Others;
    /// A limit, or a gate without one, denies calls.
    DenialsBegan = "denials_began" of Others;
    /// It has denied none for ten minutes.
    DenialsEnded = "denials_ended" of Others;
    /// Calls are let through because a gate cannot be evaluated.
    FailOpen = "fail_open" of Others;
    /// A session has begun.
    SessionStarted = "session_started" of Sessions;
    /// A session was warned.
    SessionWarned = "session_warned" of Sessions;
    /// A session has to stop.
    SessionStopped = "session_stopped" of Sessions;
    /// A session was ended by its plane.
    SessionClosed = "session_ended" of Sessions;
    /// A session has expired.
    SessionExpired = "session_expired" of Sessions;
    /// An upstream account is exhausted.
    AccountExhausted = "account_exhausted" of Others;
    /// An upstream account is usable again.
    AccountUsable = "account_usable" of Others;
    /// Every account of a pool is exhausted.
    PoolExhausted = "pool_exhausted" of Others;
    /// A pool has a usable account again.
    PoolUsable = "pool_usable" of Others;
    /// The trial has used up what it includes.
    TrialEnded = "trial_ended" of Others;
    /// Numbers do not fit together.
    Drift = "drift" of Others;
    /// What an operator had set has ended by itself.
    OverrideEnded = "override_ended" of Operators;
    /// Calls were admitted that the state of the org does not count.
    OverAdmitted = "over_admitted" of Others;
    /// The store of a node does not answer.
    StoreTrouble = "store_trouble" of Others;
    /// It answers again.
    StoreRecovered = "store_recovered" of Others;
    /// The wall clock of a node is not believed.
    ClockTrouble = "clock_trouble" of Others;
    /// It is again.
    ClockSteady = "clock_steady" of Others;
    /// Events that there was no room for.
    LeftOut = "left_out" of Others;
}

/// Some kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventKinds(u64);

const _: () = assert!(EventKind::ALL.len() <= 64);

impl EventKinds {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Every kind.
    pub fn all() -> Self {
        EventKind::ALL.iter().copied().collect()
    }

    /// Whether it is one of them.
    pub const fn has(self, kind: EventKind) -> bool {
        self.0 & Self::bit(kind) != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn bit(kind: EventKind) -> u64 {
        1 << kind as u8
    }
}

impl FromIterator<EventKind> for EventKinds {
    fn from_iter<I: IntoIterator<Item = EventKind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | Self::bit(kind)))
    }
}

/// What the bounds tell apart, so that no flood of one removes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::domain) enum Class {
    /// What operators did, and the end of what they had set.
    Operators,
    /// What became of sessions.
    Sessions,
    /// All else.
    Others,
}

impl EventKind {
    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The names of all kinds, for messages.
    pub fn names() -> String {
        Self::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
    }

    /// How long a row of the kind is kept.
    pub(in crate::domain) const fn retention(self) -> Millis {
        match self.class() {
            Class::Operators => OPERATOR_EVENT_RETENTION_MS,
            Class::Sessions | Class::Others => EVENT_RETENTION_MS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_their_names() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::named(kind.name()), Some(*kind));
        }
        assert_eq!(EventKind::named("Operator"), None);
    }

    #[test]
    fn a_set_has_what_it_was_made_of() {
        let some: EventKinds = [EventKind::Operator, EventKind::LeftOut].into_iter().collect();
        for kind in EventKind::ALL {
            let is_one = matches!(kind, EventKind::Operator | EventKind::LeftOut);
            assert_eq!(
                (some.has(*kind), EventKinds::all().has(*kind), EventKinds::NONE.has(*kind)),
                (is_one, true, false)
            );
        }
        assert!(EventKinds::NONE.is_empty() && !some.is_empty());
    }
}
