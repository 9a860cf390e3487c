//! What a call would do: it is carried out on a copy of what is stored, and that is dropped.

use super::{Answers, OrgTask, Work, apply};
use crate::{domain::org::OrgState, error::ServiceError};

impl OrgTask {
    /// What was decided before it is stored first, as it is for a call that waits for the disk. Nothing is counted,
    /// announced or remembered.
    pub(super) async fn dry_run(&mut self, work: &Work) -> Result<Answers, ServiceError> {
        if let Some(error) = self.refused(work) {
            return Err(error);
        }
        let stored = self.load().await?;
        let beside = stored.rows.clone();
        let now = self.now();
        let mut copy = OrgState::load(stored, now).on(self.shared.node.clone());
        let wanted = copy.wanted(&work.commands, now.service);
        if wanted.all {
            copy.take_stored(&beside);
        }
        copy.take_found(self.found(wanted).await?);
        let shared = self.shared.clone();
        let rules = shared.rules.load();
        self.refresh(&rules);
        let of_org = (&self.org, &self.policy);
        let carried_out = work.commands.iter().map(|command| {
            let ctx = work.context(rules.context(of_org, (now, shared.next_decision()), false));
            apply(&mut copy, command, &ctx, None)
        });
        Ok(carried_out.collect())
    }
}
