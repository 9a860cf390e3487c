//! The table of commands: what each is answered, in which lane it travels, and what its reply promises.

use std::sync::Arc;

use super::{
    command::{
        Acquire, Commit, ConfigurePool, EndSession, Extend, Freeze, GetBudget, GetPool, GetSession, GetSessionStatus,
        GetStatus, Heartbeat, Inspect, ListOutbox, ListSessions, Need, Pick, Purge, Record, Release, ReplayOutbox,
        ReportCumulative, ReportOutcome, Resume, RollPools, RunAudit, SetBudget, SettleOutbox, TakeOutbox, Unfreeze,
    },
    decision::Decision,
    outbox::OutboxRow,
    outcome::{Done, Extended, Frozen, OutcomeReported, Recorded, Reported, Resumed, Settled},
    promise::Promise::{self, Durable, Nothing, WrittenBehind},
    reply::{
        Audit, Beat, BudgetView, EndedSession, OutboxReplayed, OutboxSettled, PoolView, Purged, SessionStatus,
        SessionView, Snapshot, Status,
    },
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
    type Answer;
    const LANE: Lane;

    /// The answer out of the reply to this command; `None` would be a bug.
    fn answer(reply: Reply) -> Option<Self::Answer>;
}

macro_rules! commands {
    ($($lane:ident, $promise:expr, $name:ident($body:ty) => $answer:ty;)*) => {
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Command {
            $($name($body),)*
        }

        /// The answer to the command of the same name.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Reply {
            $($name($answer),)*
        }

        impl Command {
            /// The most that its reply can promise.
            pub fn promise(&self) -> Promise {
                match self {
                    $(Self::$name(body) => {
                        let promise: fn(&$body) -> Promise = $promise;
                        promise(body)
                    })*
                }
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

commands! {
    // Shared, because it may have to be sent a second time, with the provider's verdict.
    Admit,  |ask| ask.promise(), Acquire(Arc<Acquire>) => Result<Box<Decision>, Need>;
    Settle, |_| Durable,         Commit(Commit) => Done<Settled>;
    Settle, |_| Durable,         Release(Release) => Done<Settled>;
    Settle, |_| Durable,         Extend(Extend) => Done<Extended>;
    Settle, |_| WrittenBehind,   Resume(Resume) => Done<Resumed>;
    Settle, |_| Durable,         Record(Record) => Done<Recorded>;
    Settle, |_| Durable,         ReportCumulative(Box<ReportCumulative>) => Done<Reported>;
    Settle, |_| Durable,         Heartbeat(Box<Heartbeat>) => Box<Beat>;
    Settle, |_| Durable,         EndSession(Box<EndSession>) => Box<EndedSession>;
    Admit,  |_| Durable,         SetBudget(Box<SetBudget>) => Done<BudgetView>;
    Admit,  |_| Durable,         ConfigurePool(Box<ConfigurePool>) => Done<Box<PoolView>>;
    Admit,  |_| Durable,         Pick(Pick) => Box<Decision>;
    Settle, |_| Durable,         ReportOutcome(Box<ReportOutcome>) => Done<OutcomeReported>;
    Admit,  |_| Durable,         Freeze(Freeze) => Done<Frozen>;
    Admit,  |_| Durable,         Unfreeze(Unfreeze) => Done<Frozen>;
    Admit,  |_| Durable,         Purge(Purge) => Purged;
    Settle, |_| Nothing,         TakeOutbox(TakeOutbox) => Vec<OutboxRow>;
    Settle, |_| Durable,         SettleOutbox(SettleOutbox) => OutboxSettled;
    Admit,  |_| Nothing,         ListOutbox(ListOutbox) => Vec<OutboxRow>;
    Admit,  |_| Durable,         ReplayOutbox(ReplayOutbox) => OutboxReplayed;
    Admit,  |_| Nothing,         GetStatus(GetStatus) => Box<Status>;
    Admit,  |_| Nothing,         Inspect(Inspect) => Option<Box<Snapshot>>;
    Admit,  |_| Nothing,         GetBudget(GetBudget) => Box<BudgetView>;
    Admit,  |_| Nothing,         GetSessionStatus(GetSessionStatus) => Box<SessionStatus>;
    Admit,  |_| Nothing,         GetSession(GetSession) => Box<SessionView>;
    Admit,  |_| Nothing,         ListSessions(ListSessions) => Vec<SessionView>;
    Admit,  |_| Nothing,         GetPool(GetPool) => Box<PoolView>;
    Admit,  |_| Nothing,         RollPools(RollPools) => Vec<PoolView>;
    Admit,  |_| Nothing,         RunAudit(RunAudit) => Option<Audit>;
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
