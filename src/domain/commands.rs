//! The table of commands: in which lane each travels, what its reply promises, what it is answered, and by
//! which method of the org it is carried out.

use std::sync::Arc;

use super::{
    command::{
        Acquire, ClearAccount, Commit, ConfigurePool, EndSession, Extend, Freeze, GetBudget, GetPool, GetSession,
        GetSessionStatus, GetStatus, Heartbeat, Inspect, ListOutbox, ListReservations, ListSessions, Need, Pick, Purge,
        Record, Release, ReplayOutbox, ReportCumulative, ReportOutcome, Resume, RollPools, RunAudit, SetBudget,
        SettleOutbox, TakeOutbox, Unfreeze,
    },
    decision::{Decision, LimitViews},
    org::{Context, OrgState},
    outbox::OutboxRow,
    outcome::{
        AccountCleared, Beaten, BudgetSet, Committed, Done, Extended, Frozen, OutcomeReported, PoolConfigured,
        Recorded, Reported, Resumed, SessionEnded, Settled, Shown,
    },
    promise::Promise::{self, Durable, Nothing, WrittenBehind},
    refusal::OrgError,
    reply::{
        AccountView, Audit, Beat, BudgetView, OutboxReplayed, OutboxSettled, PoolView, Purged, ReservationView,
        SessionStatus, SessionView, Snapshot, Status,
    },
    window::Millis,
};

/// A flood of admissions never keeps what already runs from settling: each lane has bounds of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Admission, queries, operators.
    Admit,
    /// What already runs: resume, settle, record, heartbeat.
    Settle,
}

/// A command that names what it is answered.
pub trait Ask: Into<Command> {
    /// What the command is answered, unless it is refused.
    type Answer;
    /// Whose in-flight permits the command takes.
    const LANE: Lane;

    /// The answer out of the reply to this command; `None` would be a bug.
    fn answer(reply: Reply) -> Option<Self::Answer>;
}

macro_rules! commands {
    (|$org:ident, $ask:ident, $ctx:ident, $configured:ident|
        $($lane:ident, $promise:expr, $name:ident($body:ty) => $answer:ty = $answered:expr;)*) => {
        /// What is asked of an org.
        #[allow(missing_docs, reason = "each variant has the struct that says what is asked")]
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Command {
            $($name($body),)*
        }

        /// The answer to the command of the same name.
        #[allow(missing_docs, reason = "each variant answers the command of its name")]
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Reply {
            $($name($answer),)*
        }

        impl Command {
            /// The most that its reply can promise.
            pub fn promise(&self) -> Promise {
                match self {
                    $(Self::$name($ask) => {
                        let _ = $ask;
                        $promise
                    })*
                }
            }

            /// Carries it out. The policy of `ctx` is the one in force.
            pub(super) fn carry_out(
                &self,
                $org: &mut OrgState,
                $ctx: &Context<'_>,
                $configured: &Context<'_>,
            ) -> Result<Reply, OrgError> {
                Ok(match self {
                    $(Self::$name($ask) => {
                        let _ = $ask;
                        Reply::$name($answered)
                    })*
                })
            }
        }

        $(
            impl From<$body> for Command {
                fn from(body: $body) -> Self {
                    Self::$name(body)
                }
            }

            impl Ask for $body {
                type Answer = $answer;
                const LANE: Lane = Lane::$lane;

                fn answer(reply: Reply) -> Option<$answer> {
                    if let Reply::$name(answer) = reply { Some(answer) } else { None }
                }
            }
        )*
    };
}

// A budget and a pool are set over what is configured; everything else is judged by what is in force.
commands! { |org, ask, ctx, configured|
    // Shared, because it may have to be sent a second time, with the provider's verdict.
    Admit,  ask.promise(), Acquire(Arc<Acquire>) => Result<Box<Decision>, Need>
        = org.acquire(ask, ctx)?;
    Settle, Durable,       Commit(Commit) => Box<Shown<Committed, LimitViews>>
        = org.commit(ask, ctx)?;
    Settle, Durable,       Release(Release) => Done<Settled> = org.release(ask, ctx)?;
    Settle, Durable,       Extend(Extend) => Shown<Extended, Millis> = org.extend(ask, ctx)?;
    Settle, WrittenBehind, Resume(Resume) => Done<Resumed> = org.resume(ask, ctx);
    Settle, Durable,       Record(Record) => Done<Recorded> = org.record(ask, ctx)?;
    Settle, Durable,       ReportCumulative(Box<ReportCumulative>) => Done<Reported>
        = org.report(ask, ctx)?;
    Settle, Durable,       Heartbeat(Box<Heartbeat>) => Shown<Beaten, Box<Beat>>
        = org.heartbeat(ask, ctx)?;
    Settle, Durable,       EndSession(Box<EndSession>) => Shown<SessionEnded, Box<SessionView>>
        = org.end_session(ask, ctx)?;
    Admit,  Durable,       SetBudget(Box<SetBudget>) => Shown<BudgetSet, BudgetView>
        = org.set_budget(ask, configured)?;
    Admit,  Durable,       ConfigurePool(Box<ConfigurePool>) => Shown<PoolConfigured, Box<PoolView>>
        = org.configure_pool(ask, configured)?;
    Admit,  Durable,       Pick(Pick) => Box<Decision> = org.pick(ask, ctx)?;
    Settle, Durable,       ReportOutcome(Box<ReportOutcome>) => Done<OutcomeReported>
        = org.report_outcome(ask, ctx)?;
    Admit,  Durable,       ClearAccount(Box<ClearAccount>) => Shown<AccountCleared, Box<AccountView>>
        = org.clear_account(ask, ctx)?;
    Admit,  Durable,       Freeze(Freeze) => Done<Frozen> = org.freeze(ask, ctx)?;
    Admit,  Durable,       Unfreeze(Unfreeze) => Done<Frozen> = org.unfreeze(ask, ctx)?;
    Admit,  Durable,       Purge(Purge) => Purged = org.purge_all();
    Settle, Nothing,       TakeOutbox(TakeOutbox) => Vec<OutboxRow> = org.take_outbox(ask.max);
    Settle, Durable,       SettleOutbox(SettleOutbox) => OutboxSettled = org.settle_outbox(&ask.0);
    Admit,  Nothing,       ListOutbox(ListOutbox) => Vec<OutboxRow> = org.list_outbox(ask);
    Admit,  Durable,       ReplayOutbox(ReplayOutbox) => OutboxReplayed = org.replay_outbox(ask.key);
    Admit,  Nothing,       GetStatus(GetStatus) => Box<Status>
        = org.status(&ask.scopes, ask.known, ctx);
    Admit,  Nothing,       Inspect(Inspect) => Option<Box<Snapshot>> = org.inspect(ctx);
    Admit,  Nothing,       GetBudget(GetBudget) => Box<BudgetView> = org.budget(&ask.scope, ctx);
    Admit,  Nothing,       GetSessionStatus(GetSessionStatus) => Box<SessionStatus>
        = org.session_status(&ask.scopes, ask.known, ctx);
    Admit,  Nothing,       GetSession(GetSession) => Box<SessionView> = org.session(&ask.id)?;
    Admit,  Nothing,       ListSessions(ListSessions) => Vec<SessionView> = org.list_sessions(ask);
    Admit,  Nothing,       ListReservations(ListReservations) => Vec<ReservationView>
        = org.list_reservations(ask);
    Admit,  Nothing,       GetPool(GetPool) => Box<PoolView> = org.pool(&ask.id, ctx)?;
    Admit,  Nothing,       RollPools(RollPools) => Vec<PoolView> = org.roll_all_pools(ctx);
    Admit,  Nothing,       RunAudit(RunAudit) => Option<Audit> = org.audit();
}

impl Command {
    /// What this reply promises: a denial, and a question back, promise nothing.
    pub fn promised(&self, reply: &Reply) -> Promise {
        if let Reply::Acquire(Ok(decision)) | Reply::Pick(decision) = reply {
            return decision.promise();
        }
        if let Reply::Acquire(Err(_)) = reply { Nothing } else { self.promise() }
    }
}
