//! The table of commands: in which lane each travels, what its reply promises, its request id, what it is answered,
//! and by which method of the org it is carried out.

use std::sync::Arc;

use super::{
    command::{
        Acquire, AskWhy, ClaimName, ClearAccount, Commit, ConfigurePool, EndSession, Explain, Extend, ForgetNames,
        FreeName, Freeze, GetBudget, GetNames, GetOverview, GetPool, GetSession, GetSessionStatus, GetStatus, GetUsage,
        Grant, Heartbeat, Inspect, ListDenials, ListEvents, ListOutbox, ListOverrides, ListReservations, ListSessions,
        Need, NoteDelivered, NoteDenials, Pick, Purge, Record, Refund, RefundOf, Release, Rename, ReplayOutbox,
        ReportCumulative, ReportOutcome, ResetWindow, Resume, RevokeGrant, RollPools, RunAudit, SetBudget, SetOverride,
        SettleOutbox, TakeOutbox, TakeUndelivered, TryLimits, Unfreeze,
    },
    decision::Decision,
    denials::{DenialPage, Explained, Why},
    events::EventPage,
    kept_ids::KeptName,
    org::{Context, OrgState},
    outbox::OutboxRow,
    outcome::{
        AccountCleared, Beaten, BudgetSet, Committed, Done, Extended, Frozen, Granted, OutcomeReported, OverrideSet,
        PoolConfigured, Recorded, Refunded, Renamed, Reported, Resumed, SessionEnded, Settled, Shown,
    },
    promise::Promise::{self, Durable, Nothing, WrittenBehind},
    refusal::OrgError,
    reply::{
        AccountView, Audit, Beat, BudgetView, Claimed, Counted, NamesView, OutboxReplayed, OutboxSettled,
        OverrideChange, OverrideView, Overview, PoolView, Purged, RefundView, ReservationView, SessionStatus,
        SessionView, SlicedUsage, Snapshot, Status, UndeliveredPage, WindowChange,
    },
    request::{Idempotency, Rpc},
    scopes::Scopes,
    what_if::Denied,
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
        $($lane:ident, $promise:expr, $id:expr, $name:ident($body:ty) => $answer:ty = $answered:expr;)*) => {
        /// What is asked of an org.
        #[allow(missing_docs, reason = "each variant has the struct that says what is asked")]
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Command {
            $($name($body),)*
        }

        /// The lane of each command, by its name.
        #[cfg(test)]
        pub(crate) const LANES: &[(&str, Lane)] = &[$((stringify!($name), Lane::$lane),)*];

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

            /// The namespace of its request id, and the id where the caller gave one.
            fn request(&self) -> Option<(Rpc, &Idempotency)> {
                match self {
                    $(Self::$name($ask) => {
                        let _ = $ask;
                        $id
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
    Admit, ask.promise(), ask.idempotency.as_ref().map(|id| (ask.rpc(), id)),
        Acquire(Arc<Acquire>) => Result<Box<Decision>, Need>
        = org.acquire(ask, ctx)?;
    Settle, Durable, Some((Rpc::Commit, &ask.idempotency)),
        Commit(Commit) => Box<Shown<Committed, Counted>>
        = org.commit(ask, ctx)?;
    Settle, Durable, Some((Rpc::Release, &ask.idempotency)),
        Release(Release) => Done<Settled> = org.release(ask, ctx)?;
    Settle, Durable, Some((Rpc::Extend, &ask.idempotency)),
        Extend(Extend) => Shown<Extended, Millis> = org.extend(ask, ctx)?;
    Settle, WrittenBehind, ask.idempotency.as_ref().map(|id| (Rpc::Resume, id)),
        Resume(Resume) => Done<Resumed> = org.resume(ask, ctx);
    Settle, Durable, Some((Rpc::Record, &ask.idempotency)),
        Record(Record) => Shown<Recorded, Scopes> = org.record(ask, ctx)?;
    Settle, Durable, Some((Rpc::ReportCumulative, &ask.idempotency)),
        ReportCumulative(Box<ReportCumulative>) => Shown<Reported, Scopes>
        = org.report(ask, ctx)?;
    Settle, Durable, ask.idempotency.as_ref().map(|id| (Rpc::Heartbeat, id)),
        Heartbeat(Box<Heartbeat>) => Shown<Beaten, Box<Beat>>
        = org.heartbeat(ask, ctx)?;
    Settle, Durable, Some((Rpc::EndSession, &ask.idempotency)),
        EndSession(Box<EndSession>) => Shown<SessionEnded, Box<SessionView>>
        = org.end_session(ask, ctx)?;
    Admit, Durable, Some((ask.rpc(), &ask.idempotency)),
        SetBudget(Box<SetBudget>) => Shown<BudgetSet, BudgetView>
        = org.set_budget(ask, configured)?;
    Admit, Durable, Some((Rpc::ConfigurePool, &ask.idempotency)),
        ConfigurePool(Box<ConfigurePool>) => Shown<PoolConfigured, Box<PoolView>>
        = org.configure_pool(ask, configured)?;
    Admit, Durable, ask.idempotency.as_ref().map(|id| (Rpc::Pick, id)),
        Pick(Pick) => Box<Decision> = org.pick(ask, ctx)?;
    Settle, Durable, ask.idempotency.as_ref().map(|id| (Rpc::ReportOutcome, id)),
        ReportOutcome(Box<ReportOutcome>) => Done<OutcomeReported>
        = org.report_outcome(ask, ctx)?;
    Admit, Durable, Some((Rpc::ClearAccount, &ask.idempotency)),
        ClearAccount(Box<ClearAccount>) => Shown<AccountCleared, Box<AccountView>>
        = org.clear_account(ask, ctx)?;
    Admit, Durable, Some((Rpc::Freeze, &ask.idempotency)),
        Freeze(Freeze) => Shown<Frozen, Option<Millis>> = org.freeze(ask, configured)?;
    Admit, Durable, Some((Rpc::Unfreeze, &ask.idempotency)),
        Unfreeze(Unfreeze) => Done<Frozen> = org.unfreeze(ask, ctx)?;
    Admit, Durable, Some((ask.rpc, &ask.idempotency)),
        SetOverride(Box<SetOverride>) => Shown<OverrideSet, Box<OverrideChange>>
        = org.set_override(ask, configured)?;
    Admit, Durable, Some((Rpc::Refund, &ask.idempotency)),
        Refund(Box<Refund>) => Shown<Refunded, Box<RefundView>> = org.refund(ask, ctx, configured)?;
    Admit, Durable, Some((Rpc::Grant, &ask.idempotency)),
        Grant(Box<Grant>) => Shown<Granted, Box<OverrideChange>> = org.grant(ask, configured)?;
    Admit, Durable, Some((Rpc::RevokeGrant, &ask.idempotency)),
        RevokeGrant(Box<RevokeGrant>) => Shown<OverrideSet, Box<OverrideChange>> = org.revoke_grant(ask, configured)?;
    Admit, Durable, Some((Rpc::ResetWindow, &ask.idempotency)),
        ResetWindow(Box<ResetWindow>) => Shown<OverrideSet, WindowChange> = org.reset_window(ask, configured)?;
    Admit, Durable, Some((Rpc::RenameOrg, &ask.idempotency)),
        Rename(Box<Rename>) => Shown<Renamed, NamesView> = org.rename(ask, ctx)?;
    Admit, Durable, None, ClaimName(ClaimName) => Claimed = org.claim_name(ask);
    Admit, Durable, None, FreeName(FreeName) => bool = org.free_name(ask);
    Admit, Durable, None, ForgetNames(ForgetNames) => () = org.forget_names();
    Admit, Nothing, None, GetNames(GetNames) => NamesView = org.names_view();
    Admit, Nothing, None, ListOverrides(ListOverrides) => Vec<OverrideView> = org.list_overrides(ask, ctx);
    Admit, Durable, None, Purge(Purge) => Purged = org.purge_all(ctx);
    Settle, Nothing, None, TakeOutbox(TakeOutbox) => Vec<OutboxRow> = org.take_outbox(ask.max);
    Settle, Durable, None, SettleOutbox(SettleOutbox) => OutboxSettled = org.settle_outbox(&ask.0);
    Admit, Nothing, None, ListOutbox(ListOutbox) => Vec<OutboxRow> = org.list_outbox(ask);
    Admit, Durable, None, ReplayOutbox(ReplayOutbox) => OutboxReplayed = org.replay_outbox(ask.key, ctx);
    Settle, Durable, None, TakeUndelivered(TakeUndelivered) => UndeliveredPage = org.take_undelivered(*ask, ctx);
    Settle, WrittenBehind, None, NoteDelivered(NoteDelivered) => bool = org.note_delivered(ask);
    Admit, if ask.durable { Durable } else { Nothing }, None, ListEvents(ListEvents) => Option<EventPage> = org.list_events(ask);
    Admit, Nothing, None, GetStatus(GetStatus) => Box<Status>
        = org.status(&ask.scopes, ask.known, ctx);
    Admit, Nothing, None, Inspect(Inspect) => Option<Box<Snapshot>> = org.inspect(ctx);
    Admit, Nothing, None, GetBudget(GetBudget) => Box<BudgetView> = org.budget(&ask.scope, ctx);
    Admit, Nothing, None, GetSessionStatus(GetSessionStatus) => Box<SessionStatus>
        = org.session_status(&ask.scopes, ask.known, ctx);
    Admit, Nothing, None, GetSession(GetSession) => Box<SessionView> = org.session(&ask.id, ctx)?;
    Admit, Nothing, None, ListSessions(ListSessions) => Vec<SessionView> = org.list_sessions(ask, ctx);
    Admit, Nothing, None, ListReservations(ListReservations) => Vec<ReservationView>
        = org.list_reservations(ask, ctx);
    Admit, Nothing, None, GetPool(GetPool) => Box<PoolView> = org.pool(&ask.id, ctx)?;
    Admit, Nothing, None, RollPools(RollPools) => Vec<PoolView> = org.roll_all_pools(ctx);
    Admit, Nothing, None, ListDenials(ListDenials) => DenialPage = org.list_denials(&ask.0);
    Admit, Nothing, None, Explain(Explain) => Option<Box<Explained>> = org.explain(ask);
    Admit, Nothing, None, AskWhy(AskWhy) => Box<Why> = org.why(ask, ctx);
    Admit, WrittenBehind, None, NoteDenials(NoteDenials) => () = org.note_denials(ask, ctx);
    Admit, Nothing, None, RunAudit(RunAudit) => Option<Audit> = org.audit();
    Admit, Nothing, None, TryLimits(TryLimits) => Option<Vec<Option<Denied>>> = org.try_limits(ask);
    Admit, Nothing, None, GetOverview(GetOverview) => Option<Box<Overview>> = org.overview(ask, ctx);
    // It promises that what has left memory is on disk, where the rest is read.
    Admit, Durable, None, GetUsage(GetUsage) => Option<Box<SlicedUsage>> = org.sliced_usage(ask);
}

impl Command {
    /// Whether it goes through many orgs and wants nothing more of each: one that is not in memory leaves it again
    /// with the answer.
    pub fn is_visit(&self) -> bool {
        matches!(
            self,
            Self::RunAudit(_) | Self::RollPools(_) | Self::GetUsage(_) | Self::TryLimits(_) | Self::GetOverview(_)
        )
    }

    /// Whether it is about an id itself, also where that is another name of an org.
    pub fn is_about_name(&self) -> bool {
        matches!(self, Self::ClaimName(_) | Self::FreeName(_))
    }

    /// Whether an org of which nothing is stored has something stored after it.
    pub fn begins(&self) -> bool {
        match self {
            Self::Acquire(ask) => ask.counts(),
            Self::Resume(_)
            | Self::Record(_)
            | Self::ReportCumulative(_)
            | Self::SetBudget(_)
            | Self::ConfigurePool(_)
            | Self::SetOverride(_)
            | Self::Grant(_)
            | Self::ResetWindow(_)
            | Self::Freeze(_)
            | Self::Unfreeze(_)
            | Self::NoteDenials(_) => true,
            // A name is no org: it is not counted among those that are new.
            Self::ClaimName(_) => false,
            // About what the org has, and it has nothing.
            Self::Commit(_)
            | Self::Release(_)
            | Self::Extend(_)
            | Self::Heartbeat(_)
            | Self::EndSession(_)
            | Self::Pick(_)
            | Self::ReportOutcome(_)
            | Self::ClearAccount(_)
            | Self::Refund(_)
            | Self::RevokeGrant(_)
            | Self::Rename(_)
            | Self::FreeName(_)
            | Self::ForgetNames(_)
            | Self::Purge(_)
            | Self::SettleOutbox(_)
            | Self::NoteDelivered(_)
            | Self::ReplayOutbox(_) => false,
            // They store nothing.
            Self::TakeOutbox(_)
            | Self::TakeUndelivered(_)
            | Self::ListOutbox(_)
            | Self::ListEvents(_)
            | Self::GetStatus(_)
            | Self::Inspect(_)
            | Self::GetBudget(_)
            | Self::GetNames(_)
            | Self::GetSessionStatus(_)
            | Self::GetSession(_)
            | Self::ListSessions(_)
            | Self::ListReservations(_)
            | Self::GetPool(_)
            | Self::RollPools(_)
            | Self::ListDenials(_)
            | Self::Explain(_)
            | Self::AskWhy(_)
            | Self::RunAudit(_)
            | Self::GetUsage(_)
            | Self::TryLimits(_)
            | Self::GetOverview(_)
            | Self::ListOverrides(_) => false,
        }
    }

    /// Adds the names under which the store may have something that this command needs: the outcome of its request
    /// id, and how its reservation ended. A call that is not durable has none: its id is in memory.
    pub(super) fn kept_names(&self, names: &mut Vec<KeptName>) {
        if self.promise() < Durable {
            return;
        }
        names.extend(self.request().map(|(rpc, asked)| KeptName::Request(rpc, asked.id.clone())));
        if let Self::Commit(Commit { reservation, .. })
        | Self::Release(Release { reservation, .. })
        | Self::Extend(Extend { reservation, .. }) = self
        {
            names.push(KeptName::Reservation(*reservation));
        }
        if let Self::Refund(refund) = self
            && let RefundOf::Decision { id, .. } = refund.of
        {
            names.push(KeptName::Reservation(id));
        }
    }

    /// What this reply promises: a denial, and a question back, promise nothing.
    pub fn promised(&self, reply: &Reply) -> Promise {
        if let Reply::Acquire(Ok(decision)) | Reply::Pick(decision) = reply {
            return decision.promise();
        }
        if let Reply::Acquire(Err(_)) = reply { Nothing } else { self.promise() }
    }
}
