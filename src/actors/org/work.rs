//! Commands on their way to an org, and what they are carried out with.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::super::{Answers, Commands};
use crate::{
    domain::{ids::Reason, org::Context, reach::ScopeRules, trace::TraceId},
    error::ServiceError,
};

/// Commands with one way back.
#[derive(Debug)]
pub(in crate::actors) struct Work {
    pub(in crate::actors) commands: Commands,
    /// What the caller may reach of what others have begun; `None` = all.
    pub(in crate::actors) within: Option<Arc<ScopeRules>>,
    /// Who asks.
    pub(in crate::actors) caller: Arc<str>,
    /// Why an operator asks; `None` where nothing is said.
    pub(in crate::actors) reason: Option<Reason>,
    /// The trace that the call is a part of.
    pub(in crate::actors) trace: Option<TraceId>,
    /// The answers are what would be done, and nothing is.
    pub(in crate::actors) dry_run: bool,
    pub(in crate::actors) reply: oneshot::Sender<Answers>,
}

impl Work {
    /// The same for whom it is of.
    pub(super) fn context<'a>(&'a self, of_node: Context<'a>) -> Context<'a> {
        let reason = self.reason.as_ref().unwrap_or(Reason::none());
        Context { within: self.within.as_deref(), caller: &self.caller, reason, trace: self.trace, ..of_node }
    }

    pub(super) fn refuse(self, error: &ServiceError) {
        let answers = self.commands.iter().map(|_| Err(error.clone())).collect();
        drop(self.reply.send(answers));
    }
}
